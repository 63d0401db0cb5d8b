"""Runs with one account, and the requests that they send through their rate limiters."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from pulumi_snapshots.clock import Clock, ServiceClock
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.service.errors import Blocked, SquareCloudError
from pulumi_snapshots.service.limits import CREATE, READ, Lane
from pulumi_snapshots.service.pacing import ACCOUNTS
from pulumi_snapshots.service.rate_limiter import RateLimiter
from tests.support.memory import SENT, Memory
from tests.support.world import START


@dataclass(frozen=True)
class Request:
    """A request: what it is, when it is wanted, how long its answer takes, and what that is; None for a success."""

    lane: Lane
    database: str = "d"
    at: float = 0.0
    result: Exception | None = None
    takes: float = 0.0
    patient: bool = True
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.lane.name


class Runs:
    """Runs that share a place."""

    def __init__(self, **memory: Any) -> None:
        self.service = Clock(START)
        self.service.utc()
        self.place = Memory(self.service, **memory)
        self.began = anyio.current_time()
        self.sent: list[
            tuple[float, str]
        ] = []  # seconds from the beginning, and the name of each that has left

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.sent]

    @property
    def order(self) -> list[str]:
        return [name for _, name in self.sent]

    def run(
        self,
        off: timedelta = timedelta(),
        *,
        budget: int = 30,
        account: str = "account",
        asked: bool = True,
    ) -> Run:
        """A run of a machine whose clock is off, and that has asked for the service's time, unless told otherwise."""
        clock = Clock(self.service.utc() + off)
        clock.utc()
        ledger = Ledger(self.place, ServiceClock(clock))
        limiter = RateLimiter(clock, ledger, account, budget=budget, block_wait=1800)
        run = Run(self, limiter, ledger, clock)
        if asked:
            run.asks()
        return run

    async def pacing(self) -> Any:
        return (await self.place.read())[ACCOUNTS]["account"]


@dataclass
class Run:
    """One run."""

    runs: Runs
    limiter: RateLimiter
    ledger: Ledger
    clock: Clock
    # what requests that wait have said
    reasons: list[str] = field(default_factory=list)
    # by name, of those that were sent together
    failed: dict[str, SquareCloudError] = field(default_factory=dict)

    def asks(self) -> None:
        now = self.clock.utc()
        self.ledger.clock.observe(
            self.runs.service.utc().replace(microsecond=0), now, now
        )

    def on_wait(
        self,
        text: str,
        detail: str = "",
        *,
        until: datetime | None = None,
        starts: datetime | None = None,
        why: str = "",
    ) -> None:
        assert until is None or starts is None
        self.reasons.append(
            f"{text}{' until then' if until else ''}{detail}{why and ': '}{why}"
        )

    async def send(
        self, lane: Lane = CREATE, database_id: str = "d", **more: Any
    ) -> float:
        """Send a request; returns when it left."""
        return await self._sent(Request(lane, database_id, **more))

    async def _sent(self, request: Request) -> float:
        lane = request.lane
        if lane.starts:
            context: AbstractAsyncContextManager[Any]
            _, context = await self.limiter.claim(
                "POST /x", lane, request.database, lambda _: SENT, self.on_wait
            )
        else:
            context = self.limiter.slot(
                "GET /x",
                lane,
                waits_out_block=request.patient,
                enters_later=not request.patient,
            )
        async with context as departure:
            if departure is not None:
                await departure(lambda _: SENT)
            at = anyio.current_time()
            self.runs.sent.append((at - self.runs.began, str(request)))
            await self.clock.sleep(request.takes)
            if request.result is not None:
                raise request.result
        return at

    async def send_all(self, *requests: Request) -> None:
        """Send each request when it is wanted, and note which failed."""

        async def one(request: Request) -> None:
            await self.clock.sleep(request.at)
            try:
                await self._sent(request)
            except SquareCloudError as error:
                self.failed[str(request)] = error

        async with anyio.create_task_group() as tasks:
            for request in requests:
                tasks.start_soon(one, request)

    async def meets(self, refusal: Exception, lane: Lane = READ) -> None:
        with pytest.raises(type(refusal)):
            await self.send(lane, result=refusal)

    async def is_blocked(self) -> None:
        with pytest.raises(Blocked, match="not sent"):
            await self.send()
