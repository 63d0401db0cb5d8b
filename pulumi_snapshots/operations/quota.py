"""What to tell a user whose daily allowance is used up: how much it is, and when a slot frees."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pulumi_snapshots.api.client import ONCE
from pulumi_snapshots.api.errors import SquareCloudError
from pulumi_snapshots.clock import rfc3339

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_snapshots.operations.session import Session

__all__ = ["allowance_of", "quota_hint"]

QUOTA_WINDOW = timedelta(hours=24)
MEMORY_PER_PAIR = 256
"""MB: the service allows (plan memory / 256) x 2 snapshots in a rolling 24 hours, for the whole account."""
HINT_PATIENCE = 20.0
"""Seconds that finding out may take; the error itself does not wait longer."""


def allowance_of(plan_memory: int) -> int:
    """Snapshots in any 24 hours of a plan with that much memory (MB)."""
    return plan_memory // MEMORY_PER_PAIR * 2


async def quota_hint(session: Session, database_id: str) -> str:
    """One or two sentences, as precise as the service lets us be; empty where it tells nothing."""
    sentences = []
    with session.until(HINT_PATIENCE):
        try:
            memory = (await session.client.account(patience=ONCE)).plan_memory
            if memory:
                sentences.append(f"The plan has {memory} MB, so {allowance_of(memory)} snapshots in any 24 hours.")
            oldest = await _oldest_in_window(session, database_id)
            if oldest:
                sentences.append(
                    f"The oldest of them is of {rfc3339(oldest)}: a slot frees at about {rfc3339(oldest + QUOTA_WINDOW)}."
                )
        except SquareCloudError:
            pass  # the error that this explains must come through whatever else fails
    return " ".join([*sentences, "A larger plan allows more."]) if sentences else ""


async def _oldest_in_window(session: Session, database_id: str) -> datetime | None:
    now = session.clock.monotonic()
    listing = await session.looks.account_listing(now, patience=ONCE)
    if listing is None:
        listing = (await session.looks.database(database_id, now, patience=ONCE)).listing
    begin = session.client.service_clock.now() - QUOTA_WINDOW
    times = [
        entry.modified
        for entry in listing.entries
        if entry.origin != "automatic" and entry.modified is not None and entry.modified > begin
    ]
    return min(times, default=None)
