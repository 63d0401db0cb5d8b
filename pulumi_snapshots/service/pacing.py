"""The rules by which requests are spaced: pure functions of the facts that are known at one moment.

The ledger has an entry for each POST, for reads that a process has sent, and for reads that it may
still send: it reserves several in one edit. A reserved read counts as if it were sent at its last
possible moment, so no run needs to know whether it was sent.

| a read of a process | what happens |
| --- | --- |
| the ledger has few requests of the last minute, and lacks few of this process | it reads the \
ledger; the next edit enters it |
| the process has reserved it | it reads the ledger |
| otherwise | it is entered. Twice as many more are reserved as the process has sent in the last \
minute, if they were several, or as many as wait now: at most 6 of 27, and 15 with other runs |
| the budget is used up | the same, for the next times at which it is free; also for a POST |

Few are 3 of 27. The claim of a POST renews what is reserved in the same edit. So a process that
reads a lot writes once for seven reads, and a command with few reads writes nothing. Others wait
for at most a minute for what is reserved. What a killed process has reserved is lost: 6 of 27
requests, for at most three minutes. What a process has reserved before its machine was paused, or
its clock was set, is void.

Times are seconds. In the ledger they are the service's, since 1970; everywhere else they are
monotonic and this process's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import anyio
from pydantic import BaseModel

from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import UNREADABLE, Document
from pulumi_snapshots.service.limits import (
    ACCOUNT_LANE,
    BUDGET_WINDOW,
    CREATE,
    READ,
    RESTORE_LANE,
    Lane,
)

OnWait = Callable[..., None]
"""Called with what a request waits for, see `Member.waits`."""
ACCOUNTS = "accounts"
"""The ledger's key for what is remembered of each account."""
REQUEST_KEPT = 200.0
"""Seconds for which a request is kept, longer than the longest limit, the 180 s of a database."""
REQUEST_AHEAD = 10.0
"""Seconds by which a request may seem to be in the future.

A request is entered before it leaves, by a clock that is unsure. A later time is nonsense.
"""
LONGEST_SLACK = 20.0
"""The most seconds that a reserved read may be late, by the pace of its process."""
LONGEST_RESERVED = 2 * BUDGET_WINDOW
"""The most seconds for which a read is reserved, as the budget may be used up for a minute."""
LONGEST_BLOCK = 86400.0
"""Seconds that a block may last by any setting. What is later is nonsense."""
COURTESY = 0.05
"""Seconds that the process which sent last gives to the other runs, so that fleets alternate."""
FEW_NINTHS = 1
"""So many ninths of the budget are few requests in a minute: 3 of 27.

A process may send few reads before the ledger has them, while the ledger has few requests of all
runs.
"""
UNSEEN_RUNS = 3
"""Other runs that may be sending few reads unseen.

The budget of reads has room for these runs, until the ledger has had more than few requests for a
minute: then no run sends unseen.
"""
RESERVED_NINTHS = 2
"""So many ninths of the budget one process may reserve ..."""
RESERVED_BY_ALL_NINTHS = 5
"""... and so many all runs together. Each run that waits for the budget may reserve one read more.
So the next reserved read opens within a minute: the oldest request that counts was sent already."""


class Sent(NamedTuple):
    """A request that the ledger has.

    Attributes:
        at: When the request leaves at the latest, in seconds: since 1970 by the service's clock in
            the ledger, by this machine's monotonic clock in a process.
        run: The run that sends the request.
        limits: The names of the spacings that count from the request; a read has none.
    """

    at: float
    run: str
    limits: list[str]


class Pacing(BaseModel):
    """The requests with one account, as runs know them of each other.

    Attributes:
        sent: The requests.
        blocks: When the block of each lane ends, of the whole account under an empty name.
    """

    sent: list[Sent] = []
    blocks: dict[str, float] = {}

    def current(self, now: float, without: str = "") -> Pacing:
        """Return the plausible entries that still count, without the requests of one run.

        Args:
            now: The present time, in the entries' seconds.
            without: The run; empty leaves out none.
        """
        latest = now + REQUEST_AHEAD
        latest_reserved = latest + LONGEST_RESERVED
        return self.model_construct(
            sent=[
                each
                for each in self.sent
                if each.run != without
                and now - REQUEST_KEPT < each.at
                and each.at < (latest if each.limits else latest_reserved)
            ],
            blocks={
                lane: at
                for lane, at in self.blocks.items()
                if now < at < now + LONGEST_BLOCK
            },
        )

    def moved(self, by: float, unsure: float) -> Pacing:
        """Return the requests by a clock that is ahead, each as late as it can have been sent.

        Args:
            by: The seconds that the clock is ahead.
            unsure: The seconds by which `by` can be wrong.
        """
        return self.model_construct(
            sent=[
                each._replace(at=round(each.at + by + unsure, 3)) for each in self.sent
            ],
            blocks={lane: round(at + by, 3) for lane, at in self.blocks.items()},
        )


def pacing_of(account: str, document: Document, ledger: Ledger) -> Pacing:
    """Return the requests of an account in a document of a ledger.

    Args:
        account: The account's name in the ledger.
        document: The document.
        ledger: The ledger.

    Raises:
        LedgerUnavailable: The part cannot be read, as no run has written it in this form.
    """
    try:
        return Pacing.model_validate(document.get(ACCOUNTS, {}).get(account, {}))
    except (AttributeError, ValueError):
        raise ledger.place.unavailable(
            "it holds requests that cannot be read", *UNREADABLE
        ) from None


@dataclass(eq=False)
class QueuedRequest:
    """A request that waits in this process.

    Attributes:
        text: Names the request in messages.
        lane: Its limits.
        queued_at: Since when it waits.
        cooldown: The name of the spacing of its database; empty for a read.
        waits_out_block: Whether a read waits until a block of the account ends.
        enters_later: See `RateLimiter.slot`.
        on_wait: Called with what the request waits for.
        cooldown_seen: The end of its database's cooldown at the last decision on the request.
        woken: Set when the request may be the next one, or must not be sent any more.
    """

    text: str
    lane: Lane
    queued_at: float
    cooldown: str = ""
    waits_out_block: bool = True
    enters_later: bool = False
    on_wait: OnWait | None = None
    cooldown_seen: float = -math.inf
    woken: anyio.Event = field(default_factory=anyio.Event)


@dataclass(eq=False)
class OwnRequest:
    """A request of this process that has left, or leaves now.

    Attributes:
        at: When it leaves.
        limits: See `Sent`.
        is_entered: Whether the ledger has the request; a reserved read perhaps at a later time.
        enters_later: Whether the next edit is soon enough to enter the request.
    """

    at: float
    limits: list[str] = field(default_factory=list)
    is_entered: bool = False
    enters_later: bool = False

    def leave_again(self, sent: OwnRequest) -> None:
        """Copy the time and the limits of a request that is sent after all.

        Args:
            sent: The request.
        """
        self.at = sent.at
        self.limits = sent.limits


class ReservedRead(NamedTuple):
    """A read that this process may send, from when until when."""

    opens: float
    closes: float


@dataclass(frozen=True)
class Traffic:
    """The requests of an account that count, and those that wait in this process, at one moment.

    Attributes:
        now: The moment.
        budget: The requests that all runs may send in a minute.
        others: The entries of other runs.
        own: This process's requests.
        reserved: The reads that this process has reserved and not sent, by their times.
        waiting_posts: How many creates and restores wait in this process.
        waiting_reads: How many reads wait in this process.
        unsure: The seconds by which other runs may take the time for another.
        blocks: See `Pacing`.
        knows_time: Whether the service's time is known; other runs could not use any other.
    """

    now: float
    budget: int
    others: list[Sent]
    own: list[OwnRequest]
    reserved: tuple[ReservedRead, ...] = ()
    waiting_posts: int = 0
    waiting_reads: int = 0
    unsure: float = 0.0
    blocks: dict[str, float] = field(default_factory=dict)
    knows_time: bool = True

    def earliest(self, request: QueuedRequest) -> float:
        """Return when a request may leave by the budget, the spacings and the blocks.

        Args:
            request: The request. A read may leave in place of a reserved one.
        """
        lane = request.lane
        free_at = self.free_at(lane)
        # A claim gives up what its process has reserved, so its check could not use that.
        if self.reserved and lane.checks == 0:
            opens = self.reserved[0].opens
            free_at = min(free_at, opens) if lane.is_urgent else opens
        return max(
            free_at,
            self.spaced_at(lane.name, lane.per_account),
            self.spaced_at(request.cooldown, lane.per_database),
            *(self.blocks.get(name, -math.inf) for name in ("", lane.name)),
        )

    def free_at(self, lane: Lane) -> float:
        """Return when the budget of a minute allows a request, and the checks that go with it.

        Args:
            lane: The request's limits.
        """
        if not lane.is_urgent:
            return self.reads_free_at
        if lane.checks == 0:
            return self.posts_free_at
        fewer = max(1, self.budget - lane.checks)
        return replace(self, budget=fewer).posts_free_at

    def spaced_at(self, limit: str, spacing: float) -> float:
        """Return when a request may leave by one spacing.

        Args:
            limit: The spacing's name.
            spacing: Its seconds.
        """
        return self._last_by_limit.get(limit, -math.inf) + spacing

    def may_go_unentered(self, lane: Lane) -> bool:
        """Return whether the ledger need not have a read before it is sent.

        The ledger must have few requests of the last minute, and this process must have sent few
        such reads.

        Args:
            lane: The limits of the read.
        """
        if lane.per_account not in {READ.per_account, ACCOUNT_LANE.per_account}:
            return False
        return (
            sum(at > self._minute_ago for at in self._entered) <= self._few
            and all(
                each.enters_later and lane.name not in each.limits
                for each in self._unentered
            )
            and self._recent_unentered < self._few
        )

    @property
    def must_be_entered(self) -> bool:
        """Whether the ledger lacks requests that other runs must know soon."""
        is_urgent = not all(each.enters_later for each in self._unentered)
        return is_urgent or self._recent_unentered > self._few

    def reserve(
        self,
        sent: OwnRequest | None,
        *,
        waiting: int,
        at_least: int = 0,
    ) -> tuple[ReservedRead, ...]:
        """Reserve the reads that a process of this pace will send soon.

        Args:
            sent: The request that is entered with them; None for none.
            waiting: How many reads wait beside the request.
            at_least: How many are reserved however few are wanted.

        Returns:
            The reads that are reserved from now on, in place of `reserved`.
        """
        recent = sum(
            each.at > self._minute_ago and not each.limits for each in self.own
        )
        wanted = max(2 * recent if recent > 1 else 0, waiting)
        by_others = sum(each.at > self.now and not each.limits for each in self.others)
        most = min(
            wanted,
            self.budget * RESERVED_NINTHS // 9,
            self.budget * RESERVED_BY_ALL_NINTHS // 9 - by_others,
        )
        pace = BUDGET_WINDOW / max(recent, waiting, 1)
        own = self.own if sent is None else [*self.own, sent]
        reserved: tuple[ReservedRead, ...] = ()
        for number in range(1, max(most, at_least) + 1):
            then = replace(self, own=own, reserved=reserved)
            opens = max(self.now, then.reads_free_at)
            usual = self.now + number * pace if number <= wanted else opens
            closes = max(opens, usual) + min(pace, LONGEST_SLACK)
            closes = min(closes, self.now + LONGEST_RESERVED)
            reserved += (ReservedRead(opens, closes),)
        return reserved

    @cached_property
    def _minute_ago(self) -> float:
        return self.now - BUDGET_WINDOW

    @cached_property
    def _few(self) -> int:
        """How many requests in a minute are few."""
        return self.budget * FEW_NINTHS // 9

    @cached_property
    def _entered(self) -> list[float]:
        """The times of all requests that the ledger has."""
        own = [each.at for each in self.own if each.is_entered]
        return sorted([*(each.at for each in self.others), *own])

    @cached_property
    def _unentered(self) -> list[OwnRequest]:
        return [each for each in self.own if not each.is_entered]

    @property
    def _recent_unentered(self) -> int:
        return sum(each.at > self._minute_ago for each in self._unentered)

    @property
    def _busy_since(self) -> float:
        """Since when the ledger has always had more than few requests of the last minute."""
        times = self._entered
        since = self.now
        for oldest, newest in reversed([*zip(times, times[self._few :], strict=False)]):
            if since <= oldest + BUDGET_WINDOW:
                since = min(since, newest)
        return since

    @cached_property
    def _sent(self) -> list[tuple[float, list[str]]]:
        """The times and limits of all; later for this process, which lets others go first."""
        courtesy = 2 * self.unsure + COURTESY if self.others else 0.0
        own = [(each.at + courtesy, each.limits) for each in self.own]
        return [*((each.at, each.limits) for each in self.others), *own]

    @cached_property
    def _last_by_limit(self) -> dict[str, float]:
        """When the last request left that counts for each limit."""
        return {limit: at for at, limits in sorted(self._sent) for limit in limits}

    @cached_property
    def posts_free_at(self) -> float:
        """When the budget of a minute allows one more create or restore.

        This process gives up its reserved reads for a POST. While POSTs and reads wait, each kind
        leaves the other as many requests as wait, up to half of the budget of any minute.
        """
        posts, reads = self._posts_and_reads
        return self._both_free_at(posts, reads, self.waiting_reads)

    @cached_property
    def reads_free_at(self) -> float:
        """When the budget of a minute allows one more read, see `posts_free_at`."""
        posts, reads = self._posts_and_reads
        reads = [*reads, *(each.closes for each in self.reserved)]
        reads += [self._busy_since] * UNSEEN_RUNS * self._few
        return self._both_free_at(reads, posts, self.waiting_posts)

    @cached_property
    def _posts_and_reads(self) -> tuple[list[float], list[float]]:
        """The times of creates and restores, and those of reads."""
        posts: list[float] = []
        reads: list[float] = []
        for at, limits in self._sent:
            is_read = {CREATE.name, RESTORE_LANE.name}.isdisjoint(limits)
            (reads if is_read else posts).append(at)
        return posts, reads

    def _both_free_at(
        self,
        same: list[float],
        others: list[float],
        others_wait: int,
    ) -> float:
        """When the minute has room for one more request of all, and one more of the same kind."""
        share = self.budget - min(others_wait, self.budget // 2)
        return max(
            _window_free_at([*same, *others], self.budget),
            _window_free_at(same, share),
        )


def _window_free_at(times: Iterable[float], most: int) -> float:
    """Return when one more request may be sent, if a minute may have so many."""
    latest = sorted(times)[-most:]
    return latest[0] + BUDGET_WINDOW if len(latest) == most else -math.inf
