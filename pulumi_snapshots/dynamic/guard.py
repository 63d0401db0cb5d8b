"""The guard whose snapshot is taken by the program's own process, where its hooks run."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pulumi_snapshots.dynamic.translate import this_run
from pulumi_snapshots.engine.interrupt import Interrupts
from pulumi_snapshots.late import late
from pulumi_snapshots.program.guard import GuardDeclaration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pulumi_snapshots.guard.inputs import GuardInputs
    from pulumi_snapshots.guard.once import OncePerRun
    from pulumi_snapshots.lookup.results import SnapshotInfo
    from pulumi_snapshots.program.guard import HookRow
    from pulumi_snapshots.run.session import Session


_interrupts = Interrupts()
AT_ONCE = 0.05
"""Seconds within which a change has what it needs if the snapshot is there. To hear of ^C costs a process."""


class Guard(GuardDeclaration):  # noqa: D101  the declaration's
    __doc__ = GuardDeclaration.__doc__

    async def _taken(self, inputs: GuardInputs, change: str, row: HookRow) -> None:
        await _carried_out(
            lambda: self._once.before(
                self._owner, inputs.snapshot, change, self._session, row, fallback=inputs.fallback
            )
        )

    async def _noted(self, inputs: GuardInputs, change: str, _row: HookRow) -> None:
        await _carried_out(lambda: self._once.after(self._owner, inputs.database_id, change, self._session))

    def _newest(self, database_id: str) -> SnapshotInfo | None:
        newest: SnapshotInfo | None = late("dynamic.lookups:get_latest_snapshot")(database_id, "manual")
        return newest

    @property
    def _once(self) -> OncePerRun:
        once: OncePerRun = self._program.shared(late("guard.once:OncePerRun"))
        return once

    def _session(self) -> Session:
        self._settings.required_key()
        return this_run().shared.session(self._settings)


async def _carried_out(work: Callable[[], Awaitable[object]]) -> None:
    run = this_run()
    done = asyncio.wrap_future(run.begin(work))
    try:
        await asyncio.wait({done}, timeout=AT_ONCE)
        with nullcontext() if done.done() else _interrupts.heard_by(run.stop):
            await done
    finally:
        done.cancel()  # if the engine gives up the call, so does the wait: what was sent stays in the ledger for the next one
