"""What a person reads while many snapshots are under way: each one's state, a summary, and no flood."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.operations.create import create
from pulumi_snapshots.operations.inputs import SnapshotInputs
from pulumi_snapshots.operations.session import Session
from tests.support.virtual import virtual
from tests.support.world import Row, world

if TYPE_CHECKING:
    from tests.support.world import World

FLEET = tuple(f"{number:032x}" for number in range(50))


async def snapshots_of_all(here: World, announced: list[tuple[float, str]]) -> list[Row]:
    session = Session(
        here.session.settings,
        clock=here.clock,
        http=here.transport,
        chance=random.Random(1),
        announce=lambda text: announced.append((here.clock.monotonic(), text)),
    )
    rows = []
    async with anyio.create_task_group() as group:
        for database_id in here.emulator.databases:
            rows.append(Row())
            group.start_soon(create, session, SnapshotInputs(database_id), rows[-1])
    return rows


@virtual
async def test_a_log_of_a_fleet_is_not_flooded_and_says_every_minute_where_all_are() -> None:
    announced: list[tuple[float, str]] = []
    async with world(databases=FLEET, snapshot_seconds=150, plan_memory_mb=64_000, cache_world="invalidated") as here:
        begun = here.clock.monotonic()
        rows = await snapshots_of_all(here, announced)
        minutes = (here.clock.monotonic() - begun) / 60
    assert sum(len(row.shown) for row in rows) <= 50 * (5 + minutes)
    assert minutes - 3 <= len(announced) <= minutes
    for _, text in announced:
        assert text.startswith("50 snapshots: ")
        assert sum(int(word) for word in text.replace(",", "").split() if word.isdigit()) == 100
    assert any("waiting for their turn" in text and "waiting for the listing" in text for _, text in announced)


@virtual
async def test_each_row_still_tells_every_change() -> None:
    async with world(databases=FLEET, snapshot_seconds=150, plan_memory_mb=64_000, cache_world="invalidated") as here:
        rows = await snapshots_of_all(here, [])
    for row in rows:
        steps = " | ".join(row.shown)
        for step in ("sent, waiting for the answer", "accepted, not listed yet", "found snapshot"):
            assert step in steps
    assert sum("waiting for its turn" in row.shown[0] for row in rows) == len(rows) - 1, "only the first goes at once"


@virtual
async def test_a_few_snapshots_need_no_summary() -> None:
    announced: list[tuple[float, str]] = []
    async with world(databases=FLEET[:5], snapshot_seconds=150) as here:
        await snapshots_of_all(here, announced)
    assert announced == []
