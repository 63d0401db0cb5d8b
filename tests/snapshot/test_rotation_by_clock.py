"""A snapshot is replaced by age at the service's time, whatever the clock of the machine that asks says."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest

from pulumi_snapshots.snapshot.difference import SnapshotRules
from tests.support.clocks import Shifted
from tests.support.engine_calls import Machine, Stack
from tests.support.virtual import staged
from tests.support.world import DATABASE, OWNER, World, world

HOUR = 3600.0
VALUES: dict[str, Any] = {"database_id": DATABASE, "rotate_after": "12h"}


@contextmanager
def ahead(w: World, hours: float) -> Iterator[Stack]:
    """A stack on a machine whose clock is wrong by so many hours, while the body runs."""
    clock = Shifted(w.clock, hours * HOUR)
    with mock.patch("pulumi_snapshots.run.calls.system_utc", clock.wall):
        yield Stack(SnapshotRules(), Machine(w, clock=clock), OWNER)


@pytest.mark.parametrize("hours", [13, 40 * 24])
@staged(world, snapshot_seconds=10, cache_world="invalidated")
async def test_a_machine_with_a_fast_clock_rotates_nothing_that_is_young(
    w: World, hours: int
) -> None:
    with ahead(w, hours) as stack:
        for _ in range(3):
            await stack.up(**VALUES)
            assert stack.error is None
            await w.clock.sleep(60)
    assert len(w.posts) == 1
    assert any("not forgotten" in note for note in stack.row.notes)


@staged(world, snapshot_seconds=10, cache_world="invalidated")
async def test_other_triggers_take_a_new_snapshot_however_young_the_last_one_is(
    w: World,
) -> None:
    stack = Stack(SnapshotRules(), Machine(w), OWNER)
    await stack.up(**VALUES, triggers=["v1"])
    await w.clock.sleep(600)
    await stack.up(**VALUES, triggers=["v2"])
    assert stack.outputs["version_id"] == w.posts[1].version_id


@staged(world, snapshot_seconds=10, cache_world="invalidated")
async def test_a_machine_with_a_slow_clock_says_why_it_does_not_rotate(
    w: World,
) -> None:
    """No request shows the service's time in a run that has nothing else to do."""
    with ahead(w, -13) as stack:
        await stack.up(**VALUES)
        await w.clock.sleep(12.5 * HOUR)
        await stack.up(**VALUES)
        assert len(w.posts) == 1
        assert any("in the future" in line for line in stack.row.warnings)
        await w.clock.sleep(13 * HOUR)
        await stack.up(**VALUES)
    assert len(w.posts) == 2


@staged(world, snapshot_seconds=10, cache_world="invalidated")
async def test_a_machine_with_a_right_clock_rotates_in_time(w: World) -> None:
    with ahead(w, 0) as stack:
        await stack.up(**VALUES)
        await w.clock.sleep(11.5 * HOUR)
        await stack.up(**VALUES)
        assert len(w.posts) == 1
        await w.clock.sleep(HOUR)
        await stack.up(**VALUES)
    assert len(w.posts) == 2
