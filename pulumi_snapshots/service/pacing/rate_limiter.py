"""The rate limiter: delays each request until the service's limits allow it. Sends nothing itself."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Protocol, TypeVar

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors.text import Words
from pulumi_snapshots.ledger.pacing import Pacing, Sent
from pulumi_snapshots.ledger.place import Document
from pulumi_snapshots.service.errors import (
    Blocked,
    Cooldown,
    KeyRefused,
    ListingBlocked,
    NotSent,
    Outage,
    QuotaUsedUp,
    RestoreFailed,
    ServiceFailed,
    SnapshotFailed,
    SquareCloudError,
    Unavailable,
    UnreadableAnswer,
)
from pulumi_snapshots.service.pacing.limits import (
    ACCOUNT_LISTING_BLOCK,
    ACCOUNT_LISTINGS_PER_MINUTE,
    CREDENTIALS_EVERY,
    RESTORE_PER_ACCOUNT,
    RESTORE_PER_DATABASE,
    SNAPSHOT_PER_ACCOUNT,
    SNAPSHOT_PER_DATABASE,
)


class OnWait(Protocol):
    """Called with why a request waits, a detail that changes while it waits, when the wait ends, and the reason."""

    def __call__(self, text: str, detail: Words = "", *, until: datetime | None = None, why: str = "") -> None: ...  # noqa: D102


class Decision(Protocol):
    """What was decided about a POST."""

    @property
    def is_new(self) -> bool:
        """Whether it is to be sent."""


C = TypeVar("C", bound=Decision)
BUDGET_WINDOW = 60.5
"""Seconds: the service is assumed to count requests per minute by arrival, so half a second is added for network jitter."""
SHORTEST_BLOCK = BUDGET_WINDOW
"""Seconds that a block lasts at least, whatever `Retry-After` says: it ends no sooner than the minute that was exceeded."""
LOCAL_BLOCK = 10.0
"""Seconds that a process remembers a block by a service on this machine. Such a service may end it at any moment, as the
emulator does when its user unblocks the account, and asking it again costs nothing."""
COURTESY = 0.05
"""Seconds that the process which sent last gives to the others of this machine, so that two fleets alternate."""
OUTAGE_AFTER = 2
"""POSTs in a row with an ambiguous 5xx after which no further POST is sent until a read succeeds."""
OUTAGE_PATIENCE = 120.0
"""Seconds that a POST waits in an outage for a read to succeed."""
BLOCKED = "rate limited"
"""The state of all requests while the account is blocked."""


@dataclass(frozen=True)
class Lane:
    """A kind of request, and the spacing that the service's limits ask for.

    Attributes:
        name: names the lane in the request log, which other processes read.
        per_account: seconds between two requests of the account.
        per_database: seconds between two requests of one database.
        starts: whether the request starts a snapshot or a restore. Such requests go before reads, and are not sent
            during a block or an outage.
        cooldown: the limit of one database, in words for the user.
        own_block: seconds for which a 429 blocks requests of this kind alone; 0 if it blocks the account.
    """

    name: str
    per_account: float = 0.0
    per_database: float = 0.0
    starts: bool = False
    cooldown: str = ""
    own_block: float = 0.0


# What is added to the service's limits below allows for network jitter.
CREATE = Lane(
    "create",
    per_account=SNAPSHOT_PER_ACCOUNT + 0.15,
    per_database=SNAPSHOT_PER_DATABASE + 1,
    starts=True,
    cooldown=f"one snapshot per database every {SNAPSHOT_PER_DATABASE:.0f} s",
)
RESTORE = Lane(
    "restore",
    per_account=RESTORE_PER_ACCOUNT + 0.5,
    per_database=RESTORE_PER_DATABASE + 0.5,
    starts=True,
    cooldown=f"one restore per database every {RESTORE_PER_DATABASE:.0f} s",
)
READ = Lane("read")
CREDENTIALS = Lane("credentials", per_account=CREDENTIALS_EVERY + 0.2)
ACCOUNT_LISTING = Lane(
    "account listing", per_account=60 / ACCOUNT_LISTINGS_PER_MINUTE + 0.2, own_block=ACCOUNT_LISTING_BLOCK
)


@dataclass(eq=False)
class _Request:
    """A request that is queued or under way; times are monotonic seconds.

    Attributes:
        text: method and path.
        sent_at: from when the limits count it.
        previous_at: when this process sent the previous request of the same kind for its database.
        woken: set when its position in the queue may have changed.

    The other attributes are the arguments of `RateLimiter.slot`.
    """

    text: str
    lane: Lane
    database_id: str | None
    waits_out_block: bool
    queued_at: float
    on_wait: OnWait | None = None
    sent_at: float = math.inf
    previous_at: float = -math.inf
    woken: anyio.Event = field(default_factory=anyio.Event)


class Slot:
    """The slot of a POST that was claimed, in which it is to be sent at once."""

    def __init__(self, limiter: RateLimiter, request: _Request) -> None:
        self._limiter = limiter
        self._request = request

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Wait for the moment that the limits count, a fraction of a second; learn from the request that the body sends.

        A cancellation has a `NotSent` as its cause if the body was not begun.
        """
        limiter, request = self._limiter, self._request
        async with limiter._learning(request):  # noqa: SLF001  a part of it
            try:
                await limiter._clock.sleep(request.sent_at - limiter._clock.monotonic())  # noqa: SLF001
            except anyio.get_cancelled_exc_class() as cancelled:
                raise cancelled from NotSent(request.text)
            yield


class RateLimiter:
    """Spaces the requests of one API key, and learns from their answers.

    A refused key stops every request. A used-up quota stops creates. A block stops every request until it ends; one of the
    account's listing stops only that. An outage delays creates and restores.

    Args:
        clock: the time.
        requests_per_minute: the most requests that may be sent in any minute.
        block_wait: seconds that a block lasts if the service sends no `Retry-After`.
        longest_block: seconds after which the service is asked again, however long a block is to last.
        pacing: what was sent so far; of this process only if not given.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        requests_per_minute: int,
        block_wait: float,
        longest_block: float = math.inf,
        pacing: Pacing | None = None,
    ) -> None:
        self._clock = clock
        self._budget = requests_per_minute
        self._block_wait = block_wait
        self._longest_block = longest_block
        self._queue: list[_Request] = []
        self._pacing = pacing or Pacing(clock, None, "")
        self._started: deque[float] = deque(maxlen=requests_per_minute)
        self._refused_key: KeyRefused | None = None
        self._quota: QuotaUsedUp | None = None
        self._block = Blocked("", status=429, code="RATE_LIMITED")
        self._failures_in_row = 0
        self._outage_since: float | None = None

    @asynccontextmanager
    async def slot(
        self, request: str, lane: Lane, database_id: str | None = None, *, waits_out_block: bool = True
    ) -> AsyncIterator[None]:
        """Wait for the slot of a read request, and learn from the result of the request that the body sends.

        Args:
            request: method and path, for the error of a request that is not sent.
            lane: its kind.
            database_id: the database that it is about.
            waits_out_block: whether it waits for the end of a block; otherwise it fails at once.

        Raises:
            SquareCloudError: the request must not be sent: key refused, or a block.
        """
        queued = _Request(request, lane, database_id, waits_out_block, self._clock.monotonic())

        async def decide() -> bool:
            return await self._pacing.exchange(lambda: self._free_slot(queued)) is not None

        await self._wait_for_slot(queued, decide)
        async with self._learning(queued):
            yield

    async def claim(
        self, request: str, lane: Lane, database_id: str, decide: Callable[[Document], C], on_wait: OnWait | None
    ) -> tuple[C, Slot]:
        """Wait for the slot of a POST, and decide in the same edit of the ledger whether it is sent at all.

        Args:
            request: see `slot`.
            lane: see `slot`.
            database_id: see `slot`.
            decide: gets the ledger's document as soon as the limits allow the request, and enters it; called again if another
                run was faster.
            on_wait: called while the request waits.

        Returns:
            The decision, and the slot in which the request is to be sent if that is what was decided.

        Raises:
            SquareCloudError: the request must not be sent: key refused, quota used up, block or outage.
            LedgerUnavailable: the ledger cannot be written, so nothing may be sent.
        """
        queued = _Request(request, lane, database_id, True, self._clock.monotonic(), on_wait)  # noqa: FBT003
        decided: list[C] = []

        def when_free(document: Document) -> tuple[C | None, Sent | None]:
            slot = self._free_slot(queued)
            made = decide(document) if slot else None
            return made, slot if made and made.is_new else None

        async def ask() -> bool:
            made = await self._pacing.claim(when_free)
            decided.extend([] if made is None else [made])
            return bool(decided)

        await self._wait_for_slot(queued, ask)
        return decided[0], Slot(self, queued)

    def note_earlier_post(self, database_id: str, seconds_ago: float) -> None:
        """Apply the cooldown of a create that another process sent."""
        self._pacing.note(CREATE.name, database_id, self._clock.monotonic() - max(0.0, seconds_ago))

    def listed_at(self, database_id: str) -> float:
        """When any run of this machine last requested the listing of a database; minus infinity for not lately."""
        return self._pacing.listed.get(database_id, -math.inf)

    @property
    def blocked(self) -> bool:
        """Whether the account is blocked now."""
        return self._clock.monotonic() < self._pacing.blocked_until()

    async def forget_blocks(self) -> datetime | None:
        """Let all runs forget every block, and return when they took the longest one to end, if any."""
        left = await self._pacing.forget_blocks() - self._clock.monotonic()
        return self._clock.utc() + timedelta(seconds=left) if left > 0 else None

    @property
    def blocked_until(self) -> datetime:
        """When the account's block ends."""
        return self._clock.utc() + timedelta(seconds=self._pacing.blocked_until() - self._clock.monotonic())

    async def free_at(self, lane: Lane) -> datetime | None:
        """When the spacing between two requests of a lane ends, as far as any run knows; None if it has ended."""
        await self._pacing.exchange()
        left = self._pacing.last(lane.name) + lane.per_account - self._clock.monotonic()
        return self._clock.utc() + timedelta(seconds=left) if left > 0 else None

    # The queue -------------------------------------------------------------------------------------------------------

    async def _wait_for_slot(self, request: _Request, decide: Callable[[], Awaitable[bool]]) -> None:
        self._queue.append(request)
        try:
            had_timer = True  # a new request may change the order as well
            while True:
                self._raise_if_stopped(request)
                now = self._clock.monotonic()
                free = self._budget_free(now)
                first = self._first(now, free)
                at = self._earliest(request, free)
                if had_timer and first is not request:
                    # The passage of time alone has changed the order. The request that is first now needs the timer.
                    first.woken.set()
                had_timer = first is request
                at -= self._ahead(request)
                if first is request and at <= now:
                    request.previous_at = self._pacing.own(request.lane.name, request.database_id)
                    if await decide():
                        return
                    continue  # another run was faster, or reported a block
                earlier = (other for other in self._queue if other.queued_at < request.queued_at)
                self._show(request, at, now, sum(other.lane.starts == request.lane.starts for other in earlier))
                # Only the first request needs a timer; the others are woken when their position changes.
                wake = at if first is request else math.inf
                if request.lane.starts and self._outage_since is not None:
                    wake = min(wake, self._outage_wait_ends(request))
                with anyio.move_on_after(wake - now):
                    await request.woken.wait()
                request.woken = anyio.Event()
        finally:
            self._queue.remove(request)
            self._wake_first()

    def _first(self, now: float, free: dict[bool, float]) -> _Request:
        """The next request: the earliest possible one; of those, creates and restores before reads; then by age."""
        return min(
            self._queue,
            key=lambda request: (max(self._earliest(request, free), now), not request.lane.starts, request.queued_at),
        )

    def _wake_first(self) -> None:
        if self._queue:
            now = self._clock.monotonic()
            self._first(now, self._budget_free(now)).woken.set()

    def _free_slot(self, request: _Request) -> Sent | None:
        """A slot for the request, unless the requests of other runs delay it."""
        now = self._clock.monotonic()
        at = now + self._ahead(request)
        if self._earliest(request, self._budget_free(now)) > at:
            return None
        request.sent_at = at
        lists = request.lane is READ and request.database_id is not None
        return Sent(request.lane.name, request.database_id, at, lists=lists)

    def _ahead(self, request: _Request) -> float:
        """Seconds from the decision to send a request until it is written down, and may leave."""
        return self._pacing.took if request.lane.starts else 0.0

    def _forget_cooldown(self, request: _Request) -> None:
        """Take back that the database's cooldown has started: the service has not accepted the request."""
        if request.database_id:
            self._pacing.forget(request.lane.name, request.database_id, request.sent_at, earlier=request.previous_at)

    # The limits ------------------------------------------------------------------------------------------------------

    def _earliest(self, request: _Request, free: dict[bool, float]) -> float:
        """The earliest time (monotonic) for this request; infinite if unknown."""
        if request.lane.starts and self._outage_since is not None:
            return math.inf
        return max(self._spacing_ends(request), self._pacing.blocked_until(), free[request.lane.starts])

    def _budget_free(self, now: float) -> dict[bool, float]:
        """When the budget allows another create or restore (True), and another read (False)."""
        return {
            True: max(self._budget_allows(now, reserved=0), self._share_allows()),
            False: self._budget_allows(now, reserved=self._reserved(now)),
        }

    def _spacing_ends(self, request: _Request) -> float:
        lane = request.lane
        account = self._pacing.last(lane.name) + lane.per_account
        if lane.per_account and self._pacing.was_own(lane.name):
            account += self._pacing.unsure + COURTESY
        return max(account, self._cooldown_ends(request))

    def _cooldown_ends(self, request: _Request) -> float:
        return self._pacing.last(request.lane.name, request.database_id) + request.lane.per_database

    def _budget_allows(self, now: float, *, reserved: int) -> float:
        sent = self._pacing.since(now - BUDGET_WINDOW)
        too_many = len(sent) + reserved - self._budget
        return sent[too_many] + BUDGET_WINDOW if too_many >= 0 and sent else -math.inf

    def _share_allows(self) -> float:
        """When another create or restore fits into half of the budget, which they are limited to while reads wait."""
        share = self._budget - self._budget // 2
        if len(self._started) < share or all(request.lane.starts for request in self._queue):
            return -math.inf
        return self._started[-share] + BUDGET_WINDOW

    def _reserved(self, now: float) -> int:
        """How many requests reads must leave to queued creates and restores: at most half of the budget."""
        if self._outage_since is not None:
            return 0
        started = sum(at > now - BUDGET_WINDOW for at in self._started)
        most = max(0, min(math.ceil(BUDGET_WINDOW / CREATE.per_account), self._budget // 2) - started)
        soon = (
            request
            for request in self._queue
            if request.lane.starts and self._spacing_ends(request) <= now + BUDGET_WINDOW
        )
        return len(list(islice(soon, most)))

    # Progress --------------------------------------------------------------------------------------------------------

    def _report_positions(self) -> None:
        """Tell the queued creates and restores that the queue has moved."""
        now = self._clock.monotonic()
        free = self._budget_free(now)
        for ahead, request in enumerate(request for request in self._queue if request.lane.starts):
            self._show(request, self._earliest(request, free), now, ahead)

    def _show(self, request: _Request, at: float, now: float, ahead: int) -> None:
        """Tell why a request waits."""
        if request.on_wait is None:
            return
        cooldown = self._cooldown_ends(request)
        if request.lane.starts and self._outage_since is not None:
            request.on_wait("service is returning errors; will send when a listing succeeds")
        elif cooldown > now and cooldown >= at:
            until = self._clock.utc() + timedelta(seconds=cooldown - now)
            request.on_wait("queued", until=until, why=request.lane.cooldown)
        else:
            request.on_wait("queued", f", {ahead} ahead" if ahead else "")

    # What the answers mean for other requests --------------------------------------------------------------------------

    def _outage_wait_ends(self, request: _Request) -> float:
        return max(request.queued_at, self._outage_since or -math.inf) + OUTAGE_PATIENCE

    def _raise_if_stopped(self, request: _Request) -> None:
        """Raise the error that forbids this request, if there is one."""
        if self._refused_key is not None:
            raise self._refused_key.kept_back(request.text)
        now = self._clock.monotonic()
        if self.blocked and (request.lane.starts or not request.waits_out_block):
            raise self._block.kept_back(request.text, retry_after=self._pacing.blocked_until() - now)
        lane_blocked = self._pacing.blocked_until(request.lane.name)
        if now < lane_blocked:  # not waited for: no caller depends on this kind of request
            blocked = ListingBlocked("", status=self._block.status, code=self._block.code)
            raise blocked.kept_back(request.text, retry_after=lane_blocked - now)
        if not request.lane.starts:
            return
        if self._quota is not None and request.lane is CREATE:
            raise self._quota.kept_back(request.text)
        if self._outage_since is not None and now >= self._outage_wait_ends(request):
            raise Outage(request.text)

    @asynccontextmanager
    async def _learning(self, request: _Request) -> AsyncIterator[None]:
        """Learn from the result of the request that the body sends."""
        if request.lane.starts:
            self._started.append(request.sent_at)
        try:
            yield
        except SquareCloudError as error:
            if isinstance(error, Blocked) and request.lane.own_block:
                error = _of_lane(request.lane, error)
            if not error.ambiguous and not isinstance(error, SnapshotFailed | RestoreFailed):
                self._forget_cooldown(request)
            self._learn(request, error)
            await self._pacing.exchange()
            raise error from None
        except anyio.get_cancelled_exc_class() as cancelled:
            if isinstance(cancelled.__cause__, NotSent):
                self._forget_cooldown(request)
                with anyio.CancelScope(shield=True):
                    await self._pacing.exchange()
            raise
        else:
            self._learn(request, None)
            if self._pacing.is_untold:
                await self._pacing.exchange()

    def _learn(self, request: _Request, error: SquareCloudError | None) -> None:
        now = self._clock.monotonic()
        outage = self._outage_since
        if isinstance(error, KeyRefused):
            self._refused_key = error
        elif isinstance(error, QuotaUsedUp):
            self._quota = error
        elif isinstance(error, Blocked):
            self._learn_block(request, error, now)
        elif isinstance(error, Cooldown):
            # The answer does not say which cooldown it was, so the account's spacing starts again.
            self._pacing.note(request.lane.name, None, now)
        if request.lane.starts:
            self._count_failure(error, now)
        elif not isinstance(error, (Unavailable, UnreadableAnswer, ServiceFailed, NotSent)) and (
            error is None or error.status
        ):
            self._failures_in_row = 0
            self._outage_since = None
        if isinstance(error, (KeyRefused, QuotaUsedUp, Blocked)) or outage != self._outage_since:
            for queued in self._queue:
                queued.woken.set()
        elif request.lane.starts:
            self._report_positions()
        self._wake_first()

    def _learn_block(self, request: _Request, error: Blocked, now: float) -> None:
        lasts = self._block_wait if error.retry_after is None else max(error.retry_after, SHORTEST_BLOCK)
        ends = now + min(lasts, self._longest_block)
        if isinstance(error, ListingBlocked):
            self._pacing.block(ends, request.lane.name)
        else:
            self._block = error
            self._pacing.block(ends)

    def _count_failure(self, error: SquareCloudError | None, now: float) -> None:
        failed = error is not None and error.ambiguous and (error.status or 0) >= 500  # noqa: PLR2004  a server error
        self._failures_in_row = self._failures_in_row + 1 if failed else 0
        if self._failures_in_row >= OUTAGE_AFTER and self._outage_since is None:
            self._outage_since = now


def _of_lane(lane: Lane, error: Blocked) -> ListingBlocked:
    """The same answer, as a block of one lane."""
    seconds = lane.own_block if error.retry_after is None else max(error.retry_after, SHORTEST_BLOCK)
    return ListingBlocked(
        error.request, status=error.status, code=error.code, message=error.message, retry_after=seconds
    )
