"""What `runs` shows of requests under way on all machines, and that the row of a run that waits says the same."""

import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from pulumi_snapshots.clock import ServiceClock
from pulumi_snapshots.ledger.attempt import SAVED, Attempt, Request, Status
from pulumi_snapshots.ledger.ledger import Ledger
from tests.cli.typed import Desk, at_desk
from tests.ledger.test_machines import Team
from tests.support.guarding import Machine
from tests.support.ledger_places import Store
from tests.support.memory import Memory
from tests.support.virtual import staged
from tests.support.world import (
    DATABASE,
    OTHER_DATABASE,
    OWNER,
    START,
    Row,
    World,
    world,
)

ANOTHER = OWNER.replace("before-release", "another")
HOUR = timedelta(hours=1)
HALF_HOUR = timedelta(minutes=30)


async def listed(desk: Desk) -> list[Any]:
    before = len(desk.w.emulator.journal)
    found: list[Any] = (await desk.types("runs", "--json")).done.json
    assert {entry.method for entry in desk.w.emulator.journal[before:]} <= {"GET"}
    assert len(desk.w.emulator.journal) - before <= 1, (
        "only the service's time is asked for"
    )
    return found


@at_desk(snapshot_seconds=300)
async def test_a_killed_run_is_listed_with_what_resumes_it(
    desk: Desk, w: World
) -> None:
    assert "nothing is under way" in (await desk.types("runs")).done.err
    async with desk.killed("create", DATABASE, "--timeout", "10m"):
        await w.clock.sleep(50)
        (one,) = await listed(desk)
        assert (one["database_id"], one["by"]) == (
            DATABASE,
            "squarecloud-snapshots create",
        )
        assert one["since"].startswith("2026-03-01T12:00:0")
        assert one["state"] == "not answered yet"
        await w.clock.sleep(50)
    (one,) = await listed(desk)
    assert one["state"] == "accepted, not listed yet"
    assert one["until"].startswith("2026-03-01T12:45:0"), (
        "nobody waits longer than 45 minutes"
    )
    again = f"squarecloud-snapshots create {DATABASE} --reuse-within 1h"
    resumes = f"running `{again}` on this machine waits for it and sends nothing"
    assert one["then"] == f"unless its run is still working on it, {resumes}"
    shown = (await desk.types("runs")).done.out
    assert shown.splitlines()[:6] == [
        DATABASE,
        "  what   snapshot",
        "  by     squarecloud-snapshots create",
        "  since  2026-03-01 12:00:00 UTC",
        "  until  2026-03-01 12:45:00 UTC at the latest: others wait for it until then",
        "  state  accepted, not listed yet",
    ]
    assert " ".join(shown.split()).endswith(resumes)
    await w.clock.sleep(3 * 3600)
    (one,) = await listed(desk)
    assert one["state"] == "its end was never seen"
    assert one["then"] == "nothing waits for it any longer"


OWNERS = {
    # By whom, and what ends it.
    "shop::prod::before": (
        "before of shop/prod",
        "its stack has it as pending, and the next run of that stack",
    ),
    "shop::prod::a:b:C$d:e:F::Drill::x": (
        "x of shop/prod",
        "the next run of its stack on any machine that",
    ),
    f"guard:{DATABASE}": (
        f"guard:{DATABASE}",
        "the next guarded change on any machine that shares the ledger",
    ),
    "squarecloud-snapshots probe": (
        "squarecloud-snapshots probe",
        "the next request of that database waits for it",
    ),
    None: (
        "an unnamed resource",
        "the next request of that database waits for it",
    ),
}


@pytest.mark.parametrize("owner", OWNERS)
@staged(world)
async def test_each_owner_of_a_request_reads_what_ends_it(
    w: World, tmp_path: Path, owner: str | None
) -> None:
    by, then = OWNERS[owner]
    store = Store(w.clock)
    request = Request(START - HALF_HOUR, "202", 1800.0, "an id")
    attempt = Attempt(
        "snapshot",
        owner,
        DATABASE,
        "a purpose",
        request,
        Status.ACCEPTED,
        in_state=SAVED if "pending" in then else None,
        account="a",
    )
    await Ledger(store.bucket(), ServiceClock(w.clock)).enter(attempt, is_new=True)
    (one,) = await listed(Desk(w, tmp_path, place=store.bucket))
    assert (one["by"], one["owner"], one["account"]) == (by, owner, "a")
    assert then in one["then"]


@staged(world)
async def test_a_drill_and_a_block_are_listed_until_when_others_wait(
    w: World, tmp_path: Path
) -> None:
    store = Store(w.clock)
    desk = Desk(w, tmp_path, place=store.bucket)
    request = Request(START - timedelta(minutes=5), "202", 1800.0, "an id")
    attempt = Attempt(
        "restore", "shop::prod::Drill::weekly", DATABASE, "a purpose", request, Status.FOUND, f"{DATABASE}/v", result="x",
        held_until=START + timedelta(minutes=1), ended_at=START,
    )  # fmt: skip
    await Ledger(store.bucket(), ServiceClock(w.clock)).enter(attempt, is_new=True)
    await store.bucket().edit(
        lambda document: document.update(
            accounts={"b": {"blocks": {"": (START + HOUR).timestamp(), "read": 5}}}
        )
    )
    drill, block = await listed(desk)
    assert (drill["what"], drill["state"]) == (
        f"restore of {DATABASE}/v",
        "its checks are under way",
    )
    assert (drill["until"], drill["then"]) == ("2026-03-01T12:01:00Z", "nothing to do")
    assert (block["what"], block["until"], block["account"]) == (
        "block",
        "2026-03-01T13:00:00Z",
        "b",
    )
    assert "doctor --forget-block" in block["then"]
    assert "the service has blocked the account" in (await desk.types("runs")).done.out


@pytest.mark.parametrize("kind", ["snapshot", "restore"])
@staged(world, snapshot_seconds=900, restore_seconds=900.0, cache_world="invalidated")
async def test_the_row_of_a_run_that_waits_says_what_runs_says(
    w: World, tmp_path: Path, kind: str
) -> None:
    """Another machine was killed; this one waits for what it had requested."""
    team = Team(w)
    row = Row()
    version = w.emulator.add_snapshot(DATABASE).version_id
    await w.clock.sleep(4000)
    first = partial(team.restore, version)
    other = partial(team.restore, version, owner=ANOTHER, triggers=["v2"])
    if kind == "snapshot":
        first = team.create  # type: ignore[assignment]  # alike
        other = partial(team.create, owner=ANOTHER, timeout="30m")
    assert await w.killed(95, first, team.machine())
    async with anyio.create_task_group() as waiting:
        waiting.start_soon(partial(other, row=row))
        await w.clock.sleep(60)
        waiting.cancel_scope.cancel()
    shown = [text for text in row.shown if "waiting for the" in text][-1]
    assert re.match(
        rf"waiting for the {kind} of `\S+` in stack `\S+` until 1", shown
    ), shown
    (one,) = await listed(Desk(w, tmp_path, place=team.store.bucket))
    said = shown.partition(": ")[2]
    assert said.startswith("requested at ")
    assert said.endswith(f", {one['state']}")


@staged(world, snapshot_seconds=900)
async def test_a_wait_for_a_killed_create_ends_with_the_command_that_waits_for_it(
    w: World, tmp_path: Path
) -> None:
    place = Memory(w.clock)
    address = w.emulator.base_url
    async with Desk(w, tmp_path, place=lambda: place).killed("create", DATABASE):
        await w.clock.sleep(100)
    w.emulator.base_url = address
    ending = await w.create(session=w.another_run(place), timeout=120.0)
    assert f"`squarecloud-snapshots create {DATABASE} --reuse-within 1h`" in ending.text
    assert len(w.posts) == 1


@staged(world, snapshot_seconds=900)
async def test_a_guard_that_waits_for_a_killed_create_says_how_to_resume_it(
    w: World, tmp_path: Path
) -> None:
    place = Memory(w.clock)
    address = w.emulator.base_url
    async with Desk(w, tmp_path, place=lambda: place).killed("create", DATABASE):
        await w.clock.sleep(100)
    w.emulator.base_url = address
    up = Machine(w, place).program()
    await up.change("update of Server shop", timeout=120.0)
    told = up.told("update of Server shop")
    assert (
        f"`squarecloud-snapshots create {DATABASE} --reuse-within 1h` resumes it."
        in told
    )
    assert len(w.posts) == 1


@staged(world, databases=(DATABASE, OTHER_DATABASE), snapshot_seconds=900)
async def test_no_run_waits_without_an_end(w: World) -> None:
    row = Row()
    async with anyio.create_task_group() as runs:
        for database in (DATABASE, OTHER_DATABASE):
            runs.start_soon(
                partial(
                    Team(w).create,
                    w.session,
                    database_id=database,
                    row=row,
                    timeout="30m",
                )
            )
        await w.clock.sleep(1)
        runs.cancel_scope.cancel()
    assert any(text.startswith("starts in about 5 s") for text in row.shown), row.shown
