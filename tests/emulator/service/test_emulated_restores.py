"""How a restore stands at the emulated service: its states and steps, its failures, and what is refused meanwhile."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from squarecloud_emulator.data.memory_store import MemoryStore
from tests.emulator.visit import DATABASE, START, Visit, visit, visited
from tests.support.virtual import run_virtual, virtual

if TYPE_CHECKING:
    from pathlib import Path

MILLISECONDS = 1000


async def status(at: Visit) -> dict[str, Any]:
    answer = await at.api.get(f"databases/{DATABASE}/snapshots/restore")
    assert answer.status_code == 200
    return dict(answer.json()["response"])


async def code_of_create(at: Visit) -> str:
    return str((await at.create()).json().get("code", "accepted"))


def after(seconds: float) -> int:
    return round((START + timedelta(seconds=seconds)).timestamp() * MILLISECONDS)


@visited(restore_queue_seconds=10.0)
async def test_status_shows_each_state_and_step_and_is_forgotten_after_an_hour(at: Visit) -> None:
    stored = at.emulator.add_snapshot(DATABASE)
    assert await status(at) == {"state": "none"}
    await at.restore(stored.version_id)
    queued = {"state": "queued", "step": None, "code": None, "started_at": None, "finished_at": None}
    assert await status(at) == queued
    assert await at.running()
    await at.clock.sleep(20)
    running = {**queued, "state": "running", "started_at": after(10)}
    assert await status(at) == {**running, "step": "download"}
    assert not await at.running()
    await at.clock.sleep(30)
    assert await status(at) == {**running, "step": "unzip"}
    await at.clock.sleep(30)
    done = {**running, "state": "success", "finished_at": after(70)}
    assert await status(at) == done
    assert await at.running()
    await at.clock.sleep(3589)
    assert await status(at) == done
    await at.clock.sleep(1)
    assert await status(at) == {"state": "none"}


class SlowStore(MemoryStore):
    """Restores end when the test says so, as a server's do when they have worked."""

    def __init__(self) -> None:
        super().__init__()
        self.work = Future[None]()

    def takes_time(self, database_id: str) -> bool:  # noqa: ARG002  each does
        return True

    def restore(self, database_id: str, version_id: str, *, careless: bool = False) -> Future[None]:  # noqa: ARG002
        return self.work


@virtual
async def test_a_restore_lasts_as_long_as_its_work_not_until_somebody_asks() -> None:
    store = SlowStore()
    async with visit(store=store, restore_seconds=5) as at:
        await at.restore(at.emulator.add_snapshot(DATABASE).version_id)
        store.work.set_result(None)
        await at.clock.sleep(30)
        assert (await status(at))["finished_at"] == after(5)


@virtual
async def test_a_restore_that_was_seen_running_did_not_end_before() -> None:
    store = SlowStore()
    async with visit(store=store, restore_seconds=5) as at:
        await at.restore(at.emulator.add_snapshot(DATABASE).version_id)
        await at.clock.sleep(20)
        assert (await status(at))["state"] == "running"
        store.work.set_result(None)
        await at.clock.sleep(10)
        assert after(20) <= (await status(at))["finished_at"] <= after(30)


@pytest.mark.parametrize(("code", "step"), [("SNAPSHOT_CORRUPT", "unzip"), ("RESTORE_INTERRUPTED", "interrupted")])
@pytest.mark.parametrize("holds", [False, True], ids=["dispatched", "with the outcome"])
@virtual
async def test_restore_that_fails_leaves_the_data_and_tells_its_code(code: str, step: str, *, holds: bool) -> None:
    async with visit(restore_holds=holds) as at:
        at.emulator.execute(DATABASE, "CREATE TABLE t (n)")
        stored = at.emulator.add_snapshot(DATABASE)
        at.emulator.execute(DATABASE, "INSERT INTO t VALUES (1)")
        at.emulator.next_restore_fails_with(DATABASE, code)
        answer = await at.restore(stored.version_id)
        assert answer.json().get("code") == (code if holds else None)
        await at.clock.sleep(60)
        failed = await status(at)
        assert (failed["state"], failed["code"], failed["step"]) == ("error", code, step)
        assert at.emulator.execute(DATABASE, "SELECT n FROM t") == [[[1]]]
        assert await code_of_create(at) == "accepted"
        await at.clock.sleep(60)
        await at.restore(stored.version_id)
        await at.clock.sleep(60)
        assert (await status(at))["state"] == "success"
        assert at.emulator.execute(DATABASE, "SELECT n FROM t") == [[]]


@visited(restore_holds=True, restore_seconds=200.0)
async def test_long_restore_is_answered_at_the_soft_deadline(at: Visit) -> None:
    stored = at.emulator.add_snapshot(DATABASE)
    answer = await at.restore(stored.version_id)
    assert at.clock.utc() == START + timedelta(seconds=90)
    assert answer.status_code == 202
    assert answer.json() == {"status": "error", "code": "SNAPSHOT_RESTORE_PROCESSING"}
    assert (await status(at))["state"] == "running"


@visited(restore_seconds=10.0)
async def test_posts_are_refused_for_a_while_after_a_success(at: Visit) -> None:
    stored = at.emulator.add_snapshot(DATABASE)
    await at.restore(stored.version_id)
    await at.clock.sleep(129)
    for refused, status_ in ((await at.create(), 403), (await at.restore(stored.version_id), 409)):
        assert (refused.status_code, refused.json()["code"]) == (status_, "RESTORE_IN_PROGRESS")
    await at.clock.sleep(1)
    assert await code_of_create(at) == "accepted"
    assert (await at.restore(stored.version_id)).status_code == 200


@visited(restore_stops_database=False)
async def test_a_database_that_stays_up_while_it_is_restored_can_be_chosen(at: Visit) -> None:
    stored = at.emulator.add_snapshot(DATABASE)
    await at.restore(stored.version_id)
    assert (await status(at))["state"] == "running"
    assert await at.running()


@pytest.mark.parametrize(("route", "code"), [("404", "ROUTE_NOT_FOUND"), ("405", "METHOD_NOT_ALLOWED")])
@virtual
async def test_a_service_without_the_route_can_be_chosen(route: str, code: str) -> None:
    async with visit(restore_status_route=route) as at:
        answer = await at.api.get(f"databases/{DATABASE}/snapshots/restore")
        assert (answer.status_code, answer.json()["code"]) == (int(route), code)


@visited(scopes=frozenset({"snapshots:write"}))
async def test_status_of_a_key_without_the_scope_or_of_no_database_is_refused(at: Visit) -> None:
    answer = await at.api.get(f"databases/{DATABASE}/snapshots/restore")
    assert answer.json()["code"] == "MISSING_SCOPE"
    at.change(scopes=None)
    assert (await at.api.get("databases/none/snapshots/restore")).json()["code"] == "DATABASE_NOT_FOUND"


def test_outcome_of_a_restore_outlives_a_restart(tmp_path: Path) -> None:
    async def first() -> None:
        async with visit(data_folder=tmp_path, restore_seconds=0.0) as at:
            stored = at.emulator.add_snapshot(DATABASE)
            at.emulator.next_restore_fails_with(DATABASE, "CONTAINER_NOT_FOUND")
            await at.restore(stored.version_id)
            assert (await status(at))["state"] == "error"
            at.emulator.stop()

    async def second() -> None:
        async with visit(data_folder=tmp_path) as at:
            kept = await status(at)
            assert (kept["state"], kept["code"], kept["finished_at"]) == ("error", "CONTAINER_NOT_FOUND", after(0))

    run_virtual(first)
    run_virtual(second)


@visited(snapshot_seconds=300.0)
async def test_second_snapshot_is_refused_while_one_runs(at: Visit) -> None:
    assert (await at.create()).status_code == 202
    await at.clock.sleep(150)
    answer = await at.create()
    assert (answer.status_code, answer.json()["code"]) == (409, "SNAPSHOT_IN_PROGRESS")
    assert len(at.emulator.account.quota.uses) == 1
    await at.clock.sleep(60)
    assert await code_of_create(at) == "SNAPSHOT_PROCESSING"
    assert len(at.emulator.account.quota.uses) == 2
