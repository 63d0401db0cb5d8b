"""Which entry of a listing is the snapshot that a POST started. Pure: looks at entries and times, asks nobody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pulumi_snapshots.api.limits import SNAPSHOT_PER_DATABASE
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pulumi_snapshots.api.models import ListedSnapshot
    from pulumi_snapshots.attempt.post import Post

__all__ = ["AmbiguousSnapshot", "Search", "find_ours", "late_text"]

SKEW = timedelta(seconds=5)
"""How much `modified` may lie before the POST: `Date` has whole seconds, and clocks drift a little."""
SKEW_UNKNOWN_CLOCK = timedelta(seconds=60)
"""The same where no `Date` was seen: this machine's clock stands for the service's then."""
CREATE_COOLDOWN = timedelta(seconds=SNAPSHOT_PER_DATABASE)
"""Two manual snapshots of one database cannot start closer than this: the service refuses the second."""
LATE = timedelta(minutes=15)
"""Soft deadline (90 s) and "typically ~2 minutes more", with room: a lost POST's snapshot is no later than this, and
an accepted one's that is later gets a warning."""


class AmbiguousSnapshot(Explained):
    """Two entries could be ours, and nothing tells which.

    Attributes:
        candidates: the two.
    """

    def __init__(self, candidates: tuple[ListedSnapshot, ListedSnapshot]) -> None:
        self.candidates = candidates
        described = " and ".join(
            f"{entry.version} ({rfc3339(entry.modified) if entry.modified else 'no time'}, {entry.size} bytes)"
            for entry in candidates
        )
        super().__init__(
            f"two snapshots of this database could be the one that was started: {described}. Somebody else took one at "
            "the same time, and the service does not say whose is whose",
            then=[Next(Step.OPEN_VERSION)],
        )


@dataclass(frozen=True)
class Search:
    """What is known of the snapshot that is looked for; times by the service's clock.

    Attributes:
        posted: when the POST began.
        earliest: `modified` of ours is not before this.
        latest: nor after this; None where there is no bound.
        excluded: versions that are known to be others.
    """

    posted: datetime
    earliest: datetime
    latest: datetime | None = None
    excluded: Collection[str] = frozenset()

    @classmethod
    def of(
        cls, post: Post, offset: float | None, *, finished: datetime | None = None, excluded: Collection[str] = ()
    ) -> Search:
        """The search for the snapshot of a POST.

        Args:
            post: the POST.
            offset: seconds that the service's clock is ahead, as known now; the POST's own wins.
            finished: service time of a 200: it was whole by then.
            excluded: versions of others.
        """
        known = post.service_clock_offset if post.service_clock_offset is not None else offset
        skew = SKEW if known is not None else SKEW_UNKNOWN_CLOCK
        posted = post.posted_at + timedelta(seconds=known or 0.0)
        latest = posted + (post.failed_after if post.accepted else LATE)
        if finished is not None:
            latest = finished + skew
        return cls(posted, posted - skew, latest, excluded)

    def is_late(self, entry: ListedSnapshot) -> bool:
        """Whether this entry, although taken as ours, is so late that the user should know."""
        return entry.modified is not None and entry.modified > self.posted + LATE


def late_text(database_id: str, entry: ListedSnapshot, search: Search) -> str:
    """What to warn of where an entry that is late was taken as ours: both times."""
    of = rfc3339(entry.modified) if entry.modified else "no time"
    return (
        f"snapshot {entry.version} of database {database_id} is taken to be the one that was started at "
        f"{rfc3339(search.posted.replace(microsecond=0))}, although it is of {of}: no earlier one is listed"
    )


def find_ours(entries: Iterable[ListedSnapshot], search: Search) -> ListedSnapshot | None:
    """The earliest manual entry since the POST, if it can only be ours.

    Raises:
        AmbiguousSnapshot: another one is so close to it that it may be the one.
    """
    candidates = sorted(
        (
            (entry.modified, index, entry)
            for index, entry in enumerate(entries)
            if entry.origin != "automatic"
            and entry.modified is not None
            and entry.modified >= search.earliest
            and (search.latest is None or entry.modified <= search.latest)
            and entry.version not in search.excluded
        ),
        key=lambda candidate: candidate[:2],
    )
    if not candidates:
        return None
    modified, _, ours = candidates[0]
    if len(candidates) > 1 and candidates[1][0] - modified < CREATE_COOLDOWN:
        raise AmbiguousSnapshot((ours, candidates[1][2]))
    return ours
