"""What the tests of all resources need to know of each: `tests/ROOM/test_ROOM.py` says it in its `EXAMPLE`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pulumi_snapshots.resources import RESOURCES


@dataclass(frozen=True)
class Example:
    """A resource as a program declares it, and as a state has it; all by the names of Python."""

    good: dict[str, Any]
    """Inputs that nothing is wrong with."""
    state: dict[str, Any]
    """What a state has of it once it is finished."""
    id: str
    uses: Callable[[Any], Awaitable[object]]
    """Makes one with an API key of some scopes: gets the `At` of `tests/test_scopes.py`."""
    recorded: str
    """Its part of the program whose states `make states` records; `provider` is the package."""
    pending: dict[str, Any] | None = None
    """What a state has of it while a request is not finished; None if it sends none."""
    pending_id: str = ""
    """Its id then, if that is another one."""
    recorded_from: int = 0
    """The step of that program from which on it is there."""


def example_of(where: str) -> Example | None:
    """The example of the resource that is defined there; None if its test has none."""
    room = where.partition(":")[0].partition(".")[0]
    if find_spec(f"tests.{room}") is None:
        return None
    module = f"tests.{room}.test_{room}"
    if find_spec(module) is None:
        return None
    found: Example | None = getattr(import_module(module), "EXAMPLE", None)
    return found


EXAMPLES = {
    name: found
    for name, where in RESOURCES.items()
    if (found := example_of(where)) is not None
}
"""`tests/test_resources.py` says which resource has none."""
