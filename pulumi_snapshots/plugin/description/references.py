"""A Snapshot of the program as an input of another resource, and what it stands for: a database and a version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.struct_pb2 import Struct

from pulumi_snapshots.errors import Text
from pulumi_snapshots.plugin.wire import plain, value_of
from pulumi_snapshots.properties.catalogue import in_camel
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.properties.unfit import Problem, Unfit, shown
from pulumi_snapshots.run.memory import is_provisional
from pulumi_snapshots.snapshot.record import NAMED_BY, split_id

if TYPE_CHECKING:
    from collections.abc import Mapping


REFERENCE = "snapshot"
"""The input that is a Snapshot of the program; the engine hands on its id. The state has the inputs that it stands for."""


class Snapshots:
    """The snapshots of this process by their ids."""

    def __init__(self) -> None:
        self._versions: dict[str, Any] = {}

    def note(self, id_: str, outputs: Mapping[str, Any]) -> None:
        """Note the version of a snapshot whose id does not name it: one that was resumed keeps its id until a refresh."""
        if is_provisional(id_):
            self._versions[id_] = outputs.get("version_id") or UNKNOWN

    def named_by(self, given: object) -> tuple[Any, Any]:
        """The database and the version of a Snapshot; `UNKNOWN` if a preview does not know them.

        Args:
            given: the Snapshot's id, or `UNKNOWN`.

        Raises:
            ValueError: it is no Snapshot, or its version is not known.
        """
        if given is UNKNOWN:
            return UNKNOWN, UNKNOWN
        id_ = given if isinstance(given, str) else ""
        try:
            database_id, version_id = split_id(id_)
        except ValueError:
            raise Unfit("must be a Snapshot") from None
        if not is_provisional(id_):
            return database_id, version_id
        if id_ not in self._versions:
            provisional = (
                "has the provisional id {id}, which names no version. Give {database_id} and {version_id} instead"
            )
            raise Unfit(Text(provisional, id=shown(id_)))
        return database_id, self._versions[id_]

    def expanded(self, inputs: Struct, olds: Struct) -> tuple[Struct, list[Problem]]:
        """The inputs with what a Snapshot among them stands for in its place, and what is wrong with it.

        Args:
            inputs: of a resource that can take a Snapshot.
            olds: its inputs in the state; what equals them may differ from the Snapshot, since `ignoreChanges` asks for that.
        """
        expanded, problems = Struct(), list[Problem]()
        expanded.CopyFrom(inputs)
        given = plain(inputs.fields[REFERENCE]) if REFERENCE in inputs.fields else None
        if REFERENCE in inputs.fields:
            del expanded.fields[REFERENCE]
        if given is None:
            return expanded, problems
        try:
            named = self.named_by(given)
        except ValueError as error:
            problems.append(Problem.of(REFERENCE, error))
            named = UNKNOWN, UNKNOWN
        for name, value in zip(NAMED_BY, named, strict=True):
            wire = in_camel(name)
            stated, old = (plain(each.fields[wire]) if wire in each.fields else None for each in (expanded, olds))
            if stated is None:
                expanded.fields[wire].CopyFrom(value_of(value))
            elif stated is not UNKNOWN and value is not UNKNOWN and stated not in {value, old}:
                problems.append(Problem(name, Text("differs from that of {snapshot}: give only one of them")))
        return expanded, problems
