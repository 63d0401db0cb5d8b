"""A refresh of many snapshots needs one account listing, and one listing of each database with a missing snapshot."""

from datetime import timedelta
from typing import Any

import anyio
import pytest

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.ledger.place import Place
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.read import read
from pulumi_snapshots.snapshot.record import SnapshotInputs, SnapshotRecord
from tests.support.memory import Memory
from tests.support.virtual import staged
from tests.support.world import Ending, Row, World, world

FLEET = tuple(f"{number:032x}" for number in range(50))
EACH = 10
DAY = 86400.0


def records_of(here: World) -> list[SnapshotRecord]:
    """500 snapshots of a state: ten of each database, one per day."""
    records = []
    for database_id in FLEET:
        for days in range(EACH):
            modified = here.emulator.now() - timedelta(days=days + 1)
            stored = here.emulator.add_snapshot(database_id, modified=modified)
            created = rfc3339(stored.modified)
            records.append(
                SnapshotRecord(
                    database_id, stored.version_id, created_at=created, available=True
                )
            )
    return records


async def refreshed(
    here: World,
    records: list[SnapshotRecord],
    parallel: int,
    row: Row | None = None,
    place: Place | None = None,
) -> list[SnapshotRecord]:
    session = here.another_run(place)
    slots = anyio.CapacityLimiter(parallel)
    rows = row or Row()
    results: list[SnapshotRecord] = []

    async def one(record: SnapshotRecord) -> None:
        async with slots:
            results.append(await read(session, record, rows))

    async with anyio.create_task_group() as group:
        for record in records:
            group.start_soon(one, record)
    return results


@pytest.mark.parametrize(
    ("snapshots", "missing", "parallel", "own", "account"),
    [
        *((500, (), parallel, 0, 1) for parallel in (4, 8, 64, 500)),
        (500, (0, 1, -1), 64, 2, 1),
        (3, (), 64, 1, 0),
    ],
)
@staged(world, databases=FLEET)
async def test_a_refresh_sends_one_request_and_one_for_each_database_that_lacks_a_snapshot(  # noqa: PLR0913, PLR0917  a row
    here: World,
    snapshots: int,
    missing: tuple[int, ...],
    parallel: int,
    own: int,
    account: int,
) -> None:
    records = records_of(here)[:snapshots]
    for number in missing:
        here.emulator.remove_snapshot(records[number].version_id or "")
    results = await refreshed(here, records, parallel)
    assert sum(
        bool(record.available and record.download_url) for record in results
    ) == snapshots - len(missing)
    assert len(here.requests("list account")) == account
    assert len(here.emulator.journal) == own + account


@staged(world, databases=FLEET)
async def test_reuse_in_a_fleet_asks_once_for_each_database_whether_it_was_restored(
    here: World,
) -> None:
    for database_id in FLEET:
        here.emulator.add_snapshot(
            database_id, modified=here.emulator.now() - timedelta(minutes=10)
        )
    session = here.another_run()
    slots = anyio.CapacityLimiter(8)

    async def one(database_id: str) -> None:
        async with slots:
            await create(session, SnapshotInputs(database_id, reuse_within=3600), Row())

    async with anyio.create_task_group() as group:
        for database_id in FLEET:
            group.start_soon(one, database_id)
    kinds = [entry.kind for entry in here.emulator.journal]
    assert kinds[0] == "me", "the service's time is asked for once, for all"
    assert kinds.count("me") == 1
    assert kinds.count("restore status") == len(FLEET)
    assert len(kinds) <= len(FLEET) + 7


@pytest.mark.parametrize(
    "fault",
    [{"html": 503}, {"no_connect": True}, {"drop": True, "delay": 1000.0}],
    ids=str,
)
@staged(world, databases=FLEET)
async def test_a_service_that_is_down_does_not_delay_each_snapshot(
    here: World, fault: dict[str, Any]
) -> None:
    records = records_of(here)
    row = Row()
    here.fault(times=None, **fault)
    start = here.clock.monotonic()
    assert set(await refreshed(here, records, 8, row)) == set(records)
    assert here.clock.monotonic() - start <= 120
    assert len(row.warnings) == len(records)
    assert len(here.emulator.journal) <= 4, "one of them asks for the service's time"


@staged(world, databases=FLEET)
async def test_a_failed_listing_is_requested_again_after_a_minute(here: World) -> None:
    records = records_of(here)
    session = here.another_run()
    here.fault(times=3, html=503)
    for wait, warnings in ((0, 1), (30, 2), (31, 2)):
        await here.clock.sleep(wait)
        await read(session, records[0], here.row)
        assert len(here.row.warnings) == warnings


# Pending snapshots, which are read before the program starts, so that the whole run waits --------------------------------


def pending_fleet(here: World, hours: float, *, listed: bool) -> list[SnapshotRecord]:
    """Records of snapshots that were requested so many hours ago, one of each database, and whether they are listed now."""
    records = []
    for database_id in here.emulator.databases:
        posted = here.emulator.now() - timedelta(hours=hours)
        records.append(
            SnapshotRecord(
                database_id, attempt=Request(posted, "202", 2700.0, database_id)
            )
        )
        if listed:
            here.emulator.add_snapshot(
                database_id, modified=posted + timedelta(minutes=3)
            )
    return records


@staged(world, databases=FLEET[:6])
async def test_a_failed_read_of_pending_snapshots_fails_no_reuse_of_another(
    here: World,
) -> None:
    pending = pending_fleet(here, 1, listed=True)[:4]
    session = here.another_run()
    here.fault(kind="list account", html=503)
    async with anyio.create_task_group() as group:
        for record in pending:
            group.start_soon(read, session, record, here.row)
    assert len(here.requests("list account")) == 1
    endings: list[Ending] = []

    async def reuse(database_id: str) -> None:
        endings.append(
            await here.create(
                session=session, database_id=database_id, reuse_within=DAY
            )
        )

    async with anyio.create_task_group() as group:
        for database_id in FLEET[4:6]:
            group.start_soon(reuse, database_id)
    assert {ending.complete.database_id for ending in endings} == set(FLEET[4:6])
    assert not here.posts


HUNDREDS = tuple(f"{number:032x}" for number in range(200))


@pytest.mark.parametrize(
    ("hours", "parallel", "missing", "fault"),
    [
        *(
            (hours, *row, {})
            for hours in (0.5, 5)
            for row in ((4, 0), (64, 0), (64, 3))
        ),
        # None is listed, and the budget is far too small for a listing of each database.
        *(
            (5, 8, 200, fault)
            for fault in ({}, {"html": 503}, {"drop": True, "delay": 1000.0})
        ),
    ],
    ids=str,
)
@staged(world, databases=HUNDREDS)
async def test_200_pending_snapshots_cost_one_request_and_delay_a_run_by_10_seconds_at_most(
    here: World, hours: float, parallel: int, missing: int, fault: dict[str, Any]
) -> None:
    records = pending_fleet(here, hours, listed=missing < 200)
    start = here.clock.monotonic()
    for record in records[:missing] if missing < 200 else ():
        here.emulator.remove_snapshot(
            here.emulator.snapshots(record.database_id)[0].version_id
        )
    if fault:
        here.fault(times=None, **fault)
    results = await refreshed(here, records, parallel)
    assert sum(record.pending for record in results) == missing
    assert here.clock.monotonic() - start <= (1 if missing < 200 else 10)
    assert missing == 200 or [entry.kind for entry in here.emulator.journal] == [
        "me",
        "list account",
    ]


@staged(world, databases=FLEET)
async def test_pending_snapshots_do_not_each_wait_for_a_ledger_that_cannot_be_used(
    here: World,
) -> None:
    records = pending_fleet(here, 1, listed=True)
    start = here.clock.monotonic()
    place = Memory(here.clock, delay=(4.0, 4.0))
    place.refuses_reads = "SlowDown"
    assert {*await refreshed(here, records, 64, place=place)} == {*records}
    assert here.clock.monotonic() - start <= 10
