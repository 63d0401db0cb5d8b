"""A service that does not say how a restore stands: the database's own status decides, and proves less."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from squarecloud_emulator import Fault
from tests.support.restoring import Scene
from tests.support.restoring import scene as any_scene
from tests.support.virtual import virtual
from tests.support.world import DATABASE

scene = partial(any_scene, restore_status_route="404")
HOUR = 3600.0


def says_no_start(at: Scene) -> None:
    """Have the service say that the database runs, and not since when."""
    body = '{"status": "success", "response": {"running": true}}'
    at.here.emulator.add_fault(Fault(kind="status", body=body, times=None))


def on_restore(**fault: Any) -> Fault:
    return Fault(kind="restore", **fault)


@virtual
async def test_a_database_never_seen_down_is_watched_until_it_settles() -> None:
    for settle, seconds in (({}, 60), ({"restore_settle": 200.0}, 200)):
        async with scene(settings=settle) as at:
            says_no_start(at)
            assert (await at.restore()).how == "complete"
            assert seconds <= at.elapsed <= seconds + 1


@virtual
async def test_a_database_that_says_it_has_started_since_ends_the_wait() -> None:
    """Nobody saw it down: it was down between two polls."""
    async with scene(restore_seconds=5.0, settings={"restore_settle": 600.0}) as at:
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


@virtual
async def test_an_answer_that_comes_with_the_data_ends_the_wait_at_once() -> None:
    """The service may hold the answer: then the database was seen down while the POST was open."""
    async with scene(restore_holds=True) as at:
        assert (await at.restore()).how == "complete"
        assert at.elapsed < 61
        assert at.holds() == "then"


@virtual
async def test_polls_that_fail_do_not_end_the_watch() -> None:
    async with scene() as at:
        at.here.emulator.add_fault(Fault(kind="status", status=500, code="BROKEN", skip=1, times=12))
        ending = await at.restore()
        assert ending.how == "complete"
        assert "last check failed (BROKEN)" in ending.text
        assert at.accepted == [at.stored.version_id]


@virtual
async def test_a_time_out_says_that_the_next_up_keeps_watching() -> None:
    async with scene(restore_seconds=1500.0) as at:
        ending = await at.restore()
        record = ending.pending
        assert "was requested at 2026-03-01T12:00:00Z and accepted" in ending.text
        assert "what it holds now is not known. The wait ended after 15 min." in ending.text
        assert "the next `pulumi up` keeps watching the database and sends no second request" in ending.text
        assert at.elapsed == 900
        still = (await at.resume(record, timeout=60.0)).pending
        done = (await at.resume(still)).complete
        assert done.requested_at == record.requested_at
        assert at.holds() == "then"
        assert len(at.posts) == 1


@virtual
async def test_an_interrupted_restore_is_kept_and_the_next_up_sends_nothing() -> None:
    async with scene() as at:
        ending = await at.interrupted(20)
        record = ending.pending
        assert at.elapsed == 20
        assert "The wait was interrupted." in ending.text
        await anyio.sleep(HOUR)
        at.writes("later")
        again = await at.resume(record)
        assert again.how == "complete", "the database says that it has started since"
        assert len(at.posts) == 1
        assert at.holds() == "later"


@virtual
async def test_a_late_resume_does_not_wait_for_a_restore_to_settle_again() -> None:
    async with scene(restore_seconds=0.0) as at:
        says_no_start(at)
        record = (await at.interrupted(5)).pending
        before = at.elapsed
        assert (await at.resume(record)).how == "complete"
        assert at.elapsed - before == pytest.approx(55, abs=1)
        await anyio.sleep(HOUR)
        before = at.elapsed
        assert (await at.resume(record)).how == "complete"
        assert at.elapsed - before < 1


@virtual
async def test_a_key_that_is_refused_meanwhile_keeps_the_restore() -> None:
    async with scene() as at:
        at.here.emulator.add_fault(Fault(kind="status", status=401, code="ACCESS_DENIED", skip=1))
        ending = await at.restore()
        record = ending.pending
        assert "The API key is unknown, revoked or expired" in ending.text
        await anyio.sleep(HOUR)
        assert (await at.resume(record)).how == "complete"
        assert len(at.posts) == 1


@virtual
async def test_ours_waits_for_another_restore_and_follows_it() -> None:
    async with scene(restore_seconds=400.0) as at:
        at.writes("theirs")
        theirs = at.here.emulator.add_snapshot(DATABASE)
        at.writes("now")
        await at.somebody_restores(theirs)
        await anyio.sleep(200)  # its cooldown is over, it is not
        ending = await at.restore()
        assert ending.how == "complete"
        assert at.accepted == [theirs.version_id, at.stored.version_id]
        assert "RESTORE_IN_PROGRESS" in [post.code for post in at.posts]
        assert "waiting for the end of another restore of this database" in ending.text
        assert at.holds() == "then"
