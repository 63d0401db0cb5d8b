"""The plan of the polls: when to poll for each pending snapshot, and at which listing.

The service may serve a page for 30 minutes, and whether a new snapshot ends that is known only from the settings. So the first
poll of a page may cost half an hour if it comes too early, and costs only its delay if it comes late. Polling a page again
costs only the request. Each database has a page, and the account has one; the service caches each of them apart.

- The own page is polled late, and after a miss at growing intervals if there are several, since the account's page serves all.
- The account's page is the second chance of what was missed, so its first poll waits until it can show that: for one snapshot,
  or if POSTs are to come, until one has waited for long; otherwise until all have waited. Then it is polled every minute.
- If resources wait for slots of the engine, each snapshot that is found lets one begin, so that is done sooner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.listing.listings import SERVICE_CACHE, Listings, Page
from pulumi_snapshots.service.limits import ACCOUNT_LISTING, CREATE

SHARED_EVERY = 3 * ACCOUNT_LISTING.per_account
"""Seconds between two polls of the account's page. The service answers 3 a minute, to all machines of the account together."""
SOONER = 2 / 3
"""How soon it is polled again while resources wait for slots of the engine, as a share of that."""
SECOND_CHANCE = 3
"""When the account's page is first polled for a snapshot that its own page missed, as a multiple of `first_poll_after`."""
HELPED = 4
"""How much more rarely all own pages together are polled than one alone, if the account's page serves them too."""
EXPIRED = SERVICE_CACHE + 5.0
"""Seconds after which a page is certainly new, with 5 s for its transfer."""


@dataclass(frozen=True)
class Poll:
    """The next poll for a pending snapshot: when (monotonic seconds), and whether at the account's page."""

    at: float
    account: bool = False


@dataclass(eq=False)
class PolledSnapshot:
    """A pending snapshot and its polls; times are monotonic seconds.

    Attributes:
        database_id: the snapshot's database.
        began: when the polling began; pages requested earlier are ignored.
        answered: when the wait for the snapshot began, in this run or an earlier one.
        first_at: when it is polled first, if it should be listed by then; such a snapshot is polled by itself.
        in_turn: whether both pages are polled in turn, since the own page is likely an old one, or the snapshot a quick one.
        own_tried: when the last poll of the own page ended.
        own_since: when the own page was last certainly a new one.
        read: when the newest pages searched for it were requested: the own page and the account's.
    """

    database_id: str
    began: float
    answered: float
    first_at: float | None
    in_turn: bool
    own_tried: float = -math.inf
    own_since: float = -math.inf
    read: tuple[float, float] = (-math.inf, -math.inf)


class PollPlan:
    """Plans and sends the polls of a process.

    Args:
        listings: fetches the listings.
        clock: the time.
        first_poll_after: seconds from an answer to the first poll.
        poll_every: seconds between two polls.
        ended_by_snapshot: whether a new snapshot ends the caching of a page; None if that is not known.
    """

    def __init__(
        self,
        listings: Listings,
        clock: Clock,
        *,
        first_poll_after: float,
        poll_every: float,
        ended_by_snapshot: bool | None = None,
    ) -> None:
        self.first_poll_after, self.poll_every = first_poll_after, poll_every
        self.listings = listings
        self.clock = clock
        self._ended, self._kept = ended_by_snapshot is True, ended_by_snapshot is False
        self._polled: list[PolledSnapshot] = []
        self._expected_posts = self._most = 0
        self._first = first_poll_after
        self._account_tried = -math.inf

    # The pending snapshots ---------------------------------------------------------------------------------------------

    @contextmanager
    def including(
        self, database_id: str, *, age: float = 0.0, first_after: float | None = None, accepted: bool = True
    ) -> Iterator[PolledSnapshot]:
        """Include a pending snapshot in the plan while the body runs.

        Args:
            database_id: the snapshot's database.
            age: seconds that earlier runs have waited.
            first_after: seconds until the first poll, if the snapshot should be listed by then and is polled by itself.
            accepted: whether the service has accepted it; otherwise its answer was lost.
        """
        now = self.clock.monotonic()
        # A snapshot whose answer was lost is most likely a quick one; the service answers a slow one after 90 s.
        in_turn = not accepted or first_after is not None or self.listings.may_be_old(database_id, now - age)
        first_at = None if first_after is None else now + first_after
        polled = PolledSnapshot(database_id, now, now - age, first_at, in_turn)
        self._polled.append(polled)
        self._count()
        try:
            yield polled
        finally:
            self._polled.remove(polled)
            self._count()

    @contextmanager
    def expecting_post(self) -> Iterator[None]:
        """Expect another pending snapshot while the body queues and sends its POST; it is polled after all others."""
        self._expected_posts += 1
        self._count()
        try:
            yield
        finally:
            self._expected_posts -= 1
            self._count()

    def _count(self) -> None:
        """Count how many resources there were at once, since there was none."""
        resources = len(self._together) + self._expected_posts
        self._most = max(self._most, resources) if resources else 0
        self.listings.announce_change()

    def unread_pages(self, polled: PolledSnapshot) -> list[Page]:
        """The pages that may show the snapshot and were not searched for it yet, whatever they were fetched for."""
        pages = self.listings.known_pages(polled.database_id)
        own, account = (-math.inf if page is None else page.listing.sent_at for page in pages)
        unread = [
            page
            for page, at, read in zip(pages, (own, account), polled.read, strict=True)
            if page is not None and at >= polled.began and at > read
        ]
        polled.read = own, account
        return unread

    def note_miss(self, polled: PolledSnapshot) -> None:
        """Remember that no page shows the snapshot yet: if its own page was polled too early, others are polled later."""
        later = polled.own_since - polled.answered + self.poll_every
        if polled.first_at is None and later <= self._long:
            self._first = max(self._first, later)

    # The plan ----------------------------------------------------------------------------------------------------------

    def is_early(self, age: float) -> bool:
        """Whether a poll for a snapshot that was requested `age` seconds ago could freeze a page without it."""
        return 0 <= age < self._first_alone

    @property
    def _first_alone(self) -> float:
        return min(self.first_poll_after, self.poll_every) if self._ended else self.first_poll_after

    def next_poll(self, polled: PolledSnapshot) -> Poll:
        """Plan the next poll for a snapshot, with the facts known by now."""
        own, account = self._own_at(polled), self._account_at(polled)
        # One request for all is better than one for this snapshot a little sooner.
        return Poll(account, account=True) if account <= own + self.poll_every / 4 else Poll(own)

    def _own_at(self, polled: PolledSnapshot) -> float:
        if polled.own_tried == -math.inf:
            if polled.first_at is not None:
                return polled.first_at
            if self._is_alone(polled):
                return polled.answered + self._first_alone
            # A miss at the end costs little, since the account's page is polled soon for all.
            is_late = self._expected_posts or self._account_is_used
            return polled.answered + (self._first if is_late else self.first_poll_after)
        again = polled.own_since + EXPIRED
        if not self._kept or polled.first_at is not None:
            doubled = max(self.poll_every, polled.own_tried - polled.own_since)
            is_helped = self.listings.account_refusal is None and self.poll_every >= ACCOUNT_LISTING.per_account
            pages = 1 if self._is_alone(polled) else len(self._together) * (HELPED if is_helped else 1)
            again = min(polled.own_tried + min(doubled, self.poll_every * pages), again)
        return max(again, max(polled.own_tried, self._account_tried) + self.poll_every)

    def _account_at(self, polled: PolledSnapshot) -> float:
        if self.listings.account_refusal is not None:
            return math.inf
        together, is_used = self._together, self._account_is_used
        missed = [each.answered for each in together if each.own_tried > -math.inf]
        alone = self._is_alone(polled)
        enough = self.first_poll_after + self.poll_every
        # Resources wait for slots of the engine if the service's limit between two POSTs does not explain why some are to come.
        is_short = self._expected_posts > 0 and self._most * CREATE.per_account < enough
        long = enough if is_short else self._long
        if self._kept and is_used:
            first = self.listings.account_requested_at + EXPIRED
        elif alone and (polled.in_turn or is_used):
            first = polled.own_tried + self.poll_every if polled.own_tried > -math.inf else math.inf
        elif not alone and (is_used or self._ended):
            first = min(each.began for each in together) + self.poll_every
        elif alone or self._expected_posts:
            first = min((at + long for at in missed), default=math.inf)
        else:
            first = max(missed) + enough if len(missed) == len(together) else math.inf
        return max(first, self._account_tried + SHARED_EVERY * (SOONER if is_short else 1.0))

    def _is_alone(self, polled: PolledSnapshot) -> bool:
        return polled.first_at is not None or self._most == 1

    @property
    def _long(self) -> float:
        return SECOND_CHANCE * self.first_poll_after

    @property
    def _account_is_used(self) -> bool:
        """Whether the account's page was requested so lately that it may be an old one."""
        return self.clock.monotonic() < self.listings.account_requested_at + EXPIRED

    @property
    def _together(self) -> list[PolledSnapshot]:
        """The snapshots that share their polls."""
        return [polled for polled in self._polled if polled.first_at is None]

    # The polls ---------------------------------------------------------------------------------------------------------

    async def sleep_until(self, at: float) -> None:
        """Sleep until `at` (monotonic seconds), or until something may have changed the plan."""
        with anyio.move_on_after(at - self.clock.monotonic()):
            await self.listings.changed.wait()

    async def poll(self, polled: PolledSnapshot, poll: Poll) -> None:
        """Poll for a snapshot; `unread_pages` returns the result.

        Raises:
            SquareCloudError: there is no listing.
        """
        # A page that was fetched for another snapshot in the meantime is good enough.
        at = self.clock.monotonic()
        since = max(polled.began, at - self.poll_every / 4)
        if poll.account:
            # The plans of all other snapshots take this into account at once, so that only one of them sends the request.
            self._account_tried = at
            try:
                await self.listings.account_listing(since)
            finally:
                self._account_tried = self.clock.monotonic()
            return
        try:
            await self.listings.own_page(polled.database_id, since)
        finally:
            polled.own_tried = self.clock.monotonic()
        if at >= polled.own_since + EXPIRED:
            polled.own_since = at
