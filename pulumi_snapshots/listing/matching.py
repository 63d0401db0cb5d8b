"""Finds the entry of a page that a request started. All times are the service's."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from operator import itemgetter

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Hint, HintKind, ProviderError
from pulumi_snapshots.ledger.attempt import LATEST_OF_LOST, SECOND, SKEW, Request
from pulumi_snapshots.listing.listings import Page
from pulumi_snapshots.service.limits import SNAPSHOT_PER_DATABASE
from pulumi_snapshots.service.models import ListedSnapshot

MANUAL_SPACING = timedelta(seconds=SNAPSHOT_PER_DATABASE)
"""The service refuses a second snapshot of a database that soon after the first one. The same is
assumed for snapshots from the dashboard."""
LAST_DAY = timedelta(days=1)
"""On its last day, a snapshot can be missing from a page that lists all others."""
NOT_YET = "The service can still list it."
NOT_WHOLE = (
    "The service's listing is not whole, so it does not prove that the "
    "snapshot was never taken."
)


class AmbiguousSnapshot(ProviderError):
    """Two entries can be the snapshot of the POST."""


def find_match(
    entries: Iterable[ListedSnapshot],
    request: Request,
    claimed: Collection[str] = (),
    *,
    is_behind: bool = False,
) -> ListedSnapshot | None:
    """Find the snapshot of a request among entries.

    Args:
        entries: Entries of one database.
        request: The request.
        claimed: Versions of other requests, and versions that existed before this request.
        is_behind: Whether the service refused an earlier try of the request because another
            snapshot was running, which ended in the seconds before the request.

    Returns:
        The entry; None if none matches.

    Raises:
        AmbiguousSnapshot: Two entries can be the snapshot.

    Example:
        >>> find_match([automatic, of_request], request).version
        'v2'
        >>> find_match([of_request], request, claimed={"v2"}) is None
        True
    """
    in_time = _in_time(entries, request, claimed, is_behind=is_behind)
    if not in_time:
        return None
    first_time, first = in_time[0]
    for next_time, following in in_time[1:2]:
        if next_time - first_time < MANUAL_SPACING:
            both = f"{describe_entry(first)} and {describe_entry(following)}"
            happened = (
                f"two snapshots of this database could be the one that was started: {both}. "
                "Another client took one at the same time, and the service does not say which is "
                "which"
            )
            raise AmbiguousSnapshot(happened, then=[Hint(HintKind.OPEN_VERSION)])
    return first


def why_not_absent(
    page: Page,
    request: Request,
    claimed: Collection[str],
    kept_until: Mapping[str, datetime],
) -> str | None:
    """Return why a page does not prove that the service never made the snapshot of a request.

    Args:
        page: The part of a listing about the database of the request.
        request: The request, with its answer.
        claimed: See `find_match`.
        kept_until: Versions that the page must list, each with the end of its 30 days.

    Returns:
        A sentence for an error, which names the entry that can be the snapshot; None if the page
        proves it.
    """
    is_early = page.listing.service_time < request.posted_at + request.longest
    if is_early or _in_time(page.entries, request, claimed):
        return NOT_YET
    unclaimed = unclaimed_since(page.entries, request, claimed)
    if unclaimed:
        listed = ", ".join(map(describe_entry, unclaimed))
        return f"The listing shows what could be this snapshot or another client's: {listed}."
    if not page.complete or _lacks_known_version(page, kept_until):
        return NOT_WHOLE
    return None


def unclaimed_since(
    entries: Iterable[ListedSnapshot],
    request: Request,
    claimed: Collection[str],
) -> list[ListedSnapshot]:
    """Return the manual snapshots since a request that no other request has claimed.

    Args:
        entries: Entries of one database.
        request: The request.
        claimed: See `find_match`.

    Returns:
        The entries, including entries without a time. There is no latest time, because the service
        does not say how long it works on a request.
    """
    earliest_time = request.posted_at - SKEW
    return [
        entry
        for entry in _manual(entries, claimed)
        if entry.modified is None or entry.modified >= earliest_time
    ]


def with_times(
    entries: Iterable[ListedSnapshot],
) -> list[tuple[datetime, ListedSnapshot]]:
    """Return the entries that have a time, each with its time, earliest first.

    Args:
        entries: The entries, in any order.
    """
    dated = [(entry.modified, entry) for entry in entries if entry.modified is not None]
    return sorted(dated, key=itemgetter(0))


def describe_entry(entry: ListedSnapshot) -> str:
    """Return an entry as an error shows it: its version, and what distinguishes it from others.

    Args:
        entry: The entry.
    """
    taken = to_the_second(entry.modified) if entry.modified else "no time"
    return f"{entry.version} ({taken}, {entry.size} bytes)"


def _manual(
    entries: Iterable[ListedSnapshot], claimed: Collection[str]
) -> Iterable[ListedSnapshot]:
    """Yield the entries that can be of a request, without those of other requests."""
    for entry in entries:
        if entry.origin != "automatic" and entry.version not in claimed:
            yield entry


def _in_time(
    entries: Iterable[ListedSnapshot],
    request: Request,
    claimed: Collection[str],
    *,
    is_behind: bool = False,
) -> list[tuple[datetime, ListedSnapshot]]:
    """Return the candidates whose time fits the request, each with its time, earliest first."""
    first = request.posted_at - (SECOND if is_behind else SKEW)
    last = request.posted_at + (request.longest if request.accepted else LATEST_OF_LOST)
    dated = with_times(_manual(entries, claimed))
    return [each for each in dated if first <= each[0] <= last]


def _lacks_known_version(page: Page, kept_until: Mapping[str, datetime]) -> bool:
    """Whether a page lacks a version that the service keeps for another day at least."""
    soon = page.listing.service_time + LAST_DAY
    return any(
        soon < end and page.version(version) is None
        for version, end in kept_until.items()
    )
