"""The guard whose snapshot is taken by the program's own process, where its hooks run."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

from pulumi_snapshots.declaration.guard import GuardDeclaration
from pulumi_snapshots.dynamic.translate import this_run
from pulumi_snapshots.engine.interrupt import Interrupts
from pulumi_snapshots.late import late

if TYPE_CHECKING:
    from pulumi_snapshots.declaration.guard import HookRow
    from pulumi_snapshots.guard.inputs import GuardInputs
    from pulumi_snapshots.guard.once import OncePerRun
    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.snapshot.record import SnapshotRecord


_interrupts = Interrupts()


class Guard(GuardDeclaration):  # noqa: D101  the declaration's
    __doc__ = GuardDeclaration.__doc__

    async def _taken(self, inputs: GuardInputs, change: str, row: HookRow) -> SnapshotRecord:
        run = this_run()
        with _interrupts.heard_by(run.stop):
            # If the engine gives up the call, so does the wait: what was sent stays in the journal for the next one.
            return await asyncio.wrap_future(
                run.begin(lambda: self._once.before(self._name, inputs.snapshot, change, self._session, row))
            )

    @cached_property
    def _once(self) -> OncePerRun:
        once: OncePerRun = late("guard.once:OncePerRun")()
        return once

    def _session(self) -> Session:
        self._settings.required_key()
        return this_run().shared.session(self._settings)
