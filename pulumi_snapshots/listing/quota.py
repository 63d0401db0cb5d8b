"""What to tell a user whose daily allowance is used up: how much it is, and when a slot frees."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import datetime, timedelta

import anyio

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Next, Step
from pulumi_snapshots.listing.listings import Listings
from pulumi_snapshots.service.client import ONCE, Client
from pulumi_snapshots.service.errors import QuotaUsedUp, SquareCloudError
from pulumi_snapshots.service.models import Listing

QUOTA_WINDOW = timedelta(hours=24)
MEMORY_PER_PAIR = 256
"""MB: the service allows (plan memory / 256) x 2 snapshots in a rolling 24 hours, for the whole account."""
HINT_PATIENCE = 15.0
"""Seconds that an error waits for what explains it, also in a run that was interrupted."""


def allowance_of(plan_memory: int) -> int:
    """Snapshots in any 24 hours of a plan with that much memory (MB)."""
    return plan_memory // MEMORY_PER_PAIR * 2


class QuotaHint:
    """What a run knows of its used-up quota: requested once while it lasts, and told to all whose snapshot was refused or not sent."""

    def __init__(self, client: Client, listings: Listings) -> None:
        self._client = client
        self._listings = listings
        self._asking = anyio.Lock()
        self._told: QuotaUsedUp | None = None
        self._told_at = -math.inf

    async def explain(self, error: QuotaUsedUp, database_id: str) -> None:
        """Make the error as precise as the service lets us be; it stays as it is if the service tells nothing."""
        monotonic, service_clock = self._listings.clock.monotonic, self._client.service_clock
        # An interrupt comes just when a user reads of the quota.
        with anyio.move_on_after(HINT_PATIENCE, shield=True):
            async with self._asking:
                told = self._told
                if told is None or not told.lasts(monotonic() - self._told_at, service_clock.now()):
                    self._told, self._told_at = error, monotonic()
                    await self._ask(error, database_id)
        if self._told is not None:
            error.happened, error.then, error.frees = self._told.happened, self._told.then, self._told.frees

    async def _ask(self, error: QuotaUsedUp, database_id: str) -> None:
        """Tell the allowance, the next steps, and when a slot frees, as far as the service says."""
        now = self._listings.clock.monotonic()
        with suppress(SquareCloudError):  # the error that this explains must come through whatever else fails
            memory = (await self._client.account(patience=ONCE)).plan_memory
            if memory:
                allows = f"The plan has {memory} MB, so {allowance_of(memory)} snapshots in any 24 hours"
                error.happened = f"{error.happened}. {allows}"
            listing = await self._listings.account_listing(now, patience=ONCE)
            if listing is None:
                listing = (await self._listings.own_page(database_id, now, patience=ONCE)).listing
            times = counted(listing, self._client.service_clock.now())
            error.frees = slot_frees(times, allowance_of(memory or 0))
            if error.frees:
                at = to_the_second(error.frees)
                oldest = to_the_second(error.frees - QUOTA_WINDOW)
                error.happened = f"{error.happened}. The oldest that counts was taken at {oldest}"
                error.then = (Next(Step.WAIT_FOR_SLOT, when=f"at about {at}"), Next(Step.USE_LARGER_PLAN))


def counted(listing: Listing, now: datetime) -> list[datetime]:
    """When the snapshots of a listing that count against the allowance were taken, oldest first; `now` is the service's time."""
    return sorted(
        entry.modified
        for entry in listing.entries
        if entry.origin != "automatic" and entry.modified is not None and entry.modified > now - QUOTA_WINDOW
    )


def slot_frees(times: list[datetime], allowance: int) -> datetime | None:
    """When the next slot of the allowance frees: 24 hours after the oldest of `times`, which are sorted.

    If there are more than the plan allows, since it was larger, that is after a later one.
    """
    return times[max(0, len(times) - allowance) if allowance else 0] + QUOTA_WINDOW if times else None
