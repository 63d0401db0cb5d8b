"""Checks that a resource's state, which people edit and import, is as a run wrote it."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, get_args, get_origin

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors import AnyMessage, Message
from pulumi_snapshots.properties.catalogue import (
    Bytes,
    Duration,
    Moment,
    Property,
    Record,
    ResourceSchema,
    Rows,
    Values,
    record_in,
)
from pulumi_snapshots.properties.checks import Problem, is_number


def problem_of_state(schema: ResourceSchema, state: Values) -> Problem | None:
    """Find the first property of a state that no run can have written in this form.

    Args:
        schema: The resource's kind.
        state: Its outputs, inputs among them, as plain values by their names in Python.

    Returns:
        The property and what is wrong with it, as "is missing" or "must be …"; None if all is well.
    """
    record = schema.record.properties()
    for name, each in schema.properties.items():
        reason = _reason(each, state.get(name), is_input=name not in record)
        if reason is not None:
            return Problem(name, reason)
    return None


def is_written(schema: ResourceSchema, state: Values) -> bool:
    """Tell whether a run has written a state or a part of it.

    At an import, the state holds inputs alone, or nothing.

    Args:
        schema: The resource's kind.
        state: The outputs, inputs among them, as plain values by their names in Python.
    """
    own = schema.record.properties().keys() - schema.inputs.properties().keys()
    return not own.isdisjoint(state)


def inputs_in(schema: ResourceSchema, state: Values) -> dict[str, Any]:
    """Return the usable inputs in a state.

    Args:
        schema: The resource's kind.
        state: Its outputs, inputs among them, as plain values by their names in Python.
    """
    properties = schema.inputs.properties()
    return {
        name: value
        for name, value in state.items()
        if name in properties
        and _reason(properties[name], value, is_input=True) is None
    }


def _reason(each: Property, value: Any, *, is_input: bool) -> AnyMessage | None:
    """What is wrong with a property's value; an input may also be as a program writes inputs."""
    if value is None:
        is_always_there = each.required and each.kept and not each.optional
        return "is missing" if is_always_there else None
    if is_input and each.type == Duration and isinstance(value, str):
        return None  # `90s`
    return _misfit(each.type, value)


def _misfit(kind: Any, value: Any) -> AnyMessage | None:
    """What a value of the state must be to fit its type, as "must be …"; None if the value fits."""
    record = record_in(kind)
    if record is kind:
        return _misfit_of_record(record, value)
    if get_origin(kind) in {list, tuple}:
        return _misfit_of_list(get_args(kind)[0], value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        values = [each.value for each in kind]
        return (
            None if value in values else f"must be one of {', '.join(map(str, values))}"
        )
    # A program writes a value of a class of this package, such as a destination, as a string.
    fits, right = _PLAIN.get(kind, _TEXT)
    return None if fits(value) else f"must be {right}"


def _misfit_of_record(record: type[Record], value: Any) -> AnyMessage | None:
    if not isinstance(value, Mapping):
        return "must be an object"
    for name, each in record.properties().items():
        reason = _reason(each, value.get(name), is_input=False)
        if reason is not None:
            spelled = Message(f"{{{name}}}")  # a record can have a property `reason`
            return Message("has {name}, which {reason}", name=spelled, reason=reason)
    return None


def _misfit_of_list(kind: Any, value: Any) -> AnyMessage | None:
    if not isinstance(value, list | tuple):
        return "must be a list"
    for number, each in enumerate(value, start=1):
        reason = _misfit(kind, each)
        if reason is not None:
            return Message(
                "has entry {number}, which {reason}", number=number, reason=reason
            )
    return None


def _is_time(value: Any) -> bool:
    try:
        parse_rfc3339(value)
    except (TypeError, ValueError, AttributeError):
        return False
    return True


_TIME = (_is_time, "a time such as 2026-11-24T23:00:00Z")
_TEXT = (lambda value: isinstance(value, str), "a string")
_PLAIN: Mapping[Any, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys((datetime, Moment), _TIME),
    **dict.fromkeys((float, int, Bytes, Rows, Duration), (is_number, "a number")),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    Any: (lambda _: True, ""),
}
"""By the type of a property: a check of a value of the state, and what it must be."""
