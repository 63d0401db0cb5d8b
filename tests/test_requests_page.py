"""docs/dev/requests.md: its table has the rows of the code, and its walks name functions that there are."""

import ast
import functools
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import pulumi_snapshots
from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.ledger.decision import TABLE, Wish
from pulumi_snapshots.run.memory import RunMemory

PAGE = (Path(__file__).parents[1] / "docs" / "dev" / "requests.md").read_text()
ROOMS = sorted(
    each.parent.name
    for each in Path(pulumi_snapshots.__path__[0]).glob("*/__init__.py")
)
PATHS = sorted(set(re.findall(rf"`((?:{'|'.join(ROOMS)})\.[\w.]+)`", PAGE)))
"""The functions and classes that the page names, below the package."""
WALKS = dict(
    re.findall(r"^### (.+)\n\n(.*?)(?=^### |\Z)", PAGE, re.MULTILINE | re.DOTALL)
)
STEPS = 12


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the rows of the first table below a heading."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines[2:]]


def named(path: str) -> Any:
    """What a dotted path names, below the package."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        name = ".".join(["pulumi_snapshots", *parts[:count]])
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            continue
        return functools.reduce(getattr, parts[count:], module)
    raise ModuleNotFoundError(path)


def test_the_table_of_decisions_has_the_rows_of_the_code() -> None:
    rows = [(row[0], row[-1].strip("`")) for row in rows_of("The table")]
    for kind, functions in TABLE.items():
        on_page = dict.fromkeys(name for of, name in rows if of == kind)
        assert list(on_page) == [each.__name__ for each in functions]
    assert {kind for kind, _ in rows} == set(TABLE)


def test_each_fact_is_a_field_that_there_is() -> None:
    owners = {
        "Wish": Wish.__dataclass_fields__,
        "Attempt": Attempt.properties(),
        "RunMemory": vars(RunMemory),
    }
    facts = [row[0].strip("`").split(".") for row in rows_of("The facts")]
    assert len(facts) <= 7
    assert [(owner, name) for owner, name in facts if name not in owners[owner]] == []


def replaced_fields() -> dict[str, set[str]]:
    """The fields that a `replace` anywhere in the package changes, with the modules that do."""
    root = Path(pulumi_snapshots.__path__[0])
    found: dict[str, set[str]] = {}
    for file in root.rglob("*.py"):
        module = ".".join(file.relative_to(root).with_suffix("").parts)
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) != "replace":
                continue
            for each in node.keywords:
                found.setdefault(each.arg or "", set()).add(module)
    return found


@pytest.mark.parametrize("row", rows_of("The facts"), ids=lambda row: row[0].strip("`"))
def test_each_fact_has_one_owner(row: list[str]) -> None:
    """`RunMemory` shows its facts only to read; what is replaced elsewhere is no fact of others."""
    fact, _, owner, _ = row
    (path,) = [each for each in PATHS if f"`{each}`" in owner.partition("(")[0]]
    assert isinstance(named(path), type) or callable(named(path))
    name = fact.strip("`").rpartition(".")[2]
    writes = replaced_fields().get(name, set())
    # `joined` makes one attempt of two views and writes neither's; `forced` is a claim's from then.
    writes -= {"ledger.attempt", "ledger.decision"}
    assert all(path.startswith(f"{module}.") for module in writes), writes
    if path == "run.memory.RunMemory":
        assert isinstance(vars(RunMemory)[name], property)


@pytest.mark.parametrize("path", PATHS)
def test_what_the_page_names_is_there(path: str) -> None:
    assert named(path) is not None


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_has_twelve_steps_each_with_a_name(walk: str) -> None:
    steps = re.split(r"^\d+\. ", WALKS[walk], flags=re.MULTILINE)[1:]
    assert len(steps) == STEPS
    assert [
        step for step in steps if not any(f"`{path}`" in step for path in PATHS)
    ] == []
