"""What the tests of all resources need to know of each: `tests/ROOM/test_ROOM.py` says it in its `EXAMPLE`.

These tests import `tests.support.example`, never this module, which imports them.
"""

from importlib import import_module
from importlib.util import find_spec

from pulumi_snapshots.resources import RESOURCES
from tests.support.example import Example


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
