"""Machines that share a place: one POST, and the limits, over all of them; and no POST without its entry there."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio
import pytest

from pulumi_snapshots.api.errors import Blocked
from pulumi_snapshots.attempt.journal import READ_PATIENCE, Entry, Proof
from pulumi_snapshots.attempt.memory import RunMemory
from pulumi_snapshots.attempt.owner import Asker, EngineRun
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.clock import Clock, rfc3339
from pulumi_snapshots.emulator import Fault
from pulumi_snapshots.errors.next_step import Step
from pulumi_snapshots.errors.outcomes import SharedStateUnavailable
from pulumi_snapshots.errors.pages import page_of
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.restore.inputs import RestoreInputs
from pulumi_snapshots.restore.restore import RestoreRefused, restore
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.shared_file import AGAIN_AFTER
from pulumi_snapshots.shared_state.folder import Folder
from pulumi_snapshots.shared_state.leases import LEASE
from pulumi_snapshots.snapshot.create import Pending, create
from pulumi_snapshots.snapshot.difference import SnapshotRules
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.read import read
from pulumi_snapshots.snapshot.record import SNAPSHOT, SnapshotRecord
from tests.support.engine_calls import Machine, Stack
from tests.support.shared_places import Place
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, OWNER, START, Row, World, world

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pulumi_snapshots.run.calls import Rules

ANOTHER = OWNER.replace("before-release", "another")
HOUR = timedelta(hours=1)


@dataclass
class Team:
    """Machines that share a place."""

    here: World
    folder: Path
    place: Place = field(init=False)
    started: int = 0

    def __post_init__(self) -> None:
        self.place = Place(self.here.clock)

    def machine(self, off: timedelta = timedelta()) -> Session:
        """A process on a new machine, whose clock is off."""
        self.started += 1
        clock = Clock(self.here.clock.utc() + off) if off else self.here.clock
        clock.utc()
        return Session(
            self.here.session.settings,
            RunMemory(),
            clock=clock,
            http=self.here.transport,
            state=self.folder / f"machine {self.started}",
            shared=self.place.bucket(clock),
        )

    async def create(
        self, session: Session | None = None, *, owner: str = OWNER, row: Row | None = None, **inputs: Any
    ) -> SnapshotRecord:
        values = {"database_id": DATABASE, "triggers": ["v1"], "timeout": "45m", **inputs}
        return await create(session or self.machine(), SnapshotInputs.of(values), row or Row(), Asker(owner))

    async def killed(
        self, after: float, session: Session | None = None, work: Callable[..., Any] | None = None
    ) -> None:
        """Run a create, or other work, and kill it: the place keeps what it has written."""
        session = session or self.machine()
        async with anyio.create_task_group() as process:
            process.start_soon(work or self.create, session)
            await anyio.sleep(after)
            for journal in session.journals.values():
                journal.file = None
            process.cancel_scope.cancel()

    @property
    def accepted(self) -> list[str | None]:
        return [post.version_id for post in self.here.posts if post.accepted]


@pytest.mark.parametrize("off", [timedelta(), HOUR, -HOUR], ids=["clocks together", "an hour ahead", "an hour behind"])
@pytest.mark.parametrize("after", [10.0, 95.0, 250.0], ids=["POST open", "202 answered", "waiting"])
@virtual
async def test_a_run_killed_on_one_machine_is_resumed_on_another(tmp_path: Path, after: float, off: timedelta) -> None:
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        team = Team(here, tmp_path)
        await team.killed(after, team.machine(off))
        record = await team.create()
        assert [record.version_id] == team.accepted
        assert here.clock.utc() - START < timedelta(seconds=300 + LEASE + 60)


@pytest.mark.parametrize("off", [timedelta(), HOUR, -HOUR], ids=["clocks together", "an hour ahead", "an hour behind"])
@virtual
async def test_a_run_that_lives_on_one_machine_is_not_taken_over_on_another(tmp_path: Path, off: timedelta) -> None:
    async with world(snapshot_seconds=900, cache_world="invalidated") as here:
        team = Team(here, tmp_path)
        row = Row()
        records: list[SnapshotRecord] = []

        async def take(session: Session, row: Row) -> None:
            records.append(await team.create(session, row=row))

        async with anyio.create_task_group() as group:
            group.start_soon(take, team.machine(off), Row())
            await anyio.sleep(600)  # many leases later
            group.start_soon(take, team.machine(), row)
        assert [record.version_id for record in records] == team.accepted * 2
        assert "waiting for another run's snapshot of this database" in "".join(row.shown)


@virtual
async def test_a_restore_killed_on_one_machine_acts_once_over_all(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10) as here:
        team = Team(here, tmp_path)
        stored = here.emulator.add_snapshot(DATABASE)
        inputs = RestoreInputs.of({"database_id": DATABASE, "version_id": stored.version_id, "overwrite": True})

        async def put_back(session: Session) -> Any:
            return await restore(session, inputs, Row(), Asker(OWNER))

        await team.killed(5, work=put_back)
        await put_back(team.machine())
        assert len(here.requests("restore")) == 1


@virtual
async def test_machines_that_start_together_take_two_snapshots_and_never_one_version(tmp_path: Path) -> None:
    async with world(snapshot_seconds=60, cache_world="invalidated") as here:
        team = Team(here, tmp_path)
        records: list[SnapshotRecord] = []

        async def take(session: Session, owner: str) -> None:
            records.append(await team.create(session, owner=owner))

        async with anyio.create_task_group() as group:
            for owner in (OWNER, ANOTHER):
                group.start_soon(take, team.machine(), owner)
        assert sorted(str(record.version_id) for record in records) == sorted(map(str, team.accepted))
        assert len(set(team.accepted)) == 2
        first, second = (post.monotonic for post in here.posts)
        assert second - first >= 180  # the service's limit for one database


@pytest.mark.parametrize("what", ["snapshot", "restore"])
@virtual
async def test_two_runs_of_one_resource_that_start_together_send_one_request(tmp_path: Path, what: str) -> None:
    """The second one has read the journal before the first one's entry, and waits for its slot until the first is over."""
    async with world(snapshot_seconds=10, restore_seconds=5.0, cache_world="invalidated") as here:
        team = Team(here, tmp_path)
        stored = here.emulator.add_snapshot(DATABASE)
        await anyio.sleep(4000)
        inputs = RestoreInputs.of({"database_id": DATABASE, "version_id": stored.version_id, "overwrite": True})
        records: list[Any] = []

        async def run(session: Session) -> None:
            done = team.create(session) if what == "snapshot" else restore(session, inputs, Row(), Asker(OWNER))
            records.append(await done)

        async with anyio.create_task_group() as group:
            group.start_soon(run, team.machine())
            await anyio.sleep(0.1)
            group.start_soon(run, team.machine())
        first, second = ((record.id, record.requested_at) for record in records)
        assert first == second
        assert len(here.posts) + len(here.requests("restore")) == 1


@virtual
async def test_a_snapshot_that_comes_while_the_entry_is_written_is_not_ours(tmp_path: Path) -> None:
    async with world(snapshot_seconds=200, cache_world="invalidated") as here:
        team = Team(here, tmp_path)
        team.place.lags["attempts"] = 50.0

        async def take_another() -> None:
            await anyio.sleep(30)
            here.emulator.add_snapshot(DATABASE)

        async with anyio.create_task_group() as group:
            group.start_soon(take_another)
            record = await team.create()
        assert [record.version_id] == team.accepted
        assert len(await team.machine().journals["snapshot"].all()) == 1


@virtual
async def test_a_laptop_that_wakes_up_restores_nothing_over_a_later_restore(tmp_path: Path) -> None:
    """It was suspended between the entry and the request, for longer than its lease."""
    async with world(snapshot_seconds=10, restore_seconds=30.0) as here:
        team = Team(here, tmp_path)
        old, new = (here.emulator.add_snapshot(DATABASE).version_id for _ in "ab")

        async def put_back(version: str) -> Any:
            values = {"database_id": DATABASE, "version_id": version, "overwrite": True, "triggers": [version]}
            return await restore(team.machine(), RestoreInputs.of({**values, "timeout": "45m"}), Row(), Asker(OWNER))

        async def suspended() -> None:
            with pytest.raises(RestoreRefused, match=f"has requested the restore of snapshot {DATABASE}/{new}"):
                await put_back(old)

        async with anyio.create_task_group() as group:
            team.place.lags["restores"] = 900.0
            group.start_soon(suspended)
            await anyio.sleep(300)
            await put_back(new)
        assert [post.version_id for post in here.requests("restore")] == [new]
        assert [entry.finished is not None for entry in await team.machine().journals["restore"].all()] == [True]


@virtual
async def test_a_laptop_that_wakes_up_completes_from_what_another_machine_took(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        team = Team(here, tmp_path)
        laptop, records = team.machine(), list[Any]()

        async def suspended() -> None:
            # What it waits for does not time out while it is suspended.
            with mock.patch.object(laptop, "until", return_value=nullcontext()):
                records.append(await team.create(laptop))

        async with anyio.create_task_group() as group:
            team.place.lags["attempts"] = 3.5 * 3600
            group.start_soon(suspended)
            await anyio.sleep(600)
            with pytest.raises(Pending):
                await team.create()
            await anyio.sleep(2 * 3600)
            records.append(await team.create())
        assert [record.version_id for record in records] == team.accepted * 2
        assert len(here.posts) == 1


@pytest.mark.parametrize("off", [-HOUR, HOUR], ids=["an hour behind", "an hour ahead"])
@virtual
async def test_another_clock_proves_no_failure_of_a_post_without_an_answer(tmp_path: Path, off: timedelta) -> None:
    async with world(snapshot_seconds=120, cache_world="invalidated") as here:
        team = Team(here, tmp_path)
        with pytest.raises(Pending) as pending:
            await team.create(timeout="30s")
        assert getattr(pending.value.record.attempt, "service_clock_offset", 0.0) is None
        await anyio.sleep(3.5 * 3600)
        alone = team.machine(off)
        alone.journals["snapshot"].file = None  # nothing shows how far the clocks are apart
        record = await read(alone, pending.value.record, Row(), owner=OWNER)
        assert record.pending
        assert getattr(record.attempt, "missing_since", 0.0) is None
        found = await read(team.machine(off), pending.value.record, Row(), owner=OWNER)
        assert [found.version_id] == team.accepted


@virtual
async def test_machines_keep_the_accounts_limits_together(tmp_path: Path) -> None:
    databases = [f"{number:032x}" for number in range(8)]
    async with world(databases=tuple(databases), snapshot_seconds=30, cache_world="invalidated") as here:
        team = Team(here, tmp_path)
        async with anyio.create_task_group() as group:
            for off, some in ((timedelta(), databases[::2]), (HOUR, databases[1::2])):
                session = team.machine(off)
                for database_id in some:
                    group.start_soon(partial(team.create, session, owner=database_id, database_id=database_id))
        posted = sorted(post.monotonic for post in here.posts)
        assert len(team.accepted) == len(posted) == 8, "none was refused"
        assert min(later - earlier for earlier, later in pairwise(posted)) >= 5


@virtual
async def test_a_block_on_one_machine_stops_the_others(tmp_path: Path) -> None:
    async with world() as here:
        team = Team(here, tmp_path)
        here.emulator.add_fault(Fault(kind="list", status=429, code="RATE_LIMITED"))
        with pytest.raises(Blocked):
            await team.machine().client.list_snapshots(DATABASE)
        with pytest.raises(Blocked, match="not sent"):
            await team.create()
        assert not here.posts


RULES: dict[str, Rules] = {"snapshot": SnapshotRules(), "restore": RestoreRules()}
TROUBLES: dict[str, Callable[[Place], None]] = {
    "missing": lambda place: vars(place).update(fails="the bucket does not exist"),
    "read-only": lambda place: vars(place).update(refuses="AccessDenied"),
    "full": lambda place: vars(place).update(refuses="QuotaExceeded"),
    "without conditions": lambda place: vars(place).update(ignores_marks=True),
}


def fill(place: Place, session: Session, content: str) -> str:
    """Let the journal hold something; returns the object's name."""
    name = f"{session.settings.service()}.attempts.json"
    place.put(name, content.encode())
    return name


@pytest.mark.parametrize("trouble", TROUBLES)
@virtual
async def test_no_post_leaves_without_its_entry_in_the_shared_place(tmp_path: Path, trouble: str) -> None:
    async with world() as here:
        team = Team(here, tmp_path)
        TROUBLES[trouble](team.place)
        with pytest.raises(SharedStateUnavailable, match="Nothing was started") as unavailable:
            await team.create()
        assert str(unavailable.value).count("s3://") == 1
        assert page_of(unavailable.value) == "shared-state-unavailable"
        assert not here.posts
        vars(team.place).update(fails="", refuses="", ignores_marks=False)
        assert [(await team.create()).version_id] == team.accepted


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "something else"),
        ("[1]", "something else"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "something else"),
        ('{"format": 2, "attempts": {}}', "a later version"),
        ('{"format": "x"}', "a later version"),
    ],
)
@virtual
async def test_what_cannot_be_read_stays_as_it_is_and_stops_every_post(tmp_path: Path, content: str, why: str) -> None:
    async with world() as here:
        team = Team(here, tmp_path)
        session = team.machine()
        name = fill(team.place, session, content)
        with pytest.raises(SharedStateUnavailable, match=why):
            await team.create(session)
        assert not here.posts
        assert team.place.held[name].content == content.encode()


@virtual
async def test_an_entry_of_another_program_stays_as_it_is(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10) as here:
        team = Team(here, tmp_path)
        session = team.machine()
        name = fill(team.place, session, '{"attempts": ["x"], "leases": {"y": "z"}, "more": 1}')
        await team.create(session)
        left = json.loads(team.place.held[name].content)
        assert (left["attempts"][0], left["more"]) == ("x", 1)


@virtual
async def test_a_slow_place_delays_a_create_and_changes_nothing_else(tmp_path: Path) -> None:
    async with world(snapshot_seconds=200, cache_world="invalidated") as here:
        team = Team(here, tmp_path)
        team.place.delay = 2.0
        assert [(await team.create()).version_id] == team.accepted
        assert len(here.posts) == 1


@pytest.mark.parametrize("after", [5.0, 100.0], ids=["POST open", "waiting"])
@pytest.mark.parametrize("fails", ["no answer", "ExpiredToken: the token has expired"])
@virtual
async def test_a_place_that_is_gone_in_the_middle_loses_no_snapshot(tmp_path: Path, fails: str, after: float) -> None:
    async with world(snapshot_seconds=200, cache_world="invalidated") as here:
        team, row, records = Team(here, tmp_path), Row(), list[Any]()
        session = team.machine()

        async def take() -> None:
            records.append(await team.create(session, row=row))

        async with anyio.create_task_group() as group:
            group.start_soon(take)
            await anyio.sleep(after)
            team.place.fails = fails
        assert [record.version_id for record in records] == team.accepted
        assert any(fails in warning for warning in row.warnings), row.warnings
        with pytest.raises(SharedStateUnavailable):
            await team.create(session, owner=ANOTHER, database_id=OTHER_DATABASE)
        assert len(here.posts) == 1
        team.place.fails = ""
        # The state of that run could not be saved either: another machine completes from what the place has.
        assert (await team.create()).version_id == records[0].version_id
        assert len(here.posts) == 1


@virtual
async def test_a_process_makes_up_for_what_it_could_not_write(tmp_path: Path) -> None:
    async with world(databases=(DATABASE, OTHER_DATABASE), snapshot_seconds=20, cache_world="invalidated") as here:
        team = Team(here, tmp_path)
        session = team.machine()

        async def fail() -> None:
            await anyio.sleep(3)
            team.place.fails = "no answer"

        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            record = await team.create(session)
        team.place.fails = ""
        await anyio.sleep(70)
        await team.create(session, owner=ANOTHER, database_id=OTHER_DATABASE)
        ends = {entry.database_id: entry.finished for entry in await session.journals["snapshot"].all()}
        assert ends[DATABASE] == record.version_id


@virtual
async def test_a_place_that_never_answers_delays_no_read_of_a_resource(tmp_path: Path) -> None:
    async with world() as here:
        team = Team(here, tmp_path)
        session = team.machine()
        team.place.delay = 1000.0
        began = here.clock.monotonic()
        await session.journals["snapshot"].prove(Proof(DATABASE, finished="v1"))
        await session.journals["snapshot"].prove(Proof(DATABASE, finished="v2"))
        assert here.clock.monotonic() - began <= 5
        assert not await session.journals["snapshot"].recently_found()


@pytest.mark.parametrize("lease", [9e11, 4e9, 10**400], ids=["far", "in decades", "no number of seconds"])
@virtual
async def test_a_lease_that_is_nonsense_holds_up_a_database_for_one_lease_only(tmp_path: Path, lease: float) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        team = Team(here, tmp_path)
        await team.killed(1.0)
        (name,) = (name for name in team.place.held if ".attempts." in name)
        content = json.loads(team.place.held[name].content)
        dead = content["attempts"][0]["process"]
        team.place.put(name, json.dumps({**content, "leases": {dead: lease}}).encode())
        began = here.clock.monotonic()
        assert [(await team.create()).version_id] == team.accepted
        assert here.clock.monotonic() - began < LEASE + 30
        assert json.loads(team.place.held[name].content).get("leases", {}).get(dead, 0.0) < here.clock.utc().timestamp()


@pytest.mark.parametrize("kind", ["snapshot", "restore"])
@virtual
async def test_what_was_done_before_shared_state_was_turned_on_is_not_done_again(tmp_path: Path, kind: str) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        if kind == "restore":
            values |= {"version_id": here.emulator.add_snapshot(DATABASE).version_id, "overwrite": True}
        machine = Machine(here, tmp_path / "first")
        stack = Stack(RULES[kind], machine, OWNER)
        await stack.up(saves=False, **values)
        await anyio.sleep(1000)
        machine.place = place = Place(here.clock)
        await machine.process().journals(here.session.settings)[kind].all()  # any run that reads it moves it
        second = stack.machine = Machine(here, tmp_path / "second", place=place)
        await stack.up(**values)
        assert len(here.posts) + len(here.requests("restore")) == 1
        assert "state was not saved" in "".join(stack.row.warnings)
        await stack.destroy()
        for each in (machine, second):
            stack.machine = each
            await anyio.sleep(1000)
            await stack.up(**values)
            assert stack.error is None
            await stack.destroy()
        assert len(here.posts) + len(here.requests("restore")) == 3


HICCUPS: dict[str, dict[str, list[Any]]] = {"slow": {"slow": [6.0]}, "failed once": {"failing": ["connection reset"]}}


@pytest.mark.parametrize("hiccup", HICCUPS)
@pytest.mark.parametrize("kind", ["snapshot", "restore"])
@virtual
async def test_what_was_destroyed_is_not_handed_out_after_one_bad_read(tmp_path: Path, kind: str, hiccup: str) -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        place = Place(here.clock)
        stack = Stack(RULES[kind], Machine(here, tmp_path, place=place), OWNER)
        values: dict[str, Any] = {"database_id": DATABASE, "triggers": ["v1"]}
        if kind == "restore":
            values |= {"version_id": here.emulator.add_snapshot(DATABASE).version_id, "overwrite": True}
        for _ in range(2):
            await stack.up(**values)
            await anyio.sleep(1000)
            vars(place).update({name: list(each) for name, each in HICCUPS[hiccup].items()})
            await stack.destroy()
            await anyio.sleep(1000)
        assert len(here.posts) + len(here.requests("restore")) == 2


@virtual
async def test_many_deletes_wait_once_for_a_place_that_never_answers(tmp_path: Path) -> None:
    async with world() as here:
        place = Place(here.clock, delay=30.0, fails="no answer")
        stack = Stack(SnapshotRules(), Machine(here, tmp_path, place=place), OWNER)
        stack.begin()

        async def delete(number: int) -> None:
            record = SnapshotRecord(DATABASE, f"v{number}", created_at=rfc3339(START - timedelta(minutes=number)))
            stack.urn = f"{OWNER}-{number}"
            await stack.rules.note_delete(stack._call(), SNAPSHOT.state(record, {"database_id": DATABASE}))

        began = here.clock.monotonic()
        for number in range(20):
            await delete(number)
        assert here.clock.monotonic() - began <= READ_PATIENCE + 30
        place.fails, place.delay = "", 0.05
        await anyio.sleep(AGAIN_AFTER)
        await delete(20)
        left = await stack._call().shared.journals(here.session.settings)["snapshot"].all()
        assert len(left) == 21, "what was not written then follows"


@virtual
async def test_what_a_run_deletes_is_left_to_it_on_its_own_machine_and_for_a_day(tmp_path: Path) -> None:
    async with world() as here:
        team = Team(here, tmp_path)
        journal = team.machine().journals["snapshot"]
        other = team.machine().journals["snapshot"]
        run = journal.run_of(EngineRun("7 1234"))
        assert journal.run_of(EngineRun("7 1234")) == run != journal.run_of(EngineRun())
        post = Post(here.clock.utc() - timedelta(days=40), 0.0, "202", 60.0)
        kept = Entry(OWNER, DATABASE, "", post, journal.process.name, finished="v1", run=run)
        for what in (run, journal.run_of(EngineRun())):
            await journal.let_go(replace(kept, run=what))
            for hours, there in ((20, [what]), (5, [])):
                await anyio.sleep(hours * 3600)
                entry = Entry(
                    ANOTHER, OTHER_DATABASE, "", replace(post, posted_at=here.clock.utc()), other.process.name
                )
                await other.enter(entry, after=await other.of(OTHER_DATABASE))
                assert [one.run for one in await other.of(DATABASE)] == there


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["an hour ahead", "an hour behind"])
@virtual
async def test_what_a_machine_found_lately_is_as_old_on_another_one(tmp_path: Path, off: timedelta) -> None:
    async with world(snapshot_seconds=10) as here:
        team = Team(here, tmp_path)
        await team.create(team.machine(off))
        await anyio.sleep(600)
        session = team.machine()
        journal = session.journals["snapshot"]
        await journal.of(DATABASE)
        (found,) = await journal.recently_found()
        assert abs((here.clock.utc() - found.at).total_seconds() - 600) < 5


@virtual
async def test_a_write_whose_answer_was_lost_counts_once(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10) as here:
        team = Team(here, tmp_path)
        session, row = team.machine(), Row()
        team.place.loses = ["attempts", "requests"]
        record = await team.create(session, row=row)
        assert [record.version_id] == team.accepted
        assert len(await session.journals["snapshot"].all()) == 1
        assert not team.place.loses
        assert not [text for text in (*row.shown, *row.warnings) if "waiting for another" in text or "failed" in text]


@virtual
async def test_a_place_that_fails_while_a_post_is_queued_keeps_it_back(tmp_path: Path) -> None:
    async with world(databases=(DATABASE, OTHER_DATABASE), snapshot_seconds=10) as here:
        team = Team(here, tmp_path)
        session, ends = team.machine(), list[Exception]()

        async def second() -> None:
            with pytest.raises(SharedStateUnavailable) as kept_back:
                await team.create(session, owner=ANOTHER, database_id=OTHER_DATABASE)
            ends.append(kept_back.value)

        async with anyio.create_task_group() as group:
            group.start_soon(team.create, session)
            await anyio.sleep(1)
            group.start_soon(second)  # it has read the place, and waits for its slot
            await anyio.sleep(1)
            team.place.fails = "no answer"
        assert [post.database_id for post in here.posts] == [DATABASE]
        assert "Nothing was started" in str(ends[0])
        team.place.fails = ""
        began = here.clock.monotonic()
        await team.create(session, owner=ANOTHER, database_id=OTHER_DATABASE)
        assert here.posts[1].monotonic - began < 10, (
            "a POST that was kept back has started a cooldown, or left an entry"
        )


@virtual
async def test_a_place_that_fails_right_before_a_restore_keeps_it_back(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10) as here:
        team = Team(here, tmp_path)
        session, stored = team.machine(), here.emulator.add_snapshot(DATABASE)
        inputs = RestoreInputs.of({"database_id": DATABASE, "version_id": stored.version_id, "overwrite": True})
        await session.journals["restore"].of(DATABASE)  # the place is open, and read until the POST is to leave
        team.place.refuses = "ExpiredToken"
        with pytest.raises(SharedStateUnavailable, match="Nothing was started"):
            await restore(session, inputs, Row(), Asker(OWNER))
        assert not here.requests("restore")
        team.place.refuses = ""
        await restore(session, inputs, Row(), Asker(OWNER))
        assert len(here.requests("restore")) == 1


@virtual
async def test_an_edit_goes_by_what_is_there_and_not_by_what_was_seen(tmp_path: Path) -> None:
    async with world() as here:
        team = Team(here, tmp_path)
        ours, theirs = (team.place.bucket(here.clock).file("x") for _ in "ab")
        await ours.change(lambda content: content.update(n=1))
        await theirs.change(lambda content: content.pop("n"))
        assert await ours.change(lambda content: content.setdefault("n", 2)) == 2
        assert (await theirs.read())["n"] == 2


@virtual
async def test_edits_that_wait_are_written_together(tmp_path: Path) -> None:
    async with world() as here:
        team = Team(here, tmp_path)
        file = team.place.bucket(here.clock).file("x.many.json")
        await file.ready()
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(file.change, lambda content, number=number: content.update({str(number): True}))
        assert len(await file.read()) == 50 + 1  # and the format
        assert team.place.written("many") == 2


@virtual
async def test_twenty_machines_at_a_slow_place_can_all_write(tmp_path: Path) -> None:
    async with world() as here:
        team = Team(here, tmp_path)
        team.place.delay = 1.0

        async def write(number: int) -> None:
            file = team.place.bucket(here.clock).file("x.many.json")
            for time in "abc":
                await file.change(partial(dict.update, **{f"{number} {time}": True}))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(write, number)
        assert team.place.written("many") == 60, "each wrote what it had to"
        assert team.place.calls < 15 * 60, "they would refuse each other all the time without pauses"


@virtual
async def test_a_create_writes_the_journal_as_often_as_on_one_machine(tmp_path: Path) -> None:
    async with world(snapshot_seconds=10) as here:
        team = Team(here, tmp_path)
        await team.create()
        assert team.place.written("attempts") == 2
        assert team.place.written("requests") == len(here.emulator.journal) + 1  # the POST leaves after its entry is in


@virtual
async def test_a_setting_alone_opens_nothing(tmp_path: Path) -> None:
    async with world() as here:
        settings = replace(here.session.settings, shared_state="s3://bucket/prefix")
        session = Session(settings, clock=here.clock, http=here.transport, state=tmp_path)
        assert session.shared_state is not None
        assert session.shared_state.ahead is None
        assert session.shared_state.where == "s3://bucket/prefix"


@virtual
async def test_what_no_state_keeps_is_found_by_every_machine_and_says_so(tmp_path: Path) -> None:
    async with world(snapshot_seconds=600, cache_world="invalidated") as here:
        team = Team(here, tmp_path)
        with pytest.raises(Pending) as pending:
            await team.create(timeout="3m", row=Row(keeps=False))
        steps = [each.step for each in pending.value.unkept(remembered=True, everywhere=True)]
        assert Step.KEEP_WAITING in steps
        assert Step.SNAPSHOT_KEPT_HERE not in steps
        await anyio.sleep(LEASE)
        assert [(await team.create()).version_id] == team.accepted


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (lambda file: file.write_text("[]"), "something else"),
        (lambda file: file.write_text('{"format": 2}'), "a later version"),
        (lambda file: file.mkdir(), "directory"),
        (lambda file: file.with_suffix(".lock").mkdir(), "directory"),
        (lambda file: file.parent.rmdir(), "No such file"),
    ],
    ids=["garbage", "a later version", "no file", "no lock", "gone in the middle"],
)
@virtual
async def test_a_folder_in_trouble_is_an_error_and_stays_as_it_is(
    tmp_path: Path, trouble: Callable[[Path], Any], why: str
) -> None:
    path = tmp_path / "shared"
    path.mkdir()
    file = Folder(path, Clock()).file("x.json")
    await file.ready()
    trouble(path / "x.json")
    before = (path / "x.json").read_bytes() if (path / "x.json").is_file() else None
    with pytest.raises(SharedStateUnavailable, match=why):
        await file.change(lambda content: content.update(a=1))
    assert why in file.trouble
    assert ((path / "x.json").read_bytes() if (path / "x.json").is_file() else None) == before
