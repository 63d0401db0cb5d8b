"""What the machine that runs the tests has, and what it may lack."""

import re
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar

import pytest

from tools.engine import Closed

Found = TypeVar("Found")
MAY_LACK = "TESTS_MAY_LACK"
"""The variable that names what a machine cannot have. Where it is set, as in continuous
integration, every other skipped test is a failure."""
_WITHOUT = re.compile(r"not tested without (?P<name>\S+): ")


def had(name: str, find: Callable[[], Found]) -> Found:
    """What this machine has or can make; without it the test is skipped.

    Args:
        name: What it is called in `TESTS_MAY_LACK`.
        find: Returns it, or raises `Closed`.
    """
    try:
        return find()
    except Closed as reason:
        lacks(name, str(reason))


def lacks(name: str, reason: str) -> NoReturn:
    """Skip the test, since this machine lacks something."""
    pytest.skip(without(name, reason))


def without(name: str, reason: str) -> str:
    """The reason for which a test is skipped."""
    return f"not tested without {name}: {reason}"


def refusal(skipped: str, environment: Mapping[str, str]) -> str | None:
    """Why a skipped test is a failure here; None if it may be skipped.

    Args:
        skipped: The reason with which it was skipped.
        environment: May have `TESTS_MAY_LACK`.
    """
    if MAY_LACK not in environment:
        return None
    lacking = _WITHOUT.match(skipped)
    if lacking is None:
        return f"skipped, and not for something that this machine lacks: {skipped}"
    if lacking["name"] in environment[MAY_LACK].split():
        return None
    return f"{skipped}\nIf this machine cannot have it, add its name to {MAY_LACK}."
