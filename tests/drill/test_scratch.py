"""What a scratch database is for: never one that the stack is about, and shared by drills that do not mix."""

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from pulumi_snapshots.archive.difference import ArchiveRules
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.drill import calls as acts
from pulumi_snapshots.drill.calls import ArchiveNotDrilled
from pulumi_snapshots.drill.difference import DrillRules
from pulumi_snapshots.drill.record import DrillInputs
from pulumi_snapshots.guard.book import GuardBook, consult
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.restore.restore import RestoreRefused
from pulumi_snapshots.run.calls import EngineCall, Rules
from pulumi_snapshots.snapshot.difference import SnapshotRules
from pulumi_snapshots.snapshot.record import SnapshotRecord
from tests.archive.scene import at_once
from tests.support.drilling import CONNECTION, DRILLER, SCRATCH, DrillScene, drill_scene
from tests.support.failing import fails_with
from tests.support.shelved import shelve, zipped
from tests.support.virtual import staged
from tests.support.world import DATABASE, OWNER

HOUR = 3600.0
URL = f"https://snapshots.squarecloud.app/databases/account/{SCRATCH}.zip?versionId=v1"
VERSION, ZIP = {"version_id": "v1"}, {"destination": "/tmp/x.zip"}  # noqa: S108  nothing is written
ASKED = {"checks": [{"query": "select 1", "equals": 1}], "overwrite_scratch": True}
ARCHIVED = {"archive": "/tmp/x.zip", "connection": CONNECTION, **ASKED}  # noqa: S108  nothing is read
ONTO_IT = {"target_database_id": SCRATCH, "overwrite": True}
ELSEWHERE = {"connection": "postgresql://x@y/z", **ASKED}
USES: dict[str, tuple[Rules, dict[str, Any]]] = {
    "Snapshot": (SnapshotRules(), {"database_id": SCRATCH}),
    "Archive": (ArchiveRules(), {"database_id": SCRATCH, **VERSION, **ZIP}),
    "Archive of a URL": (ArchiveRules(), {"download_url": URL, **ZIP}),
    "Restore": (RestoreRules(), {"database_id": SCRATCH, **VERSION, "overwrite": True}),
    "Restore onto it": (RestoreRules(), {"database_id": DATABASE, **VERSION, **ONTO_IT}),
    "Drill of it": (
        DrillRules(),
        {"database_id": SCRATCH, **VERSION, "scratch_database_id": "c" * 32, **ELSEWHERE},
    ),
}


def calls(at: DrillScene) -> tuple[EngineCall, EngineCall]:
    """A call for the Drill and one for the other resource, of one run."""
    shared, settings, row = at.stack.machine.process(), at.at.here.session.settings, at.stack.row
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
        RestoreRefused, rf"scratch_database_id \({SCRATCH}\) must be used for drills only"
    ):
        await DrillRules().calls.create(drill, at.values())
    await at.stack.preview(**at.values())
    for guarded in (DATABASE, SCRATCH):
        note = partial(
            GuardBook.note,
            guard=f"shop::dev::guard::{guarded}",
            record=SnapshotRecord(guarded, "v1"),
        )
        await consult(at.session.ledger, note, writes=True)
        if guarded == DATABASE:
            await at.passes(restores=1)
    await at.fails(
        f"but Guard 'shop::dev::guard::{SCRATCH}' uses it too", triggers=["again"], restores=1
    )


@pytest.mark.parametrize("first", ["the archive's", "the other"])
@staged(drill_scene)
async def test_drills_share_a_scratch_database_but_one_of_an_archive_with_none_that_restores(
    at: DrillScene, first: str
) -> None:
    """The other one could ask its changed checks of what the archive has left."""
    drill, other = calls(at)
    both = [(drill, at.values(), "scratch_database_id"), (other, ARCHIVED, "connection")]
    (one, values, _), (another, its, property_) = both if first == "the other" else reversed(both)
    assert DrillRules().check(one, values) == []
    (problem,) = DrillRules().check(another, its)
    assert problem.property == property_
    assert "too: one loads an archive, the other restores" in str(problem.reason)
    assert DrillRules().check(another, values) == DrillRules().check(one, values) == []


@pytest.mark.parametrize("when", ["before", "checking", "meanwhile"])
@staged(drill_scene, restore_seconds=60.0)
async def test_an_archive_is_not_drilled_where_another_run_restores(
    at: DrillScene, when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with anyio.create_task_group() as group:
        call, loads = calls(at)[1], list[int]()
        monkeypatch.setattr(call.shared.of(Transfers), "reading", at_once)

        async def loaded(*_: object, **_of: object) -> tuple[float, int, list[Any]]:
            loads.append(1)
            if when == "meanwhile":
                await at.up()
            return 1.0, 1, []

        monkeypatch.setattr(acts, "loaded", loaded)
        monkeypatch.setattr(acts, "Database", at.databases.opens)
        archive = str(shelve(tmp_path, zipped(x=b"-"), database_id=DATABASE))
        work = partial(acts.drill_archive, call, DrillInputs.of({**ARCHIVED, "archive": archive}))
        if when != "meanwhile":
            at.databases.seconds = HOUR
            group.start_soon(at.up)
            await anyio.sleep(30.0 if when == "before" else 600.0)
        with fails_with(
            ArchiveNotDrilled,
            "was restored meanwhile" if when == "meanwhile" else "is being restored",
        ):
            await work()
        assert len(loads) == (when == "meanwhile")
        await anyio.sleep(2 * HOUR)
        when = "later"
        assert (await work()).passed is True


@staged(drill_scene)
async def test_a_connection_to_another_engine_is_refused_before_the_request(
    at: DrillScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulumi_snapshots.drill.record.lacking", lambda _: "")
    why = "Connection must be to PostgreSQL, as the snapshot is of it, not to Redis."
    await at.fails(
        why, "Nothing was restored.", connection="redis://scratch.example", runtime=None, name=None
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
    await at.passes(timeout="2h", every="1h", restores=1)
