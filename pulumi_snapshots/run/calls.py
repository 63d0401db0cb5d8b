"""What an engine asks of a resource, and how each call may end; the adapters translate, the resources decide.

Inputs and outputs are plain values by their Python names, `UNKNOWN` if a preview does not know one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from pulumi_snapshots.attempt.owner import Asker, EngineRun, owner_of
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.properties.unfit import Problem
from pulumi_snapshots.run.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pulumi_snapshots.attempt.journal import AttemptJournal, Entry, Proof
    from pulumi_snapshots.attempt.post import Post
    from pulumi_snapshots.errors.next_step import Next
    from pulumi_snapshots.errors.outcomes import Unresolved
    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.progress import Listener
    from pulumi_snapshots.properties.catalogue import Thing
    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.run.settings import Settings
    from pulumi_snapshots.run.shared import Shared


@dataclass(frozen=True)
class Call:
    """What surrounds one call.

    Attributes:
        owner: the resource's URN; None if unknown.
        settings: reads them; raises SettingsError. Late, since what sends nothing works with bad ones.
        shared: what the resources of this process share.
        listener: hears how it goes.
        engine: tells the run of the engine.
    """

    owner: str | None
    settings: Callable[[], Settings]
    shared: Shared
    listener: Listener
    engine: Callable[[], EngineRun] = EngineRun

    def creating(self, what: str) -> Asker:
        """Who creates, and whether the run wants another one of what its POSTs start, whatever the state has."""
        run, memory = self.engine(), self.shared.memory
        forces = run.forces or memory.is_replaced_unseen(what, self.owner)
        carries = not (forces or memory.is_replaced(what, self.owner))
        run = replace(run, forces=forces, stays=memory.stays(what, self.owner), carries=carries)
        return Asker(self.owner, run)

    def session(self) -> Session:
        """The service; in the event loop only.

        Raises:
            SettingsError: a setting cannot be used, or there is no key.
        """
        settings = self.settings()
        settings.required_key()
        return self.shared.session(settings)


@dataclass(frozen=True)
class Resource:
    """A resource as the state keeps it: all outputs, inputs among them, since what is left out would be lost."""

    id: str
    outputs: dict[str, Any]


@dataclass(frozen=True)
class Changes:
    """What new inputs, or time, mean for a resource.

    Attributes:
        replaces: the properties because of which another one is made; the old one is deleted after that.
        updates: the properties because of which an update has something to do.
        reason: why there is something to do, if no input shows it; empty otherwise.
        note: what an earlier run has left and is continued, which the preview shows too; empty for nothing.
        warning: something that the user should know; empty for nothing.
    """

    replaces: tuple[str, ...] = ()
    updates: tuple[str, ...] = ()
    reason: Words = ""
    note: Words = ""
    warning: Words = ""


class Unfinished(Exception):
    """A call that did not come to its end, and whose resource must be kept; the next run reads it first.

    Attributes:
        resource: as far as it is known.
        error: what the user reads.
        unkept: the next steps if the engine cannot be handed an unfinished resource; None if nothing has failed and the
            state holds the resource already.
    """

    def __init__(self, resource: Resource, error: Explained, *, unkept: tuple[Next, ...] | None) -> None:
        super().__init__(error)
        self.resource = resource
        self.error = error
        self.unkept = unkept


class Rules(ABC):
    """What the engine may ask of one kind of resource without a request: whether inputs are right, and what a change means.

    Attributes:
        thing: the resource's properties.
        what: what its POSTs start, which names its journal; empty if it sends none.
    """

    thing: ClassVar[Thing]
    what: ClassVar[str] = ""

    @property
    @abstractmethod
    def calls(self) -> Calls:
        """What may send requests; loaded late, since a preview without a change needs none of it."""

    def check(self, call: Call, values: Mapping[str, Any], *, in_state: bool = False) -> list[Problem]:
        """What is wrong with the inputs.

        Args:
            call: what surrounds the call.
            values: the inputs.
            in_state: whether the engine shows that its state has the resource.

        Raises:
            SettingsError: the configuration cannot be used.
        """
        call.settings()
        memory, about = call.shared.memory, self.about(call)
        memory.note_asked(self.what, call.owner, in_state=in_state)
        problems = self.thing.inputs.problems(values)
        for name, database_id in self.kept(values).items():
            if isinstance(database_id, str):
                memory.note_kept(database_id, about)
                if (drill := memory.overwritten_by(database_id)) is not None:
                    problems.append(Problem(name, f"must not be the scratch database of {drill}, which overwrites it"))
        return problems

    def about(self, call: Call) -> str:
        """The resource, as another one's problem names it."""
        return f"{self.thing.name} {(call.owner or '').rpartition('::')[2]!r}"

    def kept(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The databases whose data the resource is about, by the inputs that name them: no drill may overwrite those."""
        return {"database_id": values.get("database_id")}

    async def note_state(self, call: Call, state: Mapping[str, Any]) -> None:
        """Note that the state has a resource with these outputs, as a call shows that carries them."""
        journals = [journal for journal in self._journals(call) if not journal.has_every_proof]
        if journals and (proof := self.proof_by_state(state)) is not None:
            for journal in journals:
                await journal.prove(proof)

    def is_noted(self, call: Call, state: Mapping[str, Any]) -> bool:
        """Whether there is nothing to note of this state; from any thread, so that many diffs need not enter the event loop."""
        journals = self._journals(call)
        if all(journal.has_every_proof for journal in journals):
            return True
        proof = self.proof_by_state(state)
        return proof is None or all(journal.has_noted(proof) for journal in journals)

    async def note_delete(self, call: Call, state: Mapping[str, Any]) -> None:
        """Note what a delete shows, and what a create of the same resource in this run is to begin with.

        The engine deletes what was replaced after the state has what this run made in its place. It deletes what depends on
        something that is deleted first before it has asked anything about it, and creates it again.
        """
        await self.note_state(call, state)
        owner, kept = owner_of(call.owner), self.kept_by_state(state)
        for journal in self._journals(call) if owner is not None else ():
            await journal.prove_created(owner)
            if kept is not None and call.shared.memory.was_asked(self.what, owner):
                await journal.give_up(kept)
            elif kept is not None:
                run = journal.run_of(call.engine())
                await journal.let_go(replace(kept, owner=owner, process=journal.process.name, run=run))

    async def read(self, call: Call, id_: str, state: Mapping[str, Any]) -> Resource:
        """See `Calls.read`."""
        await self.note_state(call, state)
        return await self.calls.read(call, id_, state)

    async def update(self, call: Call, id_: str, state: Mapping[str, Any], values: Mapping[str, Any]) -> Resource:
        """See `Calls.update`."""
        await self.note_state(call, state)
        return await self.calls.update(call, id_, state, values)

    async def delete(self, call: Call, id_: str, state: Mapping[str, Any]) -> None:
        """See `Calls.delete`."""
        await self.note_delete(call, state)
        await self.calls.delete(call, id_, state)

    def _journals(self, call: Call) -> list[AttemptJournal]:
        """The journal of the key; without a key those of all keys on this machine, since a destroy works without one."""
        try:
            settings = call.settings()
        except SettingsError:
            return []
        if settings.api_key is None:
            return call.shared.journals_of_all_keys(settings, self.what)
        return [journal for what, journal in call.shared.journals(settings).items() if what == self.what]

    def proof_by_state(self, state: Mapping[str, Any]) -> Proof | None:  # noqa: ARG002  most have no journal
        """What outputs in the state prove; None for nothing."""
        return None

    def post_of(self, record: Any) -> Post | None:  # noqa: ARG002  most have no journal
        """The request of what `kept_by_state` leaves; None for nothing."""
        return None

    def kept_by_state(self, state: Mapping[str, Any]) -> Entry | None:  # noqa: ARG002  most have no journal
        """What outputs in the state leave for a create of the same resource; None for nothing."""
        return None

    def diff(self, call: Call, state: Mapping[str, Any], values: Mapping[str, Any]) -> Changes:
        """Compare the state's outputs, inputs among them, with the inputs now, and tell the user why they differ."""
        record = self.thing.record.from_outputs(state)
        found = self.compare(call, record, state, values)
        kept = self.post_of(record) if not found.replaces else None
        call.shared.memory.note_compared(self.what, call.owner, kept.posted_at if kept else None)
        if found.warning:
            call.listener.warn(found.warning)
        if found.note and call.shared.memory.is_first((owner_of(call.owner), found.note)):
            call.listener.note(found.note)
        if found.reason:
            call.listener.progress(found.reason)
        return found

    @abstractmethod
    def compare(self, call: Call, record: Any, state: Mapping[str, Any], values: Mapping[str, Any]) -> Changes:
        """Compare; remember what create and delete are not told."""


class Calls(ABC):
    """What the engine can ask of one kind of resource that may send requests.

    Each call raises `Unfinished` if the resource must be kept as it says, and `Explained` if it failed otherwise: a create has
    made nothing then, and for the others the state stays as it is.
    """

    @abstractmethod
    async def create(self, call: Call, values: Mapping[str, Any]) -> Resource:
        """Make one."""

    @abstractmethod
    async def read(self, call: Call, id_: str, state: Mapping[str, Any]) -> Resource:
        """Refresh what the state holds; if it holds nothing, look up an existing one by its id."""

    @abstractmethod
    async def update(self, call: Call, id_: str, state: Mapping[str, Any], values: Mapping[str, Any]) -> Resource:
        """Resume an unfinished one, or keep inputs that replace nothing.

        Returns:
            The resource; under another id than the state's if that is provisional, for a later read to set right.
        """

    @abstractmethod
    async def delete(self, call: Call, id_: str, state: Mapping[str, Any]) -> None:
        """Forget or delete it, and leave a line that says which."""


@contextmanager
def keeping(
    call: Call,
    thing: Thing,
    values: Mapping[str, Any],
    ends: type[Unresolved[Any]],
    kept: tuple[str, Any] | None = None,
) -> Iterator[None]:
    """End the call unfinished if the body leaves something that must be kept.

    Args:
        call: what surrounds the body.
        thing: the kind of resource.
        values: its inputs.
        ends: the error of the body if something must be kept.
        kept: the id and the record that the state must keep, whatever happens; None if it has none yet.
    """
    try:
        yield
    except Explained as error:
        if isinstance(error, ends):
            end = error
        elif kept is not None:
            end = ends(kept[1], cause=error)  # a resume that could not even begin (no key)
        else:
            raise
        id_, unkept = (kept[0], end.then) if kept else (end.record.id, _unkept(call, end))
        raise Unfinished(Resource(id_, thing.state(end.record, values)), end, unkept=unkept) from error


def _unkept(call: Call, end: Unresolved[Any]) -> tuple[Next, ...]:
    return end.unkept(remembered=call.owner is not None, everywhere=call.settings().shared_state is not None)
