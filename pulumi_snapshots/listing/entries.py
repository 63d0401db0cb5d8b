"""Which snapshots the service lists of a database: all of them, or an error; and which one a POST started.

The service may serve a page that is 30 minutes old. It must show the snapshots that runs have found since. Times are the service's.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import anyio

from pulumi_snapshots.clock import Clock, to_the_second
from pulumi_snapshots.errors import CannotTell, Explained, LedgerUnavailable, Next, Step
from pulumi_snapshots.ledger.attempt import LATEST_OF_LOST, SKEW, Attempt, Request
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.listing.listings import SERVICE_CACHE, Listings, Page
from pulumi_snapshots.service.client import BRIEF, POST_READ_TIMEOUT, Client
from pulumi_snapshots.service.limits import SNAPSHOT_PER_DATABASE
from pulumi_snapshots.service.models import AccountDatabase, ListedSnapshot, Listing

T = TypeVar("T")
Entries = dict[str, ListedSnapshot]
"""Entries by version."""
SKEW_BEHIND = timedelta(seconds=1)
"""`SKEW` if the service has refused the POST while another snapshot was running: that one ended in the seconds before."""
CREATE_COOLDOWN = timedelta(seconds=SNAPSHOT_PER_DATABASE)
"""Two manual snapshots of one database do not start closer together: the service refuses the second. Assumed for those from
the dashboard."""
ALMOST_OVER = timedelta(days=1)
"""A version with less than this left of its 30 days may be missing from a listing that shows everything."""
LATE = LATEST_OF_LOST
"""A later entry does not match a POST whose answer was lost; for an accepted POST it matches with a warning."""


class CompleteListings(Listings):
    """Gets complete lists, or raises a `CannotTell` if what the service lists may be incomplete.

    `origin` is `manual`, `automatic`, or None for both; `unlisted` whether a snapshot that a run has found may stand for its entry.
    """

    def __init__(self, client: Client, clock: Clock, ledger: Ledger, *, requests_per_minute: int) -> None:
        super().__init__(client, clock)
        self._ledger, self._budget = ledger, requests_per_minute

    async def found_lately(self, database_id: str | None = None, origin: str | None = None) -> list[Attempt]:
        """Which requests have found a version so lately that an old page may lack it; all of them are manual.

        Empty if the ledger cannot be read.
        """
        with suppress(LedgerUnavailable):
            found = [] if origin == "automatic" else await self._ledger.snapshots(database_id)
            return [each for each in found if self._age(each) < SERVICE_CACHE]
        return []

    async def unlisted(self, database_id: str, version_id: str) -> ListedSnapshot | None:
        """What is known of a version that no page shows yet, see `entry_of`; None unless a run has found it lately."""
        found = await self.found_lately(database_id)
        return next((entry_of(each) for each in found if each.result == version_id), None)

    def _age(self, found: Attempt) -> float:
        """Seconds since a version was found; another machine's clock may be ahead."""
        now = self._ledger.clock.now()
        return max(0.0, (now - found.ended_at).total_seconds()) if found.ended_at else math.inf

    def _renewed(self, since: float, lacking: Iterable[Attempt]) -> float:
        """The `since` of a page that shows what was found: one that was requested before that is requested again.

        The service may still serve an older page, but it caches the two listings apart, and one of them has shown the snapshot.
        """
        return max(since, self.clock.monotonic() - min(map(self._age, lacking)))

    async def of_database(
        self, database_id: str, since: float, *, origin: str | None = None, unlisted: bool = False
    ) -> Entries:
        """Get all snapshots of one database."""
        page = await self.page(database_id, since, patience=BRIEF)
        if not page.shows_all:
            page = await self.own_page(database_id, since, patience=BRIEF)
        entries = _by_version(page.entries, page.listing)
        lacking = [each for each in await self.found_lately(database_id, origin) if each.result not in entries]
        for page_of in (self.own_page, self.account_page):
            if lacking and (renewed := await page_of(database_id, self._renewed(since, lacking), patience=BRIEF)):
                entries = _by_version(renewed.entries, renewed.listing) | entries
                lacking = [each for each in lacking if each.result not in entries]
        if lacking and not unlisted:
            raise _old_page(lacking[-1])
        return entries | {each.result or "": entry_of(each) for each in lacking}

    async def of_account(
        self, since: float, *, origin: str | None = None, unlisted: bool = False
    ) -> dict[str, Entries]:
        """Get all snapshots of each database of the account, by a listing of each if plan or key do not allow the account's."""
        ask = partial(self.of_database, since=since, origin=origin, unlisted=unlisted)
        listing = await self.account_listing(since, patience=BRIEF)
        if listing is None:
            ids = [each.id for each in await self.databases(since)]
            if len(ids) + 2 > self._budget:  # two were used already: the refused listing and the account
                raise CannotTell(
                    f"{self.account_refusal} A listing for each of its {len(ids)} databases takes more than the "
                    f"{self._budget} requests of a minute",
                    then=[Next(Step.GIVE_DATABASE), Next(Step.RAISE_BUDGET)],
                )
            return dict(zip(ids, await ask_all([partial(ask, each) for each in ids]), strict=True))
        of_each = by_database(listing)
        found = await self.found_lately(origin=origin)
        if lacking := [each for each in found if each.result not in of_each.get(each.database_id, {})]:
            renewed = await self.account_listing(self._renewed(since, lacking), patience=BRIEF)
            of_each = by_database(renewed or listing)
        for one in {each.database_id for each in lacking}:
            of_each[one] = await ask(one) | of_each.get(one, {})
        return of_each

    async def databases(self, since: float) -> list[AccountDatabase]:
        """Get the databases of the account, in the service's order."""
        account = await self.account(since, patience=BRIEF)
        if account.unreadable:
            raise CannotTell(
                f"{account.unreadable} of {account.listed} entries of the service's list of the account's databases are unreadable",
                then=[Next(Step.LOOK_UP_DATABASE)],
            )
        return account.databases

    async def listed_by(self, database_id: str, version_id: str, created: datetime | None = None) -> datetime | None:
        """When every page must show a snapshot that no page shows yet; None if that time is over, or not known.

        `created` is when it was taken, by the service's clock, if the caller knows that; what a run has found is known here.
        """
        ages = [self._age(each) for each in await self.found_lately(database_id) if each.result == version_id]
        if created is not None:
            # That of one which no listing has shown yet is the time of its request: it is complete when the answer comes.
            ages.append((self._ledger.clock.now() - created).total_seconds() - POST_READ_TIMEOUT)
        # It exists by now: a time in the future is that of a clock that was set back.
        left = [end for age in ages if (end := SERVICE_CACHE - max(0.0, age)) > 0]
        return self.clock.utc() + timedelta(seconds=min(left)) if left else None


def entry_of(found: Attempt) -> ListedSnapshot:
    """What is known of a version that a run has found until a page shows it; without a name."""
    posted = found.request.requested
    return ListedSnapshot.model_construct(name="", version_id=found.result, modified=posted, origin="manual")


def _old_page(found: Attempt) -> CannotTell:
    """The error of a page that lacks what a run has found; its times are those of the ledger, the same in every call."""
    ended = found.ended_at or found.request.posted_at
    return CannotTell(
        f"the service serves an old page: it lacks snapshot {found.result} of database {found.database_id}, which a run "
        f"found at {ended:%H:%M:%S} UTC",
        then=[Next(Step.RUN_AGAIN_AFTER, time=f"{ended + timedelta(seconds=SERVICE_CACHE):%H:%M:%S} UTC")],
    )


def by_database(listing: Listing) -> dict[str, Entries]:
    """The entries of each database in the account's listing.

    Raises:
        CannotTell: the listing may be incomplete, or an entry may belong to any database.
    """
    _check(listing)
    if unknown := listing.of_each.get(None):
        raise CannotTell(
            f"the service's listing of the account does not say whose snapshot {unknown[0].version} is",
            then=[Next(Step.GIVE_DATABASE)],
        )
    return {database_id or "": _by_version(entries, listing) for database_id, entries in listing.of_each.items()}


def _by_version(entries: Iterable[ListedSnapshot], listing: Listing) -> Entries:
    _check(listing)
    return {entry.version or "": entry for entry in entries}


def _check(listing: Listing) -> None:
    """Raise CannotTell if a listing may have more entries."""
    if listing.unreadable:
        raise CannotTell(
            f"{listing.unreadable} of {listing.unreadable + len(listing.entries)} entries of the service's listing are "
            "unreadable, so it may be incomplete",
            then=[Next(Step.OPEN_VERSION)],
        )


def newest_first(entries: Iterable[ListedSnapshot]) -> list[ListedSnapshot]:
    """Sort entries by time, newest first; CannotTell if one has no time."""
    return sorted(entries, key=time_of, reverse=True)


def time_of(entry: ListedSnapshot) -> datetime:
    """The time of an entry on which an answer depends; CannotTell if it has none."""
    if entry.modified is None:
        raise CannotTell(
            f"the service lists snapshot {entry.version} without a time, so its age is not known",
            then=[Next(Step.OPEN_VERSION)],
        )
    return entry.modified


async def ask_all(questions: list[Callable[[], Awaitable[T]]]) -> list[T]:
    """Ask all questions at once; the first failure cancels the others and is raised."""
    answers: dict[int, T] = {}

    async def ask(number: int, question: Callable[[], Awaitable[T]]) -> None:
        answers[number] = await question()

    try:
        async with anyio.create_task_group() as group:
            for numbered in enumerate(questions):
                group.start_soon(ask, *numbered)
    except ExceptionGroup as failures:
        failure = failures.exceptions[0]
    else:
        return [answers[number] for number in sorted(answers)]
    raise failure


# The one that a POST started --------------------------------------------------


class AmbiguousSnapshot(Explained):
    """Two entries, the `candidates`, could be the snapshot of the POST."""

    def __init__(self, candidates: tuple[ListedSnapshot, ListedSnapshot]) -> None:
        self.candidates = candidates
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
    finished: datetime | None = None,
    *,
    behind: bool = False,
) -> list[ListedSnapshot]:
    """Find the entries that speak against a failure: manual, of no other request, and not too early or too late, if they have a time.

    What is known besides: `excluded` are versions of other requests, `finished` is when a 200 came, since the snapshot was complete
    by then, and `behind` whether the POST was refused before, since another snapshot of the database was running.
    """
    posted, skew = request.posted_at, SKEW_BEHIND if behind else SKEW
    latest = posted + (request.longest if request.accepted else LATE) if finished is None else finished + skew
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


def proves_failure(page: Page, request: Request, excluded: Collection[str], due: Mapping[str, datetime]) -> bool:
    """Whether the snapshot of a request would be on this page if it had been started.

    Not if the page may be cut, old or strange: it has entries that cannot be read, lacks a version that a state has (`due`, each
    with the end of its 30 days), or shows an entry that may be ours after all.
    """
    asked_at = page.listing.service_time
    if not page.complete or asked_at < request.posted_at + request.longest:
        return False
    lacks = any(page.version(version) is None and asked_at + ALMOST_OVER < end for version, end in due.items())
    return not lacks and not may_be_ours(page.entries, request, excluded)
