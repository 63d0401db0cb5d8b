"""What to tell a user whose daily allowance is used up: how much it is, and when a slot frees."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import anyio

from pulumi_snapshots.clock import Stoppable, to_the_second
from pulumi_snapshots.errors import Next, Step
from pulumi_snapshots.listing.listings import Listings
from pulumi_snapshots.service.client import ONCE, Client
from pulumi_snapshots.service.errors import QuotaUsedUp, SquareCloudError
from pulumi_snapshots.service.models import Listing

QUOTA_WINDOW = timedelta(hours=24)
MEMORY_PER_PAIR = 256
"""MB: the service allows (plan memory / 256) x 2 snapshots in a rolling 24 hours, for the whole account."""
ASKING_PATIENCE = 15.0
"""Seconds that finding out may take ..."""
HINT_PATIENCE = 20.0
"""... that an error waits for it ..."""
LAST_PATIENCE = 5.0
"""... and that an interrupted run still does."""


def allowance_of(plan_memory: int) -> int:
    """Snapshots in any 24 hours of a plan with that much memory (MB)."""
    return plan_memory // MEMORY_PER_PAIR * 2


class QuotaHint:
    """What a run knows of its used-up quota: requested once while it lasts, and told to all whose snapshot was refused or not sent."""

    def __init__(self, client: Client, listings: Listings, run: Stoppable) -> None:
        self._client = client
        self._listings = listings
        self._run = run
        self._asking = anyio.Lock()
        self._told: QuotaUsedUp | None = None
        self._told_at = -math.inf

    async def explain(self, error: QuotaUsedUp, database_id: str) -> None:
        """Make the error as precise as the service lets us be; it stays as it is if the service tells nothing."""
        with anyio.CancelScope(shield=True):  # an interrupt comes just when a user reads of the quota
            with self._run.until(HINT_PATIENCE) as scope:
                await self._learn(error, database_id)
            if scope.cancelled_caught and self._run.stopping:
                with anyio.move_on_after(LAST_PATIENCE):
                    await self._learn(error, database_id)
        if self._told is not None:
            error.happened, error.then, error.frees = self._told.happened, self._told.then, self._told.frees

    async def _learn(self, error: QuotaUsedUp, database_id: str) -> None:
        clock = self._run.clock
        async with self._asking:
            since = clock.monotonic() - self._told_at
            if self._told is None or not self._told.lasts(since, self._client.service_clock.now()):
                await self._ask(error, database_id)
                self._told, self._told_at = error, clock.monotonic()

    async def _ask(self, error: QuotaUsedUp, database_id: str) -> None:
        """Tell the allowance, the next steps, and when a slot frees, as far as the service says."""
        facts: list[str] = []
        with anyio.move_on_after(ASKING_PATIENCE):
            try:
                memory = (await self._client.account(patience=ONCE)).plan_memory
                if memory:
                    facts.append(f"The plan has {memory} MB, so {allowance_of(memory)} snapshots in any 24 hours")
                error.frees = await self._slot_frees(database_id, allowance_of(memory or 0))
                if error.frees:
                    facts.append(f"The oldest that counts was taken at {to_the_second(error.frees - QUOTA_WINDOW)}")
                    error.then = (
                        Next(Step.WAIT_FOR_SLOT, when=f"at about {to_the_second(error.frees)}"),
                        Next(Step.USE_LARGER_PLAN),
                    )
            except SquareCloudError:
                pass  # the error that this explains must come through whatever else fails
        error.happened = ". ".join([str(error.happened), *facts])

    async def _slot_frees(self, database_id: str, allowance: int) -> datetime | None:
        now = self._run.clock.monotonic()
        listing = await self._listings.account_listing(now, patience=ONCE)
        if listing is None:
            listing = (await self._listings.own_page(database_id, now, patience=ONCE)).listing
        return slot_frees(counted(listing, self._client.service_clock.now()), allowance)


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
