"""The resources of the plugin: the description of each, and what `operations` do with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pulumi_snapshots.archive.calls import ArchiveCalls
from pulumi_snapshots.plugin import description
from pulumi_snapshots.plugin.resource import PACKAGE
from pulumi_snapshots.plugin.values import Names
from pulumi_snapshots.restore.calls import RestoreCalls
from pulumi_snapshots.snapshot.calls import SnapshotCalls

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pulumi_snapshots.run.calls import Calls

__all__ = ["KINDS", "PACKAGE", "Kind"]


@dataclass(frozen=True)
class Kind:
    """One kind of resource.

    Attributes:
        calls: what to do at each of the engine's calls.
        inputs: describes its inputs.
        outputs: describes its outputs, inputs among them.
    """

    calls: Calls
    inputs: type[BaseModel]
    outputs: type[BaseModel]

    @property
    def token(self) -> str:
        """Its type in the state."""
        return f"{PACKAGE}:index:{self.outputs.__name__}"

    @cached_property
    def input_names(self) -> Names:
        """How its inputs are called."""
        return Names(self.inputs)

    @cached_property
    def names(self) -> Names:
        """How all its properties are called."""
        return Names(self.outputs)


KINDS = {
    kind.token: kind
    for kind in (
        Kind(SnapshotCalls(), description.SnapshotInputs, description.Snapshot),
        Kind(RestoreCalls(), description.RestoreInputs, description.Restore),
        Kind(ArchiveCalls(), description.ArchiveInputs, description.Archive),
    )
}
"""By token."""
