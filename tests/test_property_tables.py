"""The tables of the pages: each resource, lookup and setting has its properties on its page, as its classes have them."""

import inspect
from pathlib import Path

import pytest

import pulumi_snapshots
from pulumi_snapshots import DatabaseInfo, SnapshotInfo
from pulumi_snapshots.plugin.description.package import RESOURCE_KINDS
from pulumi_snapshots.resources import room_of
from pulumi_snapshots.snapshot.record import SNAPSHOT
from tests.support.property_tables import (
    LINKS,
    NAVIGATION,
    SCOPES_OF_RESOURCES,
    TABLES,
    made,
    tables_in,
    written,
)
from tools import registry

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted({*DOCS.rglob("*.md")} - {*registry.files()})
TABLES_OF_PAGES = [(page, name) for page in PAGES for name in tables_in(page)]
OF_SNAPSHOTS = [room_of(kind.name) for kind in RESOURCE_KINDS.values() if kind.refers]
LOOKUPS = [
    name
    for name in dir(pulumi_snapshots)
    if name.startswith("get_") and not name.endswith("_output")
]


def test_every_table_stands_on_one_page() -> None:
    used = [name for _, name in TABLES_OF_PAGES]
    assert (
        len(used)
        == len(set(used))
        == "".join(page.read_text() for page in PAGES).count("<!-- table: ")
    )
    # One argument, or nearly those of another lookup, need no table of their own.
    assert set(TABLES) - set(used) == {
        f"get_{name} arguments"
        for name in ("database", "databases", "download_url", "latest_snapshot")
    }


@pytest.mark.parametrize(
    ("page", "name"),
    TABLES_OF_PAGES,
    ids=lambda value: str(getattr(value, "stem", value)),
)
def test_a_table_says_what_the_classes_say(page: Path, name: str) -> None:
    right = made(name)
    assert tables_in(page)[name] == right, f"`make generated` writes this:\n\n{right}"


def test_every_page_says_what_the_definitions_say() -> None:
    readme = DOCS.parent / "README.md"
    pages = [readme, *PAGES]
    stale = [str(page) for page in pages if written(page) != page.read_text()]
    assert stale == [], "`make generated` writes them"
    assert LINKS.search((DOCS / "index.md").read_text())
    assert NAVIGATION.search((DOCS / "index.md").read_text())
    assert SCOPES_OF_RESOURCES.search((DOCS / "howto" / "api-key.md").read_text())


@pytest.mark.parametrize("page", [f"{room}.md" for room in OF_SNAPSHOTS])
def test_a_reader_finds_what_stands_for_a_snapshot(page: str) -> None:
    assert (
        "(name, snapshot)`" in (DOCS / page).read_text().partition("\n## Inputs\n")[2]
    )


@pytest.mark.parametrize("name", LOOKUPS)
def test_a_lookup_for_outputs_takes_the_same_arguments(name: str) -> None:
    plain, output = (
        [
            (one.name, one.default)
            for one in inspect.signature(
                getattr(pulumi_snapshots, each)
            ).parameters.values()
        ]
        for each in (name, f"{name}_output")
    )
    assert plain == output


def test_a_reader_finds_what_a_lookup_brings() -> None:
    page = (DOCS / "lookups.md").read_text()
    assert [
        field for field in DatabaseInfo.properties() if f"| `{field}` |" not in page
    ] == []
    # A lookup's snapshot has the outputs of the resource, as the page says, and its id.
    outputs = SNAPSHOT.outputs.keys() - SNAPSHOT.inputs.properties().keys() | {
        "database_id"
    }
    assert outputs <= {*SnapshotInfo.properties(), "requested_at", "attempt"}
    assert [
        name
        for name in SnapshotInfo.properties()
        if name not in outputs
        and f"an `{name}` of the form" not in " ".join(page.split())
    ] == []
