"""The plugin's package: its resources and functions by their tokens, and how their properties are called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.archive.difference import ArchiveRules
from pulumi_snapshots.lookup.results import DATABASE, DATABASES, LATEST, SNAPSHOTS
from pulumi_snapshots.plugin.wire import Names
from pulumi_snapshots.properties.catalogue import in_camel
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.settings import PACKAGE
from pulumi_snapshots.snapshot.difference import SnapshotRules

if TYPE_CHECKING:
    from pulumi_snapshots.lookup.results import Lookup
    from pulumi_snapshots.properties.catalogue import Thing
    from pulumi_snapshots.run.calls import Calls, Rules

__all__ = ["FUNCTIONS", "KINDS", "Function", "Kind", "token"]


def token(name: str) -> str:
    """The name of a resource, a function or a type of this package in every language and in the state."""
    return f"{PACKAGE}:index:{name}"


@dataclass(frozen=True)
class Kind:
    """One kind of resource."""

    rules: Rules

    @property
    def thing(self) -> Thing:
        """Its properties."""
        return self.rules.thing

    @property
    def calls(self) -> Calls:
        """What may send requests."""
        return self.rules.calls

    @property
    def token(self) -> str:
        """Its type in the state."""
        return token(self.thing.name)

    @cached_property
    def input_names(self) -> Names:
        """How its inputs are called."""
        return Names(self.thing.inputs.properties())

    @cached_property
    def names(self) -> Names:
        """How all its properties are called."""
        return Names(self.thing.outputs)


@dataclass(frozen=True)
class Function:
    """One function."""

    lookup: Lookup[Any]

    @property
    def token(self) -> str:
        """Its name in every language."""
        return token(in_camel(self.lookup.function))

    @cached_property
    def arguments(self) -> Names:
        """How its arguments are called."""
        return Names(self.lookup.query.properties())

    @cached_property
    def results(self) -> Names:
        """How what it brings is called."""
        return Names(self.lookup.result.properties())


KINDS = {kind.token: kind for kind in map(Kind, (SnapshotRules(), RestoreRules(), ArchiveRules()))}
"""By token."""
FUNCTIONS = {
    function.token: function
    for function in (Function(SNAPSHOTS), Function(LATEST), Function(DATABASE), Function(DATABASES))
}
"""By token."""
