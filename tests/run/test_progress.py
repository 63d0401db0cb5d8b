"""Fleets of snapshots: the state of each without a flood, and what a block or an outage leaves of them."""

import re
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import anyio
import pytest

from pulumi_snapshots.run.memory import Fleet
from pulumi_snapshots.service.errors import Blocked, Outage
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.record import SnapshotInputs
from squarecloud_emulator import Fault
from tests.support.restoring import knows_time
from tests.support.virtual import staged, virtual
from tests.support.world import Ending, Row, World, world

FLEET = tuple(f"{number:032x}" for number in range(50))
BLOCK = 1800.0
UNANSWERED = "waiting: sent; answer by 12:02:00 UTC (in about 2 min)"


def fleet(
    size: int = 50, cache_world: str = "invalidated"
) -> AbstractAsyncContextManager[World]:
    return world(
        databases=FLEET[:size],
        snapshot_seconds=150,
        plan_memory_mb=64_000,
        cache_world=cache_world,
    )


async def rows_of_all(here: World) -> list[Row]:
    rows = [Row() for _ in here.emulator.databases]
    async with anyio.create_task_group() as group:
        for row, database_id in zip(rows, here.emulator.databases, strict=True):
            group.start_soon(create, here.session, SnapshotInputs(database_id), row)
    return rows


async def endings_of_all(
    here: World, seconds: float = 2700.0
) -> dict[str, tuple[Ending, float]]:
    """The ending of each create, and its time."""
    endings: dict[str, tuple[Ending, float]] = {}

    async def take(database_id: str) -> None:
        ending = await here.create(database_id=database_id, timeout=seconds)
        endings[database_id] = ending, here.clock.monotonic()

    async with anyio.create_task_group() as group:
        for database_id in here.emulator.databases:
            group.start_soon(take, database_id)
    return endings


@staged(fleet)
async def test_a_fleets_log_shows_every_change_without_a_flood(here: World) -> None:
    rows = await rows_of_all(here)
    for row in rows:
        assert len(row.shown) <= 5, "queued, sent, accepted, found: changes only"
        for step in ("sent; answer by 12:", "| accepted |", "found snapshot"):
            assert step in " | ".join(row.shown)
    assert sum("starts in about" in row.shown[0] for row in rows) == len(rows) - 1, (
        "only the first is sent at once"
    )


@staged(fleet)
async def test_failing_polls_of_a_fleet_are_shown_once(here: World) -> None:
    for kind in ("list", "list account"):
        here.fault(kind=kind, html=503, times=60)
    rows = await rows_of_all(here)
    assert any("last poll failed (503)" in text for row in rows for text in row.shown)
    assert max(len(row.shown) for row in rows) <= 8


@virtual
async def test_what_a_row_says_first_fits_into_120_columns_and_has_one_time() -> None:
    """Pulumi's columns leave 34 for the row of a Snapshot with a name of 14 characters."""
    rows = []
    dropped = Fault(kind="create", drop=True, when="after")
    for fault in (
        None,
        dropped,
        Fault(kind="create", status=429, code="KEEP_CALM", times=1),
    ):
        async with world(snapshot_seconds=400, cache_world="invalidated") as here:
            if fault:
                here.emulator.add_fault(fault)
            await here.create()
            rows += here.row.shown
    polls = [
        text for text in rows if re.fullmatch(r"accepted; next poll (.*) UTC", text)
    ]
    assert len(set(polls)) > 3, "a single snapshot shows every next poll"
    firsts = {text.partition(" ")[0] for text in rows}
    assert firsts == {"sent;", "accepted;", "answer", "KEEP_CALM;", "found"}
    for text in rows:
        times = [found.end() for found in re.finditer(r"\d\d:\d\d:\d\d", text)]
        assert len(times) == (not text.startswith("found")), text
        assert max(times, default=0) <= 34, text


@virtual
async def test_a_block_loses_no_snapshot_and_says_when_to_run_again() -> None:
    async with fleet(40) as here:
        over_at = here.clock.monotonic() + 62.0 + BLOCK
        endings = await here.meanwhile(62.0, here.emulator.block, endings_of_all(here))
        journal = here.emulator.journal
        known_at = next(
            entry.monotonic for entry in journal if entry.code == "RATE_LIMITED"
        )
        assert [one for one in journal if known_at < one.monotonic < over_at] == []
        started = {
            post.database_id: post.version_id for post in here.posts if post.accepted
        }
        assert 10 <= len(started) <= 14
        for database_id, (ending, at) in endings.items():
            if database_id in started:
                assert ending.complete.version_id == started[database_id]
                assert at >= over_at
            else:
                _says_at_once_when_to_run_again(ending, at - known_at)


def _says_at_once_when_to_run_again(
    ending: Ending, seconds_after_the_block: float
) -> None:
    """So ends a create that is still queued when the block is met."""
    assert isinstance(ending.nothing, Blocked)
    assert "Run it again after 12:3" in ending.text
    assert seconds_after_the_block <= 1


OUTAGES: list[tuple[dict[str, object], bool]] = [
    ({"html": 503}, True),
    ({"status": 503, "code": "DATABASE_UNAVAILABLE"}, True),
    ({"html": 503}, False),
]


@pytest.mark.parametrize(("fault", "has_answered"), OUTAGES, ids=str)
@virtual
async def test_an_outage_leaves_two_pending_snapshots_and_none_before_the_first_answer(
    fault: dict[str, object], *, has_answered: bool
) -> None:
    """Nothing can be sent whose time by the service's clock is not known."""
    async with fleet(40, "kept") as here:
        if has_answered:
            knows_time(here)
        here.fault(times=None, **fault)
        began = here.clock.monotonic()
        endings = await endings_of_all(here, seconds=300.0)
        sent = 2 if has_answered else 0
        assert len(here.posts) == sent
        assert (
            sum(
                ending.record is not None and ending.record.pending
                for ending, _ in endings.values()
            )
            == sent
        )
        unsent = [
            (ending, at) for ending, at in endings.values() if ending.record is None
        ]
        assert len(unsent) == 40 - sent
        says = r"No snapshot of database \w+ was taken\. \[.*\]\nhint: Run it again later\."
        for ending, at in unsent:
            assert isinstance(ending.nothing, Outage) is has_answered
            assert re.search(
                says if has_answered else "since the service's time is not known",
                ending.text,
            )
            assert at - began <= 130


@staged(world, snapshot_seconds=900, cache_world="invalidated")
async def test_a_long_wait_is_shown_beside_the_row_every_three_minutes_at_most(
    here: World,
) -> None:
    began = here.clock.monotonic()
    await here.create()
    minutes = (here.clock.monotonic() - began) / 60
    first, *reminders = here.row.reminders
    assert first == UNANSWERED
    assert 2 <= len(reminders) <= minutes / 3
    for text in reminders:
        said = (
            r"waiting: accepted; next poll \d\d:\d\d:\d\d UTC \(in about \d+ (s|min)\)"
        )
        assert re.fullmatch(said, text), text
        assert len(f"    before-release: {text}") <= 80, "as under Diagnostics"


@staged(world, snapshot_seconds=20)
async def test_a_short_wait_is_shown_on_the_row_alone(here: World) -> None:
    await here.create()
    assert here.row.reminders == []


@staged(world, snapshot_seconds=20)
async def test_a_long_pause_after_refusals_is_shown_beside_the_row(here: World) -> None:
    here.fault(kind="create", status=429, code="KEEP_CALM", times=5)
    await here.create()
    (text,) = here.row.reminders
    said = r"waiting: KEEP_CALM; next try 12:00:\d\d UTC \(in about \d\d s\), nothing was started"
    assert re.fullmatch(said, text)
    assert len(f"    before-release: {text}") <= 100


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(45.0, "45 s"), (100.0, "2 min"), (1750.0, "29 min"), (2700.0, "45 min")],
)
@virtual
async def test_a_line_about_a_long_wait_says_in_words_how_long_it_takes(
    seconds: float, words: str
) -> None:
    async with world() as here:
        now = here.clock.utc()
        ends = now + timedelta(seconds=seconds)
        kinds = {
            "until": "queued until {time}: another restores",
            "next_poll": "queued; next poll {time}: another restores",
            "next_try": "queued; next try {time}, nothing was started: another restores",
        }
        for kind, form in kinds.items():
            row = Row()
            with Fleet(here.clock).joins(row) as member:
                times: Any = {kind: ends, "at_most": now + timedelta(hours=3)}
                member.waits("queued", why="another restores", **times)
            clock = f"{ends:%H:%M:%S} UTC"
            assert row.shown == [form.format(time=clock)], "a row is not redrawn"
            in_words = f"{clock} (in about {words})"
            assert row.reminders == [f"waiting: {form.format(time=in_words)}"]


@staged(fleet)
async def test_a_fleet_leaves_one_line_for_all_that_wait(here: World) -> None:
    began = here.clock.monotonic()
    rows = await rows_of_all(here)
    minutes = (here.clock.monotonic() - began) / 60
    reminders = [text for row in rows for text in row.reminders]
    assert 1 <= len(reminders) <= 1 + minutes / 3
    assert "more wait)" in reminders[0]


@staged(world, snapshot_seconds=900, cache_world="invalidated")
async def test_no_next_poll_is_after_the_time_out(here: World) -> None:
    ending = await here.create(timeout=225.0)
    assert ending.how == "pending"
    ends = f"{here.clock.utc():%H:%M:%S}"
    shown = [text for text in here.row.shown if "next poll" in text]
    assert shown != []
    for text in shown:
        assert text.partition("next poll ")[2] <= ends, text
    assert f"accepted, until {ends} UTC at most" in here.row.shown


@staged(world, databases=FLEET[:3])
async def test_a_queued_request_says_in_words_when_it_starts(here: World) -> None:
    rows = await rows_of_all(here)
    shown = {text for row in rows for text in row.shown}
    assert {"starts in about 5 s", "starts in about 10 s (1 ahead)"} <= shown


@staged(world, snapshot_seconds=80)
async def test_a_request_that_is_not_answered_for_long_is_shown_beside_the_row(
    here: World,
) -> None:
    await here.create()
    assert here.row.reminders == [UNANSWERED]


@staged(world, snapshot_seconds=20)
async def test_a_service_that_is_silent_from_the_first_request_on_is_shown_beside_the_row(
    here: World,
) -> None:
    here.fault(kind="me", delay=60.0)
    here.fault(kind="status", delay=20.0)
    await here.create()
    assert here.row.reminders == ["waiting: connecting to the service"]
