"""What the tests of all resources need to know of each: `tests/ROOM/test_ROOM.py` says it in its `EXAMPLE`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pulumi_snapshots.resources import RESOURCES, room_of


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


def module_of(name: str) -> str:
    """The module with the example of a resource."""
    return f"tests.{room_of(name)}.test_{room_of(name)}"


def example_of(name: str) -> Example:
    found: Example = import_module(module_of(name)).EXAMPLE
    return found


EXAMPLES = {name: example_of(name) for name in RESOURCES}
