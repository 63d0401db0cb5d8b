"""Polls the listings until one shows the snapshot of a request. Numbers are monotonic seconds."""

import math
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio

from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.listing.listings import EXPIRED, READS_SHARE, Listings, Page
from pulumi_snapshots.listing.matching import find_match, unclaimed_since, with_times
from pulumi_snapshots.listing.poll_table import (
    PendingGroup,
    Poll,
    PolledPage,
    PolledSnapshot,
    PollMoment,
    PollSettings,
    next_poll,
)
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.service.models import ListedSnapshot
from pulumi_snapshots.service.rate_limiter import BLOCKED

PINNING = 5 * 60.0
"""Seconds in which a listing should show a complete snapshot with its pinned URL."""


class PollPlan:
    """Plans the polls of a process, which share the fetched pages; see `poll_table`.

    Args:
        listings: Fetches the pages.
        settings: What a user has set about polls.
    """

    def __init__(self, listings: Listings, settings: PollSettings) -> None:
        self.listings = listings
        self.clock = listings.clock
        self.settings = settings
        self._account_polled_at: float | None = None
        self._account_asked_at: float | None = None
        self._most_at_once = 0
        self._has_found = False
        self._is_refilled = False
        self._snapshots: list[PolledSnapshot] = []
        self._posts_to_come = 0

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Count a request while the body queues and sends the request.

        Yields:
            Nothing.
        """
        self._posts_to_come += 1
        self._is_refilled |= self._has_found
        try:
            self._count()
            yield
        finally:
            self._posts_to_come -= 1
            self._count()

    @contextmanager
    def polling(self, snapshot: PolledSnapshot) -> Iterator[None]:
        """Count a pending snapshot while the body polls for it.

        Args:
            snapshot: The pending snapshot.

        Yields:
            Nothing.
        """
        self._snapshots.append(snapshot)
        try:
            self._count()
            yield
        finally:
            self._snapshots.remove(snapshot)
            self._has_found = True
            self._count()

    def _count(self) -> None:
        """Count how many snapshots there are at once; the group ends with its last snapshot."""
        together = self._posts_to_come + len(self._unfinished)
        self._most_at_once = max(self._most_at_once, together)
        if not together:
            self._most_at_once = 0
            self._has_found = False
            self._is_refilled = False
        self.listings.announce_change()

    @property
    def _unfinished(self) -> tuple[PolledSnapshot, ...]:
        return tuple(each for each in self._snapshots if not each.is_finished)

    def next_poll(self, snapshot: PolledSnapshot) -> Poll:
        """Return which page is polled next for a snapshot that no page shows yet, and when.

        Args:
            snapshot: The pending snapshot.
        """
        group = PendingGroup(
            self._unfinished,
            self._posts_to_come,
            self._most_at_once,
            self._is_refilled,
            account_is_usable=self.listings.account_refusal is None,
            account_new_at=self.listings.account_new_at or self._account_asked_at,
            account_polled_at=self._account_polled_at,
        )
        return next_poll(PollMoment(snapshot, group, self.settings))

    async def poll(
        self, database_id: str, snapshot: PolledSnapshot, page: PolledPage
    ) -> SquareCloudError | None:
        """Poll for a snapshot; a page that was fetched for another snapshot a moment ago will do.

        Args:
            database_id: The database of the snapshot.
            snapshot: The snapshot, whose polls are noted.
            page: The page.

        Returns:
            A failure that can pass; None if the page was fetched.

        Raises:
            SquareCloudError: The service refuses the request for good.
        """
        now = self.clock.monotonic()
        since = max(snapshot.began, now - self.settings.every / 4)
        if page is PolledPage.ACCOUNT:
            # Noted at once, so that only one snapshot's wait sends the request.
            self._account_polled_at = now
            self._account_asked_at = now
            try:
                return await _passing_failure(self.listings.account_listing(since))
            finally:
                self._account_polled_at = self.clock.monotonic()
                self._account_asked_at = None
                self.listings.announce_change()
        failure = await _passing_failure(self.listings.own_page(database_id, since))
        snapshot.own_polled_at = self.clock.monotonic()
        is_new = snapshot.own_new_at is None or now >= snapshot.own_new_at + EXPIRED
        if failure is None and is_new:
            snapshot.own_new_at = now
        return failure


async def _passing_failure(request: Awaitable[object]) -> SquareCloudError | None:
    """Await a request; returns how it failed, if that may pass."""
    try:
        await request
    except SquareCloudError as error:
        if not error.passing:
            raise
        return error
    return None


@dataclass(frozen=True)
class AwaitedSnapshot:
    """The known properties of a snapshot before a listing shows it.

    Attributes:
        request: The request that started the snapshot.
        database_id: Its database.
        version: Its version, if an answer or another run has named the version.
        claimed: Versions of other requests, and versions that existed before this request.
        is_behind: See `find_match`.
        is_finished: Whether the answer was a 200, so that the snapshot should be listed at once.
        is_any: Whether any manual snapshot since the request will do, as for a guard.
        age: Seconds that earlier runs have waited for the snapshot.
    """

    request: Request
    database_id: str
    version: str | None = None
    claimed: Collection[str] = ()
    is_behind: bool = False
    is_finished: bool = False
    is_any: bool = False
    age: float = 0.0

    def find_on(self, page: Page) -> ListedSnapshot | None:
        """Return the snapshot's entry on a page; None if there is none yet.

        Args:
            page: The page.

        Raises:
            AmbiguousSnapshot: Two entries can be the snapshot.
        """
        if self.version is not None:
            return page.version(self.version)
        if self.is_any:
            since = unclaimed_since(page.entries, self.request, self.claimed)
            dated = with_times(since)
            return dated[0][1] if dated else None
        return find_match(
            page.entries,
            self.request,
            self.claimed,
            is_behind=self.is_behind,
        )

    @property
    def state_text(self) -> str:
        """The state of its request, in the two words that begin a progress line."""
        return {"200": "answered", "202": "accepted"}.get(
            self.request.answered, "answer lost"
        )

    @property
    def lost_text(self) -> str:
        """How the answer was lost, for a progress line; empty if there was an answer."""
        return "" if self.request.accepted else self.request.answered


class ListingWait:
    """The wait for one snapshot, page by page.

    Args:
        plan: Plans the polls of the process.
        awaited: The snapshot.
        report_wait: Shows on the row what the run waits for, as `Member.waits`.
    """

    def __init__(
        self,
        plan: PollPlan,
        awaited: AwaitedSnapshot,
        report_wait: Callable[..., None],
    ) -> None:
        self._plan = plan
        self._listings = plan.listings
        self._clock = plan.clock
        self._awaited = awaited
        self._report_wait = report_wait
        self._began = plan.clock.monotonic()
        answered = self._began - awaited.age
        # A snapshot whose answer was lost is most likely a quick one: for a slow snapshot the
        # service answers after 90 s.
        is_in_turn = (
            awaited.is_finished
            or not awaited.request.accepted
            or self._listings.may_be_old(awaited.database_id, answered)
        )
        self._polled = PolledSnapshot(
            self._began, answered, awaited.is_finished, is_in_turn
        )
        self._searched: list[Page] = []
        self._shown: Poll | None = None
        self._failure: SquareCloudError | None = None

    async def until_listed(self, patience: float = math.inf) -> ListedSnapshot | None:
        """Poll until a page shows the snapshot.

        Args:
            patience: The most seconds that the wait may take.

        Returns:
            Its entry; None if no page shows the snapshot in time, or if its own page lacks it
            minutes after every page must show it.

        Raises:
            SquareCloudError: A poll was refused for good, or the last one failed.
            AmbiguousSnapshot: Two entries can be the snapshot.
        """
        with self._plan.polling(self._polled), anyio.move_on_after(patience):
            while True:
                entry = self._find()
                if entry is not None or self._is_overdue():
                    return entry
                await self._poll_or_wait()
        if self._failure is not None:
            raise self._failure
        return None

    def _find(self) -> ListedSnapshot | None:
        """Search the pages that were fetched since the wait began, each once."""
        known = self._listings.known_pages(self._awaited.database_id, self._began)
        searched = [page.listing for page in self._searched]
        self._searched = known
        for page in known:
            if page.listing not in searched:
                entry = self._awaited.find_on(page)
                if entry is not None:
                    return entry
        return None

    def _is_overdue(self) -> bool:
        """Whether an own page, requested late enough to show the snapshot, lacks it."""
        request = self._awaited.request
        left = (
            request.posted_at
            + request.longest
            - self._listings.client.service_clock.now()
        )
        last = self._clock.monotonic() + left.total_seconds() + PINNING
        return any(
            page.listing.is_own and page.listing.sent_at >= last
            for page in self._searched
        )

    async def _poll_or_wait(self) -> None:
        """Poll if a poll is due, else wait until then, or until its time may have changed."""
        poll = self._plan.next_poll(self._polled)
        left = poll.at - self._clock.monotonic()
        if left > 0:
            self._report_next(poll, left)
            with anyio.move_on_after(left):
                await self._listings.changed.wait()
            return
        blocked_until = self._listings.client.limiter.blocked_until
        if blocked_until is not None:
            self._report_wait(
                BLOCKED, until=blocked_until, why=self._awaited.state_text
            )
        elif self._shown is None:
            self._report_wait(self._awaited.state_text, why=self._awaited.lost_text)
        database_id = self._awaited.database_id
        self._failure = await self._plan.poll(database_id, self._polled, poll.page)

    def _report_next(self, poll: Poll, left: float) -> None:
        """Show when the next poll is due, unless the row shows the time already."""
        if poll == self._shown:
            return
        self._shown = poll
        reasons = [self._awaited.lost_text]
        if self._failure is not None:
            reasons.append(failed_poll(self._failure))
        next_poll = self._clock.utc() + timedelta(seconds=left)
        why = ", ".join(filter(None, reasons))
        self._report_wait(self._awaited.state_text, next_poll=next_poll, why=why)


async def wait_for_version(  # noqa: PLR0913  what is known of it
    plan: PollPlan,
    database_id: str,
    version_id: str,
    waits: Callable[..., None],
    *,
    patience: float,
    created: datetime | None = None,
) -> tuple[ListedSnapshot | None, datetime | None]:
    """Find the entry of a snapshot, and wait while the listings can be too old to show the entry.

    There is no wait for a snapshot that this ledger does not know and whose time is not known: the
    id can be another machine's snapshot, or mistyped.

    Args:
        plan: The poll plan.
        database_id: The database of the snapshot.
        version_id: Its version.
        waits: Shows on the row what the run waits for, as `Member.waits`.
        patience: The most seconds that the wait may take.
        created: When the snapshot was made, by the service's clock; None if it is not known.

    Returns:
        The entry and None; or None and when each page must show it, see `Listings.listed_by`.

    Raises:
        SquareCloudError: The listings cannot be requested.
    """
    listings = plan.listings
    last = plan.clock.monotonic() + patience - READS_SHARE
    listed_by: datetime | None = None
    while True:
        failed = ""
        try:
            entry = await listings.find_version(database_id, version_id)
            if entry is not None:
                return entry, None
            listed_by = await listings.listed_by(database_id, version_id, created)
            is_known = created is not None or await listings.is_known(
                database_id, version_id
            )
            if not is_known or _is_out_of_reach(listed_by, plan.clock.utc(), patience):
                return None, listed_by
        except SquareCloudError as error:
            if listed_by is None or plan.clock.monotonic() > last:
                raise
            failed = failed_poll(error)
        next_poll = plan.clock.utc() + timedelta(seconds=READS_SHARE)
        waits("listing is old", until=listed_by, next_poll=next_poll, why=failed)
        await plan.clock.sleep(READS_SHARE)


def _is_out_of_reach(
    listed_by: datetime | None, now: datetime, patience: float
) -> bool:
    """Whether each page shows a snapshot already, or not within the time."""
    return listed_by is None or (listed_by - now).total_seconds() >= patience


def failed_poll(error: SquareCloudError) -> str:
    """Return what the progress says besides, after a poll whose failure can pass.

    Args:
        error: The failure.

    Raises:
        SquareCloudError: The failure, if waiting does not end it.
    """
    if not error.passing:
        raise error
    return f"last poll failed ({error.answer or 'no answer'})"
