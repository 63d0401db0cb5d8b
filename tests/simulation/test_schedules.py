"""Random schedules: ups, refreshes, interruptions and other people's snapshots, in random worlds, with random faults.

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

from pulumi_snapshots.emulator import Fault
from pulumi_snapshots.listing.match import LATE
from pulumi_snapshots.snapshot.create import create, resume
from pulumi_snapshots.snapshot.describe import is_pinned
from pulumi_snapshots.snapshot.read import read
from tests.simulation.loop import VirtualLoop
from tests.support.schedules import schedules
from tests.support.world import DATABASE, OTHER_DATABASE, Ending, Row, World, world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pulumi_snapshots.emulator import JournalEntry
    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.snapshot.record import SnapshotRecord

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

RESOURCES = {"first": DATABASE, "second": DATABASE, "third": OTHER_DATABASE}
"""Two of them take snapshots of one database: theirs are the hardest to tell apart."""

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
    # The service's own answer is broken, or the whole request comes late: after the client has given up.
    st.sampled_from([{"truncated": True}, {"cut_after": 9}, {"delay": 20.0}, {"delay": 110.0}, {"delay": 300.0}]),
)
LOOK_FAULTS = st.one_of(
    st.sampled_from([{**fault, "times": times} for fault in [*REFUSALS, *DOUBTS] for times in (1, 4)]),
    st.sampled_from([{"truncated": True, "times": 2}, {"cut_after": 9}, {"delay": 40.0}, {"delay": 10.0, "times": 3}]),
)


@dataclass(frozen=True)
class Doing:
    """What an `up` does with one resource."""

    replaces: bool
    timeout: float
    reuse_within: float


DOINGS = st.dictionaries(
    st.sampled_from(sorted(RESOURCES)),
    st.builds(
        Doing,
        replaces=st.booleans(),
        timeout=st.sampled_from([4 * MINUTE, 10 * MINUTE, 45 * MINUTE]),
        reuse_within=st.sampled_from([0.0, 0.0, 0.0, 600.0]),
    ),
    min_size=1,
)
DATABASES = st.sampled_from([DATABASE, OTHER_DATABASE])


class Heard(Row):
    """A resource's row, which remembers when its POSTs were sent."""

    def __init__(self, w: World) -> None:
        super().__init__()
        self._w = w
        self._sent: set[float] = set()

    def progress(self, text: Words) -> None:
        super().progress(text)
        if str(text).startswith("sent,"):
            self._sent.add(self._w.clock.monotonic())

    def posts(self, database_id: str) -> list[JournalEntry]:
        """What the service saw of this row's POSTs: no two of one database are sent at the same moment."""
        return [post for post in self._w.posts if post.database_id == database_id and post.monotonic in self._sent]


def played(step: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A step of the schedule as Hypothesis can call it."""

    @functools.wraps(step)
    def on_loop(schedule: Schedule, *args: Any, **kwargs: Any) -> None:
        schedule.loop.run(functools.partial(step, schedule, *args, **kwargs))

    return on_loop


class Schedule(RuleBasedStateMachine):
    """Holds what the engine's state would hold, and what really happened."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.stack = AsyncExitStack()
        self.state: dict[str, SnapshotRecord] = {}
        self.posts: dict[str, list[JournalEntry]] = {}  # of what the state holds
        self.taken: set[str] = set()  # versions that became somebody's
        self.shown: list[str] = []

    @initialize(service=SERVICE)
    @played
    async def begin(self, service: dict[str, Any]) -> None:
        databases = (DATABASE, OTHER_DATABASE)
        self.w = await self.stack.enter_async_context(world(databases=databases, plan_memory_mb=256_000, **service))
        self.session = self.w.session

    def teardown(self) -> None:
        try:
            if hasattr(self, "w"):
                self.what_was_paid_for_is_found_in_the_end()
                self.loop.run(self.stack.aclose)
        finally:
            self.loop.close()

    # What the user does ---------------------------------------------------------------------------------------------

    @rule(doings=DOINGS, interrupt=st.sampled_from([None, None, 0.0, 1.0, 50.0, 130.0, 400.0, 1000.0]))
    @played
    async def up(self, doings: dict[str, Doing], interrupt: float | None) -> None:
        """All resources at once, as the engine does it; perhaps ^C on the way."""
        await self.run_up(doings, interrupt)

    @rule(doings=DOINGS)
    @played
    async def up_to_its_end(self, doings: dict[str, Doing]) -> None:
        # A rule of its own, so that what the user does is not lost among what befalls the service.
        await self.run_up(doings)

    @rule(which=st.sampled_from(sorted(RESOURCES)))
    @played
    async def killed(self, which: str) -> None:
        """Kill -9 in the middle of a create: the state knows nothing of it."""
        if which in self.state or self.may_be_mistaken(RESOURCES[which]):
            return
        alone = {which: Doing(replaces=False, timeout=10 * MINUTE, reuse_within=0.0)}
        await self.run_up(alone, interrupt=40.0)
        self.state.pop(which, None)
        # A snapshot that was started before the next POST and ends after it could not be told from that POST's: the
        # documentation says so. So the killed one ends before anything else happens.
        await self.w.clock.sleep(LATE.total_seconds())

    @rule()
    @played
    async def new_process(self) -> None:
        await self.begin_process()

    @rule()
    @played
    async def refresh(self) -> None:
        async with anyio.create_task_group() as group:
            for name, record in self.state.items():
                if not record.pending:
                    group.start_soon(self.refresh_one, name, record)

    # What others do -------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 30.0, 200.0, 20 * MINUTE, HOUR, 3 * HOUR, DAY, 24 * DAY, 31 * DAY]))
    @played
    async def time_passes(self, seconds: float) -> None:
        await self.w.clock.sleep(seconds)

    @rule(database_id=DATABASES)
    @played
    async def automatic(self, database_id: str) -> None:
        # An old entry does not say that it is automatic; then it is like a foreign one.
        if self.w.emulator.settings.old_style_entries:
            await self.add_foreign(database_id)
        else:
            self.w.emulator.add_snapshot(database_id, origin="automatic")

    @rule(database_id=DATABASES)
    @played
    async def foreign(self, database_id: str) -> None:
        await self.add_foreign(database_id)

    @rule(database_id=DATABASES, fault=POST_FAULTS)
    @played
    async def post_will_fail(self, database_id: str, fault: dict[str, Any]) -> None:
        self.w.emulator.add_fault(Fault(kind="create", database_id=database_id, **fault))

    @rule(database_id=DATABASES)
    @played
    async def snapshot_will_fail(self, database_id: str) -> None:
        self.w.emulator.fail_next_snapshot(database_id)

    @rule(database_id=DATABASES, seconds=st.sampled_from([3.0, 95.0, 590.0]))
    @played
    async def snapshot_will_take(self, database_id: str, seconds: float) -> None:
        self.w.emulator.next_snapshot_takes(database_id, seconds)

    @rule(kind=st.sampled_from(["list", "list account", "me"]), fault=LOOK_FAULTS)
    @played
    async def looks_will_fail(self, kind: str, fault: dict[str, Any]) -> None:
        self.w.emulator.add_fault(Fault(kind=kind, **fault))

    @precondition(lambda self: self.w.emulator.faults.rules)
    @rule()
    @played
    async def all_is_well_again(self) -> None:
        self.w.emulator.clear_faults()

    # What must hold -------------------------------------------------------------------------------------------------

    @invariant()
    def the_key_never_leaves_the_host_of_the_api(self) -> None:
        if not hasattr(self, "w"):
            return
        assert not self.w.transport.strayed
        assert {entry.key for entry in self.w.emulator.journal} <= {"right"}
        outputs = [record.to_outputs() for record in self.state.values()]
        assert self.w.emulator.settings.api_key not in repr([*self.shown, *outputs])
        self.shown.clear()

    @played
    async def what_was_paid_for_is_found_in_the_end(self) -> None:
        """Without faults, a pending snapshot that was started is found; one that was not is proven failed."""
        self.w.emulator.clear_faults()
        await self.begin_process()
        # Proven failed ones would be taken anew: a create of its own, which may end pending.
        attempts = {name: record.attempt for name, record in self.state.items()}
        pending = [name for name, attempt in attempts.items() if attempt and not attempt.missing_since]
        await self.run_up(dict.fromkeys(pending, Doing(replaces=False, timeout=HOUR, reuse_within=0.0)))
        for name in pending:
            assert not (self.state[name].pending and self.is_stored(name)), "it is there, and was not found"
        await self.w.clock.sleep(3 * HOUR)
        await self.begin_process()
        for record in self.state.values():
            assert not record.pending or (record.attempt and record.attempt.missing_since), "waited for without end"

    # How ------------------------------------------------------------------------------------------------------------

    async def run_up(self, doings: dict[str, Doing], interrupt: float | None = None) -> None:
        session = self.session
        async with anyio.create_task_group() as everything:
            if interrupt is not None:
                everything.start_soon(self.w.later, interrupt, session.stop)
            async with anyio.create_task_group() as group:
                for name, doing in doings.items():
                    group.start_soon(self.act, session, name, doing)
            everything.cancel_scope.cancel()
        if interrupt is not None:
            await self.begin_process()

    async def act(self, session: Session, name: str, doing: Doing) -> None:
        held = self.state.get(name)
        failed = held is not None and held.attempt is not None and held.attempt.missing_since is not None
        if held is None or doing.replaces or failed:
            await self.take(session, name, held, doing)
        elif held.pending:
            row = Heard(self.w)
            inputs = self.w.inputs(database_id=held.database_id, timeout=doing.timeout)
            ending = await self.w.ending(resume(session, held, inputs, row, owner=name), row)
            self.goes_on(name, held, ending)

    async def take(self, session: Session, name: str, held: SnapshotRecord | None, doing: Doing) -> None:
        row, database_id = Heard(self.w), RESOURCES[name]
        if held is not None:
            session.memory.note_state(held, name, replaced=True)  # as diff does it
        inputs = self.w.inputs(database_id=database_id, timeout=doing.timeout, reuse_within=doing.reuse_within)
        ending = await self.w.ending(create(session, inputs, row, owner=name), row)
        self.shown.append(ending.text)
        posts, record = row.posts(database_id), ending.record
        assert sum(post.accepted for post in posts) <= 1, "paid for twice"
        if record is None:
            lost = [post for post in posts if post.accepted and post.code != "SNAPSHOT_FAILED"]
            assert not lost, "what was paid for is forgotten"
            return
        self.state[name], self.posts[name] = record, posts
        if record.pending:
            assert posts
        elif record.requested_at is None:
            assert doing.reuse_within, "adopted, and nobody asked for it"
            assert not any(post.accepted for post in posts)
            assert record.origin == "manual"
            assert held is None or record.version_id != held.version_id
        else:
            self.is_its_own(name, record)

    def goes_on(self, name: str, held: SnapshotRecord, ending: Ending) -> None:
        """After a resume or a read of a pending snapshot: it is still there, and the same one."""
        self.shown.append(ending.text)
        record = ending.record
        assert record is not None, ending.text
        self.state[name] = record
        if record.pending:
            assert record.id == held.id
        else:
            self.is_its_own(name, record)

    def is_its_own(self, name: str, record: SnapshotRecord) -> None:
        """A success names the version that its own POST started."""
        assert record.version_id == self.started(name)
        assert record.version_id not in self.taken, "two resources have one snapshot"
        self.taken.add(record.version_id or "")
        assert record.attempt is None

    def started(self, name: str) -> str | None:
        """What the service really started for what the state holds; None for nothing, or nothing yet."""
        return next((post.version_id for post in self.posts[name] if post.accepted), None)

    def is_stored(self, name: str) -> bool:
        return self.started(name) in {one.version_id for one in self.w.emulator.snapshots(RESOURCES[name])}

    async def begin_process(self) -> None:
        """The engine starts another provider, which reads what is pending and sees all that is in the state."""
        await self.session.close()
        self.session = self.w.another_run()
        async with anyio.create_task_group() as group:
            for name, record in self.state.items():
                if record.pending:
                    group.start_soon(self.read_pending, name, record)
        for name, record in self.state.items():
            self.session.memory.note_state(record, name)

    async def read_pending(self, name: str, held: SnapshotRecord) -> None:
        row, began = Heard(self.w), self.w.clock.monotonic()
        ending = await self.w.ending(read(self.session, held, row, owner=name), row)
        assert ending.error is None, "a read of a pending snapshot never fails"
        assert self.w.clock.monotonic() - began <= 10
        self.goes_on(name, held, ending)

    async def refresh_one(self, name: str, held: SnapshotRecord) -> None:
        row, began = Heard(self.w), self.w.clock.monotonic()
        ending = await self.w.ending(read(self.session, held, row, owner=name), row)
        self.shown.append(ending.text)
        assert self.w.clock.monotonic() - began <= 2 * MINUTE
        if ending.record is None:
            return  # an error: the engine keeps the state
        record = self.state[name] = ending.record
        assert record.id == held.id, "a refresh never drops a snapshot"
        assert is_pinned(record.download_url, record.version_id or "") >= is_pinned(
            held.download_url, held.version_id or ""
        )
        stored = {one.version_id for one in self.w.emulator.snapshots(held.database_id)}
        assert record.available or record.version_id not in stored, "it is there, but the state says that it is not"

    async def add_foreign(self, database_id: str) -> None:
        """Somebody else's manual snapshot, where the service could have one and it can be told from ours.

        It can be where it was whole before our POST began, or was started after ours was found: nothing else in a
        listing tells others' from ours, and the documentation says so.
        """
        emulator = self.w.emulator
        emulator.settle()
        if self.may_be_mistaken(database_id):
            return
        # The service keeps any two of one database 180 s apart.
        last = emulator.account.cooldowns.accepted_at.get(f"snapshot {database_id}")
        if last is not None and emulator.now() - last < timedelta(seconds=180):
            return
        emulator.add_snapshot(database_id, origin="manual")
        emulator.account.cooldowns.start("snapshot", database_id, emulator.now())
        # Until the service's clock is known, what is up to 60 s older than a POST may be that POST's.
        await self.w.clock.sleep(61)

    def may_be_mistaken(self, database_id: str) -> bool:
        """Whether a snapshot of ours may still appear, so that another one of this time could be taken for it."""
        emulator = self.w.emulator
        emulator.settle()
        held_open = any(post.database_id == database_id and post.answered_at is None for post in self.w.posts)
        if held_open or emulator.account.running(database_id):
            return True
        for name, record in self.state.items():
            attempt = record.attempt
            if RESOURCES[name] == database_id and attempt is not None and attempt.missing_since is None:
                # Never confirmed and never started: it is looked for within 15 minutes of its POST.
                age = self.w.clock.utc() - attempt.posted_at
                if self.started(name) or attempt.accepted or age < LATE + timedelta(minutes=1):
                    return True
        return False


Schedule.TestCase.settings = settings(schedules(200), stateful_step_count=12)
TestSchedule = Schedule.TestCase
