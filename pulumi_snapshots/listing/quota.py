"""What to tell a user whose daily allowance is used up: how much it is, and when a slot frees."""

from contextlib import suppress
from datetime import datetime, timedelta

import anyio

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Hint, HintKind
from pulumi_snapshots.listing.listings import Listings
from pulumi_snapshots.service.client import ONCE
from pulumi_snapshots.service.errors import QuotaUsedUp, SquareCloudError
from pulumi_snapshots.service.models import Listing

QUOTA_WINDOW = timedelta(hours=24)


def allowance_of(plan_memory: int) -> int:
    """Snapshots that the service allows in any 24 hours, for the whole account, of a plan with that much memory (MB)."""
    return plan_memory // 256 * 2


async def explain_quota(error: QuotaUsedUp, database_id: str, listings: Listings) -> None:
    """Tell the allowance, the next steps, and when a slot frees, as far as the service says: asked once for all that are refused."""
    since = listings.recent
    # An interrupt comes just when a user reads of the quota. The error must come through whatever else fails, after 15 s at most.
    with anyio.move_on_after(15.0, shield=True), suppress(SquareCloudError):
        memory = (await listings.account(since, patience=ONCE)).plan_memory or 0
        if memory:
            allowed = (
                f"The plan has {memory} MB, so {allowance_of(memory)} snapshots in any 24 hours"
            )
            error.describe(f"{error.meaning}. {allowed}")
        listing = await listings.account_listing(since, patience=ONCE)
        if listing is None:
            listing = (await listings.own_page(database_id, since, patience=ONCE)).listing
        error.frees = slot_frees(
            counted(listing, listings.client.service_clock.now()), allowance_of(memory)
        )
        if error.frees:
            when = f"at about {to_the_second(error.frees)}"
            error.then = (Hint(HintKind.WAIT_FOR_SLOT, when=when), Hint(HintKind.USE_LARGER_PLAN))


def counted(listing: Listing, now: datetime) -> list[datetime]:
    """When the snapshots of a listing that count against the allowance were taken, oldest first; `now` is the service's time."""
    return sorted(
        entry.modified
        for entry in listing.entries
        if entry.origin != "automatic"
        and entry.modified is not None
        and entry.modified > now - QUOTA_WINDOW
    )


def slot_frees(times: list[datetime], allowance: int) -> datetime | None:
    """When the next slot frees: 24 hours after the oldest of the sorted `times`, or after a later one if the plan was larger then."""
    return (
        times[max(0, len(times) - allowance) if allowance else 0] + QUOTA_WINDOW if times else None
    )
