"""A drill proves that a snapshot restores: it restores once, asks what came back, and says what it expected and found."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.support.drilling import CONNECTION, ROWS, SCRATCH, drill_scene
from tests.support.virtual import virtual
from tests.support.world import DATABASE

if TYPE_CHECKING:
    from tests.support.drilling import DrillScene

HOUR, DAY = 3600.0, 86400.0


@virtual
async def test_a_drill_restores_checks_and_records_what_it_found() -> None:
    async with drill_scene(restore_seconds=70.0) as at:
        await at.up(checks=[{"query": ROWS, "at_least": 1, "name": "rows"}, {"query": "select 7", "equals": 7.0}])
        assert at.error == ""
        assert (at.at.holds(SCRATCH), at.at.holds(DATABASE)) == ("then", "now")
        kept = at.stack.outputs
        assert kept["passed"] is True
        assert kept["version_id"] == at.at.stored.version_id
        assert kept["requested_at"] == "2026-03-01T12:00:00Z"
        assert kept["drilled_at"].startswith("2026-03-01T12:01:")
        assert kept["restore_seconds"] == pytest.approx(70, abs=2), "as the service says, not as often as it is asked"
        assert kept["results"] == [
            {"check": "rows", "passed": True, "expected": "at least 1", "found": "1"},
            {"check": "select 7", "passed": True, "expected": "7", "found": "7"},
        ]
        assert kept["last_good"]["drilled_at"] == kept["drilled_at"]
        assert "attempt" not in kept
        assert at.stack.id == f"{SCRATCH}/drill:20260301T120000Z"
        (note,) = at.stack.row.notes
        assert note == (
            f"drill passed: snapshot {DATABASE}/{at.at.stored.version_id} restores in 1 min 10 s, and all 2 checks passed"
        )
        assert "never-shown" not in json.dumps(kept) + at.told
        # Nothing is sent and nobody is asked until there is a reason.
        requests, checks = len(at.at.here.emulator.journal), kept["checks"]
        await at.up(checks=checks, timeout="1h", connection=CONNECTION, every="7d")
        assert at.error == ""
        assert (len(at.at.here.emulator.journal), at.accepted) == (requests, 1)


# A check that fails ------------------------------------------------------------------------------------------------------


@virtual
async def test_a_failed_check_says_what_was_expected_and_found_and_restores_once() -> None:
    async with drill_scene() as at:
        await at.up(checks=[{"query": "select 1", "equals": 1}, {"query": ROWS, "at_least": 5, "name": "rows"}])
        assert at.error.startswith(
            f"The drill of snapshot {DATABASE}/{at.at.stored.version_id} failed: 'rows' expected at least 5 and found 1. "
            f"Snapshot {DATABASE}/{at.at.stored.version_id} was restored onto database {SCRATCH} in 1 min. The next "
            "`pulumi up` runs the checks again, without another restore."
        )
        assert at.stack.outputs["passed"] is False
        assert [each["passed"] for each in at.stack.outputs["results"]] == [True, False]
        assert "last_good" not in at.stack.outputs
        # A refresh tells it again, and sends nothing.
        requests = len(at.at.here.emulator.journal)
        at.stack.begin()
        await at.stack.read()
        assert len(at.at.here.emulator.journal) == requests
        await at.up(checks=[{"query": ROWS, "at_least": 1, "name": "rows"}])
        assert at.error == ""
        assert at.stack.outputs["passed"] is True
        assert at.stack.outputs["drilled_at"].startswith("2026-03-01T12:01:"), "its proof is of that restore"
        assert at.accepted == 1


@virtual
async def test_the_last_good_drill_stays_beside_one_that_failed() -> None:
    async with drill_scene() as at:
        await at.up()
        good, first = at.stack.outputs["last_good"], at.at.stored.version_id
        at.at.here.emulator.execute(DATABASE, "DELETE FROM rows")
        at.at.stored = at.at.here.emulator.add_snapshot(DATABASE)  # a backup without its rows
        await anyio.sleep(HOUR)
        for restores in (2, 2, 2):
            await at.up()
            assert f"{ROWS!r} expected at least 1 and found 0" in at.error
            assert f"The last good drill was of snapshot {DATABASE}/{first} at {good['drilled_at']}." in at.error
            assert at.stack.outputs["last_good"] == good
            assert at.stack.outputs["version_id"] == at.at.stored.version_id
            assert at.accepted == restores
        at.at.here.emulator.execute(DATABASE, "INSERT INTO rows VALUES ('then')")
        at.at.stored = at.at.here.emulator.add_snapshot(DATABASE)
        await at.up()
        assert at.error == ""
        assert at.stack.outputs["last_good"]["version_id"] == at.at.stored.version_id
        assert at.accepted == 3


# Other checks ------------------------------------------------------------------------------------------------------------


@virtual
async def test_changed_checks_run_at_once_while_the_restore_is_still_there() -> None:
    async with drill_scene() as at:
        await at.up()
        good = at.stack.outputs["last_good"]
        await anyio.sleep(3 * DAY)
        await at.up(checks=[{"query": ROWS, "at_least": 2}], every="7d")
        assert at.stack.row.notes == [
            (
                f"the checks changed: they run now if database {SCRATCH} still holds this drill's restore, "
                "otherwise with the next drill, which is due at 2026-03-08T12:01:00Z"
            )
        ]
        assert "expected at least 2 and found 1" in at.error
        assert (at.stack.outputs["passed"], at.stack.outputs["last_good"]) == (False, good)
        await at.up(checks=[{"query": ROWS, "at_least": 1}, {"query": "select 7", "equals": 7}], every="7d")
        assert at.error == ""
        assert [each["found"] for each in at.stack.outputs["results"]] == ["1", "7"]
        assert at.stack.outputs["drilled_at"] == good["drilled_at"], "the proof is of that restore"
        assert at.accepted == 1


GONE: dict[str, tuple[Callable[[DrillScene], object], str]] = {
    "restored": (
        lambda at: at.at.somebody_restores(at.at.stored, SCRATCH),
        "the scratch database was started again since, so it may have been restored",
    ),
    "restarted": (
        lambda at: setattr(at.at.here.emulator.databases[SCRATCH], "started_at", at.at.here.emulator.now()),
        "the scratch database was started again since, so it may have been restored",
    ),
    "down": (
        lambda at: setattr(at.at.here.emulator.databases[SCRATCH], "running", False),
        "the scratch database does not run",
    ),
    "unreachable": (
        lambda at: setattr(at.databases, "refuses", 1000),
        "the scratch database cannot be reached: the connection was refused",
    ),
}


@pytest.mark.parametrize("what", GONE)
@virtual
async def test_changed_checks_that_cannot_run_now_say_when_they_will(what: str) -> None:
    async with drill_scene() as at:
        await at.up()
        await anyio.sleep(DAY)
        happens, why = GONE[what]
        if isinstance(going_on := happens(at), Awaitable):
            await going_on
            await anyio.sleep(DAY)
        checks = [{"query": ROWS, "at_least": 5}]
        await at.up(checks=checks)
        then = "They run with the next drill, which another snapshot, other triggers or every begin."
        assert at.stack.row.warnings == [f"the changed checks were not run: {why}. {then}"]
        assert (at.error, at.stack.outputs["passed"], at.accepted) == ("", True, 1 + (what == "restored"))
        # They are in the state, and said once.
        await at.up(checks=checks)
        assert (at.stack.row.notes, at.stack.row.warnings) == ([], [])
        assert not [each for each in at.databases.asked[1:] if each != ROWS]


@virtual
async def test_a_warning_in_place_of_an_error_is_said_at_each_run() -> None:
    async with drill_scene() as at:
        checks = [{"query": ROWS, "at_least": 5}]
        for _ in range(2):
            await at.up(on_failure="warn", checks=checks)
            assert at.error == ""
            (warning,) = at.stack.row.warnings
            assert warning.startswith("the last drill, of snapshot ")
            assert warning.endswith(f"failed: {ROWS!r} expected at least 5 and found 1.")
            assert at.stack.outputs["passed"] is False
        assert len(at.databases.asked) == 1
        await at.up(on_failure="error", checks=checks)
        assert "expected at least 5 and found 1" in at.error
        await at.up(on_failure="warn", checks=[{"query": ROWS, "at_least": 1}])
        assert (at.error, at.stack.row.warnings, at.stack.outputs["passed"]) == ("", [], True)
        assert at.accepted == 1


@virtual
async def test_a_check_that_cannot_be_run_fails_with_the_database_s_words() -> None:
    async with drill_scene() as at:
        await at.up(checks=[{"query": "select count(*) from orders", "at_least": 1}])
        assert (
            "'select count(*) from orders' expected at least 1 and could not be run: no such table: orders" in at.error
        )


@virtual
async def test_a_database_that_comes_up_late_is_waited_for_and_one_that_never_does_is_not_restored_again() -> None:
    async with drill_scene() as at:
        at.databases.refuses = 4
        await at.up()
        assert at.stack.outputs["passed"] is True
        assert "not reachable yet; next check 12:0" in at.told
        at.databases.refuses = 10_000
        await at.up(triggers=["again"])
        assert "the scratch database cannot be reached: the connection was refused" in at.error
        assert at.stack.outputs["failure"] == "the scratch database cannot be reached: the connection was refused"
        assert at.stack.outputs["last_good"]["results"]
        at.databases.refuses = 0
        await at.up(triggers=["again"])
        assert (at.error, at.stack.outputs["passed"]) == ("", True)
        assert "failure" not in at.stack.outputs
        assert at.accepted == 2
        # If it only warns, a later run finds out too: the connection may be corrected by then.
        at.databases.refuses = 10_000
        await at.up(triggers=["once more"], on_failure="warn")
        assert (at.error, at.stack.outputs["passed"]) == ("", False)
        at.databases.refuses = 0
        await at.up(triggers=["once more"], on_failure="warn")
        assert (at.error, at.stack.row.warnings, at.stack.outputs["passed"]) == ("", [], True)
        assert at.accepted == 3


# A restore that fails or does nothing -------------------------------------------------------------------------------------


@virtual
async def test_a_snapshot_that_does_not_restore_fails_the_drill_and_is_tried_again() -> None:
    async with drill_scene() as at:
        at.at.here.emulator.next_restore_fails_with(SCRATCH, "SNAPSHOT_CORRUPT")
        await at.up()
        assert "failed: it could not be restored (SNAPSHOT_CORRUPT)." in at.error
        assert "The next `pulumi up` drills it again." in at.error
        assert at.stack.outputs["failure"] == "SNAPSHOT_CORRUPT"
        assert not at.databases.asked
        await at.up()
        assert (at.error, at.stack.outputs["passed"], at.accepted) == ("", True, 2)


@virtual
async def test_a_restore_that_says_success_and_did_nothing_is_caught() -> None:
    async with drill_scene() as at:
        at.at.here.emulator.next_restore_does_nothing(SCRATCH)
        await at.up()
        assert at.at.holds(SCRATCH) == "now"
        assert f"{ROWS!r} expected at least 1 and found 0" in at.error


# When it drills again ----------------------------------------------------------------------------------------------------


@virtual
async def test_it_drills_again_by_time_triggers_snapshot_and_place_and_not_otherwise() -> None:
    async with drill_scene() as at:
        usual: dict[str, Any] = {"every": "7d", "triggers": ["v1"]}
        await at.up(**usual)
        await anyio.sleep(7 * DAY - HOUR)
        await at.up(**usual)
        assert at.accepted == 1
        await anyio.sleep(2 * HOUR)
        await at.stack.preview(**at.values(**usual))
        assert "last drilled at 2026-03-01T12:01:" in at.told
        await at.up(**usual)
        assert at.accepted == 2
        assert at.stack.outputs["drilled_at"].startswith("2026-03-08T13:0")
        await at.up(**{**usual, "triggers": ["v2"]})
        assert at.accepted == 3
        at.at.stored = at.at.here.emulator.add_snapshot(DATABASE)
        await at.up(**{**usual, "triggers": ["v2"]})
        assert f"{ROWS!r} expected at least 1 and found 0" in at.error, "its rows are those of now"
        assert at.accepted == 4
