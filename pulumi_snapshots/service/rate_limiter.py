"""The rate limiter: delays each request until the service's limits allow it. Sends nothing itself.

Here all times are monotonic seconds of this process; in the ledger, which all runs with one account share, they are the service's.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import anyio
import httpx

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
    SnapshotFailed,
    SquareCloudError,
)
from pulumi_snapshots.service.limits import BUDGET_WINDOW, CREATE, READ, Lane
from pulumi_snapshots.service.pacing import ACCOUNTS, KEPT, Pacing, Sent, Slots, pacings

T = TypeVar("T")
Decide = Callable[[Document], tuple[T, Sent | None]]
"""Decides on the ledger's document: the decision, and what it sends."""
OnWait = Callable[..., None]
"""Called with what a request waits for, see `Member.waits`."""
COURTESY = 0.05
"""Seconds that the process which sent last gives to the other runs, so that two fleets alternate."""
STOPPED = 300.0
"""Seconds that nothing is sent which a refused key or a used-up quota forbids. No source says how many refused requests block an
address; a process that lives on sends 12 an hour."""
OUTAGE_AFTER = 2
"""POSTs in a row with an ambiguous 5xx after which no further POST is sent until a read succeeds."""
OUTAGE_PATIENCE = 120.0
"""Seconds that a POST waits in an outage for a read to succeed."""
BLOCKED = "rate limited"
"""The state of all requests while the account is blocked."""
FADES, LONGEST_TOOK = 0.8, 5.0
"""How fast a slow edit is forgotten, and the longest one that is expected again, in seconds."""
AGAIN_AFTER = 60.0
"""Seconds after which a ledger that failed a read request is tried again for one."""


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


class RateLimiter:
    """Spaces the requests of one API key, and learns from their answers.

    A refused key stops every request for some minutes, and a used-up quota creates. A block stops every request until it ends;
    one of the account's listing stops only that. An outage delays creates and restores.

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
        self._clock, self._ledger, self._account = clock, ledger, account
        self._budget, self._block_wait = requests_per_minute, block_wait
        self._run = secrets.token_hex(4)
        self._queue: list[_Request] = []  # oldest first
        self._there = Pacing()  # what the ledger has of other runs, of listings and of blocks
        self._own: list[Sent] = []
        self._new_blocks: dict[str, float] = {}  # as in `Pacing`, those that the ledger does not have yet
        self._editing = anyio.Lock(fast_acquire=True)
        self._took = 0.0  # seconds that an edit of the ledger takes at most, as far as the last ones show
        self._again_at = -math.inf
        self._stops: dict[type[SquareCloudError], tuple[SquareCloudError, float]] = {}  # a key or quota, and until when
        self._failed_at: list[float] = []  # POSTs in a row that ended in an ambiguous 5xx; of an outage also later ones

    @asynccontextmanager
    async def slot(
        self, request: str, lane: Lane, database_id: str | None = None, *, waits_out_block: bool = True
    ) -> AsyncIterator[None]:
        """Wait for the slot of a read, and learn from the result of the request that the body sends.

        `request` is method and path, for the error if it must not be sent: the key is refused, or there is a block that the
        caller does not wait out.
        """
        queued = _Request(request, lane, database_id, self._clock.monotonic(), waits_out_block)

        def decide(_: Document) -> tuple[Sent | None, Sent | None]:
            sent = self._slot_of(queued)
            return sent, sent

        _, sent = await self._wait(queued, lambda: self.exchange(decide))
        async with self._sending(queued, sent):
            yield

    async def claim(
        self, request: str, lane: Lane, database_id: str, decide: Callable[[Document], Claim], on_wait: OnWait | None
    ) -> tuple[Claim, AbstractAsyncContextManager[None]]:
        """Wait for the slot of a POST, and decide in the same edit of the ledger whether it is sent at all; see also `slot`.

        Args:
            request: method and path, for errors.
            lane: its kind.
            database_id: the database that it is about.
            decide: gets the document once the limits allow the request, and enters it; called again if another run was faster.
            on_wait: called while the request waits.

        Returns:
            The decision, and the slot, whose body sends the request at once if that is what was decided. A cancellation has a
            `NotSent` as its cause if the body was not begun.

        Raises:
            SquareCloudError: the request must not be sent: key refused, quota used up, block or outage.
            LedgerUnavailable: the ledger cannot be written, so nothing may be sent.
        """
        queued = _Request(request, lane, database_id, self._clock.monotonic(), on_wait=on_wait)

        def claimed(document: Document) -> tuple[Claim | None, Sent | None]:
            sent = self._slot_of(queued)
            claim = decide(document) if sent else None
            return claim, sent if claim and claim.role == "new" else None

        claim, sent = await self._wait(queued, lambda: self._edit(claimed))
        return claim, self._sending(queued, sent)

    def listed_at(self, database_id: str) -> float:
        """When any run last requested the listing of a database; minus infinity for not lately."""
        return self._there.listed.get(database_id, -math.inf) - self._shift

    @property
    def blocked_until(self) -> datetime | None:
        """When the account's block ends; None if there is none."""
        return self._utc(self._block_ends(""))

    async def forget_blocks(self) -> datetime | None:
        """Let all runs forget every block, and return when they took the longest one to end, if any."""

        def forget(document: Document) -> tuple[float, None]:
            longest = max([self._block_ends(lane) for lane in (*self._there.blocks, *self._new_blocks)], default=0.0)
            self._there.blocks, self._new_blocks = {}, {}
            if self._account in pacings(document):
                document[ACCOUNTS][self._account].pop("blocks", None)
            return longest, None

        return self._utc((await self._edit(forget))[0])

    def _utc(self, at: float) -> datetime | None:
        """The date and time of a moment to come; None if it is over."""
        left = at - self._clock.monotonic()
        return self._clock.utc() + timedelta(seconds=left) if left > 0 else None

    # The queue -------------------------------------------------------------------------------------------------------

    async def _wait(
        self, request: _Request, decide: Callable[[], Awaitable[tuple[T | None, Sent | None]]]
    ) -> tuple[T, Sent | None]:
        """Wait until a request is the next and the limits allow it, and until it is decided; returns the decision.

        Only the first request needs a timer, so that one which finds another one first wakes that.
        """
        self._queue.append(request)
        try:
            while True:
                self._raise_if_stopped(request)
                first, slots = self._first()
                left = self._earliest(request, slots) - self._leaves_at(request)
                if first is not request:
                    first.woken.set()
                    left = math.inf
                elif left <= 0:
                    if request.lane.starts and self._is_outage:
                        raise Outage(request.text)
                    decision, sent = await decide()
                    if decision is not None:
                        return decision, sent
                    continue  # another run was faster, or reported a block
                self._show(slots)
                with anyio.move_on_after(left):
                    await request.woken.wait()
                request.woken = anyio.Event()
        finally:
            self._queue.remove(request)
            if self._queue:
                first, slots = self._first()
                first.woken.set()
                self._show(slots)

    def _first(self) -> tuple[_Request, Slots]:
        """The next request, by when it may leave, creates and restores before reads, then by age; and when each may leave."""
        now, slots = self._clock.monotonic(), self._slots()
        key = lambda each: (max(self._earliest(each, slots), now), not each.lane.starts, each.queued_at)  # noqa: E731
        return min(self._queue, key=key), slots

    def _slots(self) -> Slots:
        """When requests may leave, by what is known now. A request of another run is taken to be as late as it can have been."""
        unsure, shift = self._ledger.clock.unsure, self._shift
        others = [Sent(at - shift + unsure, limits) for at, _, limits, _ in self._there.sent]
        courtesy = 2 * unsure + COURTESY if others else 0.0  # so much later the others see that a limit is free
        own = [Sent(at + courtesy, limits) for at, limits in self._own]
        return Slots([*others, *own], self._block_ends(""), self._budget, [each.lane.starts for each in self._queue])

    def _earliest(self, request: _Request, slots: Slots) -> float:
        """When a request may leave, or has to be given up."""
        if request.lane.starts and self._is_outage:
            return max(request.queued_at, self._failed_at[OUTAGE_AFTER - 1]) + OUTAGE_PATIENCE
        return slots.free(request.lane, request.database_id)

    @property
    def _is_outage(self) -> bool:
        return len(self._failed_at) >= OUTAGE_AFTER

    def _block_ends(self, lane: str) -> float:
        there = self._there.blocks.get(lane, -math.inf) - self._shift
        return max(there, self._new_blocks.get(lane, -math.inf))

    def _leaves_at(self, request: _Request) -> float:
        """When a request leaves that is decided now: a POST once that is written down."""
        return self._clock.monotonic() + (self._took if request.lane.starts else 0.0)

    def _slot_of(self, request: _Request) -> Sent | None:
        """The request as it counts, if it gets its slot now; None if the requests of other runs delay it."""
        lane, database_id, at = request.lane, request.database_id, self._leaves_at(request)
        if self._earliest(request, self._slots()) > at:
            return None
        self._note_listed(request, at)
        return Sent(at, [lane.name] * (lane.per_account > 0) + [f"{lane.name} {database_id}"] * (lane.per_database > 0))

    def _note_listed(self, request: _Request, at: float) -> None:
        if request.lane is READ and request.database_id:
            self._there.listed[request.database_id] = at + self._shift

    def _show(self, slots: Slots) -> None:
        """Tell why creates and restores wait."""
        now = self._clock.monotonic()
        for ahead, request in enumerate(each for each in self._queue if each.lane.starts):
            if request.on_wait is None:
                continue
            cooldown = slots.cooldown(request.lane, request.database_id)
            if self._is_outage:
                request.on_wait("service is returning errors; will send when a listing succeeds")
            elif cooldown > now and cooldown >= self._earliest(request, slots):
                request.on_wait("queued", until=self._utc(cooldown), why=request.lane.cooldown)
            else:
                request.on_wait("queued", f", {ahead} ahead" if ahead else "")

    # What the answers mean for other requests --------------------------------------------------------------------------

    def _raise_if_stopped(self, request: _Request) -> None:
        """Raise the error that forbids this request, if there is one."""
        now, lane = self._clock.monotonic(), request.lane
        for kind, (error, until) in self._stops.items():
            if now < until and (kind is KeyRefused or lane is CREATE):
                raise error.kept_back(request.text)
        for name, waits in (("", not lane.starts and request.waits_out_block), (lane.name, False)):
            left = self._block_ends(name) - now
            if left > 0 and not waits:  # no caller depends on a kind of request that has a block of its own
                kind = ListingBlocked if name else Blocked
                raise kind(request.text, status=429, retry_after=left, unsent=True, now=self._clock.utc())

    @asynccontextmanager
    async def _sending(self, request: _Request, sent: Sent | None) -> AsyncIterator[None]:
        """Wait for the moment that the limits count, a fraction of a second; learn from the request that the body sends."""
        was_known = self._ledger.clock.offset is not None
        try:
            if sent is not None:
                try:
                    await self._clock.sleep(sent.at - self._clock.monotonic())
                except anyio.get_cancelled_exc_class() as cancelled:
                    raise cancelled from NotSent(request.text)
            yield
        except SquareCloudError as error:
            self._learn(request.lane, sent, error)
            await self.exchange()
            raise
        except anyio.get_cancelled_exc_class() as cancelled:
            if isinstance(cancelled.__cause__, NotSent):
                self._learn(request.lane, sent, cancelled.__cause__)
                with anyio.CancelScope(shield=True):
                    await self.exchange()
            raise
        self._learn(request.lane, sent, None)
        if sent is not None and not was_known:  # other runs do not know of it yet
            self._note_listed(request, sent.at)
            await self.exchange()

    def _learn(self, lane: Lane, sent: Sent | None, error: SquareCloudError | None) -> None:
        now, was_outage = self._clock.monotonic(), self._is_outage
        if isinstance(error, KeyRefused | QuotaUsedUp):
            self._stops[type(error)] = error, now + STOPPED
        elif isinstance(error, Blocked):
            lasts = self._block_wait if error.retry_after is None else max(error.retry_after, BUDGET_WINDOW)
            self._new_blocks[lane.name if isinstance(error, ListingBlocked) else ""] = now + lasts
        elif isinstance(error, Cooldown):
            # The answer does not say which cooldown it was, so the account's spacing starts again.
            self._own.append(Sent(now, [lane.name]))
        ambiguous, status = error is not None and error.ambiguous, error.status or 0 if error else httpx.codes.OK
        if sent and error and not ambiguous and not isinstance(error, SnapshotFailed | RestoreFailed):
            sent.limits[1:] = []  # it was not accepted, so only the account's cooldown has started
        if lane.starts and ambiguous and status >= httpx.codes.INTERNAL_SERVER_ERROR:
            self._failed_at.append(now)
        elif not was_outage if lane.starts else not ambiguous and 0 < status < httpx.codes.INTERNAL_SERVER_ERROR:
            self._failed_at = []
        if error or was_outage:
            for queued in self._queue:
                queued.woken.set()

    # The ledger --------------------------------------------------------------------------------------------------------

    async def exchange(self, decide: Decide[T | None] = lambda _: (None, None)) -> tuple[T | None, Sent | None]:
        """Share with other runs what is known, and decide on a read; by this process's own pacing if the ledger cannot be used."""
        if self._clock.monotonic() >= self._again_at:
            try:
                return await self._edit(decide)
            except LedgerUnavailable:
                self._again_at = self._clock.monotonic() + AGAIN_AFTER
        decision, sent = decide({})
        self._own += [sent] if sent else []
        return decision, sent

    async def _edit(self, decide: Decide[T]) -> tuple[T, Sent | None]:
        """Share in one edit of the ledger what is known, and what a decision is to send; returns the decision."""
        clock = self._ledger.clock

        def change(document: Document) -> tuple[T, Sent | None, dict[str, float]]:
            if not self._ledger.place.is_shared:
                clock.assume(document.get(AHEAD_HERE))  # or blocks seem to be over until the first answer
            before = pacings(document).get(self._account, Pacing())
            known = before.model_copy(update={"listed": self._there.listed | before.listed})
            self._there = known.current(clock.now().timestamp(), self._run)
            decision, sent = decide(document)
            # Others could not use times by an unknown clock, and what seems to be over may not be.
            if clock.offset is not None:
                if not self._ledger.place.is_shared:
                    document[AHEAD_HERE] = round(clock.offset)
                self._there.blocks |= {lane: at + self._shift for lane, at in self._new_blocks.items()}
                after = self._written([sent] if sent else [])
                if after != before:
                    there = document.get(ACCOUNTS)
                    accounts = there if isinstance(there, dict) else {}
                    document[ACCOUNTS] = {**accounts, self._account: after.model_dump()}
            return decision, sent, {**self._new_blocks}

        async with self._editing:  # the next decision needs the result of this one
            began = self._clock.monotonic()
            decision, sent, told = await self._ledger.edit(change)
            self._took = min(max(self._clock.monotonic() - began, FADES * self._took), LONGEST_TOOK)
            if clock.offset is not None:
                self._new_blocks = dict(self._new_blocks.items() - told.items())
            self._own += [sent] if sent else []
            return decision, sent

    def _written(self, new: list[Sent]) -> Pacing:
        """What is entered: what the ledger has of others, and this run's requests, each as late as it can have been."""
        later = self._shift + self._ledger.clock.unsure
        self._own = [each for each in self._own if each.at > self._clock.monotonic() - KEPT]
        mine = [(round(at + later, 3), self._run, limits, True) for at, limits in [*self._own, *new]]
        return self._there.model_copy(update={"sent": [*self._there.sent, *mine]})

    @property
    def _shift(self) -> float:
        """Seconds from monotonic time to the service's."""
        return self._ledger.clock.now().timestamp() - self._clock.monotonic()
