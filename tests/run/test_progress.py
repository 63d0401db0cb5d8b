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


async def snapshots_of_all(here: World, announced: list[tuple[float, str]], *, cuts_rows: bool = False) -> list[Row]:
    session = Session(
        here.session.settings,
        ledger_of(here.clock),
        clock=here.clock,
        http=here.transport,
        chance=random.Random(1),
        announce=lambda text: announced.append((here.clock.monotonic(), text)),
        cuts_rows=cuts_rows,
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
    times = [at for at, _ in announced]
    assert times[-1] - times[0] > 1800, "the run waited out a block"
    assert {round(later - earlier, 6) for earlier, later in itertools.pairwise(times)} == {60.0}


@virtual
async def test_each_row_shows_every_change() -> None:
    async with world(databases=FLEET, snapshot_seconds=150, plan_memory_mb=64_000, cache_world="invalidated") as here:
        rows = await snapshots_of_all(here, [])
    for row in rows:
        steps = " | ".join(row.shown)
        for step in ("sent, waiting for the answer", "accepted (since", "found snapshot"):
            assert step in steps
    assert sum("queued" in row.shown[0] for row in rows) == len(rows) - 1, "only the first is sent at once"


@virtual
async def test_each_row_shows_since_when_it_waits() -> None:
    async with world(databases=FLEET, snapshot_seconds=150, plan_memory_mb=64_000, cache_world="invalidated") as here:
        rows = await snapshots_of_all(here, [])
        sent = {post.at.strftime("%H:%M:%S") for post in here.posts}
        answered = {post.answered_at.strftime("%H:%M:%S") for post in here.posts if post.answered_at}
    for row in rows:
        for text in row.shown[:-1]:
            assert re.search(r" \(since \d\d:\d\d:\d\d UTC\)$", text), text
    assert {since(row, "queued") for row in rows if not row.shown[0].startswith("sent")} == {"12:00:00"}
    assert {since(row, "sent, waiting for the answer") for row in rows} == sent
    assert {since(row, "accepted") for row in rows} == answered


def since(row: Row, begin: str) -> str:
    """When the row began to wait for something; the row always shows the same time."""
    (time,) = {text.partition("since ")[2][:8] for text in row.shown if text.startswith(begin)}
    return time


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
    polls = [re.fullmatch(r"accepted; next check (.*) UTC \(since 12:01:30 UTC\)", text) for text in here.row.shown]
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
async def test_a_terminal_shows_changes_that_a_cut_row_cannot() -> None:
    announced: dict[int, list[tuple[float, str]]] = {1: [], 3: [], 20: []}
    shown: set[str] = set()
    for databases, each in announced.items():
        async with world(databases=FLEET[:databases], snapshot_seconds=150, plan_memory_mb=64_000) as here:
            for row in await snapshots_of_all(here, each, cuts_rows=True):
                shown.update(row.shown)
    one, few, many = ([text for _, text in each] for each in announced.values())
    sent, accepted = one
    assert sent == "sent, waiting for the answer until 12:02:00 UTC (since 12:00:00 UTC)"
    assert accepted.startswith("accepted; next check 12:")
    assert {sent, accepted} <= shown
    assert few[0] == "1 not answered yet, 2 queued, of 3 snapshots"
    assert few[-1] == "2 done, 1 not listed yet, of 3 snapshots"
    assert len(few) <= 3 * 3
    assert [text for text in many if not text.endswith("of 20 snapshots")] in ([], [sent]), "only the summary"
    times = [at for at, text in announced[20] if text != sent]
    assert {round(later - earlier, 6) for earlier, later in itertools.pairwise(times)} == {60.0}
