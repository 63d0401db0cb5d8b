"""Finding the entry of a listing that a POST started, by its time. Sends no request."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pulumi_snapshots.api.models import ListedSnapshot
from pulumi_snapshots.api.pacing.limits import SNAPSHOT_PER_DATABASE
from pulumi_snapshots.attempt.post import FAILED_AFTER, Post
from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step

SKEW = timedelta(seconds=5)
"""How far `modified` may be before the POST: `Date` has whole seconds, and clocks drift."""
SKEW_BEHIND = timedelta(seconds=1)
"""The same if the service has refused the POST while another snapshot was running: that one ended in the seconds before."""
SKEW_UNKNOWN_CLOCK = timedelta(seconds=60)
"""The same if no `Date` was seen, so that this machine's clock must serve as the service's."""
CREATE_COOLDOWN = timedelta(seconds=SNAPSHOT_PER_DATABASE)
"""Two manual snapshots of one database do not start closer together: the service refuses the second. Assumed for those from
the dashboard."""
LATE = timedelta(minutes=15)
"""The service's soft deadline of 90 s and the "~2 minutes" after it, with room. A later entry does not match a POST whose
answer was lost; for an accepted POST it matches with a warning."""


class AmbiguousSnapshot(Explained):
    """Two entries could be the snapshot of the POST.

    Attributes:
        candidates: the two entries.
    """

    def __init__(self, candidates: tuple[ListedSnapshot, ListedSnapshot], *, dated: bool = True) -> None:
        self.candidates = candidates
        undated = "too, the run that sent the request was cut off before an answer showed the time"
        described = " and ".join(
            f"{entry.version} ({to_the_second(entry.modified) if entry.modified else 'no time'}, {entry.size} bytes)"
            for entry in candidates
        )
        super().__init__(
            f"two snapshots of this database could be the one that was started: {described}. Somebody else took one "
            f"{'at the same time' if dated else undated}, and the service does not say whose is whose",
            then=[Next(Step.OPEN_VERSION)],
        )


@dataclass(frozen=True)
class Search:
    """The known facts about the snapshot of a POST; times are by the service's clock.

    Attributes:
        posted: when the POST was sent.
        earliest: the earliest possible `modified`.
        latest: the latest possible `modified`.
        excluded: versions of other POSTs.
        certain: whether an answer has shown the clocks of the machine that sent the POST.
        rival: when an earlier POST was sent that was accepted and given up, if its snapshot was not found by then.
    """

    posted: datetime
    earliest: datetime
    latest: datetime
    excluded: Collection[str]
    certain: bool = True
    rival: datetime | None = None

    @classmethod
    def of(
        cls,
        post: Post,
        offset: float | None,
        *,
        finished: datetime | None = None,
        excluded: Collection[str] = (),
        behind: bool = False,
    ) -> Search:
        """Make the search for the snapshot of a POST.

        Args:
            post: the POST.
            offset: seconds that the service's clock is ahead, as known now; the offset in the POST wins.
            finished: when a 200 came, by the service's clock; the snapshot was complete by then.
            excluded: see `Search`.
            behind: whether the POST was refused before, since another snapshot of the database was running.
        """
        known = post.service_clock_offset if post.service_clock_offset is not None else offset
        skew = SKEW_UNKNOWN_CLOCK if known is None else SKEW_BEHIND if behind else SKEW
        posted = post.posted_at + timedelta(seconds=known or 0.0)
        latest = posted + (post.failed_after if post.accepted else LATE)
        if finished is not None:
            latest = finished + skew
        certain = post.service_clock_offset is not None
        return cls(posted, posted - skew, latest, excluded, certain=certain, rival=post.earlier)

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


UNSURE = timedelta(days=1)
"""How far from the POST its snapshot may seem to be if no answer has shown the clocks of the machine that sent it: hours, if
its clock or this one's is set to local time."""


def may_be_ours(entries: Iterable[ListedSnapshot], search: Search) -> list[ListedSnapshot]:
    """Find the entries that speak against a failure: manual, of no other request, and not certainly from before the POST.

    One without a time may be from after it. One that is later than a snapshot should take may be ours all the same.
    """
    earliest = search.earliest if search.certain else search.earliest - UNSURE
    return [
        entry
        for entry in entries
        if entry.origin != "automatic"
        and entry.version not in search.excluded
        and (entry.modified is None or entry.modified >= earliest)
    ]


def find_ours(
    entries: Iterable[ListedSnapshot], search: Search, asked_at: datetime | None = None
) -> ListedSnapshot | None:
    """Find the earliest manual entry since the POST.

    Args:
        entries: of the database.
        search: the POST's.
        asked_at: the service's time of the page, with which a rival may be over.

    Raises:
        AmbiguousSnapshot: another entry is so close to it, or may be of an earlier POST, that either could be the snapshot.
    """
    entries = tuple(entries)
    candidates = _within(entries, search, search.earliest, search.latest)
    if not candidates:
        return None
    (modified, ours), *others = candidates
    if not search.certain:
        # It is a later one if the clock of the machine that sent the POST was behind.
        later = [entry for _, entry in _within(entries, search, modified, search.posted + UNSURE) if entry is not ours]
        if later:
            raise AmbiguousSnapshot((ours, later[0]), dated=False)
    contested = asked_at is not None and _may_still_come(search, entries, asked_at)
    if others and (contested or others[0][0] - modified < CREATE_COOLDOWN):
        raise AmbiguousSnapshot((ours, others[0][1]))
    # A lone one may be of either POST; the next one to come, or the end of the rival's time, tells.
    return None if contested else ours


def _within(
    entries: Iterable[ListedSnapshot], search: Search, first: datetime, last: datetime
) -> list[tuple[datetime, ListedSnapshot]]:
    """The manual entries of no other request between two times, with their times, oldest first."""
    found = (
        (entry.modified, entry)
        for entry in entries
        if entry.origin != "automatic"
        and entry.modified is not None
        and first <= entry.modified <= last
        and entry.version not in search.excluded
    )
    return sorted(found, key=lambda each: each[0])


def _may_still_come(search: Search, entries: Iterable[ListedSnapshot], asked_at: datetime) -> bool:
    """Whether the snapshot of the rival may come after our POST: it is not listed yet, and its time is not over."""
    if search.rival is None or asked_at >= search.rival + FAILED_AFTER:
        return False
    return not any(
        entry.origin != "automatic"
        and entry.modified is not None
        and search.rival - SKEW <= entry.modified < search.earliest
        for entry in entries
    )
