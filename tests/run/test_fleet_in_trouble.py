"""A fleet in a block or an outage: started snapshots are found, and the others fail at once with a next step."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import anyio
import pytest

from pulumi_snapshots.service.errors import Blocked, Outage
from squarecloud_emulator import Fault
from tests.support.restoring import knows_time
from tests.support.virtual import virtual
from tests.support.world import world

if TYPE_CHECKING:
    from tests.support.world import Ending, World

FLEET = tuple(f"{number:032x}" for number in range(40))
BLOCK = 1800.0


async def snapshots_of_all(here: World, seconds: float = 2700.0) -> dict[str, tuple[Ending, float]]:
    """Take a snapshot of each database; the ending of each create, and its time."""
    endings: dict[str, tuple[Ending, float]] = {}

    async def take(database_id: str) -> None:
        ending = await here.create(database_id=database_id, timeout=seconds)
        endings[database_id] = ending, here.clock.monotonic()

    async with anyio.create_task_group() as group:
        for database_id in FLEET:
            group.start_soon(take, database_id)
    return endings


@virtual
async def test_a_block_loses_no_snapshot_and_says_when_to_run_again() -> None:
    async with world(databases=FLEET, snapshot_seconds=150, plan_memory_mb=64_000, cache_world="invalidated") as here:
        began, blocked = here.clock.monotonic(), 62.0
        endings = await here.meanwhile(blocked, here.emulator.block, snapshots_of_all(here))
        known_at = next(entry.monotonic for entry in here.emulator.journal if entry.code == "RATE_LIMITED")
        assert [one for one in here.emulator.journal if known_at < one.monotonic < began + blocked + BLOCK] == []
        started = {post.database_id: post.version_id for post in here.posts if post.accepted}
        assert 10 <= len(started) <= 14
        for database_id, (ending, at) in endings.items():
            if database_id in started:
                assert ending.complete.version_id == started[database_id]
                assert at >= began + blocked + BLOCK
            else:
                assert isinstance(ending.nothing, Blocked)
                assert "Run it again after 12:3" in ending.text
                assert at - known_at <= 1, "a queued create fails at once"


@pytest.mark.parametrize("fault", [{"html": 503}, {"status": 503, "code": "DATABASE_UNAVAILABLE"}], ids=str)
def test_an_outage_leaves_two_pending_snapshots_and_not_all(
    fault: dict[str, object],
) -> None:
    @virtual
    async def play() -> None:
        async with world(databases=FLEET, snapshot_seconds=150, plan_memory_mb=64_000) as here:
            knows_time(here)
            here.emulator.add_fault(Fault(times=None, **fault))  # type: ignore[arg-type]
            began = here.clock.monotonic()
            endings = await snapshots_of_all(here, seconds=300.0)
            assert len(here.posts) == 2
            assert sum(ending.record is not None and ending.record.pending for ending, _ in endings.values()) == 2
            unsent = [(ending, at) for ending, at in endings.values() if ending.record is None]
            assert len(unsent) == len(FLEET) - 2
            for ending, at in unsent:
                assert isinstance(ending.nothing, Outage)
                assert re.search(
                    r"No snapshot of database \w+ was taken\. \[.*\]\nhint: Run it again later\.", ending.text
                )
                assert at - began <= 130

    play()


@virtual
async def test_an_outage_before_the_first_answer_leaves_no_snapshot_pending() -> None:
    """Nothing can be sent whose time by the service's clock is not known."""
    async with world(databases=FLEET, snapshot_seconds=150, plan_memory_mb=64_000) as here:
        here.emulator.add_fault(Fault(times=None, html=503))
        began = here.clock.monotonic()
        endings = await snapshots_of_all(here, seconds=300.0)
        assert not here.posts
        for ending, at in endings.values():
            assert "since the service's time is not known" in str(ending.nothing)
            assert at - began <= 130
