"""Programs with a guard on one machine: each change asks the guard first, as the engine's hooks do."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

import anyio

from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.guard.inputs import GuardInputs
from pulumi_snapshots.guard.once import (
    ChangeHeldBack,
    ChangeNotNoted,
    GuardedChange,
    OncePerRun,
)
from pulumi_snapshots.restore.record import RestoreInputs
from pulumi_snapshots.restore.restore import restore
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.record import SnapshotRecord
from tests.support import engine_calls
from tests.support.world import DATABASE, Row, World

RUNS = count(1)


class Machine(engine_calls.Machine):
    def program(self, session: Session | None = None) -> Program:
        """A run of a program; in a process of its own unless it is given one, as with the Automation API."""
        return Program(self.here, session or self.session())

    async def snapshot(self, row: Row | None = None, **inputs: Any) -> SnapshotRecord:
        """A Snapshot of the same database, which another process of the same run takes."""
        return await create(
            self.session(), self.here.inputs(**inputs), row or Row(), "urn:a-snapshot"
        )

    async def restores(self, version_id: str, *, as_a_stranger: bool = False) -> None:
        """A Restore of this machine; or one by a client of the account of which this machine knows nothing."""
        session = self.here.another_run() if as_a_stranger else self.session()
        (stored,) = [
            each
            for each in self.here.emulator.snapshots(DATABASE)
            if each.version_id == version_id
        ]
        inputs = RestoreInputs(
            DATABASE,
            version_id,
            DATABASE,
            overwrite=True,
            name=stored.name,
            runtime=stored.runtime,
        )
        await restore(session, inputs, Row(), "urn:a-restore", forced=True)


@dataclass
class Program:
    here: World
    session: Session
    guards: OncePerRun = field(default_factory=lambda: OncePerRun(f"run {next(RUNS)}"))
    done: dict[str, str] = field(default_factory=dict)
    # the errors of changes that have not, or were not noted
    held: dict[str, ProviderError] = field(default_factory=dict)
    row: Row = field(default_factory=Row)  # what the user sees of all of them

    async def change(
        self,
        what: str,
        *,
        database_id: str = DATABASE,
        guard: str = "shop",
        fails: bool = False,
        **inputs: Any,
    ) -> None:
        """Change something, if the guard allows it; it happens unless it fails."""
        asked = GuardInputs(database_id, **{"reuse_within": 600.0, **inputs})
        change = GuardedChange(guard, asked, what, lambda: self.session, self.row)
        try:
            record = await self.guards.before(change)
            self.done[what] = record.version_id or ""
            if not fails:
                await self.guards.after(change)
        except (ChangeHeldBack, ChangeNotNoted) as error:
            self.held[what] = error

    async def first(
        self, why: str, inputs: GuardInputs, *, guard: str = "shop"
    ) -> None:
        """Take the snapshot before all changes, as a guard that does not hear of some."""
        try:
            record = await self.guards.before_all(
                GuardedChange(guard, inputs, why, lambda: self.session, self.row)
            )
            self.done[why] = record.version_id or ""
        except ChangeHeldBack as error:
            self.held[why] = error

    async def changes(self, count: int, *, apart: float = 0.0, **inputs: Any) -> None:
        """Change many things in parallel, or each some time after the one before it."""
        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(
                    self._later, number * apart, f"update of Server {number}", inputs
                )

    async def _later(self, seconds: float, what: str, inputs: dict[str, Any]) -> None:
        await self.here.clock.sleep(seconds)
        await self.change(what, **inputs)

    def told(self, what: str) -> str:
        return self.row.wording.error_text(self.held[what])
