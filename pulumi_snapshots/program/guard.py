"""The guard of other resources, as programs make it, whichever way takes its snapshot."""

from __future__ import annotations

import os
from contextlib import suppress
from inspect import getdoc
from typing import TYPE_CHECKING, Any, TypeVar

import pulumi
from anyio.from_thread import start_blocking_portal

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import Explained
from pulumi_snapshots.guard.inputs import DEFAULT_BEFORE, GuardInputs, hook_names, may_be_guarded
from pulumi_snapshots.late import late
from pulumi_snapshots.program import (
    PROGRAM_CONFIG,
    LookupFailed,
    this_program,
    warn_of_plain_key,
    warn_of_unusual_id,
    warn_once,
    with_arguments,
)
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.run.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pulumi_snapshots.guard.book import GuardBook, Guarded
    from pulumi_snapshots.lookup.results import SnapshotInfo

T = TypeVar("T")


class GuardDeclaration:
    """A snapshot of a database before anything else changes.

    `guard.hooks` makes the changes of one resource wait for it, `guard.stack()` those of every resource of the program. However
    many changes one `pulumi up` makes, it takes one snapshot, before the first of them. A preview, a refresh and an `up` without
    a change take none. If the snapshot cannot be had, the change does not happen.

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
        given = locals()
        if not isinstance(name, str) or not name.strip():  # type: ignore[redundant-expr]  # programs give anything
            raise pulumi.RunError("Guard: name must be a text that is not empty.")
        self._name, self._database_id = name, database_id
        self._given = {
            each: given[each] for each in GuardInputs.properties() if each != "database_id"
        }
        guarded = self._inputs(
            UNKNOWN if isinstance(database_id, pulumi.Output) else database_id
        ).before
        self._program = this_program()
        if name in self._program.guards:
            raise pulumi.RunError(f"{self}: the program has another guard of this name.")
        self._program.guards.add(name)
        self._program.note_guard(str(self), database_id)
        try:
            self._settings = Settings.read(PROGRAM_CONFIG, os.environ)
        except Explained as error:
            raise pulumi.RunError(f"{self}: {PYTHON.report(error)}") from None
        self._owner = (
            f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}/{name}"
        )
        warn_of_plain_key()
        warn_of_unusual_id(database_id)
        # All of them now: what was deleted from the program is guarded too, by the names that the state has.
        self._hooks = self._made(hook_names(name, guarded, in_preview=pulumi.runtime.is_dry_run()))

    @property
    def hooks(self) -> pulumi.ResourceHookBinding:
        """The hooks of a resource's options, as in `pulumi.ResourceOptions(hooks=guard.hooks)`."""
        hooks: dict[str, Any] = {
            f"{when}_{change}": [hook] for (when, change), hook in self._hooks.items()
        }
        return pulumi.ResourceHookBinding(**hooks)

    def stack(self, only: Callable[[str, str], bool] | None = None) -> None:
        """Guard every resource that the program declares after this line, or those that `only` picks.

        Components are guarded by their parts. The resources of this package are left out: they change no data by themselves, or
        say so in their own options.

        Args:
            only: gets the type and the name of a resource, such as `aws:ec2/instance:Instance` and `shop`, and returns whether
                it is guarded.
        """

        def hooked(args: Any, result: Callable[..., T], *, custom: bool) -> T | None:
            is_mine = may_be_guarded(args.type_, custom=custom) and not self._is_on(args.opts)
            if not is_mine or (only is not None and not only(args.type_, args.name)):
                return None
            hooks = pulumi.ResourceOptions(hooks=self.hooks)
            return result(args.props, pulumi.ResourceOptions.merge(args.opts, hooks))

        # In this process options keep all that they hold. Only the engine reaches the parts of components of other processes.
        here, everywhere = pulumi.ResourceTransformationResult, pulumi.ResourceTransformResult
        pulumi.runtime.register_stack_transformation(
            lambda args: hooked(args, here, custom=isinstance(args.resource, pulumi.CustomResource))
        )
        pulumi.runtime.register_resource_transform(
            lambda args: hooked(args, everywhere, custom=args.custom)
        )

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
        return pulumi.Output.from_input(self._database_id).apply(
            lambda database_id: self._last(database_id, pin)
        )

    def history(self) -> list[Guarded]:
        """What the guard has guarded, newest first: its snapshots of the last 30 days, and what has changed after each.

        Raises:
            pulumi.RunError: the ledger cannot be read.
        """
        return self._of_book(lambda book: book.history(self._owner))

    def _last(self, database_id: str, pin: str | None) -> SnapshotInfo | None:
        kept = (
            pin and not pulumi.runtime.is_dry_run()
        )  # what a preview has shown may be thought over
        last = self._of_book(
            lambda book: book.last(self._owner, database_id, pin), writes=bool(kept)
        )
        if not pin or last is None:
            return last
        with suppress(LookupFailed):
            newest = self._newest(database_id)
            if warning := self._of_book(lambda book: book.warning(last, newest)):
                warn_once(f"{self}: {PYTHON.text(warning)}")
        return last

    def __str__(self) -> str:
        return f"Guard {self._name!r}"

    def _made(
        self, names: Mapping[tuple[str, str], str]
    ) -> dict[tuple[str, str], pulumi.ResourceHook]:
        """Make the hooks of these names, by when they run and by the change."""
        raise NotImplementedError

    def _newest(self, database_id: str) -> SnapshotInfo | None:
        """The newest manual snapshot that the service lists."""
        raise NotImplementedError

    def _inputs(self, database_id: object) -> GuardInputs:
        """The inputs for a database, which is `UNKNOWN` until it is known; raises `pulumi.RunError` if one is wrong."""
        values = {**self._given, "database_id": database_id}
        if problems := GuardInputs.problems(values):
            told = "; ".join(
                f"{problem.property} {PYTHON.text(problem.told())}" for problem in problems
            )
            raise pulumi.RunError(f"{self}: {told}.")
        return GuardInputs.of(
            {**values, "database_id": self._name if database_id is UNKNOWN else database_id}
        )

    def _is_on(self, opts: pulumi.ResourceOptions) -> bool:
        """Whether options have these hooks already."""
        mine = {hook.name for hook in self._hooks.values()}
        bound = vars(opts.hooks or pulumi.ResourceHookBinding()).values()
        return any(getattr(hook, "name", None) in mine for hooks in bound for hook in hooks or ())

    def _of_book(self, use: Callable[[GuardBook], T], *, writes: bool = False) -> T:
        """What the book says, without a request."""

        async def consult() -> T:
            ledger = late("run.calls:ledger_of")(self._settings, Clock())
            said: T = await late("guard.book:consult")(ledger, use, writes=writes)
            return said

        try:
            with (
                start_blocking_portal() as portal
            ):  # a loop of its own, whichever the program runs in
                return portal.call(consult)
        except Explained as error:
            raise pulumi.RunError(f"{self}: {PYTHON.report(error)}") from None


GuardDeclaration.__doc__ = with_arguments(
    getdoc(GuardDeclaration) or "", GuardDeclaration.__init__, GuardInputs
)
