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
from weakref import WeakKeyDictionary

import anyio
import pulumi
from pulumi.runtime import get_root_resource
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import get_engine

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.declaration import ProgramConfig, warn_of_plain_key, warn_of_unusual_id
from pulumi_snapshots.engine.errors import readable
from pulumi_snapshots.engine.presence import LOG_DEADLINE
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.guard.inputs import CHANGES, DEFAULT_BEFORE, GuardInputs
from pulumi_snapshots.late import late
from pulumi_snapshots.locked_file import state_directory
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.run.journals import guards_file
from pulumi_snapshots.run.settings import PACKAGE, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.guard.book import GuardBook
    from pulumi_snapshots.lookup.results import SnapshotInfo
    from pulumi_snapshots.snapshot.record import SnapshotRecord

T = TypeVar("T")
OWN_TYPES = (f"pulumi-python:dynamic/{PACKAGE}:", f"{PACKAGE}:index:", "pulumi:")
"""How the types begin of what `stack` leaves out: what this package makes, providers, and the stack itself."""

_names: WeakKeyDictionary[pulumi.Resource, set[str]] = WeakKeyDictionary()
"""The guards of each program of this process; with the Automation API, a process runs many."""


class GuardDeclaration(ABC):
    """A snapshot of a database before anything else changes.

    `guard.hooks` makes the changes of one resource wait for it, `guard.stack()` those of every resource of the program. However
    many changes one `pulumi up` makes, it takes one snapshot, before the first of them. A preview, a refresh and an `up` without
    a change take none. If the snapshot cannot be had, the change does not happen.

    Args:
        name: the guard's name, unique in the program. Keep it: a resource that is deleted is guarded by name.
        database_id: the database to take a snapshot of.
        reuse_within: use the newest manual snapshot of the database instead of taking one if it was taken at most this long
            before the first change; 0 takes one in each `up` that changes something. A string such as `90s`, `45m`, `1h30m`,
            `7d`, or a number of seconds.
        before: which changes wait for the snapshot: any of `create`, `update` and `delete`. A replacement is a create and a
            delete.
        timeout: how long the changes wait for the snapshot at most. A string or a number, as `reuse_within`.

    Raises:
        pulumi.RunError: an argument or a setting cannot be used, or the program has another guard of this name.
    """

    def __init__(
        self,
        name: str,
        database_id: pulumi.Input[str],
        reuse_within: str | float = "10m",
        before: Sequence[str] = DEFAULT_BEFORE,
        timeout: str | float = "45m",
    ) -> None:
        self._database_id = database_id
        self._given: dict[str, Any] = {"reuse_within": reuse_within, "before": before, "timeout": timeout}
        self._name = self._checked(name)
        self._settings = self._read_settings()
        self._messages = _Messages()
        self._owner = f"{pulumi.get_project()}::{pulumi.get_stack()}::guard::{name}"
        warn_of_plain_key()
        if not isinstance(database_id, pulumi.Output):
            warn_of_unusual_id(database_id)
        # All of them now: what was deleted from the program is guarded too, by the names that the state has.
        self._hooks = {change: self._hook(change) for change in GuardInputs.of(self._values(name)).before}

    @property
    def hooks(self) -> pulumi.ResourceHookBinding:
        """The hooks of a resource's options, as in `pulumi.ResourceOptions(hooks=guard.hooks)`."""
        create, update, delete = ([self._hooks[each]] if each in self._hooks else None for each in CHANGES)
        return pulumi.ResourceHookBinding(before_create=create, before_update=update, before_delete=delete)  # type: ignore[arg-type]  # its lists are invariant

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

    def last(self) -> SnapshotInfo | None:
        """The snapshot that guarded a change last, for a `Restore`; None if there is none, or it is older than 30 days.

        No request is sent: what a guard has taken is noted on this machine, or in the shared state of all machines
        (`squarecloud:sharedState`).

        Raises:
            pulumi.RunError: the shared state cannot be read.
        """
        try:
            return _in_a_loop(partial(self._with_book, lambda book: book.last(self._owner)))
        except Explained as error:
            raise pulumi.RunError(f"{self}: {PYTHON.report(error)}") from None

    def __str__(self) -> str:
        return f"Guard {self._name!r}"

    @abstractmethod
    async def _taken(self, inputs: GuardInputs, change: str, row: HookRow) -> SnapshotRecord:
        """The snapshot that guards a change; raises an error with a text for users if there is none."""

    # The arguments ------------------------------------------------------------------------------------------------------

    def _values(self, database_id: object) -> dict[str, Any]:
        return {"database_id": database_id, **self._given}

    def _checked(self, name: object) -> str:
        if not isinstance(name, str) or not name.strip():
            raise pulumi.RunError("Guard: name must be a text that is not empty.")
        known = UNKNOWN if isinstance(self._database_id, pulumi.Output) else self._database_id
        self._refuse(name, self._values(known))
        root = get_root_resource()
        names = _names.setdefault(root, set()) if root is not None else set[str]()
        if name in names:
            raise pulumi.RunError(f"Guard {name!r}: the program has another guard of this name.")
        names.add(name)
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

    def _hook(self, change: str) -> pulumi.ResourceHook:
        async def hold(args: pulumi.ResourceHookArgs) -> None:
            await self._before(change, args.urn)

        return pulumi.ResourceHook(f"Guard {self._name}: before {change}", hold)

    def _is_on(self, opts: pulumi.ResourceOptions) -> bool:
        """Whether options have these hooks already."""
        mine = {hook.name for hook in self._hooks.values()}
        bound = vars(opts.hooks or pulumi.ResourceHookBinding()).values()
        return any(getattr(hook, "name", None) in mine for hooks in bound for hook in hooks or ())

    async def _before(self, change: str, urn: str) -> None:
        """Hold a change until the snapshot is there; an error holds it back."""
        row = HookRow(self._messages, urn)
        what: str = late("guard.once:change_of")(urn, change)
        try:
            inputs = await self._inputs()
            record = await self._taken(inputs, what, row)
        except Explained as error:
            raise pulumi.RunError(row.wording.report(error)) from error
        finally:
            await row.shown()
        with contextlib.suppress(Exception):  # the change has its snapshot; only `last` would not know it
            await asyncio.to_thread(_in_a_loop, partial(self._with_book, lambda book: book.note(self._owner, record)))

    async def _inputs(self) -> GuardInputs:
        database_id: Any = self._database_id
        if isinstance(database_id, pulumi.Output):
            database_id = (
                await database_id.future()
            )  # its resources were declared before the guard, so they do not wait for it
            self._refuse(self._name, self._values(database_id))
        return GuardInputs.of(self._values(database_id))

    async def _with_book(self, use: Callable[[GuardBook], Awaitable[T]]) -> T:
        file = guards_file(self._settings, Clock(), state_directory(os.environ))
        return await use(late("guard.book:GuardBook")(file))


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

    is_asked_again = False

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

    def will_keep(self, *, pending: bool) -> bool:  # noqa: ARG002  no state has what a guard takes
        """Whether a state keeps the result."""
        return False


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
