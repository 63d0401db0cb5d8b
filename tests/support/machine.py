"""What the machine that runs the tests has."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from tools.engine import Closed

Found = TypeVar("Found")


def had(find: Callable[[], Found]) -> Found:
    """What this machine has or can make; without it the test is skipped with the reason."""
    try:
        return find()
    except Closed as reason:
        pytest.skip(f"not tested: {reason}")
