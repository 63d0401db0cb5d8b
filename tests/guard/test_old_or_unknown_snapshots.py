"""A guard lets no change pass with an old or a mistaken snapshot, and waits for nobody longer than it must."""

import json
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import pytest

from pulumi_snapshots.guard.inputs import GuardInputs
from pulumi_snapshots.guard.once import GuardedChange
from pulumi_snapshots.snapshot.difference import SnapshotRules
from tests.support import engine_calls
from tests.support.clocks import Shifted
from tests.support.engine_calls import Stack
from tests.support.guarding import Machine
from tests.support.virtual import staged
from tests.support.world import DATABASE, OWNER, World, kill, world

CHANGE = "update of Server 0"
HOUR = 3600.0
BOUND = 45 * 60.0
"""The most seconds for which something of others holds anybody up."""


def asleep(w: World, machine: engine_calls.Machine, hours: float) -> None:
    """Let a machine be suspended: the service's time goes on, and so does the machine's boot clock."""
    assert isinstance(machine.clock, Shifted)
    w.emulator.advance(hours * HOUR)
    machine.clock.ahead += hours * HOUR


async def killed(stack: Stack, after: float, **values: Any) -> None:
    """Kill a run of a stack after some seconds."""
    async with anyio.create_task_group() as process:
        process.start_soon(partial(stack.up, database_id=DATABASE, **values))
        await anyio.sleep(after)
        kill(stack.session)
        process.cancel_scope.cancel()


@staged(world, snapshot_seconds=300.0, cache_world="invalidated")
async def test_a_change_after_a_night_is_not_guarded_by_the_snapshot_of_the_evening(
    w: World,
) -> None:
    machine = Machine(w, clock=Shifted(w.clock))
    program = machine.program()
    change = program.change(CHANGE, timeout=600.0)
    await w.meanwhile(200.0, partial(asleep, w, machine, 8), change)
    _, second = [post.version_id for post in w.posts]
    assert program.done == {CHANGE: second}
    assert not any("an earlier run" in text for text in program.row.shown)
    assert any(
        "waiting for the snapshot of this run" in text for text in program.row.shown
    )


@staged(world, snapshot_seconds=60.0, cache_world="kept")
async def test_a_change_is_not_guarded_by_what_an_answer_before_another_change_has_named(
    w: World,
) -> None:
    """The wait ends before the request after that change is answered."""
    machine = Machine(w)
    other = machine.program()
    program = machine.program()
    asked = GuardInputs(DATABASE, reuse_within=0.0)
    await other.change("update of Server 1")
    await anyio.sleep(600)
    w.fault(kind="create", delay=100.0, skip=1, times=1)
    async with anyio.create_task_group() as group:
        group.start_soon(partial(program.change, CHANGE, timeout=240.0))
        await anyio.sleep(30)
        change = "update of Server 2"
        await other.guards.after(
            GuardedChange("shop", asked, change, lambda: other.session, other.row)
        )
    assert program.done == {}
    assert "The wait ended" in program.told(CHANGE)


@staged(world, snapshot_seconds=300.0, cache_world="invalidated")
async def test_a_snapshot_that_is_found_after_a_night_says_how_old_it_is(
    w: World,
) -> None:
    machine = engine_calls.Machine(w, clock=Shifted(w.clock))
    stack = Stack(SnapshotRules(), machine, OWNER)
    await w.meanwhile(
        200.0,
        partial(asleep, w, machine, 8),
        stack.up(database_id=DATABASE, timeout="1h"),
    )
    assert stack.error is None
    assert any("8 h" in line for line in [*stack.row.notes, *stack.row.warnings])


@staged(world, snapshot_seconds=60.0, cache_world="invalidated")
async def test_a_guard_whose_ledger_fails_at_the_end_names_the_snapshot_that_it_has(
    w: World,
) -> None:
    machine = Machine(w)
    program = machine.program()
    fail = partial(setattr, machine.memory, "refuses_reads", "SlowDown")
    await w.meanwhile(30.0, fail, program.change(CHANGE))
    if CHANGE in program.held:
        said = program.told(CHANGE)
        assert "Nothing was started" not in said
        assert w.started() in said
    machine.memory.refuses_reads = ""
    again = machine.program()
    await again.change(CHANGE)
    assert again.done == {CHANGE: w.started()}, "it costs no other snapshot"


@staged(world, snapshot_seconds=60.0, cache_world="invalidated")
async def test_a_snapshot_whose_ledger_fails_at_the_end_is_not_said_to_be_unsent(
    w: World,
) -> None:
    machine = engine_calls.Machine(w)
    stack = Stack(SnapshotRules(), machine, OWNER)
    await anyio.sleep(400)
    w.fault(kind="create", drop=True)
    fail = partial(setattr, machine.memory, "refuses_reads", "SlowDown")
    await w.meanwhile(30.0, fail, stack.up(database_id=DATABASE, timeout="2h"))
    assert stack.error is not None
    assert "Nothing was started" not in stack.row.wording.error_text(
        getattr(stack.error, "error", stack.error)
    )
    assert stack.pending, "what may have been started is kept"


@staged(world, snapshot_seconds=300.0, cache_world="invalidated")
async def test_a_guard_waits_45_minutes_at_most_for_somebody_s_snapshot_that_fails(
    w: World,
) -> None:
    machine = Machine(w)
    w.emulator.fail_next_snapshot(DATABASE)
    await killed(Stack(SnapshotRules(), machine, OWNER), 100)
    program = machine.program()
    await program.change(CHANGE, timeout=3 * HOUR)
    assert program.done == {CHANGE: w.posts[1].version_id}
    assert w.clock.monotonic() <= BOUND + 600


@pytest.mark.parametrize(
    "is_killed", [True, False], ids=["a killed run", "a run that waits"]
)
@staged(world, snapshot_seconds=300.0, cache_world="invalidated")
async def test_a_guard_uses_what_another_one_has_requested_since_the_last_change(
    w: World, *, is_killed: bool
) -> None:
    machine = Machine(w)
    stack = Stack(SnapshotRules(), machine, OWNER)
    program = machine.program()
    if is_killed:
        await killed(stack, 100)
        await program.change(CHANGE)
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(stack.up, database_id=DATABASE))
            await anyio.sleep(100)
            await program.change(CHANGE)
    assert program.done == {CHANGE: w.started()}
    assert len(w.posts) == 1


# A7: a 200 that names an older version --------------------------------------------------------------------------------


def names_older(w: World) -> str:
    """Let the next 200 name a snapshot of an hour ago; returns its version."""
    older = str(w.emulator.add_snapshot(DATABASE).version_id)
    w.emulator.advance(HOUR)
    answer = {"status": "success", "response": {"key": f"Expires=1&versionId={older}"}}
    w.fault(kind="create", when="after", body=json.dumps(answer))
    return older


@pytest.mark.parametrize("cache", ["kept", "invalidated"])
@staged(world, snapshot_seconds=100.0)
async def test_a_200_that_names_an_older_version_does_not_make_it_the_new_snapshot(
    w: World, cache: str
) -> None:
    vars(w.emulator.settings).update(cache_world=cache)
    older = names_older(w)
    ending = await w.create()
    assert ending.complete.version_id == w.started() != older


@staged(world, snapshot_seconds=100.0, cache_world="invalidated")
async def test_a_200_that_names_an_older_version_guards_nothing_with_that(
    w: World,
) -> None:
    older = names_older(w)
    program = Machine(w).program()
    await program.change(CHANGE, reuse_within=0.0)
    assert program.done == {CHANGE: w.started()}
    assert w.started() != older


@pytest.mark.parametrize("listing", ["answers", "fails"])
@staged(world, snapshot_seconds=100.0, cache_world="invalidated")
async def test_a_200_that_names_a_version_of_the_ledger_does_not_make_it_the_new_snapshot(
    w: World, listing: str
) -> None:
    first = await w.create()
    older = first.complete.version_id
    await w.clock.sleep(600)
    answer = {"status": "success", "response": {"key": f"Expires=1&versionId={older}"}}
    w.fault(kind="create", when="after", body=json.dumps(answer))
    if listing == "fails":
        w.fault(kind="list", status=500, code="INTERNAL")
    second = await w.create(session=w.next_run(), owner=f"{OWNER}-2")
    assert second.complete.version_id == w.posts[1].version_id != older


@staged(world, snapshot_seconds=100.0, cache_world="invalidated")
async def test_a_200_that_names_a_version_of_seconds_before_is_believed_beside_another_one(
    w: World,
) -> None:
    # The listing's clock is behind that of the answers.
    moments = [w.emulator.now() + timedelta(seconds=each) for each in (-3, 20)]
    named, _ = [w.emulator.add_snapshot(DATABASE, modified=each) for each in moments]
    key = f"Expires=1&versionId={named.version_id}"
    answer = {"status": "success", "response": {"key": key}}
    w.fault(kind="create", when="before", body=json.dumps(answer))
    assert (await w.create()).complete.version_id == named.version_id


# Whose snapshot is listed does not matter to a guard, and does to a resource --------------------------------------


def two_take(w: World) -> list[str]:
    """Let two others take a snapshot now; returns their versions."""
    moments = [w.emulator.now() + timedelta(seconds=each) for each in (0, 20)]
    taken = [w.emulator.add_snapshot(DATABASE, modified=each) for each in moments]
    return [str(each.version_id) for each in taken]


@staged(world, snapshot_seconds=300.0, cache_world="invalidated")
async def test_a_guard_uses_what_others_have_taken_since_its_request(w: World) -> None:
    program = Machine(w).program()
    w.emulator.fail_next_snapshot(DATABASE)
    taken: list[str] = []
    change = program.change(CHANGE, reuse_within=0.0)
    await w.meanwhile(200.0, lambda: taken.extend(two_take(w)), change)
    assert program.done == {CHANGE: taken[0]}


@staged(world, snapshot_seconds=300.0, cache_world="invalidated")
async def test_a_guard_that_waits_for_a_resources_request_does_not_choose_its_snapshot(
    w: World,
) -> None:
    machine = Machine(w)
    snapshot = Stack(SnapshotRules(), machine, OWNER)
    w.emulator.fail_next_snapshot(DATABASE)
    await snapshot.up(database_id=DATABASE, timeout="3m")
    taken = two_take(w)
    program = machine.program()
    await program.change(CHANGE, reuse_within=0.0)
    assert program.done == {CHANGE: w.posts[1].version_id}
    await snapshot.up(database_id=DATABASE, timeout="3m")
    assert snapshot.pending, taken
