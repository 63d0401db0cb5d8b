"""Other ways to look for many pending snapshots, to compare the provider's own with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.operations.create import NOT_AWAITED
from pulumi_snapshots.operations.looks import SERVICE_CACHE, Looks, Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_snapshots.api.models import Listing
    from pulumi_snapshots.operations.session import Session

__all__ = ["POLICIES", "Policy"]


class FixedInterval(Looks):
    """Each database's own listing, again and again."""

    async def pending(self, database_id: str, number: int, since: float) -> Page:  # noqa: ARG002
        return await self.database(database_id, since)


class AccountOnly(Looks):
    """The account's listing alone."""

    async def pending(self, database_id: str, number: int, since: float) -> Page:
        return await self.account(database_id, since) or await super().pending(database_id, number, since)


class NoLearning(Looks):
    """The provider's own, which never learns whether new snapshots end the cache."""

    def _take(self, shared: Any, listing: Listing) -> None:
        super()._take(shared, listing)
        self.sees_new_at_once = False


@dataclass
class _Wait:
    """What was done for one pending snapshot; monotonic seconds."""

    began: float
    probe: bool = False
    asked: float = -math.inf
    shown: Listing | None = None
    missed: bool = False


@dataclass
class _Seen:
    """A page, and since when its content is the same."""

    since: float
    versions: set[str | None] = field(default_factory=set)


class Together(Looks):
    """One look at the account's listing serves all, but not before something hints that it is not cached.

    In the meantime each database's own page is asked once, late. One database is asked early and often: its page is
    given up for the hint. The account's page is kept for the end, where one look may show all that were missed.
    """

    FIRST = 120.0
    PROBE = 20.0
    AGAIN = 30.0
    STEP = 30.0
    LATEST_FIRST = 300.0
    EXPIRED = SERVICE_CACHE + 5.0
    TICK = 2.0

    def __init__(self, session: Session) -> None:
        super().__init__(session.client, session.clock)
        self._session = session
        self._waits: dict[str, _Wait] = {}
        self._seen: dict[int, _Seen] = {}
        self._first = self.FIRST
        self._again = self.AGAIN
        self._asked_again = self._asked_account = -math.inf
        self._hint = self._stale = False
        self._own_versions: set[str | None] = set()

    async def pending(self, database_id: str, number: int, since: float) -> Page:
        wait = self._waits.setdefault(database_id, _Wait(self._clock.monotonic()))
        if number > 1 and wait.asked > -math.inf and not wait.probe and not wait.missed:
            # Longer for all that follow: a page that was asked for too early costs half an hour.
            wait.missed = True
            self._first = min(self.LATEST_FIRST, max(self._first, wait.asked - wait.began + self.STEP))
        while True:
            page = await self._look(database_id, wait, since)
            if page is not None:
                return page
            await self._clock.sleep(self.TICK)

    async def _look(self, database_id: str, wait: _Wait, since: float) -> Page | None:
        now = self._clock.monotonic()
        if not self._account_included:
            return await super().pending(database_id, 1, since) if now - wait.began >= self.FIRST else None
        own_due = now - wait.began >= self._first and wait.asked == -math.inf
        if not self._stale and (self.sees_new_at_once or (self._hint and not own_due)):
            return await self._of_account(database_id, wait, now)
        listing = self._account.listing
        if listing is not None and listing is not wait.shown and listing.sent_at >= wait.began:
            return await self._of_account(database_id, wait, listing.sent_at)
        if self._account_may_serve_all(now, wait):
            self._asked_account = now
            return await self._of_account(database_id, wait, now)
        if own_due or self._probes(database_id, wait, now) or self._asks_again(wait, now):
            wait.asked = now
            return await self.database(database_id, now)
        return None

    async def _of_account(self, database_id: str, wait: _Wait, since: float) -> Page | None:
        page = await self.account(database_id, since)
        wait.shown = page.listing if page else None
        return page

    def _probes(self, database_id: str, wait: _Wait, now: float) -> bool:
        pending = self._pending()
        if not any(other.probe for other in pending.values()) and wait.asked == -math.inf:
            wait.probe = len(pending) > 1 or self._posts_to_come()
        return wait.probe and database_id in pending and now - max(wait.began, wait.asked) >= self.PROBE

    def _asks_again(self, wait: _Wait, now: float) -> bool:
        if wait.asked == -math.inf or now - wait.asked < self.AGAIN:
            return False
        if now - wait.asked >= self.EXPIRED:
            return True
        if now - self._asked_again < self._again:
            return False
        self._asked_again, self._again = now, min(240.0, self._again * 1.25)
        return True

    def _account_may_serve_all(self, now: float, wait: _Wait) -> bool:
        enough = max(self.FIRST + self.STEP, self._first)
        return (
            wait.asked > -math.inf
            and now - self._asked_account >= self.EXPIRED
            and not self._posts_to_come()
            and all(now - other.began >= enough for other in self._pending().values())
        )

    def _pending(self) -> dict[str, _Wait]:
        attempts = self._session.memory.attempts
        return {database_id: wait for database_id, wait in self._waits.items() if attempts(database_id)}

    def _posts_to_come(self) -> bool:
        waiting = any(ticket.lane.starts for ticket in self._session.gate._waiting)
        attempts = self._session.memory._attempts.values()
        return waiting or any(known.attempt.answered == NOT_AWAITED for several in attempts for known in several)

    def _take(self, shared: Any, listing: Listing) -> None:
        versions = {entry.version for entry in listing.entries}
        seen = self._seen.setdefault(id(shared), _Seen(listing.sent_at, versions))
        if not versions <= seen.versions:
            if listing.sent_at - seen.since < SERVICE_CACHE - 30:
                self._hint = True
            self._seen[id(shared)] = _Seen(listing.sent_at, versions)
        if shared is not self._account:
            self._own_versions |= versions
        elif self._own_versions - versions:
            # An own page has shown what the account's lacks: that one is an old page.
            self._stale, self._hint = True, False
        super()._take(shared, listing)


@dataclass(frozen=True)
class Policy:
    """A way to look, with the settings that go with it."""

    looks: Callable[[Session], Looks] | None = None
    settings: dict[str, float] = field(default_factory=dict)


POLICIES = {
    "the provider's": Policy(),
    "together": Policy(Together, {"first_look_after": 0.0, "look_every": 1.0}),
    "own listing, every 30 s": Policy(lambda s: FixedInterval(s.client, s.clock), {"first_look_after": 30.0}),
    "account listing only": Policy(lambda s: AccountOnly(s.client, s.clock), {"first_look_after": 30.0}),
    "no learning": Policy(lambda s: NoLearning(s.client, s.clock)),
}
