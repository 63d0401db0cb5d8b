"""What exported states of stacks show of snapshots, archives, drills and restores.

Secrets are not read. What cannot be read is a sentence, and counts for nothing.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.engine import SIGNATURE, schema_of
from pulumi_snapshots.errors.secrets import shown_file
from pulumi_snapshots.properties.catalogue import Record, in_python
from pulumi_snapshots.properties.state_check import problem_of_state
from pulumi_snapshots.resources import RESOURCES

RESOURCE_TYPE = re.compile(
    r"(?:pulumi-python:dynamic/squarecloud|squarecloud:index):(\w+)"
)
WITHOUT_ZONE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?")
"""A time that could be of any zone."""


class StateEntry(NamedTuple):
    """A resource in the state of a stack."""

    name: str
    """The resource, for people: `proof of shop/prod`."""
    record: Record


def read_states(
    invocation: Invocation, files: Iterable[Path], troubles: list[str]
) -> list[StateEntry]:
    """Read what `pulumi stack export` has printed.

    Args:
        invocation: The command, for its words.
        files: The files.
        troubles: Gets a sentence for each file, and each resource, that cannot be read.

    Returns:
        The resources of this package.
    """
    entries = []
    for file in files:
        for resource in _resources(file, troubles):
            name = _name(resource)
            try:
                record = _record(invocation, resource)
            except (TypeError, ValueError, LookupError, AttributeError) as error:
                reason = "it is not as Pulumi writes a resource"
                if isinstance(error, ValueError):
                    reason = f"{error}"
                troubles.append(
                    f"{name} in {file.name} cannot be read and does not count: {reason}."
                )
                continue
            if record is not None:
                entries.append(StateEntry(name, record))
                troubles += without_zone(f"{name} in {file.name}", record.to_outputs())
    return entries


def _resources(file: Path, troubles: list[str]) -> list[Any]:
    """Return the resources of one file; none if it cannot be read."""
    try:
        deployment = json.loads(file.read_bytes())["deployment"]
        return list(deployment.get("resources") or ())
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ):
        troubles.append(
            f"the state {shown_file(file.name)} cannot be read: it must be a file that "
            "`pulumi stack export` has written."
        )
        return []


def _name(resource: Any) -> str:
    """Name a resource for people, by its URN."""
    urn = resource.get("urn") if isinstance(resource, Mapping) else None
    parts = str(urn or "an unnamed resource").split("::", 3)
    if len(parts) < len(("stack", "project", "types", "name")):
        return parts[0]
    stack, project, _, name = parts
    return f"{name} of {project}/{stack.removeprefix('urn:pulumi:')}"


def _record(invocation: Invocation, resource: Mapping[str, Any]) -> Record | None:
    """Read a resource; None if it is not of this package.

    Raises:
        ValueError: A field is missing, or no run can have written it.
    """
    type_ = RESOURCE_TYPE.fullmatch(resource["type"])
    if type_ is None or type_[1] not in RESOURCES or resource.get("delete"):
        return None
    schema = schema_of(type_[1])
    plain = {
        name: value
        for name, value in resource["outputs"].items()
        if not (isinstance(value, Mapping) and SIGNATURE in value)
    }
    outputs = in_python(schema.properties, plain)
    problem = problem_of_state(schema, outputs)
    if problem is not None:
        reason = invocation.wording.text(problem.reason)
        raise ValueError(f"{problem.property} {reason}")
    return schema.record.from_outputs(outputs)


def without_zone(name: str, value: Any) -> Iterator[str]:
    """Say of each time without a zone that it is read as UTC.

    Args:
        name: What has the times.
        value: Its fields, or a part of them.

    Yields:
        The sentences.
    """
    if isinstance(value, Mapping):
        for each in value.values():
            yield from without_zone(name, each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from without_zone(name, each)
    elif isinstance(value, str) and WITHOUT_ZONE.fullmatch(value):
        yield f"{name} has the time {value} without a zone, which is read as UTC."
