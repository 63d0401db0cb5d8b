"""Drills that share a scratch database, and restores that take longer than `every`: whose data the checks are asked of."""

from __future__ import annotations

import anyio

from pulumi_snapshots.drill.difference import DrillRules
from tests.support.drilling import DRILLER, drill_scene
from tests.support.virtual import virtual
from tests.support.world import DATABASE

HOUR = 3600.0


@virtual
async def test_a_drill_is_not_passed_by_what_another_drill_has_restored_since() -> None:
    async with drill_scene() as at:
        at.at.writes("other")
        other = at.at.here.emulator.add_snapshot(DATABASE)
        second = type(at.stack)(DrillRules(), at.stack.machine, f"{DRILLER}-2")
        checks = [{"query": "select state from rows", "equals": "other"}]
        await at.up(checks=checks)
        assert at.stack.outputs["passed"] is False
        await second.up(**at.values(version_id=other.version_id, checks=checks))
        assert second.outputs["passed"] is True
        await anyio.sleep(3 * HOUR)  # the service no longer shows any restore
        await at.up(checks=checks)
        assert at.stack.outputs["passed"] is False
        assert at.accepted == 3  # its own snapshot is restored again before it is asked


@virtual
async def test_a_restore_that_takes_longer_than_every_is_watched_and_not_sent_again() -> None:
    async with drill_scene(restore_seconds=2 * HOUR) as at:
        await at.up(timeout="3m", every="1h")
        await anyio.sleep(1.5 * HOUR)
        await at.up(timeout="2h", every="1h")
        assert at.accepted == 1
        assert at.stack.outputs["passed"] is True
