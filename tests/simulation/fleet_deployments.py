"""Random deployments from a seed: stacks of one account on some machines, other users, faults, ^C and kills."""

from __future__ import annotations

import itertools
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from pulumi_snapshots.errors.outcomes import NothingSent
from pulumi_snapshots.ledger.owner import owner_of
from pulumi_snapshots.listing.match import LATE
from pulumi_snapshots.run.memory import RunMemory
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.snapshot.create import Pending, create, resume
from pulumi_snapshots.snapshot.difference import SnapshotRules
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.read import read
from squarecloud_emulator import Fault
from tests.simulation.fleet import each, fleet, play, standard_durations
from tests.support.memory import Memory
from tests.support.mortal import Mortal
from tests.support.world import TimedRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.snapshot.record import SnapshotRecord
    from squarecloud_emulator import JournalEntry
    from tests.simulation.fleet import Fleet, Wire

__all__ = ["Scenario", "draw", "played"]

MINUTE, HOUR = 60.0, 3600.0
BLOCK = 1800.0
BUDGET_WINDOW = 60.0
SLACK = 1.0
"""Seconds by which an operation may exceed its time-out."""
ROUNDS = 30
"""The number of ups without faults after which every snapshot must be done."""
PAUSE = 20 * MINUTE
"""Seconds between two of these ups."""
PATIENT_ROUNDS = 10
"""The number of these ups after which the user gives up on a snapshot that cannot be proven failed, with `--replace`."""
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
LISTING_FAULTS: list[dict[str, Any]] = [
    {"drop": True},
    {"html": 502},
    {"status": 500, "code": "INTERNAL"},
    {"status": 429, "code": "KEEP_CALM"},
    {"no_connect": True},
    {"truncated": True},
    {"delay": 20.0},
]


@dataclass(frozen=True)
class Cut:
    """An `up` that is cut short.

    Attributes:
        after: seconds from its start.
        kill: whether by kill -9; otherwise by ^C.
    """

    after: float
    kill: bool


@dataclass(frozen=True)
class StackScenario:
    """The random choices for one stack.

    Attributes:
        databases: the database of each resource; two may have the same.
        machine: the first machine that it runs on.
        starts: seconds until its first `up`.
        parallel: how many resources the engine works on at a time.
        timeout: seconds for each operation.
        reuse_within: see `Snapshot`.
        moves: whether an `up` after a kill runs on another machine.
        cuts: the ups that are cut short.
    """

    databases: tuple[int, ...]
    machine: int
    starts: float
    parallel: int
    timeout: float
    reuse_within: float
    moves: bool
    cuts: tuple[Cut, ...]


@dataclass(frozen=True)
class Scenario:
    """The random choices for a deployment.

    Attributes:
        seed: where they come from.
        durations: seconds that a snapshot of each database takes.
        failing: databases whose next snapshot fails.
        service: the service's behaviour.
        stacks: the choices for each stack.
        left: the setting `requests_for_others`.
        others: requests per minute of other users of the account.
        others_take: whether other users take snapshots.
        blocked_at: seconds until the account is blocked; None for never.
        faults: the faults of the service.
        automatic: see `Fleet`.
    """

    seed: int
    durations: tuple[float, ...]
    failing: frozenset[int]
    service: dict[str, Any]
    stacks: tuple[StackScenario, ...]
    left: int | None
    others: int
    others_take: bool
    blocked_at: float | None
    faults: tuple[dict[str, Any], ...]
    automatic: bool


def draw(seed: int) -> Scenario:
    """Make the random choices of a seed."""
    chance = random.Random(f"deployment {seed}")
    count = chance.choice([1, 1, 2, 2, 3, 3, 5, 5, 8, 8, 12, 20])
    durations = _durations(chance, count, seed)
    faults = chance.random() < 0.4
    per_minute = chance.choice([12, 30, 30, 60])
    machines = chance.choice([1, 1, 1, 2])
    # Users of one account must share its budget: each machine has a setting for its part, as the documentation asks. A few
    # requests of others need no setting.
    others = chance.choice([0, 3, 4, 8])
    left = None if machines == 1 and others <= per_minute // 10 else per_minute - (per_minute - others) // machines
    stacks = _stacks(chance, count, machines)
    return Scenario(
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


def _stacks(chance: random.Random, count: int, machines: int) -> tuple[StackScenario, ...]:
    stacks = []
    for number in range(min(count, chance.choice([1, 1, 1, 2, 3]))):
        reuse_within = chance.choice([0.0, 0.0, 0.0, HOUR])
        kills = chance.random() < 0.3
        stacks.append((number, reuse_within, kills))
    drawn = []
    for number, reuse_within, kills in stacks:
        cuts = [
            Cut(chance.choice([1.0, 20.0, 95.0, chance.uniform(0, 600)]), kill=kills and chance.random() < 0.7)
            for _ in range(chance.choice([0, 0, 0, 1, 1, 2]))
        ]
        own = list(range(number, count, len(stacks)))
        if chance.random() < 0.2:
            # Two resources of one database. Stacks on different machines do not share one, since they cannot know of each other's
            # pending snapshots.
            own.append(chance.choice(range(count) if STACKS_SHARE and machines == 1 else own))
        drawn.append(
            StackScenario(
                databases=tuple(own),
                machine=number % machines,
                starts=chance.choice([0.0, 0.0, chance.uniform(0, 300)]),
                parallel=chance.choice([2, 4, 16, 64, 64]),
                timeout=chance.choice([5 * MINUTE, 45 * MINUTE, 45 * MINUTE]),
                reuse_within=reuse_within,
                moves=machines == 1 and len(stacks) == 1 and bool(reuse_within) and chance.random() < 0.5,
                cuts=tuple(cuts),
            )
        )
    return tuple(drawn)


def _faults(chance: random.Random) -> list[dict[str, Any]]:
    probability = chance.choice([0.05, 0.2, 0.5])
    return [
        {"probability": probability / 3, "times": None, **fault}
        for fault in [
            *({"kind": "create", **fault} for fault in chance.sample(POST_FAULTS, 3)),
            *(
                {"kind": kind, **fault}
                for kind in ("list", "list account")
                for fault in chance.sample(LISTING_FAULTS, 2)
            ),
        ]
    ]


def played(scenario: Scenario) -> Deployment:
    """Play a deployment, and check it.

    Raises:
        AssertionError: a check has failed.
    """

    async def run() -> Deployment:
        async with fleet(
            scenario.durations, seed=scenario.seed, automatic=scenario.automatic, **scenario.service
        ) as here:
            deployment = Deployment(scenario, here)
            await deployment.play()
            return deployment

    result: Deployment = play(run, seed=scenario.seed)
    return result


@dataclass
class Resource:
    """A Snapshot of a program.

    Attributes:
        name: for messages.
        urn: its URN.
        database_id: its database.
        record: what the engine's state holds.
        posts: the journal entries of its POSTs.
    """

    name: str
    urn: str
    database_id: str
    record: SnapshotRecord | None = None
    posts: list[JournalEntry] = field(default_factory=list)
    given_up: bool = False

    def is_done(self) -> bool:
        return self.record is not None and not self.record.pending

    def is_taken(self) -> bool:
        """Whether the snapshot was taken for this resource, and not reused."""
        return self.record is not None and self.record.requested_at is not None

    def started(self) -> list[JournalEntry]:
        return [post for post in self.posts if post.accepted and post.code != "SNAPSHOT_FAILED"]


@dataclass
class Deployment:
    """All stacks and other users of an account.

    Attributes:
        scenario: the random choices.
        here: the service.
        places: of each machine's ledger.
        stacks: the stacks.
        wires: the transports of each machine.
        calm: whether the faults have ended.
    """

    scenario: Scenario
    here: Fleet
    places: dict[int, Memory] = field(default_factory=dict)
    stacks: list[Stack] = field(default_factory=list)
    wires: dict[int, list[Wire]] = field(default_factory=dict)
    calm: bool = False

    async def play(self) -> None:
        emulator, scenario = self.here.emulator, self.scenario
        self.stacks = [Stack(self, number, one) for number, one in enumerate(scenario.stacks)]
        for number in scenario.failing:
            emulator.fail_next_snapshot(self.here.databases[number])
        for fault in scenario.faults:
            emulator.add_fault(Fault(**fault))
        async with anyio.create_task_group() as world:
            world.start_soon(self.others)
            async with anyio.create_task_group() as group:
                for stack in self.stacks:
                    group.start_soon(stack.run_with_cuts)
            emulator.clear_faults()
            self.calm = True
            async with anyio.create_task_group() as group:
                for stack in self.stacks:
                    group.start_soon(stack.run_until_done)
            world.cancel_scope.cancel()
        self.check()

    async def others(self) -> None:
        """Send the requests of other users, evenly, and block the account if the scenario says so."""
        emulator, clock = self.here.emulator, self.here.clock
        if self.scenario.blocked_at is not None:
            async with anyio.create_task_group() as group:
                group.start_soon(self.block, self.scenario.blocked_at)
        if not self.scenario.others:
            return
        theirs = [emulator.add_database().id for _ in range(12)] if self.scenario.others_take else []
        for number in itertools.count():
            # One second more than their share needs, since neither they nor the network are quite even.
            await clock.sleep(BUDGET_WINDOW / self.scenario.others + 1)
            if theirs and number % 3 == 0:
                await self.here.serve("POST", f"/v2/databases/{theirs[number % len(theirs)]}/snapshots")
            else:
                await self.here.serve("GET", f"/v2/databases/{self.here.databases[0]}")

    async def block(self, at: float) -> None:
        await self.here.clock.sleep(at)
        self.here.emulator.block()

    def later_posts(self, one: Resource) -> list[JournalEntry]:
        """The POSTs of others that have started a snapshot of its database after its last one."""
        sent = max(post.at for post in one.posts)
        others = (other for stack in self.stacks for other in stack.resources if other is not one)
        posts = (post for other in others if other.database_id == one.database_id for post in other.started())
        return [post for post in posts if post.at > sent]

    # The checks at the end ------------------------------------------------------------------------------------------

    def check(self) -> None:
        self.check_budget()
        for wires in self.wires.values():
            self.check_blocks(wires)
        for stack in self.stacks:
            for resource in stack.resources:
                assert resource.is_done(), f"{resource.name} is not done: {resource.record}"
        taken = [
            one.record.version_id for stack in self.stacks for one in stack.resources if one.record and one.is_taken()
        ]
        assert len(set(taken)) == len(taken), "two resources have one snapshot"

    def check_budget(self) -> None:
        times = [entry.monotonic for entry in self.here.emulator.journal]
        budget = self.scenario.service["requests_per_minute"]
        for first, last in zip(times, times[budget:], strict=False):
            assert last - first >= BUDGET_WINDOW, (
                f"{budget + 1} requests within {last - first:.2f} s from second {first:.2f} on"
            )
        limited = [entry for entry in self.here.emulator.journal if entry.code == "RATE_LIMITED"]
        assert not limited or self.scenario.blocked_at is not None, f"blocked: {limited[0]}"

    def check_blocks(self, wires: list[Wire]) -> None:
        """Check that no process of a machine sends a request between the answer that reports a block and the end of the block."""
        entries = sorted((entry for wire in wires for entry in wire.requests), key=lambda entry: entry.monotonic)
        # In answer to the account's listing it may mean that listing alone.
        for blocked in [entry for entry in entries if entry.code == "RATE_LIMITED" and entry.kind != "list account"]:
            # A fault may delay the answer, and the block is known from the answer on.
            assert blocked.answered_at is not None
            known_from = blocked.monotonic + (blocked.answered_at - blocked.at).total_seconds()
            ends = (self.scenario.blocked_at or 0.0) + self.began + BLOCK
            sent = [entry for entry in entries if known_from < entry.monotonic < ends]
            assert not sent, f"the block was known at {known_from}, and {sent[0]} was sent"

    @property
    def began(self) -> float:
        return self._began

    def __post_init__(self) -> None:
        self._began = self.here.clock.monotonic()


class Stack:
    """A program with its state and its engine."""

    def __init__(self, deployment: Deployment, number: int, scenario: StackScenario) -> None:
        self.deployment = deployment
        self.scenario = scenario
        self.here = deployment.here
        self.machine = scenario.machine
        self.number = number
        databases = self.here.databases
        self.resources = [
            Resource(
                f"stack {number}: snapshot {place} of database {one}",
                f"urn:pulumi:dev::program {number}::squarecloud:index:Snapshot::{place}",
                databases[one],
            )
            for place, one in enumerate(scenario.databases)
        ]

    async def run_with_cuts(self) -> None:
        """Run the ups that are cut short and a complete one, with all faults."""
        await self.here.clock.sleep(self.scenario.starts)
        for cut in (*self.scenario.cuts, None):
            await self.up(cut)
            await self.here.clock.sleep(5.0)
            if cut is not None and cut.kill and self.scenario.moves:
                # A snapshot that ends after the next POST cannot be distinguished from that POST's on another machine, as documented.
                await self.here.clock.sleep(LATE.total_seconds())
                self.machine += 1

    async def run_until_done(self) -> None:
        for number in range(ROUNDS):
            await self.up(None)
            undone = [one for one in self.resources if not one.is_done()]
            if not undone:
                return
            for one in undone if number == PATIENT_ROUNDS else ():
                # As documented: it may be the snapshot that another stack has taken since.
                assert self.deployment.later_posts(one), f"{one.name} stays pending: {one.record}"
                one.given_up = True
            await self.here.clock.sleep(PAUSE)

    async def up(self, cut: Cut | None) -> None:
        """Run an `up`: a new provider reads the pending snapshots, and then creates or resumes each resource."""
        machine = self.machine
        wire = self.here.wire()
        self.deployment.wires.setdefault(machine, []).append(wire)
        place = Mortal(self.deployment.places.setdefault(machine, Memory(self.here.clock, is_shared=False)))
        session = self.here.session(
            wire=wire,
            memory=RunMemory(),
            place=place,
            requests_per_minute=self.deployment.scenario.service["requests_per_minute"],
            requests_for_others=self.deployment.scenario.left,
        )

        def end() -> None:
            if cut is not None and cut.kill:
                place.killed = True
                scope.cancel()
            else:
                session.stop()

        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                if cut is not None:
                    group.start_soon(self.later, cut.after, end)
                await self.work(session)
                group.cancel_scope.cancel()
        await session.close()

    async def later(self, seconds: float, happen: Callable[[], None]) -> None:
        await self.here.clock.sleep(seconds)
        happen()

    async def work(self, session: Session) -> None:
        by_name = {one.name: one for one in self.resources}
        pending = [one.name for one in self.resources if one.record is not None and one.record.pending]
        for one in self.resources:
            proof = SnapshotRules().proof_by_state(one.record.to_outputs()) if one.record else None
            if proof is not None:
                await session.ledger.note(proof, owner_of(one.urn), SnapshotInputs(one.database_id).purpose)
        began = self.here.clock.monotonic()
        await each(lambda name: self.read(session, by_name[name]), pending, self.scenario.parallel)
        assert self.here.clock.monotonic() - began <= 10, "the reads of pending snapshots delay the run"
        for one in self.resources:
            if one.record is not None:
                one.record.note_in(session.memory)
        missing = [one.name for one in self.resources if not one.is_done()]
        await each(lambda name: self.act(session, by_name[name]), missing, self.scenario.parallel)

    async def read(self, session: Session, one: Resource) -> None:
        assert one.record is not None
        held = one.record
        one.record = await read(session, held, TimedRow(self.here.clock), owner=one.urn)
        self.check_pending(one, held)

    async def act(self, session: Session, one: Resource) -> None:
        scenario, row, began = self.scenario, TimedRow(self.here.clock), self.here.clock.monotonic()
        # A short time-out is only used with faults.
        timeout = 45 * MINUTE if self.deployment.calm else scenario.timeout
        inputs = SnapshotInputs(one.database_id, timeout=timeout, reuse_within=scenario.reuse_within)
        held = one.record
        try:
            if held is None or one.given_up:
                await self.take(session, one, inputs, row)
            else:
                with suppress(NothingSent, SquareCloudError):  # it never came, and no other one was requested
                    try:
                        one.record = await resume(session, held, inputs, row, owner=one.urn)
                    except Pending as pending:
                        one.record = pending.record
                again = self.here.posts_of(row, one.database_id)
                assert sum(post.accepted for post in again) <= 1, f"{one.name} was taken twice: {again}"
                one.posts.extend(again)
                self.check_pending(one, held, again=bool(again))
        finally:
            late = self.here.clock.monotonic() - began - timeout
            assert late <= SLACK, f"{one.name} ended {late:.1f} s after its time-out"

    async def take(self, session: Session, one: Resource, inputs: SnapshotInputs, row: TimedRow) -> None:
        replaced, failed = one.record, True
        if replaced is not None:
            replaced.note_in(session.memory, replaced=True)
        record: SnapshotRecord | None = None
        try:
            record = await create(session, inputs, row, one.urn)
            failed = False
        except Pending as pending:
            record, failed = pending.record, False
        except (NothingSent, SquareCloudError):
            failed = False
        finally:
            # After a kill too: the state holds nothing then, and the next run must find the POST.
            mine = self.here.posts_of(row, one.database_id)
            accepted = [post for post in mine if post.accepted]
            assert len(accepted) <= 1, f"{one.name} was taken twice: {accepted}"
            if failed:
                one.posts.extend(mine)
        if replaced is not None and record is not None:
            one.posts.clear()
            one.given_up = False
        one.posts.extend(mine)
        if record is None:
            lost = [post for post in accepted if post.code != "SNAPSHOT_FAILED"]
            assert not lost, f"an accepted POST is forgotten: {lost}"
            return
        one.record = record
        if not record.pending:
            self.check_version(one)
        elif not one.posts:
            raise AssertionError("pending, although no POST was sent")

    def check_pending(self, one: Resource, held: SnapshotRecord, *, again: bool = False) -> None:
        """Check that a read or resume of a pending snapshot has kept or found it, or requested it again."""
        assert one.record is not None
        if one.record.pending:
            assert one.record.id == held.id or again
        else:
            self.check_version(one)

    def check_version(self, one: Resource) -> None:
        """Check that the version comes from its own POST, or was reused with permission."""
        record = one.record
        assert record is not None
        versions = {post.version_id for post in one.started()}
        if record.requested_at is None:
            assert self.scenario.reuse_within
            assert record.origin == "manual"
            return
        assert record.version_id in versions, f"{one.name} has {record.version_id}, and its POSTs started {versions}"
        if len(versions) > 1:
            assert self.may_be_taken_twice(one), f"{one.name} was killed and taken twice: {one.started()}"

    def may_be_taken_twice(self, one: Resource) -> bool:
        """Whether each earlier POST's snapshot has never come, or could not be known."""
        stored = {each.version_id for each in self.here.emulator.snapshots(one.database_id)}
        # The own page may have been cached before the first POST, by the search for a snapshot to reuse.
        return self.machine != self.scenario.machine or not any(
            post.version_id in stored for post in one.started()[:-1]
        )
