"""However a drill's run ends, the next one resumes it, and no restore is sent twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from pulumi_snapshots.drill.difference import DrillRules
from pulumi_snapshots.ledger.attempt import owner_of
from pulumi_snapshots.ledger.drilled import last_drills
from pulumi_snapshots.restore.difference import RestoreRules
from squarecloud_emulator import Fault
from tests.support.drilling import DRILLER, ROWS, SCRATCH, drill_scene
from tests.support.engine_calls import Stack
from tests.support.virtual import virtual
from tests.support.world import DATABASE

if TYPE_CHECKING:
    from tests.support.drilling import DrillScene

HOUR, DAY = 3600.0, 86400.0
MOMENTS = {
    "before its request": 1.0,
    "before its answer": 8.0,
    "while it is restored": 45.0,
    "while the database refuses connections": 88.0,
    "in the first check": 108.0,
    "in the last check": 128.0,
}
"""Seconds after the begin of the run, see `slow`."""
TWO = [{"query": ROWS, "at_least": 1}, {"query": "select 7", "equals": 7}]


def slow(at: DrillScene) -> None:
    """Let it take 3 s until the request, 10 s until its answer, 20 s until a connection is accepted, and as long for a check."""
    at.databases.refuses, at.databases.seconds = 4, 20.0
    at.at.here.emulator.add_fault(Fault(kind="status", delay=3.0))
    at.at.here.emulator.add_fault(Fault(kind="restore", delay=10.0, when="after"))


@pytest.mark.parametrize("later", [1.0, 5 * DAY], ids=["at once", "days later"])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("first", [True, False], ids=["the first drill", "a later one"])
@virtual
async def test_a_killed_drill_is_not_restored_twice(moment: str, later: float, *, first: bool) -> None:
    async with drill_scene() as at:
        if not first:
            await at.up(checks=TWO)
            await anyio.sleep(HOUR)
        before = at.accepted
        given: dict[str, Any] = {"checks": TWO, "triggers": [] if first else ["again"]}
        slow(at)
        assert await at.killed(MOMENTS[moment], **given)
        sent = moment != "before its request"
        assert at.accepted == before + sent
        assert len(at.databases.asked) == (0 if first else 2) + max(0, list(MOMENTS).index(moment) - 3)
        await anyio.sleep(later)
        await at.up(**given)
        if later > HOUR and moment in {
            "before its answer",
            "while it is restored",
        }:  # what the service said of it is forgotten
            assert "what it holds now is not known" in at.error
            assert f"`pulumi up --refresh --replace '{DRILLER}'` drills again, from the restore on." in at.error
            assert at.accepted == before + 1
            return
        assert (at.error, at.stack.outputs["passed"]) == ("", True)
        assert at.accepted == before + 1
        assert at.stack.outputs["last_good"]["drilled_at"] == at.stack.outputs["drilled_at"]
        await at.up(**given)
        assert at.accepted == before + 1
        assert all(each.proved for each in await at.session.ledger.attempts())


@pytest.mark.parametrize("moment", [45.0, 128.0], ids=["restoring", "checking"])
@virtual
async def test_another_machine_at_the_same_place_resumes_it(moment: float) -> None:
    async with drill_scene() as at:
        slow(at)
        assert await at.killed(moment, checks=TWO)
        await at.up(checks=TWO, saves=False)
        assert (at.error, at.accepted) == ("", 1)
        await at.up(checks=TWO)
        assert (at.error, at.stack.outputs["passed"], at.accepted) == ("", True, 1)
        assert (await last_drills(at.session.ledger))[DATABASE].drilled_at == at.stack.outputs["drilled_at"]


@virtual
async def test_a_drill_that_is_killed_again_and_again_restores_once() -> None:
    async with drill_scene(restore_seconds=200.0) as at:
        slow(at)
        at.databases.seconds = 500.0
        for after in (1.0, 8.0, 45.0, 120.0, 30.0, 400.0):
            assert await at.killed(after, checks=TWO)
        await at.up(checks=TWO)
        assert (at.error, at.stack.outputs["passed"], at.accepted) == ("", True, 1)


@pytest.mark.parametrize("moment", [45.0, 88.0, 108.0], ids=["restoring", "connecting", "checking"])
@virtual
async def test_an_interrupted_drill_keeps_its_restore(moment: float) -> None:
    async with drill_scene() as at:
        await at.up(checks=TWO)
        good = at.stack.outputs["last_good"]
        await anyio.sleep(HOUR)
        slow(at)

        async def interrupt() -> None:
            await anyio.sleep(moment)
            at.session.stop()

        async with anyio.create_task_group() as group:
            group.start_soon(interrupt)
            await at.up(checks=TWO, triggers=["again"])
        assert "The wait was interrupted." in at.error
        assert ("the next `pulumi up` keeps watching" in at.error) is (moment == 45.0)
        assert ("The next `pulumi up` runs the checks again" in at.error) is (moment != 45.0)
        assert at.stack.outputs["last_good"] == good
        assert "passed" not in at.stack.outputs
        await at.up(checks=TWO, triggers=["again"])
        assert (at.error, at.stack.outputs["passed"], at.accepted) == ("", True, 2)


@virtual
async def test_a_drill_that_times_out_in_its_checks_is_resumed_there() -> None:
    async with drill_scene() as at:
        at.databases.seconds = 1000.0
        await at.up(timeout="3m")
        assert "and its checks were not run to their end. The wait ended after 3 min." in at.error
        at.databases.seconds = 0.0
        await at.up(timeout="3m")
        assert (at.error, at.accepted) == ("", 1)


@pytest.mark.parametrize("failed", [False, True], ids=["passed", "failed"])
@virtual
async def test_a_drill_whose_state_was_not_saved_restores_once(*, failed: bool) -> None:
    async with drill_scene() as at:
        checks = [{"query": ROWS, "at_least": 5 if failed else 1}]
        await at.up(saves=False, checks=checks)
        await anyio.sleep(DAY)
        await at.up(checks=checks)
        assert bool(at.error) is failed
        assert at.stack.outputs["drilled_at"].startswith("2026-03-01T12:01:")
        assert "by an earlier run that may not have saved its state" in at.told
        assert at.accepted == 1


@virtual
async def test_what_is_upstream_and_deleted_first_drills_nothing_again() -> None:
    async with drill_scene() as at:
        await at.up()
        before = dict(at.stack.outputs)
        at.at.writes("later", SCRATCH)
        await at.up(cascade=True)
        assert at.error == ""
        assert at.stack.outputs == before, "what it found then"
        assert (at.accepted, len(at.databases.asked)) == (1, 1)


@virtual
async def test_a_newer_snapshot_after_a_kill_is_the_one_that_is_drilled() -> None:
    async with drill_scene() as at:
        assert await at.killed(45.0)
        at.at.stored = at.at.here.emulator.add_snapshot(DATABASE)
        await at.up(checks=[{"query": "select state from rows", "equals": "now"}])
        assert at.error == ""
        assert at.stack.outputs["version_id"] == at.at.stored.version_id
        assert at.accepted == 2


@virtual
async def test_what_an_interrupted_run_has_deleted_is_not_the_drill_of_a_newer_snapshot() -> None:
    async with drill_scene() as at:
        await at.up()
        at.stack.begin()
        await at.stack.delete(at.stack.id, at.stack.outputs)  # the run ends before its create, and nothing is saved
        at.at.stored = at.at.here.emulator.add_snapshot(DATABASE)
        await at.up(checks=[{"query": "select state from rows", "equals": "now"}])
        assert (at.error, at.accepted) == ("", 2)
        assert at.stack.outputs["last_good"]["version_id"] == at.at.stored.version_id


@virtual
async def test_a_killed_repetition_is_what_the_next_checks_are_about() -> None:
    """A check had failed, and the scratch database was restored again since: the checks become another drill."""
    async with drill_scene() as at:
        await at.up(checks=[{"query": ROWS, "at_least": 5}])
        await anyio.sleep(600)
        await at.at.somebody_restores(at.at.stored, SCRATCH)
        await anyio.sleep(600)
        at.databases.seconds = 400.0
        assert await at.killed(300.0)
        at.databases.seconds = 0.0
        await anyio.sleep(3 * HOUR)  # the service shows none of these restores any more
        await at.up()
        assert (at.error, at.accepted) == ("", 3)
        assert at.stack.outputs["requested_at"] >= "2026-03-01T12:20:00Z"


@virtual
async def test_another_restore_of_the_scratch_database_voids_what_was_found_there() -> None:
    async with drill_scene() as at:
        other = at.at.here.emulator.add_snapshot(DATABASE)
        at.databases.seconds = 400.0
        async with anyio.create_task_group() as group:
            group.start_soon(at.up)
            await anyio.sleep(300)
            await at.at.somebody_restores(other, SCRATCH)
        assert "and another restore of that database began meanwhile." in at.error
        assert "passed" not in at.stack.outputs
        at.databases.seconds = 0.0
        await anyio.sleep(10 * 60)
        await at.up()
        assert (at.error, at.stack.outputs["passed"]) == ("", True)
        assert at.at.holds(SCRATCH) == "then"
        assert at.accepted == 3


@virtual
async def test_two_drills_that_share_a_scratch_database_do_not_mix() -> None:
    """Each holds it until its checks were run, also if they run in different processes."""
    async with drill_scene() as at:
        other, checks = at.other_data()
        second = Stack(DrillRules(), at.stack.machine, f"{DRILLER}-2")
        at.databases.seconds = 100.0
        values = at.values(version_id=other.version_id, checks=checks)
        async with anyio.create_task_group() as group:
            group.start_soon(at.up)
            group.start_soon(lambda: second.up(**values))
        assert (at.error, second.error) == ("", None)
        assert at.stack.outputs["passed"] is second.outputs["passed"] is True
        assert at.accepted == 2


def test_a_drill_and_a_restore_of_one_name_have_two_owners() -> None:
    plugins = DRILLER.replace("pulumi-python:dynamic/squarecloud:Drill", "squarecloud:index:Drill")
    assert owner_of(DRILLER) == owner_of(plugins) == "shop::dev::Drill::proof"
    assert owner_of(DRILLER.replace(":Drill::", ":Restore::")) == "shop::dev::proof"


@virtual
async def test_a_restore_of_the_same_name_is_another_resource() -> None:
    async with drill_scene() as at:
        back = Stack(RestoreRules(), at.stack.machine, DRILLER.replace(":Drill::", ":Restore::"))
        await at.up(saves=False)
        stored = at.at.stored
        await anyio.sleep(HOUR)
        given: dict[str, Any] = {
            "database_id": DATABASE,
            "version_id": stored.version_id,
            "name": stored.name,
            "overwrite": True,
        }
        await back.up(**given, target_database_id=SCRATCH)
        assert back.error is None
        assert at.accepted == 2


@virtual
async def test_an_earlier_restore_that_was_lost_is_not_taken_for_a_later_one() -> None:
    """A failed check is repeated without a restore, though a request of before, whose answer was lost, has no end yet."""
    async with drill_scene() as at:
        at.at.here.emulator.add_fault(Fault(kind="restore", drop=True))
        await at.up(saves=False, timeout=300.0)
        await at.up(triggers=["another"], checks=[{"query": "select 1", "equals": 2}])
        assert "expected 2 and found 1" in at.error
        await at.up(triggers=["another"], checks=[{"query": "select 1", "equals": 1}])
        assert (at.error, at.accepted) == ("", 1)
