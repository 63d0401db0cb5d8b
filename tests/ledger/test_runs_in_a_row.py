"""Stories of several runs in which one thing comes between: another resource, an older checkpoint, another name."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from pulumi_snapshots.guard.take import take
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.snapshot.difference import SnapshotRules
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from tests.ledger.test_remembered import DAY, accepted, back, given, of
from tests.support.drilling import SCRATCH, drill_scene
from tests.support.engine_calls import Machine, Stack
from tests.support.restoring import RESTORER, scene
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, OWNER, Row, World, world


def beside(here: World, *names: str) -> list[Stack]:
    """Snapshots of one stack, each run by a process of its own on one machine."""
    place = Machine(here).place
    return [Stack(SnapshotRules(), Machine(here, place), OWNER.replace("before-release", name)) for name in names]


@virtual
async def test_a_pending_restore_that_a_call_has_shown_is_refused_after_an_older_checkpoint() -> None:
    async with scene(restore_seconds=600.0) as at:
        stack = back(at)
        await stack.up(**given(at, timeout="3m"))
        assert stack.pending
        await stack.preview(**given(at))  # proves the attempt
        stack.id, stack.outputs = "", {}
        await anyio.sleep(2 * 3600)
        at.writes("later")
        await stack.up(**given(at))
        assert len(at.posts) == 1
        assert at.holds() == "later"


@pytest.mark.parametrize(("of", "later"), [("resource", 240.0), ("resource", 12.0), ("command", 0.0), ("guard", 0.0)])
@virtual
async def test_a_snapshot_of_another_owner_just_before_is_not_ours_after_a_wait_that_ended(
    of: str, later: float
) -> None:
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        b, a = beside(here, "another", "before-release")
        session = b.machine.process().session(here.session.settings)
        if of == "resource":
            await b.up(database_id=DATABASE)
        elif of == "command":
            await here.create(session=session, owner="squarecloud-snapshots create")
        else:
            await take(session, SnapshotInputs(DATABASE), Row())
        await a.up(database_id=DATABASE, timeout="30s" if later else "100s")
        assert a.pending
        await anyio.sleep(later)
        await a.up(database_id=DATABASE)
        assert [a.outputs["version_id"]] == accepted(here)[1:]


@virtual
async def test_a_database_that_changes_with_its_upstream_is_snapshotted() -> None:
    async with world(databases=(DATABASE, OTHER_DATABASE), snapshot_seconds=10, cache_world="invalidated") as here:
        stack = of(here)
        await stack.up(database_id=DATABASE, triggers=["v1"])
        await stack.up(database_id=OTHER_DATABASE, triggers=["v1"], cascade=True)
        assert stack.error is None
        assert stack.outputs["database_id"] == OTHER_DATABASE
        assert [p.database_id for p in here.posts] == [DATABASE, OTHER_DATABASE]


@virtual
async def test_a_target_that_changes_with_its_upstream_is_restored() -> None:
    async with scene() as at:
        stack = back(at)
        await stack.up(**given(at))
        await anyio.sleep(600)
        await stack.up(**given(at, target_database_id=OTHER_DATABASE), cascade=True)
        assert stack.error is None
        assert stack.outputs["target_database_id"] == OTHER_DATABASE
        assert at.holds(OTHER_DATABASE) == "then"


@virtual
async def test_a_restore_that_was_made_again_for_its_upstream_is_refused_after_an_older_checkpoint() -> None:
    async with scene() as at:
        stack = back(at)
        await stack.up(**given(at))
        await stack.preview(**given(at))
        await anyio.sleep(600)
        await stack.up(**given(at), cascade=True)
        await stack.preview(**given(at))
        await anyio.sleep(DAY)
        at.writes("later")
        stack.id, stack.outputs = "", {}
        await stack.up(**given(at))
        assert at.holds() == "later"
        assert len(at.posts) == 1


@pytest.mark.parametrize(
    "name",
    [
        "urn:pulumi:dev::shop::my:c:App$pulumi-python:dynamic/squarecloud:Restore::back",
        RESTORER.replace(":dev:", ":prod:").replace("back", "forth"),
    ],
    ids=["into a component", "its stack and its name"],
)
@virtual
async def test_an_unsaved_restore_under_another_name_is_refused(name: str) -> None:
    async with scene() as at:
        stack = back(at)
        await stack.up(saves=False, **given(at))
        await anyio.sleep(600)
        at.writes("later")
        await Stack(stack.rules, stack.machine, name).up(**given(at))
        assert at.holds() == "later"
        assert len(at.posts) == 1


@virtual
async def test_nor_is_it_once_the_ledger_has_forgotten_it() -> None:
    """B's entry is gone by then, so an exclusion by the ledger is no help."""
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        b, a, c = beside(here, "another", "before-release", "c")
        await b.up(database_id=DATABASE)
        await a.up(database_id=DATABASE, timeout="100s")
        assert a.pending
        await b.preview(database_id=DATABASE)
        await anyio.sleep(DAY)
        await c.up(database_id=DATABASE)  # purges
        await a.up(database_id=DATABASE)
        assert [b.outputs["version_id"], a.outputs["version_id"]] == accepted(here)[:2]


@virtual
async def test_a_ledger_that_vanishes_after_the_request_is_written_again() -> None:
    async with scene(restore_seconds=100.0) as at:
        stack = back(at)
        place = stack.machine.place
        assert place is not None
        async with anyio.create_task_group() as group:
            group.start_soon(partial(stack.up, saves=False, **given(at)))
            await anyio.sleep(5)
            place.data = None
        at.writes("later")
        await anyio.sleep(300)
        await stack.up(**given(at))
        assert len(at.posts) == 1
        assert at.holds() == "later"


@virtual
async def test_a_third_run_enters_no_other_snapshot_as_ours() -> None:
    """A is killed, and C waits for A and finds how it has ended."""
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        b, a, c = beside(here, "another", "before-release", "c")
        await b.up(database_id=DATABASE)
        a.begin()
        await a.check({"database_id": DATABASE})

        async def create(_: Any) -> None:
            await a.create({"database_id": DATABASE})

        assert await here.killed(100, create, a.session)
        await c.up(database_id=DATABASE, timeout="2h")
        await a.up(database_id=DATABASE, timeout="2h")
        assert a.outputs["version_id"] != b.outputs["version_id"]


@virtual
async def test_a_drill_is_not_passed_by_what_a_restore_has_put_there_since() -> None:
    """As `test_a_drill_is_not_passed_by_what_another_drill_has_restored_since`, with a Restore of the same ledger."""

    async with drill_scene() as at:
        other, checks = at.other_data()
        await at.up(checks=checks)
        assert at.stack.outputs["passed"] is False
        await anyio.sleep(600)
        restore = Stack(RestoreRules(), at.stack.machine, RESTORER)
        await restore.up(
            database_id=DATABASE,
            version_id=other.version_id,
            target_database_id=SCRATCH,
            overwrite=True,
            name=other.name,
            runtime=other.runtime,
        )
        assert restore.error is None
        await anyio.sleep(3 * 3600)
        await at.up(checks=checks)
        assert at.stack.outputs["passed"] is False


@virtual
async def test_a_destroy_of_an_older_checkpoint_lets_the_newer_restore_not_go() -> None:
    """Destroy of an imported older checkpoint lets the older go, not the newest."""
    async with scene() as at:
        stack = back(at)
        await stack.up(**given(at, triggers=["v1"]))
        old = (stack.id, dict(stack.outputs))
        await anyio.sleep(600)
        await stack.up(**given(at, triggers=["v2"]))
        stack.id, stack.outputs = old
        await stack.destroy()
        at.writes("later")
        await anyio.sleep(600)
        await stack.up(**given(at, triggers=["v2"]))
        assert len(at.posts) == 2
        assert at.holds() == "later"


@virtual
async def test_a_pending_restore_of_an_older_checkpoint_is_not_sent_again() -> None:
    async with scene(restore_seconds=600.0) as at:
        stack = back(at)
        await stack.up(**given(at, timeout="3m", triggers=["v1"]))
        old = (stack.id, dict(stack.outputs))
        await anyio.sleep(1200)
        await stack.up(**given(at, triggers=["v1"]))
        await stack.up(**given(at, triggers=["v2"]))
        await stack.up(**given(at, triggers=["v2"]))
        stack.id, stack.outputs = old
        await anyio.sleep(DAY)
        at.writes("later")
        await stack.up(**given(at, triggers=["v2"]))
        assert len(at.posts) == 2
        assert at.holds() == "later"


@virtual
async def test_a_snapshot_that_another_resource_has_adopted_is_still_its_owners() -> None:
    async with world(snapshot_seconds=10, cache_world="invalidated") as here:
        a, b = beside(here, "before-release", "another")
        await a.up(saves=False, database_id=DATABASE)
        await anyio.sleep(300)
        await b.up(database_id=DATABASE, reuse_within="1h")
        await anyio.sleep(300)
        await b.preview(database_id=DATABASE, reuse_within="1h")
        await a.up(database_id=DATABASE)
        assert a.outputs["version_id"] == b.outputs["version_id"]
        assert len(here.posts) == 1
