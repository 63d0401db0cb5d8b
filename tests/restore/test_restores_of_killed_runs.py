"""What a killed run leaves of a restore, and that no later run on the same machine restores again because of it."""

from dataclasses import replace
from functools import partial

import anyio
import pytest

from pulumi_snapshots.ledger.place import Document
from pulumi_snapshots.restore.restore import restore
from pulumi_snapshots.service.errors import RestoreFailed
from tests.ledger.play import back, given, on_stage, play
from tests.support.engine_calls import Machine
from tests.support.failing import flat
from tests.support.restoring import RESTORER, Scene, scene
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, Row

CORRUPT = "SNAPSHOT_CORRUPT"
HOUR = 3600
DAY = 86400
AGAIN = f"may not have saved its state & `pulumi up --refresh --replace '{RESTORER}'` restores again"
FORGOTTEN = "the service no longer shows how the restore of the database ended"
UNKNOWN = (
    "The service does not say how a restore is going, so what it holds now is not known"
)
NOT_RUNNING = (
    """skip=1 times=None body='{"status":"success","response":{"running":false}}'"""
)
STORIES = {
    **{
        f"a killed restore is not sent again: status {route}, after {after} s, {later} s later": f"""
            service restore_status_route='{route}'; R up killed={
            after
        }; accepted 1; wait {later};
            {"rows change; " if later > 1 else ""}R up {
            f"pending: {FORGOTTEN}"
            if route == "there" and later > HOUR
            else f": requested at 2026-03-01T12:00:00Z by an earlier run that {AGAIN}"
        };
            R has the first; rows {"later" if later > 1 else "then"}; sent 1
        """.replace(" :", ":")
        for route in ("there", "404")
        for after in (20, 45)
        for later in (1, 3 * HOUR, 20 * DAY)
    },
    # The database was down, and came up: for the restore, or because somebody has started it.
    "one killed before its answer is unknown if the service does not say": f"""
        service restore_holds=True restore_seconds=100.0 restore_status_route='404'; R up killed=20;
        R up unsaved pending: {UNKNOWN}; R up unsaved pending: {UNKNOWN}; sent 1
    """,
    "a time-out before a killed run's answer is known does not deny its restore": """
        service restore_holds=True restore_seconds=30.0; R up killed=10;
        R up pending timeout=40s: it may or may not have been carried out; rows then; R up; sent 1
    """,
    **{
        f"one that was killed is followed and sent once: {kills}, {service}": f"""
            service {service}; {"R up killed=70; " * kills if kills > 1 else "R up killed=30; "}R up: by an earlier run; sent 1; rows then
        """
        for kills, service in (
            *(
                (3, "restore_seconds=400.0"),
                (1, "restore_queue_seconds=100.0"),
                (1, "restore_queue_seconds=400.0"),
            ),
        )
    },
    "one whose request never came is not taken for somebody's that began minutes later": """
        fault restore drop=True when=before times=1; R starts up timeout=20m pending;
        wait 300; somebody restores; R ends: which may be another one
    """,
    "one killed before its request left is sent": """
        fault restore status=429 code=KEEP_CALM times=None; R up killed=30; mend; R up; accepted 1; rows then
    """,
    "other triggers after a kill restore again, and so do the first": """
        R up v1 killed=45; R up v2; accepted 2; rows change; wait 3600; R up v1; accepted 3; rows then
    """,
    "an accepted one killed in its first poll is known": """
        service restore_seconds=8.0 restore_status_route='404'; fault status skip=2 delay=25.0 times=None;
        R up killed=12; mend; wait 600; R up: by an earlier run; sent 1
    """,
    "a success seen before the kill is known for weeks": f"""
        service restore_seconds=20.0; fault status {NOT_RUNNING}; R up killed=50; mend; wait {20 * DAY};
        R up: by an earlier run; sent 1
    """,
    **{
        f"a renamed one of a lost state is refused with a way out: {earlier}": f"""
            R up {earlier}; rows change;
            R.again up refused: may be the same restore under another name. This run has sent nothing. &
            Other triggers do it all the same.;
            rows later; wait 3600; R.again up v2; sent 2
        """
        for earlier in ("killed=45", "unsaved")
    },
    **{
        f"another stack has a restore of its own: {earlier}": f"""
            R up {earlier}; wait 300; rows change; R@prod up; rows then; sent 2
        """
        for earlier in ("killed=45", "unsaved")
    },
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
@virtual
async def test_no_later_run_restores_again_because_of_a_killed_one(story: str) -> None:
    await play(story)


@staged(scene)
async def test_a_newer_snapshot_after_a_kill_is_not_restored_but_told(
    at: Scene,
) -> None:
    """`get_latest_snapshot` as its source, and an automatic snapshot came between the kill and the next up."""
    await at.killed(45)
    await anyio.sleep(30)
    at.writes("later")
    newer = at.here.emulator.add_snapshot(at.stored.database_id, origin="automatic")
    record = (await at.restore(at.process(), version_id=newer.version_id)).complete
    assert record.version_id == at.stored.version_id
    assert any(
        "set triggers to restore again" in warning for warning in at.row.warnings
    )
    assert at.holds() == "later"
    assert len(at.posts) == 1


@staged(scene, restore_seconds=300.0)
async def test_a_pending_restore_stays_that_of_its_snapshot_though_the_program_names_a_newer_one(
    at: Scene,
) -> None:
    stack = back(at)
    await stack.up(timeout="20s", **given(at))
    assert stack.pending
    newer = at.here.emulator.add_snapshot(at.stored.database_id)
    stack.machine = Machine(at.here)  # whose ledger does not know it
    await stack.up(**given(at, version_id=newer.version_id))
    assert stack.error is None
    assert stack.outputs["version_id"] == at.stored.version_id
    assert len(at.posts) == 1


@virtual
async def test_a_command_that_is_typed_again_does_not_doubt_a_state_that_it_never_had() -> (
    None
):
    restores = "types restore SNAPSHOT --no-keep --yes"
    story = f"service restore_seconds=100.0; fails {restores} --timeout 20s; {restores}"
    async with on_stage(story) as stage:
        assert stage.typed is not None
        assert "no new request was sent" in flat(stage.typed.err)
        assert "may not have saved its state" not in flat(stage.typed.err)
        await stage.move("sent 1")


@staged(scene, restore_seconds=200.0)
async def test_two_runs_of_one_machine_restore_one_database_after_the_other(
    at: Scene,
) -> None:
    rows = Row(), Row()
    async with anyio.create_task_group() as group:
        for number, row in enumerate(rows):
            operation = partial(
                restore, at.process(), at.inputs(), row, f"urn:{number}"
            )
            group.start_soon(operation)
    assert len(at.accepted) == 2
    assert any(
        "waiting for the restore of `urn:" in text for row in rows for text in row.shown
    )
    assert all(post.code != "RESTORE_IN_PROGRESS" for post in at.posts)


@staged(scene)
async def test_a_failure_seen_by_a_run_that_was_killed_then_is_not_told_as_a_success(
    at: Scene,
) -> None:
    """The killed run has entered what the service said, and not yet that its restore is over."""
    at.here.emulator.next_restore_fails_with(DATABASE, CORRUPT)
    killed = at.process()

    def kill(document: Document) -> str:
        vars(killed.ledger.place).update(killed=CORRUPT in str(document))
        return ""

    at.place.accident = kill
    await at.restore(killed)
    at.place.accident = None
    (left,) = await at.process().ledger.attempts()
    assert left.request.outcome == CORRUPT
    assert not left.is_over
    later = await at.restore(at.process())
    assert isinstance(later.error, RestoreFailed)
    assert len(at.posts) == 1


@staged(scene)
async def test_a_failure_in_the_state_needs_neither_the_ledger_nor_the_service(
    at: Scene,
) -> None:
    at.here.emulator.next_restore_fails_with(DATABASE, CORRUPT)
    failed = await at.restore(at.process(), timeout=1.0)
    await anyio.sleep(600)
    assert failed.record is not None
    failed = await at.resume(failed.record)
    assert failed.how == "failed"
    requests = len(at.here.emulator.journal)
    at.place.refuses_writes = at.place.refuses_reads = "the disk is full"
    assert failed.record is not None
    again = await at.resume(failed.record)
    assert again.record == failed.record
    assert len(at.here.emulator.journal) == requests


@staged(scene, restore_seconds=300.0)
async def test_a_pending_restore_without_its_request_sends_nothing(at: Scene) -> None:
    """A state that was edited: nothing says what was sent."""
    pending = (await at.restore(at.process(), timeout=20.0)).record
    assert pending is not None
    edited = replace(pending, attempt=None)
    assert (await at.resume(edited)).record == edited
    assert len(at.posts) == 1
