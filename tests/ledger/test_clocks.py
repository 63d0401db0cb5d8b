"""Clocks that are wrong, move, or stop: the right version, and never a second POST."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import NothingSent
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.memory import provisional_id
from pulumi_snapshots.snapshot.difference import SnapshotRules
from squarecloud_emulator import Fault
from tests.support.clocks import Shifted
from tests.support.engine_calls import Machine, Stack
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OWNER, START, World, world

if TYPE_CHECKING:
    from pulumi_snapshots.run.calls import Rules

MINUTE, DAY = 60.0, 86400.0
RULES: dict[str, Rules] = {"snapshot": SnapshotRules(), "restore": RestoreRules()}


def machine(here: World, ahead: float = 0.0, kind: str = "snapshot") -> tuple[Stack, Shifted]:
    clock = Shifted(here.clock, ahead)
    return Stack(RULES[kind], Machine(here, clock=clock), OWNER), clock


def elsewhere(stack: Stack, ahead: float = 0.0, *, shares: bool = False) -> None:
    """Let the next runs be on another machine, at the same place or with a ledger of its own."""
    here = stack.machine.here
    stack.machine = Machine(here, stack.machine.place if shares else None, Shifted(here.clock, ahead))


def accepted(here: World) -> list[str | None]:
    return [post.version_id for post in here.posts if post.accepted]


@pytest.mark.parametrize("ahead", [DAY, 20 * MINUTE, -10 * MINUTE, -DAY, 0.0], ids=lambda ahead: f"{ahead / 60} min")
@pytest.mark.parametrize("resumed", ["by another machine", "by another one at its place", "by the same one"])
@pytest.mark.parametrize("lost", ["the answer was lost", "cut off before any answer"])
@virtual
async def test_the_snapshot_of_a_machine_with_a_wrong_clock_is_found(ahead: float, resumed: str, lost: str) -> None:
    async with world(snapshot_seconds=400, cache_world="invalidated") as here:
        here.emulator.add_snapshot(DATABASE)  # somebody else's: by the machine's clock it could be ours
        await anyio.sleep(10 * MINUTE)
        dropped = Fault(kind="create", drop=True, when="after", times=1)
        here.emulator.add_fault(
            dropped if "lost" in lost else Fault(kind="create", delay=7200.0, when="after", times=1)
        )
        stack, _ = machine(here, ahead)
        await stack.up(database_id=DATABASE, timeout="30s")
        assert stack.pending
        first = stack.id
        if "another" in resumed:
            elsewhere(stack, -ahead, shares="place" in resumed)
        await anyio.sleep(3 * MINUTE)
        await stack.up(database_id=DATABASE)
        assert stack.error is None
        assert [stack.outputs["version_id"]] == accepted(here)
        assert len(here.posts) == 1
        assert first == provisional_id(DATABASE, stack.outputs["requested_at"])


@virtual
async def test_a_laptop_suspended_during_the_post_finds_its_own() -> None:
    asleep = 0.0
    async with world(snapshot_seconds=10, key_of_200_has_version=False) as here:

        def suspend() -> None:
            nonlocal asleep
            asleep = 3600.0
            here.emulator.advance(3600.0)

        session = here.another_run(clock=Clock(START, lambda: asleep))
        ending = await here.meanwhile(5, suspend, here.create(session=session))
        assert ending.complete.version_id == here.started()
        assert ending.complete.requested_at == "2026-03-01T12:00:00Z"
        await session.close()


STEPS = [(DAY, 0.0), (0.0, DAY), (60 * MINUTE, 0.0), (0.0, 10 * MINUTE), (0.0, -DAY)]


@pytest.mark.parametrize(("before", "after"), STEPS, ids=str)
@virtual
async def test_a_clock_that_is_set_after_a_kill_delays_no_run_and_makes_no_other_snapshot_ours(
    before: float, after: float
) -> None:
    async with world(snapshot_seconds=80, key_of_200_has_version=False, cache_world="invalidated") as here:
        stack, clock = machine(here, before)
        await stack.up(database_id=DATABASE, triggers=["v1"])
        await anyio.sleep(200)
        stack.begin()
        await stack.check({"database_id": DATABASE, "triggers": ["v2"]})

        async def create(_: Any) -> None:
            await stack.create({"database_id": DATABASE, "triggers": ["v2"]})

        assert await here.killed(20, create, stack.session)
        clock.ahead = after
        await anyio.sleep(600)
        began = here.clock.monotonic()
        other = Stack(stack.rules, stack.machine, OWNER.replace("before-release", "other"))
        await other.up(database_id=DATABASE)
        await stack.up(database_id=DATABASE, triggers=["v2"])
        assert here.clock.monotonic() - began < 300
        assert [stack.outputs["version_id"], other.outputs["version_id"]] == accepted(here)[1:]


@pytest.mark.parametrize("kind", RULES)
@virtual
async def test_going_back_to_earlier_triggers_acts_again_after_a_clock_was_set_back(kind: str) -> None:
    async with world(snapshot_seconds=10, restore_seconds=30.0, cache_world="invalidated") as here:
        stored = here.emulator.add_snapshot(DATABASE)
        inputs: dict[str, Any] = {"database_id": DATABASE}
        if kind == "restore":
            inputs |= {"version_id": stored.version_id, "overwrite": True}
        stack, clock = machine(here, 60 * MINUTE, kind)
        for sent, triggers in enumerate((["v1"], ["v2"], ["v1"]), 1):
            await stack.up(saves=False, **inputs, triggers=triggers)
            assert len(here.posts) + len(here.requests("restore")) == sent, (
                "what an earlier run did was taken for the new one"
            )
            clock.ahead = 0.0
            await anyio.sleep(600)


@virtual
async def test_a_restore_is_not_over_sooner_because_the_clock_was_set() -> None:
    """The service does not show how a restore stands, and it is queued for almost as long as the user lets it settle."""
    async with world(
        restore_seconds=60.0,
        restore_queue_seconds=400.0,
        restore_status_route="404",
        settings={"restore_settle": 600.0},
    ) as here:
        stored = here.emulator.add_snapshot(DATABASE)
        inputs: dict[str, Any] = {"database_id": DATABASE, "version_id": stored.version_id, "overwrite": True}
        stack, clock = machine(here, kind="restore")
        await stack.up(**inputs, timeout="20s")
        assert stack.pending
        clock.ahead = 20 * MINUTE
        await stack.up(**inputs, timeout="30m")
        assert stack.error is None
        assert not stack.pending
        assert here.clock.utc() - START > timedelta(seconds=460)


@pytest.mark.parametrize("ahead", [DAY, -DAY])
@pytest.mark.parametrize("after", [0.5, 5.0, 95.0, 200.0])
@virtual
async def test_a_clock_that_is_set_in_the_middle_of_a_run_changes_nothing(ahead: float, after: float) -> None:
    async with world(snapshot_seconds=300, cache_world="invalidated") as here:
        clock = Shifted(here.clock, 0.0)
        session = here.another_run(clock=clock)
        ending = await here.meanwhile(after, lambda: vars(clock).update(ahead=ahead), here.create(session=session))
        assert ending.complete.version_id == here.started()
        assert len(here.posts) == 1
        await session.close()


@virtual
async def test_nothing_is_sent_while_the_service_shows_no_time() -> None:
    async with world() as here:
        for kind in ("restore status", "status", "me"):
            here.emulator.add_fault(Fault(kind=kind, drop=True, times=None))
        ending = await here.create()
        assert isinstance(ending.nothing, NothingSent)
        assert "the service's time is not known" in ending.text
        assert not here.posts
