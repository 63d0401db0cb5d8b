"""The rate limiter: delays each request until the service's limits allow it. Sends nothing itself.

What all runs with one account have sent lately, and the service's blocks, stand in the ledger by the service's clock. Here all
times are monotonic seconds of this process.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Protocol, TypeGuard, TypeVar

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors.outcomes import LedgerUnavailable
from pulumi_snapshots.ledger.attempt import Claim
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import Document
from pulumi_snapshots.ledger.service_clock import AHEAD_HERE
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
from pulumi_snapshots.service.limits import CREATE, READ, RESTORE, Lane


class OnWait(Protocol):
    """Called with what a request waits for, see `Member.waits`."""

    def __call__(self, text: str, detail: str = "", *, until: datetime | None = None, why: str = "") -> None: ...  # noqa: D102


T = TypeVar("T")
BUDGET_WINDOW = 60.5
"""Seconds: the service is assumed to count requests per minute by arrival, so half a second is added for network jitter."""
SHORTEST_BLOCK = BUDGET_WINDOW
"""Seconds that a block lasts at least, whatever `Retry-After` says: it ends no sooner than the minute that was exceeded."""
LONGEST_BLOCK = 86400.0
"""Seconds: no setting lets a block last longer, so a later end is nonsense."""
LOCAL_BLOCK = 10.0
"""Seconds that a process remembers a block by a service on this machine. Such a service may end it at any moment, as the
emulator does when its user unblocks the account, and asking it again costs nothing."""
COURTESY = 0.05
"""Seconds that the process which sent last gives to the other runs, so that two fleets alternate."""
KEY_REFUSED = 300.0
"""Seconds that a refused key is not tried again. No source says how many refused requests block an address; a process that lives
on sends 12 an hour."""
OUTAGE_AFTER = 2
"""POSTs in a row with an ambiguous 5xx after which no further POST is sent until a read succeeds."""
OUTAGE_PATIENCE = 120.0
"""Seconds that a POST waits in an outage for a read to succeed."""
BLOCKED = "rate limited"
"""The state of all requests while the account is blocked."""
ACCOUNTS = "accounts"
"""The ledger's key for what is remembered of each account here."""
KEPT = 200.0
"""Seconds that a request is kept: longer than the longest limit, the 180 s of a database."""
LISTED_KEPT = 30 * 60.0
"""Seconds that the request of a database's listing is kept: as long as the service may serve the page that it brought."""
AHEAD = 10.0
"""Seconds that a request may seem to be in the future: it is entered a little before it leaves, by a clock that is unsure. A
later one is nonsense."""
FADES, LONGEST_TOOK = 0.8, 5.0
"""How fast a slow edit is forgotten, and the longest one that is expected again, in seconds."""
PATIENCE = 5.0
"""Seconds that a read request waits for the ledger. After that it is sent with this process's own pacing."""
AGAIN_AFTER = 60.0
"""Seconds after which a ledger that failed a read request is tried again for one."""


@dataclass(frozen=True)
class Sent:
    """A request that counts.

    Attributes:
        at: when it leaves; in the ledger by the service's clock.
        limits: names of the spacings that count from it: those of its lane, and of its lane for its database.
        in_budget: whether the budget of the minute counts it.
        run: who has sent it; empty for this process.
    """

    at: float
    limits: tuple[str, ...]
    in_budget: bool = True
    run: str = ""


@dataclass(eq=False)
class _Request:
    """A request that is queued or under way.

    Attributes:
        text: method and path.
        sent: how it counts, once it has its slot.
        woken: set when its position in the queue may have changed.

    The other attributes are the arguments of `RateLimiter.slot`.
    """

    text: str
    lane: Lane
    database_id: str | None
    waits_out_block: bool
    queued_at: float
    on_wait: OnWait | None = None
    sent: Sent | None = None
    woken: anyio.Event = field(default_factory=anyio.Event)

    @property
    def cooldown(self) -> str:
        """The name of the spacing between two requests of its database."""
        return f"{self.lane.name} {self.database_id}"


class Slot:
    """The slot of a POST that was claimed, in which it is to be sent at once."""

    def __init__(self, limiter: RateLimiter, request: _Request, at: float) -> None:
        self._limiter = limiter
        self._request = request
        self._at = at

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Wait for the moment that the limits count, a fraction of a second; learn from the request that the body sends.

        A cancellation has a `NotSent` as its cause if the body was not begun.
        """
        limiter, request = self._limiter, self._request
        async with limiter._learning(request):  # noqa: SLF001  a part of it
            try:
                await limiter._clock.sleep(self._at - limiter._clock.monotonic())  # noqa: SLF001
            except anyio.get_cancelled_exc_class() as cancelled:
                raise cancelled from NotSent(request.text)
            yield


class RateLimiter:
    """Spaces the requests of one API key, and learns from their answers.

    A refused key stops every request for some minutes. A used-up quota stops creates until a slot frees. A block stops every request until it ends; one of the
    account's listing stops only that. An outage delays creates and restores.

    Args:
        clock: the time.
        ledger: shared with other runs.
        account: names the account in it.
        requests_per_minute: the most requests that may be sent in any minute.
        block_wait: seconds that a block lasts if the service sends no `Retry-After`.
        longest_block: seconds after which the service is asked again, however long a block is to last.
        shares_blocks: whether runs know of each other's blocks.

    Attributes:
        took: seconds that an edit of the ledger takes at most, as far as the last ones show.
    """

    def __init__(  # noqa: PLR0913  each is a setting of its own
        self,
        clock: Clock,
        ledger: Ledger,
        account: str,
        *,
        requests_per_minute: int,
        block_wait: float,
        longest_block: float = math.inf,
        shares_blocks: bool = True,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._account = account
        self._budget = requests_per_minute
        self._block_wait = block_wait
        self._longest_block = longest_block
        self._shares_blocks = shares_blocks
        self._queue: list[_Request] = []
        # What was sent, by this process and by others, and what follows: when each limit counts from, by anyone.
        self._run = secrets.token_hex(4)
        self._own: list[Sent] = []
        self._others: list[Sent] = []
        self._last: dict[str, Sent] = {}
        self._listed: dict[str, float] = {}  # when any run last requested the listing of a database
        self._is_untold = False  # whether others do not know of a request, since the service's time is not known
        # When the block of each lane ends, of the whole account under an empty name; and those that the ledger does not have.
        self._blocks: dict[str, float] = {}
        self._new_blocks: dict[str, float] = {}
        self._editing = anyio.Lock(fast_acquire=True)
        self.took = 0.0
        self._again_at = -math.inf
        # What the answers have shown.
        self._refused_key, self._refused_until = KeyRefused("", status=401), -math.inf
        self._quota, self._quota_since = QuotaUsedUp("", status=429), -math.inf
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
            return await self.exchange(lambda: self._free_slot(queued)) is not None

        await self._wait_for_slot(queued, decide)
        async with self._learning(queued):
            yield

    async def claim(
        self, request: str, lane: Lane, database_id: str, decide: Callable[[Document], Claim], on_wait: OnWait | None
    ) -> tuple[Claim, Slot]:
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
        decided: list[Claim] = []

        def when_free(document: Document) -> tuple[Claim | None, Sent | None]:
            slot = self._free_slot(queued)
            made = decide(document) if slot else None
            queued.sent = slot if made and made.is_new else None
            return made, queued.sent

        async def ask() -> bool:
            made = await self._edit(when_free)
            decided.extend([] if made is None else [made])
            return bool(decided)

        await self._wait_for_slot(queued, ask)
        return decided[0], Slot(self, queued, queued.sent.at if queued.sent else -math.inf)

    def note_earlier_post(self, database_id: str, seconds_ago: float) -> None:
        """Apply the cooldown of a create that another process sent."""
        at = self._clock.monotonic() - max(0.0, seconds_ago)
        self._add(Sent(at, (f"{CREATE.name} {database_id}",), in_budget=False))

    def listed_at(self, database_id: str) -> float:
        """When any run last requested the listing of a database; minus infinity for not lately."""
        return self._listed.get(database_id, -math.inf)

    @property
    def blocked_until(self) -> datetime | None:
        """When the account's block ends; None if there is none."""
        return self._utc(self._block_ends())

    async def forget_blocks(self) -> datetime | None:
        """Let all runs forget every block, and return when they took the longest one to end, if any."""
        ends: list[float] = []

        def forget(document: Document) -> tuple[None, None]:
            ends.extend(self._blocks.values())
            self._blocks.clear()
            self._new_blocks.clear()
            _stored(document, self._account)["blocks"] = {}
            return None, None

        await self._edit(forget)
        return self._utc(max(ends, default=-math.inf))

    async def free_at(self, lane: Lane) -> datetime | None:
        """When the spacing between two requests of a lane ends, as far as any run knows; None if it has ended."""
        await self.exchange()
        return self._utc(self._counts_from(lane.name) + lane.per_account)

    def _utc(self, at: float) -> datetime | None:
        """The date and time of a moment to come; None if it is over."""
        left = at - self._clock.monotonic()
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
        limits = [request.lane.name] * (request.lane.per_account > 0) + [request.cooldown] * (
            request.lane.per_database > 0
        )
        request.sent = Sent(at, tuple(limits))
        if request.lane is READ and request.database_id:
            self._listed[request.database_id] = at
        return request.sent

    def _ahead(self, request: _Request) -> float:
        """Seconds from the decision to send a request until it is written down, and may leave."""
        return self.took if request.lane.starts else 0.0

    # The limits ------------------------------------------------------------------------------------------------------

    def _earliest(self, request: _Request, free: dict[bool, float]) -> float:
        """The earliest time for this request; infinite if unknown."""
        if request.lane.starts and self._outage_since is not None:
            return math.inf
        return max(self._spacing_ends(request), self._block_ends(), free[request.lane.starts])

    def _budget_free(self, now: float) -> dict[bool, float]:
        """When the budget allows another create or restore (True), and another read (False)."""
        started = [each.at for each in self._own if {CREATE.name, RESTORE.name} & {*each.limits} and each.in_budget]
        return {
            True: max(self._budget_allows(now, reserved=0), self._share_allows(started)),
            False: self._budget_allows(now, reserved=self._reserved(now, started)),
        }

    def _spacing_ends(self, request: _Request) -> float:
        lane = request.lane
        account = self._counts_from(lane.name) + lane.per_account
        if lane.per_account and self._others and lane.name in self._last and not self._last[lane.name].run:
            account += 2 * self._ledger.clock.unsure + COURTESY  # so much later the others see that it is free
        return max(account, self._cooldown_ends(request))

    def _cooldown_ends(self, request: _Request) -> float:
        return self._counts_from(request.cooldown) + request.lane.per_database

    def _counts_from(self, limit: str) -> float:
        return self._last[limit].at if limit in self._last else -math.inf

    def _block_ends(self, lane: str = "") -> float:
        return self._blocks.get(lane, -math.inf)

    def _budget_allows(self, now: float, *, reserved: int) -> float:
        begin = now - BUDGET_WINDOW
        sent = sorted(each.at for each in (*self._own, *self._others) if each.in_budget and each.at > begin)
        too_many = len(sent) + reserved - self._budget
        return sent[too_many] + BUDGET_WINDOW if too_many >= 0 and sent else -math.inf

    def _share_allows(self, started: list[float]) -> float:
        """When another create or restore fits into half of the budget, which they are limited to while reads wait."""
        share = self._budget - self._budget // 2
        if len(started) < share or all(request.lane.starts for request in self._queue):
            return -math.inf
        return started[-share] + BUDGET_WINDOW

    def _reserved(self, now: float, started: list[float]) -> int:
        """How many requests reads must leave to queued creates and restores: at most half of the budget."""
        if self._outage_since is not None:
            return 0
        lately = sum(at > now - BUDGET_WINDOW for at in started)
        most = max(0, min(math.ceil(BUDGET_WINDOW / CREATE.per_account), self._budget // 2) - lately)
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
            request.on_wait("queued", until=self._utc(cooldown), why=request.lane.cooldown)
        else:
            request.on_wait("queued", f", {ahead} ahead" if ahead else "")

    # What the answers mean for other requests --------------------------------------------------------------------------

    def _outage_wait_ends(self, request: _Request) -> float:
        return max(request.queued_at, self._outage_since or -math.inf) + OUTAGE_PATIENCE

    def _raise_if_stopped(self, request: _Request) -> None:
        """Raise the error that forbids this request, if there is one."""
        now = self._clock.monotonic()
        if now < self._refused_until:
            raise self._refused_key.kept_back(request.text)
        if self._block_ends() > now and (request.lane.starts or not request.waits_out_block):
            raise self._block.kept_back(request.text, retry_after=self._block_ends() - now)
        lane_blocked = self._block_ends(request.lane.name)
        if now < lane_blocked:  # not waited for: no caller depends on this kind of request
            blocked = ListingBlocked("", status=self._block.status, code=self._block.code)
            raise blocked.kept_back(request.text, retry_after=lane_blocked - now)
        if not request.lane.starts:
            return
        if request.lane is CREATE and self._quota.lasts(now - self._quota_since, self._ledger.clock.now()):
            raise self._quota.kept_back(request.text)
        if self._outage_since is not None and now >= self._outage_wait_ends(request):
            raise Outage(request.text)

    @asynccontextmanager
    async def _learning(self, request: _Request) -> AsyncIterator[None]:
        """Learn from the result of the request that the body sends."""
        try:
            yield
        except SquareCloudError as error:
            if isinstance(error, Blocked) and request.lane.own_block:
                error = _of_lane(request.lane, error)
            if not error.ambiguous and not isinstance(error, SnapshotFailed | RestoreFailed):
                self._forget_cooldown(request)
            self._learn(request, error)
            await self.exchange()
            raise error from None
        except anyio.get_cancelled_exc_class() as cancelled:
            if isinstance(cancelled.__cause__, NotSent):
                self._forget_cooldown(request)
                with anyio.CancelScope(shield=True):
                    await self.exchange()
            raise
        else:
            self._learn(request, None)
            if self._is_untold:
                await self.exchange()

    def _forget_cooldown(self, request: _Request) -> None:
        """Take back that the database's cooldown has started: the service has not accepted the request."""
        if request.sent in self._own:
            kept = tuple(limit for limit in request.sent.limits if limit != request.cooldown)
            self._own[self._own.index(request.sent)] = replace(request.sent, limits=kept)
            self._sum_up()

    def _learn(self, request: _Request, error: SquareCloudError | None) -> None:
        now = self._clock.monotonic()
        outage = self._outage_since
        if isinstance(error, KeyRefused):
            self._refused_key, self._refused_until = error, now + KEY_REFUSED
        elif isinstance(error, QuotaUsedUp):
            self._quota, self._quota_since = error, now
        elif isinstance(error, Blocked):
            lasts = self._block_wait if error.retry_after is None else max(error.retry_after, SHORTEST_BLOCK)
            lane = request.lane.name if isinstance(error, ListingBlocked) else ""
            self._block = self._block if lane else error
            self._blocks[lane] = self._new_blocks[lane] = now + min(lasts, self._longest_block)
        elif isinstance(error, Cooldown):
            # The answer does not say which cooldown it was, so the account's spacing starts again.
            self._add(Sent(now, (request.lane.name,), in_budget=False))
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

    def _count_failure(self, error: SquareCloudError | None, now: float) -> None:
        failed = error is not None and error.ambiguous and (error.status or 0) >= 500  # noqa: PLR2004  a server error
        self._failures_in_row = self._failures_in_row + 1 if failed else 0
        if self._failures_in_row >= OUTAGE_AFTER and self._outage_since is None:
            self._outage_since = now

    # The ledger --------------------------------------------------------------------------------------------------------

    async def exchange(self, decide: Callable[[], Sent | None] = lambda: None) -> Sent | None:
        """Decide whether a read request is sent now; by this process's own pacing if the ledger cannot be used."""
        if self._clock.monotonic() >= self._again_at:
            with anyio.move_on_after(PATIENCE):
                try:
                    return await self._edit(lambda _: 2 * (decide(),))
                except LedgerUnavailable:
                    pass
            self._again_at = self._clock.monotonic() + AGAIN_AFTER
        sent = decide()
        self._add(sent)
        return sent

    async def _edit(self, decide: Callable[[Document], tuple[T, Sent | None]]) -> T:
        """Decide in one edit whether something is sent, and enter it there.

        Args:
            decide: decides on the document, and may change it; called again if another run was faster. Returns the decision,
                and what is sent by it, if anything.

        Raises:
            LedgerUnavailable: nothing may be sent.
        """

        def change(document: Document) -> tuple[T, Sent | None]:
            told.update(self._new_blocks)
            others = self._read(document)
            decision, sent = decide(document)
            self._write(document, [*self._own, *([sent] if sent else [])], others)
            return decision, sent

        async with self._editing:  # the next decision needs the result of this one
            began, told = self._clock.monotonic(), dict[str, float]()
            decision, sent = await self._ledger.edit(change)
            self.took = min(max(self._clock.monotonic() - began, FADES * self.took), LONGEST_TOOK)
            if self._ledger.clock.offset is not None:
                self._new_blocks = dict(self._new_blocks.items() - told.items())
                self._is_untold = False
            self._add(sent)
            return decision

    def _add(self, sent: Sent | None) -> None:
        if sent is not None:
            self._is_untold |= self._ledger.clock.offset is None
            self._own = [*(each for each in self._own if each.at > self._clock.monotonic() - KEPT), sent]
            self._sum_up()

    def _sum_up(self) -> None:
        counted = sorted((*self._others, *self._own), key=lambda each: each.at)
        self._last = {limit: each for each in counted for limit in each.limits}

    @property
    def _shift(self) -> float:
        """Seconds from monotonic time to the service's."""
        return (self._ledger.clock.now() - datetime.fromtimestamp(0, UTC)).total_seconds() - self._clock.monotonic()

    def _read(self, document: Document) -> list[list[Any]]:
        """Learn from the document; return the requests of other runs that still count, as they stand there."""
        clock = self._ledger.clock
        if not self._ledger.place.is_shared:
            clock.assume(document.get(AHEAD_HERE))  # or blocks seem to be over until the first answer
        stored = _dict(_dict(document.get(ACCOUNTS)).get(self._account))
        now, shift = self._clock.monotonic(), self._shift
        found = stored.get("sent")
        counted = [
            each
            for each in (found if isinstance(found, list) else [])
            if _is_sent(each) and each[1] != self._run and now - KEPT < each[0] - shift < now + AHEAD
        ]
        # A time is written and read as late as it can have been.
        self._others = [
            Sent(min(at - shift + clock.unsure, now), tuple(limits), in_budget, run)
            for at, run, limits, in_budget in counted
        ]
        self._sum_up()
        for database_id, at in _dict(stored.get("listed")).items():
            if _is_time(at):
                self._listed[database_id] = max(min(at - shift, now), self.listed_at(database_id))
        if self._shares_blocks:
            known = {lane: at - shift for lane, at in _dict(stored.get("blocks")).items() if _is_time(at)}
            known = {lane: at for lane, at in known.items() if now < at < now + LONGEST_BLOCK}
            self._blocks = known | self._new_blocks
        return counted

    def _write(self, document: Document, own: list[Sent], others: list[list[Any]]) -> None:
        clock, now = self._ledger.clock, self._clock.monotonic()
        if clock.offset is None:
            return  # the next request enters this one too, with a time that others know
        if not self._ledger.place.is_shared:
            document[AHEAD_HERE] = round(clock.offset)
        stored, shift = _stored(document, self._account), self._shift
        stored["sent"] = others + [
            [round(each.at + shift + clock.unsure, 3), self._run, [*each.limits], each.in_budget]
            for each in own
            if each.at > now - KEPT
        ]
        listed = {database_id: at for database_id, at in self._listed.items() if at > now - LISTED_KEPT}
        stored["listed"] = {database_id: round(at + shift, 3) for database_id, at in listed.items()}
        if self._shares_blocks:
            stored["blocks"] = {lane: round(at + shift, 3) for lane, at in self._blocks.items() if at > now}


def _of_lane(lane: Lane, error: Blocked) -> ListingBlocked:
    """The same answer, as a block of one lane."""
    seconds = lane.own_block if error.retry_after is None else max(error.retry_after, SHORTEST_BLOCK)
    return ListingBlocked(
        error.request, status=error.status, code=error.code, message=error.message, retry_after=seconds
    )


def accounts_in(document: Document) -> set[str]:
    """The names of the accounts whose requests a document has."""
    return {name for name, each in _dict(document.get(ACCOUNTS)).items() if _dict(each).get("sent")}


def blocks_in(document: Document, now: datetime) -> list[tuple[str, datetime]]:
    """Every block in a document that lasts at this time of the service: the account's name and its end."""
    accounts = _dict(document.get(ACCOUNTS)).items()
    ends = [(name, at) for name, each in accounts for at in _dict(_dict(each).get("blocks")).values() if _is_time(at)]
    lasting = [(name, datetime.fromtimestamp(at, UTC)) for name, at in ends]
    return [(name, until) for name, until in lasting if now < until]


def _stored(document: Document, account: str) -> dict[str, Any]:
    """What an account's requests have left; what no run has written like that counts as nothing."""
    document[ACCOUNTS] = accounts = _dict(document.get(ACCOUNTS))
    accounts[account] = stored = _dict(accounts.get(account))
    return stored


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_time(value: Any) -> TypeGuard[float]:
    """Whether a value in the ledger is a time, in seconds since 1970."""
    return isinstance(value, int | float) and 0 < value < 1e12  # noqa: PLR2004  a later one could overflow


def _is_sent(value: Any) -> bool:
    match value:
        case [at, str(), [*limits], bool()]:
            return _is_time(at) and all(isinstance(each, str) for each in limits)
    return False
