"""What the tests of all resources need to know of one, as its own test says it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

RESTORE_ATTEMPT = {
    "posted_at": "2026-03-01T12:00:00Z",
    "id": "5d0c",
    "answered": "200",
    "timeout": 900.0,
}
"""The request of a restore that is not finished, as a state has it."""


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
