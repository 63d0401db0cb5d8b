"""Which entry of a page is the snapshot that a request started. All times are the service's."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

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
NOT_WHOLE = "The service's listing is not whole, so it does not prove that the snapshot never came."


@dataclass(frozen=True)
class Matched:
    """The page lists the snapshot of the request.

    Attributes:
        entry: The snapshot.
    """

    entry: ListedSnapshot


@dataclass(frozen=True)
class NotListedYet:
    """The page does not list the snapshot, and a later page still can."""


@dataclass(frozen=True)
class AmbiguousMatch:
    """The page lists snapshots of which any could be the one of the request.

    Attributes:
        candidates: The two earliest ones, in the order of their times.
    """

    candidates: tuple[ListedSnapshot, ...]


@dataclass(frozen=True)
class ProvenAbsent:
    """The page proves that the service never made a snapshot for the request."""


@dataclass(frozen=True)
class Undecidable:
    """The time of the request is over, and the page does not prove that it has no snapshot.

    Attributes:
        why: One sentence for an error message, which names the candidates.
        candidates: Manual snapshots since the request that no other request has claimed: the one of
            the request may be among them, or they are somebody else's. Empty if the page itself
            proves nothing.
    """

    why: str
    candidates: tuple[ListedSnapshot, ...] = ()


Match = Matched | NotListedYet | AmbiguousMatch | ProvenAbsent | Undecidable
"""What a page says about the snapshot of a request."""


class AmbiguousSnapshot(ProviderError):
    """Two entries could be the snapshot of the POST."""


def match_request(
    page: Page,
    request: Request,
    claimed: Collection[str] = (),
    *,
    kept_until: Mapping[str, datetime] | None = None,
) -> Match:
    """Say what a page shows of the snapshot that a request started.

    Args:
        page: The part of a listing about the database of the request.
        request: The request, with its answer.
        claimed: Versions of other requests, and versions that existed before this request.
        kept_until: Versions that the page must list, each with the end of its 30 days.

    Returns:
        One of the outcomes in `Match`. A candidate decides before anything else; the proof that
        there is no snapshot comes last.
    """
    matched = _match_candidates(_in_time(page.entries, request, claimed))
    if matched is not None:
        return matched
    if page.listing.service_time < request.posted_at + request.longest:
        return NotListedYet()
    unclaimed = tuple(unclaimed_since(page.entries, request, claimed))
    if unclaimed:
        return Undecidable(explain_unclaimed(unclaimed), unclaimed)
    if not page.complete or _lacks_known_version(page, kept_until or {}):
        return Undecidable(NOT_WHOLE)
    return ProvenAbsent()


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
        claimed: See `match_request`.
        is_behind: Whether the service refused an earlier try of the request because another
            snapshot was running. That one ended in the seconds before the request.

    Returns:
        The entry; None if none matches.

    Raises:
        AmbiguousSnapshot: Two entries could be it.
    """
    matched = _match_candidates(_in_time(entries, request, claimed, is_behind=is_behind))
    if isinstance(matched, AmbiguousMatch):
        raise ambiguous(matched)
    return matched.entry if matched is not None else None


def ambiguous(match: AmbiguousMatch) -> AmbiguousSnapshot:
    """Return the error that names the candidates, and the way out."""
    both = " and ".join(describe_entry(entry) for entry in match.candidates)
    happened = (
        f"two snapshots of this database could be the one that was started: {both}. Somebody else "
        "took one at the same time, and the service does not say whose is whose"
    )
    return AmbiguousSnapshot(happened, then=[Hint(HintKind.OPEN_VERSION)])


def unclaimed_since(
    entries: Iterable[ListedSnapshot], request: Request, claimed: Collection[str] = ()
) -> list[ListedSnapshot]:
    """Find the manual snapshots since a request that no other request has claimed.

    Args:
        entries: Entries of one database.
        request: The request.
        claimed: See `match_request`.

    Returns:
        The entries, those without a time included. There is no latest time: the service does not
        say how long it works on a request.
    """
    earliest_time = request.posted_at - SKEW
    return [
        entry
        for entry in _manual(entries, claimed)
        if entry.modified is None or entry.modified >= earliest_time
    ]


def describe_entry(entry: ListedSnapshot) -> str:
    """Return an entry as an error shows it: its version, and what tells it from others."""
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
    dated = [
        (entry.modified, entry)
        for entry in _manual(entries, claimed)
        if entry.modified is not None and first <= entry.modified <= last
    ]
    return sorted(dated, key=lambda each: each[0])


def _match_candidates(
    dated: list[tuple[datetime, ListedSnapshot]],
) -> Matched | AmbiguousMatch | None:
    """Match the earliest candidate, unless another one is as likely by its time."""
    if not dated:
        return None
    first_time, first = dated[0]
    for next_time, following in dated[1:2]:
        if next_time - first_time < MANUAL_SPACING:
            return AmbiguousMatch((first, following))
    return Matched(first)


def explain_unclaimed(unclaimed: Collection[ListedSnapshot]) -> str:
    """Return the sentence of an error message that names unclaimed snapshots."""
    listed = ", ".join(map(describe_entry, unclaimed))
    return f"The service lists what may be it, or somebody else's: {listed}."


def _lacks_known_version(page: Page, kept_until: Mapping[str, datetime]) -> bool:
    """Whether a page lacks a version that the service keeps for another day at least."""
    soon = page.listing.service_time + LAST_DAY
    return any(soon < end and page.version(version) is None for version, end in kept_until.items())
