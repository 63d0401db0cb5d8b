"""The engine's calls about a resource, and how each can end.

Values are plain, by their Python names: adapters only translate.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pulumi_snapshots.clock import (
    Clock,
    ServiceClock,
    Stoppable,
    parse_rfc3339,
    system_utc,
    time_text,
)
from pulumi_snapshots.errors import (
    AnyMessage,
    Hint,
    HintKind,
    LedgerUnavailable,
    Message,
    NotFinished,
    ProviderError,
)
from pulumi_snapshots.late import late
from pulumi_snapshots.ledger.attempt import owner_of
from pulumi_snapshots.properties.catalogue import ResourceSchema, Values
from pulumi_snapshots.properties.checks import UNKNOWN, Problem
from pulumi_snapshots.run.memory import Listener, ResourceCalls, RunMemory, StateRequest
from pulumi_snapshots.run.settings import Settings, SettingsError

if TYPE_CHECKING:
    from pulumi_snapshots.ledger.ledger import Ledger
    from pulumi_snapshots.run.session import Session

STAYS_AS_IS = (
    "{id} stays as it is: the engine deleted it only to create it again with "
    "what it depends on. {then}"
)
"""Said to everybody, since the engine does not show `--replace` to its provider here."""
T = TypeVar("T")
Same = Callable[[Any, Any], bool]  # whether two values that are not equal mean the same


class Shared:
    """The objects that all resources and lookups of a process share.

    Args:
        run: See `RunMemory`.
    """

    def __init__(self, run: str = "") -> None:
        self.memory = RunMemory(run)
        self._ledgers: dict[tuple[str, str | None, str | None], Ledger] = {}
        self.clock = Clock()
        self._made: dict[Any, Any] = {}
        self._stopping = False

    def session(self, settings: Settings) -> Session:
        """Return the session for settings with an API key. Call it only in the event loop.

        Args:
            settings: the settings.
        """
        make = late("run.session:Session")
        ledger = self.ledger(settings)
        session: Session = self._one(
            settings, lambda: make(settings, ledger, self.memory, self.clock)
        )
        return session

    def ledger(self, settings: Settings) -> Ledger:
        """Return the ledger for settings, the same for all threads. The settings need no key.

        Args:
            settings: the settings.
        """
        key = settings.api_url, settings.shared_state, settings.state_dir
        if key not in self._ledgers:
            ledger = self._ledgers.setdefault(key, ledger_of(settings, self.clock))
            ledger.seen = self.memory.seen
        return self._ledgers[key]

    def now(self) -> datetime:
        """Return the service's time if an answer has shown it, or else this machine's."""
        for ledger in self._ledgers.values():
            if ledger.clock.is_known():
                return ledger.clock.now()
        return system_utc()

    def of(self, kind: type[T]) -> T:
        """Return the object of a class, made at its first use. Call it only in the event loop.

        Args:
            kind: the class.
        """
        return self._one(kind, kind)

    def _one(self, key: Any, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
            if self._stopping:
                self.stop()
        made: T = self._made[key]
        return made

    def stop(self) -> None:
        """End all waits, including later ones. Call it only in the event loop."""
        self._stopping = True
        for each in self._made.values():
            if isinstance(each, Stoppable):
                each.stop()

    async def close(self) -> None:
        """Close all connections; later requests open new ones."""
        made = list(self._made.values())
        self._made.clear()
        for each in made:
            if hasattr(each, "close"):
                await each.close()


def ledger_of(settings: Settings, clock: Clock) -> Ledger:
    """Return the ledger of the service that settings name, without reading or writing.

    The ledger is loaded late, since a check and a comparison need none.

    Args:
        settings: the settings.
        clock: the process's clock.
    """
    place = late("ledger.bucket:place_of")(
        settings.shared_state, settings.state_directory(), settings.service(), clock
    )
    ledger: Ledger = late("ledger.ledger:Ledger")(place, ServiceClock(clock))
    return ledger


@dataclass(frozen=True)
class EngineCall:
    """One call of the engine about a resource.

    Attributes:
        owner: The resource's URN; None if it is not known.
        settings: Reads the settings, or raises `SettingsError`. The settings are read late, so that
            a call that sends nothing works with bad settings.
        shared: The objects that the process shares.
        listener: Shows the progress.
    """

    owner: str | None
    settings: Callable[[], Settings]
    shared: Shared
    listener: Listener

    @property
    def name(self) -> str:
        """The resource's name; empty if it is not known."""
        return (self.owner or "").rpartition("::")[2]

    def show(self, text: AnyMessage) -> None:
        """Show a text in a preview, with the resource's name.

        With `--diff`, the engine prints the text alone.

        Args:
            text: The text.
        """
        named = Message("{name}: {text}", name=self.name, text=text)
        self.listener.progress(named if self.name else text)

    def session(self) -> Session:
        """Return the session. Call it only in the event loop.

        Raises:
            SettingsError: A setting cannot be used, or there is no key.
        """
        return self.shared.session(self.settings())


@dataclass(frozen=True)
class Resource:
    """A resource as the state keeps it: all outputs, inputs among them.

    The state loses an output that is left out.
    """

    id: str
    outputs: dict[str, Any]


@dataclass(frozen=True)
class Changes:
    """The effect of new inputs, or of time, on a resource; texts are empty for no effect.

    Attributes:
        replaces: The properties because of which another resource is made, before the old one is
            deleted.
        updates: The properties because of which an update has something to do.
        reason: Why there is something to do, if no input shows the reason.
        note: What an earlier run has left and is continued, which the preview shows too.
        warning: What the user should know before the update.
    """

    replaces: tuple[str, ...] = ()
    updates: tuple[str, ...] = ()
    reason: AnyMessage = ""
    note: AnyMessage = ""
    warning: AnyMessage = ""


class ResourceNotFinished(Exception):
    """A call ended early, and its resource must be kept, as far as it is known.

    The next run reads the resource first.

    Attributes:
        resource: The resource.
        error: Why the call ended early.
        steps_if_not_saved: The next steps if the engine cannot be handed an unfinished resource;
            None if the state holds the resource already.
    """

    def __init__(
        self,
        resource: Resource,
        error: ProviderError,
        steps_if_not_saved: tuple[Hint, ...] | None = None,
    ) -> None:
        super().__init__(error)
        self.resource = resource
        self.error = error
        self.steps_if_not_saved = steps_if_not_saved


class Rules(ABC):
    """The engine's calls about one kind of resource that need no request to the service."""

    schema: ClassVar[ResourceSchema]
    kind: ClassVar[str] = ""
    """What the resource's requests start, as in `Attempt.kind`; empty if it sends no request."""
    waits_on: ClassVar[str] = ""
    """The note about a pending resource, with `{since}`."""
    acts_again: ClassVar[str] = ""
    """The output that the act changes if an input repeats the act."""

    @property
    @abstractmethod
    def calls(self) -> Any:
        """The create, read, update and delete of the resource, which can send requests.

        They are loaded late, since a preview without a change needs none.

        Each raises `ResourceNotFinished` if the resource must be kept as the error says, and
        `ProviderError` for any other failure: a create has then made nothing, and the other calls
        leave the state as it is. An update can return another id than the state's if the state's is
        provisional; a later read corrects the state.
        """

    def check(
        self,
        call: EngineCall,
        values: Values,
        *,
        in_state: bool = False,
    ) -> list[Problem]:
        """Check the inputs.

        Args:
            call: The call.
            values: The inputs.
            in_state: Whether the engine shows that its state has the resource.

        Returns:
            Everything that is wrong with the inputs.
        """
        call.settings()  # SettingsError if the configuration cannot be used
        memory = call.shared.memory
        self.calls_of(call).note_check(in_state=in_state)
        problems = self.schema.inputs.problems(values)
        for name, database_id in self.uses(values).items():
            if not isinstance(database_id, str):
                continue
            reason = memory.uses.remember_use(database_id, self.about(call))
            if reason:
                problems.append(Problem(name, reason))
        return problems

    async def hold_imported(self, call: EngineCall) -> None:  # noqa: B027  most hold nothing
        """Keep for a while what `pulumi import` brings in, before an update makes it this one's.

        Args:
            call: A check of the inputs that the resource has, perhaps from a lookup before it.
        """

    def calls_of(self, call: EngineCall) -> ResourceCalls:
        """Return the engine's earlier calls about the resource of a call in this run.

        Args:
            call: The call.
        """
        return call.shared.memory.calls_of(self.kind, call.owner)

    def about(self, call: EngineCall) -> str:
        """Return the resource's name for a problem of another resource.

        Args:
            call: The call.
        """
        return f"{self.schema.name} {call.name!r}"

    def uses(self, values: Values) -> dict[str, Any]:
        """Return the databases that no drill may overwrite, by the inputs that name them.

        Args:
            values: The inputs.
        """
        return {"database_id": values.get("database_id")}

    def in_state(self, state: Values) -> StateRequest | None:  # noqa: ARG002  most send no request
        """Return the request that the outputs of a state show.

        Args:
            state: The outputs in the state.

        Returns:
            The request; None for a resource that sends no request, or is looked up by its id.
        """
        return None

    async def read(
        self,
        call: EngineCall,
        id_: str,
        state: Values,
    ) -> Resource:
        """Refresh a resource in the state, or look up an existing one by its id.

        Args:
            call: The call.
            id_: The resource's id.
            state: The outputs in the state; empty for a lookup.

        Returns:
            The resource.
        """
        if self.note_seen(call, state) is not None:
            self.calls_of(call).note_read()
        if self.kind == "restore" and "requested_at" not in state:
            act = (
                f"A {self.schema.name} cannot be looked up or imported: it is an "
                "act of this stack"
            )
            raise ProviderError(f"{act}, and the service keeps no list of them.")
        found: Resource = await self.calls.read(call, id_, state)
        return found

    async def delete(
        self,
        call: EngineCall,
        id_: str,
        state: Values,
    ) -> None:
        """Forget or delete the resource, and leave a line that says which.

        What a delete does: it sends nothing to the service. A Snapshot, a Restore or a Drill is
        forgotten, and the service and the databases keep what they hold. The object of an Archive
        is removed only with `delete_object`. The ledger notes that the state has dropped its
        request.

        Args:
            call: The call.
            id_: The resource's id.
            state: The outputs in the state.
        """
        shown = self.note_seen(call, state)
        if shown is not None:
            await self._enter_delete(call, shown)
        await self.calls.delete(call, id_, state)

    async def _enter_delete(self, call: EngineCall, shown: StateRequest) -> None:
        """Enter into the ledger, if it can be used, what a delete shows of the state."""
        memory = call.shared.memory
        calls = self.calls_of(call)
        calls.note_delete(shown)
        is_made_again = calls.is_kept or bool(shown.names & memory.taken)
        with suppress(SettingsError, LedgerUnavailable):
            ledger = call.shared.ledger(call.settings())
            acts_again = self.kind == "restore" and not is_made_again
            if acts_again:
                memory.note_dropped(shown.names)
            await ledger.drop(
                shown.names, memory.run or "unknown" if acts_again else None
            )

    def note_seen(
        self,
        call: EngineCall,
        state: Values,
    ) -> StateRequest | None:
        """Note the request that a call of the engine shows, for the next edit of the ledger.

        Args:
            call: The call.
            state: The outputs in the state.

        Returns:
            The request; None if the state has none.
        """
        shown = self.in_state(state)
        if shown is not None:
            call.shared.memory.note_in_state(shown.names)
        return shown

    def diff(
        self,
        call: EngineCall,
        state: Values,
        values: Values,
    ) -> Changes:
        """Compare the state's outputs with the inputs now, and show the user why they differ.

        Args:
            call: The call.
            state: The outputs in the state.
            values: The inputs now.

        Returns:
            The effect of the differences.
        """
        memory = call.shared.memory
        shown = self.note_seen(call, state)
        record = self.schema.record.from_outputs(state)
        found = self.compare(call, record, state, values)
        if self.kind:
            stays = not found.replaces and self.acts_again not in found.updates
            self.calls_of(call).note_diff(shown if stays else None)
        if found.warning:
            call.listener.warn(found.warning)
        if found.note and memory.is_first((owner_of(call.owner), found.note)):
            call.listener.note(found.note)
        if found.reason:
            call.show(found.reason)
        return found

    def compare(
        self,
        call: EngineCall,
        record: Any,
        state: Values,
        values: Values,
    ) -> Changes:
        """Compare the state with the inputs, and remember facts that create and delete do not get.

        Args:
            call: The call.
            record: The record in the state.
            state: The outputs in the state.
            values: The inputs now.

        Returns:
            The effect of the differences.
        """
        same = call.shared.memory.is_same_snapshot
        return self.changes(record, state, values, call.shared.now(), same)

    def changes(
        self,
        record: Any,
        old: Values,
        new: Values,
        now: datetime,
        same: Same = operator.eq,
    ) -> Changes:
        """Compare old and new inputs by value.

        An `UNKNOWN` value is no change: an update decides, when the value is known.

        Args:
            record: The record in the state.
            old: The inputs in the state.
            new: The inputs now.
            now: The service's time if it is known, or else this machine's.
            same: Returns whether two values that are not equal mean the same.

        Returns:
            The effect of the differences.
        """
        others = self.others(record, old, new, same)
        if others:
            return self._act_again(others)
        found = self.otherwise(record, old, new, now)
        if found.replaces or found.updates:
            return found
        found = replace(found, reason=undecided(new, *self.deciding(new)))
        if not record.pending:
            return found
        since = "an earlier run"
        if record.requested_at:
            since = time_text(parse_rfc3339(record.requested_at), now)
        return replace(
            found,
            updates=("attempt",),
            note=Message(self.waits_on, since=since),
        )

    def _act_again(self, others: list[str]) -> Changes:
        """What inputs mean that ask for another resource, or for the act again."""
        inputs = self.schema.inputs.properties()
        replaces = tuple(name for name in others if inputs[name].replaces)
        updates = tuple(name for name in others if name not in replaces)
        return Changes(replaces, (*updates, self.acts_again) if updates else ())

    def deciding(self, _new: Values) -> list[str]:
        """Return the inputs whose change asks for another resource, or for the act again."""
        return [
            name
            for name, each in self.schema.inputs.properties().items()
            if each.replaces or each.repeats
        ]

    def others(
        self,
        _record: Any,
        old: Values,
        new: Values,
        same: Same,
    ) -> list[str]:
        """Return which of the deciding inputs differ.

        Args:
            old: The inputs in the state.
            new: The inputs now.
            same: Returns whether two values mean the same.
        """
        return [name for name in self.deciding(new) if changed(name, old, new, same)]

    def otherwise(
        self,
        _record: Any,
        _old: Values,
        _new: Values,
        _now: datetime,
    ) -> Changes:
        """Return the effect of age, a failure or other inputs if no deciding input differs."""
        return Changes()


class ActCalls(ABC):
    """The calls of a resource whose `act` sends one request, or waits for an `earlier` one's end.

    Attributes:
        ends: The error of an end that was not seen.
        acts_again: The next step that acts again, for users who want that.
    """

    ends: ClassVar[type[NotFinished[Any]]]
    acts_again: ClassVar[HintKind]
    act: ClassVar[Callable[..., Awaitable[Any]]]

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    async def create(self, call: EngineCall, values: Values) -> Resource:
        """Act, and wait for the end.

        Args:
            call: The call.
            values: The inputs.

        Returns:
            The resource.
        """
        inputs: Any = self.rules.schema.inputs.of(values)
        purposes = call.shared.memory.purposes(inputs.triggers)
        calls = self.rules.calls_of(call)
        kept = calls.kept_for(purposes)
        if kept is not None and self.stays(kept.record, inputs):
            # The engine re-creates a resource that should not change, and this run has deleted it
            # before.
            await keep_in_ledger(call, kept)
            then = Hint(self.acts_again)
            call.listener.note(Message(STAYS_AS_IS, id=kept.record.id, then=then))
            return await self.continued(call, kept.record.id, kept.record, values)
        with ending_unfinished(call, self.rules.schema, values, self.ends):
            record = await self.begin(call, inputs, calls)
        return self.resource(record, values)

    async def begin(
        self, call: EngineCall, inputs: Any, calls: ResourceCalls, **more: Any
    ) -> Any:
        """Act for a create, and wait for the end.

        Args:
            call: The call.
            inputs: The inputs.
            calls: The engine's earlier calls about the resource.
            more: Further arguments of `act`.

        Returns:
            The record.
        """
        return await self.act(
            call.session(),
            inputs,
            call.listener,
            call.owner,
            forced=calls.is_forced,
            **more,
        )

    async def update(
        self,
        call: EngineCall,
        id_: str,
        state: Values,
        values: Values,
    ) -> Resource:
        """Keep waiting for the end of an act, the only update that there is.

        Args:
            call: The call.
            id_: The resource's id.
            state: The outputs in the state.
            values: The new inputs.

        Returns:
            The resource.
        """
        return await self.continued(
            call,
            id_,
            self.rules.schema.record.from_outputs(state),
            values,
        )

    async def continued(
        self,
        call: EngineCall,
        id_: str,
        record: Any,
        values: Values,
    ) -> Resource:
        """Return the resource, once its act has ended.

        Args:
            call: The call.
            id_: The resource's id.
            record: The record in the state.
            values: The new inputs.
        """
        if record.pending:
            schema = self.rules.schema
            with ending_unfinished(call, schema, values, self.ends, id_, record):
                inputs = schema.inputs.of(values)
                record = await self.act(
                    call.session(),
                    inputs,
                    call.listener,
                    call.owner,
                    earlier=record,
                )
        return self.resource(record, values, id_)

    def resource(
        self,
        record: Any,
        values: Values,
        id_: str | None = None,  # noqa: ARG002  a Restore keeps the state's
    ) -> Resource:
        """Return the resource of a record.

        Args:
            record: The record.
            values: The inputs.
            id_: The id in the state; None for the record's own.
        """
        return Resource(record.id, self.rules.schema.state(record, values))

    @abstractmethod
    def stays(self, carried: Any, inputs: Any) -> bool:
        """Return whether a create asks for the record that the engine has deleted in this run.

        Args:
            carried: The record.
            inputs: The create's inputs.
        """


async def keep_in_ledger(call: EngineCall, kept: StateRequest) -> None:
    """Enter into the ledger that a create makes again what a delete has dropped.

    Args:
        call: The call.
        kept: The request.
    """
    memory = call.shared.memory
    memory.note_in_state(kept.names)
    memory.note_taken(kept.names)
    with suppress(SettingsError, LedgerUnavailable):
        await call.shared.ledger(call.settings()).enter_seen()


@contextmanager
def ending_unfinished(  # noqa: PLR0913, PLR0917  each is a fact of its own
    call: EngineCall,
    schema: ResourceSchema,
    values: Values,
    make: Callable[..., NotFinished[Any]],
    id_: str | None = None,
    kept: Any = None,
) -> Iterator[None]:
    """End the call unfinished if the body leaves something that must be kept.

    Args:
        call: The call.
        schema: The resource's.
        values: Its inputs.
        make: Makes the error of a resume that could not even begin, as without a key.
        id_: The id in the state; None if the state may not get the resource.
        kept: A record that the state must keep, whatever happens; None for a create.

    Yields:
        Nothing.
    """
    try:
        yield
    except ProviderError as error:
        end = error
        if not isinstance(end, NotFinished):
            if kept is None:
                raise
            end = make(kept, cause=error)
        steps = end.then
        if id_ is None:
            everywhere = call.settings().shared_state is not None
            steps = end.steps_if_not_saved(
                remembered=call.owner is not None, everywhere=everywhere
            )
        raise ResourceNotFinished(
            Resource(id_ or end.record.id, schema.state(end.record, values)),
            end,
            steps,
        ) from error


# Whether inputs differ in what is known of them ---------------------------------------------------


def changed(
    name: str,
    old: Values,
    new: Values,
    same: Same = operator.eq,
) -> bool:
    """Return whether an input has changed, as far as it is known. Empty and absent are the same.

    Args:
        name: The input.
        old: The inputs in the state.
        new: The inputs now.
        same: Returns whether two values mean the same.
    """
    return differs(old.get(name) or None, new.get(name) or None, same)


def differs(old: Any, new: Any, same: Same = operator.eq) -> bool:
    """Return whether two values differ, as far as they are known.

    Args:
        old: The earlier value.
        new: The new value.
        same: Returns whether two values mean the same.
    """
    # Such as an output of a resource that the engine deletes first, whose value may stay the same.
    if new is UNKNOWN:
        return False
    if isinstance(old, list) and isinstance(new, list):
        return len(old) != len(new) or any(map(partial(differs, same=same), old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() != new.keys() or any(
            differs(old[name], new[name], same) for name in new
        )
    return bool(old != new) and not same(old, new)


def holds_unknown(value: Any) -> bool:
    """Return whether a value is `UNKNOWN`, or contains it.

    Args:
        value: The value.
    """
    if isinstance(value, dict):
        return any(map(holds_unknown, value.values()))
    if isinstance(value, list):
        return any(map(holds_unknown, value))
    return value is UNKNOWN


def undecided(new: Values, *names: str) -> AnyMessage:
    """Return why a preview cannot decide whether to make a new resource; empty if it can.

    Args:
        new: The inputs now.
        *names: The deciding inputs.
    """
    unknown = " and ".join(
        "{" + name + "}" for name in names if holds_unknown(new.get(name))
    )
    if not unknown:
        return ""
    return Message(f"decided in the update, since a preview does not know {unknown}")
