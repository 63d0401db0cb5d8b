"""The daily quota of the account: its size, and when a slot frees."""

from contextlib import suppress
from datetime import datetime, timedelta

import anyio

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Hint, HintKind
from pulumi_snapshots.listing.listings import Listings
from pulumi_snapshots.service.client import ONCE, Patience
from pulumi_snapshots.service.errors import QuotaUsedUp, SquareCloudError
from pulumi_snapshots.service.models import Listing

QUOTA_WINDOW = timedelta(hours=24)


def daily_quota(plan_memory: int) -> int:
    """Return how many snapshots the service allows a whole account in any 24 hours.

    Args:
        plan_memory: The memory of the account's plan in MB.
    """
    return plan_memory // 256 * 2


async def explain_quota(
    error: QuotaUsedUp, database_id: str, listings: Listings
) -> None:
    """Add to an error how large the quota is, when a slot frees, and what a user can do.

    One request to the service serves all refusals.

    Args:
        error: The refusal, which is changed as far as the service answers.
        database_id: The database of the request.
        listings: Fetches account and listings.
    """
    since = listings.recent
    # An interrupt comes just when a user reads of the quota. The error must come through whatever
    # else fails, after 15 s at most.
    with anyio.move_on_after(15.0, shield=True), suppress(SquareCloudError):
        memory = (await listings.account(since, patience=ONCE)).plan_memory or 0
        if memory:
            allowed = (
                f"The plan has {memory} MB, so {daily_quota(memory)} snapshots in "
                "any 24 hours"
            )
            error.describe(f"{error.meaning}. {allowed}")
        listing = await widest_listing(listings, database_id, since, patience=ONCE)
        error.frees = slot_frees(
            counted(listing, listings.client.service_clock.now()), daily_quota(memory)
        )
        if error.frees:
            when = f"at about {to_the_second(error.frees)}"
            error.then = (
                Hint(HintKind.WAIT_FOR_SLOT, when=when),
                Hint(HintKind.USE_LARGER_PLAN),
            )


async def widest_listing(
    listings: Listings,
    database_id: str,
    since: float,
    *,
    patience: Patience,
) -> Listing:
    """Get the account's listing, or a database's listing if the account's is not available.

    Args:
        listings: Fetches the listings.
        database_id: The database.
        since: A page that was requested before this monotonic time will not do.
        patience: How long to try.

    Returns:
        The listing.

    Raises:
        SquareCloudError: Neither listing can be fetched.
    """
    listing = await listings.account_listing(since, patience=patience)
    if listing is None:
        listing = (
            await listings.own_page(database_id, since, patience=patience)
        ).listing
    return listing


async def slots_left(listings: Listings, listing: Listing, quota: int) -> int:
    """Return how many snapshots the quota has left, as far as a listing shows.

    Snapshots that runs have found count even if an older page lacks them.

    Args:
        listings: Knows which snapshots runs have found.
        listing: The listing.
        quota: How many snapshots the plan allows.
    """
    listed = {entry.version for entry in listing.entries}
    lacking = sum(each.result not in listed for each in await listings.found_lately())
    taken = counted(listing, listings.client.service_clock.now())
    return max(0, quota - len(taken) - lacking)


def counted(listing: Listing, now: datetime) -> list[datetime]:
    """Return the times of the snapshots in a listing that count against the quota.

    Args:
        listing: The listing.
        now: The service's time.

    Returns:
        Their times, oldest first.
    """
    return sorted(
        entry.modified
        for entry in listing.entries
        if entry.origin != "automatic"
        and entry.modified is not None
        and entry.modified > now - QUOTA_WINDOW
    )


def slot_frees(times: list[datetime], quota: int) -> datetime | None:
    """Return when the next slot frees.

    Args:
        times: The times of the snapshots that count, oldest first.
        quota: How many snapshots the plan allows; 0 if it is not known.

    Returns:
        24 hours after the oldest snapshot, or after a later one if the plan was larger then; None
        if no snapshot counts.
    """
    if not times:
        return None
    oldest_that_counts = max(0, len(times) - quota) if quota else 0
    return times[oldest_that_counts] + QUOTA_WINDOW
