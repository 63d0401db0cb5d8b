"""Fleets in virtual time: many databases at one emulated service, and what it costs a client on some machines to take them all."""

from __future__ import annotations

import heapq
import random
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any
from unittest import mock

import anyio
import trio
from trio._core import _run as trio_run
from trio._core._run import _r as task_order

from pulumi_snapshots.clock import Clock, ServiceClock
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.run.memory import RunMemory
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import ApiKey, Settings
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.record import SnapshotInputs
from squarecloud_emulator import Emulator, JournalEntry
from squarecloud_emulator import EmulatorSettings as Service
from tests.support.memory import Memory, Mortal
from tests.support.virtual import run_virtual
from tests.support.wire import EmulatorTransport
from tests.support.world import START, Row, VirtualClock

SOFT_DEADLINE = 90.0
SPACING = 5.0
"""Seconds between two creates of an account, by the service's limit."""
REGISTRATION = 0.001
"""Seconds between two resources that a program registers."""
PLENTY_OF_MEMORY = 2_560_000
"""The plan's memory in MB, which allows thousands of snapshots a day."""
REQUESTS_PER_MINUTE = 30
PARALLEL = 64
LONGEST = 7 * 86400.0
"""Seconds after which a measurement ends; snapshots without a version count as unfinished."""


def standard_durations(count: int, seed: int) -> list[float]:
    """The standard scenario: every POST gets a 202 after 90 s, and its snapshot is ready 20 to 150 s later."""
    chance = random.Random(f"durations of {seed}")
    return [SOFT_DEADLINE + chance.uniform(20, 150) for _ in range(count)]


def limit_of(durations: Sequence[float], parallel: int | None = None) -> float:
    """Seconds until the last snapshot is ready if each POST is sent as soon as the service's limits allow."""
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
        async def noted(
            scope: MutableMapping[str, Any], receive: Any, send: Any
        ) -> None:
            # The gateway adds a request to its journal before it first waits.
            number = len(self._fleet.emulator.journal)
            try:
                await app(scope, receive, send)
            finally:
                self._fleet.answered(self._fleet.emulator.journal[number])

        super()._spawn(run, noted)


@dataclass
class Fleet:
    emulator: Emulator  # the service
    clock: Clock  # the time
    databases: list[str]  # the ids, in the order of the program
    chance: random.Random  # the source of all chance
    # whether each database gets an automatic snapshot between a 202 and its own, when it is easiest to confuse
    automatic: bool = False
    _given: set[str] = field(default_factory=set)

    def wire(self) -> Wire:
        return Wire(self)

    def answered(self, entry: JournalEntry) -> None:
        if not self.automatic or not entry.accepted or entry.database_id in self._given:
            return
        database_id = entry.database_id or ""
        for running in self.emulator.account.running(database_id):
            self._given.add(database_id)
            trio.lowlevel.spawn_system_task(
                self._later,
                (running.ready_at - self.emulator.now()).total_seconds() / 2,
                database_id,
            )

    async def _later(self, seconds: float, database_id: str) -> None:
        await self.clock.sleep(seconds)
        self.emulator.add_snapshot(database_id, origin="automatic")


class Machine:
    """A machine with one process, which shares nothing with others but a place, if one is given."""

    def __init__(
        self, fleet: Fleet, place: Memory | None = None, off: timedelta = timedelta()
    ) -> None:
        self.fleet = fleet
        self._clock = VirtualClock(fleet.clock.utc() + off)
        self._clock.utc()  # it runs from now on
        self._place = Mortal(place or Memory(self._clock, is_shared=False))

    def session(self, **settings: Any) -> Session:
        emulator = self.fleet.emulator
        chosen = Settings(
            api_key=ApiKey(emulator.settings.api_key),
            api_url=emulator.api_url,
            snapshots_url=emulator.snapshots_url,
        )
        return Session(
            replace(chosen, **settings),
            Ledger(self._place, ServiceClock(self._clock)),
            RunMemory(),
            clock=self._clock,
            http=self.fleet.wire(),
        )

    async def dies(self, after: float, life: anyio.CancelScope) -> None:
        await self.fleet.clock.sleep(after)
        self._place.killed = True
        life.cancel()


def play(body: Callable[..., Awaitable[Any]], *args: Any, seed: int = 0) -> Any:
    """Run `body` in virtual time. The same seed gives the same run, including the order of tasks that wake together."""
    task_order.seed(seed)
    # Otherwise tasks that are due together run in the order of their scopes' memory addresses.
    with mock.patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True):
        return run_virtual(body, *args)


async def each_of(
    work: Callable[[str], Awaitable[None]], databases: Sequence[str], parallel: int
) -> None:
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


@dataclass(frozen=True)
class Client:
    name: str  # shown in the results
    begin: Callable[[Machine], Callable[[str], Awaitable[str]]]
    parallel: int  # how many snapshots it takes at a time


def ours(
    name: str = "this provider", parallel: int = PARALLEL, **settings: Any
) -> Client:
    """This provider as a client with these settings, which takes so many snapshots at a time."""

    def begin(machine: Machine) -> Callable[[str], Awaitable[str]]:
        session = machine.session(requests_per_minute=REQUESTS_PER_MINUTE, **settings)

        async def take(database_id: str) -> str:
            owner = f"urn:pulumi:dev::app::squarecloud:index:Snapshot::{database_id}"
            record = await create(session, SnapshotInputs(database_id), Row(), owner)
            return record.version_id or ""

        return take

    return Client(name, begin, parallel)


@dataclass
class Measure:
    client: str  # the client's name
    databases: int  # the number of databases
    limit: float  # the shortest possible makespan, in seconds
    limit_at_parallel: float  # the shortest possible makespan with as many snapshots at a time as this client takes
    durations: Sequence[float]  # seconds of each snapshot
    journal: list[JournalEntry]  # the service's, with times from the start
    # the POSTs that have started a snapshot, of each database
    accepted: list[list[JournalEntry]]
    # when the client got which version; None if it never did
    done: list[tuple[float, str] | None]
    posts: list[int]  # how many were sent for each database
    ledger_writes: int = 0  # of the place that the machines share

    @property
    def makespan(self) -> float:
        return (
            LONGEST if self.unfinished else max(at for at, _ in filter(None, self.done))
        )

    @property
    def requests_per_snapshot(self) -> float:
        return len(self.journal) / self.databases

    @property
    def refused(self) -> int:
        return sum(entry.status == 429 for entry in self.journal)

    @property
    def unfinished(self) -> int:
        return self.done.count(None)

    def _right(self) -> list[bool]:
        pairs = zip(self.done, self.accepted, strict=True)
        return [
            done is not None and bool(posts) and done[1] == posts[-1].version_id
            for done, posts in pairs
        ]

    @property
    def wrong(self) -> int:
        return self.databases - self.unfinished - sum(self._right())

    @property
    def lost(self) -> int:
        return sum(
            max(0, len(posts) - right)
            for posts, right in zip(self.accepted, self._right(), strict=True)
        )

    @property
    def closest(self) -> float:
        posts = sorted(
            entry.monotonic for entry in self.journal if entry.kind == "create"
        )
        return min((b - a for a, b in pairwise(posts)), default=0.0)

    @property
    def busiest(self) -> int:
        sent = [entry.monotonic for entry in self.journal]
        return max(sum(at <= other < at + 60 for other in sent) for at in sent)


def measure(  # noqa: PLR0913  what differs between measurements
    client: Client,  # the client
    databases: int,  # of all machines together
    *,
    seed: int = 1,  # of all chance
    machines: Sequence[timedelta] = (timedelta(),),  # how far the clock of each is off
    delay: float
    | None = None,  # seconds that each edit of the ledger takes that they share; None if nothing is shared
    dies_after: float | None = None,
    automatic: bool = False,  # see `Fleet`
    durations: Sequence[float]
    | None = None,  # seconds of each snapshot; the standard scenario's unless given
    **service: Any,
) -> Measure:
    seconds = standard_durations(databases, seed) if durations is None else durations

    async def run() -> Measure:
        clock = VirtualClock(START)
        usual = {
            "requests_per_minute": REQUESTS_PER_MINUTE,
            "cache_world": "invalidated",
        }
        settings = Service(
            **{**usual, "plan_memory_mb": PLENTY_OF_MEMORY, "seed": seed, **service}
        )
        emulator = Emulator(settings, clock=clock)
        databases = [
            emulator.add_database(snapshot_seconds=each).id for each in seconds
        ]
        here = Fleet(
            emulator, clock, databases, random.Random(f"fleet of {seed}"), automatic
        )
        place = None if delay is None else Memory(here.clock, (delay, delay))
        done = dict[str, tuple[float, str]]()
        begin = here.clock.monotonic()

        async def take_all(machine: Machine, mine: Sequence[str]) -> None:
            take = client.begin(machine)

            async def work(database_id: str) -> None:
                version = await take(database_id)
                done[database_id] = (here.clock.monotonic() - begin, version)

            await each_of(work, mine, client.parallel)

        async def live(number: int) -> None:
            mine = here.databases[number :: len(machines)]
            machine = Machine(here, place, machines[number])
            async with anyio.create_task_group() as life:
                if number == 0 and dies_after is not None:
                    life.start_soon(machine.dies, dies_after, life.cancel_scope)
                await take_all(machine, mine)
                life.cancel_scope.cancel()
            if again := [
                database_id for database_id in mine if database_id not in done
            ]:
                await take_all(Machine(here, place), again)

        with anyio.move_on_after(LONGEST):
            async with anyio.create_task_group() as group:
                for number in range(len(machines)):
                    group.start_soon(live, number)
        journal = here.emulator.journal
        for entry in journal:
            entry.monotonic -= begin
        sent = [
            [entry for entry in journal if entry.database_id == each]
            for each in here.databases
        ]
        return Measure(
            client.name,
            len(seconds),
            limit_of(seconds),
            limit_of(seconds, client.parallel),
            seconds,
            journal,
            [[entry for entry in entries if entry.accepted] for entries in sent],
            [done.get(each) for each in here.databases],
            [sum(entry.kind == "create" for entry in entries) for entries in sent],
            0 if place is None else place.writes,
        )

    result: Measure = play(run, seed=seed)
    return result
