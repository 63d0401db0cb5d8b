"""The guard of other resources, as programs make it."""

from __future__ import annotations

import hashlib
import inspect
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pulumi
from anyio.from_thread import start_blocking_portal
from pulumi.runtime.settings import get_engine, get_monitor

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.engine.process import run_at
from pulumi_snapshots.engine.queries import (
    ask,
    questions_about_state,
    refuse_old_engine,
)
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.guard.inputs import (
    CHOSEN,
    CHOSEN_ALL,
    CHOSEN_HOOKS,
    SNAPSHOT_TYPES,
    GuardInputs,
    HookKey,
    hook_names,
    is_whole,
    leaves_hook,
    may_be_guarded,
)
from pulumi_snapshots.late import late
from pulumi_snapshots.program import (
    PROGRAM_CONFIG,
    LookupFailed,
    reasons_of,
    this_program,
    warn_of_plain_key,
    warn_of_unusual_id,
    warn_once,
    with_arguments,
)
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.run.settings import PACKAGE, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pulumi_snapshots.guard.book import GuardBook, Guarded
    from pulumi_snapshots.lookup.results import SnapshotInfo

T = TypeVar("T")
RESTORES = f"pulumi-python:dynamic/{PACKAGE}:Restore", f"{PACKAGE}:index:Restore"


class GuardDeclaration:
    """A snapshot of a database before anything else changes.

    `guard.hooks` makes the changes of one resource wait for it, `guard.stack()` those of every
    resource of the program. However many changes one `pulumi up` makes, it takes one snapshot,
    before the first of them. A preview, a refresh and an `up` without a change take none, except
    the first `up` with a new guard: see `docs/guard.md`. Without a snapshot, the change does not
    happen.

    Raises:
        pulumi.RunError: an argument or a setting cannot be used, the program has another guard of
        this name, or the engine is too old.
    """

    _lookup: ClassVar[str]
    """Where the function is that finds the newest snapshot."""

    def __init__(  # noqa: PLR0913  each is an input of the guard
        self,
        name: str,
        database_id: pulumi.Input[str],
        reuse_within: str | float = "10m",
        before: Sequence[str] | None = None,
        timeout: str | float = "45m",
        *,
        fallback: str | float | None = None,
    ) -> None:
        given = locals()
        # Programs give anything.
        if not isinstance(name, str) or not name.strip():  # type: ignore[redundant-expr]
            raise pulumi.RunError("Guard: name must be a text that is not empty.")
        self._name = name
        self._database_id = database_id
        self._given = {
            each: given[each]
            for each in GuardInputs.properties()
            if each != "database_id"
        }
        is_output = isinstance(database_id, pulumi.Output)
        self._changes = self._inputs(UNKNOWN if is_output else database_id).changes
        self._program = this_program()
        if name in self._program.guards:
            raise pulumi.RunError(
                f"{self}: the program has another guard of this name."
            )
        self._program.guards.add(name)
        self._program.note_guard(str(self), database_id)
        # mocks have none
        require: Any = getattr(get_engine(), "RequirePulumiVersion", None)
        try:
            self._settings = Settings.read(PROGRAM_CONFIG, os.environ)
            if require is not None:
                refuse_old_engine(require)
        except ProviderError as error:
            raise pulumi.RunError(f"{self}: {PYTHON.report(error)}") from None
        warn_of_plain_key()
        warn_of_unusual_id(database_id)
        stack = (
            f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
        )
        self._owner = f"{stack}/{name}"
        # What the program chooses itself. The state keeps this, to show when it chooses more.
        self._chosen = {CHOSEN_HOOKS}
        # Asked for before the program continues: none of its resources is registered yet.
        self._state = ask(questions_about_state(stack, name), get_monitor())
        self._pickers = list["Callable[[str, str], bool] | None"]()
        self._restores = list[pulumi.Resource]()
        self._guarded = list[pulumi.Resource]()
        # All hooks now: what was deleted from the program is guarded too, by the names that the
        # state has.
        in_preview = pulumi.runtime.is_dry_run()
        names = hook_names(name, self._changes, in_preview=in_preview)
        self._hooks = self._make_hooks(names)
        pulumi.runtime.register_stack_transformation(self._at_resource)

    @property
    def hooks(self) -> pulumi.ResourceHookBinding:
        """The hooks of a resource's options, as in `pulumi.ResourceOptions(hooks=guard.hooks)`."""
        hooks: dict[str, Any] = {
            f"{when}_{change}": [hook]
            for (when, change), hook in self._hooks.items()
            if leaves_hook(change, self._changes, is_off=self._leaves_none_if_off)
        }
        return pulumi.ResourceHookBinding(**hooks)

    def stack(self, only: Callable[[str, str], bool] | None = None) -> None:
        """Guard every resource that the program declares later, or those that `only` picks.

        Components are guarded by their parts. The resources of this package are left out: they
        change no data by themselves, or say so in their own options.

        Args:
            only: gets the type and the name of a resource, such as `aws:ec2/instance:Instance` and
                `shop`, and returns whether it is guarded.
        """
        chosen = CHOSEN_ALL if only is None else _name_of(only)
        self._chosen.add(chosen)
        if not self._pickers:
            pulumi.runtime.register_resource_transform(self._at_foreign_resource)
        self._pickers.append(only)

    def last(self, pin: str | None = None) -> SnapshotInfo | None:
        """Return the snapshot of the guard's database that guarded a change last, for a `Restore`.

        The snapshots of guards are noted on this machine, or in the shared state of all machines
        (`squarecloud:sharedState`), for 30 days. Without a pin no request is sent.

        Args:
            pin: a value of a roll-back, such as `pulumi.Config().get("rollback")`. From its first
                `pulumi up` on, the value gets the same snapshot every time, whatever is guarded
                meanwhile, until a `pulumi up` without the value makes a guarded change. If another
                machine may have taken a newer manual snapshot before its own release, a warning
                names the snapshot.

        Returns:
            The snapshot; None without any, but never with a pin.

        Raises:
            pulumi.RunError: the ledger cannot be used; the database's id is an output (use
                `last_output`); or a pin is given, and there is no snapshot.
        """
        if isinstance(self._database_id, pulumi.Output):
            raise pulumi.RunError(
                f"{self}: database_id is an output, whose value is not known yet. "
                "Call last_output instead."
            )
        return self._last(str(self._database_id), pin)

    def last_output(self, pin: str | None = None) -> pulumi.Output[SnapshotInfo | None]:
        """Like `last`, for a guard whose database comes from a resource.

        Args:
            pin: see `last`.

        Returns:
            The snapshot; see `last`.
        """
        return pulumi.Output.from_input(self._database_id).apply(
            lambda database_id: self._last(database_id, pin)
        )

    def history(self) -> list[Guarded]:
        """Return what the guard has guarded in the last 30 days, newest first.

        Raises:
            pulumi.RunError: the ledger cannot be read.
        """
        return self._of_book(lambda book: book.history(self._owner))

    def _last(
        self,
        database_id: str,
        pin: str | None,
    ) -> SnapshotInfo | None:
        # What a preview has shown may be thought over.
        keeps = bool(pin) and not pulumi.runtime.is_dry_run()
        run = run_of_program()

        def last_of(book: GuardBook) -> SnapshotInfo | None:
            return book.last(self._owner, database_id, pin, run=run)

        last = self._of_book(last_of, writes=keeps)
        if not pin or last is None:
            return last
        with suppress(LookupFailed):
            newest = late(self._lookup)(database_id, "manual")
            warning = self._of_book(lambda book: book.warning(last, newest))
            if warning is not None:
                warn_once(f"{self}: {PYTHON.text(warning)}")
        return last

    def __str__(self) -> str:
        return f"Guard {self._name!r}"

    def _make_hooks(self, names: Mapping[HookKey, str]) -> dict[HookKey, Any]:
        """Make the hooks of these names, and the guard in the state."""
        raise NotImplementedError

    @property
    def _leaves_none_if_off(self) -> bool:
        """Whether guards are off, and the hooks of deletes are those of a component."""
        return False

    def _inputs(self, database_id: object) -> GuardInputs:
        """The inputs for a database, which is `UNKNOWN` until it is known.

        Raises `pulumi.RunError` if an input is wrong.
        """
        values = {**self._given, "database_id": database_id}
        problems = GuardInputs.problems(values)
        if problems:
            raise pulumi.RunError(f"{self}: {reasons_of(problems)}")
        if database_id is UNKNOWN:
            values["database_id"] = self._name
        return GuardInputs.of(values)

    def _is_on(self, opts: pulumi.ResourceOptions) -> bool:
        """Whether options have these hooks already."""
        own_names = {hook.name for hook in self._hooks.values()}
        bound = vars(opts.hooks or pulumi.ResourceHookBinding()).values()
        return any(
            getattr(hook, "name", None) in own_names
            for hooks in bound
            for hook in hooks or ()
        )

    def _at_resource(self, args: Any) -> Any:
        """Give a resource of this process the hooks, and its place before or after a Restore."""
        is_custom = isinstance(args.resource, pulumi.CustomResource)
        if args.type_ in RESTORES and self._is_of_my_database(args.props):
            after = pulumi.ResourceOptions(depends_on=[*self._guarded])
            self._restores.append(args.resource)
            return _with_options(args, after)
        is_snapshot = args.type_ in SNAPSHOT_TYPES
        if is_snapshot and self._is_certainly_of_my_database(args.props):
            return self._seen_in_preview(args)
        has_hooks = self._is_on(args.opts)
        if not has_hooks and not self._picks(args.type_, args.name, custom=is_custom):
            return None
        options = pulumi.ResourceOptions(depends_on=[*self._restores])
        if not has_hooks:
            options.hooks = self.hooks
        if is_custom:
            self._guarded.append(args.resource)
        return _with_options(args, options)

    def _seen_in_preview(self, args: Any) -> Any:
        """Let the preview hear if a Snapshot of the guard's database would be created."""
        if not pulumi.runtime.is_dry_run() or self.is_whole:
            return None
        heard = pulumi.ResourceHookBinding(
            before_create=[self._hooks["before", "create"]]
        )
        return _with_options(args, pulumi.ResourceOptions(hooks=heard))

    @property
    def is_whole(self) -> bool:
        """Whether the guard hears of each change after its snapshot, by the calls of `stack`."""
        return is_whole(self._changes, self._chosen)

    def _at_foreign_resource(self, args: Any) -> Any:
        """Give the hooks to a part of another process's component, which the engine reaches."""
        is_picked = self._picks(args.type_, args.name, custom=args.custom)
        if self._is_on(args.opts) or not is_picked:
            return None
        hooks = pulumi.ResourceOptions(hooks=self.hooks)
        return pulumi.ResourceTransformResult(
            args.props, pulumi.ResourceOptions.merge(args.opts, hooks)
        )

    def _picks(
        self,
        type_: str,
        name: str,
        *,
        custom: bool,
    ) -> bool:
        """Whether a call of `stack` before has picked a resource."""
        return may_be_guarded(type_, custom=custom) and any(
            only is None or only(type_, name) for only in self._pickers
        )

    def _is_certainly_of_my_database(self, props: Mapping[str, Any]) -> bool:
        """Whether a Snapshot is of the guard's database, which the program knows."""
        is_known = isinstance(self._database_id, str)
        return is_known and _database_in(props) == self._database_id

    def _is_of_my_database(self, props: Mapping[str, Any]) -> bool:
        """Whether a Restore overwrites the guard's database, as far as the program knows."""
        onto = _database_in(props)
        both_known = isinstance(onto, str) and isinstance(self._database_id, str)
        return not both_known or onto == self._database_id

    def _of_book(
        self,
        use: Callable[[GuardBook], T],
        *,
        writes: bool = False,
    ) -> T:
        """What the book says, without a request."""

        async def consult() -> T:
            ledger = late("run.calls:ledger_of")(self._settings, Clock())
            answer: T = await late("guard.book:consult")(ledger, use, writes=writes)
            return answer

        try:
            # A loop of its own, whichever the program runs in.
            with start_blocking_portal() as portal:
                return portal.call(consult)
        except ProviderError as error:
            raise pulumi.RunError(f"{self}: {PYTHON.report(error)}") from None


def _with_options(args: Any, options: pulumi.ResourceOptions) -> Any:
    """A resource of this process with further options."""
    every = pulumi.ResourceOptions.merge(args.opts, options)
    return pulumi.ResourceTransformationResult(args.props, every)


def run_of_program() -> str:
    """Return the engine's run as its other processes name it; empty without an engine."""
    log = getattr(get_engine(), "Log", None)
    target = getattr(log, "_target", b"")
    return run_at(target.decode()) if isinstance(target, bytes) else ""


def _database_in(props: Mapping[str, Any]) -> Any:
    """The database that a resource of this package is about, as its arguments have it."""
    names = ("target_database_id", "targetDatabaseId", "database_id", "databaseId")
    for name in names:
        if props.get(name) is not None:
            return props[name]
    return None


def _name_of(only: Callable[[str, str], bool]) -> str:
    """A name for a choice of the program, another one if its source is another."""
    try:
        source = inspect.getsource(only)
    except (OSError, TypeError):  # not of a file, such as an object with `__call__`
        source = getattr(only, "__qualname__", type(only).__qualname__)
    text = " ".join(source.split())
    digest = hashlib.sha256(text.encode()).hexdigest()
    return CHOSEN + digest[:16]


GuardDeclaration.__doc__ = with_arguments(
    inspect.getdoc(GuardDeclaration) or "",
    inspect.signature(GuardDeclaration.__init__),
    GuardInputs,
)
