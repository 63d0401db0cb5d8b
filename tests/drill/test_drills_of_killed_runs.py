"""However a drill's run ends, the next one resumes it, and no restore is sent twice."""

from typing import Any

import anyio
import pytest

from pulumi_snapshots.drill.difference import DrillRules
from pulumi_snapshots.drill.last import last_drills
from pulumi_snapshots.ledger.attempt import owner_of
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.calls import EngineCall
from tests.support.drilling import (
    DRILLER,
    ELSEWHERE,
    ROWS,
    SCRATCH,
    DrillScene,
    drill_scene,
)
from tests.support.engine_calls import Machine, Stack
from tests.support.restoring import says
from tests.support.virtual import staged
from tests.support.world import DATABASE

HOUR = 3600.0
DAY = 86400.0
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
NOW = [{"query": "select state from rows", "equals": "now"}]


def slow(at: DrillScene) -> None:
    """Let it take 3 s until the request, 10 s until its answer, 20 s until a connection is accepted, and as long for a check."""
    at.databases.refuses = 4
    at.databases.seconds = 20.0
    at.at.here.fault(kind="status", delay=3.0)
    at.at.here.fault(kind="restore", delay=10.0, when="after")


@pytest.mark.parametrize("later", [1.0, 5 * DAY], ids=["at once", "days later"])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("first", [True, False], ids=["the first drill", "a later one"])
@staged(drill_scene)
async def test_a_killed_drill_is_not_restored_twice(
    at: DrillScene, moment: str, later: float, *, first: bool
) -> None:
    if not first:
        await at.up(checks=TWO)
        await anyio.sleep(HOUR)
    before = at.accepted
    given: dict[str, Any] = {"checks": TWO, "triggers": [] if first else ["again"]}
    slow(at)
    assert await at.killed(MOMENTS[moment], **given)
    assert at.accepted == before + (moment != "before its request")
    assert len(at.databases.asked) == (0 if first else 2) + max(
        0, list(MOMENTS).index(moment) - 3
    )
    await anyio.sleep(later)
    if later > HOUR and moment in {
        "before its answer",
        "while it is restored",
    }:  # the service has forgotten it
        again = f"`pulumi up --refresh --replace '{DRILLER}'` drills again, with a new restore."
        await at.fails(
            "what it holds now is not known", again, restores=before + 1, **given
        )
        return
    kept = await at.passes(restores=before + 1, **given)
    assert kept["last_good"]["drilled_at"] == kept["drilled_at"]
    await at.passes(restores=before + 1, **given)
    await at.session.ledger.enter_seen()
    assert all(each.saved for each in await at.session.ledger.attempts())


@pytest.mark.parametrize("moment", [45.0, 128.0], ids=["restoring", "checking"])
@staged(drill_scene)
async def test_another_machine_at_the_same_place_resumes_it(
    at: DrillScene, moment: float
) -> None:
    slow(at)
    assert await at.killed(moment, checks=TWO)
    at.stack.machine = Machine(at.at.here, at.stack.machine.place)
    await at.up(checks=TWO, saves=False)
    assert (at.error, at.accepted) == ("", 1)
    kept = await at.passes(checks=TWO, restores=1)
    assert (await last_drills(at.session.ledger))[DATABASE].drilled_at == kept[
        "drilled_at"
    ]


@pytest.mark.parametrize(
    "moment", [45.0, 88.0, 108.0], ids=["restoring", "connecting", "checking"]
)
@staged(drill_scene)
async def test_an_interrupted_drill_keeps_its_restore(
    at: DrillScene, moment: float
) -> None:
    good = (await at.passes(checks=TWO))["last_good"]
    await anyio.sleep(HOUR)
    slow(at)
    # The session is that of the process that runs by then.
    await at.at.here.meanwhile(
        moment,
        lambda: at.session.stop(),  # noqa: PLW0108
        at.up(checks=TWO, triggers=["again"]),
    )
    step = (
        "the next `pulumi up` keeps waiting"
        if moment == 45.0
        else "The next `pulumi up` runs the checks again"
    )
    assert [
        each for each in ("The wait was interrupted.", step) if each not in at.error
    ] == []
    assert (at.stack.outputs["last_good"], "passed" in at.stack.outputs) == (
        good,
        False,
    )
    await at.passes(checks=TWO, triggers=["again"], restores=2)


@staged(drill_scene)
async def test_a_drill_that_times_out_in_its_checks_is_resumed_there(
    at: DrillScene,
) -> None:
    at.databases.seconds = 1000.0
    await at.fails(
        "and its checks were not run to their end. The wait ended after 3 min.",
        timeout="3m",
    )
    at.databases.seconds = 0.0
    await at.passes(timeout="3m", restores=1)


@pytest.mark.parametrize("failed", [False, True], ids=["passed", "failed"])
@staged(drill_scene)
async def test_a_drill_whose_state_was_not_saved_restores_once(
    at: DrillScene, *, failed: bool
) -> None:
    checks = [{"query": ROWS, "at_least": 5 if failed else 1}]
    await at.up(saves=False, checks=checks)
    await anyio.sleep(DAY)
    await at.up(checks=checks)
    assert (bool(at.error), at.accepted) == (failed, 1)
    assert at.stack.outputs["drilled_at"].startswith("2026-03-01T12:01:")
    assert "by an earlier run that may not have saved its state" in at.told


@staged(drill_scene)
async def test_what_is_upstream_and_deleted_first_drills_nothing_again(
    at: DrillScene,
) -> None:
    before = await at.passes()
    at.at.writes("later", SCRATCH)
    assert await at.passes(cascade=True, restores=1) == before, "what it found then"
    assert len(at.databases.asked) == 1


@staged(drill_scene)
async def test_what_is_deleted_first_with_its_upstream_drills_again_for_other_triggers(
    at: DrillScene,
) -> None:
    await at.passes(triggers=["v1"])
    await anyio.sleep(600)
    stack = at.stack
    values = at.values(triggers=["v2"])
    stack.begin()
    await stack.delete(stack.id, stack.outputs)
    await stack.check(values, in_state=True)
    assert (await stack.diff(values)).updates
    await stack.check(values)
    await stack.create(values)
    assert at.accepted == 2


@pytest.mark.parametrize(
    "how", ["killed", "killed in its checks", "deleted by a run that was interrupted"]
)
@staged(drill_scene)
async def test_a_newer_snapshot_is_drilled_whatever_became_of_the_run_before(
    at: DrillScene, how: str
) -> None:
    if how.startswith("killed"):
        at.databases.seconds = 1000.0
        assert await at.killed(45.0 if how == "killed" else 150.0)
        at.databases.seconds = 0.0
    else:
        await at.up()
        at.stack.begin()
        # the run ends before its create, and nothing is saved
        await at.stack.delete(at.stack.id, at.stack.outputs)
    at.takes("now")
    kept = await at.passes(checks=NOW, restores=2)
    assert at.at.elapsed < 6 * 60, (
        "a killed run does not hold the scratch database for long"
    )
    assert (
        kept["version_id"] == kept["last_good"]["version_id"] == at.at.stored.version_id
    )


@staged(drill_scene)
async def test_a_killed_repetition_is_what_the_next_polls_are_about(
    at: DrillScene,
) -> None:
    """A check had failed, and the scratch database was restored again since: the checks become another drill."""
    await at.up(checks=[{"query": ROWS, "at_least": 5}])
    await anyio.sleep(600)
    await at.at.somebody_restores(at.at.stored, SCRATCH)
    await anyio.sleep(600)
    at.databases.seconds = 400.0
    assert await at.killed(300.0)
    at.databases.seconds = 0.0
    await anyio.sleep(3 * HOUR)  # the service shows none of these restores any more
    assert (await at.passes(restores=3))["requested_at"] >= "2026-03-01T12:20:00Z"


@staged(drill_scene)
async def test_another_restore_of_the_scratch_database_voids_what_was_found_there(
    at: DrillScene,
) -> None:
    other = at.at.here.emulator.add_snapshot(DATABASE)
    at.databases.seconds = 400.0
    async with anyio.create_task_group() as group:
        group.start_soon(at.up)
        await anyio.sleep(300)
        await at.at.somebody_restores(other, SCRATCH)
    assert "and another restore of that database began meanwhile." in at.error
    assert "drills it again" in at.error
    assert "passed" not in at.stack.outputs
    at.databases.seconds = 0.0
    await anyio.sleep(10 * 60)
    await at.passes(restores=3)
    assert at.at.holds(SCRATCH) == "then"


@staged(drill_scene)
async def test_two_drills_that_share_a_scratch_database_do_not_mix(
    at: DrillScene,
) -> None:
    """Each holds it until its checks were run, also if they run in different processes, and longer than a restore holds it."""
    other, checks = at.other_data()
    second = Stack(DrillRules(), at.stack.machine, f"{DRILLER}-2")
    at.databases.seconds = 400.0
    values = at.values(version_id=other.version_id, checks=checks)
    async with anyio.create_task_group() as group:
        group.start_soon(at.up)
        group.start_soon(lambda: second.up(**values))
    assert (at.error, second.error, at.accepted) == ("", None, 2)
    assert at.stack.outputs["passed"] is second.outputs["passed"] is True


@staged(drill_scene)
async def test_checks_that_run_again_are_not_overtaken_by_another_drill_of_the_run(
    at: DrillScene,
) -> None:
    await at.up(checks=[{"query": ROWS, "at_least": 5}])
    at.databases.seconds = 200.0
    shared = at.stack.machine.process()
    settings = at.at.here.session.settings
    again = EngineCall(DRILLER, lambda: settings, shared, at.stack.row)
    second = EngineCall(f"{DRILLER}-2", lambda: settings, shared, at.stack.row)
    rules = DrillRules()
    async with anyio.create_task_group() as group:
        group.start_soon(
            rules.calls.update, again, at.stack.id, at.stack.outputs, at.values()
        )
        await anyio.sleep(10.0)
        group.start_soon(rules.calls.create, second, at.values())
    assert at.accepted == 2


@staged(drill_scene)
async def test_what_another_client_restores_during_repeated_checks_passes_no_drill(
    at: DrillScene,
) -> None:
    other, checks = at.other_data()
    await at.fails(checks=checks)
    await anyio.sleep(HOUR)
    at.databases.seconds = 300.0
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: at.up(checks=checks))
        await anyio.sleep(60.0)
        await at.at.somebody_restores(other, SCRATCH)
    assert (at.accepted, at.stack.outputs["passed"]) == (3, False)
    assert (
        "the scratch database was restored again since: restoring the snapshot again"
        in at.told
    )


@pytest.mark.parametrize("answer", ["queued", "refused"])
@staged(drill_scene)
async def test_a_restore_that_is_under_way_lets_no_earlier_one_be_checked(
    at: DrillScene, answer: str
) -> None:
    await at.up(checks=[{"query": ROWS, "at_least": 5}])
    await anyio.sleep(HOUR)
    if answer == "queued":
        says(at.at, skip=0, state="queued")
    else:
        at.at.here.fault(kind="restore status", status=403, code="RESTORE_IN_PROGRESS")
    await at.passes(restores=2)


@staged(drill_scene)
async def test_a_later_restore_of_another_run_is_known_long_after_the_service_shows_it(
    at: DrillScene,
) -> None:
    other, checks = at.other_data()
    await at.fails(checks=checks)
    second = Stack(DrillRules(), at.stack.machine, f"{DRILLER}-2")
    await second.up(**at.values(version_id=other.version_id, checks=checks))
    assert (second.outputs["passed"], at.accepted) == (True, 2)
    await anyio.sleep(3 * HOUR)
    at.at.here.fault(kind="me", status=403, code="MISSING_SCOPE")
    await at.fails("found then", checks=checks, restores=3)


@staged(drill_scene)
async def test_a_snapshot_that_did_not_restore_is_tried_again_after_a_delete_upstream(
    at: DrillScene,
) -> None:
    at.at.here.emulator.next_restore_fails_with(SCRATCH, "SNAPSHOT_CORRUPT")
    await at.fails("could not be restored")
    await at.passes(cascade=True, restores=2)


@staged(drill_scene)
async def test_another_scratch_database_is_restored_after_a_delete_upstream(
    at: DrillScene,
) -> None:
    await at.passes()
    at.at.here.emulator.add_database("c" * 32)
    await at.up(cascade=True, scratch_database_id="c" * 32, connection=ELSEWHERE)
    assert at.accepted == 2


@staged(drill_scene)
async def test_a_restore_of_the_same_name_is_another_resource(at: DrillScene) -> None:
    plugins = DRILLER.replace(
        "pulumi-python:dynamic/squarecloud:Drill", "squarecloud:index:Drill"
    )
    assert owner_of(DRILLER) == owner_of(plugins) == "shop::dev::Drill::proof"
    back = Stack(
        RestoreRules(), at.stack.machine, DRILLER.replace(":Drill::", ":Restore::")
    )
    await at.up(saves=False)
    await anyio.sleep(HOUR)
    given = {name: at.values()[name] for name in ("database_id", "version_id", "name")}
    await back.up(**given, overwrite=True, target_database_id=SCRATCH)
    assert (back.error, at.accepted) == (None, 2)


@staged(drill_scene)
async def test_an_earlier_restore_that_was_lost_is_not_taken_for_a_later_one(
    at: DrillScene,
) -> None:
    """A failed check is repeated without a restore, though a request of before, whose answer was lost, has no end yet."""
    at.at.here.fault(kind="restore", drop=True)
    await at.up(saves=False, timeout=300.0)
    await at.fails(
        "expected at least 5 and found 1",
        triggers=["another"],
        checks=[{"query": ROWS, "at_least": 5}],
    )
    await at.passes(triggers=["another"], restores=1)
