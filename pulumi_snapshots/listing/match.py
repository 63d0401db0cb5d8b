"""Finding the entry of a listing that a POST started, by its time. Sends no request."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Explained, Next, Step
from pulumi_snapshots.ledger.attempt import LATEST_OF_LOST, SKEW, Request
from pulumi_snapshots.listing.listings import Page
from pulumi_snapshots.service.limits import SNAPSHOT_PER_DATABASE
from pulumi_snapshots.service.models import ListedSnapshot

SKEW_BEHIND = timedelta(seconds=1)
"""The same if the service has refused the POST while another snapshot was running: that one ended in the seconds before."""
CREATE_COOLDOWN = timedelta(seconds=SNAPSHOT_PER_DATABASE)
"""Two manual snapshots of one database do not start closer together: the service refuses the second. Assumed for those from
the dashboard."""
ALMOST_OVER = timedelta(days=1)
"""A version with less than this left of its 30 days may be missing from a listing that shows everything."""
LATE = LATEST_OF_LOST
"""A later entry does not match a POST whose answer was lost; for an accepted POST it matches with a warning."""


class AmbiguousSnapshot(Explained):
    """Two entries, the `candidates`, could be the snapshot of the POST."""

    def __init__(self, candidates: tuple[ListedSnapshot, ListedSnapshot]) -> None:
        self.candidates = candidates
        described = " and ".join(
            f"{entry.version} ({to_the_second(entry.modified) if entry.modified else 'no time'}, {entry.size} bytes)"
            for entry in candidates
        )
        super().__init__(
            f"two snapshots of this database could be the one that was started: {described}. Somebody else took one "
            "at the same time, and the service does not say whose is whose",
            then=[Next(Step.OPEN_VERSION)],
        )


@dataclass(frozen=True)
class Search:
    """The known facts about the snapshot of a request; times are by the service's clock.

    Attributes:
        posted: when the request was sent.
        earliest: the earliest possible `modified`.
        latest: the latest possible `modified`.
        over: from when on a listing without the snapshot proves that there will be none.
        excluded: versions of other requests.
    """

    posted: datetime
    earliest: datetime
    latest: datetime
    over: datetime
    excluded: Collection[str] = ()

    @classmethod
    def of(
        cls, request: Request, *, finished: datetime | None = None, excluded: Collection[str] = (), behind: bool = False
    ) -> Search:
        """Make the search for the snapshot of a request.

        Args:
            request: the request.
            finished: when a 200 came; the snapshot was complete by then.
            excluded: see `Search`.
            behind: whether it was refused before, since another snapshot of the database was running.
        """
        posted, skew = request.posted_at, SKEW_BEHIND if behind else SKEW
        over = posted + request.longest
        latest = finished + skew if finished is not None else over if request.accepted else posted + LATE
        return cls(posted, posted - skew, latest, over, excluded)

    def is_late(self, entry: ListedSnapshot) -> bool:
        """Whether an entry is so late that the user should be warned, although it matches."""
        return entry.modified is not None and entry.modified > self.posted + LATE


def late_text(database_id: str, entry: ListedSnapshot, search: Search) -> str:
    """The warning for an entry that matches but is late, with both times."""
    time = to_the_second(entry.modified) if entry.modified else "no time"
    return (
        f"snapshot {entry.version} of database {database_id} was matched to the request of "
        f"{to_the_second(search.posted)}, although its time is {time}: no earlier one is listed"
    )


def may_be_ours(entries: Iterable[ListedSnapshot], search: Search) -> list[ListedSnapshot]:
    """Find the entries that speak against a failure: manual, of no other request, and not too early or too late, if they have a time."""
    return [
        entry
        for entry in entries
        if entry.origin != "automatic"
        and entry.version not in search.excluded
        and (entry.modified is None or search.earliest <= entry.modified <= search.latest)
    ]


def find_ours(entries: Iterable[ListedSnapshot], search: Search) -> ListedSnapshot | None:
    """Find the earliest manual entry since the request.

    Raises:
        AmbiguousSnapshot: another entry is so close to it that either could be the snapshot.
    """
    dated = [(entry.modified, entry) for entry in may_be_ours(entries, search) if entry.modified is not None]
    candidates = sorted(dated, key=lambda each: each[0])
    if not candidates:
        return None
    (modified, ours), *others = candidates
    if others and others[0][0] - modified < CREATE_COOLDOWN:
        raise AmbiguousSnapshot((ours, others[0][1]))
    return ours


def proves_failure(page: Page, search: Search, due: Mapping[str, datetime]) -> bool:
    """Whether the snapshot of a request would be on this page if it had been started.

    Not if the page may be cut, old or strange: it has entries that cannot be read, lacks a version that a state has (`due`, each
    with the end of its 30 days), or shows an entry that may be ours after all.
    """
    asked_at = page.listing.service_time
    if not page.complete or asked_at < search.over:
        return False
    lacks = any(page.version(version) is None and asked_at + ALMOST_OVER < end for version, end in due.items())
    return not lacks and not may_be_ours(page.entries, search)
