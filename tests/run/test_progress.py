"""The progress of many snapshots: the state of each, a summary, and no flood."""

from __future__ import annotations

import itertools
import random
import re
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from squarecloud_emulator import Fault
from tests.support.virtual import virtual
from tests.support.world import Row, ledger_of, world

if TYPE_CHECKING:
    from tests.support.world import World

FLEET = tuple(f"{number:032x}" for number in range(50))


async def snapshots_of_all(here: World, announced: list[tuple[float, str]]) -> list[Row]:
    session = Session(
        here.session.settings,
        ledger_of(here.clock),
        clock=here.clock,
        http=here.transport,
        chance=random.Random(1),
        announce=lambda text: announced.append((here.clock.monotonic(), text)),
    )
    rows = []
    async with anyio.create_task_group() as background:
        background.start_soon(session.fleet.keep_announcing)
        async with anyio.create_task_group() as group:
            for database_id in here.emulator.databases:
                rows.append(Row())
                group.start_soon(create, session, SnapshotInputs(database_id), rows[-1])
        background.cancel_scope.cancel()
    return rows


@virtual
async def test_a_fleets_log_is_not_flooded_and_has_a_summary_per_minute() -> None:
    announced: list[tuple[float, str]] = []
    async with world(databases=FLEET, snapshot_seconds=150, plan_memory_mb=64_000, cache_world="invalidated") as here:
        start = here.clock.monotonic()
        rows = await snapshots_of_all(here, announced)
        minutes = (here.clock.monotonic() - start) / 60
    assert all(len(row.shown) <= 5 for row in rows), "queued, sent, accepted, found: changes only"
    assert minutes - 3 <= len(announced) <= minutes
    for _, text in announced:
        assert text.endswith(", of 50 snapshots")
        assert sum(int(word) for word in text.replace(",", "").split() if word.isdigit()) == 100
    assert any(" queued" in text and "not listed yet" in text for _, text in announced)


@virtual
async def test_a_fleets_log_is_not_silent_during_a_block() -> None:
    announced: list[tuple[float, str]] = []
    async with world(databases=FLEET[:20], snapshot_seconds=150, plan_memory_mb=64_000) as here:
        here.emulator.add_fault(Fault(kind="list", status=429, code="RATE_LIMITED", times=1))
        here.emulator.add_fault(Fault(kind="list account", status=429, code="RATE_LIMITED", times=1))
        await snapshots_of_all(here, announced)
    times = [at for at, _ in announced[:-1]]
    assert times[-1] - times[0] > 1800, "the run waited out a block"
    assert announced[-1][1] == "20 done, of 20 snapshots"
    assert {round(later - earlier, 6) for earlier, later in itertools.pairwise(times)} == {60.0}


@virtual
async def test_each_row_shows_every_change() -> None:
    async with world(databases=FLEET, snapshot_seconds=150, plan_memory_mb=64_000, cache_world="invalidated") as here:
        rows = await snapshots_of_all(here, [])
    for row in rows:
        steps = " | ".join(row.shown)
        for step in ("sent; answer by 12:", "| accepted |", "found snapshot"):
            assert step in steps
    assert sum("queued" in row.shown[0] for row in rows) == len(rows) - 1, "only the first is sent at once"


@virtual
async def test_failing_polls_of_a_fleet_are_shown_once() -> None:
    async with world(databases=FLEET, snapshot_seconds=150, plan_memory_mb=64_000, cache_world="invalidated") as here:
        for kind in ("list", "list account"):
            here.emulator.add_fault(Fault(kind=kind, html=503, times=60))
        rows = await snapshots_of_all(here, [])
    assert any("last check failed (503)" in text for row in rows for text in row.shown)
    assert max(len(row.shown) for row in rows) <= 8


@virtual
async def test_a_single_snapshot_shows_every_next_poll() -> None:
    async with world(snapshot_seconds=400, cache_world="invalidated") as here:
        await here.create()
    polls = [re.fullmatch(r"accepted; next check (.*) UTC", text) for text in here.row.shown]
    times = [poll[1] for poll in polls if poll]
    assert len(times) > 3
    assert times == sorted(set(times))


@virtual
async def test_a_few_snapshots_need_no_summary() -> None:
    announced: list[tuple[float, str]] = []
    async with world(databases=FLEET[:5], snapshot_seconds=150) as here:
        await snapshots_of_all(here, announced)
    assert announced == []


@virtual
async def test_what_a_row_says_first_fits_into_120_columns_and_has_one_time() -> None:
    """Pulumi's columns leave 34 for the row of a Snapshot with a name of 14 characters."""
    rows = []
    for fault in (
        None,
        Fault(kind="create", drop=True, when="after"),
        Fault(kind="create", status=429, code="KEEP_CALM", times=1),
    ):
        async with world(snapshot_seconds=400, cache_world="invalidated") as here:
            if fault:
                here.emulator.add_fault(fault)
            await here.create()
            rows += here.row.shown
    assert {text.partition(" ")[0] for text in rows} == {
        "sent;",
        "accepted;",
        "answer",
        "queued,",
        "KEEP_CALM;",
        "found",
    }
    for text in rows:
        times = [found.end() for found in re.finditer(r"\d\d:\d\d:\d\d", text)]
        assert len(times) == (not text.startswith("found")), text
        assert max(times, default=0) <= 34, text
