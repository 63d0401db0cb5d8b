"""The plugin's package: its resources and functions by their tokens, and the names of their properties."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pulumi_snapshots.late import late
from pulumi_snapshots.plugin.wire import Names
from pulumi_snapshots.properties.catalogue import in_camel
from pulumi_snapshots.run.settings import PACKAGE
from pulumi_snapshots.snapshot.record import NAMED_BY, SNAPSHOT

if TYPE_CHECKING:
    from pulumi_snapshots.lookup.results import Lookup, SnapshotInfo
    from pulumi_snapshots.properties.catalogue import Property
    from pulumi_snapshots.run.calls import Calls, Rules

T = TypeVar("T")

REFERENCE = "snapshot"
"""The input that is a Snapshot of the program; the engine hands on its id. The state has the inputs that it stands for."""


def token(name: str) -> str:
    """The name of a resource, a function or a type of this package in every language and in the state."""
    return f"{PACKAGE}:index:{name}"


class Kind:
    """One kind of resource: its token is its type in the state, its names are those of its properties."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.thing = rules, rules.thing
        self.token = token(self.thing.name)
        self.names = Names(self.thing.outputs)
        self.input_names = Names(self.thing.inputs.properties())
        self.takes_snapshot = set(NAMED_BY) <= set(self.thing.inputs.properties())

    @cached_property
    def lists(self) -> Lookup[list[SnapshotInfo]] | None:
        """The lookup that finds all of its kind; None if the service has no list of them."""
        found: Lookup[list[SnapshotInfo]] = late("lookup.results:SNAPSHOTS")
        return found if self.thing is SNAPSHOT else None

    @cached_property
    def list_names(self) -> Names:
        """The names of what a list can be asked for."""
        return Names(self.list_properties)

    @property
    def accepted(self) -> list[str]:
        """All inputs by their names in programs."""
        return [*([REFERENCE] if self.takes_snapshot else []), *self.input_names.all]

    @property
    def list_properties(self) -> Mapping[str, Property]:
        """What a list can be asked for; it has ids, so no URLs."""
        every = self.lists.query.properties() if self.lists else {}
        return {name: each for name, each in every.items() if name != "with_url"}

    @property
    def calls(self) -> Calls:
        """What may send requests; loaded late."""
        return self.rules.calls


class Function:
    """One function, with the names of its arguments and of its results."""

    def __init__(self, lookup: Lookup[Any]) -> None:
        self.lookup = lookup
        self.token = token(in_camel(lookup.function))
        self.arguments = Names(lookup.query.properties())
        self.results = Names(lookup.result.properties())


class ByToken(Mapping[str, T]):
    """The package's resources or functions by their tokens. Each is made at its first use: most runs have few of them."""

    def __init__(self, makers: Mapping[str, Callable[[], T]]) -> None:
        self._makers = {token(name): make for name, make in makers.items()}
        self._made: dict[str, T] = {}

    def __getitem__(self, key: str) -> T:
        if key not in self._made:
            self._made[key] = self._makers[key]()
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


KINDS = ByToken(
    {
        "Snapshot": lambda: Kind(late("snapshot.difference:SnapshotRules")()),
        "Restore": lambda: Kind(late("restore.difference:RestoreRules")()),
        "Archive": lambda: Kind(late("archive.difference:ArchiveRules")()),
        "Drill": lambda: Kind(late("drill.difference:DrillRules")()),
    }
)
FUNCTIONS = ByToken(
    {
        "getSnapshots": lambda: Function(late("lookup.results:SNAPSHOTS")),
        "getLatestSnapshot": lambda: Function(late("lookup.results:LATEST")),
        "getDatabase": lambda: Function(late("lookup.results:DATABASE")),
        "getDatabases": lambda: Function(late("lookup.results:DATABASES")),
        "takeSnapshot": lambda: Function(late("guard.inputs:TAKE")),
    }
)
