"""A fleet: many databases at one emulated service, and the processes that use it, in virtual time."""

from __future__ import annotations

import heapq
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio
import trio
from trio._core import _run as trio_run
from trio._core._run import _r as task_order

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.service_clock import ServiceClock
from pulumi_snapshots.run.memory import RunMemory
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import ApiKey, Settings
from squarecloud_emulator import Emulator
from squarecloud_emulator import EmulatorSettings as Service
from tests.support.memory import Memory
from tests.support.virtual import run_virtual
from tests.support.wire import EmulatorTransport
from tests.support.world import START

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence

    from pulumi_snapshots.ledger.place import Place
    from squarecloud_emulator import JournalEntry

__all__ = ["SPACING", "Fleet", "Wire", "each", "fleet", "limit_of", "play", "standard_durations"]

SOFT_DEADLINE = 90.0
SPACING = 5.0
"""Seconds between two creates of an account, by the service's limit."""
REGISTRATION = 0.001
"""Seconds between two resources that a program registers."""
PLENTY_OF_MEMORY = 2_560_000
"""The plan's memory in MB, which allows thousands of snapshots a day."""


def standard_durations(count: int, seed: int) -> list[float]:
    """The standard scenario: every POST gets a 202 after 90 s, and its snapshot is ready 20 to 150 s later."""
    chance = random.Random(f"durations of {seed}")
    return [SOFT_DEADLINE + chance.uniform(20, 150) for _ in range(count)]


def limit_of(durations: Sequence[float], parallel: int | None = None) -> float:
    """Seconds until the last snapshot is ready if each POST is sent as soon as the service's limits allow.

    Args:
        durations: seconds that each snapshot takes, in the order of the POSTs.
        parallel: how many may be under way at once; None for any number.
    """
    free = [0.0] * (len(durations) if parallel is None else parallel)
    earliest = last = 0.0
    for seconds in durations:
        posted = max(earliest, heapq.heappop(free))
        earliest = posted + SPACING
        last = max(last, posted + seconds)
        heapq.heappush(free, posted + seconds)
    return last


class Wire(EmulatorTransport):
    """The transport of one process; the fleet hears of each answer."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet.emulator)
        self._fleet = fleet

    def _spawn(self, run: Callable[[Any], Awaitable[None]], app: Any) -> None:
        async def noted(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            # The gateway adds a request to its journal before it first waits.
            number = len(self._fleet.emulator.journal)
            try:
                await app(scope, receive, send)
            finally:
                self._fleet.answered(self._fleet.emulator.journal[number])

        super()._spawn(run, noted)


@dataclass
class Fleet:
    """The databases and their service.

    Attributes:
        emulator: the service.
        clock: the time.
        databases: the ids, in the order of the program.
        chance: the source of all chance.
        automatic: whether each database gets one automatic snapshot, halfway between a 202 and the end of its snapshot,
            when it is easiest to confuse with that one.
    """

    emulator: Emulator
    clock: Clock
    databases: list[str]
    chance: random.Random
    automatic: bool = False
    _given: set[str] = field(default_factory=set)

    def wire(self) -> Wire:
        return Wire(self)

    def session(
        self,
        *,
        place: Place | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> Session:
        """The session of a process, which shares nothing with others but a place, if one is given."""
        chosen = Settings(
            api_key=ApiKey(self.emulator.settings.api_key),
            api_url=self.emulator.api_url,
            snapshots_url=self.emulator.snapshots_url,
        )
        clock = clock or self.clock
        return Session(
            replace(chosen, **settings),
            Ledger(place or Memory(clock), ServiceClock(clock)),
            RunMemory(),
            clock=clock,
            http=self.wire(),
            chance=random.Random(self.chance.random()),
        )

    def answered(self, entry: JournalEntry) -> None:
        """Note an answered request."""
        if not self.automatic or not entry.accepted or entry.database_id in self._given:
            return
        database_id = entry.database_id or ""
        for running in self.emulator.account.running(database_id):
            self._given.add(database_id)
            trio.lowlevel.spawn_system_task(
                self._later, (running.ready_at - self.emulator.now()).total_seconds() / 2, database_id
            )

    async def _later(self, seconds: float, database_id: str) -> None:
        await self.clock.sleep(seconds)
        self.emulator.add_snapshot(database_id, origin="automatic")

    def posts(self, database_id: str) -> list[JournalEntry]:
        """The POSTs of all processes for a database."""
        return [one for one in self.emulator.journal if one.kind == "create" and one.database_id == database_id]


@asynccontextmanager
async def fleet(
    durations: Sequence[float], *, seed: int = 0, automatic: bool = False, **service: Any
) -> AsyncIterator[Fleet]:
    """Make a fleet.

    Args:
        durations: seconds that a snapshot of each database takes.
        seed: the seed of all chance.
        automatic: see `Fleet`.
        service: the service's behaviour.
    """
    clock = Clock(START)
    emulator = Emulator(Service(**{"plan_memory_mb": PLENTY_OF_MEMORY, "seed": seed, **service}), clock=clock)
    databases = [emulator.add_database(snapshot_seconds=seconds).id for seconds in durations]
    yield Fleet(emulator, clock, databases, random.Random(f"fleet of {seed}"), automatic)


def play(body: Callable[..., Awaitable[Any]], *args: Any, seed: int = 0) -> Any:
    """Run `body` in virtual time. The same seed gives the same run, including the order of tasks that wake together."""
    task_order.seed(seed)
    # Otherwise tasks that are due together run in the order of their scopes' memory addresses.
    with mock.patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True):
        return run_virtual(body, *args)


async def each(work: Callable[[str], Awaitable[None]], databases: Sequence[str], parallel: int) -> None:
    """Work on resources as the engine does if they do not depend on each other: in order, `parallel` at a time."""
    waiting = iter(databases)
    registering = anyio.Lock()

    async def slot() -> None:
        for database_id in waiting:
            # A program registers its resources one after the other, so they start in that order.
            async with registering:
                await anyio.sleep(REGISTRATION)
            await work(database_id)

    async with anyio.create_task_group() as group:
        for _ in range(min(parallel, len(databases))):
            group.start_soon(slot)
