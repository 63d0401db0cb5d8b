"""The plugin's package.

Its resources and functions by their tokens, their properties, and a Snapshot as an input of another
resource.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from google.protobuf.struct_pb2 import Struct

from pulumi_snapshots.engine import rules_of
from pulumi_snapshots.errors import Message
from pulumi_snapshots.lookup.results import (
    DATABASE,
    DATABASES,
    DOWNLOAD_URL,
    LATEST,
    SNAPSHOTS,
    LatestQuery,
    Lookup,
    SnapshotInfo,
)
from pulumi_snapshots.plugin.wire import Names, field, value_of
from pulumi_snapshots.properties.catalogue import Property, declare, in_camel
from pulumi_snapshots.properties.checks import UNKNOWN, Problem, shown
from pulumi_snapshots.resources import RESOURCES
from pulumi_snapshots.run.memory import is_provisional
from pulumi_snapshots.run.settings import PACKAGE
from pulumi_snapshots.snapshot.record import (
    NAMED_BY,
    SNAPSHOT,
    split_id,
    takes_snapshot,
)

REFERENCE = "snapshot"
"""The input that is a Snapshot of the program; the engine hands on its id. The state has the
inputs that it stands for.
"""
PROVISIONAL = (
    "has the provisional id {id}, which names no version. Give {database_id} and {version_id} "
    "instead"
)
IGNORED = (
    "{reason}. If ignoreChanges names {snapshot}, name {database_id} and "
    "{version_id} there instead"
)


def token(name: str) -> str:
    """Return the name of a resource, function or type, in every language and in the state.

    Args:
        name: the name in Python, such as `Snapshot`.
    """
    return f"{PACKAGE}:index:{name}"


class SureLatestQuery(LatestQuery):
    """The newest available snapshot of a database, of any origin; an error if there is none."""

    optional: bool = declare(
        "Whether there may be no such snapshot: the result then has no snapshot, "
        "instead of an error.",
        default=False,
    )


SURE_LATEST: Lookup[SnapshotInfo | None] = replace(LATEST, query=SureLatestQuery)
"""The same in languages whose types would make a program ask before each use whether there is one.
"""
FUNCTIONS = {
    token(in_camel(each.function)): each
    for each in (SNAPSHOTS, SURE_LATEST, DOWNLOAD_URL, DATABASE, DATABASES)
}
LISTED: dict[str, Property] = {
    name: each
    for name, each in SNAPSHOTS.query.properties().items()
    if name != "with_url"
}
"""What a list of Snapshots can be asked for; it has ids, so no URLs. The service has no list of
another kind.
"""


class ResourceKind:
    """One kind of resource.

    Its token is its type in the state, and its names are those of its outputs.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.token = token(name)
        self.is_listed = name == SNAPSHOT.name

    # Loaded at their first use: most runs have few kinds.
    rules = cached_property(lambda self: rules_of(self.name))
    schema = cached_property(lambda self: self.rules.schema)
    names = cached_property(lambda self: Names(self.schema.outputs))
    input_names = cached_property(lambda self: Names(self.schema.inputs.properties()))
    refers = cached_property(lambda self: takes_snapshot(self.schema))
    """Whether it takes a Snapshot of the program for its database and version."""

    @property
    def accepted(self) -> list[str]:
        """All inputs by their names in programs."""
        return [*([REFERENCE] if self.refers else []), *self.input_names.all]


RESOURCE_KINDS = {token(name): ResourceKind(name) for name in RESOURCES}


def expanded(
    inputs: Struct,
    olds: Struct,
    versions: Mapping[str, Any],
) -> tuple[Struct, list[Problem]]:
    """Replace a Snapshot in the inputs by its database and version.

    Args:
        inputs: The inputs of a resource, as a program gives them.
        olds: The inputs in the state.
        versions: By provisional id, the version of each Snapshot that the run knows.

    Returns:
        The inputs without the Snapshot, and what is wrong with it.
    """
    others = Struct()
    others.CopyFrom(inputs)
    others.fields.pop(REFERENCE, None)
    snapshot_id = field(inputs, REFERENCE)
    if snapshot_id is None:
        return others, []
    named, problems = _named_by(snapshot_id, versions)
    for name, value in zip(NAMED_BY, named, strict=True):
        wire = in_camel(name)
        given = field(others, wire)
        # An input that equals the state's may differ from the Snapshot: `ignoreChanges` asks for
        # that.
        if given is None:
            others.fields[wire].CopyFrom(value_of(value))
        elif given not in [UNKNOWN, value, field(olds, wire)] and value is not UNKNOWN:
            differs = Message("differs from that of {snapshot}: give only one of them")
            problems.append(Problem(name, differs))
    return others, problems


def _named_by(
    id_: Any, versions: Mapping[str, Any]
) -> tuple[tuple[Any, Any], list[Problem]]:
    """The database and the version that a Snapshot's id names, and what is wrong with the id."""
    nothing = (UNKNOWN, UNKNOWN)
    if id_ is UNKNOWN:
        return nothing, []
    try:
        database_id, version_id = split_id(id_ if isinstance(id_, str) else "")
    except ValueError:
        return nothing, [Problem(REFERENCE, "must be a Snapshot")]
    if not is_provisional(id_):
        return (database_id, version_id), []
    if id_ in versions:
        return (database_id, versions[id_]), []
    unnamed = Problem(REFERENCE, Message(PROVISIONAL, id=shown(id_)))
    return (database_id, UNKNOWN), [unnamed]


def explained(
    problems: list[Problem],
    olds: Struct,
) -> list[Problem]:
    """Return problems of inputs with an explanation.

    If the state has a snapshot and the inputs have none, the explanation says what `ignoreChanges`
    must name.

    Args:
        problems: The problems.
        olds: The inputs in the state.
    """
    if not set(map(in_camel, NAMED_BY)) <= olds.fields.keys():
        return problems
    return [
        replace(each, reason=Message(IGNORED, reason=each.reason))
        if each.property == REFERENCE
        else each
        for each in problems
    ]
