"""The plugin's package: its resources and functions by their tokens, and the names of their properties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_snapshots.archive.difference import ArchiveRules
from pulumi_snapshots.drill.difference import DrillRules
from pulumi_snapshots.guard.inputs import TAKE
from pulumi_snapshots.lookup.results import DATABASE, DATABASES, LATEST, SNAPSHOTS, Lookup
from pulumi_snapshots.plugin.wire import Names
from pulumi_snapshots.properties.catalogue import in_camel
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.calls import Calls, Rules
from pulumi_snapshots.run.settings import PACKAGE
from pulumi_snapshots.snapshot.difference import SnapshotRules
from pulumi_snapshots.snapshot.record import NAMED_BY, SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.lookup.results import SnapshotInfo
    from pulumi_snapshots.properties.catalogue import Property

REFERENCE = "snapshot"
"""The input that is a Snapshot of the program; the engine hands on its id. The state has the inputs that it stands for."""


def token(name: str) -> str:
    """The name of a resource, a function or a type of this package in every language and in the state."""
    return f"{PACKAGE}:index:{name}"


class Kind:
    """One kind of resource: its token is its type in the state, its names are those of its properties.

    Attributes:
        lists: the lookup that finds all of its kind; None if the service has no list of them.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules, self.thing = rules, rules.thing
        self.token = token(self.thing.name)
        self.names = Names(self.thing.outputs)
        self.input_names = Names(self.thing.inputs.properties())
        self.takes_snapshot = set(NAMED_BY) <= set(self.thing.inputs.properties())
        self.lists = LISTS.get(self.thing.name)
        self.list_names = Names(self.list_properties)

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


LISTS: dict[str, Lookup[list[SnapshotInfo]]] = {SNAPSHOT.name: SNAPSHOTS}
"""By the name of the resource."""
KINDS = {kind.token: kind for kind in map(Kind, (SnapshotRules(), RestoreRules(), ArchiveRules(), DrillRules()))}
"""By token."""
LOOKUPS: tuple[Lookup[Any], ...] = (SNAPSHOTS, LATEST, DATABASE, DATABASES)
"""Functions that take nothing."""
FUNCTIONS = {function.token: function for function in map(Function, (*LOOKUPS, TAKE))}
"""By token."""
