"""Delays requests until the service's limits allow them, for all runs with one account.

The limiter sends nothing itself. Its rules are in `pulumi_snapshots.service.pacing`. Times are
monotonic seconds of this process.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import deepcopy
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.ledger.decision import Claim
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import Document
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
from pulumi_snapshots.service.limits import BUDGET_WINDOW, CREATE, Lane
from pulumi_snapshots.service.pacing import OnWait, OwnRequest, QueuedRequest, Traffic
from pulumi_snapshots.service.shared_pacing import Entry, SharedPacing

T = TypeVar("T")
BLOCKED = "rate limited"
"""The state of all requests while the account is blocked."""
STOPPED = 300.0
"""Seconds for which nothing is sent that a refused key or a used-up quota forbids. No source says
how many refused requests block an address; a process that lives on sends 12 an hour."""
OUTAGE_AFTER = 2
"""POSTs in a row with an ambiguous 5xx after which none is sent until a read succeeds ..."""
POST_HELD_FOR = 120.0
"""... and the seconds for which a POST waits for the end of a block."""
SERVER_FAILS = 500
"""The lowest status that says that the service failed."""


Departure = Callable[[Callable[[Document], Any]], Awaitable[Any]]
"""Enters that a request leaves, right before it does, see `RateLimiter._depart`."""
OnReadWait = Callable[[datetime, str], None]
"""Called with the end of a read's wait, and its reason, a clause."""
Slot = AbstractAsyncContextManager[Departure]
"""Its body sends the request."""


class RateLimiter:
    """Spaces the requests of one API key, and learns from their answers.

    A refused key stops every request for some minutes, and a used-up quota stops creates. A block
    stops every request until it ends; a block of the account's listing stops only the listing. An
    outage delays creates and restores.

    Args:
        clock: The process's clock.
        ledger: What runs know of each other.
        account: Names the account in the ledger.
        budget: The requests that all runs may send in a minute.
        block_wait: Seconds that a block lasts if the service sends no `Retry-After`.

    Attributes:
        on_read_wait: Called with when a waiting read is sent, and why not now; None for nothing.
    """

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        account: str,
        *,
        budget: int,
        block_wait: float,
    ) -> None:
        self.clock = clock
        self.ledger = ledger
        self._block_wait = block_wait
        self._queue: list[QueuedRequest] = []  # oldest first
        self._pacing = SharedPacing(
            clock,
            ledger,
            account,
            budget=budget,
            waiting=self._queue,
        )
        # A refused key or a used-up quota: which requests it stops, and until when.
        self._stops: dict[type[SquareCloudError], tuple[SquareCloudError, float]] = {}
        # POSTs in a row that ended in an ambiguous 5xx; in an outage also later ones.
        self._failed_at: list[float] = []
        self.on_read_wait: OnReadWait | None = None

    @asynccontextmanager
    async def slot(
        self,
        request: str,
        lane: Lane,
        *,
        waits_out_block: bool = True,
        enters_later: bool = False,
    ) -> AsyncIterator[None]:
        """Wait for the slot of a read; the body sends it.

        Args:
            request: The read, for messages.
            lane: Its limits.
            waits_out_block: Whether it waits until a block of the account ends.
            enters_later: Whether the account's listing can be entered with the next edit, too. A
                user can type a command several times a minute: then it must not.

        Yields:
            Nothing.

        Raises:
            SquareCloudError: The reason why the read must not be sent.
        """
        queued = QueuedRequest(
            request,
            lane,
            self.clock.monotonic(),
            waits_out_block=waits_out_block,
            enters_later=enters_later,
        )
        _, sending = await self._wait(queued)
        async with sending:
            yield

    async def claim(
        self,
        request: str,
        lane: Lane,
        database_id: str,
        decide: Callable[[Document], Claim],
        on_wait: OnWait | None,
    ) -> tuple[Claim, Slot]:
        """Wait for the slot of a POST, and decide in the same edit of the ledger if it is sent.

        Args:
            request: The POST, for messages.
            lane: Its limits.
            database_id: Its database.
            decide: Gets the document once the limits allow the request, and enters it; called again
                if another run was faster.
            on_wait: Hears the reason for each wait; None hears nothing.

        Returns:
            The decision, and the slot, whose body sends the request at once if so decided. A
            cancellation has a `NotSent` as its cause if the body was not begun.

        Raises:
            LedgerUnavailable: The ledger cannot be written, so that nothing can be sent.
            SquareCloudError: The reason why the request must not be sent.
        """
        queued = QueuedRequest(
            request,
            lane,
            self.clock.monotonic(),
            f"{lane.name} {database_id}",
            on_wait=on_wait,
        )
        return await self._wait(queued, decide)

    @property
    def blocked_until(self) -> datetime | None:
        """When the account's block ends; None if there is none."""
        return self._utc(self._pacing.blocks.get("", -math.inf))

    async def forget_blocks(self) -> datetime | None:
        """Let all runs forget every block.

        Returns:
            When they took the longest one to end; None if there was none.
        """
        return self._utc(await self._pacing.forget_blocks())

    async def exchange(self) -> None:
        """Share with other runs what they must know, see `SharedPacing.exchange`."""
        await self._pacing.exchange()

    def _utc(self, at: float) -> datetime | None:
        """The date and time of a future moment; None if the moment has passed."""
        seconds_left = at - self.clock.monotonic()
        if seconds_left <= 0:
            return None
        return self.clock.utc() + timedelta(seconds=seconds_left)

    # The queue ------------------------------------------------------------------------------------

    async def _wait(
        self,
        request: QueuedRequest,
        decide: Callable[[Document], Claim] | None = None,
    ) -> tuple[Any, Slot]:
        """Wait until a request is the next, and until the decision on the request.

        Only the next request needs a timer. Any other request wakes the next one.

        Returns:
            The decision, and the slot.
        """
        self._queue.append(request)
        try:
            while True:
                traffic = self._pacing.traffic
                self._raise_if_stopped(request, traffic)
                first, at = self._next(traffic)
                seconds_left = at - self._leaves_at(request, traffic)
                is_overtaken = request.lane.starts and _is_overtaken(request, traffic)
                if first is not request and not is_overtaken:
                    first.woken.set()
                    seconds_left = math.inf
                elif seconds_left <= 0 or is_overtaken:
                    entry = await self._admitted(request, decide)
                    if entry is None:
                        continue
                    return entry.result, self._sending(request, entry.sent)
                elif self._waits_for_budget(request, traffic):
                    await self._pacing.reserve_place()
                    continue
                with anyio.move_on_after(seconds_left):
                    await request.woken.wait()
                request.woken = anyio.Event()
        finally:
            self._queue.remove(request)
            if self._queue:
                self._next(self._pacing.traffic)[0].woken.set()

    def _leaves_at(self, request: QueuedRequest, traffic: Traffic) -> float:
        """When a request leaves that is decided now: a POST once the ledger has the POST."""
        return traffic.now + (self._pacing.edit_takes if request.lane.starts else 0.0)

    def _next(self, traffic: Traffic) -> tuple[QueuedRequest, float]:
        """The next request, and when it may leave.

        Creates and restores go before reads, then age counts.
        """
        times = {each: self._earliest(each, traffic) for each in self._queue}
        order = {
            each: (max(at, traffic.now), not each.lane.starts, each.queued_at)
            for each, at in times.items()
        }
        first = min(order, key=order.__getitem__)
        self._tell_why(first, times, traffic)
        return first, times[first]

    def _tell_why(
        self,
        first: QueuedRequest,
        times: dict[QueuedRequest, float],
        traffic: Traffic,
    ) -> None:
        """Tell each request that waits the reason."""
        self._tell_why_reads_wait(times, traffic)
        posts = [each for each in self._queue if each.lane.starts]
        for ahead, each in enumerate(posts):
            leaves_now = each is first and times[each] <= self._leaves_at(each, traffic)
            if each.on_wait is None or leaves_now:
                continue
            lane = each.lane
            cooldown = traffic.spaced_at(each.cooldown, lane.per_database)
            if self._held_until(each) is not None:
                each.on_wait(
                    "service is returning errors; will send when a listing succeeds"
                )
            elif traffic.now < cooldown == times[each]:
                minutes = f"{lane.per_database // 60:.0f} min"
                reason = (
                    f"the service accepts one {lane.name} per database in {minutes}"
                )
                each.on_wait("queued", until=self._utc(cooldown), why=reason)
            else:
                starts = max(times[each], times[posts[0]] + ahead * lane.per_account)
                ahead_text = f" ({ahead} ahead)" if ahead else ""
                each.on_wait("queued", ahead_text, starts=self._utc(starts))

    def _tell_why_reads_wait(
        self, times: dict[QueuedRequest, float], traffic: Traffic
    ) -> None:
        """Tell why each read waits that is not sent at once."""
        for each, at in times.items():
            until = self._utc(at)
            if each.lane.starts or self.on_read_wait is None or until is None:
                continue
            spaced_at = traffic.spaced_at(each.lane.name, each.lane.per_account)
            reason = "other requests have used up this minute"
            if at in traffic.blocks.values():
                reason = "the service has blocked requests until then"
            elif at == spaced_at:
                seconds = f"{each.lane.per_account:.0f} s"
                reason = f"the {each.lane.name} is requested at most once in {seconds}"
            self.on_read_wait(until, reason)

    def _earliest(self, request: QueuedRequest, traffic: Traffic) -> float:
        """When a request may leave or has to be given up, by what is known now."""
        held_until = self._held_until(request)
        if held_until is not None:
            return held_until
        return traffic.earliest(request)

    @property
    def _is_outage(self) -> bool:
        """Whether so many POSTs in a row have failed that none is sent."""
        return len(self._failed_at) >= OUTAGE_AFTER

    def _held_until(self, request: QueuedRequest) -> float | None:
        """When a POST that an outage delays is given up; None without an outage, or for a read."""
        if not request.lane.starts or not self._is_outage:
            return None
        return max(request.queued_at, self._failed_at[OUTAGE_AFTER - 1]) + POST_HELD_FOR

    # A request's slot -----------------------------------------------------------------------------

    async def _admitted(
        self,
        request: QueuedRequest,
        decide: Callable[[Document], Claim] | None,
    ) -> Entry[Any] | None:
        """Take a request's slot by what the ledger has now; None if another run was faster."""
        pacing = self._pacing
        if decide is not None:
            return await pacing.edit(partial(self._claimed, request, decide))
        async with pacing.for_reads():
            if pacing.is_usable:
                if not _must_enter(request, pacing.traffic):
                    await pacing.look()
                traffic = pacing.traffic
                if _must_enter(request, traffic):
                    return await pacing.edit_alone(partial(self._entered_read, request))
                return self._own_read(request, traffic)
        return self._own_read(request, pacing.traffic)

    def _claimed(
        self,
        request: QueuedRequest,
        decide: Callable[[Document], Claim],
        document: Document,
        traffic: Traffic,
    ) -> Entry[Claim] | None:
        """Decide on a POST within an edit."""
        at = self._leaves_at(request, traffic)
        if self._earliest(request, traffic) > at:
            # Meanwhile another request may have made a claim that serves this one too, or that
            # this one must wait for.
            claim = decide(deepcopy(document))
            return None if claim.role == "new" else Entry(claim)
        claim = decide(document)
        if claim.role != "new":
            return Entry(claim)
        # The cooldown of the database begins once the request leaves, see `_depart`. If its run is
        # killed earlier, the claim costs other clients no more than the account's spacing.
        sent = OwnRequest(at, _limits_of(request.lane))
        return Entry(
            claim,
            sent,
            reserved=traffic.reserve(sent, waiting=traffic.waiting_reads),
        )

    def _entered_read(
        self, request: QueuedRequest, _document: Document, traffic: Traffic
    ) -> Entry[None] | None:
        """Enter a read within an edit, and reserve the reads that follow."""
        if self._earliest(request, traffic) > traffic.now:
            return None
        sent = OwnRequest(
            traffic.now + self._pacing.edit_takes, _limits_of(request.lane)
        )
        reserved = traffic.reserve(sent, waiting=traffic.waiting_reads - 1)
        return Entry(None, sent, reserved=reserved)

    def _own_read(self, request: QueuedRequest, traffic: Traffic) -> Entry[None] | None:
        """Let a read leave that the ledger has as reserved, need not have yet, or cannot have."""
        if self._earliest(request, traffic) > traffic.now:
            return None
        sent = OwnRequest(
            traffic.now,
            _limits_of(request.lane),
            is_entered=request.lane.is_read and bool(traffic.reserved),
            enters_later=request.lane.is_read or request.enters_later,
        )
        self._pacing.note_sent(sent)
        return Entry(None, sent)

    def _waits_for_budget(self, request: QueuedRequest, traffic: Traffic) -> bool:
        """Whether this request must reserve a slot itself, since others could take it."""
        if not traffic.knows_time or not self._pacing.is_usable:
            return False
        free_at = traffic.free_at(request.lane)
        is_budget = traffic.now < free_at == self._earliest(request, traffic)
        return is_budget and not traffic.reserved

    @asynccontextmanager
    async def _sending(
        self, request: QueuedRequest, sent: OwnRequest | None
    ) -> AsyncIterator[Departure]:
        """Wait until a POST counts as sent, a fraction of a second; learn from the body."""
        was_known = self.ledger.clock.offset is not None
        try:
            try:
                seconds_left = 0.0
                if sent is not None and request.lane.starts:
                    seconds_left = sent.at - self.clock.monotonic()
                await self.clock.sleep(seconds_left)
            except anyio.get_cancelled_exc_class() as cancelled:
                raise cancelled from NotSent(request.text)
            yield partial(self._depart, request, sent)
        except (SquareCloudError, anyio.get_cancelled_exc_class()) as ended:
            error = ended if isinstance(ended, SquareCloudError) else ended.__cause__
            if isinstance(error, SquareCloudError):
                self._learn(request.lane, sent, error)
                # An interrupt that has ended the request must not end the exchange, too.
                with anyio.CancelScope(shield=error is not ended):
                    await self.exchange()
            raise
        self._learn(request.lane, sent, None)
        if not was_known:
            await self.exchange()

    async def _depart(
        self,
        request: QueuedRequest,
        sent: OwnRequest | None,
        change: Callable[[Document], T | None],
    ) -> T | None:
        """Enter in one edit of the ledger that a request leaves: the database's cooldown begins.

        Args:
            request: The request.
            sent: The request as it was decided; None if the decision was to send none.
            change: Enters the request in the document; returns None if it must not leave.

        Returns:
            The result of `change`.
        """

        def depart(document: Document, traffic: Traffic) -> Entry[T | None]:
            departed = change(document)
            if departed is None or sent is None:
                return Entry(departed)
            limits = _limits_of(request.lane)
            if request.lane.per_database > 0:
                limits.append(request.cooldown)
            left = OwnRequest(self._leaves_at(request, traffic), limits)
            return Entry(departed, left, departs=sent)

        entry = await self._pacing.edit(depart)
        return None if entry is None else entry.result

    # What the answers mean for other requests -----------------------------------------------------

    def _raise_if_stopped(self, request: QueuedRequest, traffic: Traffic) -> None:
        """Raise the error that forbids this request, if there is one."""
        now = traffic.now
        for kind, (error, until) in self._stops.items():
            if now < until and (kind is KeyRefused or request.lane is CREATE):
                raise error.kept_back(request.text)
        held_until = self._held_until(request)
        if held_until is not None and held_until <= now + self._pacing.edit_takes:
            raise Outage(request.text)
        self._raise_if_blocked(request, traffic)

    def _raise_if_blocked(self, request: QueuedRequest, traffic: Traffic) -> None:
        """Raise the error of a block that this request does not wait out, if there is one."""
        waits = not request.lane.starts and request.waits_out_block
        # A block of one kind of request is not waited out, since no caller depends on that kind.
        errors: dict[str, type[Blocked]] = {request.lane.name: ListingBlocked}
        if not waits:
            errors = {"": Blocked, **errors}
        for name, error_type in errors.items():
            seconds_left = traffic.blocks.get(name, -math.inf) - traffic.now
            if seconds_left <= 0:
                continue
            raise error_type(
                request.text,
                status=429,
                code=BLOCK_CODE,
                retry_after=seconds_left,
                unsent=True,
                now=self.clock.utc(),
            )

    def _learn(
        self,
        lane: Lane,
        sent: OwnRequest | None,
        error: SquareCloudError | None,
    ) -> None:
        """Learn from an answer; None is a success."""
        was_outage = self._is_outage
        self._note_outage(lane, error)
        if error is not None:
            self._note_refusal(lane, error)
            was_accepted = error.ambiguous or isinstance(
                error, SnapshotFailed | RestoreFailed
            )
            if sent is not None and not was_accepted and len(sent.limits) > 1:
                # Only the account's cooldown has started.
                sent.limits = sent.limits[:1]
                sent.is_entered = False
        if error is not None or was_outage:
            for queued in self._queue:
                queued.woken.set()

    def _note_outage(
        self,
        lane: Lane,
        error: SquareCloudError | None,
    ) -> None:
        """Count the POSTs in a row that failed; a read that succeeds ends an outage."""
        status = HTTPStatus.OK if error is None else error.status or 0
        is_ambiguous = error is not None and error.ambiguous
        if lane.starts and is_ambiguous and status >= SERVER_FAILS:
            self._failed_at.append(self.clock.monotonic())
            return
        is_answered = not is_ambiguous and 0 < status < SERVER_FAILS
        ends_outage = not self._is_outage if lane.starts else is_answered
        if ends_outage:
            self._failed_at = []

    def _note_refusal(self, lane: Lane, error: SquareCloudError) -> None:
        """Note what a refusal forbids from now on."""
        now = self.clock.monotonic()
        if isinstance(error, KeyRefused | QuotaUsedUp):
            self._stops[type(error)] = error, now + STOPPED
        elif isinstance(error, Blocked):
            lasts = self._block_wait
            if error.retry_after is not None:
                lasts = max(error.retry_after, BUDGET_WINDOW)
            name = lane.name if isinstance(error, ListingBlocked) else ""
            self._pacing.note_block(name, now + lasts)
        elif isinstance(error, Cooldown):
            # The answer does not name the cooldown, so the account's spacing starts again.
            self._pacing.note_sent(OwnRequest(now, _limits_of(lane)))


def _is_overtaken(request: QueuedRequest, traffic: Traffic) -> bool:
    """Whether another POST for its database has left since a POST was decided last."""
    cooldown = traffic.spaced_at(request.cooldown, request.lane.per_database)
    is_new = traffic.now < cooldown != request.cooldown_seen
    request.cooldown_seen = cooldown
    return is_new


def _must_enter(request: QueuedRequest, traffic: Traffic) -> bool:
    """Whether the ledger must have a read before it is sent."""
    if not traffic.knows_time:
        return False
    lane = request.lane
    if lane.per_account > 0 and not request.enters_later:
        return True
    is_reserved = lane.is_read and bool(traffic.reserved)
    return not is_reserved and not traffic.may_go_unentered(lane)


def _limits_of(lane: Lane) -> list[str]:
    """The spacings of an account that count from a request."""
    return [lane.name] if lane.per_account > 0 else []
