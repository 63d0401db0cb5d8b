"""Deployments drawn from a seed: stacks of one account, their machines, everybody else, faults, ^C and kills."""

from __future__ import annotations

import itertools
import json
import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from pulumi_snapshots.api.errors import SquareCloudError
from pulumi_snapshots.attempt.memory import RunMemory
from pulumi_snapshots.attempt.process import Process
from pulumi_snapshots.emulator import Fault
from pulumi_snapshots.errors.outcomes import NothingSent
from pulumi_snapshots.listing.match import LATE
from pulumi_snapshots.snapshot.create import Pending, create, resume
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.read import read
from tests.simulation.fleet import Heard, each, fleet, play, standard_durations

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_snapshots.emulator import JournalEntry
    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.snapshot.record import SnapshotRecord
    from tests.simulation.fleet import Fleet, Wire

__all__ = ["Drawn", "draw", "played"]

MINUTE, HOUR = 60.0, 3600.0
BLOCK = 1800.0
BUDGET_WINDOW = 60.0
SLACK = 1.0
"""Seconds by which anything may end after its time-out."""
ROUNDS = 30
"""Ups without faults until everything must be there."""
PAUSE = 20 * MINUTE
"""Seconds between these."""
STACKS_SHARE = True
"""Whether stacks of one machine may take snapshots of one database at the same time."""

POST_FAULTS: list[dict[str, Any]] = [
    {"drop": True},
    {"drop": True, "when": "after"},
    {"drop": True, "when": "after", "delay": 50.0},
    {"status": 503, "code": "DATABASE_UNAVAILABLE"},
    {"status": 503, "code": "DATABASE_UNAVAILABLE", "when": "after"},
    {"html": 502},
    {"html": 504, "when": "after", "delay": 60.0},
    {"status": 429, "code": "KEEP_CALM"},
    {"status": 500, "code": "INTERNAL"},
    {"no_connect": True},
    {"malformed": True, "when": "after"},
    {"truncated": True},
]
LOOK_FAULTS: list[dict[str, Any]] = [
    {"drop": True},
    {"html": 502},
    {"status": 500, "code": "INTERNAL"},
    {"status": 429, "code": "KEEP_CALM"},
    {"no_connect": True},
    {"truncated": True},
    {"delay": 20.0},
]


@dataclass(frozen=True)
class Ending:
    """How an `up` is cut short.

    Attributes:
        after: seconds from its begin.
        kill: with kill -9, which lets nobody answer; else with ^C.
    """

    after: float
    kill: bool


@dataclass(frozen=True)
class StackDrawn:
    """One stack.

    Attributes:
        databases: of each resource; two may be of one database.
        machine: the first one that it runs on.
        starts: seconds until its first `up`.
        moves: whether an `up` after a kill is made on another machine.
    """

    databases: tuple[int, ...]
    machine: int
    starts: float
    parallel: int
    timeout: float
    reuse_within: float
    moves: bool
    endings: tuple[Ending, ...]


@dataclass(frozen=True)
class Drawn:
    """Everything that a seed decides."""

    seed: int
    durations: tuple[float, ...]
    failing: frozenset[int]
    service: dict[str, Any]
    stacks: tuple[StackDrawn, ...]
    left: int | None
    others: int
    others_take: bool
    blocked_at: float | None
    faults: tuple[dict[str, Any], ...]
    automatic: bool


def draw(seed: int) -> Drawn:
    """The same for the same seed."""
    chance = random.Random(f"deployment {seed}")
    count = chance.choice([1, 1, 2, 2, 3, 3, 5, 5, 8, 8, 12, 20])
    durations = _durations(chance, count, seed)
    faults = chance.random() < 0.4
    per_minute = chance.choice([12, 30, 30, 60])
    machines = chance.choice([1, 1, 1, 2])
    # Whoever shares an account has to share its budget: each machine is told its part, as the documentation asks. A few
    # requests of others need no setting.
    others = chance.choice([0, 3, 4, 8])
    left = None if machines == 1 and others <= per_minute // 10 else per_minute - (per_minute - others) // machines
    stacks = _stacks(chance, count, machines)
    return Drawn(
        seed=seed,
        durations=tuple(durations),
        failing=frozenset(number for number in range(count) if chance.random() < 0.03),
        service={
            "cache_world": chance.choice(["invalidated", "kept"]),
            "plan": chance.choice(["paid", "paid", "paid", "free"]),
            "modified_is": chance.choice(["start", "end"]),
            "clock_offset_seconds": chance.choice([0.0, 0.0, 0.7, -20.0, HOUR, -HOUR]),
            "key_of_200_has_version": chance.random() < 0.7,
            "name_style": chance.choice(["id", "id_type", "id_type_origin"]),
            "version_style": chance.choice(["uuid", "opaque"]),
            "retry_after_header": chance.random() < 0.3,
            "requests_per_minute": per_minute,
        },
        stacks=stacks,
        left=left,
        others=others,
        others_take=others > 0 and chance.random() < 0.4,
        blocked_at=chance.uniform(10, 900) if chance.random() < 0.15 else None,
        faults=tuple(_faults(chance)) if faults else (),
        automatic=chance.random() < 0.3,
    )


def _durations(chance: random.Random, count: int, seed: int) -> list[float]:
    kind = chance.choice(["standard", "short", "long tail", "mixed"])
    if kind == "standard":
        return standard_durations(count, seed)
    if kind == "short":
        return [chance.uniform(2, 85) for _ in range(count)]
    if kind == "long tail":
        return [min(840.0, chance.lognormvariate(5.0, 0.7)) for _ in range(count)]
    return [chance.choice([3.0, 60.0, 89.9, 90.0, 90.1, 130.0, 240.0, 600.0]) for _ in range(count)]


def _stacks(chance: random.Random, count: int, machines: int) -> tuple[StackDrawn, ...]:
    stacks = []
    for number in range(min(count, chance.choice([1, 1, 1, 2, 3]))):
        reuse_within = chance.choice([0.0, 0.0, 0.0, HOUR])
        kills = chance.random() < 0.3
        stacks.append((number, reuse_within, kills))
    drawn = []
    for number, reuse_within, kills in stacks:
        endings = [
            Ending(chance.choice([1.0, 20.0, 95.0, chance.uniform(0, 600)]), kill=kills and chance.random() < 0.7)
            for _ in range(chance.choice([0, 0, 0, 1, 1, 2]))
        ]
        own = list(range(number, count, len(stacks)))
        if chance.random() < 0.2:
            # Of one database two. Two stacks share none: what one of them has pending the other cannot know.
            own.append(chance.choice(range(count) if STACKS_SHARE and machines == 1 else own))
        drawn.append(
            StackDrawn(
                databases=tuple(own),
                machine=number % machines,
                starts=chance.choice([0.0, 0.0, chance.uniform(0, 300)]),
                parallel=chance.choice([2, 4, 16, 64, 64]),
                timeout=chance.choice([5 * MINUTE, 45 * MINUTE, 45 * MINUTE]),
                reuse_within=reuse_within,
                moves=machines == 1 and len(stacks) == 1 and bool(reuse_within) and chance.random() < 0.5,
                endings=tuple(endings),
            )
        )
    return tuple(drawn)


def _faults(chance: random.Random) -> list[dict[str, Any]]:
    probability = chance.choice([0.05, 0.2, 0.5])
    return [
        {"probability": probability / 3, "times": None, **fault}
        for fault in [
            *({"kind": "create", **fault} for fault in chance.sample(POST_FAULTS, 3)),
            *({"kind": kind, **fault} for kind in ("list", "list account") for fault in chance.sample(LOOK_FAULTS, 2)),
        ]
    ]


def played(drawn: Drawn) -> Deployment:
    """Play a deployment to its end and check it on the way.

    Raises:
        AssertionError: something that must hold does not.
    """

    async def run() -> Deployment:
        async with fleet(drawn.durations, seed=drawn.seed, automatic=drawn.automatic, **drawn.service) as here:
            deployment = Deployment(drawn, here)
            await deployment.play()
            return deployment

    result: Deployment = play(run, seed=drawn.seed)
    return result


@dataclass
class Resource:
    """One snapshot of a program, and what the engine's state and the service know of it."""

    name: str
    database_id: str
    record: SnapshotRecord | None = None
    posts: list[JournalEntry] = field(default_factory=list)

    def is_done(self) -> bool:
        return self.record is not None and not self.record.pending

    def is_taken(self) -> bool:
        """Whether it was taken for this resource, not reused."""
        return self.record is not None and self.record.requested_at is not None

    def is_proven_failed(self) -> bool:
        attempt = self.record.attempt if self.record else None
        return attempt is not None and attempt.missing_since is not None

    def started(self) -> list[JournalEntry]:
        return [post for post in self.posts if post.accepted and post.code != "SNAPSHOT_FAILED"]


@dataclass
class Deployment:
    """The account, and everybody who uses it."""

    drawn: Drawn
    here: Fleet
    files: dict[Path, str] = field(default_factory=dict)
    stacks: list[Stack] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    wires: dict[int, list[Wire]] = field(default_factory=dict)
    calm: bool = False

    async def play(self) -> None:
        emulator, drawn = self.here.emulator, self.drawn
        self.stacks = [Stack(self, number, one) for number, one in enumerate(drawn.stacks)]
        for number in drawn.failing:
            emulator.fail_next_snapshot(self.here.databases[number])
        for fault in drawn.faults:
            emulator.add_fault(Fault(**fault))
        async with anyio.create_task_group() as world:
            world.start_soon(self.others)
            async with anyio.create_task_group() as group:
                for stack in self.stacks:
                    group.start_soon(stack.restless)
            emulator.clear_faults()
            self.calm = True
            async with anyio.create_task_group() as group:
                for stack in self.stacks:
                    group.start_soon(stack.until_all_is_there)
            world.cancel_scope.cancel()
        self.check()

    async def others(self) -> None:
        """They spend their part of the budget, evenly, and the account is blocked once by none of ours."""
        emulator, clock = self.here.emulator, self.here.clock
        if self.drawn.blocked_at is not None:
            async with anyio.create_task_group() as group:
                group.start_soon(self.block, self.drawn.blocked_at)
        if not self.drawn.others:
            return
        headers = {"Authorization": emulator.settings.api_key}
        async with httpx.AsyncClient(base_url=emulator.api_url, headers=headers, transport=self.here.wire()) as http:
            theirs = [emulator.add_database().id for _ in range(12)] if self.drawn.others_take else []
            for number in itertools.count():
                # A second more than their share needs: they are not quite even, and neither is the network.
                await clock.sleep(BUDGET_WINDOW / self.drawn.others + 1)
                with suppress(httpx.HTTPError):  # faults strike them too
                    if theirs and number % 3 == 0:
                        await http.post(f"databases/{theirs[number % len(theirs)]}/snapshots", timeout=120)
                    else:
                        await http.get("users/me")

    async def block(self, at: float) -> None:
        await self.here.clock.sleep(at)
        self.here.emulator.block()

    # What must hold at the end ---------------------------------------------------------------------------------------

    def check(self) -> None:
        self.budget_is_kept()
        for wires in self.wires.values():
            self.nothing_is_sent_in_a_block(wires)
        for stack in self.stacks:
            for resource in stack.resources:
                assert resource.is_done(), f"{resource.name} never came: {resource.record}"
        taken = [
            one.record.version_id for stack in self.stacks for one in stack.resources if one.record and one.is_taken()
        ]
        assert len(set(taken)) == len(taken), "two resources have one snapshot"

    def budget_is_kept(self) -> None:
        times = [entry.monotonic for entry in self.here.emulator.journal]
        budget = self.drawn.service["requests_per_minute"]
        for first, last in zip(times, times[budget:], strict=False):
            assert last - first >= BUDGET_WINDOW, (
                f"{budget + 1} requests within {last - first:.2f} s from second {first:.2f} on"
            )
        limited = [entry for entry in self.here.emulator.journal if entry.code == "RATE_LIMITED"]
        assert not limited or self.drawn.blocked_at is not None, f"blocked: {limited[0]}"

    def nothing_is_sent_in_a_block(self, wires: list[Wire]) -> None:
        """From the answer that tells of a block to its end, by none of the processes of a machine."""
        entries = sorted((entry for wire in wires for entry in wire.requests), key=lambda entry: entry.monotonic)
        for told in [entry for entry in entries if entry.code == "RATE_LIMITED"]:
            # It may be struck by a fault that delays it: what counts is when it was answered.
            assert told.answered_at is not None
            begun = told.monotonic + (told.answered_at - told.at).total_seconds()
            ends = (self.drawn.blocked_at or 0.0) + self.began + BLOCK
            sent = [entry for entry in entries if begun < entry.monotonic < ends]
            assert not sent, f"the block was known at {begun}, and {sent[0]} was sent"

    @property
    def began(self) -> float:
        return self._began

    def __post_init__(self) -> None:
        self._began = self.here.clock.monotonic()


class Stack:
    """A program with its state, and the engine that runs it."""

    def __init__(self, deployment: Deployment, number: int, drawn: StackDrawn) -> None:
        self.deployment = deployment
        self.drawn = drawn
        self.here = deployment.here
        self.ups = 0
        self.machine = drawn.machine
        self.number = number
        databases = self.here.databases
        self.resources = [
            Resource(f"stack {number}: snapshot {place} of database {one}", databases[one])
            for place, one in enumerate(drawn.databases)
        ]

    async def restless(self) -> None:
        """The ups that are cut short, and one that is not; the world is as it is."""
        await self.here.clock.sleep(self.drawn.starts)
        for ending in (*self.drawn.endings, None):
            await self.up(ending)
            await self.here.clock.sleep(5.0)
            if ending is not None and ending.kill and self.drawn.moves:
                # What ends after the next POST could not be told from its snapshot there: the documentation says so.
                await self.here.clock.sleep(LATE.total_seconds())
                self.machine += 1

    async def until_all_is_there(self) -> None:
        for _ in range(ROUNDS):
            await self.up(None)
            if all(one.is_done() for one in self.resources):
                return
            await self.here.clock.sleep(PAUSE)

    async def up(self, ending: Ending | None) -> None:
        """The engine starts a provider, which reads what is pending, and then takes care of every resource."""
        self.ups += 1
        name = f"stack {self.number}, up {self.ups}"
        machine = self.machine
        wire = self.here.wire()
        self.deployment.wires.setdefault(machine, []).append(wire)
        session = self.here.session(
            wire=wire,
            memory=RunMemory(),
            state=Path(f"machine {machine}"),
            process=Process(name, self.deployment.running.__contains__),
            requests_per_minute=self.deployment.drawn.service["requests_per_minute"],
            requests_for_others=self.deployment.drawn.left,
        )
        _in_memory(session, self.deployment.files)
        self.deployment.running.add(name)

        def end() -> None:
            if ending is not None and ending.kill:
                _cut_off(session)
                self.deployment.running.discard(name)
                scope.cancel()
            else:
                session.stop()

        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                if ending is not None:
                    group.start_soon(self.later, ending.after, end)
                await self.work(session)
                group.cancel_scope.cancel()
        self.deployment.running.discard(name)
        await session.close()

    async def later(self, seconds: float, happen: Callable[[], None]) -> None:
        await self.here.clock.sleep(seconds)
        happen()

    async def work(self, session: Session) -> None:
        by_name = {one.name: one for one in self.resources}
        pending = [one.name for one in self.resources if one.record is not None and one.record.pending]
        began = self.here.clock.monotonic()
        await each(lambda name: self.read(session, by_name[name]), pending, self.drawn.parallel)
        assert self.here.clock.monotonic() - began <= 10, "the reads of pending snapshots hold up the run"
        for one in self.resources:
            if one.record is not None:
                session.memory.note_state(one.record, one.name)
        missing = [one.name for one in self.resources if not one.is_done()]
        await each(lambda name: self.act(session, by_name[name]), missing, self.drawn.parallel)

    async def read(self, session: Session, one: Resource) -> None:
        assert one.record is not None
        held = one.record
        one.record = await read(session, held, Heard(self.here.clock), owner=one.name)
        self.keeps(one, held)

    async def act(self, session: Session, one: Resource) -> None:
        drawn, row, began = self.drawn, Heard(self.here.clock), self.here.clock.monotonic()
        # Without faults nobody needs a short time-out to see what happens then.
        timeout = 45 * MINUTE if self.deployment.calm else drawn.timeout
        inputs = SnapshotInputs(one.database_id, timeout=timeout, reuse_within=drawn.reuse_within)
        held = one.record
        try:
            if held is None or one.is_proven_failed():
                await self.take(session, one, inputs, row)
            else:
                try:
                    one.record = await resume(session, held, inputs, row, owner=one.name)
                except Pending as pending:
                    one.record = pending.record
                self.keeps(one, held)
        finally:
            late = self.here.clock.monotonic() - began - timeout
            assert late <= SLACK, f"{one.name} ended {late:.1f} s after its time-out"

    async def take(self, session: Session, one: Resource, inputs: SnapshotInputs, row: Heard) -> None:
        replaced, failed = one.record, True
        if replaced is not None:
            session.memory.note_state(replaced, one.name, replaced=True)
        record: SnapshotRecord | None = None
        try:
            record = await create(session, inputs, row, owner=one.name)
            failed = False
        except Pending as pending:
            record, failed = pending.record, False
        except (NothingSent, SquareCloudError):
            failed = False
        finally:
            # Also where it was killed: then nobody keeps anything, and the next one has to find its POST.
            mine = self.here.posts_of(row, one.database_id)
            accepted = [post for post in mine if post.accepted]
            assert len(accepted) <= 1, f"{one.name} was paid for twice: {accepted}"
            if failed:
                one.posts.extend(mine)
        if replaced is not None and record is not None:
            one.posts.clear()
        one.posts.extend(mine)
        if record is None:
            gone = [post for post in accepted if post.code != "SNAPSHOT_FAILED"]
            assert not gone, f"what was paid for is forgotten: {gone}"
            return
        one.record = record
        if not record.pending:
            self.is_right(one)
        elif not one.posts:
            raise AssertionError("pending, and nothing was sent")

    def keeps(self, one: Resource, held: SnapshotRecord) -> None:
        """After a read or resume of a pending snapshot: it is still there, and the same one."""
        assert one.record is not None
        if one.record.pending:
            assert one.record.id == held.id
        else:
            self.is_right(one)

    def is_right(self, one: Resource) -> None:
        """The version is that of its own POST, or one that it was allowed to reuse."""
        record = one.record
        assert record is not None
        versions = {post.version_id for post in one.started()}
        if record.requested_at is None:
            assert self.drawn.reuse_within
            assert record.origin == "manual"
            return
        assert record.version_id in versions, f"{one.name} has {record.version_id}, and its POSTs started {versions}"
        if len(versions) > 1:
            assert self.may_be_paid_for_twice(one), f"{one.name} was killed and paid for twice: {one.started()}"

    def may_be_paid_for_twice(self, one: Resource) -> bool:
        """Whether an earlier POST was proven failed, or could not be known."""
        *earlier, last = one.started()
        # An own page may have been frozen before the first POST, by the look for a snapshot to reuse.
        return self.machine != self.drawn.machine or all(last.at - post.at > timedelta(hours=2) for post in earlier)


def _in_memory(session: Session, machine: dict[Path, str]) -> None:
    """Keep what processes share in memory: thousands of deployments are not to wait for a disk."""

    async def load(path: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(machine.get(path, "{}"))
        return content

    async def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> Any:
        content = await load(path)
        result = edit(content)
        machine[path] = json.dumps(content)
        return result

    for file in session._files:
        if file is not None:
            file.read = partial(load, file.path)  # type: ignore[method-assign]
            file.change = partial(change, file.path)  # type: ignore[method-assign]


def _cut_off(session: Session) -> None:
    """A process that is gone writes nothing more."""

    async def nowhere(edit: Callable[[dict[str, Any]], Any]) -> Any:
        return edit({})

    for file in session._files:
        if file is not None:
            file.change = nowhere  # type: ignore[method-assign]
