"""The rate limiter: every request passes it, and it spaces requests as the service's limits ask. Sends nothing itself."""

from __future__ import annotations

import math
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import anyio

from pulumi_snapshots.api.errors import (
    Blocked,
    Cooldown,
    KeyRefused,
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
from pulumi_snapshots.api.limits import (
    ACCOUNT_LISTINGS_PER_MINUTE,
    RESTORE_PER_ACCOUNT,
    RESTORE_PER_DATABASE,
    SNAPSHOT_PER_ACCOUNT,
    SNAPSHOT_PER_DATABASE,
)
from pulumi_snapshots.api.request_log import RequestLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from pulumi_snapshots.clock import Clock

__all__ = ["ACCOUNT_LISTING", "CREATE", "LOOK", "RESTORE", "Lane", "RateLimiter", "Tell"]

Tell: TypeAlias = "Callable[[str, str], None]"
"""Told what a request waits for, and what of that changes meanwhile."""

BUDGET_WINDOW = 60.5
"""Seconds: the service counts requests a minute as they arrive; half a second for their jitter on the way."""
COURTESY = 0.05
"""Seconds by which the run that sent last lets the others of this machine go first, so that two fleets take turns."""
MOMENT = 0.05
"""Seconds between a turn and the request that the limits need not know of: all have more room than that."""
OUTAGE_AFTER = 2
"""POSTs in a row that ended in an ambiguous 5xx, after which no further one goes out until a look is answered."""
OUTAGE_PATIENCE = 120.0
"""Seconds that a POST waits in an outage for a look to be answered."""


@dataclass(frozen=True)
class Lane:
    """A kind of request and what the service allows of it.

    Attributes:
        per_account: seconds between two of the account.
        per_database: seconds between two of one database.
        starts: whether it starts something, so that it goes before looks and stops in a block or an outage.
    """

    name: str
    per_account: float = 0.0
    per_database: float = 0.0
    starts: bool = False


CREATE = Lane("create", per_account=SNAPSHOT_PER_ACCOUNT + 0.15, per_database=SNAPSHOT_PER_DATABASE + 1, starts=True)
"""What is more than the limit is for jitter on the way, here and below."""
RESTORE = Lane("restore", per_account=RESTORE_PER_ACCOUNT + 0.5, per_database=RESTORE_PER_DATABASE + 0.5, starts=True)
LOOK = Lane("look")
ACCOUNT_LISTING = Lane("account look", per_account=60 / ACCOUNT_LISTINGS_PER_MINUTE + 0.2)


_WHAT = {
    CREATE: f"snapshot per database in {SNAPSHOT_PER_DATABASE:.0f}",
    RESTORE: f"restore per database in {RESTORE_PER_DATABASE:.0f}",
}
"""The cooldowns of one database, in words."""


@dataclass(eq=False)
class _Ticket:
    """One request, and the POST on its database that was the last one before it (monotonic seconds)."""

    request: str
    lane: Lane
    database_id: str | None
    waits_out_block: bool
    arrived: float
    tell: Tell | None = None
    sent: float | None = None
    earlier: float = -math.inf
    woken: anyio.Event = field(default_factory=anyio.Event)


class RateLimiter:
    """Spaces the requests of one API key.

    It learns from what each request brings: a refused key stops everything, a used-up quota stops what would start
    a snapshot, a block stops all until it is over, an outage holds back what would start something.

    Args:
        clock: the time.
        requests_per_minute: how many may be sent in any minute.
        block_wait: seconds that a block lasts where the service sends no `Retry-After`.
        log: what was sent; shared with other processes, or this one's own.
    """

    def __init__(
        self, clock: Clock, *, requests_per_minute: int, block_wait: float, log: RequestLog | None = None
    ) -> None:
        self._clock = clock
        self._budget = requests_per_minute
        self._block_wait = block_wait
        self._waiting: list[_Ticket] = []
        self._log = log or RequestLog(clock)
        self._started: deque[float] = deque(maxlen=requests_per_minute)
        self._refused_key: KeyRefused | None = None
        self._quota: QuotaUsedUp | None = None
        self._block = Blocked("", status=429, code="RATE_LIMITED")
        self._failures_in_row = 0
        self._outage_since: float | None = None

    @asynccontextmanager
    async def slot(
        self,
        request: str,
        lane: Lane,
        database_id: str | None = None,
        *,
        waits_out_block: bool = True,
        tell: Tell | None = None,
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Wait for a turn; the request is sent inside, and what it brings is learnt at the end.

        What is entered is to be called where more than a moment lies between the turn and the sending: the limits count
        from there.

        Args:
            request: method and path, for the error of a request that is not sent.
            lane: its kind.
            database_id: whose cooldown it is under.
            waits_out_block: whether a look waits for the end of a block, or fails at once.
            tell: told what it waits for, and what of that changes meanwhile, such as how many are before it.

        Raises:
            SquareCloudError: it must not be sent (key refused, quota used up, blocked, outage).
        """
        ticket = _Ticket(request, lane, database_id, waits_out_block, self._clock.monotonic(), tell)
        await self._turn(ticket)
        try:
            yield partial(self._leaves, ticket, self._clock.monotonic())
        except SquareCloudError as error:
            if not error.ambiguous and not isinstance(error, SnapshotFailed | RestoreFailed):
                # Not accepted, so the database's cooldown did not start.
                self._forget_post(ticket)
            self._learn(ticket, error)
            await self._log.exchange(lambda: None)
            raise
        else:
            self._learn(ticket, None)

    def note_earlier_post(self, database_id: str, seconds_ago: float) -> None:
        """A POST of another process is known: its cooldown holds here too."""
        self._log.note(CREATE.name, database_id, self._clock.monotonic() - max(0.0, seconds_ago))

    @property
    def blocked(self) -> bool:
        """Whether a block is on."""
        return self._clock.monotonic() < self._log.blocked_until

    # Turns -----------------------------------------------------------------------------------------------------------

    async def _turn(self, ticket: _Ticket) -> None:
        self._waiting.append(ticket)
        try:
            self._wake_first()
            had_timer = False
            while True:
                self._stop_if_closed(ticket)
                now = self._clock.monotonic()
                first = self._first(now)
                at = self._earliest(ticket, self._budget_free(now))
                if had_timer and first is not ticket:
                    # Only time went by, and it changed who is first: whoever is needs the timer now.
                    first.woken.set()
                had_timer = first is ticket
                if first is ticket and at <= now:
                    if await self._log.exchange(lambda: self._goes(ticket)):
                        return
                    continue  # another process was faster, or told of a block
                if ticket.tell is not None:
                    before = sum(other.lane.starts == ticket.lane.starts for other in self._before(ticket))
                    ticket.tell(*self._reason(ticket, at, now, before))
                # Only the first needs a timer of its own; the others are woken when their place changes.
                wake = at if first is ticket else math.inf
                if ticket.lane.starts and self._outage_since is not None:
                    wake = min(wake, self._patience_ends(ticket))
                with anyio.move_on_after(wake - now):
                    await ticket.woken.wait()
                ticket.woken = anyio.Event()
        finally:
            self._waiting.remove(ticket)
            self._wake_first()

    def _first(self, now: float) -> _Ticket:
        """Whose turn comes next: the earliest possible, then what starts something, then the longest wait."""
        free = self._budget_free(now)
        return min(
            self._waiting,
            key=lambda ticket: (max(self._earliest(ticket, free), now), not ticket.lane.starts, ticket.arrived),
        )

    def _wake_first(self) -> None:
        if self._waiting:
            self._first(self._clock.monotonic()).woken.set()

    def _wake(self, tickets: list[_Ticket]) -> None:
        for ticket in tickets:
            ticket.woken.set()

    def _goes(self, ticket: _Ticket) -> bool:
        """Whether it may go, with what all processes have sent; if so it is recorded."""
        now = self._clock.monotonic()
        if self._earliest(ticket, self._budget_free(now)) > now:
            return False
        lane, database_id = ticket.lane, ticket.database_id if ticket.lane.per_database else None
        if database_id is not None:
            ticket.sent, ticket.earlier = now, self._log.ours_for_database(lane.name, database_id)
        self._log.record(lane.name, database_id, now)
        if lane.starts:
            self._started.append(now)
        return True

    async def _leaves(self, ticket: _Ticket, granted: float) -> None:
        """It leaves only now; if that is later than a moment after its turn, its cooldowns begin here."""
        if self._clock.monotonic() - granted > MOMENT:
            await self._log.exchange(partial(self._left, ticket))

    def _left(self, ticket: _Ticket) -> None:
        now = self._clock.monotonic()
        self._log.delay(ticket.lane.name, now)
        if ticket.sent is not None and ticket.database_id is not None:
            self._log.note(ticket.lane.name, ticket.database_id, now)
            ticket.sent = now

    def _forget_post(self, ticket: _Ticket) -> None:
        lane, database_id = ticket.lane.name, ticket.database_id
        if ticket.sent is None or database_id is None:
            return
        if self._log.ours_for_database(lane, database_id) == ticket.sent:
            self._log.forget(lane, database_id, ticket.earlier)

    # When ------------------------------------------------------------------------------------------------------------

    def _earliest(self, ticket: _Ticket, free: dict[bool, float]) -> float:
        """When this request may go at the earliest, on the monotonic clock; infinite while nobody knows."""
        if ticket.lane.starts and self._outage_since is not None:
            return math.inf
        return max(self._spacing_ends(ticket), self._log.blocked_until, free[ticket.lane.starts])

    def _budget_free(self, now: float) -> dict[bool, float]:
        """When the budget allows one more request: that starts something (True), or a look."""
        return {
            True: max(self._budget_allows(now, reserved=0), self._share_allows()),
            False: self._budget_allows(now, reserved=self._reserved(now)),
        }

    def _spacing_ends(self, ticket: _Ticket) -> float:
        lane = ticket.lane
        account = self._log.last_for_account(lane.name) + lane.per_account
        if self._log.was_ours(lane.name):
            account += COURTESY
        return max(account, self._database_ends(ticket))

    def _database_ends(self, ticket: _Ticket) -> float:
        return self._log.last_for_database(ticket.lane.name, ticket.database_id) + ticket.lane.per_database

    def _budget_allows(self, now: float, *, reserved: int) -> float:
        sent = self._log.since(now - BUDGET_WINDOW)
        too_many = len(sent) + reserved - self._budget
        return sent[too_many] + BUDGET_WINDOW if too_many >= 0 and sent else -math.inf

    def _share_allows(self) -> float:
        """When one more may start without taking more than half of the budget while looks wait."""
        share = self._budget - self._budget // 2
        if len(self._started) < share or all(ticket.lane.starts for ticket in self._waiting):
            return -math.inf
        return self._started[-share] + BUDGET_WINDOW

    def _reserved(self, now: float) -> int:
        """How much of the budget looks leave to what is about to start: at most half, so that looks never starve."""
        if self._outage_since is not None:
            return 0
        begun = sum(at > now - BUDGET_WINDOW for at in self._started)
        most = max(0, min(math.ceil(BUDGET_WINDOW / CREATE.per_account), self._budget // 2) - begun)
        soon = 0
        for ticket in self._waiting:
            if soon == most:
                break
            soon += ticket.lane.starts and self._spacing_ends(ticket) <= now + BUDGET_WINDOW
        return soon

    def _before(self, ticket: _Ticket) -> Iterator[_Ticket]:
        return (other for other in self._waiting if other.arrived < ticket.arrived)

    def _tell_places(self) -> None:
        """The queue has moved on."""
        now = self._clock.monotonic()
        free = self._budget_free(now)
        starting = [ticket for ticket in self._waiting if ticket.lane.starts]
        for before, ticket in enumerate(starting):
            if ticket.tell is not None:
                ticket.tell(*self._reason(ticket, self._earliest(ticket, free), now, before))

    def _reason(self, ticket: _Ticket, at: float, now: float, before: int) -> tuple[str, str]:
        if ticket.lane.starts and self._outage_since is not None:
            return "waiting: the service fails; it is sent once the service answers a look", ""
        if self.blocked:
            return "waiting for the end of the account's block", ""
        database = self._database_ends(ticket)
        if database > now and database >= at:
            return f"waiting: the service takes one {_WHAT[ticket.lane]} s", f"{database - now:.0f} s more"
        return "waiting for its turn", f"{before} before it" if before else ""

    # What the answers say --------------------------------------------------------------------------------------------

    def _patience_ends(self, ticket: _Ticket) -> float:
        return max(ticket.arrived, self._outage_since or -math.inf) + OUTAGE_PATIENCE

    def _stop_if_closed(self, ticket: _Ticket) -> None:
        """Raise what keeps this request from being sent at all."""
        if self._refused_key is not None:
            raise self._refused_key.kept_back(ticket.request)
        now = self._clock.monotonic()
        if self.blocked and (ticket.lane.starts or not ticket.waits_out_block):
            raise self._block.kept_back(ticket.request, retry_after=self._log.blocked_until - now)
        if not ticket.lane.starts:
            return
        if self._quota is not None and ticket.lane is CREATE:
            raise self._quota.kept_back(ticket.request)
        if self._outage_since is not None and now >= self._patience_ends(ticket):
            raise Outage(ticket.request)

    def _learn(self, ticket: _Ticket, error: SquareCloudError | None) -> None:
        now = self._clock.monotonic()
        outage = self._outage_since
        if isinstance(error, KeyRefused):
            self._refused_key = error
        elif isinstance(error, QuotaUsedUp):
            self._quota = error
        elif isinstance(error, Blocked):
            self._block = error
            wait = self._block_wait if error.retry_after is None else error.retry_after
            self._log.blocked_until = max(self._log.blocked_until, now + wait)
        elif isinstance(error, Cooldown):
            # It does not say whose cooldown it was: the account's next one waits its full time again.
            self._log.delay(ticket.lane.name, now)
        if ticket.lane.starts:
            self._count_failure(error, now)
        elif not isinstance(error, (Unavailable, UnreadableAnswer, ServiceFailed, NotSent)) and (
            error is None or error.status
        ):
            self._failures_in_row = 0
            self._outage_since = None
        if isinstance(error, (KeyRefused, QuotaUsedUp, Blocked)) or outage != self._outage_since:
            self._wake(self._waiting)
        elif ticket.lane.starts:
            self._tell_places()
        self._wake_first()

    def _count_failure(self, error: SquareCloudError | None, now: float) -> None:
        failed = error is not None and error.ambiguous and (error.status or 0) >= 500  # noqa: PLR2004  a server's failure
        self._failures_in_row = self._failures_in_row + 1 if failed else 0
        if self._failures_in_row >= OUTAGE_AFTER and self._outage_since is None:
            self._outage_since = now
