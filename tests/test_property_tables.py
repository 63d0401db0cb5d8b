"""The tables of the pages: each resource, lookup and setting has its properties on its page, as its classes have them."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import pulumi_snapshots
from pulumi_snapshots import Archive, DatabaseInfo, Drill, Restore, Snapshot, SnapshotInfo
from pulumi_snapshots.archive.inputs import DEFAULT_TIMEOUT as ARCHIVE_TIMEOUT
from pulumi_snapshots.drill.check import Check, CheckResult
from pulumi_snapshots.drill.inputs import DEFAULT_TIMEOUT as DRILL_TIMEOUT
from pulumi_snapshots.plugin.description.package import FUNCTIONS, KINDS, Function, Kind
from pulumi_snapshots.properties.durations import duration_text
from pulumi_snapshots.restore.inputs import DEFAULT_TIMEOUT as RESTORE_TIMEOUT
from pulumi_snapshots.run import settings
from pulumi_snapshots.snapshot.inputs import DEFAULT_TIMEOUT
from pulumi_snapshots.snapshot.record import SNAPSHOT
from tests.support.property_tables import TABLES, made, tables_in

DOCS = Path(__file__).resolve().parent.parent / "docs"


PAGES = sorted(DOCS.rglob("*.md"))
TABLES_OF_PAGES = [(page, name) for page in PAGES for name in tables_in(page)]


def text_of(page: str) -> str:
    return (DOCS / page).read_text()


def section(page: str, title: str) -> str:
    return text_of(page).split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> set[str]:
    """The names in the first column of a section's table."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for cell in rows for name in re.findall(r"`([^`]+)`", cell)}


def shown(class_: type) -> set[str]:
    declaration = next((base for base in class_.__mro__ if "schema" in base.__dict__), class_)
    return {name for name in declaration.__annotations__ if not name.startswith("_")}


def parameters(class_: Any) -> set[str]:
    return set(inspect.signature(class_.__init__).parameters) - {"self", "resource_name", "opts"}


def test_every_table_stands_on_one_page() -> None:
    used = [name for _, name in TABLES_OF_PAGES]
    assert len(used) == len(set(used)) == "".join(page.read_text() for page in PAGES).count("<!-- table: ")
    # One argument, or nearly those of another lookup, need no table of their own.
    assert set(TABLES) - set(used) == {
        f"get_{name} arguments" for name in ("database", "databases", "download_url", "latest_snapshot")
    }


@pytest.mark.parametrize(("page", "name"), TABLES_OF_PAGES, ids=lambda value: str(getattr(value, "stem", value)))
def test_a_table_says_what_the_classes_say(page: Path, name: str) -> None:
    right = made(name)
    assert tables_in(page)[name] == right, f"`python -m tests.support.property_tables` writes this:\n\n{right}"


def test_a_reader_finds_every_input() -> None:
    assert first_cells(section("snapshot.md", "Inputs")) == set(SNAPSHOT.inputs.properties()) == parameters(Snapshot)


def test_a_reader_finds_every_output() -> None:
    assert first_cells(section("snapshot.md", "Outputs")) >= shown(Snapshot) - {"triggers"}


def test_a_reader_finds_the_right_default_timeout() -> None:
    assert f"`{duration_text(DEFAULT_TIMEOUT)}`" in section("snapshot.md", "Inputs")


@pytest.mark.parametrize(
    ("page", "class_", "timeout"),
    [
        ("archive.md", Archive, ARCHIVE_TIMEOUT),
        ("restore.md", Restore, RESTORE_TIMEOUT),
        ("drill.md", Drill, DRILL_TIMEOUT),
    ],
)
def test_a_reader_finds_everything_about_an_archive_or_a_restore(page: str, class_: type, timeout: float) -> None:
    inputs, outputs = section(page, "Inputs"), section(page, "Outputs")
    assert {name for name in parameters(class_) if f"`{name}`" not in inputs and name != "snapshot"} == set()
    assert "(name, snapshot)`" in inputs
    assert {name for name in shown(class_) if f"`{name}`" not in inputs + outputs} == set()
    assert first_cells(outputs) <= shown(class_)
    assert f"`{duration_text(timeout)}`" in inputs


def test_a_reader_finds_every_kind_of_check_and_what_it_may_expect() -> None:
    checks, results = section("drill.md", "Inputs"), section("drill.md", "Results")
    for name in Check.properties():
        assert f"| `{name}` |" in checks
    assert "| `equals` | any |" in checks
    assert first_cells(results) == set(CheckResult.properties())


LOOKUPS = [name for name in pulumi_snapshots.__all__ if name.startswith("get_") and not name.endswith("_output")]


def test_a_reader_finds_every_lookup_with_its_arguments() -> None:
    page = text_of("lookups.md")
    for name in LOOKUPS:
        arguments = [
            one.name if one.default is one.empty else f"{one.name}={one.default}"
            for one in inspect.signature(getattr(pulumi_snapshots, name)).parameters.values()
        ]
        assert f"`{name}({', '.join(arguments)})`" in page
        assert f"`{name}_output`" in page
        twin = inspect.signature(getattr(pulumi_snapshots, f"{name}_output")).parameters.values()
        assert [(one.name, one.default) for one in twin] == [
            (one.name, one.default) for one in inspect.signature(getattr(pulumi_snapshots, name)).parameters.values()
        ]
    for field in DatabaseInfo.properties():
        assert f"| `{field}` |" in page
    outputs = section("snapshot.md", "Outputs")  # which the page says that a lookup's snapshot has, and its id
    for field in SnapshotInfo.properties():
        assert f"| `{field}` |" in outputs or f"as `{field}`\n" in page


def test_a_lookups_snapshot_has_every_output_of_the_resource() -> None:
    outputs = shown(Snapshot) - set(SNAPSHOT.inputs.properties()) | {"database_id"}
    assert {
        name for name in outputs if name not in SnapshotInfo.__dataclass_fields__ and not hasattr(SnapshotInfo, name)
    } == set()


def test_a_reader_finds_every_setting() -> None:
    page = text_of("settings.md")
    for name in settings.Settings.properties():
        assert f"`{settings.config_key(name)}`" in page
        assert f"`{settings.variable(name)}`" in page
    for default in (
        str(settings.REQUESTS_PER_MINUTE),
        duration_text(settings.FIRST_POLL_AFTER),
        duration_text(settings.POLL_EVERY),
        duration_text(settings.BLOCK_WAIT),
        duration_text(settings.RESTORE_SETTLE),
    ):
        assert f"| `{default}` |" in page


# The plugin's page


def test_the_page_tells_every_resource_function_and_setting() -> None:
    page = text_of("plugin.md")
    for token in (*KINDS, *FUNCTIONS):
        assert f"`{token.rpartition(':')[2]}`" in page, token
    for each in settings.Settings.properties().values():
        assert f"`{each.camel}`" in page, each.name


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.schema.name)
def test_the_pages_table_has_exactly_the_properties(kind: Kind) -> None:
    inputs, outputs = _row(kind.schema.name)
    given = kind.schema.inputs.properties()
    referring = ["snapshot"] if kind.schema.name != "Snapshot" else []
    assert sorted(inputs) == sorted([*referring, *(each.camel for each in given.values())])
    assert sorted(outputs) == sorted(each.camel for name, each in kind.schema.outputs.items() if name not in given)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: function.lookup.function)
def test_the_pages_table_has_exactly_the_arguments(function: Function) -> None:
    arguments, _ = _row(function.token.rpartition(":")[2])
    assert arguments == [each.camel for each in function.lookup.query.properties().values()]


def _row(name: str) -> tuple[list[str], list[str]]:
    """The names in the second and third column of the row that begins with this one."""
    (row,) = re.findall(rf"^\| `{name}` \| (.*) \| (.*) \|$", text_of("plugin.md"), re.MULTILINE)
    return re.findall(r"`(\w+)`", row[0]), re.findall(r"`(\w+)`", row[1])
