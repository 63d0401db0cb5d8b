"""How a restore stands at the emulated service: its states and steps, its failures, and what is refused meanwhile."""

from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from squarecloud_emulator.data.memory_store import MemoryStore
from tests.emulator.visit import DATABASE, START, Visit, told, visit, visited
from tests.support.virtual import virtual


async def status(at: Visit) -> dict[str, Any]:
    return dict((await at.asked("GET", "/snapshots/restore")).json()["response"])


def after(seconds: float) -> int:
    return round((START + timedelta(seconds=seconds)).timestamp() * 1000)


@visited(restore_queue_seconds=10.0)
async def test_status_shows_each_state_and_step_and_is_forgotten_after_an_hour(
    at: Visit,
) -> None:
    version = at.added()
    assert await status(at) == {"state": "none"}
    await at.restore(version)
    queued = {
        "state": "queued",
        "step": None,
        "code": None,
        "started_at": None,
        "finished_at": None,
    }
    running = {**queued, "state": "running", "started_at": after(10)}
    done = {**running, "state": "success", "finished_at": after(70)}
    for seconds, expected, up in (
        (0, queued, True),
        (20, {**running, "step": "download"}, False),
        (30, {**running, "step": "unzip"}, False),
        (30, done, True),
        (3589, done, True),
        (1, {"state": "none"}, True),
    ):
        await at.clock.sleep(seconds)
        assert (await status(at), await at.running()) == (expected, up)


class SlowStore(MemoryStore):
    """Restores end when the test says so, as a server's do when they have worked."""

    def __init__(self) -> None:
        super().__init__()
        self.work = Future[None]()

    def takes_time(self, database_id: str) -> bool:  # noqa: ARG002  each does
        return True

    def restore(
        self,
        database_id: str,  # noqa: ARG002
        version_id: str,  # noqa: ARG002
        *,
        careless: bool = False,  # noqa: ARG002
    ) -> Future[None]:
        return self.work


@pytest.mark.parametrize(
    ("works", "least", "most"),
    [
        pytest.param(0, 5, 5, id="not until somebody asks"),
        pytest.param(20, 20, 30, id="not before it was seen running"),
    ],
)
@virtual
async def test_a_restore_lasts_as_long_as_its_work(
    works: float, least: float, most: float
) -> None:
    store = SlowStore()
    async with visit(store=store, restore_seconds=5) as at:
        await at.restore(at.added())
        await at.clock.sleep(works)
        assert (await status(at))["state"] == "running"
        store.work.set_result(None)
        await at.clock.sleep(10 if works else 30)
        assert after(least) <= (await status(at))["finished_at"] <= after(most)


@pytest.mark.parametrize(
    ("code", "step"),
    [("SNAPSHOT_CORRUPT", "unzip"), ("RESTORE_INTERRUPTED", "interrupted")],
)
@pytest.mark.parametrize("holds", [False, True], ids=["dispatched", "with the outcome"])
@virtual
async def test_restore_that_fails_leaves_the_data_and_tells_its_code(
    code: str, step: str, *, holds: bool
) -> None:
    async with visit(restore_holds=holds) as at:
        at.sql("CREATE TABLE t (n)")
        version = at.added()
        at.sql("INSERT INTO t VALUES (1)")
        at.emulator.next_restore_fails_with(DATABASE, code)
        assert told(await at.restore(version)) == (
            f"404 {code}" if holds else "200 success"
        )
        await at.clock.sleep(60)
        failed = await status(at)
        assert (failed["state"], failed["code"], failed["step"]) == (
            "error",
            code,
            step,
        )
        assert at.sql("SELECT n FROM t") == [[1]]
        assert told(await at.create()) == "200 success"
        await at.clock.sleep(60)
        await at.restore(version)
        await at.clock.sleep(60)
        assert (await status(at))["state"] == "success"
        assert at.sql("SELECT n FROM t") == []
