"""What to tell a user whose daily allowance is used up: how much it is, and when a slot frees."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.api.client import ONCE
from pulumi_snapshots.api.errors import SquareCloudError
from pulumi_snapshots.clock import rfc3339

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_snapshots.api.models import Listing
    from pulumi_snapshots.run.session import Session

__all__ = ["QUOTA_WINDOW", "QuotaHint", "allowance_of", "counted"]

QUOTA_WINDOW = timedelta(hours=24)
MEMORY_PER_PAIR = 256
"""MB: the service allows (plan memory / 256) x 2 snapshots in a rolling 24 hours, for the whole account."""
ASKING_PATIENCE = 15.0
"""Seconds that finding out may take ..."""
HINT_PATIENCE = 20.0
"""... and that an error waits for it, whoever asks."""


def allowance_of(plan_memory: int) -> int:
    """Snapshots in any 24 hours of a plan with that much memory (MB)."""
    return plan_memory // MEMORY_PER_PAIR * 2


class QuotaHint:
    """What a run knows of its used-up quota: asked for once, told to all whose snapshot was refused or not sent."""

    def __init__(self) -> None:
        self._asking = anyio.Lock()
        self._text: str | None = None

    async def text(self, session: Session, database_id: str) -> str:
        """One or two sentences, as precise as the service lets us be; empty where it tells nothing."""
        with session.until(HINT_PATIENCE):
            async with self._asking:
                if self._text is None:
                    self._text = await _asked(session, database_id)
        return self._text or ""


async def _asked(session: Session, database_id: str) -> str:
    sentences = []
    with anyio.move_on_after(ASKING_PATIENCE):
        try:
            memory = (await session.client.account(patience=ONCE)).plan_memory
            if memory:
                sentences.append(f"The plan has {memory} MB, so {allowance_of(memory)} snapshots in any 24 hours.")
            oldest = await _next_to_leave(session, database_id, allowance_of(memory or 0))
            if oldest:
                sentences.append(
                    f"The oldest that counts is of {rfc3339(oldest)}: a slot frees at about {rfc3339(oldest + QUOTA_WINDOW)}."
                )
        except SquareCloudError:
            pass  # the error that this explains must come through whatever else fails
    return " ".join([*sentences, "A larger plan allows more."]) if sentences else ""


async def _next_to_leave(session: Session, database_id: str, allowance: int) -> datetime | None:
    """When the snapshot was taken whose end of 24 hours frees a slot.

    It is the oldest, or a later one where there are more than the plan allows (it was larger).
    """
    now = session.clock.monotonic()
    listing = await session.looks.account_listing(now, patience=ONCE)
    if listing is None:
        listing = (await session.looks.database(database_id, now, patience=ONCE)).listing
    times = counted(listing, session.client.service_clock.now())
    return times[max(0, len(times) - allowance) if allowance else 0] if times else None


def counted(listing: Listing, now: datetime) -> list[datetime]:
    """When the snapshots were taken that count against the allowance, oldest first; as far as the listing tells.

    Args:
        listing: of the account, or of its only database.
        now: the service's time.
    """
    return sorted(
        entry.modified
        for entry in listing.entries
        if entry.origin != "automatic" and entry.modified is not None and entry.modified > now - QUOTA_WINDOW
    )
