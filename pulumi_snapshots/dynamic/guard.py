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
from pulumi_snapshots.engine.messages import MessageRow, Messages
from pulumi_snapshots.engine.process import Interrupts
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import Message, ProviderError
from pulumi_snapshots.guard.coverage import GUARD_TYPE, STATE_UNKNOWN
from pulumi_snapshots.guard.inputs import FIRST_UP, HookKey, change_of
from pulumi_snapshots.late import late
from pulumi_snapshots.program.guard import GuardDeclaration, run_of_program
from pulumi_snapshots.properties.checks import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pulumi_snapshots.guard.once import OncePerRun
    from pulumi_snapshots.guard.preview import PreviewedChanges

_interrupts = Interrupts(lambda: this_run().stop())
KNOWN_WITHIN = 60.0
"""Seconds within which a change learns its database. It was known when the resource was registered,
unless the engine deletes one before that."""
DATABASE_NOT_KNOWN = (
    "its database is not known, because the resource that it comes from has "
    "failed, or is not there yet"
)
OFF_WITHOUT_DATABASE = Message(
    "the {change} has no snapshot, since {guard} is off; it is not in the history, since the "
    "guard's database is not known yet"
)


class _InState(pulumi.ComponentResource):
    """The guard in the state, which shows the next run what it guards already."""

    def __init__(
        self,
        name: str,
        covered: pulumi.Output[Mapping[str, Any]],
    ) -> None:
        outputs = {each: covered[each] for each in ("databaseId", "before", "only")}
        super().__init__(GUARD_TYPE, name, outputs)
        self.register_outputs(outputs)


class Guard(GuardDeclaration):  # noqa: D101  the declaration's
    __doc__ = GuardDeclaration.__doc__
    _lookup = "dynamic.lookups:get_latest_snapshot"

    def _make_hooks(self, names: Mapping[HookKey, str]) -> dict[HookKey, Any]:
        self._preview: PreviewedChanges | None = None
        self._has_learned = False
        if pulumi.runtime.is_dry_run():
            known = self._database_id if isinstance(self._database_id, str) else None
            self._preview = late("guard.preview:PreviewedChanges")(
                known, self._inputs(known or UNKNOWN)
            )
            # the last changes of a preview come after the program
            atexit.register(self._sum_up)
        engine = get_engine()
        self._messages = Messages(lambda: engine)
        self._known = asyncio.ensure_future(self._database())
        self._ready = asyncio.ensure_future(self._prepare())
        _InState(self._name, pulumi.Output.from_input(self._outputs()))
        hooks: dict[HookKey, Any] = {
            (when, change): self._hook(name, when, change)
            for (when, change), name in names.items()
            if when != "on"
        }
        name_of_failure = names["on", "error"]
        hooks["on", "error"] = pulumi.ErrorHook(name_of_failure, self._at_failure)
        return hooks

    def _sum_up(self) -> None:
        if self._preview is None:
            return
        summary = self._preview.summary()
        if summary:
            self._messages.send(f"{self}: {summary}")
        for warning in self._preview.warnings():
            self._messages.send(f"{self}: {PYTHON.text(warning)}", warning=True)

    async def _database(self) -> str | None:
        """The database once it is known; None if what it comes from has failed."""
        with suppress(Exception):
            return await pulumi.Output.from_input(self._database_id).future()
        return None

    async def _outputs(self) -> dict[str, Any]:
        """What the state keeps of the guard, once it guards all that the program has."""
        database_id = await self._ready
        changes = self._inputs(database_id or UNKNOWN).changes
        return {
            "databaseId": database_id,
            "before": [*changes],
            "only": sorted(self._chosen),
        }

    async def _prepare(self) -> str | None:
        """Take the snapshot at once if the guard does not hear of some changes.

        Returns:
            The database; None if it is not known.

        Raises:
            pulumi.RunError: There is no snapshot.
        """
        database_id = await self._known
        inputs = self._inputs(database_id or UNKNOWN)
        if self._state is None:
            self._messages.say(f"{self}: {PYTHON.text(STATE_UNKNOWN)}", warning=True)
            return database_id
        reason = self._state.unhooked(inputs.changes, self._chosen)
        if self._preview is not None:
            self._preview.first_up = reason
            self._preview.in_state = self._state.guardable
        elif reason is not None and database_id is not None:
            what = f"{FIRST_UP} ({reason})"
            row = MessageRow(self._messages, "", PYTHON)
            await self._carry_out("before_all", inputs, what, row)
        return database_id

    def _hook(
        self,
        name: str,
        when: str,
        change: str,
    ) -> pulumi.ResourceHook:
        # The SDK reads what only a function has.
        async def run(args: pulumi.ResourceHookArgs) -> None:
            await self._at_change(when, change, args.urn)

        hook = pulumi.ResourceHook(
            name,
            run,
            pulumi.ResourceHookOptions(on_dry_run=when == "before"),
        )
        registered = hook._registered  # noqa: SLF001  resources wait for it

        async def both() -> None:
            # A change that waited in the engine for something of the program would hold a step
            # that the program may need. The engine says what has failed only once all changes have
            # ended that it has begun.
            await registered
            await self._ready

        hook._registered = asyncio.ensure_future(both())  # noqa: SLF001  the same
        return hook

    async def _at_change(
        self,
        when: str,
        change: str,
        urn: str,
    ) -> None:
        """Hold a change until the snapshot is there, or note it after it has happened.

        An error fails it.
        """
        # Nothing here may need a thread of the program's executor: each resource whose change waits
        # holds such a thread.
        row = MessageRow(self._messages, urn, PYTHON)
        if self._preview is not None:
            self._foresee(self._preview, change, urn, row)
            await self._messages.flush()
            return
        # The state can have hooks of deletes from before, when the guard guarded deletes.
        if change not in self._changes:
            return
        what = change_of(urn, change)
        database_id = await self._database_for(change)
        if database_id is None and self._settings.guard == "off":
            row.warn(Message(OFF_WITHOUT_DATABASE.template, change=what))
            await self._messages.flush()
            return
        if database_id is None:
            error = late("guard.once:ChangeHeldBack")(what, DATABASE_NOT_KNOWN)
            raise pulumi.RunError(row.wording.report(error))
        inputs = self._inputs(database_id)
        in_state = self._state.guardable if self._state is not None else None
        if inputs.lets_pass(change, in_state):
            return
        await self._carry_out(when, inputs, what, row)

    async def _database_for(self, change: str) -> str | None:
        """The database of a change.

        What the engine deletes before the guard's database is known, as if that is being replaced,
        is guarded by the database that the guard had.
        """
        earlier = None
        if change == "delete" and self._state is not None:
            earlier = self._state.database_id
        is_off = self._settings.guard == "off"
        patience = 0.0 if earlier is not None or is_off else KNOWN_WITHIN
        await asyncio.wait({self._known}, timeout=patience)
        return self._known.result() if self._known.done() else earlier

    async def _at_failure(self, args: pulumi.ErrorHookArgs) -> bool:
        """Leave the way back at a guarded change that has failed."""
        row = MessageRow(self._messages, args.urn, PYTHON)
        database_id = self._known.result() if self._known.done() else None
        if database_id is not None:
            what = change_of(args.urn, args.failed_operation)
            self._once().show_failure(self._inputs(database_id), what, row)
        await self._messages.flush()
        return False  # do not try again

    def _once(self) -> OncePerRun:
        if self._program.once is None:
            self._program.once = late("guard.once:OncePerRun")(run_of_program())
        once: OncePerRun = self._program.once
        if self.is_whole:
            once.whole.add(self._owner)
        return once

    async def _carry_out(
        self,
        act: str,
        inputs: Any,
        what: str,
        row: MessageRow,
    ) -> None:
        """Call a method of `OncePerRun`, on the loop of all requests; raises `pulumi.RunError`."""
        engine_call: Any = late("run.calls:EngineCall")
        call = engine_call(None, lambda: self._settings, this_run().shared, row)
        change = late("guard.once:GuardedChange")(
            self._owner, inputs, what, call.session, row
        )
        once = self._once()
        report = row.wording.report
        try:
            await _on_request_loop(partial(once.carry_out, act, change, call, report))
        except ProviderError as error:
            raise pulumi.RunError(report(error)) from error
        finally:
            await self._messages.flush()

    def _foresee(
        self,
        preview: PreviewedChanges,
        change: str,
        urn: str,
        row: MessageRow,
    ) -> None:
        if isinstance(self._database_id, str) and not self._has_learned:
            self._has_learned = True
            inputs = self._inputs(self._database_id)
            self._of_book(
                lambda book: preview.learn(
                    book, inputs.database_id, inputs.reuse_within
                )
            )
        preview.show(change, urn, row)


async def _on_request_loop(work: Callable[[], Awaitable[object]]) -> None:
    """Carry out work on the loop of all requests, until its end or an interrupt."""
    done = asyncio.wrap_future(this_run().begin(work))
    try:
        with _interrupts.heard():
            await done
    finally:
        # If the engine gives up the call, so does the wait: the ledger keeps what was sent.
        done.cancel()
