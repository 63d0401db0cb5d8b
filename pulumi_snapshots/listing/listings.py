"""What the service answers about the account, fetched once for all callers of a process."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.service.client import BRIEF, ONCE, PATIENT, Client, Patience
from pulumi_snapshots.service.errors import KeyRefused, ListingBlocked, SquareCloudError, Unavailable
from pulumi_snapshots.service.models import Account, AccountDatabase, DatabaseStatus, ListedSnapshot, Listing

T = TypeVar("T")
GATHER = 0.2
"""Seconds that a read waits for the other reads of its run."""
READS_SHARE = 60.0
"""Seconds that the reads of one run share a page. The engine sends reads in waves, and the service itself serves pages that
are up to 30 minutes old."""
FLEET_FROM = 4
"""Reads at once, or databases read within `READS_SHARE`, from which on more are expected: the engine sends 4 reads for each core.
The few before cost no wait for the account's listing, which has a limit of its own."""
SERVICE_CACHE = 30 * 60.0
"""Seconds for which the service may serve the same page."""
CLOCK_ROOM = 60.0
"""Seconds by which the clocks of the service's parts may differ."""
FAILURE_LASTS, TOO_LONG = 60.0, 5.0
"""Seconds for which a failure may serve later callers, too; and after which a request that is given up counts as failed."""
ACCOUNT, ACCOUNT_LISTING = "GET /users/me", "GET /users/snapshots"


@dataclass(frozen=True)
class Page:
    """The part of a listing about one database; `is_own` if that is the database's own, not the account's."""

    entries: tuple[ListedSnapshot, ...]
    listing: Listing
    is_own: bool

    @property
    def complete(self) -> bool:
        """Whether `entries` proves that no other snapshot of the database was listed.

        The account's page never does: an entry whose database is unknown may belong to this one.
        """
        return self.is_own and not self.listing.unreadable

    @property
    def shows_all(self) -> bool:
        """Whether no other entry of the listing may belong to the database, which exists.

        A page of the account's listing without entries proves nothing: there may be no snapshot, or no such database.
        """
        is_whole = bool(self.entries) and not self.listing.unreadable and None not in self.listing.of_each
        return self.complete or is_whole

    def version(self, version_id: str) -> ListedSnapshot | None:
        """The entry of this version."""
        return next((entry for entry in self.entries if entry.version == version_id), None)


@dataclass(eq=False)
class _Asked:
    """The newest answer to a request, and a failure since; times in monotonic seconds."""

    answer: Any = None
    at: float = -math.inf
    failure: SquareCloudError | None = None
    failed_at: float = -math.inf
    patience: Patience = ONCE
    asking: anyio.Lock = field(default_factory=anyio.Lock)


class Listings:
    """Fetches listings, and what else the service says of the account.

    Each database has its own listing, and the account has one; the service caches each of them apart. In all methods `since`
    is in monotonic seconds: what was requested then or later is used again, without a request. All that fetch raise a
    `SquareCloudError` if there is no answer, or if it is unreadable.

    Attributes:
        changed: set, and replaced by a new event, when something may change the time of the next poll.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self.changed = anyio.Event()
        self.client, self.clock = client, clock
        self._asked = defaultdict[str, _Asked](_Asked)
        self._requested_alone: dict[str, float] = {}
        self._reading = 0
        self._refusal: SquareCloudError | None = None
        self._refused_until = -math.inf

    def announce_change(self) -> None:
        """Wake all who wait for a change: a listing was fetched, or the pending snapshots are others."""
        self.changed.set()
        self.changed = anyio.Event()

    async def _newest(self, request: str, since: float, ask: Callable[..., Awaitable[T]], patience: Patience) -> T:
        """The newest answer to a request; `ask` the client now, with this patience, unless that was done at `since` or later.

        A request that failed, or was given up because the service takes too long, also serves all callers that are as patient.
        Otherwise each of hundreds of reads would wait for a service that is down.
        """
        asked = self._asked[request]
        async with asked.asking:
            if asked.answer is not None and asked.at >= since:
                known: T = asked.answer
                return known
            began, failure = self.clock.monotonic(), asked.failure
            if failure and asked.failed_at >= max(since, began - FAILURE_LASTS) and asked.patience == patience:
                raise failure.with_traceback(None)
            asked.failure, asked.patience = None, patience
            try:
                answer = asked.answer = await ask(patience=patience)
            except SquareCloudError as error:
                asked.failure = error if error.passing else None
                raise
            except anyio.get_cancelled_exc_class():
                asked.failure = Unavailable(request) if self.clock.monotonic() - began >= TOO_LONG else None
                raise
            finally:
                asked.failed_at = self.clock.monotonic()
            asked.at = answer.sent_at if isinstance(answer, Listing) else began  # it may have waited for its slot
        if isinstance(answer, Listing):
            self.announce_change()
        return answer

    def _known(self, request: str, since: float = -math.inf) -> Any:
        """The newest answer to a request; None without one that was requested at `since` or later."""
        asked = self._asked[request]
        return asked.answer if asked.at >= since else None

    # Databases ---------------------------------------------------------------------------------------------------------

    async def account(self, since: float, *, patience: Patience = PATIENT) -> Account:
        """Get the account, with all its databases."""
        return await self._newest(ACCOUNT, since, self.client.account, patience)

    async def database(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> AccountDatabase:
        """Get one database, from the account if that was requested at `since` or later."""
        account: Account | None = self._known(ACCOUNT, since)
        for database in account.databases if account else ():
            if database.id == database_id:
                return database
        ask = partial(self.client.database, database_id)
        return await self._newest(f"GET /databases/{database_id}", since, ask, patience)

    async def database_status(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> DatabaseStatus:
        """Get whether a database is running, and since when."""
        ask = partial(self.client.database_status, database_id)
        return await self._newest(f"GET /databases/{database_id}/status", since, ask, patience)

    # Listings ----------------------------------------------------------------------------------------------------------

    async def own_page(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> Page:
        """Get the database's own listing."""
        ask = partial(self.client.list_snapshots, database_id)
        return _own(await self._newest(_request(database_id), since, ask, patience))

    async def account_listing(self, since: float, *, patience: Patience = PATIENT) -> Listing | None:
        """Get the account's listing; None if plan or key do not allow it, or while the service blocks it.

        No caller depends on this listing alone, so a refusal is no error: the database's own listing shows whether the key
        is sufficient.
        """

        async def ask(*, patience: Patience) -> Listing:
            if self.account_refusal is not None:  # for another caller, while this one waited
                raise self.account_refusal
            return await self.client.list_account(patience=patience)

        if self.account_refusal is not None:
            return None
        try:
            return await self._newest(ACCOUNT_LISTING, since, ask, patience)
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
        return None if listing is None else _of_account(listing, database_id)

    @property
    def account_refusal(self) -> SquareCloudError | None:
        """How the service refused the account's listing; None while it allows it, as far as is known."""
        return self._refusal if self.clock.monotonic() < self._refused_until else None

    @property
    def account_requested_at(self) -> float:
        """When the account's page was last requested (monotonic seconds)."""
        return self._asked[ACCOUNT_LISTING].at

    def known_pages(self, database_id: str, since: float) -> list[Page]:
        """The newest pages, the database's own first, that were requested at `since` or later. Sends no request."""
        own, account = self._known(_request(database_id), since), self._known(ACCOUNT_LISTING, since)
        return [*([_own(own)] if own else []), *([_of_account(account, database_id)] if account else [])]

    def may_be_old(self, database_id: str, since: float) -> bool:
        """Whether a run has requested a database's own page before `since`, and the service may still serve it."""
        return since - SERVICE_CACHE < self.client.limiter.listed_at(database_id) < since

    @property
    def recent(self) -> float:
        """The `since` for the reads of one run, which the engine sends in waves."""
        return self.clock.monotonic() - READS_SHARE

    async def page(
        self, database_id: str, since: float, *, patience: Patience = PATIENT, together: bool = False
    ) -> Page:
        """Get a page for a read or a lookup, one of many perhaps: from the fourth on, the account's page serves all.

        `together` waits for others that the engine sends at the same moment. So a fleet leaves its own pages alone, which the
        service would still serve to creates that follow.
        """
        if known := self.known_pages(database_id, since):
            return known[0]
        self._reading += 1
        try:
            await self.clock.sleep(GATHER if together else 0.0)
            recent, alone = self.recent, self._requested_alone
            alone_lately = sum(at > recent for other, at in alone.items() if other != database_id)
            if max(self._reading, alone_lately + 1) >= FLEET_FROM:
                page = await self.account_page(database_id, since, patience=patience)
                if page is not None:
                    return page
            alone[database_id] = self.clock.monotonic()
            return await self.own_page(database_id, since, patience=patience)
        finally:
            self._reading -= 1

    async def find_version(self, database_id: str, version_id: str) -> ListedSnapshot | None:
        """Find the entry of a snapshot that should be listed; None if neither listing shows it."""
        for page_of in (self.page, self.own_page, self.account_page):
            page = await page_of(database_id, self.recent, patience=BRIEF)
            if page is not None and (entry := page.version(version_id)) is not None:
                return entry
        return None


def _request(database_id: str) -> str:
    return f"GET /databases/{database_id}/snapshots"


def _own(listing: Listing) -> Page:
    return Page(listing.entries, listing, is_own=True)


def _of_account(listing: Listing, database_id: str) -> Page:
    return Page(tuple(listing.of_each.get(database_id, ())), listing, is_own=False)
