"""The guard of other resources, as programs make it, whichever way takes its snapshot."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import pulumi
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import get_engine

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.engine.errors import readable
from pulumi_snapshots.engine.presence import LOG_DEADLINE
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.guard.inputs import DEFAULT_BEFORE, GuardInputs, guard_name
from pulumi_snapshots.late import late
from pulumi_snapshots.program import (
    LookupFailed,
    ProgramConfig,
    this_program,
    warn_of_plain_key,
    warn_of_unusual_id,
    warn_once,
)
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.run.settings import PACKAGE, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.guard.book import GuardBook, Guarded
    from pulumi_snapshots.ledger.ledger import Ledger
    from pulumi_snapshots.lookup.results import SnapshotInfo

T = TypeVar("T")
OWN_TYPES = (f"pulumi-python:dynamic/{PACKAGE}:", f"{PACKAGE}:index:", "pulumi:")
"""How the types begin of what `stack` leaves out: what this package makes, providers, and the stack itself."""

UNKNOWN_HERE = (
    "it has noted no snapshot of database {database_id}. What guards take is noted for 30 days in {where}: if another machine has "
    "made the release, go back on that one, or have both use squarecloud:sharedState. `squarecloud-snapshots list` shows the "
    "snapshots that the service has, and a Restore takes one by its version_id. If this way back was taken already, take it out."
)
NEWER = (
    "{guard}: {newest} of {at} is newer than {last}, to which this goes back, and no run that is known here has taken it. If it "
    "is from before a release on another machine, restore that one by its version_id."
)
NEW_ONE_FIRST = (
    "the new one is created before the snapshot, since only the delete of the old one waits for it. If creating it changes data, "
    'as a migration does, give the guard before=["create", "update", "delete"]'
)
KNOWN_WITHIN = 60.0
"""Seconds within which a change learns its database. It was known when the resource was registered, unless the engine deletes
one before that."""


class GuardDeclaration(ABC):
    """A snapshot of a database before anything else changes.

    `guard.hooks` makes the changes of one resource wait for it, `guard.stack()` those of every resource of the program. However
    many changes one `pulumi up` makes, it takes one snapshot, before the first of them. A preview, a refresh and an `up` without
    a change take none. If the snapshot cannot be had, the change does not happen.

    Args:
        name: the guard's name, unique in the program. Keep it: a resource that is deleted is guarded by name.
        database_id: the database to take a snapshot of.
        reuse_within: use the newest manual snapshot of the database instead of taking one if it was taken at most this long
            before the first change, and since then nothing guarded has happened and the database was not restored: an `up`
            that has failed is repeated for nothing. 0 takes one in each `up` that changes something. A string such as `90s`,
            `45m`, `1h30m`, `7d`, or a number of seconds.
        before: which changes wait for the snapshot: any of `create`, `update` and `delete`. A replacement is a create and a
            delete.
        timeout: how long the changes wait for the snapshot at most. A string or a number, as `reuse_within`.
        fallback: if no snapshot can be taken now, since the quota is used up or the service is down, the newest one that is at
            most this old will do, also an automatic one, with a warning. A string or a number, as `reuse_within`.

    Raises:
        pulumi.RunError: an argument or a setting cannot be used, or the program has another guard of this name.
    """

    def __init__(  # noqa: PLR0913  each is an input of the guard
        self,
        name: str,
        database_id: pulumi.Input[str],
        reuse_within: str | float = "10m",
        before: Sequence[str] = DEFAULT_BEFORE,
        timeout: str | float = "45m",
        *,
        fallback: str | float | None = None,
    ) -> None:
        self._database_id = database_id
        self._given: dict[str, Any] = {
            "reuse_within": reuse_within,
            "before": before,
            "timeout": timeout,
            "fallback": fallback,
        }
        self._program = this_program()
        self._name = self._checked(name)
        self._settings = self._read_settings()
        self._messages = _Messages()
        self._stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
        self._owner = guard_name(name, self._stack)
        warn_of_plain_key()
        if not isinstance(database_id, pulumi.Output):
            warn_of_unusual_id(database_id)
        self._ready = asyncio.ensure_future(self._until_ready())
        # All of them now: what was deleted from the program is guarded too, by the names that the state has.
        self._hooks = {
            (when, change): _Hook(
                f"Guard {name}: {when} {change}", partial(hold, change), self._ready, in_previews=when == "before"
            )
            for change in GuardInputs.of(self._values(name)).before
            for when, hold in (("before", self._before), ("after", self._after))
        }
        self._created: set[str] = set()
        if pulumi.runtime.is_dry_run() and ("before", "create") not in self._hooks:
            self._hooks["before", "create"] = _Hook(
                f"Guard {name}: preview", self._note_create, self._ready, in_previews=True
            )

    @property
    def hooks(self) -> pulumi.ResourceHookBinding:
        """The hooks of a resource's options, as in `pulumi.ResourceOptions(hooks=guard.hooks)`."""
        hooks: dict[str, Any] = {f"{when}_{change}": [hook] for (when, change), hook in self._hooks.items()}
        return pulumi.ResourceHookBinding(**hooks)

    def stack(self, only: Callable[[str, str], bool] | None = None) -> None:
        """Guard every resource that the program declares after this line, or those that `only` picks.

        Components are guarded by their parts. The resources of this package are left out: they change no data by themselves, or
        say so in their own options.

        Args:
            only: gets the type and the name of a resource, such as `aws:ec2/instance:Instance` and `shop`, and returns whether
                it is guarded.
        """

        def guard_it(
            opts: pulumi.ResourceOptions, type_: str, name: str, *, custom: bool
        ) -> pulumi.ResourceOptions | None:
            left_out = not custom or type_.startswith(OWN_TYPES) or self._is_on(opts)
            if left_out or (only is not None and not only(type_, name)):
                return None
            return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(hooks=self.hooks))

        # In this process options keep all that they hold. Only the engine reaches the parts of components of other processes.
        def here(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
            custom = isinstance(args.resource, pulumi.CustomResource)
            opts = guard_it(args.opts, args.type_, args.name, custom=custom)
            return None if opts is None else pulumi.ResourceTransformationResult(args.props, opts)

        def everywhere(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
            opts = guard_it(args.opts, args.type_, args.name, custom=args.custom)
            return None if opts is None else pulumi.ResourceTransformResult(args.props, opts)

        pulumi.runtime.register_stack_transformation(here)
        pulumi.runtime.register_resource_transform(everywhere)

    def last(self, pin: str | None = None) -> SnapshotInfo | None:
        """The snapshot of the guard's database that guarded a change last, for a `Restore`.

        What a guard has taken is noted on this machine, or in the shared state of all machines (`squarecloud:sharedState`), for
        30 days. Without a pin no request is sent.

        Args:
            pin: a value of a roll-back, such as `pulumi.Config().get("rollback")`. From its first `pulumi up` on it gets the same
                snapshot every time, whatever is guarded meanwhile. A newer manual snapshot of which no run knows is named in a
                warning, since another machine may have taken it before a release of its own.

        Returns:
            None if there is none, and never with a pin.

        Raises:
            pulumi.RunError: the ledger cannot be used; the database's id is an output (use `last_output`); or a pin is given, and
                there is no snapshot.
        """
        if isinstance(self._database_id, pulumi.Output):
            raise pulumi.RunError(
                f"{self}: database_id is an output, whose value is not known yet. Call last_output instead."
            )
        return self._last(str(self._database_id), pin)

    def last_output(self, pin: str | None = None) -> pulumi.Output[SnapshotInfo | None]:
        """Like `last`, for a guard whose database comes from a resource."""
        return pulumi.Output.from_input(self._database_id).apply(lambda database_id: self._last(database_id, pin))

    def history(self) -> list[Guarded]:
        """What the guard has guarded, newest first: its snapshots of the last 30 days, and what has changed after each.

        Raises:
            pulumi.RunError: the ledger cannot be read.
        """
        return self._of_book(lambda book: book.history(self._owner))

    def _last(self, database_id: str, pin: str | None) -> SnapshotInfo | None:
        kept = pin and not pulumi.runtime.is_dry_run()  # what a preview has shown may be thought over
        last = self._of_book(lambda book: book.last(self._owner, database_id, pin, keeps=bool(kept)))
        if not pin:
            return last
        if last is None:
            raise pulumi.RunError(
                f"{self}: {UNKNOWN_HERE.format(database_id=database_id, where=self._ledger().place.where)}"
            )
        with contextlib.suppress(LookupFailed):
            newest = self._newest(database_id)
            if newest is not None and (newest.created_at or "") > (last.created_at or ""):
                version_id = newest.version_id
                if not self._of_book(lambda book: book.knows(version_id)):
                    warn_once(NEWER.format(guard=self, newest=newest.id, at=newest.created_at, last=last.id))
        return last

    def __str__(self) -> str:
        return f"Guard {self._name!r}"

    @abstractmethod
    async def _taken(self, inputs: GuardInputs, change: str, row: HookRow) -> None:
        """Return once a snapshot guards a change; raise an error with a text for users if there is none."""

    @abstractmethod
    async def _noted(self, inputs: GuardInputs, change: str, row: HookRow) -> None:
        """Note that a change has happened; raise an error with a text for users if that cannot be noted."""

    @abstractmethod
    def _newest(self, database_id: str) -> SnapshotInfo | None:
        """The newest manual snapshot that the service lists."""

    # The arguments ------------------------------------------------------------------------------------------------------

    def _values(self, database_id: object) -> dict[str, Any]:
        return {"database_id": database_id, **self._given}

    def _checked(self, name: object) -> str:
        if not isinstance(name, str) or not name.strip():
            raise pulumi.RunError("Guard: name must be a text that is not empty.")
        known = UNKNOWN if isinstance(self._database_id, pulumi.Output) else self._database_id
        self._refuse(name, self._values(known))
        if name in self._program.guards:
            raise pulumi.RunError(f"Guard {name!r}: the program has another guard of this name.")
        self._program.guards.add(name)
        self._program.noted(f"Guard {name!r}", {"database_id": self._database_id})
        return name

    @staticmethod
    def _refuse(name: str, values: Mapping[str, Any]) -> None:
        problems = GuardInputs.problems(values)
        if problems:
            told = "; ".join(f"{problem.property} {PYTHON.text(problem.told())}" for problem in problems)
            raise pulumi.RunError(f"Guard {name!r}: {told}.")

    def _read_settings(self) -> Settings:
        try:
            return Settings.read(ProgramConfig(), os.environ)
        except Explained as error:
            raise pulumi.RunError(f"{self}: {PYTHON.report(error)}") from None

    # The hooks -----------------------------------------------------------------------------------------------------------

    async def _until_ready(self) -> None:
        """Wait until the database is known, whether or not what it comes from has failed."""
        if isinstance(self._database_id, pulumi.Output):
            with contextlib.suppress(Exception):
                await self._database_id.future()

    def _is_on(self, opts: pulumi.ResourceOptions) -> bool:
        """Whether options have these hooks already."""
        mine = {hook.name for hook in self._hooks.values()}
        bound = vars(opts.hooks or pulumi.ResourceHookBinding()).values()
        return any(getattr(hook, "name", None) in mine for hooks in bound for hook in hooks or ())

    async def _note_create(self, args: pulumi.ResourceHookArgs) -> None:
        self._created.add(args.urn)

    async def _foretell(self, change: str, urn: str) -> None:
        """Show in a preview what waits for a snapshot, and what does not. Sends no request."""
        row = HookRow(self._messages, urn)
        known = self._database_id if isinstance(self._database_id, str) else "that is not known yet"
        row.progress(f"waits for a snapshot of database {known}")
        if change == "delete" and urn in self._created:
            row.warn(NEW_ONE_FIRST)
        await row.shown()

    async def _before(self, change: str, args: pulumi.ResourceHookArgs) -> None:
        """Hold a change until the snapshot is there; an error holds it back."""
        if pulumi.runtime.is_dry_run():
            await self._foretell(change, args.urn)
            return
        await self._at_change(self._taken, change, args.urn)

    async def _after(self, change: str, args: pulumi.ResourceHookArgs) -> None:
        """Note a change; an error fails the `up`."""
        await self._at_change(self._noted, change, args.urn)

    async def _at_change(
        self, act: Callable[[GuardInputs, str, HookRow], Awaitable[None]], change: str, urn: str
    ) -> None:
        # Nothing here may need a thread of the program's executor: each resource whose change waits holds one.
        row = HookRow(self._messages, urn)
        what: str = late("guard.once:change_of")(urn, change)
        try:
            await act(await self._inputs(what), what, row)
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

    def _of_book(self, use: Callable[[GuardBook], Awaitable[T]]) -> T:
        """What the book says, without a request."""
        try:
            return _in_a_loop(lambda: use(late("guard.book:GuardBook")(self._ledger())))
        except Explained as error:
            raise pulumi.RunError(f"{self}: {PYTHON.report(error)}") from None

    def _ledger(self) -> Ledger:
        ledger: Ledger = late("run.shared:ledger_of")(self._settings, Clock())
        return ledger


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
        severity = engine_pb2.WARNING if warning else engine_pb2.INFO
        message = engine_pb2.LogRequest(severity=severity, message=readable(text), urn=urn, ephemeral=ephemeral)
        return self._thread.submit(self._send, message)

    def _send(self, message: engine_pb2.LogRequest) -> None:
        if self._engine is not None:
            with contextlib.suppress(Exception):  # an engine that is gone needs no message
                self._engine.Log(message, timeout=LOG_DEADLINE)


class HookRow:
    """The row of a resource whose change waits.

    Attributes:
        urn: the resource's.
        wording: words that name it.
    """

    def __init__(self, messages: _Messages, urn: str) -> None:
        self.wording = PYTHON.about(resource=urn)
        self._messages = messages
        self.urn = urn
        self._last = ""
        self._saying: Future[None] | None = None

    def progress(self, text: Words) -> None:
        """Show the text on the row until the next one."""
        said = self.wording.text(text)
        if said != self._last:
            self._last = said
            self._saying = self._messages.say(said, self.urn, ephemeral=True)

    def note(self, text: Words) -> None:
        """Leave good news under Diagnostics."""
        self._saying = self._messages.say(self.wording.text(text), self.urn)

    def warn(self, text: Words) -> None:
        """Leave a warning under Diagnostics."""
        self._saying = self._messages.say(self.wording.text(text), self.urn, warning=True)

    async def shown(self) -> None:
        """Wait until the engine has all of it, so that nothing arrives after the change."""
        if self._saying is not None:
            await asyncio.wrap_future(self._saying)


def _in_a_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Await something in a thread and an event loop of its own, whichever loop the program runs in; its result."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(anyio.run(work))
        except BaseException as error:  # noqa: BLE001  raised again below
            errors.append(error)

    thread = threading.Thread(target=run, name="guard-book", daemon=True)
    thread.start()
    thread.join()
    for error in errors:
        raise error
    return results[0]
