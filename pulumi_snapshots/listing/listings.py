"""The fetched listings of a process: one request serves all callers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.service.client import BRIEF, ONCE, PATIENT, Client, Patience
from pulumi_snapshots.service.errors import KeyRefused, ListingBlocked, SquareCloudError, Unavailable
from pulumi_snapshots.service.models import ListedSnapshot, Listing
from pulumi_snapshots.service.signed_url import database_of, database_of_name

GATHER = 0.2
"""Seconds that a read waits for the other reads of its run, so that they share one request."""
READS_SHARE = 60.0
"""Seconds that the reads of one run share a page. The engine sends reads in waves, and the service itself serves pages that
are up to 30 minutes old."""
FLEET_FROM = 4
"""Simultaneous reads, or databases looked up within `READS_SHARE`, from which on more are expected. The engine sends 4 reads
for each core, so this is true even if all of them are of one database."""
SERVICE_CACHE = 30 * 60.0
"""Seconds for which the service may serve the same page."""
CLOCK_ROOM = 60.0
"""Seconds by which the clocks of the service's parts may differ."""


@dataclass(frozen=True)
class Page:
    """The part of a listing about one database.

    Attributes:
        entries: the database's snapshots.
        listing: the listing that contains them.
        complete: whether `entries` proves that no other snapshot of the database was listed.
    """

    entries: tuple[ListedSnapshot, ...]
    listing: Listing
    complete: bool

    @property
    def shows_all(self) -> bool:
        """Whether there are entries, and no other entry of the listing may belong to the database.

        A page of the account's listing without entries proves nothing: there may be no snapshot, or no such database.
        """
        listing = self.listing
        return bool(self.entries) and not listing.unreadable and all(map(database_of_entry, listing.entries))

    def version(self, version_id: str) -> ListedSnapshot | None:
        """The entry of this version."""
        return next((entry for entry in self.entries if entry.version == version_id), None)


@dataclass(eq=False)
class _Fetched:
    """The newest fetch of one listing.

    Attributes:
        answer: the listing; None until there is one.
        failure: how a later fetch failed in a way that may pass; None after a success.
        failed_at: when (monotonic seconds).
        patience: how patient that was.
        fetching: held by the caller that fetches.
    """

    answer: Listing | None = None
    failure: SquareCloudError | None = None
    failed_at: float = -math.inf
    patience: Patience = ONCE
    fetching: anyio.Lock = field(default_factory=anyio.Lock)


class Listings:
    """Fetches listings for a whole process.

    Each database has its own listing, and the account has one; the service caches each of them apart. In all methods `since`
    is in monotonic seconds: a page that was requested then or later is used again, without a request. All that fetch raise a
    `SquareCloudError` if there is no listing.

    Attributes:
        client: sends the requests.
        clock: the time.
        changed: set, and replaced by a new event, when something may change the time of the next poll.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self.changed = anyio.Event()
        self.client = client
        self.clock = clock
        self._own: dict[str, _Fetched] = defaultdict(_Fetched)
        self._account = _Fetched()
        self._of_each: dict[str | None, list[ListedSnapshot]] = {}
        self._gathering: list[str] | None = None
        self._requested_alone: dict[str, float] = {}
        self._refusal: SquareCloudError | None = None
        self._refused_until = -math.inf

    def announce_change(self) -> None:
        """Wake all who wait for a change: a listing was fetched, or the pending snapshots are others."""
        self.changed.set()
        self.changed = anyio.Event()

    # The two listings --------------------------------------------------------------------------------------------------

    async def own_page(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> Page:
        """Get the database's own listing."""
        fetch = partial(self.client.list_snapshots, database_id, patience=patience)
        request = f"GET /databases/{database_id}/snapshots"
        return _own(await self._fetch(self._own[database_id], since, request, fetch, patience))

    async def account_listing(self, since: float, *, patience: Patience = PATIENT) -> Listing | None:
        """Get the account's listing; None if plan or key do not allow it, or while the service blocks it.

        No caller depends on this listing alone, so a refusal is no error: the database's own listing shows whether the key
        is sufficient.
        """

        async def fetch() -> Listing:
            if self.account_refusal is not None:  # for another caller, while this one waited
                raise self.account_refusal
            listing = await self.client.list_account(patience=patience)
            # Sorted once, since it holds a month of every database, and every pending snapshot searches it.
            self._of_each = defaultdict(list)
            for entry in listing.entries:
                self._of_each[database_of_entry(entry)].append(entry)
            return listing

        if self.account_refusal is not None:
            return None
        try:
            return await self._fetch(self._account, since, "GET /users/snapshots", fetch, patience)
        except SquareCloudError as error:
            if error.passing or isinstance(error, KeyRefused):
                raise
            if error is not self._refusal:
                self._refusal = error
                wait = error.retry_after or 0.0 if isinstance(error, ListingBlocked) else math.inf
                self._refused_until = self.clock.monotonic() + wait
            return None

    async def account_page(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> Page | None:
        """Get the part of the account's listing about a database; None if `account_listing` is None."""
        listing = await self.account_listing(since, patience=patience)
        return None if listing is None else self._of_account(listing, database_id)

    @property
    def account_refusal(self) -> SquareCloudError | None:
        """How the service refused the account's listing; None while it allows it, as far as is known."""
        return self._refusal if self.clock.monotonic() < self._refused_until else None

    @property
    def account_requested_at(self) -> float:
        """When the account's page was last requested (monotonic seconds)."""
        return -math.inf if self._account.answer is None else self._account.answer.sent_at

    def known_pages(self, database_id: str) -> tuple[Page | None, Page | None]:
        """The pages fetched last: the database's own and the account's. Sends no request."""
        own, account = self._own[database_id].answer, self._account.answer
        return (
            None if own is None else _own(own),
            None if account is None else self._of_account(account, database_id),
        )

    def may_be_old(self, database_id: str, since: float) -> bool:
        """Whether a run has requested a database's own page before `since`, and the service may still serve it."""
        return since - SERVICE_CACHE < self.client.listed_at(database_id) < since

    # For reads and lookups ---------------------------------------------------------------------------------------------

    @property
    def recent(self) -> float:
        """The `since` for the reads of one run, which the engine sends in waves."""
        return self.clock.monotonic() - READS_SHARE

    async def read_page(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> Page:
        """Get a page for a read of the engine; simultaneous reads wait for each other and share one request.

        The engine sends the reads of a fleet in waves. So a second database within a minute means a fleet, as does a whole
        wave of reads of one database; a fleet shares the account's listing.
        """
        for page in self.known_pages(database_id):
            if page is not None and page.listing.sent_at >= since:
                return page  # there is nothing to share, so no need to wait
        together = await self._gather(database_id)
        if len({*together, *self._lately_alone()}) > 1 or len(together) >= FLEET_FROM:
            page = await self.account_page(database_id, since, patience=patience)
            if page is not None:
                return page
        return await self._alone(database_id, since, patience)

    async def lookup_page(self, database_id: str, since: float) -> Page:
        """Get a page for a lookup of a program, which looks up one database after the other.

        The first few databases get their own listings, which costs no waiting. Then the account's listing serves all others.
        """
        for page in self.known_pages(database_id):
            if page is not None and page.listing.sent_at >= since and (page.complete or page.shows_all):
                return page
        if len(self._lately_alone() - {database_id}) >= FLEET_FROM - 1:
            page = await self.account_page(database_id, since, patience=BRIEF)
            if page is not None and page.shows_all:
                return page
        return await self._alone(database_id, since, BRIEF)

    async def find_version(self, database_id: str, version_id: str) -> ListedSnapshot | None:
        """Find the entry of a snapshot that should be listed; None if neither listing shows it."""
        for page_of in (self.read_page, self.own_page, self.account_page):
            page = await page_of(database_id, self.recent, patience=BRIEF)
            if page is not None and (entry := page.version(version_id)) is not None:
                return entry
        return None

    def _lately_alone(self) -> set[str]:
        return {database_id for database_id, at in self._requested_alone.items() if at > self.recent}

    async def _alone(self, database_id: str, since: float, patience: Patience) -> Page:
        self._requested_alone[database_id] = self.clock.monotonic()
        return await self.own_page(database_id, since, patience=patience)

    async def _gather(self, database_id: str) -> list[str]:
        """The databases of all reads that come within `GATHER`."""
        first = self._gathering is None
        gathering = self._gathering = self._gathering or []
        gathering.append(database_id)
        try:
            await self.clock.sleep(GATHER)
        finally:
            if first:
                self._gathering = None
        return gathering

    # The fetching ------------------------------------------------------------------------------------------------------

    async def _fetch(
        self,
        page: _Fetched,
        since: float,
        request: str,
        fetch: Callable[[], Awaitable[Listing]],
        patience: Patience,
    ) -> Listing:
        """Get the newest page; fetch it now unless it was requested at `since` or later.

        A fetch that failed, or was given up because the service takes too long, also serves all callers that are as patient.
        Otherwise each of hundreds of reads would wait for a service that is down.
        """
        failure: SquareCloudError | None = None
        async with page.fetching:
            if page.answer is not None and page.answer.sent_at >= since:
                return page.answer
            if page.failure is not None and page.failed_at >= since and page.patience == patience:
                raise page.failure.with_traceback(None)
            try:
                page.answer = await fetch()
            except SquareCloudError as error:
                failure = error if error.passing else None
                raise
            except anyio.get_cancelled_exc_class():
                failure = Unavailable(request)
                raise
            finally:
                page.failure, page.failed_at, page.patience = failure, self.clock.monotonic(), patience
        self.announce_change()
        return page.answer

    def _of_account(self, listing: Listing, database_id: str) -> Page:
        # An entry whose database is unknown may belong to this one, so this listing alone never proves an absence.
        return Page(tuple(self._of_each.get(database_id, ())), listing, complete=False)


def _own(listing: Listing) -> Page:
    return Page(listing.entries, listing, complete=listing.unreadable == 0)


def database_of_entry(entry: ListedSnapshot) -> str | None:
    """The database of an entry of the account's listing; None if it is unknown.

    The database is in the path of the entry's URL. Old entries have no URL, and the database is their name.
    """
    return database_of_name(entry.name) if entry.url is None else database_of(entry.url)
