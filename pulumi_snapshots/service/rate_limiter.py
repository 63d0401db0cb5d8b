"""The rate limiter: delays each request until the service's limits allow it. Sends nothing itself.

Here all times are monotonic seconds of this process. What all runs with one account have sent lately, and the service's blocks,
stand in the ledger by the service's clock.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple, TypeVar

import anyio
from pydantic import BaseModel, Field, ValidationError

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import LedgerUnavailable
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
from pulumi_snapshots.service.limits import BUDGET_WINDOW, CREATE, READ, RESTORE, Lane

T = TypeVar("T")
OnWait = Callable[..., None]
"""Called with what a request waits for, see `Member.waits`."""
LONGEST_BLOCK = 86400.0
"""Seconds: no setting lets a block last longer, so a later end is nonsense."""
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
AGAIN_AFTER = 60.0
"""Seconds after which a ledger that failed a read request is tried again for one."""
Time = Annotated[float, Field(gt=0, lt=1e12)]
"""Seconds since 1970, by the service's clock; a later one could overflow."""

Entry = tuple[Time, str, list[str], bool]
"""A request in the ledger: when it left, which run has sent it, its limits as in `Sent`, and a value that is not used any more."""


class Pacing(BaseModel):
    """What runs have entered in the ledger about one account.

    Attributes:
        sent: the requests that count.
        listed: when the listing of each database was requested last.
        blocks: when the block of each lane ends, of the whole account under an empty name.
    """

    sent: list[Entry] = []
    listed: dict[str, Time] = {}
    blocks: dict[str, Time] = {}


def pacings(document: Document) -> dict[str, Pacing]:
    """What a document has of each account; without an account of which no run has written it like that."""
    there, found = document.get(ACCOUNTS), dict[str, Pacing]()
    for account, part in there.items() if isinstance(there, dict) else ():
        with suppress(ValidationError):
            found[account] = Pacing.model_validate(part)
    return found


def blocks_in(document: Document, now: datetime) -> list[tuple[str, datetime]]:
    """Every block in a document that lasts at this time of the service: the account's name and its end."""
    ends = [(name, at) for name, each in pacings(document).items() for at in each.blocks.values()]
    return [(name, datetime.fromtimestamp(at, UTC)) for name, at in ends if at > now.timestamp()]


class Sent(NamedTuple):
    """A request that counts: when it leaves, and the names of the spacings that count from it."""

    at: float
    limits: list[str]


@dataclass(eq=False)
class _Request:
    """A request that is queued or under way: the arguments of `RateLimiter.slot` and `claim`, and how it counts.

    `woken` is set when it may be the next one, or must not be sent any more.
    """

    text: str
    lane: Lane
    database_id: str | None
    queued_at: float
    waits_out_block: bool = True
    on_wait: OnWait | None = None
    sent: Sent | None = None
    woken: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.cooldown = f"{self.lane.name} {self.database_id}"
        """The name of the spacing between two requests of its database."""


class RateLimiter:
    """Spaces the requests of one API key, and learns from their answers.

    A refused key stops every request for some minutes. A used-up quota stops creates until a slot frees. A block stops every
    request until it ends; one of the account's listing stops only that. An outage delays creates and restores.

    Args:
        clock: the time.
        ledger: shared with other runs.
        account: names the account in it.
        requests_per_minute: the most requests that may be sent in any minute.
        block_wait: seconds that a block lasts if the service sends no `Retry-After`.
    """

    def __init__(
        self, clock: Clock, ledger: Ledger, account: str, *, requests_per_minute: int, block_wait: float
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._account = account
        self._budget = requests_per_minute
        self._block_wait = block_wait
        self._queue: list[_Request] = []  # oldest first
        # What was sent, by this process and by others, and when each limit counts from by that.
        self._run = secrets.token_hex(4)
        self._own: list[Sent] = []
        self._others: list[Sent] = []
        self._last: dict[str, float] = {}
        self._listed: dict[str, float] = {}  # see `Pacing`
        # See `Pacing.blocks`: as the ledger has them, and those that it does not have yet.
        self._blocks: dict[str, float] = {}
        self._new_blocks: dict[str, float] = {}
        self._editing = anyio.Lock(fast_acquire=True)
        self._took = 0.0  # seconds that an edit of the ledger takes at most, as far as the last ones show
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
        queued = _Request(request, lane, database_id, self._clock.monotonic(), waits_out_block)
        await self._wait(queued, lambda: self.exchange(queued))
        async with self._sending(queued):
            yield

    async def claim(
        self, request: str, lane: Lane, database_id: str, decide: Callable[[Document], Claim], on_wait: OnWait | None
    ) -> tuple[Claim, AbstractAsyncContextManager[None]]:
        """Wait for the slot of a POST, and decide in the same edit of the ledger whether it is sent at all; see also `slot`.

        Args:
            request: method and path.
            lane: its kind.
            database_id: the database that it is about.
            decide: gets the ledger's document as soon as the limits allow the request, and enters it; called again if another
                run was faster.
            on_wait: called while the request waits.

        Returns:
            The decision, and the slot: if that is what was decided, its body sends the request, at once. A cancellation has a
            `NotSent` as its cause if the body was not begun.

        Raises:
            SquareCloudError: the request must not be sent: key refused, quota used up, block or outage.
            LedgerUnavailable: the ledger cannot be written, so nothing may be sent.
        """
        queued = _Request(request, lane, database_id, self._clock.monotonic(), on_wait=on_wait)

        def claimed(document: Document) -> Claim | None:
            claim = decide(document) if self._took_slot(queued) else None
            if claim is not None and claim.role != "new":
                queued.sent = None
            return claim

        claim = await self._wait(queued, lambda: self._edit(claimed, queued))
        return claim, self._sending(queued)

    def listed_at(self, database_id: str) -> float:
        """When any run last requested the listing of a database; minus infinity for not lately."""
        return self._listed.get(database_id, -math.inf)

    @property
    def blocked_until(self) -> datetime | None:
        """When the account's block ends; None if there is none."""
        return self._utc(self._block_ends(""))

    async def forget_blocks(self) -> datetime | None:
        """Let all runs forget every block, and return when they took the longest one to end, if any."""

        def forget(document: Document) -> float:
            longest = max([*self._blocks.values(), *self._new_blocks.values()], default=-math.inf)
            self._blocks, self._new_blocks = {}, {}
            if self._account in pacings(document):
                document[ACCOUNTS][self._account].pop("blocks", None)
            return longest

        return self._utc(await self._edit(forget))

    async def free_at(self, lane: Lane) -> datetime | None:
        """When the spacing between two requests of a lane ends, as far as any run knows; None if it has ended."""
        await self.exchange()
        return self._utc(self._last.get(lane.name, -math.inf) + lane.per_account)

    def _utc(self, at: float) -> datetime | None:
        """The date and time of a moment to come; None if it is over."""
        left = at - self._clock.monotonic()
        return self._clock.utc() + timedelta(seconds=left) if left > 0 else None

    # The queue -------------------------------------------------------------------------------------------------------

    async def _wait(self, request: _Request, decide: Callable[[], Awaitable[T | None]]) -> T:
        """Wait until a request is the next and the limits allow it, and until it is decided; returns the decision.

        Only the first request needs a timer, so that one which finds another one first wakes that.
        """
        self._queue.append(request)
        try:
            while True:
                self._raise_if_stopped(request)
                now = self._clock.monotonic()
                first, free = self._first(now)
                left = self._earliest(request, free) - (now + self._ahead(request))
                if first is not request:
                    first.woken.set()
                    left = math.inf
                elif left <= 0:
                    if self._waits_for_outage(request):
                        raise Outage(request.text)
                    if (decision := await decide()) is not None:
                        return decision
                    continue  # another run was faster, or reported a block
                self._show(now, free)
                with anyio.move_on_after(left):
                    await request.woken.wait()
                request.woken = anyio.Event()
        finally:
            self._queue.remove(request)
            if self._queue:
                first, free = self._first(now := self._clock.monotonic())
                first.woken.set()
                self._show(now, free)

    def _first(self, now: float) -> tuple[_Request, dict[bool, float]]:
        """The next request, by when it may leave, creates and restores before reads, then by age; and see `_budget_free`."""
        free = self._budget_free(now)
        key = lambda each: (max(self._earliest(each, free), now), not each.lane.starts, each.queued_at)  # noqa: E731
        return min(self._queue, key=key), free

    def _earliest(self, request: _Request, free: dict[bool, float]) -> float:
        """When a request may leave, or has to be given up."""
        lane, last = request.lane, self._last
        if self._waits_for_outage(request):
            return max(request.queued_at, self._outage_since or 0.0) + OUTAGE_PATIENCE
        account = last.get(lane.name, -math.inf) + lane.per_account
        database = last.get(request.cooldown, -math.inf) + lane.per_database
        return max(account, database, self._block_ends(""), free[lane.starts])

    def _waits_for_outage(self, request: _Request) -> bool:
        return request.lane.starts and self._outage_since is not None

    def _block_ends(self, lane: str) -> float:
        return max(self._blocks.get(lane, -math.inf), self._new_blocks.get(lane, -math.inf))

    def _ahead(self, request: _Request) -> float:
        """Seconds from the decision to send a request until it is written down, and may leave."""
        return self._took if request.lane.starts else 0.0

    def _budget_free(self, now: float) -> dict[bool, float]:
        """When the budget allows another create or restore (True), and another read (False).

        While both wait, each kind leaves to the other what that can use, up to half of the budget.
        """
        count = [each for each in (*self._own, *self._others) if each.at > now - BUDGET_WINDOW]
        sent = sorted((each.at, not {CREATE.name, RESTORE.name}.isdisjoint(each.limits)) for each in count)
        waiting = [each.lane.starts for each in self._queue]

        def ends(times: list[float], most: int) -> float:
            return times[-most] + BUDGET_WINDOW if len(times) >= most else -math.inf

        half, all_, free = self._budget // 2, [at for at, _ in sent], dict[bool, float]()
        for starts in (True, False):
            share = self._budget - min(waiting.count(not starts), half)
            free[starts] = max(ends(all_, self._budget), ends([at for at, kind in sent if kind is starts], share))
        return free

    def _took_slot(self, request: _Request) -> bool:
        """Give the request its slot, unless the requests of other runs delay it."""
        now, lane, request.sent = self._clock.monotonic(), request.lane, None
        at = now + self._ahead(request)
        if self._earliest(request, self._budget_free(now)) <= at:
            limits = [lane.name] * (lane.per_account > 0) + [request.cooldown] * (lane.per_database > 0)
            request.sent = Sent(at, limits)
            if lane is READ and request.database_id:
                self._listed[request.database_id] = at
        return request.sent is not None

    def _show(self, now: float, free: dict[bool, float]) -> None:
        """Tell why creates and restores wait."""
        for ahead, request in enumerate(each for each in self._queue if each.lane.starts):
            if request.on_wait is None:
                continue
            cooldown = self._last.get(request.cooldown, -math.inf) + request.lane.per_database
            if self._outage_since is not None:
                request.on_wait("service is returning errors; will send when a listing succeeds")
            elif cooldown > now and cooldown >= self._earliest(request, free):
                request.on_wait("queued", until=self._utc(cooldown), why=request.lane.cooldown)
            else:
                request.on_wait("queued", f", {ahead} ahead" if ahead else "")

    # What the answers mean for other requests --------------------------------------------------------------------------

    def _raise_if_stopped(self, request: _Request) -> None:
        """Raise the error that forbids this request, if there is one."""
        now, utc, lane = self._clock.monotonic(), self._clock.utc(), request.lane
        if now < self._refused_until:
            raise self._refused_key.kept_back(request.text)
        left = self._block_ends("") - now
        if left > 0 and (lane.starts or not request.waits_out_block):
            raise self._block.kept_back(request.text, retry_after=left, now=utc)
        left = self._block_ends(lane.name) - now
        if left > 0:  # not waited for: no caller depends on this kind of request
            blocked = ListingBlocked("", status=self._block.status, code=self._block.code)
            raise blocked.kept_back(request.text, retry_after=left, now=utc)
        if lane is CREATE and self._quota.lasts(now - self._quota_since, self._ledger.clock.now()):
            raise self._quota.kept_back(request.text)

    @asynccontextmanager
    async def _sending(self, request: _Request) -> AsyncIterator[None]:
        """Wait for the moment that the limits count, a fraction of a second; learn from the request that the body sends."""
        was_known = self._ledger.clock.offset is not None
        try:
            if request.sent is not None:
                try:
                    await self._clock.sleep(request.sent.at - self._clock.monotonic())
                except anyio.get_cancelled_exc_class() as cancelled:
                    raise cancelled from NotSent(request.text)
            yield
        except SquareCloudError as error:
            self._learn(request, error)
            await self.exchange()
            raise
        except anyio.get_cancelled_exc_class() as cancelled:
            if isinstance(cancelled.__cause__, NotSent):
                self._forget_cooldown(request)
                with anyio.CancelScope(shield=True):
                    await self.exchange()
            raise
        else:
            self._learn(request, None)
            if not was_known:  # other runs do not know of it yet
                await self.exchange()

    def _forget_cooldown(self, request: _Request) -> None:
        """Take back that the database's cooldown has started: the service has not accepted the request."""
        if request.sent is not None and request.cooldown in request.sent.limits:
            request.sent.limits.remove(request.cooldown)
            self._sum_up()

    def _learn(self, request: _Request, error: SquareCloudError | None) -> None:
        now, outage = self._clock.monotonic(), self._outage_since
        if error is not None and not error.ambiguous and not isinstance(error, SnapshotFailed | RestoreFailed):
            self._forget_cooldown(request)
        if isinstance(error, KeyRefused):
            self._refused_key, self._refused_until = error, now + KEY_REFUSED
        elif isinstance(error, QuotaUsedUp):
            self._quota, self._quota_since = error, now
        elif isinstance(error, Blocked):
            lane = request.lane.name if isinstance(error, ListingBlocked) else ""
            self._block = self._block if lane else error
            lasts = self._block_wait if error.retry_after is None else max(error.retry_after, BUDGET_WINDOW)
            self._new_blocks[lane] = now + lasts
        elif isinstance(error, Cooldown):
            # The answer does not say which cooldown it was, so the account's spacing starts again.
            self._add(Sent(now, [request.lane.name]))
        if request.lane.starts:
            failed = error is not None and error.ambiguous and (error.status or 0) >= 500  # noqa: PLR2004  a server error
            self._failures_in_row = self._failures_in_row + 1 if failed else 0
            if self._failures_in_row >= OUTAGE_AFTER and self._outage_since is None:
                self._outage_since = now
        elif error is None or (error.status and not isinstance(error, Unavailable | UnreadableAnswer | ServiceFailed)):
            self._failures_in_row, self._outage_since = 0, None
        concerns_all = isinstance(error, KeyRefused | QuotaUsedUp | Blocked) or outage != self._outage_since
        for queued in self._queue if concerns_all or not self._queue else [self._first(now)[0]]:
            queued.woken.set()

    # The ledger --------------------------------------------------------------------------------------------------------

    async def exchange(self, request: _Request | None = None) -> Sent | None:
        """Share with other runs what is known, and decide whether a read request is sent now.

        By this process's own pacing if the ledger cannot be used.
        """

        def decide(_: object = None) -> Sent | None:
            return request.sent if request is not None and self._took_slot(request) else None

        if self._clock.monotonic() >= self._again_at:
            try:
                return await self._edit(decide, request)
            except LedgerUnavailable:
                self._again_at = self._clock.monotonic() + AGAIN_AFTER
        sent = decide()
        if sent is not None:
            self._add(sent)
        return sent

    async def _edit(self, decide: Callable[[Document], T], request: _Request | None = None) -> T:
        """Decide in one edit of the ledger whether a request is sent, and enter it there; see `claim`.

        Without a request this process only shares what it knows.
        """

        def change(document: Document) -> tuple[T, dict[str, float]]:
            before = pacings(document).get(self._account, Pacing())
            others = self._read(document, before)
            decision = decide(document)
            new = [request.sent] if request is not None and request.sent is not None else []
            after = self._written(document, before, [*self._own, *new], others)
            if after != before:
                there = document.get(ACCOUNTS)
                accounts = there if isinstance(there, dict) else {}
                document[ACCOUNTS] = {**accounts, self._account: after.model_dump()}
            return decision, {**self._new_blocks}

        async with self._editing:  # the next decision needs the result of this one
            began = self._clock.monotonic()
            decision, told = await self._ledger.edit(change)
            self._took = min(max(self._clock.monotonic() - began, FADES * self._took), LONGEST_TOOK)
            if self._ledger.clock.offset is not None:
                self._blocks |= told
                self._new_blocks = dict(self._new_blocks.items() - told.items())
            if request is not None and request.sent is not None:
                self._add(request.sent)
            return decision

    def _add(self, sent: Sent) -> None:
        self._own = [*(each for each in self._own if each.at > self._clock.monotonic() - KEPT), sent]
        self._sum_up()

    def _sum_up(self) -> None:
        """Work out when each limit counts from; so much later than what this process sent, the others see that it is free."""
        courtesy = 2 * self._ledger.clock.unsure + COURTESY if self._others else 0.0
        self._last = {}
        for later, sent in ((0.0, self._others), (courtesy, self._own)):
            for each in sent:
                for limit in each.limits:
                    self._last[limit] = max(each.at + later, self._last.get(limit, -math.inf))

    @property
    def _shift(self) -> float:
        """Seconds from monotonic time to the service's."""
        return self._ledger.clock.now().timestamp() - self._clock.monotonic()

    def _read(self, document: Document, there: Pacing) -> list[Entry]:
        """Learn from the document; return the requests of other runs that still count, as they stand there."""
        clock = self._ledger.clock
        if not self._ledger.place.is_shared:
            clock.assume(document.get(AHEAD_HERE))  # or blocks seem to be over until the first answer
        now, shift = self._clock.monotonic(), self._shift
        others = [each for each in there.sent if each[1] != self._run and now - KEPT < each[0] - shift < now + AHEAD]
        # A time is written and read as late as it can have been.
        self._others = [Sent(min(at - shift + clock.unsure, now), limits) for at, _, limits, _ in others]
        self._sum_up()
        for database_id, at in there.listed.items():
            self._listed[database_id] = max(min(at - shift, now), self.listed_at(database_id))
        ends = {lane: at - shift for lane, at in there.blocks.items()}
        self._blocks = {lane: at for lane, at in ends.items() if now < at < now + LONGEST_BLOCK}
        return others

    def _written(self, document: Document, there: Pacing, own: list[Sent], others: list[Entry]) -> Pacing:
        """What is entered; what this process knows only once it has a time that others know."""
        clock, now, shift = self._ledger.clock, self._clock.monotonic(), self._shift
        if clock.offset is None:
            return there  # what seems to be over may only seem so
        if not self._ledger.place.is_shared:
            document[AHEAD_HERE] = round(clock.offset)

        def kept(times: dict[str, float], since: float) -> dict[str, float]:
            return {name: round(at + shift, 3) for name, at in times.items() if at > since}

        count = [each for each in own if each.at > now - KEPT]
        mine = [(round(each.at + shift + clock.unsure, 3), self._run, each.limits, True) for each in count]
        blocks = kept(self._blocks | self._new_blocks, now)
        return Pacing(sent=others + mine, listed=kept(self._listed, now - LISTED_KEPT), blocks=blocks)
