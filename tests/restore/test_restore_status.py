"""The service says how a restore stands: only its success is one, a failure is told, and another's restore is not ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from pulumi_snapshots.restore.restore import RestorePending
from pulumi_snapshots.service.errors import DatabaseMissing, NotAllowed, RestoreFailed
from squarecloud_emulator import Fault
from tests.support.restoring import says, scene
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OTHER_DATABASE

if TYPE_CHECKING:
    from tests.support.restoring import Scene

HOUR, DAY = 3600.0, 86400.0


def asked(at: Scene) -> int:
    """How many requests for the status of a restore were sent."""
    return len(at.here.requests("restore status"))


# Success -------------------------------------------------------------------------------------------------------------


@staged(scene, restore_seconds=200.0, restore_stops_database=False)
async def test_a_restore_is_done_only_when_the_service_says_so(at: Scene) -> None:
    """A database that stays up while it is restored would look settled after a minute."""
    ending = await at.restore()
    assert ending.how == "complete"
    assert at.elapsed == 210
    assert at.holds() == "then"
    polls = [text for text in at.row.shown if text.startswith("restoring; next check ")]
    assert {text.rpartition(": ")[2] for text in polls} >= {"step download", "step unzip"}


@staged(scene, restore_seconds=70.0)
async def test_a_restore_takes_few_requests(at: Scene) -> None:
    """One before the POST, one every 30 s after it; the database's own status only before and at the end."""
    assert (await at.restore()).how == "complete"
    assert asked(at) == 1 + 4
    assert len(at.here.requests("status")) == 2
    assert len(at.here.emulator.journal) == 8


@staged(scene, restore_seconds=300.0, restore_holds=True)
async def test_a_202_is_followed_and_never_sent_again(at: Scene) -> None:
    record = (await at.interrupted(100)).pending
    assert (await at.resume(record)).how == "complete"
    assert [post.code for post in at.posts] == ["SNAPSHOT_RESTORE_PROCESSING"]
    assert at.holds() == "then"


@staged(scene)
async def test_a_success_is_known_after_its_hour_though_the_database_did_not_run(at: Scene) -> None:
    stopped = '{"status": "success", "response": {"running": false}}'
    at.here.emulator.add_fault(Fault(kind="status", skip=1, times=None, body=stopped))
    ending = await at.restore()
    assert "and succeeded, but the database was not seen running since. The wait ended after 15 min." in ending.text
    at.here.emulator.clear_faults()
    await anyio.sleep(3 * HOUR)
    assert (await at.resume(ending.pending)).how == "complete"
    assert len(at.posts) == 1


@staged(scene)
async def test_polls_of_the_status_that_fail_do_not_end_the_watch(at: Scene) -> None:
    at.here.emulator.add_fault(Fault(kind="restore status", status=500, code="BROKEN", skip=1, times=12))
    ending = await at.restore()
    assert ending.how == "complete"
    assert "last check failed (BROKEN)" in ending.text
    assert len(at.posts) == 1


# Failure -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["SNAPSHOT_CORRUPT", "CLUSTER_MAINTENANCE_TRY_LATER", "SOMETHING_NEW"])
@staged(scene)
async def test_a_failed_restore_says_why_and_what_to_do_and_leaves_no_state(at: Scene, code: str) -> None:
    at.here.emulator.next_restore_fails_with(DATABASE, code)
    ending = await at.restore()
    assert isinstance(ending.nothing, RestoreFailed)
    assert ending.nothing.code == code
    assert "What the database holds now is not known." in ending.text
    assert len(at.posts) == 1, "it is not sent again in the same run"
    assert ("The next `pulumi up` restores again" in ending.text) == (code != "SNAPSHOT_CORRUPT")
    assert (await at.restore(at.process())).how == "complete"
    assert at.holds() == "then"


@pytest.mark.parametrize("route", ["there", "404"])
@virtual
async def test_a_new_code_stays_pending_while_it_may_hide_a_restore(route: str) -> None:
    async with scene(restore_status_route=route) as at:
        at.here.emulator.add_fault(Fault(kind="restore", status=404, code="SOMETHING_NEW"))
        record = (await at.interrupted(10)).pending if route == "there" else (await at.restore()).pending
        ending = await at.resume(record)
        assert ending.how == "pending"
        assert "404 SOMETHING_NEW): it may or may not have been carried out" in ending.text
        assert len(at.posts) == 1


@staged(scene)
async def test_the_failure_of_a_killed_run_s_restore_is_shown_once(at: Scene) -> None:
    at.here.emulator.next_restore_fails_with(DATABASE, "SNAPSHOT_CORRUPT")
    await at.killed(20)
    await anyio.sleep(100)
    ending = await at.restore(at.process())
    assert isinstance(ending.nothing, RestoreFailed)
    assert [each.status for each in await at.process().ledger.attempts()] == ["failed"]
    assert (await at.restore(at.process())).how == "complete"
    assert len(at.accepted) == 2


# Not known -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response",
    [None, [], {}, {"state": None}, {"state": ["none"]}, {"state": "x" * 100}, {"state": "<b>"}],
    ids=repr,
)
@staged(scene)
async def test_a_status_that_cannot_be_read_proves_nothing(at: Scene, response: Any) -> None:
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


@staged(scene)
async def test_without_times_the_outcome_of_an_earlier_restore_is_not_ours(at: Scene) -> None:
    says(at, skip=0, times=4, state="success")
    assert (await at.restore()).how == "complete"
    assert at.elapsed == 90, "the fourth answer is the first that differs"


# Somebody else's -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [1.0, 140.0])
@pytest.mark.parametrize("code", [None, "RESTORE_INTERRUPTED"])
@staged(scene, restore_seconds=0.0, restore_tail_seconds=0.0)
async def test_a_restore_from_right_before_a_lost_one_is_not_ours_in_a_later_run_either(
    at: Scene, code: str | None, pause: float
) -> None:
    at.here.emulator.databases[DATABASE].next_restore_error = code
    await at.somebody_restores(at.stored)
    await anyio.sleep(pause)
    at.here.emulator.add_fault(Fault(kind="restore", drop=True))
    ending = await at.restore(timeout=300.0)
    for again in (ending, await at.resume(ending.pending)):
        assert again.how == "pending"
        assert "service has shown no restore of the database since, so what it holds now is not known" in again.text


@pytest.mark.parametrize("lost", [False, True], ids=["accepted", "lost"])
@staged(scene, restore_seconds=5.0, restore_tail_seconds=0.0)
async def test_the_success_of_a_later_restore_is_not_ours(at: Scene, *, lost: bool) -> None:
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


# No such route -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [{"html": 404}, {"status": 404, "code": "NOT_FOUND"}, {"html": 405}], ids=repr)
@staged(scene)
async def test_one_answer_that_the_route_is_missing_hides_no_failure(at: Scene, fault: dict[str, Any]) -> None:
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


@staged(scene, restore_queue_seconds=400.0)
async def test_a_restore_that_no_run_has_followed_is_not_called_anothers(at: Scene) -> None:
    ending = await at.restore(timeout=180.0)
    await anyio.sleep(HOUR / 2)
    again = await at.resume(ending.pending)
    assert again.how == "pending"
    assert "a restore of the database began at 2026-03-01T12:06:40Z, which may be this one or a later one" in again.text
