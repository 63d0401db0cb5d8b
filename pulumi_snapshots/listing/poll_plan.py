"""When to look for what is pending, and at which listing: planned for all pending snapshots of a process together.

The service may serve a page for 30 minutes, and whether a new snapshot ends that is not known. So a look that comes too
early may cost half an hour, and one that comes late costs its lateness. There are a page for each database and one for
the account, each cached apart.

- One snapshot alone is looked for late, then every `look_every`, at the two listings in turn: a second chance where the
  first look came too early.
- Several share what is learnt. The page of one of them, the *probe*, is given up for a hint: asked early and often, it
  changes soon after its snapshot is there, or the pages are cached. Meanwhile each of the others asks its own page
  once, late; later ones still later after a miss. The account's page is kept for the end, when all have waited long
  enough: then one look may show all that were missed.
- With the hint, one look at the account's listing serves all, again and again. If the hint was wrong, only that one
  page is lost, and the own pages are there still.
- Whatever was fetched for somebody else is looked through at no cost.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.api.rate_limiter import ACCOUNT_LISTING
from pulumi_snapshots.listing.listings import SERVICE_CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_snapshots.clock import Clock
    from pulumi_snapshots.listing.listings import Listings, Page

__all__ = ["Poll", "PollPlan", "Waiting"]

SHARED_EVERY = 3 * ACCOUNT_LISTING.per_account
"""Seconds between two looks at the account's listing that serve all: the service answers 3 new ones a minute, to all
machines of the account together."""
FEW = 5
"""So few are looked for at their own pages too: that is sooner, and costs little."""
LATEST_FIRST = 2.5
"""A first look comes at most so many times `first_look_after` after the answer: 5 minutes unless configured."""
EXPIRED = SERVICE_CACHE + 5.0
"""Seconds after which a page is certainly a new one; the rest is for the time that it was on its way."""


@dataclass(frozen=True)
class Poll:
    """The next look for one pending snapshot.

    Attributes:
        at: when (monotonic).
        account: whether at the account's listing, instead of the database's own.
    """

    at: float
    account: bool = False


@dataclass(eq=False)
class Waiting:
    """One pending snapshot that is looked for; monotonic seconds.

    Attributes:
        began: pages that were asked for before are of no interest.
        answered: when its POST was answered, as far as waiting goes.
        first_after: seconds until its first look, where that does not depend on what others have seen.
        in_company: whether another one was ever looked for at the same time.
        tries: how many looks were tried for it, and when the last one.
        own_tries: how many of them at the database's own page, since that was last certainly a new one.
        own_since: when that was.
        own_first: when the own page was first shown.
        seen: when the newest pages that were looked through had been asked for: the own and the account's.
    """

    database_id: str
    began: float
    answered: float
    first_after: float | None
    in_company: bool = False
    tries: int = 0
    tried: float = -math.inf
    own_tries: int = 0
    own_tried: float = -math.inf
    own_since: float = math.inf
    own_first: float | None = None
    seen: tuple[float, float] = (-math.inf, -math.inf)


class PollPlan:
    """Plans the looks of a process.

    Args:
        listings: fetches listings, and learns from them.
        clock: the time.
        first_look_after: seconds from an answer to the first look.
        look_every: seconds between listings.
    """

    def __init__(self, listings: Listings, clock: Clock, *, first_look_after: float, look_every: float) -> None:
        self.listings = listings
        self.every = look_every
        self._clock = clock
        self._usual_first = self._first = first_look_after
        self._waits: list[Waiting] = []
        self._probe: Waiting | None = None
        self._posts_to_come = 0
        self._account_tried = -math.inf

    # Who is there ----------------------------------------------------------------------------------------------------

    @contextmanager
    def waits(self, database_id: str, *, age: float = 0.0, first_after: float | None = None) -> Iterator[Waiting]:
        """One more pending snapshot, until it is found or given up.

        Args:
            database_id: whose.
            age: seconds of waiting that lie behind it, in an earlier run.
            first_after: seconds until its first look, where it should be there by then and is looked for by itself.
        """
        now = self._clock.monotonic()
        wait = Waiting(database_id, now, now - age, first_after)
        self._waits.append(wait)
        self._regroup()
        try:
            yield wait
        finally:
            self._waits.remove(wait)
            self._regroup()

    @contextmanager
    def post_to_come(self) -> Iterator[None]:
        """A POST waits for its turn or its answer: its snapshot will be looked for later than all that are pending."""
        self._posts_to_come += 1
        try:
            yield
        finally:
            self._posts_to_come -= 1
            self._regroup()

    def _regroup(self) -> None:
        together = self._together()
        if len(together) > 1:
            for wait in together:
                wait.in_company = True
        if self._probe not in together:
            company = len(together) > 1 or self._posts_to_come > 0
            self._probe = next((wait for wait in together if wait.own_tries == 0), None) if company else None
        self.listings.learnt.ring()

    def _together(self) -> list[Waiting]:
        return [wait for wait in self._waits if wait.first_after is None]

    # What is known ---------------------------------------------------------------------------------------------------

    def unseen(self, wait: Waiting) -> list[Page]:
        """Pages that may show its snapshot and were not looked through, whoever asked for them."""
        pages = self.listings.fetched(wait.database_id)
        asked = [-math.inf if page is None else page.listing.sent_at for page in pages]
        fresh = [
            page
            for page, at, seen in zip(pages, asked, wait.seen, strict=True)
            if page is not None and at >= wait.began and at > seen
        ]
        wait.seen = (asked[0], asked[1])
        return fresh

    def missed(self, wait: Waiting) -> None:
        """All pages so far do not show it: if its own was asked for too early, those of later ones are asked later."""
        if wait.own_first is not None and wait.first_after is None:
            later = wait.own_first - wait.answered + self.every
            if later <= LATEST_FIRST * self._usual_first:
                self._first = max(self._first, later)

    async def sleep_until(self, at: float) -> None:
        """Sleep until then, or until something is learnt that may change the plan."""
        with anyio.move_on_after(at - self._clock.monotonic()):
            await self.listings.learnt.wait()

    # The plan --------------------------------------------------------------------------------------------------------

    def next_poll(self, wait: Waiting) -> Poll:
        """The next look for it, with what is known by now."""
        if not wait.in_company:
            return self._alone(wait)
        listings = self.listings
        account = listings.account_included and not listings.account_lags
        if listings.sees_new_at_once or (listings.hinted and not listings.account_lags):
            return self._while_not_cached(wait, account=account)
        if account and not self._posts_to_come and all(other.tries for other in self._together()):
            return _sooner(self._own(wait), self._for_all())
        return self._own(wait)

    def _alone(self, wait: Waiting) -> Poll:
        """Late, then again and again, at the two listings in turn while they may be cached."""
        known = self.listings.sees_new_at_once
        if wait.tries:
            at = wait.tried + self.every
            free = at >= self._account_tried + ACCOUNT_LISTING.per_account
            return Poll(at, account=wait.tries % 2 == 1 and free and not known)
        if wait.first_after is not None:
            return Poll(wait.began + wait.first_after)
        return Poll(wait.answered + (min(self._usual_first, self.every) if known else self._usual_first))

    def _while_not_cached(self, wait: Waiting, *, account: bool) -> Poll:
        """Pages change with the snapshots: the account's for all, own pages where that is no more, or no slower."""
        own = Poll(max(wait.began, wait.own_tried) + self.every)
        if not account or self.every < ACCOUNT_LISTING.per_account:
            return own
        together = Poll(max(wait.began + self.every, self._account_tried + SHARED_EVERY), account=True)
        if not self.listings.sees_new_at_once and not wait.own_tries:
            # The hint may be wrong, so the own page is not asked early for the first time.
            return _sooner(together, self._own(wait))
        return _sooner(together, own) if len(self._together()) <= FEW else together

    def _own(self, wait: Waiting) -> Poll:
        """The own page: once, late; after a miss ever more rarely, and when the service's cache of it is over."""
        if wait is self._probe and not self.listings.hinted:
            return Poll(max(wait.answered, wait.own_tried) + self.every)
        if not wait.own_tries:
            return Poll(max(wait.answered + self._first, wait.own_tried + self.every))
        rarely = wait.own_tried + self.every * 2 ** (wait.own_tries - 1)
        return Poll(max(wait.own_tried + self.every, min(rarely, wait.own_since + EXPIRED)))

    def _for_all(self) -> Poll:
        """The account's page, kept for the moment when everybody has waited long enough."""
        enough = max(self._usual_first + self.every, self._first)
        ready = max(wait.answered for wait in self._together()) + enough
        return Poll(max(ready, self.listings.account_asked + EXPIRED, self._account_tried + self.every), account=True)

    async def poll(self, wait: Waiting, poll: Poll) -> None:
        """Poll for it; `unseen` has what that brings.

        Raises:
            SquareCloudError: no listing.
        """
        # What another one has fetched meanwhile is as good.
        since = max(wait.began, self._clock.monotonic() - self.every / 2)
        wait.tries += 1
        try:
            if not poll.account or not await self._poll_account(since):
                await self._poll_own(wait, since)
        finally:
            wait.tried = self._clock.monotonic()

    async def _poll_account(self, since: float) -> bool:
        # The plans of all others see this at once, so one of them asks.
        self._account_tried = self._clock.monotonic()
        try:
            return await self.listings.account_listing(since) is not None
        finally:
            self._account_tried = self._clock.monotonic()

    async def _poll_own(self, wait: Waiting, since: float) -> None:
        asked = self._clock.monotonic()
        try:
            await self.listings.database(wait.database_id, since)
        finally:
            wait.own_tried = self._clock.monotonic()
        if wait.own_first is None:
            wait.own_first = asked
        if wait.own_tries == 0 or asked >= wait.own_since + EXPIRED:
            wait.own_since, wait.own_tries = asked, 0
        wait.own_tries += 1


def _sooner(one: Poll, other: Poll) -> Poll:
    return min(one, other, key=lambda poll: poll.at)
