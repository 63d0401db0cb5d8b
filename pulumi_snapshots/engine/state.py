"""States that were edited, or half imported.

An error names the field before any part of the state is used.
"""

from typing import TYPE_CHECKING

from pulumi_snapshots.errors import HintKind, Message, ProviderError
from pulumi_snapshots.properties.catalogue import ResourceSchema, Values
from pulumi_snapshots.properties.state_check import (
    inputs_in,
    is_written,
    problem_of_state,
)
from pulumi_snapshots.run.memory import is_provisional

if TYPE_CHECKING:
    from pulumi_snapshots.run.calls import EngineCall, Resource, Rules


class UnusableState(ProviderError):
    """The state of a resource lacks a field, or has one that no run can have written."""

    def __init__(self, schema: ResourceSchema, field: str, reason: object) -> None:
        what = Message("{" + field + "} {reason}", reason=reason)
        happened = Message(
            "The state of this {kind} cannot be used: {what}",
            kind=schema.name,
            what=what,
        )
        steps = [HintKind.CORRECT_STATE, HintKind.DELETE_STATE]
        if schema.is_found_by_id:
            steps.insert(0, HintKind.REFRESH_STATE)
        super().__init__(happened, "Nothing was sent.", steps)


def refuse_unusable(schema: ResourceSchema, state: Values) -> None:
    """Refuse a state that cannot be used.

    Args:
        schema: The resource's kind.
        state: Its outputs, inputs among them, as plain values by their names in Python.

    Raises:
        UnusableState: A field is missing, or has a value that no run can have written.
    """
    problem = problem_of_state(schema, state)
    if problem is not None:
        raise UnusableState(schema, problem.property, problem.reason)


async def read_state(
    rules: "Rules",
    call: "EngineCall",
    id_: str,
    state: Values,
) -> "Resource":
    """Refresh a resource, or look one up.

    Args:
        rules: The rules of the resource's kind.
        call: The engine's call.
        id_: The resource's id.
        state: The outputs in the state; without those of a run for a lookup.

    Returns:
        The resource, as a refresh or a lookup found it.

    Raises:
        UnusableState: The state was damaged, and the service cannot be asked for the missing field.
    """
    if is_written(rules.schema, state):
        try:
            refuse_unusable(rules.schema, state)
        except UnusableState:
            if not rules.schema.is_found_by_id or is_provisional(id_):
                raise
            state = inputs_in(rules.schema, state)  # the rest is looked up by the id
    return await rules.read(call, id_, state)
