"""The attempt journal: later runs on the same machine find the POST of a killed run."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from pulumi_snapshots.attempt.journal import AttemptJournal, Entry, Proof
from pulumi_snapshots.attempt.owner import Asker
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.attempt.process import Process, _started, this_process
from pulumi_snapshots.emulator import Fault
from pulumi_snapshots.errors.outcomes import NothingSent
from pulumi_snapshots.locked_file import LockedFile
from pulumi_snapshots.lookup.find import find_snapshots
from pulumi_snapshots.lookup.inputs import SnapshotQuery
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.create import Pending, create, resume
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.read import read
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, Row, World, world

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pulumi_snapshots.snapshot.record import SnapshotRecord

OURS, ANOTHER = "urn:ours", "urn:another"
RELEASE = SnapshotInputs.of({"database_id": DATABASE, "triggers": ["v1"], "timeout": "45m"})
NEXT_RELEASE = SnapshotInputs.of({"database_id": DATABASE, "triggers": ["v2"], "timeout": "45m"})


@dataclass
class Machine:
    """A machine, whose processes share a state directory."""

    here: World
    state: Path
    running: set[str] = field(default_factory=set)
    started: int = 0

    def process(self) -> tuple[str, Session]:
        self.started += 1
        name = f"process {self.started}"
        self.running.add(name)
        process = Process(name, self.running.__contains__)
        settings = self.here.session.settings
        return name, Session(
            settings, clock=self.here.clock, http=self.here.transport, state=self.state, process=process
        )

    async def killed_after(self, seconds: float, inputs: SnapshotInputs = RELEASE, owner: str = OURS) -> None:
        """Run a create and kill it: it leaves only the files that it has written."""
        name, session = self.process()
        async with anyio.create_task_group() as process:
            process.start_soon(partial(create, session, inputs, Row(), Asker(owner)))
            await anyio.sleep(seconds)
            journal = session.journals["snapshot"]
            journal.erase = journal.enter = journal.update = journal.conclude = _never  # type: ignore[method-assign, assignment]  # a killed process writes nothing
            process.cancel_scope.cancel()
        self.running.discard(name)

    async def run(self, inputs: SnapshotInputs = RELEASE, owner: str = OURS, row: Row | None = None) -> SnapshotRecord:
        _, session = self.process()
        return await create(session, inputs, row or Row(), Asker(owner))


async def _never(*_: Any, **__: Any) -> None:
    await anyio.lowlevel.checkpoint()


def accepted(here: World) -> list[str | None]:
    return [post.version_id for post in here.posts if post.accepted]


@pytest.mark.parametrize("cache_world", ["invalidated", "kept"])
@pytest.mark.parametrize("after", [10.0, 95.0, 150.0], ids=["POST open", "202 answered", "waiting"])
@virtual
async def test_a_killed_run_is_not_paid_for_twice(tmp_path: Path, after: float, cache_world: str) -> None:
    async with world(snapshot_seconds=150, cache_world=cache_world) as here:
        machine = Machine(here, tmp_path)
        await machine.killed_after(after)
        record = await machine.run()
        assert [record.version_id] == accepted(here)
        assert len(here.posts) == 1
        assert record.requested_at == "2026-03-01T12:00:00Z"


@virtual
async def test_a_run_killed_three_times_takes_one_snapshot(tmp_path: Path) -> None:
    async with world(snapshot_seconds=400) as here:
        machine = Machine(here, tmp_path)
        for _ in range(3):
            await machine.killed_after(100)
        record = await machine.run()
        assert [record.version_id] == accepted(here)


@virtual
async def test_a_run_killed_before_its_post_is_repeated(tmp_path: Path) -> None:
    async with world(databases=(DATABASE, OTHER_DATABASE), snapshot_seconds=10) as here:
        machine = Machine(here, tmp_path)
        _, session = machine.process()
        await create(session, SnapshotInputs(OTHER_DATABASE), Row(), Asker(ANOTHER))
        here.emulator.add_fault(Fault(kind="create", status=429, code="KEEP_CALM", times=None))
        await machine.killed_after(8)
        here.emulator.clear_faults()
        record = await machine.run()
        assert accepted(here)[1:] == [record.version_id]


@virtual
async def test_a_run_interrupted_while_it_connects_leaves_nothing_to_wait_for(tmp_path: Path) -> None:
    async with world() as here:
        machine = Machine(here, tmp_path)
        _, session = machine.process()
        here.emulator.add_fault(Fault(kind="create", no_connect=True, delay=1000))
        ending = here.ending(create(session, RELEASE, Row(), Asker(OURS)))
        assert isinstance((await here.meanwhile(5, session.stop, ending)).nothing, NothingSent)
        assert not await session.journals["snapshot"].all()
        began = here.clock.monotonic()
        await machine.run(NEXT_RELEASE)
        assert here.posts[0].monotonic - began < 10


@virtual
async def test_other_triggers_take_their_own_snapshot_after_a_kill(tmp_path: Path) -> None:
    async with world(snapshot_seconds=100, cache_world="invalidated") as here:
        machine = Machine(here, tmp_path)
        await machine.killed_after(20)
        record = await machine.run(NEXT_RELEASE)
        first, second = accepted(here)
        assert record.version_id == second != first


@virtual
async def test_the_post_of_a_running_process_is_never_taken_over(tmp_path: Path) -> None:
    async with world(snapshot_seconds=150, cache_world="invalidated") as here:
        machine = Machine(here, tmp_path)
        ends: list[SnapshotRecord] = []

        async def run(delay: float) -> None:
            await anyio.sleep(delay)
            ends.append(await machine.run())

        async with anyio.create_task_group() as runs:
            runs.start_soon(run, 0.0)
            runs.start_soon(run, 50.0)
        # The second waits for the first, and then has what that took: its state is not known to have been saved.
        assert [end.version_id for end in ends] == accepted(here) * 2


@virtual
async def test_a_time_out_while_another_run_works_says_so(tmp_path: Path) -> None:
    async with world(snapshot_seconds=3000) as here:
        machine = Machine(here, tmp_path)
        async with anyio.create_task_group() as runs:
            runs.start_soon(machine.killed_after, 2000.0)
            await anyio.sleep(10)
            short = SnapshotInputs.of({"database_id": DATABASE, "timeout": "5m"})
            with pytest.raises(NothingSent, match="another run's snapshot of this database"):
                await machine.run(short, ANOTHER)
            runs.cancel_scope.cancel()
        assert len(here.posts) == 1


@virtual
async def test_a_create_that_never_comes_again_leaves_no_entry(tmp_path: Path) -> None:
    """The command line has no state that could be lost."""
    async with world(snapshot_seconds=100) as here:
        machine = Machine(here, tmp_path)
        await machine.run(row=Row(is_asked_again=False))
        _, session = machine.process()
        assert await session.journals["snapshot"].of(DATABASE) == []


@virtual
async def test_another_stack_waits_for_a_snapshot_that_is_pending_here(tmp_path: Path) -> None:
    async with world(snapshot_seconds=600, cache_world="invalidated") as here:
        machine = Machine(here, tmp_path)
        with pytest.raises(Pending):
            await machine.run(SnapshotInputs.of({"database_id": DATABASE, "timeout": "4m"}))
        record = await machine.run(owner=ANOTHER)
        first, second = accepted(here)
        assert record.version_id == second != first
        assert here.posts[1].monotonic - here.posts[0].monotonic >= 600


@virtual
async def test_a_snapshot_found_by_a_resume_delays_no_other_stack(tmp_path: Path) -> None:
    async with world(snapshot_seconds=600, cache_world="invalidated") as here:
        machine = Machine(here, tmp_path)
        short = SnapshotInputs.of({"database_id": DATABASE, "timeout": "4m"})
        with pytest.raises(Pending) as pending:
            await machine.run(short)
        _, session = machine.process()
        assert len(await session.journals["snapshot"].of(DATABASE)) == 1
        await resume(session, pending.value.record, RELEASE, Row(), owner=OURS)
        assert await session.journals["snapshot"].of(DATABASE) == []


@virtual
async def test_a_create_over_a_pending_snapshot_gives_it_up(tmp_path: Path) -> None:
    async with world(snapshot_seconds=400, cache_world="invalidated") as here:
        machine = Machine(here, tmp_path)
        with pytest.raises(Pending) as pending:
            await machine.run(SnapshotInputs.of({"database_id": DATABASE, "triggers": ["v1"], "timeout": "4m"}))
        post = pending.value.record.attempt
        assert post is not None
        _, session = machine.process()
        await session.journals["snapshot"].prove(Proof(DATABASE, posted_at=post.posted_at))  # the state has it
        record = await machine.run(RELEASE)
        assert record.version_id == accepted(here)[1]


@virtual
async def test_of_two_simultaneous_runs_one_waits_for_the_other(tmp_path: Path) -> None:
    async with world(snapshot_seconds=1000, cache_world="invalidated") as here:
        machine = Machine(here, tmp_path)
        ends: dict[str, str | None] = {}

        async def run(owner: str) -> None:
            ends[owner] = (await machine.run(owner=owner)).version_id

        async with anyio.create_task_group() as runs:
            runs.start_soon(run, OURS)
            runs.start_soon(run, ANOTHER)
        assert sorted(map(str, ends.values())) == sorted(map(str, accepted(here)))
        assert here.posts[1].monotonic - here.posts[0].monotonic >= 1000


@virtual
async def test_a_post_given_up_elsewhere_meanwhile_is_waited_for(tmp_path: Path) -> None:
    async with world(snapshot_seconds=400, cache_world="invalidated", modified_is="end") as here:
        machine = Machine(here, tmp_path)
        here.emulator.add_fault(Fault(kind="list", delay=10, times=1))
        ends: list[SnapshotRecord] = []

        async def ours() -> None:
            # No other run has sent a POST for this database yet. The search for a snapshot to reuse comes next.
            ends.append(await machine.run(replace(RELEASE, reuse_within=60.0)))

        async with anyio.create_task_group() as runs:
            runs.start_soon(ours)
            await anyio.sleep(1)
            with pytest.raises(Pending) as pending:
                await machine.run(SnapshotInputs.of({"database_id": DATABASE, "timeout": "2m"}), ANOTHER)
        assert [end.version_id for end in ends] == accepted(here)[1:]
        _, session = machine.process()
        theirs = await resume(session, pending.value.record, RELEASE, Row(), owner=ANOTHER)
        assert theirs.version_id == accepted(here)[0]


@pytest.mark.parametrize("resumed", [False, True])
@virtual
async def test_a_snapshot_just_found_by_another_stack_never_matches(tmp_path: Path, *, resumed: bool) -> None:
    # It ends a second before the first poll finds it, and so within the clock skew before the next POST.
    async with world(snapshot_seconds=209, cache_world="invalidated", modified_is="end") as here:
        machine = Machine(here, tmp_path)
        if resumed:
            with pytest.raises(Pending) as pending:
                await machine.run(SnapshotInputs.of({"database_id": DATABASE, "timeout": "2m"}))
            await anyio.sleep(90)
            _, session = machine.process()
            first = await read(session, pending.value.record, Row(), owner=OURS)
        else:
            first = await machine.run()
        second = await machine.run(owner=ANOTHER)
        assert here.posts[1].monotonic - here.posts[0].monotonic < 214
        assert [first.version_id, second.version_id] == accepted(here)


@virtual
async def test_a_run_killed_hours_ago_is_not_paid_for_twice(tmp_path: Path) -> None:
    async with world(snapshot_seconds=100) as here:
        machine = Machine(here, tmp_path)
        await machine.killed_after(20)
        await anyio.sleep(3 * 3600)
        row = Row()
        record = await machine.run(row=row)
        assert [record.version_id] == accepted(here)
        (told,) = row.warnings
        assert f"snapshot {record.id} was taken by an earlier run whose end did not reach the state, 3 h" in told


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"attempts": 7}', '{"attempts": [{"owner": 1}, 3]}'])
@virtual
async def test_a_damaged_journal_stops_no_run(tmp_path: Path, damage: str) -> None:
    async with world(snapshot_seconds=10) as here:
        machine = Machine(here, tmp_path)
        await machine.killed_after(1)
        _damage(tmp_path, damage)
        here.emulator.advance(200)
        row = Row()
        await machine.run(row=row)
        assert len(accepted(here)) == 2
        if damage in {"", "{", "[]"}:
            (warning,) = row.warnings
            assert "was lost" in warning
            assert str(tmp_path) in warning


@pytest.mark.parametrize(
    "nonsense",
    [
        {"posted_at": "9999-12-31T23:59:59Z"},
        {"earlier": "9999-12-31T23:59:59Z"},
        {"service_clock_offset": math.nan},
        {"service_clock_offset": 1e300},
        {"timeout": 1e30},
        {"answered": []},
        {"finished": []},
        {"database_id": "\ud800"},
    ],
    ids=str,
)
@virtual
async def test_an_entry_that_no_run_writes_is_ignored_and_kept(tmp_path: Path, nonsense: dict[str, Any]) -> None:
    async with world(snapshot_seconds=10) as here:
        machine = Machine(here, tmp_path)
        await machine.killed_after(1)
        (file,) = tmp_path.glob("*.attempts.json")  # noqa: ASYNC240  a test's own
        (entry,) = json.loads(file.read_text())["attempts"]
        entry = {name: nonsense.get(name, value) for name, value in entry.items()}
        entry["attempt"] |= {name: value for name, value in nonsense.items() if name not in entry}
        found = {"database_id": "\ud800", "version_id": "v", "at": "2026-03-01T12:00:00Z"}
        file.write_text(json.dumps({"attempts": [entry], "found": [found, {**found, "at": "9999-12-31T23:59:59Z"}]}))
        here.emulator.advance(200)
        await machine.run()
        assert len(accepted(here)) == 2
        assert json.dumps(entry) in json.dumps(json.loads(file.read_text()))
        _, session = machine.process()
        assert await find_snapshots(session, SnapshotQuery(), here.clock.monotonic())


@virtual
async def test_an_unusable_directory_is_reported_once(tmp_path: Path) -> None:
    async with world(databases=(DATABASE, OTHER_DATABASE), snapshot_seconds=10) as here:
        (tmp_path / "file").write_text("")
        machine = Machine(here, tmp_path / "file" / "below")
        _, session = machine.process()
        row = Row()
        for database_id in (DATABASE, OTHER_DATABASE):
            await create(session, SnapshotInputs(database_id), row, Asker(OURS))
        assert [warning for warning in row.warnings if "run one at a time" in warning] == row.warnings
        assert len(row.warnings) == 1


def test_the_files_hold_neither_key_nor_triggers(tmp_path: Path) -> None:
    secret = SnapshotInputs.of({"database_id": DATABASE, "triggers": ["a secret value"]})
    key: list[str] = []

    @virtual
    async def killed() -> None:
        async with world(snapshot_seconds=100) as here:
            key.append(here.emulator.settings.api_key)
            await Machine(here, tmp_path).killed_after(20, secret)

    killed()
    texts = list(_texts(tmp_path))
    assert len(texts) == 2
    for text in texts:
        assert key[0] not in text
        assert "a secret value" not in text


def _damage(folder: Path, content: str) -> None:
    for file in folder.glob("*.json"):
        file.write_text(content)


def _texts(folder: Path) -> Iterable[str]:
    return (f"{file.name} {file.read_text()}" for file in folder.glob("*.json"))


def test_a_later_process_with_the_same_number_is_another_one() -> None:
    here = this_process()
    assert here.is_running(here.name)
    pid, _, started = here.name.partition(" ")
    if started:
        assert not here.is_running(f"{pid} {int(started) + 1}")
    assert not here.is_running("")
    assert not here.is_running(f"{2**22 + 1} 7")


def test_an_ended_process_is_not_running_even_as_a_zombie() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here = this_process()
    name = f"{child.pid} {_started(child.pid)}"
    assert here.is_running(name)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    assert not here.is_running(name)
    child.communicate()


@virtual
async def test_an_entry_written_twice_counts_once_and_one_of_the_same_millisecond_stops_the_other(
    tmp_path: Path,
) -> None:
    async with world() as here:
        file = LockedFile(tmp_path / "attempts.json", here.clock)
        ours, theirs = (AttemptJournal(file, Process(name, {"a", "b"}.__contains__), here.clock) for name in "ab")
        post = Post(here.clock.utc(), None, "not awaited", 60.0)
        entry = Entry(OURS, DATABASE, "", post, ours.process.name)
        assert await ours.enter(entry, after=()) is not None
        assert await ours.enter(entry, after=()) is not None, "the answer to the first write was lost"
        assert await ours.of(DATABASE) == [entry]
        assert await theirs.enter(replace(entry, owner=ANOTHER, process="b"), after=()) is None
        assert await theirs.of(DATABASE) == [entry]


@virtual
async def test_an_old_entry_delays_no_run_though_its_process_seems_alive(tmp_path: Path) -> None:
    async with world(snapshot_seconds=100, cache_world="invalidated") as here:
        machine = Machine(here, tmp_path)
        await machine.killed_after(20)
        machine.running.add("process 1")  # another process has its number by now
        await anyio.sleep(3 * 3600)
        record = await machine.run(owner=ANOTHER)
        assert record.version_id == accepted(here)[1]


@virtual
async def test_a_snapshot_missing_in_the_state_is_found_by_the_journal(tmp_path: Path) -> None:
    async with world(snapshot_seconds=600, cache_world="invalidated") as here:
        machine = Machine(here, tmp_path)
        name, session = machine.process()
        row = Row(keeps=False)
        with pytest.raises(Pending):
            await create(session, SnapshotInputs.of({"database_id": DATABASE, "timeout": "3m"}), row, Asker(OURS))
        machine.running.discard(name)
        record = await machine.run(SnapshotInputs.of({"database_id": DATABASE}))
        assert [record.version_id] == accepted(here)


@virtual
async def test_reuse_adopts_the_snapshot_of_a_run_without_an_owner(tmp_path: Path) -> None:
    async with world(snapshot_seconds=100, cache_world="invalidated") as here:
        machine = Machine(here, tmp_path)
        name, session = machine.process()
        with pytest.raises(Pending):
            await create(session, SnapshotInputs.of({"database_id": DATABASE, "timeout": "95s"}), Row(keeps=False))
        machine.running.discard(name)
        await anyio.sleep(60)
        _, session = machine.process()
        again = SnapshotInputs.of({"database_id": DATABASE, "reuse_within": "1h"})
        record = await create(session, again, Row())
        assert [record.version_id] == accepted(here)
        assert await session.journals["snapshot"].of(DATABASE) == []
