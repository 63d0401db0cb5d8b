"""A fleet: many databases at one emulated service, processes that talk to it, and who asked what; in virtual time."""

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
from trio._core._run import _r as order_of_tasks

from pulumi_snapshots.attempt.memory import RunMemory
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.emulator import Emulator
from pulumi_snapshots.emulator import EmulatorSettings as Service
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import ApiKey, Settings
from tests.support.virtual import run_virtual
from tests.support.wire import EmulatorTransport
from tests.support.world import START, Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
    from pathlib import Path

    from pulumi_snapshots.attempt.process import Process
    from pulumi_snapshots.emulator import JournalEntry
    from pulumi_snapshots.errors.text import Words

__all__ = ["SPACING", "Fleet", "Heard", "Wire", "each", "fleet", "limit_of", "play", "standard_durations"]

SOFT_DEADLINE = 90.0
SPACING = 5.0
"""Seconds between two POSTs that the service takes of one account."""
REGISTRATION = 0.001
"""Seconds between two resources that a program registers."""
PLENTY_OF_MEMORY = 2_560_000
"""MB; the plan of an account that may take thousands of snapshots a day."""


def standard_durations(count: int, seed: int) -> list[float]:
    """Every POST ends in a 202 after 90 s, and its snapshot is ready 20 to 150 s later."""
    chance = random.Random(f"durations of {seed}")
    return [SOFT_DEADLINE + chance.uniform(20, 150) for _ in range(count)]


def limit_of(durations: Sequence[float], parallel: int | None = None) -> float:
    """Seconds until the last snapshot is there if each POST is sent as soon as the service takes it.

    Args:
        durations: of the snapshots, in the order of their POSTs.
        parallel: how many may be under way at once; None for any number.
    """
    free = [0.0] * (len(durations) if parallel is None else parallel)
    turn = last = 0.0
    for seconds in durations:
        posted = max(turn, heapq.heappop(free))
        turn = posted + SPACING
        last = max(last, posted + seconds)
        heapq.heappush(free, posted + seconds)
    return last


class Wire(EmulatorTransport):
    """One process's way to the service; knows which of the journal's requests are this process's."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet.emulator)
        self._fleet = fleet
        self._sent: list[int] = []

    @property
    def requests(self) -> list[JournalEntry]:
        journal = self._fleet.emulator.journal
        return [journal[index] for index in self._sent]

    def _spawn(self, run: Callable[[Any], Awaitable[None]], app: Any) -> None:
        async def noted(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            # The gateway enters a request in its journal before it first waits.
            number = len(self._fleet.emulator.journal)
            self._sent.append(number)
            try:
                await app(scope, receive, send)
            finally:
                self._fleet.answered(self._fleet.emulator.journal[number])

        super()._spawn(run, noted)


class Heard(Row):
    """A resource's row, which remembers when its POSTs were sent."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.sent: list[float] = []

    def progress(self, text: Words) -> None:
        super().progress(text)
        if str(text).startswith("sent,"):
            self.sent.append(self._clock.monotonic())


@dataclass
class Fleet:
    """The databases and their service.

    Attributes:
        databases: ids, in the order of the program.
        automatic: whether each database gets an automatic snapshot, once, in the middle of the time that a snapshot
            of it goes on after its 202: the moment at which it is taken for the other most easily.
        wires: of every process so far.
    """

    emulator: Emulator
    clock: Clock
    databases: list[str]
    chance: random.Random
    automatic: bool = False
    wires: list[Wire] = field(default_factory=list)
    _given: set[str] = field(default_factory=set)

    def wire(self) -> Wire:
        self.wires.append(Wire(self))
        return self.wires[-1]

    def session(
        self,
        *,
        wire: Wire | None = None,
        memory: RunMemory | None = None,
        state: Path | None = None,
        process: Process | None = None,
        **settings: Any,
    ) -> Session:
        """What a process has; it knows nothing of the others, except through the files in `state`."""
        chosen = Settings(
            api_key=ApiKey(self.emulator.settings.api_key),
            api_url=self.emulator.api_url,
            snapshots_url=self.emulator.snapshots_url,
        )
        return Session(
            replace(chosen, **settings),
            memory or RunMemory(),
            clock=self.clock,
            http=wire or self.wire(),
            chance=random.Random(self.chance.random()),
            state=state,
            process=process,
        )

    def answered(self, entry: JournalEntry) -> None:
        """A request has been answered."""
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
        """Everybody's POSTs on a database."""
        return [one for one in self.emulator.journal if one.kind == "create" and one.database_id == database_id]

    def posts_of(self, row: Heard, database_id: str) -> list[JournalEntry]:
        """What the service saw of a row's POSTs: no two of one database are sent at the same moment."""
        return [post for post in self.posts(database_id) if post.monotonic in row.sent]


@asynccontextmanager
async def fleet(
    durations: Sequence[float], *, seed: int = 0, automatic: bool = False, **service: Any
) -> AsyncIterator[Fleet]:
    """Build one.

    Args:
        durations: seconds that a snapshot of each database takes.
        seed: of all chance.
        automatic: see `Fleet`.
        service: the service's behaviour.
    """
    clock = Clock(START)
    emulator = Emulator(Service(**{"plan_memory_mb": PLENTY_OF_MEMORY, "seed": seed, **service}), clock=clock)
    databases = [emulator.add_database(snapshot_seconds=seconds).id for seconds in durations]
    yield Fleet(emulator, clock, databases, random.Random(f"fleet of {seed}"), automatic)


def play(body: Callable[..., Awaitable[Any]], *args: Any, seed: int = 0) -> Any:
    """Run `body` in virtual time; the same seed gives the same run, to the order of tasks that wake together."""
    order_of_tasks.seed(seed)
    # Else tasks that are due together come in the order of their scopes' addresses, and only then by chance.
    with mock.patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True):
        return run_virtual(body, *args)


async def each(work: Callable[[str], Awaitable[None]], databases: Sequence[str], parallel: int) -> None:
    """What the engine does with resources that do not depend on each other: in order, so many at a time."""
    waiting = iter(databases)

    async def place(number: int) -> None:
        # A program registers one resource after the other, so they start in its order.
        await anyio.sleep(number * REGISTRATION)
        for database_id in waiting:
            await work(database_id)

    async with anyio.create_task_group() as group:
        for number in range(min(parallel, len(databases))):
            group.start_soon(place, number)
