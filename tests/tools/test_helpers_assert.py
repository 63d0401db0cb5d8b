"""The assertions of helpers print their values too, so that a story that fails says the move and the numbers."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from _pytest.assertion.rewrite import AssertionRewritingHook

TESTS = Path(__file__).resolve().parents[1]
HELPERS = sorted(
    ".".join(("tests", *path.relative_to(TESTS).with_suffix("").parts))
    for path in TESTS.rglob("*.py")
    if path.name not in {"conftest.py", "__init__.py"}
    and not path.name.startswith("test_")
    and re.search(r"^ +assert ", path.read_text(), re.MULTILINE)
)
"""Modules without tests that hold assertions."""


@pytest.mark.parametrize("module", HELPERS)
def test_the_assertions_of_a_helper_are_rewritten(module: str) -> None:
    spec = find_spec(module)  # to import one may run its program
    assert spec is not None
    assert isinstance(spec.loader, AssertionRewritingHook)
