"""The engine's calls for one resource, run after run, in virtual time: what it keeps, loses, and hands to the next run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.attempt.owner import EngineRun
from pulumi_snapshots.attempt.process import Process
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.run.calls import Call, Unfinished
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.shared import Shared
from tests.support.world import Row

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi_snapshots.attempt.journal import AttemptJournal
    from pulumi_snapshots.clock import Clock
    from pulumi_snapshots.run.calls import Resource, Rules
    from pulumi_snapshots.run.journals import Journals
    from pulumi_snapshots.run.settings import Settings
    from tests.support.shared_places import Place
    from tests.support.world import World

__all__ = ["Machine", "Stack"]


class _Shared(Shared):
    """What a process shares, with the service of a test."""

    def __init__(self, session: Session) -> None:
        super().__init__(lambda _: None)
        self.memory = session.memory
        self._only = session

    def session(self, _settings: Settings) -> Session:
        return self._only

    def journals(self, _settings: Settings) -> Journals:
        return self._only.journals

    def journals_of_all_keys(self, _settings: Settings, what: str) -> list[AttemptJournal]:
        return [self._only.journals[what]]


@dataclass
class Machine:
    """A machine, whose processes share a state directory, or a place with other machines."""

    here: World
    folder: Path
    running: set[str] = field(default_factory=set)
    started: int = 0
    clock: Clock | None = None
    place: Place | None = None

    def process(self) -> Shared:
        self.started += 1
        name = f"process {self.started}"
        self.running.add(name)
        here, place = self.here, self.place
        clock = self.clock or here.clock
        return _Shared(
            Session(
                here.session.settings,
                clock=clock,
                http=here.transport,
                state=self.folder,
                process=None if place else Process(name, self.running.__contains__),
                shared=place.bucket(clock) if place else None,
            )
        )


@dataclass
class Stack:
    """The stack's state of one resource, and the runs of `pulumi` on it.

    Attributes:
        rules: the resource's.
        machine: runs it.
        urn: the resource's.
        id: in the state; empty without a resource.
        outputs: in the state.
        inputs: in the state.
        row: what the last run showed.
        error: how the last run failed; None if it did not.
    """

    rules: Rules
    machine: Machine
    urn: str
    id: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    row: Row = field(default_factory=Row)
    error: Exception | None = None
    shared: Shared | None = None
    engine: EngineRun = field(default_factory=EngineRun)

    def _call(self) -> Call:
        assert self.shared is not None
        settings = self.machine.here.session.settings
        return Call(self.urn, lambda: settings, self.shared, self.row, lambda: self.engine)

    def begin(self, *, forces: bool = False) -> None:
        """A process of a run; `forces` if the user asks for another one, and the engine's command line shows it."""
        self.shared = self.machine.process()
        self.engine = EngineRun(f"engine {self.machine.started}", forces)
        self.machine.running.add(self.engine.name)
        self.row = Row(wording=PYTHON.about(resource=self.urn))
        self.error = None

    def end(self) -> None:
        """The process ends."""
        assert self.shared is not None
        settings = self.machine.here.session.settings
        self.machine.running.discard(self.engine.name)
        self.machine.running.discard(self.shared.journals(settings)["snapshot"].process.name)

    @property
    def pending(self) -> bool:
        return self.outputs.get("attempt") is not None

    async def preview(self, **values: Any) -> None:
        """Check and diff, without a change."""
        self.begin()
        await self.check(values)
        if self.id:
            await self.diff(values)
        self.end()

    async def up(
        self,
        *,
        saves: bool = True,
        replace: bool = False,
        trigger: bool = False,
        cascade: bool = False,
        first: bool = False,
        **values: Any,
    ) -> None:
        """One `pulumi up`.

        Args:
            saves: whether the engine can store what the provider answers.
            replace: whether the user gives `--replace`.
            trigger: whether the resource's option `replacement_trigger` has another value.
            cascade: whether something that it depends on is deleted before it is made again.
            first: whether it is itself deleted before it is made again.
            values: the inputs.
        """
        self.begin(forces=replace)
        try:
            await self._up(values, saves=saves, replace=replace, trigger=trigger, cascade=cascade, first=first)
        except Explained as error:
            self.error = error
        except Unfinished as end:
            self.error = end
            if saves:
                self._keep(end.resource, values)
        self.end()

    async def _up(  # noqa: PLR0913  as those of `up`
        self, values: dict[str, Any], *, saves: bool, replace: bool, trigger: bool, cascade: bool, first: bool
    ) -> None:
        if self.pending:
            await self.read()
        if self.id and cascade:
            # As the engine does it with what has a provider that is replaced; other dependants are compared first.
            await self.delete(self.id, self.outputs)
            self.id, self.outputs = "", {}
        await self.check(values, in_state=bool(self.id) and not replace)
        if not self.id:
            return self._save(await self.create(values), values, saves=saves)
        changes = None if replace or trigger else await self.diff(values)
        if changes is None or changes.replaces:
            old, outputs = self.id, self.outputs
            if first:
                await self.delete(old, outputs)
            else:
                await self.check(values)
            self._save(await self.create(values), values, saves=saves)
            if saves and not first:
                await self.delete(old, outputs)
        elif changes.updates:
            await self.rules.note_state(self._call(), self.outputs)
            self._save(await self.rules.calls.update(self._call(), self.id, self.outputs, values), values, saves=saves)
        return None

    def _save(self, made: Resource, inputs: dict[str, Any], *, saves: bool) -> None:
        if saves:
            self._keep(made, inputs)

    def _keep(self, made: Resource, inputs: dict[str, Any]) -> None:
        self.id, self.inputs = made.id, dict(inputs)
        self.outputs = {name: value for name, value in made.outputs.items() if value is not None}

    async def destroy(self) -> None:
        """One `pulumi destroy`."""
        self.begin()
        await self.delete(self.id, self.outputs)
        self.end()
        self.id, self.outputs = "", {}

    # Single calls --------------------------------------------------------------------------------------------------------

    async def check(self, values: dict[str, Any], *, in_state: bool = False) -> None:
        assert not self.rules.check(self._call(), values, in_state=in_state)

    async def diff(self, values: dict[str, Any]) -> Any:
        await self.rules.note_state(self._call(), self.outputs)
        return self.rules.diff(self._call(), self.outputs, values)

    async def read(self) -> None:
        """Read the resource, as a refresh and before an `up` while it is pending."""
        await self.rules.note_state(self._call(), self.outputs)
        try:
            seen = await self.rules.calls.read(self._call(), self.id, self.outputs)
        except Unfinished as still:
            self._keep(still.resource, self.inputs)
        else:
            self._keep(seen, self.inputs)

    async def create(self, values: dict[str, Any]) -> Resource:
        return await self.rules.calls.create(self._call(), values)

    async def delete(self, id_: str, outputs: dict[str, Any]) -> None:
        await self.rules.note_delete(self._call(), outputs)
        await self.rules.calls.delete(self._call(), id_, outputs)
