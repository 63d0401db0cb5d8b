"""The service says how a restore stands: only its success is one, a failure is told, and another's restore is not ours."""

from typing import Any

import anyio
import pytest

from pulumi_snapshots.run.calls import ResourceNotFinished
from pulumi_snapshots.snapshot.difference import SnapshotRules
from tests.ledger.play import back, given, play
from tests.support.engine_calls import Stack
from tests.support.restoring import Scene, says, scene
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OWNER

HOUR = 3600.0
DAY = 86400.0


# Success -------------------------------------------------------------------------------------------------------------


@staged(scene, restore_seconds=200.0, restore_stops_database=False)
async def test_a_restore_is_done_only_when_the_service_says_so(at: Scene) -> None:
    """A database that stays up while it is restored would look settled after a minute."""
    ending = await at.restore()
    assert ending.how == "complete"
    assert at.elapsed == 210
    assert at.holds() == "then"
    polls = [text for text in at.row.shown if text.startswith("restoring; next poll ")]
    assert {text.rpartition(": ")[2] for text in polls} >= {
        "step download",
        "step unzip",
    }


NOT_RUNNING = (
    """skip=1 times=None body='{"status":"success","response":{"running":false}}'"""
)
NO_START = """times=None body='{"status":"success","response":{"running":true}}'"""
"""It says that the database runs, and not since when."""
NO_ROUTE = "restore_status_route='404'"
NONE = "The service has shown no restore of the database since, so what it holds now is not known"
STORIES = {
    "one whose time ends right before its request leaves has sent nothing": """
        fault restore_status skip=1 delay=40 times=1; R up timeout=4s refused: connecting to the service; sent 0; R up;
        rows then; sent 1
    """,
    "one that a new code has refused, and that has not begun since, may be sent again": """
        fault restore status=404 code=SOMETHING_NEW; R up v1 refused: SOMETHING_NEW; accepted 0; R up v1; rows then;
        accepted 1
    """,
    "one whose key is refused right before its request leaves has sent nothing": """
        fault restore_status status=401 code=ACCESS_DENIED skip=1 times=1; R up refused; sent 0
    """,
    "a success is told apart from a database that runs, as long as it does not": f"""
        fault status {NOT_RUNNING}; R up timeout=15m pending; R up: was not seen running; sent 1
    """,
    "one that was done stays done, though the service does not show its database in the next run": f"""
        service {NO_ROUTE}; R up v1 unsaved; wait 600; fault status status=503 times=None; R up v1 within=60: by an earlier run;
        sent 1
    """,
    "the end of one that another one has waited for is entered for its own next run": f"""
        service {NO_ROUTE}; R.b up v1 killed=45; R up v2 within=400; rows then; R.b up v1 within=5: by an earlier run; accepted 2
    """,
    "a failure that another one has waited for is a failure": """
        service restore_seconds=100.0; the next restore fails SNAPSHOT_CORRUPT; R.b up v1 killed=20; R up v2;
        R.b up v1 refused: SNAPSHOT_CORRUPT; sent 2
    """,
    "one whose end nobody will see holds up no other one": """
        fault restore drop=True when=before times=1; R.b up v1 timeout=40m killed=60; wait 200; somebody restores;
        wait 200; R up v2 within=600; rows then; sent 3
    """,
    "a 202 is followed and never sent again": """
        service restore_seconds=300.0 restore_holds=True; R up pending timeout=100s; R up; rows then; sent 1
    """,
    "a success is known after its hour, though the database did not run": f"""
        fault status {NOT_RUNNING}; R up timeout=15m pending: and succeeded, but the database was not seen running since. The
        wait ended after 15 min.; mend; wait {3 * HOUR}; R up; sent 1
    """,
    **{
        f"one from right before a lost one is not ours, in a later run either: {pause} s, {code}": f"""
            service restore_seconds=0.0 restore_tail_seconds=0.0; {code and f"the next restore fails {code}; "}somebody restores;
            wait {pause}; fault restore drop=True; R up pending timeout=5m: {NONE}; R up pending timeout=5m: {NONE}
        """
        for pause in (1, 140)
        for code in ("", "RESTORE_INTERRUPTED")
    },
    **{
        f"the success of a later one is not ours: {fault}": f"""
            service restore_seconds=5.0 restore_tail_seconds=0.0; {fault}R up pending timeout=1s; wait 400; somebody restores;
            wait 100; R up pending: which may be another one, began at 2026-03-01T12:06:41Z; R is undecided; sent 2
        """
        for fault in ("", "fault restore drop=True; ")
    },
    "one that no run has followed is not called another's": """
        service restore_queue_seconds=400.0; R up timeout=3m pending; wait 1800;
        R up pending: which may be another one, began at 2026-03-01T12:06:40Z
    """,
    **{
        f"a failed one is not sent again but for other triggers: {code}, {kill}": f"""
            the next restore fails {code}; {kill}R up refused: What the database holds now is not known.{again}; sent 1;
            R up refused: What the database holds now is not known.; sent 1; R up v2; rows then; sent 2
        """
        for kill in ("", "R up killed=20; wait 100; ")
        for code, again in (
            ("SNAPSHOT_CORRUPT", ""),
            ("SOMETHING_NEW", " & Other triggers restore again"),
        )
    },
    **{
        f"a new code stays pending while it may hide a restore: {service}": f"""
            service {service}; fault restore status=404 code=SOMETHING_NEW; R up timeout=10s pending;
            R up timeout=10s pending: 404 SOMETHING_NEW): it may or may not have been carried out; sent 1
        """
        for service in ("restore_status_route='there'", NO_ROUTE)
    },
    **{
        f"one answer that the route is missing hides no failure: {fault}": f"""
            fault restore_status skip=2 {fault}; the next restore fails SNAPSHOT_CORRUPT; R up refused: the snapshot is damaged
        """
        for fault in ("html=404", "status=404 code=NOT_FOUND", "html=405")
    },
    # No such route: the database's own status decides, and proves less.
    **{
        f"a database never seen down is watched until it settles: {settle} s": f"""
            service {NO_ROUTE} settings={{'restore_settle':{settle}.0}}; fault status {NO_START}; R up within={settle + 1};
            it is over {settle - 1}
        """
        for settle in (60, 200)
    },
    "a database that says that it has started since ends the wait": f"""
        service restore_seconds=5.0 {NO_ROUTE}; R up within=59; rows then
    """,
    "a restore that waits for its turn is watched for longer": f"""
        service restore_queue_seconds=150.0 restore_seconds=20.0 {NO_ROUTE}; wait 60; R up; rows then
    """,
    "a database that has not started since is watched for 5 minutes": f"""
        service restore_stops_database=False {NO_ROUTE}; wait 60; R up within=331; it is over 329
    """,
    **{
        f"a resume {later} s later does not wait for it to settle again": f"""
            service restore_seconds=0.0 {NO_ROUTE}; fault status {NO_START}; R up timeout=5s pending; wait {later};
            R up within={left}
        """
        for later, left in ((1, 56), (3600, 1))
    },
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
@virtual
async def test_a_story_of_several_runs(story: str) -> None:
    await play(story)


# Failure -------------------------------------------------------------------------------------------------------------


@staged(scene, restore_seconds=60.0)
async def test_a_failed_restore_that_the_state_keeps_is_not_under_way_again_once_the_ledger_has_forgotten_it(
    at: Scene,
) -> None:
    at.here.emulator.next_restore_fails_with(DATABASE, "SNAPSHOT_CORRUPT")
    stack = back(at)
    await stack.up(timeout=10.0, **given(at))
    await anyio.sleep(600)
    await stack.up(**given(at))
    assert "SNAPSHOT_CORRUPT" in str(stack.error)
    with pytest.raises(ResourceNotFinished, match="SNAPSHOT_CORRUPT"):
        await stack.rules.read(stack.call(), stack.id, stack.outputs)
    await anyio.sleep(3 * HOUR)
    # whose request lets it be forgotten
    await Stack(SnapshotRules(), stack.machine, OWNER).up(database_id=DATABASE)
    await stack.destroy()
    assert all(each.is_over for each in await stack.session.ledger.attempts())


# Not known -----------------------------------------------------------------------------------------------------------


NO_TIMES: dict[str, dict[str, Any]] = {
    "missing": {},
    "null": {"started_at": None, "finished_at": None},
    "odd": {"started_at": "soon", "finished_at": True},
    "beyond all dates": {"started_at": 1e300, "finished_at": -1e300},
    "tomorrow": {"started_at": 1772452800000, "finished_at": 1772452860000},
}


@pytest.mark.parametrize("times", NO_TIMES.values(), ids=NO_TIMES)
@virtual
async def test_without_usable_times_only_an_accepted_restore_that_was_followed_is_done(
    times: dict[str, Any],
) -> None:
    async with scene() as at:
        says(at, state="running", **times)
        says(at, times=None, state="success", **times)
        assert (await at.restore()).how == "complete"
        assert at.elapsed == 60, "when the database runs"
    async with scene() as at:
        at.here.fault(kind="restore", drop=True)
        says(at, times=None, state="success", **times)
        assert (await at.restore()).how == "pending"


@staged(scene)
async def test_without_times_the_outcome_of_an_earlier_restore_is_not_ours(
    at: Scene,
) -> None:
    says(at, skip=0, times=5, state="success")
    assert (await at.restore()).how == "complete"
    assert at.elapsed == 90, "the fifth answer is the first that differs"
