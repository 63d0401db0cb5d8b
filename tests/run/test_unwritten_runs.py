"""A preview, an `up` without a change and a refresh write nothing into the ledger, however many resources there are."""

from functools import partial
from typing import Any

import anyio
import pytest

from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.snapshot.difference import SnapshotRules
from tests.support.engine_calls import Machine, Stack
from tests.support.memory import Memory
from tests.support.virtual import staged
from tests.support.world import World, world

FLEET = tuple(f"{number + 1:032x}" for number in range(30))


class Deployment:
    """A stack with a snapshot of each database and a restore, whose runs are one process each."""

    def __init__(self, w: World, databases: tuple[str, ...]) -> None:
        self.machine = Machine(w, Memory(w.clock))
        self.databases = databases
        self.snapshots = [self._resource(SnapshotRules(), each) for each in databases]
        self.restore = self._resource(RestoreRules(), "restore")

    @property
    def writes(self) -> int:
        return self.machine.memory.writes

    def _resource(self, rules: Any, name: str) -> Stack:
        kind = rules.kind
        urn = f"urn:pulumi:dev::app::pulumi-python:dynamic/squarecloud:{kind}::{name}"
        return Stack(rules, self.machine, urn)

    def _inputs(self, number: int) -> dict[str, Any]:
        return {"database_id": self.databases[number]}

    def _of_restore(self) -> dict[str, Any]:
        first = self.snapshots[0].outputs
        names = ("database_id", "version_id", "name")
        return {**{name: first[name] for name in names}, "overwrite": True}

    async def deploy(self) -> None:
        """Make all resources."""
        async with anyio.create_task_group() as group:
            for number, each in enumerate(self.snapshots):
                group.start_soon(partial(each.up, **self._inputs(number)))
        await self.restore.up(**self._of_restore())
        assert not any(each.error for each in (*self.snapshots, self.restore))

    async def preview(self) -> None:
        self._begin()
        for number, each in enumerate(self.snapshots):
            await each.check(self._inputs(number), in_state=True)
            changes = await each.diff(self._inputs(number))
            assert not changes.replaces
            assert not changes.updates
        await self.restore.check(self._of_restore(), in_state=True)
        changes = await self.restore.diff(self._of_restore())
        assert not changes.replaces

    async def refresh(self) -> None:
        self._begin()
        async with anyio.create_task_group() as group:
            for each in (*self.snapshots, self.restore):
                group.start_soon(each.read)

    def _begin(self) -> None:
        """One process for all."""
        shared = self.machine.process()
        for each in (*self.snapshots, self.restore):
            each.begin()
            each.shared = shared


async def up_without_a_change(deployment: Deployment) -> None:
    """An `up --refresh`, for which the engine also previews."""
    await deployment.refresh()
    await deployment.preview()


RUNS = {
    "preview": Deployment.preview,
    "refresh": Deployment.refresh,
    "up --refresh": up_without_a_change,
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize(
    "pause", [0.0, 3600.0], ids=["a minute later", "an hour later"]
)
@pytest.mark.parametrize("many", [1, 3, 30])
@staged(world, databases=FLEET, snapshot_seconds=10, plan_memory_mb=2_560_000)
async def test_a_run_without_a_change_writes_nothing(
    w: World, many: int, pause: float, run: Any
) -> None:
    deployment = Deployment(w, FLEET[:many])
    await deployment.deploy()
    await w.clock.sleep(60 + pause)
    before = deployment.writes
    assert before >= 2 * many
    asked = len(w.emulator.journal)
    await run(deployment)
    assert deployment.writes == before
    assert len(w.emulator.journal) - asked <= 4
