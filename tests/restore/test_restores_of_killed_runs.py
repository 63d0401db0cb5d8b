"""What a killed run leaves of a restore, and that no later run on the same machine restores again because of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from pulumi_snapshots.restore.restore import restore
from squarecloud_emulator import Fault
from tests.support.restoring import RESTORER, Scene, scene
from tests.support.virtual import staged, virtual
from tests.support.world import Row

HOUR, DAY = 3600.0, 86400.0


@pytest.mark.parametrize("later", [1.0, 3 * HOUR, 20 * DAY], ids=["at once", "hours later", "weeks later"])
@pytest.mark.parametrize("after", [20.0, 45.0], ids=["before it was seen down", "seen down"])
@pytest.mark.parametrize("route", ["there", "404"], ids=["status", "no status"])
@virtual
async def test_a_killed_restore_is_not_sent_again(after: float, later: float, route: str) -> None:
    async with scene(restore_status_route=route) as at:
        await at.killed(after)
        assert len(at.accepted) == 1
        await anyio.sleep(later)
        if later > 1:
            at.writes("later")
        ending = await at.restore(at.process())
        if route == "there" and later > HOUR:  # what the service said of it is forgotten
            assert "the service no longer shows how the restore of the database ended" in ending.text
            record = ending.pending
        else:
            record = ending.complete
        assert record.requested_at == "2026-03-01T12:00:00Z"
        assert len(at.posts) == 1
        assert at.holds() == ("later" if later > 1 else "then")
        if record.pending:
            return
        (told,) = at.row.warnings
        assert "requested at 2026-03-01T12:00:00Z by an earlier run that may not have saved its state" in told
        assert f"`pulumi up --refresh --replace '{RESTORER}'` restores again" in told


@staged(scene, restore_holds=True, restore_seconds=100.0, restore_status_route="404")
async def test_a_restore_killed_before_its_answer_is_unknown_if_the_service_does_not_say(at: Scene) -> None:
    """The database was down, and came up: for the restore, or because somebody has started it."""
    await at.killed(20)
    for _ in range(2):
        ending = await at.restore(at.process())
        assert ending.how == "pending"
        assert "The service does not say how a restore stands, so what it holds now is not known" in ending.text
    assert len(at.posts) == 1


@staged(scene, restore_holds=True, restore_seconds=30.0)
async def test_a_time_out_before_a_killed_run_s_answer_is_known_does_not_deny_its_restore(at: Scene) -> None:
    await at.killed(10)
    ending = await at.restore(at.process(), timeout=40.0)
    assert at.holds() == "then"
    assert "was not restored" not in ending.text
    assert "it may or may not have been carried out" in ending.text
    assert (await at.resume(ending.pending)).how == "complete"
    assert len(at.posts) == 1


@pytest.mark.parametrize(
    ("kills", "service"),
    [(3, {"restore_seconds": 400.0}), (1, {"restore_queue_seconds": 100.0}), (1, {"restore_queue_seconds": 400.0})],
    ids=["again and again", "in the queue", "long in the queue"],
)
@virtual
async def test_one_that_was_killed_is_followed_and_sent_once(kills: int, service: dict[str, Any]) -> None:
    async with scene(**service) as at:
        for _ in range(kills):
            await at.killed(70 if kills > 1 else 30)
        assert (await at.restore(at.process())).how == "complete"
        assert len(at.posts) == 1
        assert at.holds() == "then"


@staged(scene)
async def test_one_killed_before_its_post_left_is_sent(at: Scene) -> None:
    at.here.emulator.add_fault(Fault(kind="restore", status=429, code="KEEP_CALM", times=None))
    await at.killed(30)
    at.here.emulator.clear_faults()
    assert (await at.restore(at.process())).how == "complete"
    assert len(at.accepted) == 1


@staged(scene)
async def test_a_newer_snapshot_after_a_kill_is_not_restored_but_told(at: Scene) -> None:
    """`get_latest_snapshot` as its source, and an automatic snapshot came between the kill and the next up."""
    await at.killed(45)
    await anyio.sleep(30)
    at.writes("later")
    newer = at.here.emulator.add_snapshot(at.stored.database_id, origin="automatic")
    record = (await at.restore(at.process(), version_id=newer.version_id)).complete
    assert record.version_id == at.stored.version_id
    assert any("set triggers to restore again" in warning for warning in at.row.warnings)
    assert at.holds() == "later"
    assert len(at.posts) == 1


@staged(scene)
async def test_other_triggers_after_a_kill_restore_again_and_so_do_the_first(at: Scene) -> None:
    await at.killed(45, triggers=["v1"])
    assert (await at.restore(at.process(), triggers=["v2"])).how == "complete"
    assert len(at.accepted) == 2
    at.writes("later")
    await anyio.sleep(HOUR)
    assert (await at.restore(at.process(), triggers=["v1"])).how == "complete"
    assert len(at.accepted) == 3
    assert at.holds() == "then"


@staged(scene, restore_seconds=200.0)
async def test_two_runs_of_one_machine_restore_one_database_after_the_other(at: Scene) -> None:
    rows = Row(), Row()
    async with anyio.create_task_group() as group:
        for number, row in enumerate(rows):
            operation = partial(restore, at.process(), at.inputs(), row, f"urn:{number}")
            group.start_soon(operation)
    assert len(at.accepted) == 2
    assert any("waiting for an earlier restore of this database" in text for row in rows for text in row.shown)
    assert all(post.code != "RESTORE_IN_PROGRESS" for post in at.posts)


@staged(scene, restore_seconds=8.0, restore_status_route="404")
async def test_an_accepted_restore_killed_in_its_first_poll_is_known(at: Scene) -> None:
    at.here.emulator.add_fault(Fault(kind="status", skip=2, delay=25.0, times=None))
    await at.killed(12)
    (attempt,) = await at.process().ledger.attempts()
    assert attempt.request.answered == "200"
    at.here.emulator.clear_faults()
    await anyio.sleep(600)
    assert (await at.restore(at.process())).how == "complete"
    assert len(at.posts) == 1


@staged(scene, restore_seconds=20.0)
async def test_a_success_seen_before_the_kill_is_known_for_weeks(at: Scene) -> None:
    stopped = '{"status": "success", "response": {"running": false}}'
    at.here.emulator.add_fault(Fault(kind="status", skip=1, times=None, body=stopped))
    await at.killed(50)
    at.here.emulator.clear_faults()
    await anyio.sleep(20 * DAY)
    assert (await at.restore(at.process())).how == "complete"
    assert len(at.posts) == 1


@pytest.mark.parametrize("renamed", ["the stack", "the resource"])
@pytest.mark.parametrize("earlier", ["killed", "unsaved"])
@staged(scene)
async def test_a_renamed_restore_of_a_lost_state_is_refused_with_a_way_out(
    at: Scene, earlier: str, renamed: str
) -> None:
    if earlier == "killed":
        await at.killed(45)
    else:
        assert (await at.restore(at.process())).how == "complete"
    at.writes("later")
    owner = RESTORER.replace(":dev:", ":prod:") if renamed == "the stack" else RESTORER.replace("::back", "::again")
    refused = await at.ending(restore(at.process(), at.inputs(), at.row, owner))
    assert refused.how == "nothing"
    assert "this may be the same restore under another name.\nNothing was restored." in refused.text
    assert "Other triggers restore it all the same." in refused.text
    assert at.holds() == "later"
    await anyio.sleep(HOUR)
    other = at.inputs(triggers=["another"])
    assert (await at.ending(restore(at.process(), other, at.row, owner))).how == "complete"
    assert len(at.posts) == 2
