"""A service that does not say how a restore stands: the database's own status decides, and proves less."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from squarecloud_emulator import Fault
from tests.support.restoring import Scene
from tests.support.restoring import scene as any_scene
from tests.support.virtual import staged, virtual

scene = partial(any_scene, restore_status_route="404")
HOUR = 3600.0


def says_no_start(at: Scene) -> None:
    """Have the service say that the database runs, and not since when."""
    body = '{"status": "success", "response": {"running": true}}'
    at.here.fault(kind="status", body=body, times=None)


def on_restore(**fault: Any) -> Fault:
    return Fault(kind="restore", **fault)


@virtual
async def test_a_database_never_seen_down_is_watched_until_it_settles() -> None:
    for settle, seconds in (({}, 60), ({"restore_settle": 200.0}, 200)):
        async with scene(settings=settle) as at:
            says_no_start(at)
            assert (await at.restore()).how == "complete"
            assert seconds <= at.elapsed <= seconds + 1


@staged(scene, restore_seconds=5.0, settings={"restore_settle": 600.0})
async def test_a_database_that_says_it_has_started_since_ends_the_wait(at: Scene) -> None:
    """Nobody saw it down: it was down between two polls."""
    assert (await at.restore()).how == "complete"
    assert at.elapsed <= 60


@virtual
async def test_a_database_that_has_not_started_since_is_watched_for_longer() -> None:
    """The restore waits for its turn, so what it holds is still the old data."""
    async with scene(restore_queue_seconds=150.0, restore_seconds=20.0) as at:
        await anyio.sleep(60)
        assert (await at.restore()).how == "complete"
        assert at.holds() == "then"
    async with scene(restore_stops_database=False) as at:
        await anyio.sleep(60)
        assert (await at.restore()).how == "complete"
        assert at.elapsed == pytest.approx(360, abs=31)


@staged(scene, restore_seconds=0.0)
async def test_a_late_resume_does_not_wait_for_a_restore_to_settle_again(at: Scene) -> None:
    says_no_start(at)
    record = (await at.interrupted(5)).pending
    before = at.elapsed
    assert (await at.resume(record)).how == "complete"
    assert at.elapsed - before == pytest.approx(55, abs=1)
    await anyio.sleep(HOUR)
    before = at.elapsed
    assert (await at.resume(record)).how == "complete"
    assert at.elapsed - before < 1
