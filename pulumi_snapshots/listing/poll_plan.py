"""The plan of the polls: when to poll for each pending snapshot, and at which listing.

The service may serve a page for 30 minutes, and whether a new snapshot invalidates the page is not known. So a poll that
comes too early may cost half an hour, and one that comes late costs only its delay. Each database has a page, and the
account has one; the service caches each of them apart. The plan covers all pending snapshots of a process:

- A single snapshot is polled late, then every `look_every`, at its own page. That alone is enough if a new snapshot
  invalidates the page. If not, the first poll may have come too early and the page is the same for half an hour, so the
  account's page is kept for later: it is polled once even a slow snapshot is ready, and from then on alternately.
- Several snapshots share what their polls show. One of them, the *probe*, polls its own page early and often, to find out
  whether a new snapshot invalidates it. Meanwhile each of the others polls its own page once, late; if some are missed,
  later ones are polled even later. The account's page is not requested until all have waited long enough, so that one
  request may show all that were missed. Once no POST is to come, they are polled a little sooner, since that request is near.
  While POSTs are to come it is sent only if a snapshot that was missed has waited for long.
- Once the probe's page has changed early, the account's listing is polled repeatedly, and serves all. If that one change
  was misleading, only the account's page is lost, and the own pages are still there. The last few are polled more often at
  their own pages too: by then no POST needs the budget.
- If resources wait for a slot of the engine, each snapshot that is found lets one of them begin. Then polls come sooner.
- A page that was fetched for another snapshot is always used, at no cost.

If the settings say how the service caches, there is no probe, and what would be found out is taken for known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

from pulumi_snapshots.api.pacing.rate_limiter import ACCOUNT_LISTING
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.listing.listings import SERVICE_CACHE, Listings, Page

SHARED_EVERY = 3 * ACCOUNT_LISTING.per_account
"""Seconds between two polls of the account's listing that serve all. The service answers 3 uncached ones a minute, to all
machines of the account together."""
FEW = 5
"""The last so many snapshots are polled at their own pages too, which is sooner."""
LAST_RATE = 3
"""How often that is, all of them together in `look_every`: the budget is idle by then, and the account's page serves all."""
HAND_OVER = 5.0
"""If a POST is queued within so many seconds after a snapshot was found, its resource has most likely waited for a slot of the
engine."""
SOONER = 2 / 3
"""How soon polls follow each other while resources wait for slots, as a share of the usual time."""
EARLY_FIRST = 0.5
"""How much later than `first_look_after` the last snapshots are polled first, in multiples of `look_every`. A miss costs little
then, since the account's page is polled soon for all."""
LATEST_FIRST = 2.5
"""The latest first poll, as a multiple of `first_look_after`: 5 minutes by default."""
SECOND_CHANCE = 3
"""When the account's page is first polled for a single snapshot, as a multiple of `first_look_after`: 6 minutes by default. A
snapshot is listed typically within 2 minutes of a 202; one that takes longer has had time, and is found within 10 minutes."""
ALMOST = 0.05
"""Part of a step by which a poll may come too early, since times are not exact."""
EXPIRED = SERVICE_CACHE + 5.0
"""Seconds after which a page is certainly new, with 5 s for its transfer."""


@dataclass(frozen=True)
class Poll:
    """The next poll for one pending snapshot.

    Attributes:
        at: when (monotonic seconds).
        account: whether it polls the account's listing, instead of the database's own.
    """

    at: float
    account: bool = False


@dataclass(eq=False)
class PolledSnapshot:
    """A pending snapshot and its polls; times are monotonic seconds.

    Attributes:
        database_id: the snapshot's database.
        began: when the polling began; pages requested earlier are ignored.
        answered: when the wait for the snapshot began, in this run or an earlier one.
        first_after: seconds until the first poll, if that does not depend on the polls of other snapshots.
        in_turn: whether the account's page is not kept for later: if the own page does not show it, that is likely an old one.
        needed: when the own page is to be polled, if that was not done since.
        in_company: whether another snapshot was ever polled for at the same time.
        tries: the number of polls.
        tried: when the last poll ended.
        own_tries: the number of polls of the own page since `own_since`.
        own_tried: when the last poll of the own page ended.
        own_since: when the own page was last certainly a new one.
        own_first: when the own page was first polled.
        read: when the newest pages searched for it were requested: the own page and the account's.
    """

    database_id: str
    began: float
    answered: float
    first_after: float | None
    in_turn: bool = False
    needed: tuple[float, ...] = ()
    in_company: bool = False
    tries: int = 0
    tried: float = -math.inf
    own_tries: int = 0
    own_tried: float = -math.inf
    own_since: float = math.inf
    own_first: float | None = None
    read: tuple[float, float] = (-math.inf, -math.inf)


class PollPlan:
    """Plans and sends the polls of a process.

    Args:
        listings: fetches the listings.
        clock: the time.
        first_look_after: seconds from an answer to the first poll.
        look_every: seconds between two polls.
    """

    def __init__(self, listings: Listings, clock: Clock, *, first_look_after: float, look_every: float) -> None:
        self.listings = listings
        self.every = look_every
        self._clock = clock
        self._usual_first = self._first = first_look_after
        self._polled: list[PolledSnapshot] = []
        self._probe: PolledSnapshot | None = None
        self._expected_posts = 0
        self._account_tried = -math.inf
        self._may_probe = True
        self._ended_at = -math.inf
        self._slots_are_short = False

    # The pending snapshots ---------------------------------------------------------------------------------------------

    @contextmanager
    def including(
        self,
        database_id: str,
        *,
        age: float = 0.0,
        first_after: float | None = None,
        accepted: bool = True,
        needed: tuple[float, ...] = (),
    ) -> Iterator[PolledSnapshot]:
        """Include a pending snapshot in the plan while the body runs.

        Args:
            database_id: the snapshot's database.
            age: seconds that earlier runs have waited.
            first_after: seconds until the first poll, if the snapshot should be listed by then and is polled by itself.
            accepted: whether the service has accepted it; otherwise its answer was lost.
            needed: see `PolledSnapshot`.
        """
        now = self._clock.monotonic()
        # A snapshot whose answer was lost is most likely a quick one; the service answers a slow one after 90 s.
        in_turn = not accepted or first_after is not None or self.listings.may_be_old(database_id, now - age)
        polled = PolledSnapshot(database_id, now, now - age, first_after, in_turn, needed)
        self._polled.append(polled)
        self._regroup()
        try:
            yield polled
        finally:
            self._polled.remove(polled)
            self._ended_at = self._clock.monotonic()
            if polled is self._probe and polled.own_tries > 1 and not self.listings.invalidation_likely:
                self._may_probe = False  # its page stayed the same: another probe would likely be in vain
            self._regroup()

    @contextmanager
    def expecting_post(self) -> Iterator[None]:
        """Expect another pending snapshot while the body queues and sends its POST; it is polled after all others."""
        self._expected_posts += 1
        self._slots_are_short |= self._clock.monotonic() - self._ended_at < HAND_OVER
        try:
            yield
        finally:
            self._expected_posts -= 1
            self._regroup()

    def _regroup(self) -> None:
        together = self._together()
        if len(together) > 1:
            for polled in together:
                polled.in_company = True
        if self._probe not in together and self._may_probe and not self.listings.kept:
            company = len(together) > 1 or self._expected_posts > 0
            self._probe = next((polled for polled in together if polled.own_tries == 0), None) if company else None
        self.listings.announce_change()

    def _together(self) -> list[PolledSnapshot]:
        """The snapshots that share their polls."""
        return [polled for polled in self._polled if polled.first_after is None]

    # What the polls show -----------------------------------------------------------------------------------------------

    def unread_pages(self, polled: PolledSnapshot) -> list[Page]:
        """The pages that may show the snapshot and were not searched for it yet, whatever they were fetched for."""
        pages = self.listings.known_pages(polled.database_id)
        requested = [-math.inf if page is None else page.listing.sent_at for page in pages]
        unread = [
            page
            for page, at, read in zip(pages, requested, polled.read, strict=True)
            if page is not None and at >= polled.began and at > read
        ]
        polled.read = (requested[0], requested[1])
        return unread

    def note_miss(self, polled: PolledSnapshot) -> None:
        """Note that no page shows the snapshot yet; if its own page was polled too early, the next ones come later."""
        if polled.own_first is not None and polled.first_after is None:
            # In whole steps, so that a first poll that came a little sooner raises it no further.
            steps = math.floor((polled.own_first - polled.answered - self._usual_first) / self.every + ALMOST) + 1
            later = self._usual_first + steps * self.every
            if later <= LATEST_FIRST * self._usual_first:
                self._first = max(self._first, later)

    async def sleep_until(self, at: float) -> None:
        """Sleep until `at` (monotonic seconds), or until something may have changed the plan."""
        with anyio.move_on_after(at - self._clock.monotonic()):
            await self.listings.changed.wait()

    # The plan ----------------------------------------------------------------------------------------------------------

    def is_early(self, age: float) -> bool:
        """Whether a wait for a snapshot that was requested `age` seconds ago would not have sent its first poll yet.

        A read that polls by then could freeze a page without the snapshot for half an hour.
        """
        return 0 <= age < self._first_alone

    @property
    def _first_alone(self) -> float:
        """Seconds until the first poll for a snapshot that is alone."""
        return min(self._usual_first, self.every) if self.listings.invalidation_proven else self._usual_first

    def next_poll(self, polled: PolledSnapshot) -> Poll:
        """Plan the next poll for a snapshot, with the facts known by now."""
        if not polled.in_company:
            return self._alone(polled)
        listings = self.listings
        account = listings.account_refusal is None and not listings.account_stale
        if listings.invalidation_proven or (listings.invalidation_likely and not listings.account_stale):
            return self._while_invalidated(polled, account=account)
        if not account:
            return self._own(polled)
        if self._expected_posts:
            return _sooner(self._own(polled), self._for_missed())
        if not self._slots_are_short and polled is not self._probe and self._account_is_left:
            return self._at_the_end(polled)
        own = self._own(polled)
        return _sooner(own, self._for_all()) if all(other.tries for other in self._together()) else own

    def _alone(self, polled: PolledSnapshot) -> Poll:
        """Late, then repeatedly at the own page; later alternately at the two listings."""
        if polled.first_after is not None and not polled.tries:
            return Poll(polled.began + polled.first_after)
        later = -math.inf if polled.in_turn else polled.answered + SECOND_CHANCE * self._usual_first
        if self.listings.kept:
            again = max(later, polled.tried + self.every, self.listings.account_requested_at + EXPIRED)
            return _sooner(self._own(polled), Poll(again, account=True))
        if polled.tries:
            at = polled.tried + self.every
            free = self._account_tried + max(ACCOUNT_LISTING.per_account, 1.5 * self.every)
            return Poll(at, account=at >= max(later, free))
        return Poll(polled.answered + self._first_alone)

    def _while_invalidated(self, polled: PolledSnapshot, *, account: bool) -> Poll:
        """The account's page for all; the own page if the account's is not allowed or stale, or if it is no slower."""
        own = Poll(max(polled.began, polled.own_tried) + self.every)
        if not account or self.every < ACCOUNT_LISTING.per_account:
            return own
        # With more POSTs to come than are pending, the POSTs are what takes long. At the end the own pages are sooner anyway.
        hurry = self._slots_are_short and 0 < self._expected_posts <= len(self._together())
        shared_every = SHARED_EVERY * (SOONER if hurry else 1.0)
        together = Poll(max(polled.began + self.every, self._account_tried + shared_every), account=True)
        if not self.listings.invalidation_proven and not polled.own_tries:
            # The one early change may have been misleading, so the first poll of the own page is not early.
            own = Poll(max(self._own(polled).at, self._account_tried + self.every / 2))
        else:
            own = Poll(self._of_the_last(polled))
        return own if own.at + self.every / 3 < together.at else together

    def _of_the_last(self, polled: PolledSnapshot) -> float:
        """When to poll the own page of one of the last few, beside the account's page; infinite while there are more."""
        seen = max(polled.began, polled.own_tried, self._account_tried)
        if self._slots_are_short:
            return seen + self.every * SOONER if len(self._together()) <= FEW else math.inf
        left = len(self._together()) + self._expected_posts
        if left > FEW:
            return math.inf
        # One that takes unusually long is no reason to keep polling this often.
        least = 0.5 if seen < polled.answered + 2 * self._usual_first else 1.0
        often = seen + self.every * max(least, left / LAST_RATE)
        # Most of them are ready by then, so that one round of polls finds all.
        typical = max(other.answered for other in self._together()) + self._usual_first
        return max(often, min(typical, seen + self.every) if left < FEW / 2 else typical)

    def _own(self, polled: PolledSnapshot, first: float | None = None) -> Poll:
        """The own page: once, late; after a miss at growing intervals, and when the service's cache of it has expired.

        Args:
            polled: the snapshot.
            first: seconds from its answer to the first poll; those that earlier misses have led to by default.
        """
        if polled is self._probe and not self.listings.invalidation_likely:
            return self._own_of_probe(polled)
        if not polled.own_tries:
            return Poll(max(polled.answered + (first or self._first), polled.own_tried + self.every))
        rarely = polled.own_tried + self.every * 2 ** (polled.own_tries - 1)
        needed = (at for at in polled.needed if at > polled.own_tried)
        return Poll(max(polled.own_tried + self.every, min(rarely, polled.own_since + EXPIRED, *needed)))

    def _own_of_probe(self, probe: PolledSnapshot) -> Poll:
        """Early and often, and at growing intervals once its snapshot should long be listed."""
        waited = probe.own_tried - probe.answered
        pause = self.every if waited < self._usual_first + self.every else waited / 2
        return Poll(max(probe.answered + self.every, probe.own_tried + pause))

    @property
    def _account_is_left(self) -> bool:
        """Whether the account's page was not tried for half an hour, so that it can show all that are missed."""
        return max(self._account_tried, self.listings.account_requested_at) + EXPIRED < self._clock.monotonic()

    def _for_missed(self) -> Poll:
        """The account's page while POSTs are to come: when one that was missed has waited for long."""
        missed = [other.answered for other in self._together() if other.own_tries]
        long = min(missed, default=math.inf) + SECOND_CHANCE * self._usual_first
        return Poll(
            max(long, self.listings.account_requested_at + EXPIRED, self._account_tried + self.every), account=True
        )

    def _at_the_end(self, polled: PolledSnapshot) -> Poll:
        """The own page once, a little sooner than usual; then the account's, when every snapshot was polled and has waited."""
        first = min(self._first, self._usual_first + EARLY_FIRST * self.every)
        if not polled.own_tries:
            return self._own(polled, first)
        polled_first = (other.answered + first for other in self._together() if not other.own_tries)
        return Poll(max([self._for_all().at, *polled_first]), account=True)

    def _for_all(self) -> Poll:
        """The account's page, when every snapshot has waited long enough."""
        enough = max(self._usual_first + self.every, self._first)
        ready = max(polled.answered for polled in self._together()) + enough
        return Poll(
            max(ready, self.listings.account_requested_at + EXPIRED, self._account_tried + self.every), account=True
        )

    # The polls ---------------------------------------------------------------------------------------------------------

    async def poll(self, polled: PolledSnapshot, poll: Poll) -> None:
        """Poll for a snapshot; `unread_pages` returns the result.

        Raises:
            SquareCloudError: there is no listing.
        """
        # A page that was fetched for another snapshot in the meantime is good enough.
        since = max(polled.began, self._clock.monotonic() - self.every / 4)
        polled.tries += 1
        try:
            if not poll.account or not await self._poll_account(since):
                await self._poll_own(polled, since)
        finally:
            polled.tried = self._clock.monotonic()

    async def _poll_account(self, since: float) -> bool:
        # The plans of all other snapshots take this into account at once, so that only one of them sends the request.
        self._account_tried = self._clock.monotonic()
        try:
            return await self.listings.account_listing(since) is not None
        finally:
            self._account_tried = self._clock.monotonic()

    async def _poll_own(self, polled: PolledSnapshot, since: float) -> None:
        at = self._clock.monotonic()
        try:
            await self.listings.own_page(polled.database_id, since)
        finally:
            polled.own_tried = self._clock.monotonic()
        if polled.own_first is None:
            polled.own_first = at
        if polled.own_tries == 0 or at >= polled.own_since + EXPIRED:
            polled.own_since, polled.own_tries = at, 0
        polled.own_tries += 1


def _sooner(one: Poll, other: Poll) -> Poll:
    return min(one, other, key=lambda poll: poll.at)
