"""What a scratch database is for: never one that a stack is about."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from pulumi_snapshots.archive.difference import ArchiveRules
from pulumi_snapshots.drill.difference import DrillRules
from pulumi_snapshots.drill.record import DrillInputs
from pulumi_snapshots.guard.book import GuardBook, consult
from pulumi_snapshots.ledger.place import Document
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.restore.restore import RestoreRefused
from pulumi_snapshots.run.calls import EngineCall, Rules
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.difference import SnapshotRules
from pulumi_snapshots.snapshot.record import SnapshotInputs, SnapshotRecord
from tests.cli.test_drill import desk
from tests.support.drilling import DRILLER, SCRATCH, DrillScene, drill_scene
from tests.support.engine_calls import Stack
from tests.support.failing import fails_with
from tests.support.guarding import Machine
from tests.support.memory import Memory
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OWNER, Row

HOUR = 3600.0
URL = f"https://snapshots.squarecloud.app/databases/account/{SCRATCH}.zip?versionId=v1"
VERSION = {"version_id": "v1"}
ZIP = {"destination": "/tmp/x.zip"}  # noqa: S108  nothing is written
ASKED = {"checks": [{"query": "select 1", "equals": 1}], "overwrite_scratch": True}
ONTO_IT: dict[str, Any] = {"target_database_id": SCRATCH, "overwrite": True}
ELSEWHERE_URL = "postgresql://x@y/z"
ELSEWHERE = {"connection": ELSEWHERE_URL, **ASKED}
USES: dict[str, tuple[Rules, dict[str, Any]]] = {
    "Snapshot": (SnapshotRules(), {"database_id": SCRATCH}),
    "Archive": (ArchiveRules(), {"database_id": SCRATCH, **VERSION, **ZIP}),
    "Archive of a URL": (ArchiveRules(), {"download_url": URL, **ZIP}),
    "Restore": (RestoreRules(), {"database_id": SCRATCH, **VERSION, "overwrite": True}),
    "Restore onto it": (
        RestoreRules(),
        {"database_id": DATABASE, **VERSION, **ONTO_IT},
    ),
    "Drill of it": (
        DrillRules(),
        {
            "database_id": SCRATCH,
            **VERSION,
            "scratch_database_id": "c" * 32,
            **ELSEWHERE,
        },
    ),
}


def calls(at: DrillScene) -> tuple[EngineCall, EngineCall]:
    """A call for the Drill and one for the other resource, of one run."""
    shared = at.stack.machine.process()
    settings = at.at.here.session.settings
    row = at.stack.row
    drill, other = (
        EngineCall(urn, lambda: settings, shared, row)
        for urn in (DRILLER, OWNER.replace("before-release", "other"))
    )
    return drill, other


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("first", ["the drill", "the other"])
@staged(drill_scene)
async def test_whichever_comes_second_fails_the_preview(
    at: DrillScene, use: str, first: str
) -> None:
    drill, other = calls(at)
    rules, values = USES[use]
    if first == "the other":
        assert rules.check(other, values) == []
        (problem,) = DrillRules().check(drill, at.values())
        assert problem.property == "scratch_database_id"
        assert str(problem.reason).startswith(
            f"must be used for drills only, but {use.split(maxsplit=1)[0]} 'other' uses it too: a drill overwrites"
        )
    else:
        assert DrillRules().check(drill, at.values()) == []
        (problem,) = rules.check(other, values)
        assert problem.property == (
            "target_database_id" if use == "Restore onto it" else "database_id"
        )
        assert (
            problem.reason
            == "must not be the scratch database of Drill 'proof', which overwrites it"
        )


@staged(drill_scene)
async def test_what_becomes_known_only_in_the_update_is_refused_before_the_request(
    at: DrillScene,
) -> None:
    """A guard works in the program's process, and the Drill in another one: the ledger tells."""
    drill, other = calls(at)
    assert DrillRules().check(drill, at.values()) == []
    SnapshotRules().check(other, {"database_id": SCRATCH})
    with fails_with(
        RestoreRefused,
        rf"scratch_database_id \({SCRATCH}\) must be used for drills only",
    ):
        await DrillRules().calls.create(drill, at.values())
    await at.stack.preview(**at.values())
    spelled = SCRATCH.upper()  # the same database, as its host's name shows
    for guarded in (DATABASE, spelled):
        await _guarded(at, guarded)
        if guarded == DATABASE:
            await at.passes(restores=1)
    await at.fails(
        f"but Guard 'shop::dev::guard::{spelled}' uses it too",
        triggers=["again"],
        restores=1,
    )


async def _guarded(at: DrillScene, database_id: str) -> None:
    """Note in the ledger that a guard of another program has a snapshot of a database."""
    note = partial(
        GuardBook.note,
        guard=f"shop::dev::guard::{database_id}",
        record=SnapshotRecord(database_id, "v1"),
    )
    await consult(at.session.ledger, note, writes=True)


class Forgetful(Memory):
    """A ledger of which one read fails."""

    fails_at = 0  # which read, counted from 1
    count = 0  # reads so far

    async def read(self) -> Document:
        self.count += 1
        if self.count == self.fails_at:
            raise self.unavailable("the disk did not answer")
        return await super().read()


@pytest.mark.parametrize("fails_at", range(1, 9))
@staged(drill_scene)
async def test_a_ledger_that_cannot_be_read_lets_no_drill_erase_a_guarded_database(
    at: DrillScene, fails_at: int
) -> None:
    """Whichever read fails: the request itself may find the ledger well again."""
    place = Forgetful(at.at.here.clock)
    at.stack.machine.place = at.stack.machine.memory = place
    at.stack.begin()
    await _guarded(at, SCRATCH)
    place.count = 0
    place.fails_at = fails_at
    await at.up()
    assert at.error
    assert not at.at.posts
    assert at.at.holds(SCRATCH) == "now"


def _other(at: DrillScene, rules: Rules, name: str = "other") -> Stack:
    """A stack of another program on the same machine, with one resource."""
    kind = rules.schema.name
    urn = f"urn:pulumi:prod::crm::pulumi-python:dynamic/squarecloud:{kind}::{name}"
    return Stack(rules, at.stack.machine, urn)


async def _snapshots(at: DrillScene) -> None:
    await _other(at, SnapshotRules()).up(database_id=SCRATCH)


async def _snapshots_another(at: DrillScene) -> None:
    await _other(at, SnapshotRules()).up(database_id=DATABASE)


async def _restores_onto_it(at: DrillScene) -> None:
    stored = at.at.stored
    await _other(at, RestoreRules()).up(
        database_id=DATABASE,
        version_id=stored.version_id,
        name=stored.name,
        runtime=stored.runtime,
        **ONTO_IT,
    )


async def _restores_its_snapshot(at: DrillScene) -> None:
    stored = at.at.here.emulator.add_snapshot(SCRATCH)
    await _other(at, RestoreRules()).up(
        database_id=SCRATCH,
        version_id=stored.version_id,
        name=stored.name,
        runtime=stored.runtime,
        target_database_id=DATABASE,
        overwrite=True,
    )
    at.at.writes("now")
    at.takes()


async def _drills_onto_it(at: DrillScene) -> None:
    await _other(at, DrillRules(), "Drill").up(**at.values())


async def _command(at: DrillScene) -> None:
    at.stack.begin()
    inputs = SnapshotInputs(SCRATCH)
    await create(at.session, inputs, at.stack.row, "squarecloud-snapshots create")


OTHERS: dict[Callable[[DrillScene], Awaitable[None]], str | None] = {
    _snapshots: "but 'other' of crm/prod has requested a snapshot of it at 2026-03-01T12:00:0",
    _restores_onto_it: f"but 'other' of crm/prod has requested the restore of {DATABASE}/",
    _restores_its_snapshot: f"but 'other' of crm/prod has requested the restore of {SCRATCH}/",
    _drills_onto_it: None,
    _snapshots_another: None,
    _command: None,
}
"""What another run of this machine does, and what that says against a drill."""


@pytest.mark.parametrize("acts", OTHERS)
@staged(drill_scene)
async def test_what_another_stack_uses_is_not_erased(
    at: DrillScene, acts: Callable[[DrillScene], Awaitable[None]]
) -> None:
    await acts(at)
    posts = len(at.at.posts)
    why = OTHERS[acts]
    if why is None:
        await at.passes()
        return
    await at.fails(
        "must be used for drills only", why, "which keeps drills away until 2026-03-02"
    )
    assert len(at.at.posts) == posts
    # A resource that has left its program is not in the way for ever.
    await anyio.sleep(25 * HOUR)
    await at.passes()


@staged(drill_scene)
async def test_what_a_guard_is_about_to_guard_is_not_erased(at: DrillScene) -> None:
    machine = Machine(at.at.here, at.stack.machine.memory)
    async with anyio.create_task_group() as group:
        group.start_soon(
            partial(machine.program().change, "update", database_id=SCRATCH)
        )
        await anyio.sleep(5.0)
        await at.fails("but a Guard has requested a snapshot of it")
        assert not at.at.posts
        group.cancel_scope.cancel()


@pytest.mark.parametrize("user", ["a stack", "a guard"])
@virtual
async def test_the_command_does_not_erase_what_a_program_uses(
    user: str, tmp_path: Path
) -> None:
    async with desk(tmp_path) as at:
        place = Memory(at.w.clock)
        at.place = lambda: place
        session = at.w.another_run(place, api_url=at.w.emulator.api_url)
        if user == "a guard":
            record = SnapshotRecord(SCRATCH, "v1")
            note = partial(GuardBook.note, guard="acme/shop/prod/before", record=record)
            await consult(session.ledger, note, writes=True)
        else:
            await create(session, SnapshotInputs(SCRATCH), Row(), OWNER)
        for more in ((), ("--new",)):
            (await at.drills(DATABASE, *more)).failed(
                "must be used for drills only, but"
            )
        assert not at.w.requests("restore")


@staged(drill_scene)
async def test_an_id_in_capitals_is_the_same_database(at: DrillScene) -> None:
    drill, other = calls(at)
    assert SnapshotRules().check(other, {"database_id": SCRATCH}) == []
    loud = {**at.values(), "scratch_database_id": SCRATCH.upper()}
    (problem,) = DrillRules().check(drill, loud)
    assert problem.property == "scratch_database_id"
    own = {
        **at.values(),
        "scratch_database_id": DATABASE.upper(),
        "connection": ELSEWHERE_URL,
    }
    (problem,) = DrillInputs.problems(own)
    assert "must be another database than the snapshot's own" in str(problem.reason)


@staged(drill_scene)
async def test_a_connection_to_another_engine_is_refused_before_the_request(
    at: DrillScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulumi_snapshots.drill.record.lacking", lambda _: "")
    why = "Connection must be to PostgreSQL, as the snapshot is of it, not to Redis."
    await at.fails(
        why,
        "Nothing was restored.",
        connection="redis://scratch.example",
        runtime=None,
        name=None,
    )
    assert not at.at.posts


@staged(drill_scene)
async def test_a_drill_is_not_passed_by_what_another_client_has_restored_since(
    at: DrillScene,
) -> None:
    """No ledger shows that restore, and the service no longer does."""
    other, checks = at.other_data()
    await at.fails(checks=checks)
    await anyio.sleep(HOUR)
    await at.at.somebody_restores(other, SCRATCH)
    await anyio.sleep(3 * HOUR)
    # its own snapshot is restored again before it is asked
    await at.fails(checks=checks, restores=3)


@staged(drill_scene, restore_seconds=2 * HOUR)
async def test_a_restore_that_takes_longer_than_every_is_watched_and_not_sent_again(
    at: DrillScene,
) -> None:
    await at.up(timeout="3m", every="1h")
    await anyio.sleep(1.5 * HOUR)
    kept = await at.passes(timeout="1h", every="1h", restores=1)
    assert "restore_seconds" not in kept, "nobody waits for a restore that long"
