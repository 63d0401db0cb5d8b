"""Listings that cost little: one fetch of a listing serves everybody who needs it, and teaches how the service caches."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.api.client import BRIEF, PATIENT, Client, Patience
from pulumi_snapshots.api.errors import KeyRefused, SquareCloudError, Unavailable
from pulumi_snapshots.api.signed_url import database_in, database_of
from pulumi_snapshots.listing.newest import Newest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pulumi_snapshots.api.models import ListedSnapshot, Listing
    from pulumi_snapshots.clock import Clock

__all__ = ["READS_SHARE", "SERVICE_CACHE", "Bell", "Listings", "Page", "owner_of"]

GATHER = 0.2
"""Seconds that a read waits for the others of its run, so that they share one look."""
READS_SHARE = 60.0
"""Seconds that reads of one run share a page: the engine sends them in waves, and the service itself serves pages that
are up to 30 minutes old."""
FLEET = 4
"""Reads in one moment, or databases that a program looks up within `READS_SHARE`, that are the first of more, even where all are of one database: the engine sends 4 for each core."""
SERVICE_CACHE = 30 * 60.0
"""Seconds that the service may serve the same page."""


@dataclass(frozen=True)
class Page:
    """What a listing says about one database.

    Attributes:
        entries: its snapshots.
        listing: the listing that they come from.
        complete: whether a snapshot that is not among them was not in the service's listing.
    """

    entries: tuple[ListedSnapshot, ...]
    listing: Listing
    complete: bool

    @property
    def shows_all(self) -> bool:
        """Whether there are snapshots of the database, and nothing else in the listing may be one more.

        A page of the account's listing without any says nothing: there may be none, or no such database.
        """
        listing = self.listing
        return bool(self.entries) and not listing.unreadable and all(owner_of(entry) for entry in listing.entries)

    def version(self, version_id: str) -> ListedSnapshot | None:
        """The entry of this version."""
        return next((entry for entry in self.entries if entry.version == version_id), None)


class _NewestPage(Newest["Listing"]):
    """The newest fetch of one listing.

    Attributes:
        same_since: when the page was first seen as it is.
        unchanged_at: the last time that the page was seen before it changed; None while it never did.
        failed_at: when the newest fetch failed in a way that may pass, and `failure` how; None after a success.
    """

    same_since: float = 0.0
    unchanged_at: float | None = None
    failed_at: float = -math.inf
    failure: SquareCloudError | None = None


class Bell:
    """Wakes whoever waits for news."""

    def __init__(self) -> None:
        self._waiting: set[anyio.Event] = set()

    def ring(self) -> None:
        """There is news."""
        for event in self._waiting:
            event.set()

    async def wait(self) -> None:
        """Wait for news."""
        event = anyio.Event()
        self._waiting.add(event)
        try:
            await event.wait()
        finally:
            self._waiting.discard(event)


class Listings:
    """Fetches listings for a whole process.

    Args:
        client: asks the service.
        clock: the time.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._databases: dict[str, _NewestPage] = defaultdict(_NewestPage)
        self._account = _NewestPage()
        self._sorted: tuple[Listing, dict[str | None, list[ListedSnapshot]]] | None = None
        self._gathering: list[str] | None = None
        self._asked_alone: dict[str, float] = {}
        self.account_included = True
        """Whether plan and key allow the account's listing, as far as is known."""
        self.account_refusal: SquareCloudError | None = None
        """How the service refused it, if it did."""
        self.hinted = False
        """Whether a page changed within less than the cache's 30 minutes of being seen first: a new snapshot probably
        invalidates it, unless the page was old already."""
        self.sees_new_at_once = False
        """Whether a page changed so twice: a new snapshot invalidates it."""
        self.account_lags = False
        """Whether the account's page lacks what an own page showed before: that page is an old one."""
        self.learnt = Bell()
        """Rung when a listing was fetched, or something else may change when to look."""

    async def database(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> Page:
        """The database's own listing, asked for at `since` (monotonic) or later.

        Raises:
            SquareCloudError: no listing.
        """
        request = f"GET /databases/{database_id}/snapshots"
        listing = await self._fetched(
            self._databases[database_id],
            since,
            request,
            lambda: self._client.list_snapshots(database_id, patience=patience),
        )
        return Page(listing.entries, listing, complete=listing.unreadable == 0)

    async def account_listing(self, since: float, *, patience: Patience = PATIENT) -> Listing | None:
        """The account's listing, asked for at `since` or later; None where plan or key do not allow it.

        It is only the second chance of every look, so a refusal of it fails nobody: the database's own listing tells
        whether the key is good enough.

        Raises:
            SquareCloudError: no listing.
        """

        async def fetch() -> Listing:
            if self.account_refusal is not None:  # meanwhile, for another caller
                raise self.account_refusal
            return await self._client.list_account(patience=patience)

        if not self.account_included:
            return None
        try:
            return await self._fetched(self._account, since, "GET /users/snapshots", fetch)
        except SquareCloudError as error:
            if error.passing or isinstance(error, KeyRefused):
                raise
            self.account_included, self.account_refusal = False, error
            return None

    async def account(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> Page | None:
        """What the account's listing says of the database; None where plan or key do not allow that listing.

        Raises:
            SquareCloudError: no listing.
        """
        listing = await self.account_listing(since, patience=patience)
        return None if listing is None else self._of_account(listing, database_id)

    def fetched(self, database_id: str) -> tuple[Page | None, Page | None]:
        """What was fetched last, without asking: the database's own page and the account's."""
        own, account = self._databases[database_id].answer, self._account.answer
        return (
            None if own is None else Page(own.entries, own, complete=own.unreadable == 0),
            None if account is None else self._of_account(account, database_id),
        )

    @property
    def lately(self) -> float:
        """Since when (monotonic) a page is new enough for the reads of one run, which the engine sends in waves."""
        return self._clock.monotonic() - READS_SHARE

    @property
    def account_asked(self) -> float:
        """When the account's page was asked for last (monotonic)."""
        return -math.inf if self._account.answer is None else self._account.answer.sent_at

    async def shared(self, database_id: str, since: float, *, patience: Patience = PATIENT) -> Page:
        """One look for everybody who wants one in this moment: they wait for each other.

        The engine sends the reads of a fleet in waves, so that a second database within a minute is a fleet, too, and a
        whole wave of one database.

        Raises:
            SquareCloudError: no listing.
        """
        for page in self.fetched(database_id):
            if page is not None and page.listing.sent_at >= since:
                return page  # nobody needs to wait for the others of this moment
        together = await self._gather(database_id)
        databases = {*together, *(one for one, at in self._asked_alone.items() if at > self.lately)}
        if len(databases) > 1 or len(together) >= FLEET:
            page = await self.account(database_id, since, patience=patience)
            if page is not None:
                return page
        self._asked_alone[database_id] = self._clock.monotonic()
        return await self.database(database_id, since, patience=patience)

    async def looked_up(self, database_id: str, since: float, *, patience: Patience = BRIEF) -> Page:
        """One look for a program's lookup, which asks for one database after the other.

        Few are asked for their own listings, which costs no waiting; then one look at the account's serves all that follow.

        Raises:
            SquareCloudError: no listing.
        """
        for known in self.fetched(database_id):
            if known is not None and known.listing.sent_at >= since and (known.complete or known.shows_all):
                return known
        if sum(at > self.lately for one, at in self._asked_alone.items() if one != database_id) >= FLEET - 1:
            page = await self.account(database_id, since, patience=patience)
            if page is not None and page.shows_all:
                return page
        self._asked_alone[database_id] = self._clock.monotonic()
        return await self.database(database_id, since, patience=patience)

    async def listed(self, database_id: str, version_id: str) -> ListedSnapshot | None:
        """The entry of a snapshot that should be there; None where neither page shows it.

        Raises:
            SquareCloudError: the service could not be asked.
        """
        entry = (await self.shared(database_id, self.lately, patience=BRIEF)).version(version_id)
        return entry or (await self.database(database_id, self.lately, patience=BRIEF)).version(version_id)

    async def _fetched(
        self, page: _NewestPage, since: float, request: str, fetch: Callable[[], Awaitable[Listing]]
    ) -> Listing:
        """The newest page; fetched now unless it was asked for at `since` or later.

        A fetch that fails, or is given up because the service takes too long, serves everybody too: else hundreds of reads
        would wait for a service that is down, each.
        """

        async def question() -> tuple[Listing, float]:
            if page.failure is not None and page.failed_at >= since:
                raise page.failure.with_traceback(None)
            try:
                listing = await fetch()
            except SquareCloudError as error:
                if error.passing:
                    page.failed_at, page.failure = self._clock.monotonic(), error
                raise
            except anyio.get_cancelled_exc_class():
                page.failed_at, page.failure = self._clock.monotonic(), Unavailable(request)
                raise
            self._take(page, listing)
            return listing, listing.sent_at

        return await page.ask(since, question)

    async def _gather(self, database_id: str) -> list[str]:
        """The reads of the same moment: the database of each."""
        gathering = self._gathering
        if gathering is None:
            gathering = self._gathering = [database_id]
            try:
                await self._clock.sleep(GATHER)
            finally:
                self._gathering = None
        else:
            gathering.append(database_id)
            await self._clock.sleep(GATHER)
        return gathering

    def _take(self, page: _NewestPage, listing: Listing) -> None:
        """Keep a fetched page, and learn from it which of the two possible caches the service has.

        One change is a hint and no proof: the page may have been nearly 30 minutes old when it was seen first. Two
        changes within less than that time prove it.
        """
        earlier, page.answer = page.answer, listing
        page.failure = None
        if earlier is None:
            page.same_since = listing.sent_at
        elif not _versions(listing) <= _versions(earlier):
            if listing.sent_at - page.same_since < SERVICE_CACHE:
                self.hinted = True
            if page.unchanged_at is not None and listing.sent_at - page.unchanged_at < SERVICE_CACHE:
                self.sees_new_at_once = True
            page.same_since, page.unchanged_at = listing.sent_at, earlier.sent_at
        if self._account.answer is not None:
            self.account_lags = self._lacks_what_was_seen(self._account.answer)
        self.learnt.ring()

    def _of_account(self, listing: Listing, database_id: str) -> Page:
        if self._sorted is None or self._sorted[0] is not listing:
            # Once for each listing: it holds a month of every database, and every pending snapshot looks through it.
            entries: dict[str | None, list[ListedSnapshot]] = defaultdict(list)
            for entry in listing.entries:
                entries[owner_of(entry)].append(entry)
            self._sorted = listing, entries
        # An entry whose database cannot be told may be ours, so this listing alone never proves an absence.
        return Page(tuple(self._sorted[1].get(database_id, ())), listing, complete=False)

    def _lacks_what_was_seen(self, account: Listing) -> bool:
        """Whether it lacks a snapshot that its database's own page had shown by then."""
        shown = _versions(account)
        own = (each.answer for each in self._databases.values() if each.answer is not None)
        return any(page.sent_at < account.sent_at and not _versions(page) <= shown for page in own)


def _versions(listing: Listing) -> set[str | None]:
    return {entry.version for entry in listing.entries}


def owner_of(entry: ListedSnapshot) -> str | None:
    """The database of an entry of the account's listing; None where it cannot be told.

    The object in its URL's path tells; only old entries, which have none, are named by nothing but their database.
    """
    return database_in(entry.name) if entry.url is None else database_of(entry.url)
