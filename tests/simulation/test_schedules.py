"""Random schedules of ups, refreshes, interruptions and others' snapshots, with random services and faults.

`SCHEDULES=5000 pytest tests/simulation/test_schedules.py` runs more of them. A failure prints how to replay it.
"""

from __future__ import annotations

import functools
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pulumi_snapshots.ledger.owner import owner_of
from pulumi_snapshots.ledger.request import FAILED_AFTER
from pulumi_snapshots.listing.match import LATE
from pulumi_snapshots.snapshot.create import create, resume
from pulumi_snapshots.snapshot.describe import is_pinned
from pulumi_snapshots.snapshot.difference import SnapshotRules
from pulumi_snapshots.snapshot.read import read
from squarecloud_emulator import Fault
from tests.simulation.loop import VirtualLoop
from tests.support.schedules import schedules
from tests.support.world import DATABASE, OTHER_DATABASE, Ending, TimedRow, world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.snapshot.record import SnapshotRecord
    from squarecloud_emulator import JournalEntry

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

RESOURCES = {"first": DATABASE, "second": DATABASE, "third": OTHER_DATABASE}
"""Two of them take snapshots of one database, which are the hardest to tell apart."""


def urn(name: str) -> str:
    return f"urn:pulumi:dev::shop::squarecloud:index:Snapshot::{name}"


SERVICE = st.fixed_dictionaries(
    {
        "cache_world": st.sampled_from(["invalidated", "kept"]),
        "modified_is": st.sampled_from(["start", "end"]),
        "snapshot_seconds": st.sampled_from([5.0, 60.0, 89.0, 100.0, 200.0, 500.0]),
        "clock_offset_seconds": st.sampled_from([0.0, 0.7, -20.0, HOUR, -HOUR]),
        "key_of_200_has_version": st.booleans(),
        "name_style": st.sampled_from(["id", "id_type", "id_type_origin"]),
        "version_style": st.sampled_from(["uuid", "opaque"]),
        "old_style_entries": st.booleans(),
        "plan": st.sampled_from(["paid", "free"]),
        "retry_after_header": st.booleans(),
    }
)

REFUSALS: list[dict[str, Any]] = [
    {"status": 429, "code": "KEEP_CALM"},
    {"status": 429, "code": "RATE_LIMITED"},
    {"status": 500, "code": "INTERNAL"},
    {"status": 409, "code": "DATABASE_NOT_RUNNING"},
    {"status": 401, "code": "ACCESS_DENIED"},
    {"redirect": "https://elsewhere.test/v2"},
    {"no_connect": True},
]
DOUBTS: list[dict[str, Any]] = [
    {"drop": True},
    {"drop": True, "delay": 30.0},
    {"drop": True, "delay": 150.0},
    {"html": 502},
    {"html": 524, "delay": 100.0},
    {"status": 503, "code": "DATABASE_UNAVAILABLE"},
    {"malformed": True},
    {"empty": True},
]
POST_FAULTS = st.one_of(
    st.sampled_from([{**fault, "times": times} for fault in REFUSALS for times in (1, 2, 4)]),
    st.sampled_from([{**fault, "when": when} for fault in DOUBTS for when in ("before", "after")]),
    # The service's own answer is broken, or the request arrives after the client has given up.
    st.sampled_from([{"truncated": True}, {"cut_after": 9}, {"delay": 20.0}, {"delay": 110.0}, {"delay": 300.0}]),
)
LISTING_FAULTS = st.one_of(
    st.sampled_from([{**fault, "times": times} for fault in [*REFUSALS, *DOUBTS] for times in (1, 4)]),
    st.sampled_from([{"truncated": True, "times": 2}, {"cut_after": 9}, {"delay": 40.0}, {"delay": 10.0, "times": 3}]),
)


@dataclass(frozen=True)
class Action:
    """What an `up` does with one resource.

    Attributes:
        replaces: whether it replaces a complete snapshot.
        timeout: seconds.
        reuse_within: seconds; see `Snapshot`.
    """

    replaces: bool
    timeout: float
    reuse_within: float


PLAIN = Action(replaces=False, timeout=HOUR, reuse_within=0.0)
ACTIONS = st.dictionaries(
    st.sampled_from(sorted(RESOURCES)),
    st.builds(
        Action,
        replaces=st.booleans(),
        timeout=st.sampled_from([4 * MINUTE, 10 * MINUTE, 45 * MINUTE]),
        reuse_within=st.sampled_from([0.0, 0.0, 0.0, 600.0]),
    ),
    min_size=1,
)
DATABASES = st.sampled_from([DATABASE, OTHER_DATABASE])


def on_loop(step: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Let Hypothesis call an async step of the schedule."""

    @functools.wraps(step)
    def rule_on_loop(schedule: Schedule, *args: Any, **kwargs: Any) -> None:
        schedule.loop.run(functools.partial(step, schedule, *args, **kwargs))

    return rule_on_loop


class Schedule(RuleBasedStateMachine):
    """A schedule.

    Attributes:
        state: what the engine's state holds.
        posts: the journal entries of the POSTs for what the state has of each resource.
        left: those of killed runs, of which no state knows.
        wants: how often the user has wanted another snapshot of each resource, by other triggers.
        made: which of these the state has.
        taken: the versions that belong to a resource.
        shown: the texts since the last check.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.stack = AsyncExitStack()
        self.state: dict[str, SnapshotRecord] = {}
        self.posts: dict[str, list[JournalEntry]] = {name: [] for name in RESOURCES}
        self.left: dict[str, list[JournalEntry]] = {name: [] for name in RESOURCES}
        self.wants, self.made = dict.fromkeys(RESOURCES, 0), dict.fromkeys(RESOURCES, 0)
        self.taken: set[str] = set()
        self.shown: list[str] = []

    @initialize(service=SERVICE)
    @on_loop
    async def begin(self, service: dict[str, Any]) -> None:
        databases = (DATABASE, OTHER_DATABASE)
        self.w = await self.stack.enter_async_context(world(databases=databases, plan_memory_mb=256_000, **service))
        self.session = self.w.session

    def teardown(self) -> None:
        try:
            if hasattr(self, "w"):
                self.every_started_snapshot_is_found_in_the_end()
                self.loop.run(self.stack.aclose)
        finally:
            self.loop.close()

    # The user ------------------------------------------------------------------------------------------------------

    @rule(actions=ACTIONS, interrupt=st.sampled_from([None, None, 0.0, 1.0, 50.0, 130.0, 400.0, 1000.0]))
    @on_loop
    async def up(self, actions: dict[str, Action], interrupt: float | None) -> None:
        """Work on all resources at once, as the engine does; perhaps with ^C."""
        await self.run_up(actions, interrupt)

    @rule(actions=ACTIONS)
    @on_loop
    async def up_to_its_end(self, actions: dict[str, Action]) -> None:
        # A separate rule, so that ups are frequent among the rules for the service.
        await self.run_up(actions)

    @rule(which=st.sampled_from(sorted(RESOURCES)))
    @on_loop
    async def killed(self, which: str) -> None:
        """Kill a create with kill -9: the state holds nothing of it."""
        if which in self.state or self.may_be_confused(RESOURCES[which]):
            return
        alone = {which: Action(replaces=False, timeout=10 * MINUTE, reuse_within=0.0)}
        await self.run_up(alone, interrupt=40.0)
        if self.state.pop(which, None) is not None:
            self.left[which] = self.posts[which]
        # A snapshot that is started before the next POST and ends after it cannot be distinguished from that POST's, as documented.
        # So the killed one ends before anything else happens.
        await self.w.clock.sleep(LATE.total_seconds())

    @rule()
    @on_loop
    async def new_process(self) -> None:
        await self.begin_process()

    @rule()
    @on_loop
    async def refresh(self) -> None:
        async with anyio.create_task_group() as group:
            for name, record in self.state.items():
                if not record.pending:
                    group.start_soon(self.refresh_one, name, record)

    # Others and time -------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 30.0, 200.0, 20 * MINUTE, HOUR, 3 * HOUR, DAY, 24 * DAY, 31 * DAY]))
    @on_loop
    async def time_passes(self, seconds: float) -> None:
        await self.w.clock.sleep(seconds)

    @rule(database_id=DATABASES)
    @on_loop
    async def automatic(self, database_id: str) -> None:
        # An old entry has no origin, so that it is like another user's snapshot.
        if self.w.emulator.settings.old_style_entries:
            await self.add_foreign(database_id)
        else:
            self.w.emulator.add_snapshot(database_id, origin="automatic")

    @rule(database_id=DATABASES)
    @on_loop
    async def foreign(self, database_id: str) -> None:
        await self.add_foreign(database_id)

    @rule(database_id=DATABASES, fault=POST_FAULTS)
    @on_loop
    async def post_will_fail(self, database_id: str, fault: dict[str, Any]) -> None:
        self.w.emulator.add_fault(Fault(kind="create", database_id=database_id, **fault))

    @rule(database_id=DATABASES)
    @on_loop
    async def snapshot_will_fail(self, database_id: str) -> None:
        self.w.emulator.fail_next_snapshot(database_id)

    @rule(database_id=DATABASES, seconds=st.sampled_from([3.0, 95.0, 590.0]))
    @on_loop
    async def snapshot_will_take(self, database_id: str, seconds: float) -> None:
        self.w.emulator.next_snapshot_takes(database_id, seconds)

    @rule(kind=st.sampled_from(["list", "list account", "me"]), fault=LISTING_FAULTS)
    @on_loop
    async def listings_will_fail(self, kind: str, fault: dict[str, Any]) -> None:
        self.w.emulator.add_fault(Fault(kind=kind, **fault))

    @precondition(lambda self: self.w.emulator.faults.rules)
    @rule()
    @on_loop
    async def all_is_well_again(self) -> None:
        self.w.emulator.clear_faults()

    # The checks -----------------------------------------------------------------------------------------------------

    @invariant()
    def the_key_never_leaves_the_host_of_the_api(self) -> None:
        if not hasattr(self, "w"):
            return
        assert not self.w.transport.strayed
        assert {entry.key for entry in self.w.emulator.journal} <= {"right"}
        outputs = [record.to_outputs() for record in self.state.values()]
        assert self.w.emulator.settings.api_key not in repr([*self.shown, *outputs])
        self.shown.clear()

    @on_loop
    async def every_started_snapshot_is_found_in_the_end(self) -> None:
        """Without faults, a pending snapshot is found if it was started, and requested again if it never came."""
        self.w.emulator.clear_faults()
        for database in self.w.emulator.databases.values():
            database.next_snapshot_fails = False
        await self.begin_process()
        pending = [name for name, record in self.state.items() if record.pending]
        await self.run_up(dict.fromkeys(pending, Action(replaces=False, timeout=HOUR, reuse_within=0.0)))
        for name in pending:
            found = not (self.state[name].pending and self.is_stored(name))
            assert found, "the snapshot is stored, but was not found"
        await self.w.clock.sleep(3 * HOUR)
        await self.begin_process()
        await self.run_up(dict.fromkeys(pending, Action(replaces=False, timeout=HOUR, reuse_within=0.0)))
        for record in self.state.values():
            assert not record.pending, "it stays pending forever"

    # Helpers ----------------------------------------------------------------------------------------------------------

    async def run_up(self, actions: dict[str, Action], interrupt: float | None = None) -> None:
        session = self.session
        async with anyio.create_task_group() as everything:
            if interrupt is not None:
                everything.start_soon(self.w.later, interrupt, session.stop)
            async with anyio.create_task_group() as group:
                for name, action in actions.items():
                    group.start_soon(self.act, session, name, action)
            everything.cancel_scope.cancel()
        if interrupt is not None:
            await self.begin_process()

    async def act(self, session: Session, name: str, action: Action) -> None:
        held = self.state.get(name)
        if held is None or action.replaces or self.made[name] != self.wants[name]:
            await self.take(session, name, held, action)
        elif held.pending:
            row = TimedRow(self.w.clock)
            inputs = self.inputs(name, action)
            ending = await self.w.ending(resume(session, held, inputs, row, owner=urn(name)), row)
            posts = self.posts_of(row, held.database_id)
            assert sum(post.accepted for post in posts) <= 1, "taken twice"
            self.posts[name] += posts
            if ending.record is None and not posts:
                self.shown.append(ending.text)
                return  # it never came, and no other one could be requested: the state stays as it is
            self.check_pending(name, held, ending, again=bool(posts))

    def inputs(self, name: str, action: Action) -> Any:
        wanted = {"triggers": [f"v{self.wants[name]}"], "database_id": RESOURCES[name]}
        return self.w.inputs(timeout=action.timeout, reuse_within=action.reuse_within, **wanted)

    async def take(self, session: Session, name: str, held: SnapshotRecord | None, action: Action) -> None:
        row, database_id = TimedRow(self.w.clock), RESOURCES[name]
        if held is not None:
            held.note_in(session.memory, replaced=True)  # as diff does it
            self.wants[name] += action.replaces
            self.left[name] = self.left[name] if not action.replaces else []
        ending = await self.w.ending(create(session, self.inputs(name, action), row, urn(name)), row)
        self.shown.append(ending.text)
        posts, record = self.posts_of(row, database_id), ending.record
        assert sum(post.accepted for post in posts) <= 1, "taken twice"
        if record is None:
            lost = [post for post in posts if post.accepted and post.code != "SNAPSHOT_FAILED"]
            assert not lost, "an accepted POST is forgotten"
            return
        posts = self.posts[name] = self.left[name] + posts
        self.state[name], self.left[name], self.made[name] = record, [], self.wants[name]
        if record.pending:
            assert posts
        elif record.requested_at is None:
            assert action.reuse_within, "adopted without permission"
            assert not any(post.accepted for post in posts)
            assert record.origin == "manual"
            assert held is None or record.version_id != held.version_id
        else:
            self.check_own(name, record)

    def posts_of(self, row: TimedRow, database_id: str) -> list[JournalEntry]:
        """The journal entries of a row's POSTs; no two POSTs for one database are sent at the same time."""
        return [post for post in self.w.posts if post.database_id == database_id and post.monotonic in row.sent]

    def check_pending(self, name: str, held: SnapshotRecord, ending: Ending, *, again: bool = False) -> None:
        """Check that a read or resume of a pending snapshot has kept or found it, or requested it again."""
        self.shown.append(ending.text)
        record = ending.record
        assert record is not None, ending.text
        self.state[name] = record
        if record.pending:
            assert again or record.id == held.id
        else:
            self.check_own(name, record)

    def check_own(self, name: str, record: SnapshotRecord) -> None:
        """Check that the version comes from its own POST."""
        started = [(f"{post.at:%d %H:%M:%S}", post.accepted, post.version_id) for post in self.posts[name]]
        assert record.version_id == self.started(name), f"{name} has {record}, of {started}"
        assert record.version_id not in self.taken, "two resources have one snapshot"
        self.taken.add(record.version_id or "")
        assert record.attempt is None

    def started(self, name: str) -> str | None:
        """The version that the service started for a resource last; None if it started none yet."""
        return next((post.version_id for post in reversed(self.posts[name]) if post.accepted), None)

    def is_stored(self, name: str) -> bool:
        return self.started(name) in {one.version_id for one in self.w.emulator.snapshots(RESOURCES[name])}

    async def begin_process(self) -> None:
        """Start another provider, which reads the pending snapshots and gets the whole state."""
        await self.session.close()
        self.session = self.w.next_run()
        for name, record in self.state.items():
            proof = SnapshotRules().proof_by_state(record.to_outputs())
            assert proof is not None
            await self.session.ledger.note(proof, owner_of(urn(name)), self.inputs(name, PLAIN).purpose)
        async with anyio.create_task_group() as group:
            for name, record in self.state.items():
                if record.pending:
                    group.start_soon(self.read_pending, name, record)
        for record in self.state.values():
            record.note_in(self.session.memory)

    async def read_pending(self, name: str, held: SnapshotRecord) -> None:
        row, began = TimedRow(self.w.clock), self.w.clock.monotonic()
        ending = await self.w.ending(read(self.session, held, row, owner=urn(name)), row)
        assert ending.error is None, "a read of a pending snapshot never fails"
        assert self.w.clock.monotonic() - began <= 10
        self.check_pending(name, held, ending)

    async def refresh_one(self, name: str, held: SnapshotRecord) -> None:
        row, began = TimedRow(self.w.clock), self.w.clock.monotonic()
        ending = await self.w.ending(read(self.session, held, row, owner=urn(name)), row)
        self.shown.append(ending.text)
        assert self.w.clock.monotonic() - began <= 2 * MINUTE
        if ending.record is None:
            return  # after an error the engine keeps the state
        record = self.state[name] = ending.record
        assert record.id == held.id, "a refresh never drops a snapshot"
        assert is_pinned(record.download_url, record.version_id or "") >= is_pinned(
            held.download_url, held.version_id or ""
        )
        stored = {one.version_id for one in self.w.emulator.snapshots(held.database_id)}
        assert record.available or record.version_id not in stored, (
            "the snapshot is stored, but not available in the state"
        )

    async def add_foreign(self, database_id: str) -> None:
        """Add another user's manual snapshot, if the service allows one now and it cannot be confused with ours.

        It cannot be if it was complete before our POST, or is started after ours was found. Nothing else in a listing
        distinguishes them, as documented.
        """
        emulator = self.w.emulator
        emulator.settle()
        if self.may_be_confused(database_id):
            return
        # The service accepts one create per database every 180 s.
        last = emulator.account.cooldowns.accepted_at.get(f"snapshot {database_id}")
        if last is not None and emulator.now() - last < timedelta(seconds=180):
            return
        emulator.add_snapshot(database_id, origin="manual")
        emulator.account.cooldowns.start("snapshot", database_id, emulator.now())
        # Until the service's clock is known, a snapshot up to 60 s older than a POST may match the POST.
        await self.w.clock.sleep(61)

    def may_be_confused(self, database_id: str) -> bool:
        """Whether a snapshot of ours may still appear, so that another one could be confused with it."""
        emulator = self.w.emulator
        emulator.settle()
        held_open = any(post.database_id == database_id and post.answered_at is None for post in self.w.posts)
        if held_open or emulator.account.running(database_id):
            return True
        for name, record in self.state.items():
            attempt = record.attempt
            if RESOURCES[name] == database_id and attempt is not None:
                # Neither accepted nor started: an entry matches up to 15 minutes after the POST.
                age = emulator.now() - attempt.posted_at
                longest = FAILED_AFTER if self.started(name) or attempt.accepted else LATE
                if age < longest + timedelta(minutes=1):
                    return True
        return False


Schedule.TestCase.settings = settings(schedules(200), stateful_step_count=12)
TestSchedule = Schedule.TestCase
