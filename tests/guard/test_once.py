"""One snapshot before the first guarded change of a run, and no change past a guard that has none; in virtual time."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import pytest

from pulumi_snapshots.snapshot.create import create
from squarecloud_emulator import Fault
from tests.support.clocks import set_clock
from tests.support.guarding import Machine
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, Row, world

FIRST, LAST = "update of Server 0", "update of Server 19"
MINUTE = 60.0


@pytest.mark.parametrize("snapshot_seconds", [5.0, 300.0])
@pytest.mark.parametrize("apart", [0.0, 40.0])
@virtual
async def test_twenty_guarded_changes_cost_one_snapshot(snapshot_seconds: float, apart: float) -> None:
    async with world(snapshot_seconds=snapshot_seconds) as w:
        program = Machine(w).program()
        await program.changes(20, apart=apart)
        (post,) = w.posts
        assert list(program.done.values()) == [post.version_id] * 20
        (line,) = program.row.notes
        guarded, way_back = line.split("\n")
        assert guarded in {f"guarded by {DATABASE}/{post.version_id}: {change}" for change in program.done}
        assert way_back == f"To go back: squarecloud-snapshots restore {DATABASE}/{post.version_id}"
        assert not program.row.warnings


@virtual
async def test_a_guard_does_not_wait_for_a_url_that_it_does_not_need() -> None:
    # A page from before the snapshot is served for 30 minutes, but the answer to the POST has named the version.
    async with world(snapshot_seconds=20.0, cache_world="kept") as w:
        program, began = Machine(w).program(), w.clock.monotonic()
        await program.changes(1)
        assert program.done == {FIRST: w.started()}
        assert w.clock.monotonic() - began < MINUTE
        assert not w.listings, "what other machines do is not known, so there is nothing to reuse"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "quota used up": ({"status": 429, "code": "DAILY_SNAPSHOTS_LIMIT_REACHED"}, "daily allowance"),
    "blocked": ({"status": 429, "code": "RATE_LIMITED"}, "RATE_LIMITED"),
    "not found": ({"status": 404, "code": "DATABASE_NOT_FOUND"}, "DATABASE_NOT_FOUND"),
    "key refused": ({"status": 401, "code": "ACCESS_DENIED"}, "ACCESS_DENIED"),
    "failed": ({"status": 500, "code": "SNAPSHOT_FAILED"}, "SNAPSHOT_FAILED"),
    "not reached": ({"no_connect": True}, "could not be reached"),
    "cooldown without end": ({"status": 429, "code": "KEEP_CALM"}, "No snapshot of database"),
    "answer lost": ({"drop": True, "when": "before"}, "the answer was lost"),
    "gateway": ({"html": 502, "when": "before"}, "the answer was lost"),
}


@pytest.mark.parametrize("why", REFUSED)
@virtual
async def test_no_change_goes_past_a_guard_without_a_snapshot(why: str) -> None:
    fault, said = REFUSED[why]
    async with world() as w:
        w.emulator.add_fault(Fault(kind="create", times=99, **fault))
        program = Machine(w).program()
        await program.changes(20, apart=30.0, timeout=10 * MINUTE)
        assert not program.done
        assert len(program.held) == 20
        told = program.told(FIRST)
        assert told.startswith(f"The {FIRST} was held back, since no snapshot guards it: ")
        assert said in told
        assert program.told(LAST).startswith(
            f"The {LAST} was held back, since no snapshot guards it: it failed for the {FIRST}"
        )
        assert not any(post.accepted for post in w.posts)


@virtual
async def test_an_interrupted_guard_holds_back_and_says_what_is_next() -> None:
    async with world(snapshot_seconds=300.0) as w:
        machine = Machine(w)
        program = machine.program()
        await w.meanwhile(200.0, program.session.stop, program.changes(3, apart=1.0))
        assert not program.done
        assert "is not listed yet. The wait was interrupted." in program.told(FIRST)
        assert (
            "waits for this snapshot until timeout after the request, or reuse_within if that is longer"
            in program.told(FIRST)
        )
        again = machine.program()
        await again.changes(3)
        assert set(again.done.values()) == {w.started()}
        assert any("no new request was sent" in note for note in again.row.notes)


@pytest.mark.parametrize("process", ["another process", "the same process"])
@virtual
async def test_a_killed_or_cancelled_guard_is_resumed_without_a_second_post(process: str) -> None:
    async with world(snapshot_seconds=300.0) as w:
        machine = Machine(w)
        if process == "another process":
            await machine.killed_after(200.0)
            again = machine.program()
        else:  # the Automation API: the process lives on, and only the engine's call has ended
            program = machine.program()
            with anyio.move_on_after(200.0):
                await program.changes(2)
            assert not program.done
            again = machine.program(program.session)
        await again.changes(2)
        assert set(again.done.values()) == {w.started()}


@virtual
async def test_an_old_snapshot_guards_nothing_while_the_service_cannot_say_how_old_it_is() -> None:
    async with world(snapshot_seconds=30.0) as w:
        machine = Machine(w)
        first = machine.program()
        await first.changes(1)
        await w.clock.sleep(120 * MINUTE)
        w.emulator.add_fault(Fault(no_connect=True, times=100))
        with set_clock(w.clock, -timedelta(hours=2)):
            again = machine.program()
            await again.change("update of Server shop")
        assert not again.done
        assert "could not be reached" in again.told("update of Server shop")


@virtual
async def test_a_change_whose_call_ends_leaves_the_wait_to_the_next() -> None:
    async with world(snapshot_seconds=300.0) as w:
        program = Machine(w).program()
        async with anyio.create_task_group() as group:
            group.start_soon(program.change, "delete of Server last")
            with anyio.move_on_after(200.0):
                await program.change("update of Server first")
        assert program.done.keys() | program.held.keys() <= {"delete of Server last", "update of Server first"}
        assert set(program.done.values()) == {w.started()}


@pytest.mark.parametrize(
    ("first", "cache_world"), [("the guard", "invalidated"), ("the Snapshot", "invalidated"), ("the Snapshot", "kept")]
)
@pytest.mark.parametrize("snapshot_seconds", [5.0, 1200.0])
@virtual
async def test_a_guard_shares_its_post_with_a_snapshot_of_the_same_up(
    first: str, cache_world: str, snapshot_seconds: float
) -> None:
    async with world(snapshot_seconds=snapshot_seconds, cache_world=cache_world) as w:
        machine = Machine(w)
        program, row = machine.program(), Row()
        async with anyio.create_task_group() as group:
            if first == "the Snapshot":
                group.start_soon(machine.snapshot, row)
                await w.clock.sleep(1.0)
            group.start_soon(program.changes, 3)
            if first == "the guard":
                await w.clock.sleep(1.0)
                within = {"reuse_within": 1800.0}  # by the rules of a Snapshot, from when it is found
                group.start_soon(partial(machine.snapshot, row, **within))
        assert set(program.done.values()) == {w.started()}


@virtual
async def test_each_database_has_its_own_snapshot() -> None:
    async with world(databases=(DATABASE, OTHER_DATABASE)) as w:
        program = Machine(w).program()
        async with anyio.create_task_group() as group:
            for database_id in (DATABASE, OTHER_DATABASE):
                group.start_soon(partial(program.change, database_id, database_id=database_id))
        assert program.done == {post.database_id: post.version_id for post in w.posts}


@virtual
async def test_a_snapshot_of_the_same_process_may_adopt_what_a_guard_has_taken() -> None:
    async with world(snapshot_seconds=5.0, cache_world="invalidated") as w:
        program = Machine(w).program()
        await program.changes(2)
        await w.clock.sleep(MINUTE)  # a process asks for no page again that is so young
        adopted = await create(program.session, w.inputs(reuse_within=600.0), Row(), "urn:a-snapshot")
        assert {adopted.version_id} == set(program.done.values()) == {w.started()}
