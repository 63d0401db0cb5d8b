"""Programs with a guard on one machine: each change asks the guard first, as the engine's hooks do."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from pulumi_snapshots.attempt.owner import Asker
from pulumi_snapshots.attempt.process import Process
from pulumi_snapshots.guard.once import ChangeHeldBack, OncePerRun
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.create import create
from tests.support.world import DATABASE, Row, World

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi_snapshots.snapshot.record import SnapshotRecord

__all__ = ["Machine", "Program"]


@dataclass
class Machine:
    """A machine, whose processes share a state directory."""

    here: World
    state: Path
    running: set[str] = field(default_factory=set)
    started: int = 0

    def program(self, process: str | None = None) -> Program:
        """A run of a program; in a process of its own unless it is given one, as with the Automation API."""
        name = process or self._new_process()
        return Program(self.here, self.session(name), name)

    def session(self, process: str | None = None) -> Session:
        here = self.here
        name = Process(process or self._new_process(), self.running.__contains__)
        return Session(here.session.settings, clock=here.clock, http=here.transport, state=self.state, process=name)

    def _new_process(self) -> str:
        self.started += 1
        name = f"process {self.started}"
        self.running.add(name)
        return name

    async def killed_after(self, seconds: float, **inputs: Any) -> None:
        """Run a program with one change, and kill it: it leaves only the files that it has written."""
        program = self.program()
        async with anyio.create_task_group() as process:
            process.start_soon(partial(program.change, "update of Server shop", **inputs))
            await self.here.clock.sleep(seconds)
            self.kill(program)
            process.cancel_scope.cancel()

    def kill(self, program: Program) -> None:
        """End the program's process: it writes nothing more."""
        journal = program.session.journals["snapshot"]
        journal.erase = journal.enter = journal.update = journal.conclude = _never  # type: ignore[method-assign, assignment]
        self.running.discard(program.process)

    async def snapshot(self, row: Row | None = None, **inputs: Any) -> SnapshotRecord:
        """A Snapshot of the same database, which another process of the same run takes."""
        return await create(self.session(), self.here.inputs(**inputs), row or Row(), Asker("urn:a-snapshot"))


async def _never(*_: Any, **__: Any) -> None:
    await anyio.lowlevel.checkpoint()


@dataclass
class Program:
    """One run of a program.

    Attributes:
        done: the changes that have happened, each with the version that guards it.
        held: the changes that have not, each with its error.
        row: what the user sees of all of them.
    """

    here: World
    session: Session
    process: str
    guards: OncePerRun = field(default_factory=OncePerRun)
    done: dict[str, str] = field(default_factory=dict)
    held: dict[str, ChangeHeldBack] = field(default_factory=dict)
    row: Row = field(default_factory=Row)

    async def change(self, what: str, *, database_id: str = DATABASE, **inputs: Any) -> None:
        """Change something, if the guard allows it."""
        asked = self.here.inputs(**{"database_id": database_id, "reuse_within": 600.0, **inputs})
        try:
            record = await self.guards.before("shop", asked, what, lambda: self.session, self.row)
        except ChangeHeldBack as error:
            self.held[what] = error
            return
        self.done[what] = record.version_id or ""

    async def changes(self, count: int, *, apart: float = 0.0, **inputs: Any) -> None:
        """Change many things in parallel, or each some time after the one before it."""
        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(self._later, number * apart, f"update of Server {number}", inputs)

    async def _later(self, seconds: float, what: str, inputs: dict[str, Any]) -> None:
        await self.here.clock.sleep(seconds)
        await self.change(what, **inputs)

    def told(self, what: str) -> str:
        return self.row.wording.told(self.held[what])
