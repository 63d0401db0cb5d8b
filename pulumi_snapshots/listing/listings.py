"""The fetched listings of a process: one request serves all callers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.listing.newest import Newest
from pulumi_snapshots.service.client import BRIEF, PATIENT, Client, Patience
from pulumi_snapshots.service.errors import KeyRefused, ListingBlocked, SquareCloudError
from pulumi_snapshots.service.models import ListedSnapshot, Listing

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
ACCOUNT = "GET /users/snapshots"


@dataclass(frozen=True)
class Page:
    """The part of a listing about one database.

    Attributes:
        entries: the database's snapshots.
        listing: the listing that contains them.
        is_own: whether that is the database's own, not the account's.
    """

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
        self._newest = Newest(clock, self.announce_change)
        self._requested_alone: dict[str, float] = {}
        self._reading = 0
        self._refusal: SquareCloudError | None = None
        self._refused_until = -math.inf

    def announce_change(self) -> None:
        """Wake all who wait for a change: a listing was fetched, or the pending snapshots are others."""
        self.changed.set()
        self.changed = anyio.Event()

    async def own_page(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> Page:
        """Get the database's own listing."""
        ask = partial(self.client.list_snapshots, database_id)
        return _own(await self._newest.get(_request(database_id), since, ask, patience))

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
            return await self._newest.get(ACCOUNT, since, ask, patience)
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
        account: Listing | None = self._newest.known(ACCOUNT)
        return -math.inf if account is None else account.sent_at

    def known_pages(self, database_id: str, since: float) -> list[Page]:
        """The newest pages, the database's own first, that were requested at `since` or later. Sends no request."""
        own, account = self._newest.known(_request(database_id), since), self._newest.known(ACCOUNT, since)
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
