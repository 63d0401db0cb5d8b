"""The service's view of the account, fetched once for all callers of a process."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import CannotTell, Hint, HintKind, LedgerUnavailable
from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.service.client import (
    BRIEF,
    ONCE,
    PATIENT,
    POST_READ_TIMEOUT,
    Client,
    Patience,
)
from pulumi_snapshots.service.errors import (
    KeyRefused,
    ListingBlocked,
    SquareCloudError,
    Unavailable,
)
from pulumi_snapshots.service.models import (
    Account,
    AccountDatabase,
    DatabaseStatus,
    ListedSnapshot,
    Listing,
)

T = TypeVar("T")
Entries = dict[str, ListedSnapshot]
"""Entries by version."""
GATHER = 0.2
"""Seconds that a read waits for the other reads of its run."""
READS_SHARE = 60.0
"""Seconds for which the reads of one run share a page. The engine sends reads in waves, and the
service itself serves pages that are up to 30 minutes old."""
FLEET_FROM = 4
"""Reads within `READS_SHARE` from which on more are expected: the engine sends 4 reads for each
core. The few before cost no wait for the account's listing, which has a limit of its own."""
SERVICE_CACHE = 30 * 60.0
"""Seconds for which the service may serve the same page."""
EXPIRED = SERVICE_CACHE + 5.0
"""Seconds after which a page is certainly new, with 5 s for its transfer."""
CLOCK_ROOM = 60.0
"""Seconds by which the clocks of the service's parts may differ."""
FAILURE_LASTS = 60.0
"""Seconds for which a failure serves later callers, too."""
TOO_LONG = 5.0
"""Seconds after which a request that is given up counts as failed."""
ACCOUNT = "GET /users/me"
ACCOUNT_LISTING = "GET /users/snapshots"


@dataclass(frozen=True)
class Page:
    """The part of a listing about one database.

    Attributes:
        entries: The entries of the database, newest first.
        listing: The database's own listing, or the account's.
    """

    entries: tuple[ListedSnapshot, ...]
    listing: Listing

    @classmethod
    def of(cls, listing: Listing, database_id: str) -> Page:
        """Return the part about a database from its own listing, or from the account's.

        Args:
            listing: the listing.
            database_id: the database.
        """
        if listing.is_own:
            return cls(tuple(listing.entries), listing)
        return cls(tuple(listing.of_each.get(database_id, ())), listing)

    @property
    def complete(self) -> bool:
        """Whether the page shows all listed snapshots of the database.

        The account's page can lack an entry: an entry that does not say its database.
        """
        return self.listing.is_own and not self.listing.unreadable

    @property
    def may_lack_entries(self) -> bool:
        """Whether only the own page shows all entries of the database.

        An entry whose database is unknown can belong to this database. If there is no entry at all,
        there may be no snapshot, or no such database.
        """
        return not self.complete and (not self.entries or self._has_unclear_entries)

    @property
    def is_empty(self) -> bool:
        """Whether there is no snapshot of the database, if there is such a database."""
        return not self.entries and not self._has_unclear_entries

    @property
    def _has_unclear_entries(self) -> bool:
        return self.listing.unreadable > 0 or None in self.listing.of_each

    def version(self, version_id: str) -> ListedSnapshot | None:
        """Return the entry of a version; None if it is not listed.

        Args:
            version_id: the version.
        """
        return next(
            (entry for entry in self.entries if entry.version == version_id), None
        )


@dataclass(eq=False)
class _Answer:
    """The newest answer to one request, and a failure since; times in monotonic seconds.

    Attributes:
        content: The answer; None before the first one.
        at: When the answer was requested.
        new_at: When the request was last sent whose answer was certainly a new page.
        failure: How a later request failed; None if it did not.
        failed_at: When that ended.
        patience: How long the failed request was repeated.
        asking: Held while a request is under way.
    """

    content: Any = None
    at: float = -math.inf
    new_at: float = -math.inf
    failure: SquareCloudError | None = None
    failed_at: float = -math.inf
    patience: Patience = ONCE
    asking: anyio.Lock = field(default_factory=anyio.Lock)

    def is_since(self, since: float) -> bool:
        """Whether the answer was requested then or later."""
        return self.content is not None and self.at >= since

    def failure_since(
        self, since: float, patience: Patience
    ) -> SquareCloudError | None:
        """Return a failure that also serves a caller with this patience; None if there is none."""
        serves = self.patience == patience and self.failed_at >= since
        return self.failure if serves else None

    def take(self, content: Any, at: float) -> None:
        """Keep an answer that was requested then."""
        self.content = content
        self.at = at
        if at >= self.new_at + EXPIRED:
            self.new_at = at


class Listings:
    """Fetches listings, and what else the service says of the account.

    Each database has its own listing, and the account has another; the service caches each listing
    apart. In all methods, `since` is in monotonic seconds: the answer to a request of that moment
    or later is used again, without a request. All methods that fetch raise a `SquareCloudError` if
    there is no answer, or if the answer is unreadable.

    Attributes:
        changed: Set, and replaced, when something may change the time of the next poll.
    """

    def __init__(self, client: Client, clock: Clock, ledger: Ledger) -> None:
        self.changed = anyio.Event()
        self.client = client
        self.clock = clock
        self._ledger = ledger
        self._answers = defaultdict[str, _Answer](_Answer)
        # When reads began that no known page served.
        self._reads: list[float] = []
        # When each version was looked up for the first time.
        self._sought: dict[str, float] = {}
        # How the service refused the account's listing, and until when that counts.
        self._refusal: SquareCloudError | None = None
        self._refused_until = -math.inf

    def announce_change(self) -> None:
        """Wake all callers that wait for a change: a new listing, or another pending snapshot."""
        self.changed.set()
        self.changed = anyio.Event()

    async def _newest(
        self,
        request: str,
        since: float,
        ask: Callable[..., Awaitable[T]],
        patience: Patience,
    ) -> T:
        """Return the newest answer to a request.

        A request that failed, or was given up because the service takes too long, also serves all
        callers that are as patient. Otherwise each of hundreds of reads would wait for a service
        that is down.

        Args:
            request: Names the request.
            since: See `Listings`.
            ask: Sends the request.
            patience: How long it is repeated.

        Returns:
            The answer of a request that was sent at `since` or later.

        Raises:
            SquareCloudError: The request failed.
        """
        answer = self._answers[request]
        async with answer.asking:
            if answer.is_since(since):
                known: T = answer.content
                return known
            now = self.clock.monotonic()
            failure = answer.failure_since(max(since, now - FAILURE_LASTS), patience)
            if failure is not None:
                raise failure.with_traceback(None)
            content = await self._ask(request, answer, ask, patience)
        if isinstance(content, Listing):
            self.announce_change()
        return content

    async def _ask(
        self,
        request: str,
        answer: _Answer,
        ask: Callable[..., Awaitable[T]],
        patience: Patience,
    ) -> T:
        """Send a request, and keep its answer or its failure; see `_newest`."""
        began = self.clock.monotonic()
        answer.failure = None
        answer.patience = patience
        try:
            content = await ask(patience=patience)
        except SquareCloudError as error:
            answer.failure = error
            raise
        except anyio.get_cancelled_exc_class():
            if self.clock.monotonic() - began >= TOO_LONG:
                answer.failure = Unavailable(request)
            raise
        finally:
            answer.failed_at = self.clock.monotonic()
        # A listing may have waited for its slot.
        answer.take(content, content.sent_at if isinstance(content, Listing) else began)
        return content

    # Databases -----------------------------------------------------------------------------------

    async def account(self, since: float, *, patience: Patience = PATIENT) -> Account:
        """Get the account, with all its databases.

        Args:
            since: See `Listings`.
            patience: How long the request is repeated.

        Returns:
            The account.
        """
        return await self._newest(ACCOUNT, since, self.client.account, patience)

    async def databases(self, since: float) -> list[AccountDatabase]:
        """Get the databases of the account, in the service's order.

        Args:
            since: See `Listings`.

        Returns:
            The databases.

        Raises:
            CannotTell: An entry is unreadable.
        """
        account = await self.account(since, patience=BRIEF)
        if account.unreadable:
            raise CannotTell(
                f"{account.unreadable} of {len(account.every)} entries of the service's list of "
                "the account's databases are unreadable",
                then=[Hint(HintKind.LOOK_UP_DATABASE)],
            )
        return account.databases

    async def database(
        self,
        database_id: str,
        since: float,
        *,
        patience: Patience = PATIENT,
    ) -> AccountDatabase:
        """Get one database, from the account if the account was requested at `since` or later.

        Args:
            database_id: The database.
            since: See `Listings`.
            patience: How long the request is repeated.

        Returns:
            The database.
        """
        account = self._answers[ACCOUNT]
        databases: list[AccountDatabase] = []
        if account.is_since(since):
            databases = account.content.databases
        for database in databases:
            if database.id == database_id:
                return database
        ask = partial(self.client.database, database_id)
        return await self._newest(f"GET /databases/{database_id}", since, ask, patience)

    async def database_status(
        self,
        database_id: str,
        since: float,
        *,
        patience: Patience = PATIENT,
    ) -> DatabaseStatus:
        """Get a database's status: whether it is running, and since when.

        Args:
            database_id: The database.
            since: See `Listings`.
            patience: How long the request is repeated.

        Returns:
            The status.
        """
        ask = partial(self.client.database_status, database_id)
        return await self._newest(
            f"GET /databases/{database_id}/status", since, ask, patience
        )

    # Pages ---------------------------------------------------------------------------------------

    async def own_page(
        self,
        database_id: str,
        since: float,
        *,
        patience: Patience = PATIENT,
    ) -> Page:
        """Get the database's own listing.

        Args:
            database_id: The database.
            since: See `Listings`.
            patience: How long the request is repeated.

        Returns:
            The listing.
        """
        ask = partial(self.client.list_snapshots, database_id)
        return Page.of(
            await self._newest(_request(database_id), since, ask, patience), database_id
        )

    async def account_listing(
        self, since: float, *, patience: Patience = PATIENT
    ) -> Listing | None:
        """Get the account's listing, which no caller needs alone.

        Args:
            since: See `Listings`.
            patience: How long the request is repeated.

        Returns:
            The listing; None if plan or key do not allow it, or while the service blocks it.
        """
        if self.account_refusal is not None:
            return None
        try:
            return await self._newest(
                ACCOUNT_LISTING, since, self.client.list_account, patience
            )
        except SquareCloudError as error:
            if error.passing or isinstance(error, KeyRefused):
                raise
            if error is not self._refusal:
                self._refusal = error
                self._refused_until = self.clock.monotonic() + _refused_for(error)
            return None

    async def account_page(
        self,
        database_id: str,
        since: float,
        *,
        patience: Patience = PATIENT,
    ) -> Page | None:
        """Get the part of the account's listing about a database; see `account_listing`.

        Args:
            database_id: The database.
            since: See `Listings`.
            patience: How long the request is repeated.

        Returns:
            The part about the database; None if the account's listing is not available.
        """
        listing = await self.account_listing(since, patience=patience)
        return None if listing is None else Page.of(listing, database_id)

    @property
    def account_refusal(self) -> SquareCloudError | None:
        """The service's last refusal of the account's listing; None while there is none."""
        return self._refusal if self.clock.monotonic() < self._refused_until else None

    @property
    def account_requested_at(self) -> float:
        """When the account's page was last requested, in monotonic seconds."""
        return self._answers[ACCOUNT_LISTING].at

    @property
    def account_new_at(self) -> float | None:
        """When the page of the account that the service may still serve was requested.

        None if the next request gets a new page.
        """
        new_at = self._answers[ACCOUNT_LISTING].new_at
        return new_at if self.clock.monotonic() < new_at + EXPIRED else None

    def known_pages(self, database_id: str, since: float) -> list[Page]:
        """Return the pages that were requested at `since` or later, the database's own first.

        Args:
            database_id: The database.
            since: See `Listings`.
        """
        answers = [self._answers[_request(database_id)], self._answers[ACCOUNT_LISTING]]
        return [
            Page.of(each.content, database_id)
            for each in answers
            if each.is_since(since)
        ]

    def may_be_old(self, database_id: str, since: float) -> bool:
        """Return whether the service may still serve this process an own page from before `since`.

        Args:
            database_id: The database.
            since: See `Listings`.
        """
        return since - SERVICE_CACHE < self._answers[_request(database_id)].at < since

    @property
    def recent(self) -> float:
        """The `since` for the reads of one run, which the engine sends in waves."""
        return self.clock.monotonic() - READS_SHARE

    async def page(
        self,
        database_id: str,
        since: float,
        *,
        patience: Patience = PATIENT,
        together: bool = False,
        spares_own: bool = False,
    ) -> Page:
        """Get a page for a read or a lookup, which can be one of many.

        From the fourth read on, the account's page serves all reads. So a fleet leaves its own
        pages alone, which the service would still serve to creates that follow.

        Args:
            database_id: The database.
            since: See `Listings`.
            patience: How long a request is repeated.
            together: Whether to wait for other reads that the engine sends at the same moment.
            spares_own: Whether a create that follows needs one of the two pages to be unrequested,
                in any process. Then a single read uses the account's page too, if the service
                allows it, unless a run has requested the own page already.

        Returns:
            The database's own page, or the account's.
        """
        known = self.known_pages(database_id, since)
        if known:
            return known[0]
        recent = self.recent
        self._reads = [
            *(at for at in self._reads if at > recent),
            self.clock.monotonic(),
        ]
        await self.clock.sleep(GATHER if together else 0.0)
        is_of_fleet = len(self._reads) >= FLEET_FROM
        if is_of_fleet or (
            spares_own and not await self._is_own_page_spent(database_id)
        ):
            page = await self.account_page(database_id, since, patience=patience)
            if page is not None:
                return page
        return await self.own_page(database_id, since, patience=patience)

    async def _is_own_page_spent(self, database_id: str) -> bool:
        """Whether a run has polled the own page lately, so that one more request costs nothing.

        A run that waits for a single snapshot finds it on that page. A run that waits for several
        finds them on the account's.
        """
        attempts = await self.found_lately()
        polled = {
            each.database_id for each in attempts if each.request.answered != "200"
        }
        return polled == {database_id}

    async def complete_page(
        self,
        database_id: str,
        since: float,
        *,
        spares_own: bool,
    ) -> Page:
        """Get a page that shows all listed entries of a database; see `page`.

        Args:
            database_id: The database.
            since: See `Listings`.
            spares_own: See `page`.

        Returns:
            The page.
        """
        page = await self.page(
            database_id, since, patience=BRIEF, spares_own=spares_own
        )
        if not page.may_lack_entries:
            return page
        if spares_own and page.is_empty and await self._is_there(database_id, since):
            return page
        return await self.own_page(database_id, since, patience=BRIEF)

    async def _is_there(self, database_id: str, since: float) -> bool:
        """Whether the service shows a database; False if the key does not let it say so."""
        with suppress(SquareCloudError):
            await self.database(database_id, since, patience=BRIEF)
            return True
        return False

    async def find_version(
        self, database_id: str, version_id: str
    ) -> ListedSnapshot | None:
        """Find the entry of a snapshot that should be listed.

        Args:
            database_id: The database.
            version_id: The version.

        Returns:
            The entry; None if neither the own page nor the account's shows it.
        """
        self._sought.setdefault(version_id, self.clock.monotonic())
        for page_of in (self.page, self.own_page, self.account_page):
            page = await page_of(database_id, self.recent, patience=BRIEF)
            entry = page.version(version_id) if page is not None else None
            if entry is not None:
                return entry
        return None

    # Complete lists ------------------------------------------------------------------------------
    # The service may serve a page that is 30 minutes old, and a complete list must show what runs
    # have found since. All times in this part are the service's.

    async def found_lately(
        self,
        database_id: str | None = None,
        origin: str | None = None,
    ) -> list[Attempt]:
        """Return the requests whose snapshots were found so lately that an old page can lack them.

        Args:
            database_id: The database; None for all.
            origin: The origin that is wanted. Runs request manual snapshots only.

        Returns:
            The requests; none without a ledger that can be read.
        """
        if origin == "automatic":
            return []
        with suppress(LedgerUnavailable):
            attempts = await self._ledger.snapshots(database_id)
            return [each for each in attempts if self._age(each) < SERVICE_CACHE]
        return []

    async def unlisted(
        self, database_id: str, version_id: str
    ) -> ListedSnapshot | None:
        """Return the known properties of a version that no page shows yet.

        All manual snapshots of a database share one name, so the name is taken from another one on
        a page; it is empty if there is none.

        Args:
            database_id: The database.
            version_id: The version.

        Returns:
            An entry as `entry_of` makes it; None unless a run has found the version lately.
        """
        for each in await self.found_lately(database_id):
            if each.result != version_id:
                continue
            name, runtime = self._name_of_manual(database_id)
            return entry_of(each).model_copy(update={"name": name, "runtime": runtime})
        return None

    def _name_of_manual(self, database_id: str) -> tuple[str, str | None]:
        """Return the name and engine that all manual snapshots share; empty if they differ."""
        names = {
            entry.name: entry.runtime
            for page in self.known_pages(database_id, self.recent)
            for entry in page.entries
            if entry.origin == "manual"
        }
        return names.popitem() if len(names) == 1 else ("", None)

    def _age(self, attempt: Attempt) -> float:
        """Return the seconds since a version was found; another machine's clock may be ahead."""
        if attempt.ended_at is None:
            return math.inf
        return max(0.0, (self._ledger.clock.now() - attempt.ended_at).total_seconds())

    async def of_database(
        self,
        database_id: str,
        since: float,
        *,
        origin: str | None = None,
        unlisted: bool = False,
        spares_own: bool = False,
    ) -> Entries:
        """Get all snapshots of one database.

        Args:
            database_id: The database.
            since: See `Listings`.
            origin: `manual`, `automatic`, or None for both.
            unlisted: Whether the ledger's note of a snapshot may stand for its entry.
            spares_own: See `page`.

        Returns:
            The entries of both origins.

        Raises:
            CannotTell: The service's list may be incomplete.
        """
        page = await self.complete_page(database_id, since, spares_own=spares_own)
        entries = _by_version(page.entries, page.listing)
        found = await self.found_lately(database_id, origin)
        lacking = _lacking(found, entries)
        # What has an entry of its own here is not worth a page that a create needs later.
        if lacking and not (unlisted and spares_own):
            entries = await self._with_newer_pages(database_id, since, entries, lacking)
            lacking = _lacking(found, entries)
        if lacking and not unlisted:
            raise _old_page_error(lacking[-1])
        return entries | {each.result or "": entry_of(each) for each in lacking}

    async def _with_newer_pages(
        self,
        database_id: str,
        since: float,
        entries: Entries,
        lacking: list[Attempt],
    ) -> Entries:
        """Add the entries of both pages, as far as they are needed to find what is lacking.

        The service may still serve an older page of one listing, but it caches the two apart, and
        the other has shown the snapshot.
        """
        found_at = self.clock.monotonic() - min(map(self._age, lacking))
        for page_of in (self.own_page, self.account_page):
            if not _lacking(lacking, entries):
                break
            page = await page_of(database_id, max(since, found_at), patience=BRIEF)
            if page is not None:
                entries = _by_version(page.entries, page.listing) | entries
        return entries

    async def of_account(
        self,
        since: float,
        *,
        origin: str | None = None,
        unlisted: bool = False,
    ) -> dict[str, Entries]:
        """Get all snapshots of each database of the account.

        If plan or key do not allow the account's listing, this requests the listing of each
        database.

        Args:
            since: See `Listings`.
            origin: See `of_database`.
            unlisted: See `of_database`.

        Returns:
            The entries of each database. Entries of another origin are left out if they cost a
            request.

        Raises:
            CannotTell: The service's list may be incomplete.
        """
        ask = partial(self.of_database, since=since, origin=origin, unlisted=unlisted)
        listing = await self.account_listing(since, patience=BRIEF)
        if listing is None:
            ids = [each.id for each in await self.databases(since)]
            answers = await ask_all([partial(ask, each) for each in ids])
            return dict(zip(ids, answers, strict=True))
        of_each = by_database(listing)
        attempts = await self.found_lately(origin=origin)
        lacking = {
            each.database_id
            for each in attempts
            if each.result not in of_each.get(each.database_id, {})
        }
        for database_id in lacking:
            of_each[database_id] = await ask(database_id) | of_each.get(database_id, {})
        return of_each

    async def is_known(self, database_id: str, version_id: str) -> bool:
        """Return whether a run of this ledger found a version so recently that a page can lack it.

        Args:
            database_id: The database.
            version_id: The version.
        """
        attempts = await self.found_lately(database_id)
        return any(each.result == version_id for each in attempts)

    async def listed_by(
        self,
        database_id: str,
        version_id: str,
        created: datetime | None = None,
    ) -> datetime | None:
        """Return when every page must show a snapshot that `find_version` has not found.

        Args:
            database_id: The database.
            version_id: The version. If no run of this ledger has found the version, another machine
                may have taken the snapshot just before its first lookup here.
            created: When the snapshot was made, by the service's clock; None if it is not known.

        Returns:
            The time, UTC; None if it is past, so that the database has no such snapshot.
        """
        attempts: list[Attempt] = []
        with suppress(LedgerUnavailable):
            attempts = await self._ledger.snapshots(database_id)
        ages = [self._age(each) for each in attempts if each.result == version_id]
        if created is not None:
            # An entry that no listing has shown yet has the time of its request: the snapshot is
            # complete when the answer comes.
            age = (self._ledger.clock.now() - created).total_seconds()
            ages.append(age - POST_READ_TIMEOUT)
        if not ages:
            now = self.clock.monotonic()
            ages.append(now - self._sought.get(version_id, now))
        # A snapshot exists by now, so a time in the future comes from a clock that was set back.
        left = [SERVICE_CACHE - max(0.0, age) for age in ages]
        soonest = min((seconds for seconds in left if seconds > 0), default=None)
        if soonest is None:
            return None
        return self.clock.utc() + timedelta(seconds=soonest)


def _request(database_id: str) -> str:
    return f"GET /databases/{database_id}/snapshots"


def _refused_for(error: SquareCloudError) -> float:
    """Seconds for which a refusal of the account's listing counts."""
    if isinstance(error, ListingBlocked):
        return error.retry_after or 0.0
    return math.inf


def _lacking(attempts: Iterable[Attempt], entries: Entries) -> list[Attempt]:
    """Return the requests whose snapshots are not among entries."""
    return [each for each in attempts if each.result not in entries]


def _old_page_error(attempt: Attempt) -> CannotTell:
    """Return the error that the service serves a page that lacks a snapshot which a run has found.

    Its times are the ledger's, the same in every call.
    """
    found_at = attempt.ended_at or attempt.request.posted_at
    listed_by = found_at + timedelta(seconds=SERVICE_CACHE)
    return CannotTell(
        f"the service serves an old page: it lacks snapshot {attempt.result} of database "
        f"{attempt.database_id}, which a run found at {found_at:%H:%M:%S} UTC",
        then=[Hint(HintKind.RUN_AGAIN_AFTER, time=f"{listed_by:%H:%M:%S} UTC")],
    )


def entry_of(attempt: Attempt) -> ListedSnapshot:
    """Return the entry of a version that a run has found, until a page shows it; without a name.

    Args:
        attempt: the request that started the snapshot.
    """
    posted = attempt.request.requested
    return ListedSnapshot.model_construct(
        name="",
        version_id=attempt.result,
        modified=posted,
        origin="manual",
    )


def by_database(listing: Listing) -> dict[str, Entries]:
    """Group the account's listing by database.

    Args:
        listing: the account's listing.

    Returns:
        The entries of each database.

    Raises:
        CannotTell: An entry may be missing, or may belong to any database.
    """
    _check(listing)
    unknown = listing.of_each.get(None)
    if unknown:
        raise CannotTell(
            "the service's listing of the account does not say whose snapshot "
            f"{unknown[0].version} is",
            then=[Hint(HintKind.GIVE_DATABASE)],
        )
    return {
        database_id or "": _by_version(entries, listing)
        for database_id, entries in listing.of_each.items()
    }


def _by_version(entries: Iterable[ListedSnapshot], listing: Listing) -> Entries:
    _check(listing)
    return {entry.version or "": entry for entry in entries}


def _check(listing: Listing) -> None:
    """Raise CannotTell if a listing may have more entries."""
    if listing.unreadable:
        raise CannotTell(
            f"{listing.unreadable} of {listing.unreadable + len(listing.entries)} entries of the "
            "service's listing are unreadable, so it may be incomplete",
            then=[Hint(HintKind.OPEN_VERSION)],
        )


def newest_first(entries: Iterable[ListedSnapshot]) -> list[ListedSnapshot]:
    """Return entries sorted by time, newest first.

    Args:
        entries: the entries, in any order.

    Raises:
        CannotTell: An entry has no time.
    """
    return sorted(entries, key=time_of, reverse=True)


def time_of(entry: ListedSnapshot) -> datetime:
    """Return the time of an entry on which an answer depends.

    Args:
        entry: the entry.

    Raises:
        CannotTell: The entry has no time.
    """
    if entry.modified is None:
        raise CannotTell(
            f"the service lists snapshot {entry.version} without a time, so its age is not known",
            then=[Hint(HintKind.OPEN_VERSION)],
        )
    return entry.modified


async def ask_all(questions: list[Callable[[], Awaitable[T]]]) -> list[T]:
    """Ask all questions at once; the first failure cancels the others and is raised.

    Args:
        questions: starts one request each.

    Returns:
        The answers, in the order of the questions.
    """
    answers: dict[int, T] = {}

    async def ask(number: int) -> None:
        answers[number] = await questions[number]()

    try:
        async with anyio.create_task_group() as group:
            for number in range(len(questions)):
                group.start_soon(ask, number)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [answers[number] for number in sorted(answers)]
