"""The service says how a restore stands: only its success is one, a failure is told, and another's restore is not ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from pulumi_snapshots.restore.difference import restore_difference
from pulumi_snapshots.restore.restore import RestorePending
from pulumi_snapshots.service.errors import DatabaseMissing, NotAllowed, RestoreFailed, SquareCloudError
from squarecloud_emulator import Fault
from tests.support.restoring import RESTORER, scene
from tests.support.virtual import run_virtual, virtual
from tests.support.world import DATABASE, OTHER_DATABASE

if TYPE_CHECKING:
    from tests.support.restoring import Scene

HOUR, DAY = 3600.0, 86400.0
AHEAD = [pytest.param("there", id="status"), pytest.param("404", id="404"), pytest.param("405", id="405")]

CODES = {
    "SNAPSHOT_RESTORE_FAILED": ("could not restore the snapshot", "Check that the database is running and healthy."),
    "SNAPSHOT_CORRUPT": ("the snapshot is damaged", "Restore another snapshot, which `squarecloud-snapshots list "),
    "RESTORE_INTERRUPTED": ("node restarted before it was over", "Check what the database holds."),
    "CONTAINER_NOT_FOUND": ("does not find the database's container", "Check that the database is running"),
    "CLUSTER_MAINTENANCE_TRY_LATER": ("cluster is under maintenance", "Run it again after "),
    "SNAPSHOT_DATABASE_MISMATCH": ("of another database engine", "onto a database of the same engine"),
    "UPGRADE_REQUIRED": ("plan does not include this", "A larger plan allows more."),
    "SNAPSHOT_NOT_FOUND": ("the service has no such snapshot", "Check the version id"),
    "SOMETHING_NEW": ("could not restore the snapshot", "The service's support can say more."),
}
"""By code: what it means, and what to do."""


def asked(at: Scene) -> int:
    """How many requests for the status of a restore were sent."""
    return len(at.here.requests("restore status"))


def says(at: Scene, skip: int = 1, times: int | None = 1, **response: Any) -> None:
    """Have the service say this of a restore; it is asked once before the POST."""
    body = json.dumps({"status": "success", "response": response})
    at.here.emulator.add_fault(Fault(kind="restore status", skip=skip, times=times, body=body))


def milliseconds(at: Scene, after: float) -> int:
    """A time, that many seconds from now."""
    return round((at.here.emulator.now().timestamp() + after) * 1000)


# Success -------------------------------------------------------------------------------------------------------------


@virtual
async def test_a_restore_is_done_only_when_the_service_says_so() -> None:
    """A database that stays up while it is restored would look settled after a minute."""
    async with scene(restore_seconds=200.0, restore_stops_database=False) as at:
        ending = await at.restore()
        assert ending.how == "complete"
        assert at.elapsed == 210
        assert at.holds() == "then"
        polls = [text for text in at.row.shown if text.startswith("restoring; next check ")]
        assert {text.rpartition(": ")[2] for text in polls} >= {"download", "unzip"}


@virtual
async def test_a_restore_takes_few_requests() -> None:
    """One before the POST, one every 30 s after it; the database's own status only before and at the end."""
    async with scene(restore_seconds=70.0) as at:
        assert (await at.restore()).how == "complete"
        assert asked(at) == 1 + 4
        assert len(at.here.requests("status")) == 2
        assert len(at.here.emulator.journal) == 8


@virtual
async def test_a_queued_restore_is_waited_for_however_late_it_begins() -> None:
    async with scene(restore_queue_seconds=400.0) as at:
        ending = await at.restore()
        assert ending.how == "complete"
        assert "restore queued" in ending.text
        assert at.holds() == "then"


@virtual
async def test_a_202_is_followed_and_never_sent_again() -> None:
    async with scene(restore_seconds=300.0, restore_holds=True) as at:
        record = (await at.interrupted(100)).pending
        assert record.attempt is not None
        assert record.attempt.answered == "202"
        assert (await at.resume(record)).how == "complete"
        assert [post.code for post in at.posts] == ["SNAPSHOT_RESTORE_PROCESSING"]
        assert at.holds() == "then"


@virtual
async def test_a_restored_database_that_does_not_run_yet_is_waited_for() -> None:
    async with scene() as at:
        stopped = '{"status": "success", "response": {"running": false}}'
        at.here.emulator.add_fault(Fault(kind="status", skip=1, times=3, body=stopped))
        ending = await at.restore()
        assert ending.how == "complete"
        assert "restored; next check 12:" in ending.text
        assert asked(at) == 4, "it has succeeded: only the database is asked for"


@virtual
async def test_a_success_is_known_after_its_hour_though_the_database_did_not_run() -> None:
    async with scene() as at:
        stopped = '{"status": "success", "response": {"running": false}}'
        at.here.emulator.add_fault(Fault(kind="status", skip=1, times=None, body=stopped))
        ending = await at.restore()
        assert "and succeeded, but the database was not seen running since. The wait ended after 15 min." in ending.text
        at.here.emulator.clear_faults()
        await anyio.sleep(3 * HOUR)
        assert (await at.resume(ending.pending)).how == "complete"
        assert len(at.posts) == 1


@virtual
async def test_no_restore_right_after_the_post_is_not_yet_one() -> None:
    async with scene() as at:
        says(at, times=2, state="none")
        ending = await at.restore()
        assert ending.how == "complete"
        assert "UTC: not started yet" in ending.text


@virtual
async def test_polls_of_the_status_that_fail_do_not_end_the_watch() -> None:
    async with scene() as at:
        at.here.emulator.add_fault(Fault(kind="restore status", status=500, code="BROKEN", skip=1, times=12))
        ending = await at.restore()
        assert ending.how == "complete"
        assert "last check failed (BROKEN)" in ending.text
        assert len(at.posts) == 1


@virtual
async def test_an_outcome_of_the_last_hour_is_found_by_the_next_up() -> None:
    async with scene() as at:
        record = (await at.interrupted(5)).pending
        await anyio.sleep(HOUR / 2)
        before = at.elapsed
        assert (await at.resume(record)).how == "complete"
        assert at.elapsed - before < 1


# Failure -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
@virtual
async def test_a_failed_restore_says_why_and_what_to_do_and_leaves_no_state(code: str) -> None:
    async with scene() as at:
        at.here.emulator.next_restore_fails_with(DATABASE, code)
        ending = await at.restore()
        meaning, step = CODES[code]
        assert isinstance(ending.nothing, RestoreFailed)
        assert ending.nothing.code == code
        assert "was requested at 2026-03-01T12:00:00Z and failed: " in ending.text
        assert meaning in ending.text
        assert step in ending.text
        assert "What the database holds now is not known." in ending.text
        assert at.holds() == "now"
        assert len(at.posts) == 1, "it is not sent again in the same run"
        assert ("The next `pulumi up` restores again" in ending.text) == (code != "SNAPSHOT_CORRUPT")
        if code == "SNAPSHOT_CORRUPT":  # no advice to restore it again
            assert "or remove the Restore: the next `pulumi up` restores this one again." in ending.text
        assert (await at.restore(at.process())).how == "complete"
        assert at.holds() == "then"


@virtual
async def test_the_step_in_which_a_restore_failed_is_shown() -> None:
    async with scene() as at:
        at.here.emulator.next_restore_fails_with(DATABASE, "SNAPSHOT_CORRUPT")
        assert "failed: the snapshot is damaged." in (await at.restore()).text


@virtual
async def test_a_failure_without_a_code_is_one() -> None:
    async with scene() as at:
        says(at, state="error", started_at=milliseconds(at, 1), finished_at=milliseconds(at, 2), code={"odd": 1})
        ending = await at.restore()
        assert isinstance(ending.nothing, RestoreFailed)
        assert "could not restore the snapshot" in ending.text


@pytest.mark.parametrize("code", ["SNAPSHOT_CORRUPT", "UPGRADE_REQUIRED"])
@virtual
async def test_a_failure_in_the_answer_of_the_post_leaves_no_state(code: str) -> None:
    async with scene(restore_holds=True) as at:
        at.here.emulator.next_restore_fails_with(DATABASE, code)
        ending = await at.restore()
        assert str(ending.nothing).endswith(f"[POST /databases/{DATABASE}/snapshots/restore: 404 {code}]")
        assert len(at.posts) == 1


@virtual
async def test_an_answer_with_a_new_code_to_a_restore_that_failed_is_its_failure() -> None:
    async with scene(restore_holds=True) as at:
        at.here.emulator.next_restore_fails_with(DATABASE, "SOMETHING_NEW")
        ending = await at.restore()
        assert isinstance(ending.nothing, RestoreFailed)
        assert "[status of the restore: SOMETHING_NEW" in ending.text
        assert [post.code for post in at.posts] == ["SOMETHING_NEW"]


NEW: list[dict[str, Any]] = [
    {"status": 404, "code": "SOMETHING_NEW"},
    {"status": 422, "code": "SOMETHING_NEW"},
    {"status": 500, "code": "SOMETHING_NEW"},
    {"html": 404},
]


@pytest.mark.parametrize("fault", NEW, ids=str)
@virtual
async def test_after_an_answer_with_a_new_code_the_status_decides(fault: dict[str, Any]) -> None:
    for when in ("after", "before"):
        async with scene() as at:
            at.here.emulator.add_fault(Fault(kind="restore", when=when, **fault))
            ending = await at.restore()
            assert "refused; next check" in ending.text
            if when == "after":
                assert ending.how == "complete"
                assert at.holds() == "then"
            else:
                assert isinstance(ending.nothing, SquareCloudError)
                assert "Nothing was restored: by the service's status no restore has begun since." in ending.text
                assert at.elapsed == 120, "a restore would have begun by then"
            assert len(at.posts) == 1


@pytest.mark.parametrize("route", ["there", "404"])
def test_a_new_code_stays_pending_while_it_may_hide_a_restore(route: str) -> None:
    async def body() -> None:
        async with scene(restore_status_route=route) as at:
            at.here.emulator.add_fault(Fault(kind="restore", status=404, code="SOMETHING_NEW"))
            record = (await at.interrupted(10)).pending if route == "there" else (await at.restore()).pending
            ending = await at.resume(record)
            assert ending.how == "pending"
            assert "404 SOMETHING_NEW): it may or may not have been carried out" in ending.text
            assert len(at.posts) == 1

    run_virtual(body)


@virtual
async def test_a_lost_answer_to_a_restore_that_failed_is_its_failure() -> None:
    async with scene() as at:
        at.here.emulator.next_restore_fails_with(DATABASE, "RESTORE_INTERRUPTED")
        at.here.emulator.add_fault(Fault(kind="restore", when="after", drop=True))
        ending = await at.restore()
        assert isinstance(ending.nothing, RestoreFailed)
        assert len(at.posts) == 1


@virtual
async def test_a_failure_that_a_later_run_learns_of_is_kept_and_replaced_by_the_next() -> None:
    async with scene() as at:
        at.here.emulator.next_restore_fails_with(DATABASE, "SNAPSHOT_CORRUPT")
        record = (await at.interrupted(20)).pending
        await anyio.sleep(100)
        failed = (await at.resume(record)).record
        assert failed is not None
        assert failed.failure == "SNAPSHOT_CORRUPT"
        # The service forgets it; the state does not.
        await anyio.sleep(3 * HOUR)
        before = len(at.here.emulator.journal)
        assert (await at.resume(failed)).record == failed
        assert len(at.here.emulator.journal) == before
        values = {"database_id": DATABASE, "version_id": at.stored.version_id}
        found = restore_difference(failed, values, values)
        assert found.replaces == ("attempt",)
        assert found.reason == "the restore requested at 2026-03-01T12:00:00Z failed with SNAPSHOT_CORRUPT"
        assert (await at.restore(at.process())).how == "complete"
        assert len(at.accepted) == 2


@virtual
async def test_the_failure_of_a_killed_run_s_restore_is_shown_once() -> None:
    async with scene() as at:
        at.here.emulator.next_restore_fails_with(DATABASE, "SNAPSHOT_CORRUPT")
        await at.killed(20)
        await anyio.sleep(100)
        ending = await at.restore(at.process())
        assert isinstance(ending.nothing, RestoreFailed)
        assert [each.status for each in await at.process().ledger.attempts()] == ["failed"]
        assert (await at.restore(at.process())).how == "complete"
        assert len(at.accepted) == 2


# Not known -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [2 * HOUR, 20 * DAY])
@virtual
async def test_an_outcome_that_the_service_has_forgotten_is_not_known(later: float) -> None:
    async with scene() as at:
        record = (await at.interrupted(40)).pending
        await anyio.sleep(later)
        before = at.elapsed
        ending = await at.resume(record)
        assert isinstance(ending.error, RestorePending)
        assert ending.error.undecided
        assert (
            "the service no longer shows how the restore of the database ended: what it holds now is not" in ending.text
        )
        assert "check the database, then take the Restore out of the program if it was carried out" in ending.text
        assert f"`pulumi up --refresh --replace '{RESTORER}'` restores again" in ending.text
        assert at.elapsed - before < 1
        assert len(at.posts) == 1


@virtual
async def test_a_restore_that_runs_until_the_time_out_is_kept() -> None:
    async with scene(restore_seconds=1500.0) as at:
        ending = await at.restore()
        words = "and accepted, and a restore of the database was running (unzip) when the service was last asked: what"
        assert words in ending.text
        assert "what it holds now is not known. The wait ended after 15 min." in ending.text
        assert "the next `pulumi up` keeps watching the database and sends no second request" in ending.text
        record = ending.pending
        assert record.attempt is not None
        assert record.attempt.began == at.here.emulator.now().replace(hour=12, minute=0)
        done = (await at.resume(record)).complete
        assert done.requested_at == record.requested_at
        assert at.holds() == "then"
        assert len(at.posts) == 1


@virtual
async def test_a_state_that_is_new_is_waited_for_and_shown() -> None:
    async with scene() as at:
        says(at, times=None, state="verifying", step="checksum", started_at=milliseconds(at, 0))
        ending = await at.restore()
        assert "a restore of the database was verifying (checksum)" in ending.text
        assert not ending.pending.failure
        at.here.emulator.clear_faults()
        assert (await at.resume(ending.pending)).how == "complete"


@pytest.mark.parametrize(
    "response",
    [None, [], {}, {"state": None}, {"state": ["none"]}, {"state": "x" * 100}, {"state": "<b>"}],
    ids=repr,
)
@virtual
async def test_a_status_that_cannot_be_read_proves_nothing(response: Any) -> None:
    async with scene() as at:
        body = json.dumps({"status": "success", "response": response})
        at.here.emulator.add_fault(Fault(kind="restore status", skip=1, times=None, body=body))
        assert (await at.restore()).how == "pending"
        assert len(at.posts) == 1


NO_TIMES: dict[str, dict[str, Any]] = {
    "missing": {},
    "null": {"started_at": None, "finished_at": None},
    "odd": {"started_at": "soon", "finished_at": True},
    "beyond all dates": {"started_at": 1e300, "finished_at": -1e300},
    "tomorrow": {"started_at": 1772452800000, "finished_at": 1772452860000},
}


@pytest.mark.parametrize("times", NO_TIMES.values(), ids=NO_TIMES)
@virtual
async def test_without_usable_times_only_an_accepted_restore_that_was_followed_is_done(times: dict[str, Any]) -> None:
    async with scene() as at:
        says(at, state="running", **times)
        says(at, times=None, state="success", **times)
        assert (await at.restore()).how == "complete"
        assert at.elapsed == 60, "when the database runs"
    async with scene() as at:
        at.here.emulator.add_fault(Fault(kind="restore", drop=True))
        says(at, times=None, state="success", **times)
        assert (await at.restore()).how == "pending"


@virtual
async def test_without_times_the_outcome_of_an_earlier_restore_is_not_ours() -> None:
    async with scene() as at:
        says(at, skip=0, times=4, state="success")
        assert (await at.restore()).how == "complete"
        assert at.elapsed == 90, "the fourth answer is the first that differs"


# Somebody else's -----------------------------------------------------------------------------------------------------


@virtual
async def test_another_restore_that_ended_before_ours_is_not_ours() -> None:
    async with scene(restore_seconds=5.0) as at:
        await at.somebody_restores(at.stored)
        await anyio.sleep(140)
        at.writes("now")
        at.here.emulator.add_fault(Fault(kind="restore", drop=True))
        ending = await at.restore()
        assert ending.how == "pending"
        assert (
            "The service has shown no restore of the database since, so what it holds now is not known" in ending.text
        )


@virtual
async def test_a_failure_of_another_restore_is_not_ours() -> None:
    async with scene(restore_seconds=5.0) as at:
        at.here.emulator.next_restore_fails_with(DATABASE, "SNAPSHOT_CORRUPT")
        await at.somebody_restores(at.stored)
        await anyio.sleep(140)
        assert (await at.restore()).how == "complete"
        assert at.holds() == "then"


@pytest.mark.parametrize("lost", [False, True], ids=["accepted", "lost"])
@virtual
async def test_the_success_of_a_later_restore_is_not_ours(*, lost: bool) -> None:
    async with scene(restore_seconds=5.0, restore_tail_seconds=0.0) as at:
        if lost:
            at.here.emulator.add_fault(Fault(kind="restore", drop=True))
        record = (await at.interrupted(1, name=at.stored.name)).pending
        await anyio.sleep(400)
        await at.somebody_restores(at.stored)
        await anyio.sleep(100)
        ending = await at.resume(record)
        assert isinstance(ending.error, RestorePending)
        assert ending.error.undecided
        which = (
            "a restore of the database began at {at}, which may be"
            if lost
            else "another restore of the database began at {at}"
        )
        assert which.format(at="2026-03-01T12:06:41Z") in ending.text.replace("A restore", "a restore")
        assert len(at.posts) == 2


@virtual
async def test_a_restore_of_another_database_is_not_ours() -> None:
    async with scene() as at:
        at.here.emulator.add_fault(Fault(kind="restore", database_id=DATABASE, drop=True))
        async with anyio.create_task_group() as group:
            group.start_soon(at.later, 5.0, lambda: None)
            await at.somebody_restores(at.stored, OTHER_DATABASE)
            assert (await at.restore(timeout=300.0)).how == "pending"


@virtual
async def test_ours_waits_for_another_restore_without_a_post_and_follows_it() -> None:
    async with scene(restore_seconds=400.0) as at:
        at.writes("theirs")
        theirs = at.here.emulator.add_snapshot(DATABASE)
        at.writes("now")
        await at.somebody_restores(theirs)
        await anyio.sleep(200)  # its cooldown is over, it is not
        ending = await at.restore(timeout=3600.0)
        assert ending.how == "complete"
        assert at.accepted == [theirs.version_id, at.stored.version_id]
        assert len(at.posts) == 2, "none was refused"
        assert "waiting for the end of another restore of this database" in ending.text
        assert ": a restore of this database ended a moment ago" in ending.text
        assert at.holds() == "then"


@virtual
async def test_a_restore_that_is_refused_after_another_waits_until_that_is_forgotten() -> None:
    """Theirs came between our look and our POST."""
    async with scene(restore_seconds=5.0) as at:
        at.here.emulator.add_fault(Fault(kind="restore", status=409, code="RESTORE_IN_PROGRESS"))
        says(at, state="success", started_at=milliseconds(at, -10), finished_at=milliseconds(at, -5))
        ending = await at.restore()
        assert ending.how == "complete"
        assert [post.code for post in at.posts] == ["RESTORE_IN_PROGRESS", None]
        assert at.elapsed >= 120
        assert asked(at) <= 5


# No such route -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", AHEAD)
def test_every_service_restores(route: str) -> None:
    async def body() -> None:
        async with scene(restore_status_route=route) as at:
            assert (await at.restore()).how == "complete"
            assert at.holds() == "then"
            assert asked(at) == (4 if route == "there" else 2)

    run_virtual(body)


@pytest.mark.parametrize("fault", [{"html": 404}, {"status": 404, "code": "NOT_FOUND"}, {"html": 405}], ids=repr)
@virtual
async def test_one_answer_that_the_route_is_missing_hides_no_failure(fault: dict[str, Any]) -> None:
    async with scene() as at:
        at.here.emulator.add_fault(Fault(kind="restore status", **fault))
        at.here.emulator.next_restore_fails_with(DATABASE, "SNAPSHOT_CORRUPT")
        assert isinstance((await at.restore()).nothing, RestoreFailed)


@virtual
async def test_a_status_that_is_refused_starts_no_restore() -> None:
    async with scene() as at:
        at.here.emulator.add_fault(Fault(kind="restore status", status=404, code="DATABASE_NOT_FOUND", times=None))
        assert isinstance((await at.restore()).nothing, DatabaseMissing)
        assert not at.posts
    async with scene(resources=frozenset({OTHER_DATABASE})) as at:
        assert isinstance((await at.restore()).nothing, NotAllowed)
        assert not at.posts


@virtual
async def test_a_key_that_is_refused_meanwhile_keeps_the_restore() -> None:
    async with scene() as at:
        at.here.emulator.add_fault(Fault(kind="restore status", status=401, code="ACCESS_DENIED", skip=1))
        ending = await at.restore()
        record = ending.pending
        assert "The API key is unknown, revoked or expired" in ending.text
        await anyio.sleep(600)
        assert (await at.resume(record)).how == "complete"
        assert len(at.posts) == 1


@virtual
async def test_a_restore_that_no_run_has_followed_is_not_called_anothers() -> None:
    async with scene(restore_queue_seconds=400.0) as at:
        ending = await at.restore(timeout=180.0)
        await anyio.sleep(HOUR / 2)
        again = await at.resume(ending.pending)
        assert again.how == "pending"
        assert (
            "a restore of the database began at 2026-03-01T12:06:40Z, which may be this one or a later one"
            in again.text
        )
