"""A state that was edited or half imported: each call explains which field is wrong, by each way to the engine."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from pulumi_snapshots.engine import schema_of
from pulumi_snapshots.properties.catalogue import in_camel
from pulumi_snapshots.resources import RESOURCES
from tests.dynamic.conftest import NAMES, PROVIDERS
from tests.dynamic.test_without_requests import GOOD, ID, STATE
from tests.support.examples import EXAMPLES
from tests.support.servicer import CallFailedError, Servicer

KIND = "Snapshot"
"""For the fixture; a process serves each kind."""
WRONG: tuple[Any, ...] = ("x", 7.5, [{"x": "y"}])
"""Values of which at least two are wrong for each field."""
MISSING = object()

Call = Callable[[Servicer, str, str, dict[str, Any]], object]
CALLS: dict[str, Call] = {
    "check": lambda one, kind, _id, state: one.check(
        NAMES[kind], GOOD[kind], olds=state
    ),
    "diff": lambda one, kind, id_, state: one.diff(NAMES[kind], id_, state, GOOD[kind]),
    "read": lambda one, kind, id_, state: one.read(NAMES[kind], id_, state),
    "update": lambda one, kind, id_, state: one.update(
        NAMES[kind], id_, state, GOOD[kind]
    ),
    "delete": lambda one, kind, id_, state: one.delete(NAMES[kind], id_, state),
}
STATES = {
    **{(kind, "finished"): (ID[kind], state) for kind, state in STATE.items()},
    **{
        (kind, "pending"): (each.pending_id or each.id, each.pending)
        for kind, each in EXAMPLES.items()
        if each.pending
    },
}


def ending(
    call: Call, servicer: Servicer, kind: str, id_: str, state: dict[str, Any]
) -> str:
    """The text of the error with which a call ends; empty if there is none."""
    servicer.forget()
    try:
        call(servicer.of(PROVIDERS[kind]), kind, id_, state)
    except CallFailedError as error:
        return error.message
    return ""


def damaged(
    kind: str, state: dict[str, Any]
) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """The states that lack a field, or have one of another type: the field, its value and the state."""
    for name in schema_of(kind).properties:
        if name in state:
            yield (
                name,
                MISSING,
                {key: value for key, value in state.items() if key != name},
            )
        for value in WRONG:
            yield name, value, {**state, name: value}


def damaged_inside(good: Any) -> Iterator[tuple[Any, bool]]:
    """A value whose parts, at any depth, are of another type: each with whether it must be explained."""
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(good, dict):
        parts = good.items()
    elif isinstance(good, list):
        parts = enumerate(good)
    for key, part in parts:
        others = [(each, is_of_other_type(part, each)) for each in WRONG]
        for other, is_wrong in (*others, *damaged_inside(part)):
            copy = good.copy()
            copy[key] = other
            yield copy, is_wrong


def is_of_other_type(good: Any, value: Any) -> bool:
    numbers = (int, float)
    if isinstance(good, bool) or isinstance(value, bool):
        return type(good) is not type(value)
    if isinstance(good, numbers) and isinstance(value, numbers):
        return False
    return type(good) is not type(value)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("kind", "how"), STATES, ids=str)
def test_a_damaged_state_is_explained(
    idle: Servicer, kind: str, how: str, call: str
) -> None:
    id_, good = STATES[kind, how]
    # `check` uses nothing of the state, and a refresh looks up by its id what a Snapshot lacks.
    is_looked_up = call == "read" and kind == "Snapshot" and how == "finished"
    is_used = call != "check" and not is_looked_up
    wrong: list[str] = []
    for name, value, state in damaged(kind, good):
        error = ending(CALLS[call], idle, kind, id_, state)
        must_be_explained = is_used and is_known_wrong(kind, good, name, value)
        if is_badly_said(error, kind, name, must_be_explained=must_be_explained):
            shown = "missing" if value is MISSING else repr(value)
            wrong.append(f"{name}={shown}: {error[:300]}")
    assert wrong == []


def is_known_wrong(kind: str, good: dict[str, Any], name: str, value: Any) -> bool:
    """Whether a state with this value, or without it, cannot be a right one."""
    if value is not MISSING:
        return name in good and is_of_other_type(good[name], value)
    field = schema_of(kind).properties[name]
    return field.required and not field.optional


def is_explained(said: str, kind: str, name: str) -> bool:
    """Whether an error names the field, says that nothing was sent, and the way out."""
    return (
        said.startswith(f"The state of this {kind} cannot be used: ")
        and (name in said or in_camel(name) in said)
        and "Nothing was sent." in said
        and f"pulumi state delete '{NAMES[kind]}'" in said
    )


def is_badly_said(error: str, kind: str, name: str, *, must_be_explained: bool) -> bool:
    """Whether a call crashed, or failed without the explanation that it owes."""
    if any(word in error for word in ("Traceback", "Unexpected", "Exception ")):
        return True
    return must_be_explained and not is_explained(error, kind, name)


@pytest.mark.parametrize("kind", [each for each in RESOURCES if each != KIND])
def test_a_half_imported_state_is_explained(idle: Servicer, kind: str) -> None:
    for call in ("diff", "update", "delete"):
        said = ending(CALLS[call], idle, kind, ID[kind], dict(GOOD[kind]))
        assert said.startswith(f"The state of this {kind} cannot be used: "), (
            call,
            said,
        )
        assert "is missing" in said


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("kind", "how"), STATES, ids=str)
def test_damage_inside_a_field_is_explained(
    idle: Servicer, kind: str, how: str, call: str
) -> None:
    id_, good = STATES[kind, how]
    if kind == "Archive":
        earlier = {"uri": "file:///backups/1.zip", "mark": "1:1", "pinned": True}
        good = {**good, "earlier": [earlier]}
    is_used = call not in {"check", "read"}
    wrong: list[str] = []
    for name in good.keys() - schema_of(kind).inputs.properties().keys():
        for value, is_wrong in damaged_inside(good[name]):
            error = ending(CALLS[call], idle, kind, id_, {**good, name: value})
            must_be_explained = is_used and is_wrong
            if is_badly_said(error, kind, name, must_be_explained=must_be_explained):
                wrong.append(f"{name}={value!r}: {error[:300]}")
    assert wrong == []
