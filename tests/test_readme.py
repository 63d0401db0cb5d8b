"""The README says what is so: its tables name every input, output and setting, its links lead somewhere."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pulumi

import pulumi_snapshots
from pulumi_snapshots import Archive, DatabaseInfo, Restore, Snapshot, SnapshotInfo
from pulumi_snapshots.archive.inputs import DEFAULT_TIMEOUT as ARCHIVE_TIMEOUT
from pulumi_snapshots.properties.durations import duration_text
from pulumi_snapshots.restore.inputs import DEFAULT_TIMEOUT as RESTORE_TIMEOUT
from pulumi_snapshots.run import settings
from pulumi_snapshots.snapshot.calls import SnapshotCalls
from pulumi_snapshots.snapshot.inputs import DEFAULT_TIMEOUT

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text()
EXAMPLES = sorted((PROJECT / "examples").glob("*/README.md"))


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> set[str]:
    """The names in the first column of a section's table."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for cell in rows for name in re.findall(r"`([^`]+)`", cell)}


def test_a_newcomer_sees_everything_that_there_is_at_once() -> None:
    text = section("What is in it")
    resources = [
        name
        for name in pulumi_snapshots.__all__
        if isinstance(kind := getattr(pulumi_snapshots, name), type) and issubclass(kind, pulumi.Resource)
    ]
    assert resources
    assert [name for name in resources if f"[`{name}`]" not in text] == []
    assert [name for name in ("list", "create", "download", "archive", "restore", "doctor") if name not in text] == []
    assert README.index("\n## What is in it\n") < README.index("\n## See it work\n") < README.index("\n## Use it\n")


def test_a_reader_finds_every_input() -> None:
    assert first_cells(section("Inputs")) == set(SnapshotCalls.inputs)


def test_a_reader_finds_every_output() -> None:
    declared = {name for name in Snapshot.__annotations__ if not name.startswith("_")}
    assert first_cells(section("Outputs")) == declared - set(SnapshotCalls.inputs)


def test_a_reader_finds_the_right_default_timeout() -> None:
    assert f"`{duration_text(DEFAULT_TIMEOUT)}`" in section("Inputs")


def test_a_reader_finds_everything_about_an_archive() -> None:
    text = section("Archive")
    parameters = set(inspect.signature(Archive.__init__).parameters) - {"self", "resource_name", "opts"}
    outputs = {name for name in Archive.__annotations__ if not name.startswith("_")}
    assert {name for name in parameters | outputs if f"`{name}`" not in text} == set()
    assert first_cells(text) <= parameters | outputs
    assert f"`{duration_text(ARCHIVE_TIMEOUT)}`" in text


def test_a_reader_finds_everything_about_a_restore() -> None:
    text = section("Restore")
    parameters = set(inspect.signature(Restore.__init__).parameters) - {"self", "resource_name", "opts"}
    outputs = {name for name in Restore.__annotations__ if not name.startswith("_")}
    assert {name for name in parameters | outputs if f"`{name}`" not in text} == set()
    assert first_cells(text) <= parameters | outputs
    assert f"`{duration_text(RESTORE_TIMEOUT)}`" in text


LOOKUPS = [name for name in pulumi_snapshots.__all__ if name.startswith("get_") and not name.endswith("_output")]


def test_a_reader_finds_every_lookup_with_its_arguments() -> None:
    page = (PROJECT / "docs" / "lookups.md").read_text()
    for name in LOOKUPS:
        arguments = [
            one.name if one.default is one.empty else f"{one.name}={one.default}"
            for one in inspect.signature(getattr(pulumi_snapshots, name)).parameters.values()
        ]
        assert f"`{name}({', '.join(arguments)})`" in section("Look up")
        assert f"`{name}({', '.join(arguments)})`" in page
        assert f"`{name}_output`" in page
        twin = inspect.signature(getattr(pulumi_snapshots, f"{name}_output")).parameters.values()
        assert [(one.name, one.default) for one in twin] == [
            (one.name, one.default) for one in inspect.signature(getattr(pulumi_snapshots, name)).parameters.values()
        ]
    for field in dataclasses.fields(DatabaseInfo):
        assert f"`{field.name}`" in section("Look up")


def test_a_lookups_snapshot_has_every_output_of_the_resource() -> None:
    outputs = {name for name in Snapshot.__annotations__ if not name.startswith("_")} - set(SnapshotCalls.inputs) | {
        "database_id"
    }
    assert {
        name for name in outputs if name not in SnapshotInfo.__dataclass_fields__ and not hasattr(SnapshotInfo, name)
    } == set()


def test_a_reader_finds_every_setting() -> None:
    page = (PROJECT / "docs" / "settings.md").read_text()
    for config_key, variable in settings.SOURCES.values():
        assert f"`{config_key}`" in page
        assert f"`{variable}`" in page
    for default in (
        str(settings.REQUESTS_PER_MINUTE),
        duration_text(settings.FIRST_LOOK_AFTER),
        duration_text(settings.LOOK_EVERY),
        duration_text(settings.BLOCK_WAIT),
        duration_text(settings.RESTORE_SETTLE),
    ):
        assert f"| `{default}` |" in page


def test_a_reader_finds_every_example() -> None:
    listed = re.findall(r"^\| \[`examples/([\w-]+)`\]\(examples/\1/README\.md\) \|", section("Examples"), re.MULTILINE)
    assert sorted(listed) == [page.parent.name for page in EXAMPLES]
    for page in EXAMPLES:
        assert (page.parent / "Pulumi.yaml").is_file()
