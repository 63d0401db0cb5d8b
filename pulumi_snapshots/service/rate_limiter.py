"""The rate limiter: delays requests until the service's limits allow them, in all runs with one account. It sends nothing itself.

Times are monotonic seconds of this process; in the ledger they are the service's.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar

import anyio
from pydantic import BaseModel

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.decision import Claim
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import AHEAD_HERE, UNREADABLE, Document
from pulumi_snapshots.service.errors import (
    BLOCK_CODE,
    Blocked,
    Cooldown,
    KeyRefused,
    ListingBlocked,
    NotSent,
    Outage,
    QuotaUsedUp,
    RestoreFailed,
    SnapshotFailed,
    SquareCloudError,
)
from pulumi_snapshots.service.limits import BUDGET_WINDOW, CREATE, RESTORE, Lane

T = TypeVar("T")
OnWait = Callable[..., None]  # called with what a request waits for, see `Member.waits`
ACCOUNTS = "accounts"  # the ledger's key for what is remembered of each account here
BLOCKED = "rate limited"  # the state of all requests while the account is blocked
# seconds that a request is kept, longer than the longest limit, the 180 s of a database
KEPT = 200.0
AHEAD, LONGEST_BLOCK = 10.0, 86400.0
"""Seconds that a request may seem to be in the future, as it is entered before it leaves, by a clock that is unsure; and that a
block may last by any setting. What is later is nonsense."""
COURTESY = 0.05  # seconds that the process which sent last gives to the other runs, so that two fleets alternate
STOPPED = 300.0
"""Seconds that nothing is sent which a refused key or a used-up quota forbids. No source says how many refused requests block an
address; a process that lives on sends 12 an hour."""
OUTAGE_AFTER, OUTAGE_PATIENCE = 2, 120.0
"""POSTs in a row with an ambiguous 5xx after which no further POST is sent until a read succeeds; and seconds that one waits
for that."""
FADES, LONGEST_TOOK = (
    0.8,
    5.0,
)  # how fast a slow edit is forgotten, and the longest that is expected again, in seconds
AGAIN_AFTER = 60.0  # seconds after which a ledger that failed a read request is tried again for one


class Sent(NamedTuple):
    """A request that counts: when it leaves, which run sends it, and the names of the spacings that count from it."""

    at: float  # seconds since 1970 by the service's clock, in the ledger
    run: str
    limits: list[str]


class Pacing(BaseModel):
    """What runs know of each other's requests with one account."""

    sent: list[Sent] = []
    blocks: dict[
        str, float
    ] = {}  # when the block of each lane ends, of the whole account under an empty name

    def current(self, now: float, without: str = "") -> Pacing:
        """What still counts at this time, without the requests of one run."""
        return self.model_construct(
            sent=[
                each
                for each in self.sent
                if each.run != without and now - KEPT < each.at < now + AHEAD
            ],
            blocks={lane: at for lane, at in self.blocks.items() if now < at < now + LONGEST_BLOCK},
        )

    def moved(self, by: float, unsure: float) -> Pacing:
        """The same by a clock that is so much ahead; each request as late as it can have been."""
        return self.model_construct(
            sent=[each._replace(at=round(each.at + by + unsure, 3)) for each in self.sent],
            blocks={lane: round(at + by, 3) for lane, at in self.blocks.items()},
        )


def pacing_of(account: str, document: Document, ledger: Ledger) -> Pacing:
    """What a document of a ledger has of an account."""
    try:
        return Pacing.model_validate(document.get(ACCOUNTS, {}).get(account, {}))
    except (AttributeError, ValueError):  # no run has written it like that
        raise ledger.place.unavailable(
            "it holds requests that cannot be read", *UNREADABLE
        ) from None


@dataclass(eq=False)
class _Request:
    """A request that is queued; `woken` is set when it may be the next one, or must not be sent any more."""

    text: str
    lane: Lane
    database_id: str | None
    queued_at: float
    waits_out_block: bool = True
    on_wait: OnWait | None = None
    woken: anyio.Event = field(default_factory=anyio.Event)


Departure = Callable[[Callable[[Document], Any]], Awaitable[Any]]
"""Enters that a request leaves, right before it does, see `RateLimiter._depart`."""
Decide = Callable[
    [Document], tuple[T, list[Sent]] | None
]  # the decision, and what it sends; None if there is none yet


class RateLimiter:
    """Spaces the requests of one API key, of an account that the ledger knows by name, and learns from their answers.

    A refused key stops every request for some minutes, and a used-up quota creates. A block stops every request until it ends,
    after `block_wait` seconds if the service sends no `Retry-After`; one of the account's listing stops only that. An outage
    delays creates and restores.
    """

    def __init__(
        self, clock: Clock, ledger: Ledger, account: str, *, budget: int, block_wait: float
    ) -> None:
        self.clock, self.ledger, self._account = clock, ledger, account
        self._budget, self._block_wait = budget, block_wait
        self._run = secrets.token_hex(4)
        self._queue: list[_Request] = []  # oldest first
        self._mine = Pacing()  # of this run, and the blocks that the ledger does not have yet
        self._others = Pacing()  # what the ledger has beside that
        self._editing = anyio.Lock(fast_acquire=True)
        # seconds that an edit of the ledger takes at most, as far as the last ones show
        self._took = 0.0
        self._again_at = -math.inf
        self._stops: dict[
            type[SquareCloudError], tuple[SquareCloudError, float]
        ] = {}  # a key or quota, and until when
        self._failed_at: list[
            float
        ] = []  # POSTs in a row that ended in an ambiguous 5xx; of an outage also later ones

    @asynccontextmanager
    async def slot(
        self, request: str, lane: Lane, *, waits_out_block: bool = True
    ) -> AsyncIterator[None]:
        """Wait for the slot of a read, `request`, and learn from the result of what the body sends; raises what forbids to send it."""
        async with (
            await self._wait(_Request(request, lane, None, self.clock.monotonic(), waits_out_block))
        )[1]:
            yield

    async def claim(
        self,
        request: str,
        lane: Lane,
        database_id: str,
        decide: Callable[[Document], Claim],
        on_wait: OnWait | None,
    ) -> tuple[Claim, AbstractAsyncContextManager[Departure]]:
        """Wait for the slot of a POST, and decide in the same edit of the ledger whether it is sent at all; see also `slot`.

        `decide` gets the document once the limits allow the request, and enters it; called again if another run was faster.
        Returns the decision, and the slot, whose body sends the request at once if that is what was decided. A cancellation has a
        `NotSent` as its cause if the body was not begun. Without a ledger that can be written nothing may be sent.
        """
        return await self._wait(
            _Request(request, lane, database_id, self.clock.monotonic(), on_wait=on_wait), decide
        )

    @property
    def blocked_until(self) -> datetime | None:
        """When the account's block ends; None if there is none."""
        return self._utc(self._blocks.get("", -math.inf))

    @property
    def _blocks(self) -> dict[str, float]:
        """When each block ends, see `Pacing`; what this run has met last counts."""
        return self._others.blocks | self._mine.blocks

    async def forget_blocks(self) -> datetime | None:
        """Let all runs forget every block, and return when they took the longest one to end, if any."""
        await self._edit(lambda _: None)
        longest = max((*self._others.blocks.values(), *self._mine.blocks.values()), default=0.0)
        self._others.blocks, self._mine.blocks = {}, {}
        await self.ledger.edit(
            lambda document: document.get(ACCOUNTS, {}).get(self._account, {}).pop("blocks", None)
        )
        return self._utc(longest)

    def _utc(self, at: float) -> datetime | None:
        """The date and time of a moment to come; None if it is over."""
        left = at - self.clock.monotonic()
        return self.clock.utc() + timedelta(seconds=left) if left > 0 else None

    # The queue -------------------------------------------------------------------------------------------------------

    async def _wait(
        self, request: _Request, decide: Callable[[Document], Any] | None = None
    ) -> tuple[Any, AbstractAsyncContextManager[Departure]]:
        """Wait until a request is the next and the limits allow it, and until it is decided; returns the decision and its slot.

        Only the first request needs a timer, so that one which finds another one first wakes that.
        """
        lane = request.lane
        # The cooldown of a database begins once the request leaves, see `_depart`: a claim whose
        # run is killed before costs other clients no more than the account's spacing.
        limits = [lane.name] if lane.per_account > 0 else []

        def decided(document: Document) -> tuple[Claim | None, list[Sent]] | None:
            # A POST leaves once it is written down.
            at = self.clock.monotonic() + self._took * lane.starts
            if self._earliest()(request)[0] > at:
                return None  # another run was faster, or reported a block
            claim = decide(document) if decide else None
            return claim, [
                Sent(at, self._run, limits)
            ] if claim is None or claim.role == "new" else []

        self._queue.append(request)
        try:
            while True:
                self._raise_if_stopped(request)
                first, at = self._next()
                left = at - (self.clock.monotonic() + self._took * lane.starts)
                if first is not request:
                    first.woken.set()
                    left = math.inf
                elif left <= 0:
                    # A POST waits for the ledger, and is not sent without it.
                    result = await (self._edit if lane.starts else self.exchange)(decided)
                    if result is None:
                        continue
                    claim, sent = result
                    self._mine.sent += sent
                    return claim, self._sending(request, *sent)
                with anyio.move_on_after(left):
                    await request.woken.wait()
                request.woken = anyio.Event()
        finally:
            self._queue.remove(request)
            if self._queue:
                self._next()[0].woken.set()

    def _next(self) -> tuple[_Request, float]:
        """The next request, creates and restores before reads, then by age; and when it may leave. Tells the others why they wait."""
        now, earliest = self.clock.monotonic(), self._earliest()
        times = {each: earliest(each) for each in self._queue}
        first = min(
            self._queue,
            key=lambda each: (max(times[each][0], now), not each.lane.starts, each.queued_at),
        )
        for ahead, each in enumerate(each for each in self._queue if each.lane.starts):
            at, cooldown = times[each]
            if each.on_wait is None or (each is first and at <= now + self._took):
                continue
            if self._held_until(each) is not None:
                each.on_wait("service is returning errors; will send when a listing succeeds")
            elif now < cooldown == at:
                why = f"one {each.lane.name} per database every {each.lane.per_database:.0f} s"
                each.on_wait("queued", until=self._utc(cooldown), why=why)
            else:
                each.on_wait("queued", f", {ahead} ahead" if ahead else "")
        return first, times[first][0]

    def _earliest(self) -> Callable[[_Request], tuple[float, float]]:
        """Tells when a request may leave or has to be given up, by what is known now; and when its database's cooldown ends.

        While creates and reads wait, each leaves to the other what that can use, up to half of the budget of any minute.
        """
        # So much later the others see that a limit is free.
        courtesy = 2 * self.ledger.clock.unsure + COURTESY if self._others.sent else 0.0
        sent = sorted(
            [
                *self._others.sent,
                *(each._replace(at=each.at + courtesy) for each in self._mine.sent),
            ]
        )
        last = {limit: each.at for each in sent for limit in each.limits}
        waiting, free = [each.lane.starts for each in self._queue], dict[bool, float]()
        blocked = self._blocks.get("", -math.inf)
        for starts in (True, False):
            same = [
                each
                for each in sent
                if starts is not {CREATE.name, RESTORE.name}.isdisjoint(each.limits)
            ]
            share = self._budget - min(waiting.count(not starts), self._budget // 2)
            full = [
                some[-most].at
                for some, most in ((sent, self._budget), (same, share))
                if len(some) >= most
            ]
            free[starts] = max([blocked, *(at + BUDGET_WINDOW for at in full)])

        def of(request: _Request) -> tuple[float, float]:
            lane = request.lane
            account = last.get(lane.name, -math.inf) + lane.per_account
            cooldown = last.get(f"{lane.name} {request.database_id}", -math.inf) + lane.per_database
            held = self._held_until(request)
            return max(account, cooldown, free[lane.starts]) if held is None else held, cooldown

        return of

    def _held_until(self, request: _Request) -> float | None:
        """When a POST is given up that an outage delays; None if none does."""
        if not request.lane.starts or len(self._failed_at) < OUTAGE_AFTER:
            return None
        return max(request.queued_at, self._failed_at[OUTAGE_AFTER - 1]) + OUTAGE_PATIENCE

    # What the answers mean for other requests --------------------------------------------------------------------------

    def _raise_if_stopped(self, request: _Request) -> None:
        """Raise the error that forbids this request, if there is one."""
        now, lane, blocks = self.clock.monotonic(), request.lane, self._blocks
        for kind, (error, until) in self._stops.items():
            if now < until and (kind is KeyRefused or lane is CREATE):
                raise error.kept_back(request.text)
        if (held := self._held_until(request)) is not None and held <= now + self._took:
            raise Outage(request.text)
        for name, waits in (("", not lane.starts and request.waits_out_block), (lane.name, False)):
            left = blocks.get(name, -math.inf) - now
            if (
                left > 0 and not waits
            ):  # no caller depends on a kind of request that has a block of its own
                kind = ListingBlocked if name else Blocked
                raise kind(
                    request.text,
                    status=429,
                    code=BLOCK_CODE,
                    retry_after=left,
                    unsent=True,
                    now=self.clock.utc(),
                )

    @asynccontextmanager
    async def _sending(
        self, request: _Request, sent: Sent | None = None
    ) -> AsyncIterator[Departure]:
        """Wait for the moment that the limits count, a fraction of a second; learn from the request that the body sends."""
        was_known = self.ledger.clock.offset is not None
        try:
            try:
                await self.clock.sleep(sent.at - self.clock.monotonic() if sent else 0.0)
            except anyio.get_cancelled_exc_class() as cancelled:
                raise cancelled from NotSent(request.text)
            yield partial(self._depart, request, sent)
        except (SquareCloudError, anyio.get_cancelled_exc_class()) as ended:
            error = ended if isinstance(ended, SquareCloudError) else ended.__cause__
            if isinstance(error, SquareCloudError):
                self._learn(request.lane, sent, error)
                with anyio.CancelScope(
                    shield=error is not ended
                ):  # after an interrupt, not against one
                    await self.exchange()
            raise
        self._learn(request.lane, sent, None)
        if sent is not None and not was_known:  # other runs do not know of it yet
            await self.exchange()

    async def _depart(
        self, request: _Request, sent: Sent | None, change: Callable[[Document], T | None]
    ) -> T | None:
        """Enter in one edit of the ledger that a request leaves, which begins its database's cooldown.

        Args:
            request: The request.
            sent: Its entry.
            change: Enters it in the document; None if it must not leave.

        Returns:
            The result of `change`.
        """
        lane = request.lane
        cooldown = f"{lane.name} {request.database_id}"

        def depart(document: Document) -> tuple[T | None, list[Sent]]:
            departed = change(document)
            if departed is not None and sent is not None:
                sent.limits[1:] = [cooldown] if lane.per_database > 0 else []
                # By its limits, which are the same list: an edit that others delay comes here again.
                others = [each for each in self._mine.sent if each.limits is not sent.limits]
                left = sent._replace(at=self.clock.monotonic() + self._took)
                self._mine.sent = [*others, left]
            return departed, []

        result = await self._edit(depart)
        return result[0] if result is not None else None

    def _learn(self, lane: Lane, sent: Sent | None, error: SquareCloudError | None) -> None:
        now, was_outage = self.clock.monotonic(), len(self._failed_at) >= OUTAGE_AFTER
        if isinstance(error, KeyRefused | QuotaUsedUp):
            self._stops[type(error)] = error, now + STOPPED
        elif isinstance(error, Blocked):
            lasts = (
                self._block_wait
                if error.retry_after is None
                else max(error.retry_after, BUDGET_WINDOW)
            )
            self._mine.blocks[lane.name if isinstance(error, ListingBlocked) else ""] = now + lasts
        elif isinstance(error, Cooldown):
            # The answer does not say which cooldown it was, so the account's spacing starts again.
            self._mine.sent.append(Sent(now, self._run, [lane.name]))
        ambiguous, status = (
            error is not None and error.ambiguous,
            error.status or 0 if error else 200,
        )
        if (
            sent
            and error
            and not ambiguous
            and not isinstance(error, SnapshotFailed | RestoreFailed)
        ):
            sent.limits[1:] = []  # it was not accepted, so only the account's cooldown has started
        if lane.starts and ambiguous and status >= 500:  # noqa: PLR2004  a server's failure
            self._failed_at.append(now)
        elif not was_outage if lane.starts else not ambiguous and 0 < status < 500:  # noqa: PLR2004
            self._failed_at = []
        if error or was_outage:
            for queued in self._queue:
                queued.woken.set()

    # The ledger --------------------------------------------------------------------------------------------------------

    async def exchange(self, decide: Decide[T] = lambda _: None) -> tuple[T, list[Sent]] | None:
        """Share with other runs what is known, and decide on a read; by this process's own pacing if the ledger cannot be used."""
        if self.clock.monotonic() >= self._again_at:
            try:
                return await self._edit(decide)
            except LedgerUnavailable:
                self._again_at = self.clock.monotonic() + AGAIN_AFTER
        return decide({})

    async def _edit(self, decide: Decide[T]) -> tuple[T, list[Sent]] | None:
        """Share in one edit of the ledger what is known, and what a decision is to send; returns the decision."""
        clock, told = self.ledger.clock, dict[str, float]()

        def change(document: Document) -> tuple[T, list[Sent]] | None:
            is_local = not self.ledger.place.is_shared
            if is_local:
                # or blocks seem to be over until the first answer
                clock.assume(document.get(AHEAD_HERE))
            here, now = self.clock.monotonic(), clock.now().timestamp()
            there = pacing_of(self._account, document, self.ledger)
            self._mine, others = self._mine.current(here), there.current(now, without=self._run)
            self._others = others.moved(here - now, clock.unsure)
            decided = decide(document)
            # Others could not use times by an unknown clock, and what seems to be over may not be.
            if clock.offset is not None:
                if is_local:
                    document[AHEAD_HERE] = round(clock.offset)
                told.update(self._mine.blocks)
                sent = [*self._mine.sent, *(decided[1] if decided else [])]
                mine = Pacing.model_construct(sent=sent, blocks=told).moved(
                    now - here, clock.unsure
                )
                after = Pacing.model_construct(
                    sent=others.sent + mine.sent, blocks=others.blocks | mine.blocks
                )
                if after != there:
                    document.setdefault(ACCOUNTS, {})[self._account] = after.model_dump()
            return decided

        async with self._editing:  # the next decision needs the result of this one
            began = self.clock.monotonic()
            decided = await self.ledger.edit(change)
            self._took = min(max(self.clock.monotonic() - began, FADES * self._took), LONGEST_TOOK)
            # They are the ledger's now, and forgotten if that forgets them.
            self._others.blocks |= told
            self._mine.blocks = dict(self._mine.blocks.items() - told.items())
            return decided
