"""The engine's calls for one resource, run after run, in virtual time: what it keeps, loses, and hands to the next run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.run.calls import (
    EngineCall,
    Resource,
    ResourceNotFinished,
    Rules,
    Shared,
)
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import ApiKey
from tests.support.memory import Memory
from tests.support.world import Row, World


@dataclass
class Machine:
    """A machine, whose processes share a ledger, perhaps with other machines."""

    here: World  # the service
    place: Memory | None = None  # of the ledger; one of its own unless given
    clock: Clock | None = None  # the machine's
    api_key: str | None = None  # its user's

    def __post_init__(self) -> None:
        self.place = self.memory = self.place or Memory(
            self.here.clock, is_shared=False
        )

    def session(self, **settings: Any) -> Session:
        """The session of a process of it."""
        own = {} if self.api_key is None else {"api_key": ApiKey(self.api_key)}
        return self.here.another_run(self.memory, clock=self.clock, **own, **settings)

    def process(self) -> Shared:
        shared = Shared()
        session = self.session()
        shared.memory = session.memory
        vars(shared).update(session=lambda _: session, ledger=lambda _: session.ledger)
        return shared


@dataclass
class Stack:
    """The stack's state of one resource, and the runs of `pulumi` on it."""

    rules: Rules  # the resource's
    machine: Machine  # runs it
    urn: str  # the resource's
    id: str = ""  # in the state; empty without a resource
    outputs: dict[str, Any] = field(default_factory=dict)  # in the state
    inputs: dict[str, Any] = field(default_factory=dict)  # in the state
    row: Row = field(default_factory=Row)  # what the last run showed
    error: Exception | None = None  # how the last run failed; None if it did not
    shared: Shared | None = None
    runs: int = 0

    def call(self) -> EngineCall:
        assert self.shared is not None
        settings = self.machine.here.session.settings
        return EngineCall(self.urn, lambda: settings, self.shared, self.row)

    def begin(self, *, same_run: bool = False) -> None:
        """A process of a run."""
        self.shared = self.machine.process()
        self.runs += not same_run
        self.shared.memory.run = f"{id(self)}:{self.runs}"
        self.row = Row(wording=PYTHON.about(resource=self.urn))
        self.error = None

    @property
    def session(self) -> Session:
        assert self.shared is not None
        return self.shared.session(self.machine.here.session.settings)

    @property
    def pending(self) -> bool:
        return self.outputs.get("attempt") is not None

    async def preview(self, **values: Any) -> None:
        """Check and diff, without a change."""
        self.begin()
        await self.check(values)
        if self.id:
            await self.diff(values)

    async def up(  # noqa: PLR0913  each is a fact of its own
        self,
        *,
        saves: bool = True,  # whether the engine can store what the provider answers
        replace: bool = False,  # whether the user gives `--replace`
        trigger: bool = False,  # whether the resource's option `replacement_trigger` has another value
        cascade: bool | Literal["apart"] = False,
        first: bool = False,  # whether it is itself deleted before it is made again
        late: bool = False,  # whether the engine deletes what was replaced although it has not saved
        refresh: bool = False,  # whether the user gives `--refresh`
        **values: Any,
    ) -> None:
        """One `pulumi up`; with `apart`, another process makes it again than the one that deletes it, as of another provider."""
        self.begin()
        with self._failing(values if saves else None):
            await self._begin_with(refresh=refresh, cascade=cascade)
            # The engine ignores what the state has of a resource that `--replace` names, or that is tainted.
            await self.check(values, in_state=bool(self.id) and not replace)
            changes = None
            if self.id and not replace and not trigger:
                changes = await self.diff(values)
            if not self.id:
                self._keep(await self.create(values), values, saves=saves)
            elif changes is None or changes.replaces:
                await self._replace(
                    values, named=replace, first=first, saves=saves, late=late
                )
            elif changes.updates:
                made = await self.rules.calls.update(
                    self.call(), self.id, self.outputs, values
                )
                self._keep(made, values, saves=saves)

    async def _begin_with(
        self, *, refresh: bool, cascade: bool | Literal["apart"]
    ) -> None:
        """Refresh it, or delete it with what it depends on, before the program's resources are compared."""
        if self.pending or (refresh and self.id):
            await self.read()
        if self.id and cascade:
            # As the engine does it with what has a provider that is replaced; other dependants are compared first.
            await self.delete(self.id, self.outputs)
            self.id = ""
            self.outputs = {}
            if cascade == "apart":
                self.begin(same_run=True)

    async def _replace(
        self,
        values: dict[str, Any],
        *,
        named: bool,
        first: bool,
        saves: bool,
        late: bool,
    ) -> None:
        """Make it again, and delete what it was; `named` by `--replace`, its inputs are not checked again."""
        old = self.id
        outputs = self.outputs
        if first:
            await self.delete(old, outputs)
        elif not named:
            await self.check(values)
        self._keep(await self.create(values), values, saves=saves)
        if (saves or late) and not first:
            await self.delete(old, outputs)

    @contextmanager
    def _failing(self, kept: dict[str, Any] | None) -> Iterator[None]:
        """Note how the run fails; what is unfinished is kept with these inputs, if any."""
        try:
            yield
        except ProviderError as error:
            self.error = error
        except ResourceNotFinished as end:
            self.error = end
            if kept is not None:
                self._keep(end.resource, kept)

    def _keep(
        self, made: Resource, inputs: dict[str, Any], *, saves: bool = True
    ) -> None:
        if not saves:
            return
        self.id = made.id
        self.inputs = dict(inputs)
        self.outputs = {
            name: value for name, value in made.outputs.items() if value is not None
        }

    async def destroy(self) -> None:
        self.begin()
        await self.delete(self.id, self.outputs)
        self.id = ""
        self.outputs = {}

    # Single calls --------------------------------------------------------------------------------------------------------

    async def check(self, values: dict[str, Any], *, in_state: bool = False) -> None:
        assert not self.rules.check(self.call(), values, in_state=in_state)

    async def diff(self, values: dict[str, Any]) -> Any:
        return self.rules.diff(self.call(), self.outputs, values)

    async def read(self) -> None:
        """Read the resource, as a refresh and before an `up` while it is pending."""
        try:
            seen = await self.rules.read(self.call(), self.id, self.outputs)
        except ResourceNotFinished as still:
            self._keep(still.resource, self.inputs)
        else:
            self._keep(seen, self.inputs)
        await self.diff(self.inputs)  # for what a refresh shows, without a check

    async def create(self, values: dict[str, Any]) -> Resource:
        made: Resource = await self.rules.calls.create(self.call(), values)
        return made

    async def delete(self, id_: str, outputs: dict[str, Any]) -> None:
        await self.rules.delete(self.call(), id_, outputs)
