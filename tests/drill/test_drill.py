"""A drill proves that a snapshot restores: it restores once, asks what came back, and says what it expected and found."""

import json
from typing import Any

import anyio
import pytest

from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.drill.check import Check
from pulumi_snapshots.drill.drill import Drilling
from pulumi_snapshots.drill.last import last_drills, note_last_drill
from pulumi_snapshots.drill.record import DrillInputs
from tests.support.drilling import (
    CONNECTION,
    ROWS,
    SCRATCH,
    DrillScene,
    FakeDatabases,
    drill_scene,
)
from tests.support.example import RESTORE_ATTEMPT, Example
from tests.support.virtual import staged
from tests.support.world import DATABASE

HOUR = 3600.0
DAY = 86400.0
FIVE = [{"query": ROWS, "at_least": 5}]
"""A check that fails: there is one row."""
FOUND_1 = f"{ROWS!r} expected at least 5 and found 1"
FOUND_0 = f"{ROWS!r} expected at least 1 and found 0"
GOOD = {
    "database_id": DATABASE,
    "version_id": "v1",
    "scratch_database_id": SCRATCH,
    "checks": [
        {"query": "select count(*) from orders", "at_least": 1.0, "name": "orders"}
    ],
    "overwrite_scratch": True,
}
ENDED = {
    "drilled_at": "2026-03-01T12:01:30Z",
    "restore_seconds": 62.5,
    "results": [
        {"check": "orders", "passed": True, "expected": "at least 1", "found": "7"}
    ],
}
REQUESTED = {
    **GOOD,
    "requested_at": "2026-03-01T12:00:00Z",
    "last_good": {"database_id": DATABASE, "version_id": "v1", **ENDED},
}


async def _uses(at: Any) -> None:
    given = DrillInputs(
        *(DATABASE, at.stored.version_id),
        scratch_database_id=SCRATCH,
        checks=[Check("select count(*) from orders", equals=0)],
        connection=CONNECTION,
        overwrite_scratch=True,
    )
    with FakeDatabases(at.w.emulator).instead():
        await Drilling(at.w.session, given, at.w.row).carry_out()


EXAMPLE = Example(
    good={
        **GOOD,
        "connection": "postgresql://driller:never-shown@scratch.invalid:5432/shop",
    },
    state={
        **REQUESTED,
        "restored_at": "2026-03-01T12:01:30Z",
        "passed": True,
        **ENDED,
    },
    id=f"{SCRATCH}/drill:20260301T120000Z",
    pending={
        **REQUESTED,
        "attempt": RESTORE_ATTEMPT,
    },
    uses=_uses,
    recorded="""\
provider.Drill(
    "proof",
    snapshot,
    scratch_database_id="{scratch}",
    connection=config.require_secret("connection"),
    checks=[provider.Check("select 1", equals=1, name="answers")],
    overwrite_scratch=True,
    every="7d",
)
""",
    recorded_from=1,
)


@staged(drill_scene, restore_seconds=70.0)
async def test_a_drill_restores_checks_and_records_what_it_found(
    at: DrillScene,
) -> None:
    checks = [
        {"query": ROWS, "at_least": 1, "name": "rows"},
        {"query": "select 7", "equals": 7.0},
    ]
    kept = await at.passes(checks=checks)
    assert (at.at.holds(SCRATCH), at.at.holds(DATABASE)) == ("then", "now")
    assert kept["version_id"] == at.at.stored.version_id
    assert kept["requested_at"] == "2026-03-01T12:00:00Z"
    assert kept["drilled_at"].startswith("2026-03-01T12:01:")
    assert kept["restore_seconds"] == pytest.approx(70, abs=2), (
        "as the service says, not as often as it is asked"
    )
    assert kept["restore_seconds"] < kept["recovery_seconds"] < 130, (
        "until its checks had passed"
    )
    assert kept["results"] == [
        {"check": "rows", "passed": True, "expected": "at least 1", "found": "1"},
        {"check": "select 7", "passed": True, "expected": "7", "found": "7"},
    ]
    assert kept["last_good"]["drilled_at"] == kept["drilled_at"]
    assert "attempt" not in kept
    assert at.stack.id == f"{SCRATCH}/drill:20260301T120000Z"
    snapshot = f"{DATABASE}/{at.at.stored.version_id}"
    assert at.stack.row.notes == [
        f"drill passed: snapshot {snapshot} restores in 1 min 10 s, and all 2 checks passed"
    ]
    assert "never-shown" not in json.dumps(kept) + at.told
    # Nothing is sent and nobody is asked until there is a reason.
    requests = len(at.at.here.emulator.journal)
    await at.passes(
        checks=checks, timeout="1h", connection=CONNECTION, every="7d", restores=1
    )
    assert len(at.at.here.emulator.journal) == requests


@staged(drill_scene)
async def test_a_failed_check_says_what_was_expected_and_found_and_restores_once(
    at: DrillScene,
) -> None:
    missing = {"query": "select count(*) from orders", "at_least": 1}
    kept = await at.fails(
        checks=[
            {"query": "select 1", "equals": 1},
            {**FIVE[0], "name": "rows"},
            missing,
        ]
    )
    snapshot = f"{DATABASE}/{at.at.stored.version_id}"
    assert at.error.startswith(
        f"The drill of snapshot {snapshot} failed: 'rows' expected at least 5 and found 1; {missing['query']!r} "
        f"expected at least 1 and could not be run: no such table: orders. Snapshot {snapshot} was restored onto database "
        f"{SCRATCH} in 1 min. The next `pulumi up` runs the checks again, without another restore."
    )
    assert [each["passed"] for each in kept["results"]] == [True, False, False]
    assert (kept["passed"], "last_good" in kept) == (False, False)
    # A refresh says it again, and sends nothing.
    requests = len(at.at.here.emulator.journal)
    at.stack.begin()
    await at.stack.read()
    assert len(at.at.here.emulator.journal) == requests
    kept = await at.passes(restores=1)
    assert kept["drilled_at"].startswith("2026-03-01T12:01:"), (
        "its proof is of that restore"
    )
    assert "recovery_seconds" not in kept, "somebody had to correct the checks"


@staged(drill_scene)
async def test_the_last_good_drill_stays_beside_one_that_failed(at: DrillScene) -> None:
    good = (await at.passes())["last_good"]
    first = at.at.stored.version_id
    at.takes("gone")  # a backup without its rows
    await anyio.sleep(HOUR)
    last = f"The last good drill was of snapshot {DATABASE}/{first} at {good['drilled_at']}."
    for _ in range(3):
        kept = await at.fails(FOUND_0, last, restores=2)
        assert (kept["last_good"], kept["version_id"]) == (
            good,
            at.at.stored.version_id,
        )
    at.takes()
    assert (await at.passes(restores=3))["last_good"][
        "version_id"
    ] == at.at.stored.version_id


@staged(drill_scene)
async def test_a_warning_in_place_of_an_error_is_said_at_each_run(
    at: DrillScene,
) -> None:
    for _ in range(2):
        await at.up(on_failure="warn", checks=FIVE)
        (warning,) = at.stack.row.warnings
        assert warning.startswith("the last drill, of snapshot ")
        assert warning.endswith(f"failed: {FOUND_1}.")
        assert (at.error, at.stack.outputs["passed"]) == ("", False)
    assert len(at.databases.asked) == 1
    await at.fails(FOUND_1, on_failure="error", checks=FIVE)
    await at.passes(on_failure="warn", restores=1)
    assert at.stack.row.warnings == []


@staged(drill_scene)
async def test_a_database_that_comes_up_late_is_waited_for_and_one_that_never_does_is_not_restored_again(
    at: DrillScene,
) -> None:
    at.databases.refuses = 4
    await at.passes()
    assert "not reachable yet; next poll 12:0" in at.told
    at.databases.refuses = 10_000
    why = "the scratch database cannot be reached: the connection was refused"
    kept = await at.fails(why, triggers=["again"])
    assert kept["failure"] == why
    assert kept["last_good"]["results"]
    at.databases.refuses = 0
    assert "failure" not in await at.passes(triggers=["again"], restores=2)
    # If it only warns, a later run finds out too: the connection may be corrected by then.
    at.databases.refuses = 10_000
    await at.up(triggers=["once more"], on_failure="warn")
    assert (at.error, at.stack.outputs["passed"]) == ("", False)
    at.databases.refuses = 0
    await at.passes(triggers=["once more"], on_failure="warn", restores=3)
    assert at.stack.row.warnings == []


@staged(drill_scene)
async def test_a_wrong_password_is_said_at_once(at: DrillScene) -> None:
    at.databases.refuses = 10_000
    at.databases.lasting = True
    await at.fails("cannot be reached")
    assert 10_000 - at.databases.refuses == 3, (
        "twice more within 10 s, since a server that starts may refuse too"
    )


@staged(drill_scene)
async def test_changed_checks_run_at_once_while_the_restore_is_still_there(
    at: DrillScene,
) -> None:
    good = (await at.passes())["last_good"]
    await anyio.sleep(3 * DAY)
    kept = await at.fails(FOUND_1, checks=FIVE, every="7d")
    now_if = f"the checks changed: they run now if database {SCRATCH} still holds this drill's restore, "
    assert at.stack.row.notes == [
        f"{now_if}otherwise with the next drill, which is due at 2026-03-08T12:01:00Z"
    ]
    assert (kept["passed"], kept["last_good"]) == (False, good)
    checks = [{"query": ROWS, "at_least": 1}, {"query": "select 7", "equals": 7}]
    kept = await at.passes(checks=checks, every="7d", restores=1)
    assert [each["found"] for each in kept["results"]] == ["1", "7"]
    assert kept["drilled_at"] == good["drilled_at"], "the proof is of that restore"
    assert good["recovery_seconds"] is not None
    assert "recovery_seconds" not in kept, "no recovery takes three days"


GONE = {
    "restored": "the scratch database was started again since, so it may have been restored",
    "down": "the scratch database does not run",
    "unreachable": "the scratch database cannot be reached: the connection was refused",
    "forbidden": "the service does not say whether the scratch database runs "
    "(the API key lacks the scope databases:read [403 MISSING_SCOPE])",
    "unknown": "the service does not say whether the scratch database runs (the service is not available [502])",
}


@pytest.mark.parametrize("what", GONE)
@staged(drill_scene)
async def test_changed_checks_that_cannot_run_now_say_when_they_will(
    at: DrillScene, what: str
) -> None:
    await at.up()
    await anyio.sleep(DAY)
    at.at.here.emulator.databases[SCRATCH].running = what != "down"
    at.databases.refuses = 1000 * (what == "unreachable")
    if what == "forbidden":
        at.at.here.fault(kind="status", status=403, code="MISSING_SCOPE", times=None)
    if what == "unknown":
        at.at.here.fault(kind="status", status=502, times=None)
    if what == "restored":
        await at.at.somebody_restores(at.at.stored, SCRATCH)
        await anyio.sleep(DAY)
    await at.passes(checks=FIVE, restores=1 + (what == "restored"))
    then = "They run with the next drill, which another snapshot, other triggers or every begin."
    assert at.stack.row.warnings == [
        f"the changed checks were not run: {GONE[what]}. {then}"
    ]
    # They are in the state, and said once.
    await at.up(checks=FIVE)
    assert (at.stack.row.notes, at.stack.row.warnings) == ([], [])
    assert not [each for each in at.databases.asked[1:] if each != ROWS]


@staged(drill_scene)
async def test_a_snapshot_that_does_not_restore_fails_the_drill_and_is_tried_again(
    at: DrillScene,
) -> None:
    at.at.here.emulator.next_restore_fails_with(SCRATCH, "SNAPSHOT_CORRUPT")
    kept = await at.fails(
        "failed: it could not be restored (SNAPSHOT_CORRUPT).",
        "The next `pulumi up` drills it again.",
    )
    assert kept["failure"] == "SNAPSHOT_CORRUPT"
    assert not at.databases.asked
    await at.passes(restores=2)


@staged(drill_scene)
async def test_a_restore_that_says_success_and_did_nothing_is_caught(
    at: DrillScene,
) -> None:
    at.at.here.emulator.next_restore_does_nothing(SCRATCH)
    await at.fails(FOUND_0)
    assert at.at.holds(SCRATCH) == "now"


@staged(drill_scene)
async def test_an_older_drill_does_not_replace_the_last_one_that_passed(
    at: DrillScene,
) -> None:
    ledger = at.at.here.session.ledger
    for time in ("2026-02-02T12:00:00Z", "2026-02-01T12:00:00Z"):
        await note_last_drill(ledger, DATABASE, Drilled(time))
    assert (await last_drills(ledger))[DATABASE].drilled_at == "2026-02-02T12:00:00Z"


@staged(drill_scene)
async def test_it_drills_again_by_time_triggers_snapshot_and_place_and_not_otherwise(
    at: DrillScene,
) -> None:
    usual: dict[str, Any] = {"every": "7d", "triggers": ["v1"]}
    await at.up(**usual)
    await anyio.sleep(7 * DAY - HOUR)
    await at.passes(**usual, restores=1)
    await anyio.sleep(2 * HOUR)
    await at.stack.preview(**at.values(**usual))
    assert "last drilled at 2026-03-01T12:01:" in at.told
    assert (await at.passes(**usual, restores=2))["drilled_at"].startswith(
        "2026-03-08T13:0"
    )
    usual["triggers"] = ["v2"]
    await at.passes(**usual, restores=3)
    at.takes("now")
    await at.fails(FOUND_0, **usual, restores=4)
