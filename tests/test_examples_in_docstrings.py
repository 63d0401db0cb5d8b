"""Tests of the examples in docstrings: what they show is what the code does."""

import ast
import asyncio
import inspect
from datetime import UTC, datetime, timedelta
from doctest import DocTestParser
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pulumi_snapshots.archive.record import StoredObject
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.ledger.attempt import Attempt, Request, Status
from pulumi_snapshots.ledger.decision import Wish
from pulumi_snapshots.listing.poll_table import (
    PendingGroup,
    PolledSnapshot,
    PollSettings,
)
from pulumi_snapshots.service.models import ListedSnapshot
from tests.support.memory import Memory

PACKAGE = Path(__file__).parents[1] / "pulumi_snapshots"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WISH = Wish("snapshot", "shop::dev::before", "d1", "v1", 1200.0, id="ours")
REQUEST = Request(NOW - timedelta(minutes=1), "202", 1200.0, "r1")
SENT = WISH.attempt_of(REQUEST, Status.ACCEPTED)


def listed(version: str, origin: str) -> ListedSnapshot:
    taken_at = REQUEST.posted_at + timedelta(seconds=30)
    return ListedSnapshot(
        name="shop",
        size=1,
        modified=taken_at,
        version_id=version,
        origin=origin,
    )


def of_another_stack(attempt: Attempt) -> Attempt:
    values = attempt.to_outputs() | {"owner": "shop::prod::before"}
    return Attempt.from_outputs(values)


PENDING = PolledSnapshot(began=1000.0, answered=1000.0)

GIVEN: dict[str, dict[str, Any]] = {
    "Attempt.joined": {"claim": WISH.attempt_of(REQUEST, Status.CLAIMED)},
    "Place.edit": {"place": Memory(Clock(NOW))},
    "decide": {
        "wish": WISH,
        "now": NOW,
        "sent_by_earlier_run": SENT,
        "sent_by_another_stack": of_another_stack(SENT),
    },
    "find_match": {
        "request": REQUEST,
        "automatic": listed("v1", "automatic"),
        "of_request": listed("v2", "manual"),
    },
    "kept_by": {"datetime": datetime, "UTC": UTC},
    "kept_of": {
        "newest": StoredObject("b", "2", "2026-03-02T00:00:00Z"),
        "older": StoredObject("a", "1", "2026-03-01T00:00:00Z"),
    },
    "next_poll": {
        "snapshot": PENDING,
        "group": PendingGroup((PENDING,)),
        "settings": PollSettings(first_after=45.0, every=30.0),
    },
}
"""The names that an example uses beside those of its module."""


def examples() -> list[Any]:
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text())
        path = file.relative_to(PACKAGE.parent).with_suffix("")
        module = ".".join(path.parts).removesuffix(".__init__")
        owners: list[tuple[ast.Module | ast.ClassDef, str]] = [(tree, "")]
        owners += [
            (node, f"{node.name}.")
            for node in tree.body
            if isinstance(node, ast.ClassDef)
        ]
        for owner, prefix in owners:
            for node in owner.body:
                if isinstance(
                    node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
                ):
                    text = ast.get_docstring(node) or ""
                    if ">>>" in text:
                        name = f"{prefix}{node.name}"
                        found.append(pytest.param(module, name, text, id=name))
    return found


async def result_of(source: str, names: dict[str, Any]) -> str:
    """Run the source of an example; return what the interactive interpreter would print."""
    try:
        code = compile(source, "example", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:
        exec(source, names)  # noqa: S102  it is ours
        return ""
    result = eval(code, names)  # noqa: S307  it is ours
    if inspect.isawaitable(result):
        result = await result
    return f"{result!r}\n"


def printed(want: str, names: dict[str, Any]) -> str:
    """Return what the interpreter prints for a result that an example writes with names."""
    try:
        return f"{eval(want, names)!r}\n" if want.strip() else want  # noqa: S307  it is ours
    except SyntaxError:
        return want


@pytest.mark.parametrize(("module", "name", "text"), examples())
def test_an_example_shows_what_the_code_does(module: str, name: str, text: str) -> None:
    names = {**vars(import_module(module)), **GIVEN.get(name, {})}

    async def run() -> None:
        for each in DocTestParser().get_examples(text):
            result = await result_of(each.source, names)
            assert result == printed(each.want, names), each.source

    asyncio.run(run())
