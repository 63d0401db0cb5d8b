"""What a killed run leaves of a restore, and that no later run on the same machine restores again because of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from pulumi_snapshots.restore.restore import restore
from squarecloud_emulator import Fault
from tests.support.restoring import RESTORER, scene
from tests.support.virtual import virtual
from tests.support.world import Row

if TYPE_CHECKING:
    pass

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


@virtual
async def test_a_restore_killed_before_its_answer_is_unknown_if_the_service_does_not_say() -> None:
    """The database was down, and came up: for the restore, or because somebody has started it."""
    async with scene(restore_holds=True, restore_seconds=100.0, restore_status_route="404") as at:
        await at.killed(20)
        for _ in range(2):
            ending = await at.restore(at.process())
            assert ending.how == "pending"
            assert "The service does not say how a restore stands, so what it holds now is not known" in ending.text
        assert len(at.posts) == 1


@virtual
async def test_a_time_out_before_a_killed_run_s_answer_is_known_does_not_deny_its_restore() -> None:
    async with scene(restore_holds=True, restore_seconds=30.0) as at:
        await at.killed(10)
        ending = await at.restore(at.process(), timeout=40.0)
        assert at.holds() == "then"
        assert "was not restored" not in ending.text
        assert "it may or may not have been carried out" in ending.text
        assert (await at.resume(ending.pending)).how == "complete"
        assert len(at.posts) == 1


@virtual
async def test_one_that_was_killed_again_and_again_is_sent_once() -> None:
    async with scene(restore_seconds=400.0) as at:
        for _ in range(3):
            await at.killed(70)
        assert (await at.restore(at.process())).how == "complete"
        assert len(at.posts) == 1


@pytest.mark.parametrize("queue", [100.0, 400.0])
@virtual
async def test_one_killed_in_the_queue_is_followed_by_the_next_run(queue: float) -> None:
    async with scene(restore_queue_seconds=queue) as at:
        await at.killed(30)
        assert (await at.restore(at.process())).how == "complete"
        assert len(at.posts) == 1
        assert at.holds() == "then"


@virtual
async def test_one_killed_before_its_post_left_is_sent() -> None:
    async with scene() as at:
        at.here.emulator.add_fault(Fault(kind="restore", status=429, code="KEEP_CALM", times=None))
        await at.killed(30)
        at.here.emulator.clear_faults()
        assert (await at.restore(at.process())).how == "complete"
        assert len(at.accepted) == 1


@virtual
async def test_a_newer_snapshot_after_a_kill_is_not_restored_but_told() -> None:
    """`get_latest_snapshot` as its source, and an automatic snapshot came between the kill and the next up."""
    async with scene() as at:
        await at.killed(45)
        await anyio.sleep(30)
        at.writes("later")
        newer = at.here.emulator.add_snapshot(at.stored.database_id, origin="automatic")
        record = (await at.restore(at.process(), version_id=newer.version_id)).complete
        assert record.version_id == at.stored.version_id
        assert any("set triggers to restore again" in warning for warning in at.row.warnings)
        assert at.holds() == "later"
        assert len(at.posts) == 1


@virtual
async def test_other_triggers_after_a_kill_restore_again_and_so_do_the_first() -> None:
    async with scene() as at:
        await at.killed(45, triggers=["v1"])
        assert (await at.restore(at.process(), triggers=["v2"])).how == "complete"
        assert len(at.accepted) == 2
        at.writes("later")
        await anyio.sleep(HOUR)
        assert (await at.restore(at.process(), triggers=["v1"])).how == "complete"
        assert len(at.accepted) == 3
        assert at.holds() == "then"


@virtual
async def test_two_runs_of_one_machine_restore_one_database_after_the_other() -> None:
    async with scene(restore_seconds=200.0) as at:
        rows = Row(), Row()
        async with anyio.create_task_group() as group:
            for number, row in enumerate(rows):
                operation = partial(restore, at.process(), at.inputs(), row, f"urn:{number}")
                group.start_soon(operation)
        assert len(at.accepted) == 2
        assert any("waiting for an earlier restore of this database" in text for row in rows for text in row.shown)
        assert all(post.code != "RESTORE_IN_PROGRESS" for post in at.posts)


@virtual
async def test_an_accepted_restore_killed_in_its_first_poll_is_known() -> None:
    async with scene(restore_seconds=8.0, restore_status_route="404") as at:
        at.here.emulator.add_fault(Fault(kind="status", skip=2, delay=25.0, times=None))
        await at.killed(12)
        (attempt,) = await at.process().ledger.attempts()
        assert attempt.request.answered == "200"
        at.here.emulator.clear_faults()
        await anyio.sleep(600)
        assert (await at.restore(at.process())).how == "complete"
        assert len(at.posts) == 1


@virtual
async def test_a_success_seen_before_the_kill_is_known_for_weeks() -> None:
    async with scene(restore_seconds=20.0) as at:
        stopped = '{"status": "success", "response": {"running": false}}'
        at.here.emulator.add_fault(Fault(kind="status", skip=1, times=None, body=stopped))
        await at.killed(50)
        at.here.emulator.clear_faults()
        await anyio.sleep(20 * DAY)
        assert (await at.restore(at.process())).how == "complete"
        assert len(at.posts) == 1


@pytest.mark.parametrize("renamed", ["the stack", "the resource"])
@pytest.mark.parametrize("earlier", ["killed", "unsaved"])
@virtual
async def test_a_renamed_restore_of_a_lost_state_is_refused_with_a_way_out(earlier: str, renamed: str) -> None:
    async with scene() as at:
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
