"""Clocks that are wrong, move, or stop: the right version, or an error that names both, and never a second POST."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio
import pytest

from pulumi_snapshots.attempt.journal import AttemptJournal
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.emulator import Fault
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.difference import SnapshotRules
from pulumi_snapshots.snapshot.record import provisional_id
from tests.support.clocks import Shifted
from tests.support.engine_calls import Machine, Stack
from tests.support.shared_places import Place
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OWNER, START, World, world

if TYPE_CHECKING:
    from pathlib import Path

MINUTE = 60.0


def machine(here: World, folder: Path, ahead: float) -> tuple[Stack, Shifted]:
    clock = Shifted(here.clock, ahead)
    made = Machine(here, folder, clock=clock)
    return Stack(SnapshotRules(), made, OWNER), clock


def accepted(here: World) -> list[str | None]:
    return [post.version_id for post in here.posts if post.accepted]


@pytest.mark.parametrize("ahead", [20 * MINUTE, -10 * MINUTE, 0.0], ids=["fast", "slow", "right"])
@pytest.mark.parametrize("resumed", ["on another machine", "by the same one"])
@virtual
async def test_a_lost_answer_of_a_machine_with_a_wrong_clock_is_found(
    tmp_path: Path, ahead: float, resumed: str
) -> None:
    async with world(snapshot_seconds=400, cache_world="invalidated") as here:
        here.emulator.add_snapshot(DATABASE)  # somebody else's, a little before
        await anyio.sleep(200)
        here.emulator.add_fault(Fault(kind="create", drop=True, when="after", times=1))
        stack, _ = machine(here, tmp_path / "first", ahead)
        await stack.up(database_id=DATABASE, timeout="3m")
        assert stack.pending
        assert stack.outputs["attempt"]["service_clock_offset"] == pytest.approx(-ahead, abs=1)
        if resumed == "on another machine":
            stack.machine = Machine(here, tmp_path / "second")
        await anyio.sleep(600)
        await stack.up(database_id=DATABASE)
        assert stack.error is None
        assert [stack.outputs["version_id"]] == accepted(here)


@pytest.mark.parametrize("ahead", [20 * MINUTE, -20 * MINUTE], ids=["fast", "slow"])
@virtual
async def test_machines_that_share_state_find_the_snapshot_of_a_request_that_no_answer_has_dated(
    tmp_path: Path, ahead: float
) -> None:
    """Cut off before any answer, and resumed by two others: by their clocks somebody else's snapshot could be it."""
    async with world(snapshot_seconds=400, cache_world="invalidated") as here:
        here.emulator.add_snapshot(DATABASE)
        await anyio.sleep(10 * MINUTE)
        place = Place(here.clock)
        clocks = (Shifted(here.clock, ahead), here.clock, Shifted(here.clock, -ahead))
        here.emulator.add_fault(Fault(kind="create", delay=7200.0, when="after", times=1))
        stack, ids = Stack(SnapshotRules(), Machine(here, tmp_path), OWNER), []
        for number, (clock, timeout) in enumerate(zip(clocks, ("30s", "30s", "45m"), strict=True)):
            stack.machine = Machine(here, tmp_path / f"{number}", clock=clock, place=place)
            await stack.up(database_id=DATABASE, timeout=timeout)
            ids.append(stack.id)
            await anyio.sleep(3 * MINUTE)
        assert stack.error is None
        assert len(here.posts) == 1
        assert [stack.outputs["version_id"]] == accepted(here)
        assert ids[0] == ids[1] == provisional_id(DATABASE, stack.outputs["requested_at"])


@virtual
async def test_a_laptop_suspended_during_the_post_finds_its_own(tmp_path: Path) -> None:
    asleep = 0.0
    async with world(snapshot_seconds=10, key_of_200_has_version=False) as here:

        def suspend() -> None:
            nonlocal asleep
            asleep = 3600.0
            here.emulator.advance(3600.0)

        clock = Clock(START, lambda: asleep)
        session = Session(here.session.settings, clock=clock, http=here.transport, state=tmp_path)
        ending = await here.meanwhile(5, suspend, here.create(session=session))
        assert ending.complete.version_id == here.started()
        assert ending.complete.requested_at == "2026-03-01T12:00:00Z"
        await session.close()


@virtual
async def test_an_entry_from_the_future_delays_no_create(tmp_path: Path) -> None:
    """The machine's clock was a day fast when a run was killed, and is right again."""
    async with world(snapshot_seconds=100, cache_world="invalidated") as here:
        stack, clock = machine(here, tmp_path, 86400.0)
        await stack.up(saves=False, database_id=DATABASE, timeout="2m", triggers=["v1"])
        clock.ahead = 0.0
        other = Stack(stack.rules, stack.machine, OWNER.replace(":dev:", ":prod:"))
        await other.up(database_id=DATABASE)
        assert other.error is None, other.error
        assert [other.outputs["version_id"]] == accepted(here)[1:]
        await stack.up(database_id=DATABASE, triggers=["v1"])
        assert [stack.outputs["version_id"]] == accepted(here)[:1]


@virtual
async def test_a_clock_that_is_set_after_a_kill_makes_no_earlier_snapshot_ours(tmp_path: Path) -> None:
    async with world(snapshot_seconds=80, key_of_200_has_version=False, cache_world="invalidated") as here:
        stack, clock = machine(here, tmp_path, 0.0)
        await stack.up(database_id=DATABASE, triggers=["v1"])
        await stack.preview(database_id=DATABASE, triggers=["v1"])
        await anyio.sleep(200)
        stack.id, stack.outputs = "", {}
        stack.begin()
        with mock.patch.object(AttemptJournal, "conclude", mock.AsyncMock()), anyio.move_on_after(20):
            await stack.create({"database_id": DATABASE, "triggers": ["v2"]})  # killed before any answer
        stack.end()
        clock.ahead = 10 * MINUTE
        await anyio.sleep(600)
        await stack.up(database_id=DATABASE, triggers=["v2"])
        assert [stack.outputs["version_id"]] == accepted(here)[1:]


@pytest.mark.parametrize("rules", [SnapshotRules(), RestoreRules()], ids=["snapshot", "restore"])
@virtual
async def test_going_back_to_earlier_triggers_acts_again_after_a_clock_was_set_back(
    tmp_path: Path, rules: SnapshotRules | RestoreRules
) -> None:
    async with world(snapshot_seconds=10, restore_seconds=30.0, cache_world="invalidated") as here:
        stored = here.emulator.add_snapshot(DATABASE)
        inputs: dict[str, Any] = {"database_id": DATABASE}
        if isinstance(rules, RestoreRules):
            inputs |= {"version_id": stored.version_id, "overwrite": True}
        clock = Shifted(here.clock, 60 * MINUTE)
        stack = Stack(rules, Machine(here, tmp_path, clock=clock), OWNER)
        for sent, triggers in enumerate((["v1"], ["v2"], ["v1"]), 1):
            await stack.up(saves=False, **inputs, triggers=triggers)
            assert len(here.posts) + len(here.requests("restore")) == sent, (
                "what an earlier run did was taken for the new one"
            )
            clock.ahead = 0.0
            await anyio.sleep(600)


@virtual
async def test_a_restore_is_not_over_sooner_because_the_clock_was_set(tmp_path: Path) -> None:
    """The service does not show how a restore stands, and it is queued for almost as long as the user lets it settle."""
    settings = {"restore_settle": 600.0}
    async with world(
        restore_seconds=60.0, restore_queue_seconds=400.0, restore_status_route="404", settings=settings
    ) as here:
        stored = here.emulator.add_snapshot(DATABASE)
        inputs: dict[str, Any] = {"database_id": DATABASE, "version_id": stored.version_id, "overwrite": True}
        clock = Shifted(here.clock)
        stack = Stack(RestoreRules(), Machine(here, tmp_path, clock=clock), OWNER)
        await stack.up(**inputs, timeout="20s")
        assert stack.pending
        clock.ahead = 20 * MINUTE
        stack.machine = Machine(here, tmp_path, clock=clock)
        await stack.up(**inputs, timeout="30m")
        assert stack.error is None
        assert not stack.pending
        assert here.clock.utc() - START > timedelta(seconds=460)


@virtual
async def test_an_undated_request_of_a_slow_machine_takes_no_other_snapshot(tmp_path: Path) -> None:
    """Cut off before any answer, and resumed by a machine that knows nothing of the other one's clock."""
    async with world(snapshot_seconds=30, cache_world="invalidated") as here:
        await anyio.sleep(100)
        here.emulator.add_snapshot(DATABASE)  # somebody else's
        await anyio.sleep(300)
        stack, _ = machine(here, tmp_path / "a", -20 * MINUTE)
        here.emulator.add_fault(Fault(kind="create", when="after", delay=7200.0, times=1))
        await stack.up(timeout="30s", database_id=DATABASE)
        stack.machine = Machine(here, tmp_path / "b")
        await anyio.sleep(900)
        await stack.up(database_id=DATABASE)
        assert "version_id" not in stack.outputs
        assert "was cut off before an answer showed the time" in str(stack.error)
        assert len(here.posts) == 1
