"""A Snapshot of the program as an input of another resource, and what it stands for: a database and a version."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from google.protobuf.struct_pb2 import Struct

from pulumi_snapshots.errors import Text
from pulumi_snapshots.plugin.wire import field, value_of
from pulumi_snapshots.properties.catalogue import in_camel
from pulumi_snapshots.properties.checks import UNKNOWN, Problem, shown
from pulumi_snapshots.run.memory import is_provisional
from pulumi_snapshots.snapshot.record import NAMED_BY, split_id

REFERENCE = "snapshot"
"""The input that is a Snapshot of the program; the engine hands on its id. The state has the inputs that it stands for."""
PROVISIONAL = "has the provisional id {id}, which names no version. Give {database_id} and {version_id} instead"
IGNORED = "{reason}. If ignoreChanges names {snapshot}, name {database_id} and {version_id} there instead"


def expanded(inputs: Struct, olds: Struct, versions: Mapping[str, Any]) -> tuple[Struct, list[Problem]]:
    """The inputs with what a Snapshot among them stands for, and what is wrong with it; `versions` are those of provisional ids."""
    made, problems, given = Struct(), list[Problem](), field(inputs, REFERENCE)
    made.CopyFrom(inputs)
    made.fields.pop(REFERENCE, None)
    if given is None:
        return made, problems
    named: tuple[Any, Any] = (UNKNOWN, UNKNOWN)
    if given is not UNKNOWN:
        try:
            database_id, version_id = split_id(given if isinstance(given, str) else "")
            named = database_id, versions.get(given, UNKNOWN) if is_provisional(given) else version_id
            if is_provisional(given) and given not in versions:
                problems.append(Problem(REFERENCE, Text(PROVISIONAL, id=shown(given))))
        except ValueError:
            problems.append(Problem(REFERENCE, "must be a Snapshot"))
    # What equals the inputs in the state may differ from the Snapshot: `ignoreChanges` asks for that.
    for name, value in zip(NAMED_BY, named, strict=True):
        wire = in_camel(name)
        stated = field(made, wire)
        if stated is None:
            made.fields[wire].CopyFrom(value_of(value))
        elif UNKNOWN not in [stated, value] and stated not in [value, field(olds, wire)]:
            problems.append(Problem(name, Text("differs from that of {snapshot}: give only one of them")))
    return made, problems


def explained(problems: list[Problem], olds: Struct) -> list[Problem]:
    """What is wrong; if the state has a snapshot and the inputs have none, with what `ignoreChanges` must name."""
    if not set(map(in_camel, NAMED_BY)) <= olds.fields.keys():
        return problems
    return [
        replace(each, reason=Text(IGNORED, reason=each.reason)) if each.property == REFERENCE else each
        for each in problems
    ]
