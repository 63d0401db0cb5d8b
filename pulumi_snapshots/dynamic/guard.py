"""The guard whose snapshot is taken by the program's own process, where its hooks run."""

from __future__ import annotations

import asyncio
import atexit
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.runtime.settings import get_engine

from pulumi_snapshots.dynamic import this_run
from pulumi_snapshots.engine.messages import Messages, Row
from pulumi_snapshots.engine.process import Interrupts
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import Explained
from pulumi_snapshots.late import late
from pulumi_snapshots.program.guard import GuardDeclaration
from pulumi_snapshots.properties.checks import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pulumi_snapshots.guard.book import Foresight
    from pulumi_snapshots.run.session import Session

_interrupts = Interrupts(lambda: this_run().stop())
KNOWN_WITHIN = 60.0
"""Seconds within which a change learns its database. It was known when the resource was registered, unless the engine deletes
one before that."""


class Guard(GuardDeclaration):  # noqa: D101  the declaration's
    __doc__ = GuardDeclaration.__doc__

    def _made(
        self, names: Mapping[tuple[str, str], str]
    ) -> dict[tuple[str, str], pulumi.ResourceHook]:
        self._foresight: Foresight | None = None
        if pulumi.runtime.is_dry_run():
            known = self._database_id if isinstance(self._database_id, str) else ""
            self._foresight = late("guard.book:Foresight")(
                known, self._inputs(known or UNKNOWN).before
            )
            atexit.register(self._sum_up)  # the last changes of a preview come after the program
        engine = get_engine()
        self._messages = Messages(lambda: engine)
        self._ready = asyncio.ensure_future(self._database())
        return {
            (when, change): self._hook(name, when, change) for (when, change), name in names.items()
        }

    def _sum_up(self) -> None:
        if self._foresight is not None and (told := self._foresight.summary()):
            self._messages.send(f"{self}: {told}")

    def _newest(self, database_id: str) -> Any:
        return late("dynamic.lookups:get_latest_snapshot")(database_id, "manual")

    async def _database(self) -> str | None:
        """The database once it is known; None if what it comes from has failed."""
        with suppress(Exception):
            return await pulumi.Output.from_input(self._database_id).future()
        return None

    def _hook(self, name: str, when: str, change: str) -> pulumi.ResourceHook:
        async def run(
            args: pulumi.ResourceHookArgs,
        ) -> None:  # the SDK reads what only a function has
            await self._at_change(when, change, args)

        hook = pulumi.ResourceHook(
            name, run, pulumi.ResourceHookOptions(on_dry_run=when == "before")
        )
        registered = hook._registered  # noqa: SLF001  resources wait for it

        async def both() -> None:
            # A change that waited in the engine for something of the program would hold the step that this may need, and the
            # engine answers what has failed only after all changes that it has begun.
            await registered
            await self._ready

        hook._registered = asyncio.ensure_future(both())  # noqa: SLF001
        return hook

    async def _at_change(self, when: str, change: str, args: pulumi.ResourceHookArgs) -> None:
        """Hold a change until the snapshot is there, or note it after it has happened; an error fails it."""
        # Nothing here may need a thread of the program's executor: each resource whose change waits holds one.
        row = Row(self._messages, args.urn, PYTHON)
        try:
            if self._foresight is not None:
                self._foresee(self._foresight, change, args.urn, row)
                return
            what: str = late("guard.once:change_of")(args.urn, change)
            await asyncio.wait({self._ready}, timeout=KNOWN_WITHIN)
            if (database_id := self._ready.result() if self._ready.done() else None) is None:
                why = "its database is not known, since what that comes from has failed, or is not there yet"
                raise late("guard.once:ChangeHeldBack")(what, why)
            once = self._program.once = self._program.once or late("guard.once:OncePerRun")()
            act = once.before if when == "before" else once.after
            await _carried_out(
                partial(act, self._owner, self._inputs(database_id), what, self._session, row)
            )
        except Explained as error:
            raise pulumi.RunError(row.wording.report(error)) from error
        finally:
            await self._messages.flush()

    def _foresee(self, foresight: Foresight, change: str, urn: str, row: Row) -> None:
        if isinstance(self._database_id, str) and not foresight.summary():
            inputs = self._inputs(self._database_id)
            self._of_book(
                lambda book: foresight.learn(book, inputs.database_id, inputs.reuse_within)
            )
        foresight.show(change, urn, row)

    def _session(self) -> Session:
        self._settings.required_key()
        return this_run().shared.session(self._settings)


async def _carried_out(work: Callable[[], Awaitable[object]]) -> None:
    done = asyncio.wrap_future(this_run().begin(work))
    try:
        with _interrupts.heard():
            await done
    finally:
        done.cancel()  # if the engine gives up the call, so does the wait: what was sent stays in the ledger for the next one
