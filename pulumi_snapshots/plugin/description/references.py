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
PROVISIONAL = "has the provisional id {id}, which names no version. Give {database_id} and {version_id} instead"


class Snapshots:
    """The snapshots of this process by their ids."""

    def __init__(self) -> None:
        self._versions: dict[str, Any] = {}

    def note(self, id_: str, outputs: Mapping[str, Any]) -> None:
        """Note the version of a snapshot whose id does not name it: one that was resumed keeps its id until a refresh."""
        if is_provisional(id_):
            self._versions[id_] = outputs.get("version_id") or UNKNOWN

    def expanded(self, inputs: Struct, olds: Struct) -> tuple[Struct, list[Problem]]:
        """The inputs with what a Snapshot among them stands for in its place, and what is wrong with it.

        What equals `olds`, the inputs in the state, may differ from the Snapshot, since `ignoreChanges` asks for that.
        """
        expanded, problems = Struct(), list[Problem]()
        expanded.CopyFrom(inputs)
        given = _value(inputs, REFERENCE)
        expanded.fields.pop(REFERENCE, None)
        if given is None:
            return expanded, problems
        try:
            named = self._named_by(given)
        except ValueError as error:
            problems.append(Problem.of(REFERENCE, error))
            named = UNKNOWN, UNKNOWN
        for name, value in zip(NAMED_BY, named, strict=True):
            wire = in_camel(name)
            stated, old = _value(expanded, wire), _value(olds, wire)
            if stated is None:
                expanded.fields[wire].CopyFrom(value_of(value))
            elif stated is not UNKNOWN and value is not UNKNOWN and stated not in {value, old}:
                problems.append(Problem(name, Text("differs from that of {snapshot}: give only one of them")))
        return expanded, problems

    def _named_by(self, given: object) -> tuple[Any, Any]:
        """The database and the version of a Snapshot by its id, `UNKNOWN` if a preview does not know them; ValueError if it is none."""
        if given is UNKNOWN:
            return UNKNOWN, UNKNOWN
        id_ = given if isinstance(given, str) else ""
        try:
            database_id, version_id = split_id(id_)
        except ValueError:
            raise Unfit("must be a Snapshot") from None
        if is_provisional(id_):
            if id_ not in self._versions:
                raise Unfit(Text(PROVISIONAL, id=shown(id_)))
            version_id = self._versions[id_]
        return database_id, version_id


def _value(inputs: Struct, name: str) -> Any:
    return plain(inputs.fields[name]) if name in inputs.fields else None
