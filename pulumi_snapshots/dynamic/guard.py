"""The guard whose snapshot is taken by the program's own process, where its hooks run."""

from __future__ import annotations

import asyncio
import atexit
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import get_engine

from pulumi_snapshots.dynamic.translate import this_run
from pulumi_snapshots.engine.errors import readable
from pulumi_snapshots.engine.interrupt import Interrupts
from pulumi_snapshots.engine.presence import LOG_DEADLINE
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.guard.inputs import GuardInputs
from pulumi_snapshots.late import late
from pulumi_snapshots.program.guard import GuardDeclaration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.guard.foresight import Foresight
    from pulumi_snapshots.guard.once import OncePerRun
    from pulumi_snapshots.lookup.results import SnapshotInfo
    from pulumi_snapshots.run.session import Session

_interrupts = Interrupts()
AT_ONCE = 0.05
"""Seconds within which a change has what it needs if the snapshot is there. To hear of ^C costs a process."""
KNOWN_WITHIN = 60.0
"""Seconds within which a change learns its database. It was known when the resource was registered, unless the engine deletes
one before that."""


class Guard(GuardDeclaration):  # noqa: D101  the declaration's
    __doc__ = GuardDeclaration.__doc__

    def _made(self, names: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], pulumi.ResourceHook]:
        database_id = self._database_id
        known = database_id if isinstance(database_id, str) else ""
        before = GuardInputs.of(self._values(self._name)).before
        self._foresight: Foresight | None = None
        if pulumi.runtime.is_dry_run():
            self._foresight = late("guard.foresight:Foresight")(known, before)
            atexit.register(self._sum_up)  # the last changes of a preview come after the program
        self._messages = _Messages()
        self._ready = asyncio.ensure_future(self._until_ready())
        return {
            (when, change): _Hook(
                name, partial(self._at_change, when, change), self._ready, in_previews=when == "before"
            )
            for (when, change), name in names.items()
        }

    def _sum_up(self) -> None:
        if self._foresight is not None and (told := self._foresight.summary()):
            self._messages.send(f"{self}: {told}")

    def _newest(self, database_id: str) -> SnapshotInfo | None:
        newest: SnapshotInfo | None = late("dynamic.lookups:get_latest_snapshot")(database_id, "manual")
        return newest

    async def _until_ready(self) -> None:
        """Wait until the database is known, whether or not what it comes from has failed."""
        if isinstance(self._database_id, pulumi.Output):
            with suppress(Exception):
                await self._database_id.future()

    async def _at_change(self, when: str, change: str, args: pulumi.ResourceHookArgs) -> None:
        """Hold a change until the snapshot is there, or note it after it has happened; an error fails it."""
        # Nothing here may need a thread of the program's executor: each resource whose change waits holds one.
        row = _Row(self._messages, args.urn)
        what: str = late("guard.once:change_of")(args.urn, change)
        try:
            if self._foresight is not None:
                self._foresee(self._foresight, change, args.urn, row)
                return
            inputs = await self._inputs(what)
            once: OncePerRun = self._program.shared(late("guard.once:OncePerRun"))
            if when == "before":
                asked = self._owner, inputs.snapshot, what, self._session, row
                await _carried_out(lambda: once.before(*asked, fallback=inputs.fallback))
            else:
                await _carried_out(lambda: once.after(self._owner, inputs.database_id, what, self._session))
        except Explained as error:
            raise pulumi.RunError(row.wording.report(error)) from error
        finally:
            await row.shown()

    async def _inputs(self, change: str) -> GuardInputs:
        database_id: Any = self._database_id
        if isinstance(database_id, pulumi.Output):
            await asyncio.wait({self._ready}, timeout=KNOWN_WITHIN)
            known = database_id.future() if self._ready.done() else None
            try:
                database_id = await known if known is not None else None
            except Exception:  # noqa: BLE001  whatever it comes from may fail
                database_id = None
            if database_id is None:
                why = "its database is not known, since what that comes from has failed, or is not there yet"
                raise late("guard.once:ChangeHeldBack")(change, why, [Next(Step.RUN_AGAIN)])
            self._refuse(self._name, self._values(database_id))
        return GuardInputs.of(self._values(database_id))

    def _foresee(self, foresight: Foresight, change: str, urn: str, row: _Row) -> None:
        if isinstance(self._database_id, str) and not foresight.summary():
            inputs = GuardInputs.of(self._values(self._database_id))
            self._of_book(lambda book: foresight.learn(book, inputs.database_id, inputs.reuse_within))
        foresight.show(change, urn, row)

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


class _Hook(pulumi.ResourceHook):
    """A hook whose resources are registered once its guard is ready.

    A change that waited in the engine for something of the program would hold the step that this may need, and the engine
    answers what has failed only after all changes that it has begun.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[pulumi.ResourceHookArgs], Awaitable[None]],
        ready: asyncio.Future[None],
        *,
        in_previews: bool = False,
    ) -> None:
        async def run(args: pulumi.ResourceHookArgs) -> None:  # the SDK reads what only a function has
            await function(args)

        super().__init__(name, run, pulumi.ResourceHookOptions(on_dry_run=in_previews))
        registered = self._registered

        async def both() -> None:
            await registered
            await ready

        self._registered = asyncio.ensure_future(both())


class _Messages:
    """What a program says to its engine, in order, from a thread of its own, so that no wait waits for the engine."""

    def __init__(self) -> None:
        self._engine = get_engine()
        self._thread = ThreadPoolExecutor(1, "guard-messages")

    def say(self, text: str, urn: str, *, warning: bool = False, ephemeral: bool = False) -> Future[None]:
        """Show a text at a resource; from any thread."""
        return self._thread.submit(self.send, text, urn, warning=warning, ephemeral=ephemeral)

    def send(self, text: str, urn: str = "", *, warning: bool = False, ephemeral: bool = False) -> None:
        """Say it now; the only way at the end of the process, when no thread starts any more."""
        severity = engine_pb2.WARNING if warning else engine_pb2.INFO
        message = engine_pb2.LogRequest(severity=severity, message=readable(text), urn=urn, ephemeral=ephemeral)
        if self._engine is not None:
            with suppress(Exception):  # an engine that is gone needs no message
                self._engine.Log(message, timeout=LOG_DEADLINE)


class _Row:
    """The row of a resource whose change waits."""

    def __init__(self, messages: _Messages, urn: str) -> None:
        self.wording = PYTHON.about(resource=urn)
        self._messages = messages
        self._urn = urn
        self._last = ""
        self._saying: Future[None] | None = None

    def progress(self, text: Words) -> None:
        """Show the text on the row until the next one."""
        said = self.wording.text(text)
        if said != self._last:
            self._last = said
            self._saying = self._messages.say(said, self._urn, ephemeral=True)

    def note(self, text: Words) -> None:
        """Leave good news under Diagnostics."""
        self._saying = self._messages.say(self.wording.text(text), self._urn)

    def warn(self, text: Words) -> None:
        """Leave a warning under Diagnostics."""
        self._saying = self._messages.say(self.wording.text(text), self._urn, warning=True)

    async def shown(self) -> None:
        """Wait until the engine has all of it, so that nothing arrives after the change."""
        if self._saying is not None:
            await asyncio.wrap_future(self._saying)
