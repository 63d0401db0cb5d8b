"""A refresh of many snapshots costs next to nothing: one look at the account, and one at each database it leaves in doubt."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.operations.create import create
from pulumi_snapshots.operations.inputs import SnapshotInputs
from pulumi_snapshots.operations.read import read
from pulumi_snapshots.operations.record import SnapshotRecord
from tests.support.virtual import virtual
from tests.support.world import Row, World, world

FLEET = tuple(f"{number:032x}" for number in range(50))
EACH = 10


def records_of(here: World) -> list[SnapshotRecord]:
    """500 snapshots in a state, ten of each database, one a day."""
    records = []
    for database_id in FLEET:
        for days in range(EACH):
            modified = here.emulator.now() - timedelta(days=days + 1)
            stored = here.emulator.add_snapshot(database_id, modified=modified)
            created = rfc3339(stored.modified)
            records.append(SnapshotRecord(database_id, stored.version_id, created_at=created, available=True))
    return records


async def refreshed(here: World, records: list[SnapshotRecord], parallel: int) -> list[SnapshotRecord]:
    session, places, rows = here.another_run(), anyio.CapacityLimiter(parallel), Row()
    results: list[SnapshotRecord] = []

    async def one(record: SnapshotRecord) -> None:
        async with places:
            results.append(await read(session, record, rows))

    async with anyio.create_task_group() as group:
        for record in records:
            group.start_soon(one, record)
    return results


@pytest.mark.parametrize("parallel", [4, 8, 64, 500])
def test_500_snapshots_cost_one_look(parallel: int) -> None:
    @virtual
    async def play() -> None:
        async with world(databases=FLEET) as here:
            results = await refreshed(here, records_of(here), parallel)
            assert len(results) == len(FLEET) * EACH
            assert all(record.available and record.download_url for record in results)
            assert [entry.kind for entry in here.emulator.journal] == ["list account"]

    play()


@virtual
async def test_a_database_that_the_account_leaves_in_doubt_is_asked_once() -> None:
    async with world(databases=FLEET) as here:
        records = records_of(here)
        for record in (records[0], records[1], records[-1]):
            here.emulator.remove_snapshot(record.version_id or "")
        results = await refreshed(here, records, 64)
        assert sum(not record.available for record in results) == 3
        kinds = sorted(entry.kind for entry in here.emulator.journal)
        assert kinds == ["list", "list", "list account"]


@virtual
async def test_a_few_snapshots_of_one_database_cost_one_look_at_it() -> None:
    async with world(databases=FLEET) as here:
        await refreshed(here, records_of(here)[:3], 64)
        assert [entry.kind for entry in here.emulator.journal] == ["list"]


@virtual
async def test_reuse_in_a_fleet_costs_one_look() -> None:
    async with world(databases=FLEET) as here:
        for database_id in FLEET:
            here.emulator.add_snapshot(database_id, modified=here.emulator.now() - timedelta(minutes=10))
        session, places = here.another_run(), anyio.CapacityLimiter(8)

        async def one(database_id: str) -> None:
            async with places:
                await create(session, SnapshotInputs(database_id, reuse_within=3600), Row())

        async with anyio.create_task_group() as group:
            for database_id in FLEET:
                group.start_soon(one, database_id)
        assert [entry.kind for entry in here.emulator.journal] == ["list account"]
