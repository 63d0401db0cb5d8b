"""A small engine: the state of a stack, what it saves, and what each command calls in which order.

It does what the real engine was seen to do, and what its source says: a check with or without old inputs, a diff with unknowns
where something upstream is deleted first, a read of what is unfinished before the program, a delete of what was replaced at the
end, a save after each step. What does not depend on each other is done at the same time. What a run did not save is lost; a
state keeps what was deleted and not made again.

`--replace` and a taint are a check without old inputs and a create, like a first create; another `replacement_trigger` is a check
with old inputs, one without, and a create (`isTargetedReplace` and `shouldTriggerReplace` in the engine's `step_generator.go`).
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pulumi.runtime import rpc

from pulumi_snapshots.drill.record import DRILL
from pulumi_snapshots.properties.catalogue import in_python
from pulumi_snapshots.restore.record import RESTORE
from pulumi_snapshots.snapshot.record import SNAPSHOT
from tests.support.inside import WAYS, Computer, Provider
from tests.support.plugin_servicer import Raw
from tests.support.servicer import CallFailedError

SCHEMAS = {"Snapshot": SNAPSHOT, "Restore": RESTORE, "Drill": DRILL}
TOKENS = {
    "dynamic": "pulumi-python:dynamic/squarecloud:{kind}",
    "plugin": "squarecloud:index:{kind}",
}


class RunEndedError(Exception):
    """The run ends here: a step failed, or could not be saved."""


@dataclass(frozen=True)
class Ref:
    name: str
    output: str


@dataclass(frozen=True)
class Declared:
    kind: str  # `Upstream` is somebody else's, whose replacement is deleted first
    name: str  # in the program
    inputs: dict[str, Any]  # by Python names; a `Ref` in the place of an output
    aliases: tuple[str, ...] = ()  # earlier names
    first: bool = False  # its option `delete_before_replace`
    release: int = 0  # its option `replacement_trigger`
    cascades: bool = False
    role: str = ""  # which of the program's resources it is, whatever it is called

    @property
    def needs(self) -> set[str]:
        return set(_references(self.inputs))


@dataclass(eq=False)
class Held:
    kind: str
    name: str
    role: str  # see `Declared`
    way: str
    id: str
    inputs: dict[str, Any]
    outputs: Raw  # as the provider has named them
    needs: set[str]
    # whether it is to be read before the next update, and updated
    unfinished: bool = False
    tainted: bool = False  # by `pulumi state taint`
    # whether it was deleted, to be made again in the same run ("pending replacement")
    gone: bool = False
    # whether it waits for its deletion, and another one has taken its place
    replaced: bool = False
    release: int = 0  # see `Declared`

    @property
    def plain(self) -> dict[str, Any]:
        schema = SCHEMAS[self.kind]
        return in_python(
            {**schema.inputs.properties(), **schema.record.properties()}, self.outputs
        )


@dataclass
class Stack:
    """A stack: its program and its state."""

    name: str  # of the stack
    state: list[Held] = field(default_factory=list)  # in the order of dependencies
    program: list[Declared] = field(default_factory=list)  # what the user has written
    way: str = "dynamic"  # the package that it imports
    release: int = 1  # a value in the triggers
    highest: int = 1  # the highest release that its program ever had
    size: int = 1  # an input of what is upstream; another one replaces that

    def urn(self, kind: str, name: str, way: str | None = None) -> str:
        return f"urn:pulumi:{self.name}::shop::{TOKENS[way or self.way].format(kind=kind)}::{name}"

    def declared(self) -> list[Declared]:
        """What the program has of ours."""
        return [one for one in self.program if one.kind != "Upstream"]

    def declare(self, one: Declared, **changes: Any) -> None:
        """Write a resource of the program in another way."""
        self.program[self.program.index(one)] = replace(one, **changes)

    def set_timeout(self, seconds: float) -> None:
        for one in self.declared():
            self.declare(one, inputs={**one.inputs, "timeout": seconds})

    def declaring(self, name: str) -> Declared | None:
        """What the program declares by this name, or by an earlier one."""
        return next(
            (one for one in self.program if name in (one.name, *one.aliases)), None
        )

    def find(self, name: str) -> Held | None:
        """What the state has by this name."""
        return next(
            (held for held in self.state if held.name == name and not held.replaced),
            None,
        )

    def old_of(self, declared: Declared) -> Held | None:
        return next(
            filter(None, map(self.find, (declared.name, *declared.aliases))), None
        )


@dataclass
class Plan:
    """What an engine knows of a resource of the program before it asks the provider."""

    declared: Declared
    old: Held | None  # what the state has of it
    inputs: dict[str, Any]  # as far as they are known
    targeted: bool  # whether it is replaced whatever it holds: by `--replace`, or since it is tainted
    recreating: bool  # whether it was deleted in this run, to be made again

    @property
    def triggered(self) -> bool:
        """Whether its option `replacement_trigger` has another value."""
        return self.old is not None and self.old.release != self.declared.release

    @property
    def is_new(self) -> bool:
        """Whether the state has none that could stay."""
        return self.old is None or self.recreating


@dataclass(eq=False)
class Engine:
    """A run of the engine on a stack."""

    stack: Stack  # the stack; its state is changed when the engine saves
    computer: Computer  # where it runs
    config: dict[str, str]
    replace: tuple[str, ...] = ()  # the URNs that `--replace` names
    saves: int | None = None  # how many steps the backend can store before it is gone
    at_end: bool = False
    books: Any = None
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # and the progress
    unsaved: bool = False
    deleted: set[str] = field(default_factory=set)
    # of those, what was deleted with what it depends on
    cascaded: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.working = copied(self.stack.state)
        self._providers: dict[str, Provider] = {}
        self._live: dict[str, dict[str, Any]] = {}
        self._cancelled = self._killed = False
        self._told: list[Any] = []

    # The processes -------------------------------------------------------------------------------------------------------

    def provider(self, way: str) -> Provider:
        if way not in self._providers:
            self._providers[way] = WAYS[way](self.computer, self.config)
            if self._cancelled:
                self._providers[way].cancel()
        return self._providers[way]

    async def call(
        self, way: str, kind: str, name: str, method: str, *args: Any
    ) -> Any:
        urn = self.stack.urn(kind, name, way)
        return await self.provider(way).call(kind, method, urn, *args)

    def end(self) -> None:
        for each in self._providers.values():
            self.warnings += each.warnings
            self.notes += each.progress
        self._providers = {}

    def kill(self) -> None:
        self._killed = True
        for each in self._providers.values():
            each.kill()

    def cancel(self) -> None:
        self._cancelled = True
        for each in self._providers.values():
            each.cancel()

    # The state -----------------------------------------------------------------------------------------------------------

    def save(self, *, last: bool = False) -> bool:
        """Store the state after a step; returns whether it is stored by now."""
        if self.at_end and not last:
            return False
        if self.saves is not None and self.saves <= 0:
            self.unsaved = True
            self.errors.append("failed to save snapshot")
            raise RunEndedError
        if self.saves is not None:
            self.saves -= 1
        self.stack.state = copied(self.working)
        return True

    def _put(self, held: Held, old: Held | None = None) -> None:
        """Put a resource into the state, in the place of the old one if that is not there any more."""
        if old is not None and old in self.working and not old.replaced:
            self.working[self.working.index(old)] = held
        else:
            self.working.append(held)

    # The commands --------------------------------------------------------------------------------------------------------

    async def preview(self) -> None:
        """Check and compare, without a change; its provider processes are its own."""
        kept = copied(self.working)
        self._live = {}
        for declared in self.stack.program:
            await self._guarded(self._previewed, declared)
        self.working = kept
        self.deleted = set()
        self.cascaded = set()
        self._live = {}
        self.end()

    async def _previewed(self, declared: Declared) -> None:
        plan = self._plan(declared)
        if declared.kind == "Upstream":
            await self._preview_upstream(plan)
            return
        await self._check_first(plan)
        old = plan.old
        stays = (
            old is not None
            and not plan.is_new
            and not await self._would_change(plan, old)
        )
        unknown = dict.fromkeys(SCHEMAS[declared.kind].outputs, rpc.UNKNOWN)
        self._live[declared.name] = (
            {"id": old.id, **old.plain} if old and stays else unknown
        )

    async def _preview_upstream(self, plan: Plan) -> None:
        name = plan.declared.name
        changes = plan.old is not None and plan.old.inputs != plan.inputs
        if plan.old is not None and changes:
            await self._delete_first(plan.old, preview=True)
        is_known = plan.old is not None and not changes
        self._live[name] = {"same": "a" if is_known else rpc.UNKNOWN}

    async def _would_change(self, plan: Plan, old: Held) -> bool:
        if plan.targeted or plan.triggered:
            return True
        diff = await self._compared(plan.declared, old, plan.inputs)
        return bool(diff.replaces or diff.changes or old.gone)

    async def update(self, *, refresh: bool = False) -> None:
        """What follows the preview of an `up`, with `--refresh` or without."""
        try:
            await self._update_all(refresh=refresh)
        finally:
            self._save_at_end()

    def _save_at_end(self) -> None:
        with suppress(RunEndedError):
            if self.at_end and not self._killed:
                self.save(last=True)
                for told in self._told:
                    told.saved()

    async def _update_all(self, *, refresh: bool) -> None:
        await self.refresh(unfinished_only=not refresh)
        failed: set[str] = set()
        done = {declared.name: asyncio.Event() for declared in self.stack.program}

        async def register(declared: Declared) -> None:
            for name in sorted(declared.needs):
                await done[name].wait()
            if declared.needs & failed or not await self._guarded(
                self._registered, declared
            ):
                failed.add(declared.name)
            done[declared.name].set()

        await asyncio.gather(*map(register, self.stack.program))
        if failed or self.errors:
            return
        names = {
            name
            for declared in self.stack.program
            for name in (declared.name, *declared.aliases)
        }
        for held in reversed(list(self.working)):
            if held.replaced or held.gone or held.name not in names:
                await self._guarded(self._deleted, held)

    async def refresh(self, *, unfinished_only: bool = False) -> None:
        """Read what the state holds; before an `up`, what is unfinished."""
        for held in list(self.working):
            is_there = held.kind != "Upstream" and not held.replaced and not held.gone
            if is_there and (held.unfinished or not unfinished_only):
                await self._guarded(self._read, held)

    async def destroy(self, *, refresh: bool = False) -> None:
        await self.refresh(unfinished_only=not refresh)
        for held in [] if self.errors else reversed(list(self.working)):
            await self._guarded(self._deleted, held)

    async def _guarded(self, work: Callable[[Any], Awaitable[None]], what: Any) -> bool:
        if self.unsaved:
            return False
        try:
            await work(what)
        except CallFailedError as error:
            self.errors.append(error.message)
            self.books.check_error(error)
            return False
        except RunEndedError:
            return False
        return True

    # One resource --------------------------------------------------------------------------------------------------------

    def _plan(self, declared: Declared) -> Plan:
        """What is known of a resource before the provider is asked."""
        names = (declared.name, *declared.aliases)
        there = [each for each in self.working if not each.replaced]
        old = next(
            (held for name in names for held in there if held.name == name), None
        )
        forced = self.stack.urn(declared.kind, declared.name) in self.replace
        return Plan(
            declared,
            old,
            _resolved(declared.inputs, self._live),
            targeted=forced or (old is not None and old.tainted),
            recreating=declared.name in self.deleted,
        )

    async def _check_first(self, plan: Plan) -> None:
        """Check the inputs, with those of the state unless it is to be another resource whatever they are."""
        is_another = plan.is_new or plan.targeted
        await self._check(plan, None if is_another else plan.old)

    async def _check(self, plan: Plan, old: Held | None = None) -> None:
        olds = None if old is None else old.inputs
        declared = plan.declared
        way = self.stack.way
        answer = await self.call(
            way, declared.kind, declared.name, "check", plan.inputs, olds
        )
        # The engine keeps the names in which the provider has answered; here they are Python's.
        assert not answer.failures, answer.failures

    async def _compared(
        self, declared: Declared, old: Held, inputs: dict[str, Any]
    ) -> Any:
        return await self.call(
            self.stack.way,
            declared.kind,
            declared.name,
            "diff",
            old.id,
            old.outputs,
            inputs,
        )

    async def _registered(self, declared: Declared) -> None:
        plan = self._plan(declared)
        if declared.kind == "Upstream":
            await self._upstream(plan)
            return
        await self._check_first(plan)
        if plan.old is None or plan.recreating:
            await self._create(plan, again=plan.recreating)
            return
        diff = None
        if not (plan.targeted or plan.triggered):
            diff = await self._compared(declared, plan.old, plan.inputs)
        if diff is None or diff.replaces or plan.old.gone:
            await self._replace(plan, plan.old, diff)
        elif diff.changes or plan.old.unfinished:
            await self._update(declared, plan.old, plan.inputs)
        else:
            self._settle(declared, plan.old, plan.inputs)

    async def _replace(self, plan: Plan, old: Held, diff: Any) -> None:
        """Create another one in the place of the old one; `diff` is None if that was not compared."""
        if not plan.targeted:
            await self._check(plan)
        if plan.declared.first and not old.gone:
            await self._delete_first(old)
        reasons = ("forced",) if diff is None else tuple(diff.replaces)
        is_same = diff is not None and not diff.replaces
        await self._create(plan, again=is_same, reasons=reasons)

    async def _upstream(self, plan: Plan) -> None:
        name = plan.declared.name
        old = plan.old
        new = Held(
            "Upstream", name, "", "", "upstream", plan.inputs, Raw(same="a"), set()
        )
        if old is None or old.inputs != plan.inputs or old.gone:
            if old is not None and not old.gone:
                await self._delete_first(old)
            self._put(new, old)
            self.save()
        self._live[name] = {"same": "a"}

    async def _delete_first(self, old: Held, *, preview: bool = False) -> None:
        """Delete a resource that is to be made again, and first what depends on it and would be replaced with it."""
        there = [held for held in self.working if not held.replaced and not held.gone]
        for held in reversed([held for held in there if old.name in held.needs]):
            if await self._follows(held, old):
                self.cascaded.add(held.name)
                await self._delete_first(held, preview=preview)
        if not preview:
            if old.kind != "Upstream":
                await self.call(
                    old.way, old.kind, old.name, "delete", old.id, old.outputs
                )
            old.gone = True
            self.save()
        self.deleted.add(old.name)

    async def _follows(self, held: Held, upstream: Held) -> bool:
        """Whether a resource is replaced if what it depends on is deleted first."""
        declared = self.stack.declaring(held.name)
        # Only a plugin's provider can depend on something. That its resources go on by the other way in that very run is not
        # played: two processes would have to know of each other that it is one run.
        is_by_plugin = held.way == self.stack.way == "plugin"
        if declared is not None and declared.cascades and is_by_plugin:
            return True
        # The engine compares the inputs of the state, and what depends on the deleted one as unknown.
        inputs = dict(held.inputs)
        for name, value in (declared.inputs if declared else {}).items():
            if upstream.name in _references(value):
                inputs[name] = rpc.UNKNOWN
        about = held.way, held.kind, held.name
        answer = await self.call(*about, "diff", held.id, held.outputs, inputs)
        return bool(answer.replaces)

    async def _create(
        self, plan: Plan, *, again: bool, reasons: tuple[str, ...] = ()
    ) -> None:
        declared = plan.declared
        told = self.books.creates(
            self, declared, plan.old, again=again, reasons=reasons
        )
        await self._act(told, declared, plan.old, "create", plan.inputs)

    async def _update(
        self, declared: Declared, old: Held, inputs: dict[str, Any]
    ) -> None:
        told = self.books.updates(self, declared, old)
        await self._act(told, declared, old, "update", old.id, old.outputs, inputs)

    async def _act(
        self, told: Any, declared: Declared, old: Held | None, method: str, *args: Any
    ) -> None:
        """Have the provider make or change something, and save that; what depends on it has its outputs, unfinished it has none."""
        with told:
            unfinished = False
            inputs = args[-1]
            try:
                made = await self.call(
                    self.stack.way, declared.kind, declared.name, method, *args
                )
            except CallFailedError as error:
                if error.kept is None:
                    raise
                made = error.kept
                unfinished = True
                self.errors.append(error.message)
                self.books.kept(declared, error)
            kept = made.id, inputs, Raw(made.outputs), declared.needs
            held = Held(
                declared.kind, declared.name, declared.role, self.stack.way, *kept
            )
            held.unfinished = unfinished
            held.release = declared.release
            told.made(held)
            if method == "create" and old is not None and not old.gone:
                old.replaced = True
                self.working.append(held)
            else:
                self._put(held, old)
            self.deleted.discard(declared.name)
            self._told.append(told)
            if self.save():
                told.saved()
        if unfinished:
            raise RunEndedError
        self._live[held.name] = {"id": held.id, **held.plain}

    def _settle(self, declared: Declared, old: Held, inputs: dict[str, Any]) -> None:
        """It stays; the engine stores its new inputs, name and way."""
        self.books.stays(self, declared)
        old.name = declared.name
        old.way = self.stack.way
        old.inputs = inputs
        old.needs = declared.needs
        self._live[declared.name] = {"id": old.id, **old.plain}
        self.save()

    async def _read(self, held: Held) -> None:
        args = (held.id, held.outputs, held.inputs)
        with self.books.reads(self, held):
            try:
                answer = await self.call(held.way, held.kind, held.name, "read", *args)
                held.id = answer.id
                held.outputs = Raw(answer.outputs)
                held.unfinished = False
                assert answer.id, "a read has dropped a resource"
            except CallFailedError as error:
                if error.kept is None:
                    raise
                held.id = error.kept.id
                held.outputs = Raw(error.kept.outputs)
                held.unfinished = True
        # to show it
        await self.call(
            held.way, held.kind, held.name, "diff", held.id, held.outputs, held.inputs
        )
        self.save()

    async def _deleted(self, held: Held) -> None:
        if held.kind != "Upstream" and not held.gone:
            await self.call(
                held.way, held.kind, held.name, "delete", held.id, held.outputs
            )
        self.working.remove(held)
        self.save()
        self.books.deleted(self, held)


def copied(state: list[Held]) -> list[Held]:
    """The same resources, which another run may change; nobody changes what is inside their properties."""
    return [copy.copy(held) for held in state]


def _references(value: Any) -> list[str]:
    if isinstance(value, Ref):
        return [value.name]
    inside = (
        value.values()
        if isinstance(value, dict)
        else value
        if isinstance(value, list)
        else ()
    )
    return [name for each in inside for name in _references(each)]


def _resolved(value: Any, live: dict[str, dict[str, Any]]) -> Any:
    if isinstance(value, Ref):
        return live[value.name].get(value.output, rpc.UNKNOWN)
    if isinstance(value, dict):
        return {name: _resolved(each, live) for name, each in value.items()}
    if isinstance(value, list):
        return [_resolved(each, live) for each in value]
    return value
