"""Looking for the snapshot of a request: until a listing shows it, or proves that it never came. Anybody may do it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.ledger.request import CLEAR
from pulumi_snapshots.listing.absence import proves_failure
from pulumi_snapshots.listing.match import Search, may_be_ours
from pulumi_snapshots.listing.wait import ListingWait, Shows
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.models import ListedSnapshot


async def listed(  # noqa: PLR0913  what is known of it
    session: Session,
    member: Shows,
    attempt: Attempt,
    *,
    excluded: Collection[str],
    behind: bool = False,
    age: float = 0.0,
    first_after: float | None = None,
    version: str | None = None,
    finished: datetime | None = None,
) -> ListedSnapshot | None:
    """Poll until a listing shows the snapshot of a request.

    Args:
        session: the service.
        member: gets the progress.
        attempt: the request.
        excluded: versions of other requests.
        behind: see `Search.of`.
        age: seconds that earlier runs have waited.
        first_after: seconds until the first poll, if the snapshot should be listed by then.
        version: its version, if a 200 named it.
        finished: when a 200 came, by the service's clock.

    Returns:
        The entry; None if it is not listed some minutes after it must be.

    Raises:
        AmbiguousSnapshot: two entries could be the snapshot.
        SquareCloudError: a poll was refused, and will be refused again.
    """
    request = attempt.request

    def search() -> Search:
        return Search.of(request, finished=finished, excluded=excluded, behind=behind)

    over = (search().over - session.service_clock.now()).total_seconds()
    wait = ListingWait(
        session,
        attempt.database_id,
        member,
        search=search,
        answered=request.answered,
        accepted=request.accepted,
        version=version,
    )
    return await wait.until_listed(age=age, first_after=first_after, shown_by=session.clock.monotonic() + over)


async def never_came(session: Session, attempt: Attempt, excluded: Collection[str]) -> str:
    """Find out whether the service never made the snapshot of a request, whose time is over.

    Returns:
        Why that is not certain, as a sentence; empty if it never came.
    """
    page = await session.listings.own_page(attempt.database_id, session.listings.recent)
    search = Search.of(attempt.request, excluded=excluded)
    if proves_failure(page, search, session.memory.of(attempt.database_id).due):
        return ""
    listed_ones = ", ".join(
        f"{one.version} ({to_the_second(one.modified) if one.modified else 'no time'})"
        for one in may_be_ours(page.entries, search)
    )
    if listed_ones:
        return f"The service lists what may be it, or somebody else's: {listed_ones}."
    return "The service's listing is not whole, so it does not prove that the snapshot never came."


async def enter_found(session: Session, attempt: Attempt, version: str | None) -> Attempt:
    """Enter the version of an attempt; the next request of its database waits until it is clearly later than this snapshot."""
    return await session.ledger.found(attempt, version or "", holds=CLEAR)


async def resolved_by(session: Session, attempt: Attempt, entry: ListedSnapshot | None) -> bool:
    """Enter the result of another operation's request, so that no other run has to look for it.

    Returns:
        Whether there is one: not if it is not listed, and the listing does not prove that it never came.
    """
    if entry is not None:
        await enter_found(session, attempt, entry.version)
    elif await never_came(session, attempt, ()):
        return False
    else:
        await session.ledger.withdraw(attempt)
    return True
