"""Which snapshot a POST started, as far as the listings show it. Times are the service's."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Explained, Next, Step
from pulumi_snapshots.ledger.attempt import LATEST_OF_LOST, SKEW, Request
from pulumi_snapshots.listing.listings import Page
from pulumi_snapshots.service.limits import SNAPSHOT_PER_DATABASE
from pulumi_snapshots.service.models import ListedSnapshot

SKEW_BEHIND = timedelta(seconds=1)
"""`SKEW` if the service has refused the POST while another snapshot was running: that one ended in the seconds before."""
CREATE_COOLDOWN = timedelta(seconds=SNAPSHOT_PER_DATABASE)
"""Two manual snapshots of one database do not start closer together: the service refuses the second. Assumed for those from
the dashboard."""
ALMOST_OVER = timedelta(days=1)
"""A version with less than this left of its 30 days may be missing from a listing that shows everything."""
LATE = LATEST_OF_LOST
"""A later entry does not match a POST whose answer was lost; for an accepted POST it matches with a warning."""


class AmbiguousSnapshot(Explained):
    """Two entries could be the snapshot of the POST."""

    def __init__(self, candidates: tuple[ListedSnapshot, ListedSnapshot]) -> None:
        super().__init__(
            f"two snapshots of this database could be the one that was started: {' and '.join(map(described, candidates))}. "
            "Somebody else took one at the same time, and the service does not say whose is whose",
            then=[Next(Step.OPEN_VERSION)],
        )


def described(entry: ListedSnapshot) -> str:
    """An entry as an error shows it: its version, and what tells it from others."""
    return f"{entry.version} ({to_the_second(entry.modified) if entry.modified else 'no time'}, {entry.size} bytes)"


def late_text(database_id: str, entry: ListedSnapshot, request: Request) -> str:
    """The warning for an entry that matches but is so late that the user should know, with both times; empty if it is not."""
    if entry.modified is None or entry.modified <= request.posted_at + LATE:
        return ""
    return (
        f"snapshot {entry.version} of database {database_id} was matched to the request of "
        f"{to_the_second(request.posted_at)}, although its time is {to_the_second(entry.modified)}: no earlier one is listed"
    )


def may_be_ours(
    entries: Iterable[ListedSnapshot],
    request: Request,
    excluded: Collection[str] = (),
    *,
    behind: bool = False,
) -> list[ListedSnapshot]:
    """Find the entries that speak against a failure: manual, of no other request, and not too early or too late, if they have a time.

    What is known besides: `excluded` are versions of other requests, and `behind` is whether the POST was refused before, since
    another snapshot of the database was running.
    """
    posted, skew = request.posted_at, SKEW_BEHIND if behind else SKEW
    latest = posted + (request.longest if request.accepted else LATE)
    return [
        entry
        for entry in entries
        if entry.origin != "automatic"
        and entry.version not in excluded
        and (entry.modified is None or posted - skew <= entry.modified <= latest)
    ]


def earliest(candidates: Iterable[ListedSnapshot]) -> ListedSnapshot | None:
    """Find ours, the earliest of those that may be it and have a time; AmbiguousSnapshot if another one is as likely by its time."""
    dated = sorted(((each.modified, each) for each in candidates if each.modified), key=lambda each: each[0])
    if len(dated) > 1 and dated[1][0] - dated[0][0] < CREATE_COOLDOWN:
        raise AmbiguousSnapshot((dated[0][1], dated[1][1]))
    return dated[0][1] if dated else None


def doubt(page: Page, request: Request, excluded: Collection[str], due: Mapping[str, datetime]) -> str:
    """Why the snapshot of a request may exist though this page does not show it for certain; empty if there is none.

    The page may be cut, old or strange: it has entries that cannot be read, lacks a version that a state has (`due`, each with the
    end of its 30 days), or shows an entry that may be ours after all.
    """
    if listed := ", ".join(map(described, may_be_ours(page.entries, request, excluded))):
        return f"The service lists what may be it, or somebody else's: {listed}."
    asked_at = page.listing.service_time
    lacks = any(page.version(version) is None and asked_at + ALMOST_OVER < end for version, end in due.items())
    if lacks or not page.complete or asked_at < request.posted_at + request.longest:
        return "The service's listing is not whole, so it does not prove that the snapshot never came."
    return ""
