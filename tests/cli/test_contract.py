"""docs/contracts.md says what scripts and later versions rely on, and each release keeps to it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from pulumi_snapshots.archive.manifest import MANIFEST_FORMAT, Manifest
from pulumi_snapshots.cli.assurance.metrics import METRICS
from pulumi_snapshots.cli.commands import GROUPS
from pulumi_snapshots.cli.terminal.output import OUTPUT_FORMAT
from pulumi_snapshots.clock import ServiceClock
from pulumi_snapshots.drill.last import last_drills
from pulumi_snapshots.guard.book import GuardBook, consult
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import FORMAT as LEDGER_FORMAT
from tests.cli.typed import Desk, at_desk
from tests.support.contract import Shape, lost, observed
from tests.support.memory import Memory
from tests.support.virtual import staged
from tests.support.world import START, World, world

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "contracts.md").read_text()
RECORDED = sorted((PROJECT / "tests" / "fixtures" / "states").glob("*/formats.json"))
EXPERIMENTAL = {"probe"}
JSON_TYPES = {"list": list, "object": Mapping}


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return observed(tmp_path_factory.mktemp("contract"))


def fields_in(title: str) -> dict[str, str]:
    """The fields of a table of the page, with what it allows: one value for all, or one each."""
    section = re.split(rf"\n#+ {re.escape(title)}\n", PAGE)[1].partition("\n#")[0]
    fields: dict[str, str] = {}
    for names, values in re.findall(r"^\| (`.+?) \| (.+?) \|", section, re.MULTILINE):
        each = re.findall(r"`([^`]+)`", names)
        kinds = values.split(", ")
        fields |= dict(
            zip(each, kinds * len(each) if len(kinds) == 1 else kinds, strict=False)
        )
    assert fields, title
    return fields


def documents() -> dict[str, tuple[str, str]]:
    """The kind of document of each command, and the title of its table."""
    rows = re.findall(
        r"^\| (`[^|]+) \| (an object|a list) \| \[(\w+)\]\(", PAGE, re.MULTILINE
    )
    return {
        command: (kind, title)
        for commands, kind, title in rows
        for command in re.findall(r"`([a-z]+)`", commands)
    }


def flat(
    shape: Mapping[str, Shape], allowed: Mapping[str, str], at: str = ""
) -> dict[str, Shape]:
    """The fields of an object as the page names them, and those of a list's items."""
    found: dict[str, Shape] = {}
    for name, each in shape.items():
        found[at + name] = each
        inside = f"{at}{name}[]."
        if isinstance(each, list) and any(one.startswith(inside) for one in allowed):
            found |= flat(each[0], allowed, inside)
    return found


def is_allowed(shape: Shape, values: str) -> bool:
    return any(
        isinstance(shape, JSON_TYPES[each]) if each in JSON_TYPES else shape == each
        for each in values.split(" or ")
    )


def test_every_command_with_json_is_on_the_page() -> None:
    with_json = {
        command.name
        for group in GROUPS.values()
        for command in group
        if not isinstance(command, click.Group)
        if any("--json" in each.opts for each in command.params)
    }
    assert documents().keys() == with_json - EXPERIMENTAL


@pytest.mark.parametrize("command", documents())
def test_a_script_finds_the_fields_that_the_page_promises(
    now: dict[str, Any], command: str
) -> None:
    kind, title = documents()[command]
    document = now["json"][command]
    assert isinstance(document, list) is (kind == "a list")
    item = document[0] if kind == "a list" else document
    allowed = fields_in(title)
    fields = flat(item, allowed)
    assert set(fields) == set(allowed)
    assert {
        name: (shape, allowed[name])
        for name, shape in fields.items()
        if not is_allowed(shape, allowed[name])
    } == {}


def test_a_dashboard_finds_the_metrics_that_the_page_promises(
    now: dict[str, Any],
) -> None:
    named = re.findall(r"^\| `(squarecloud_\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(named) == now["metrics"]
    assert set(named) == {f"squarecloud_{name}" for name in METRICS}


def test_the_manifest_has_the_fields_that_the_page_promises(
    now: dict[str, Any],
) -> None:
    written = json.loads(now["manifest"])
    assert set(fields_in("The manifest")) == set(written)
    assert written["format"] == MANIFEST_FORMAT
    assert f"`{MANIFEST_FORMAT}`" in PAGE


@at_desk()
async def test_a_script_can_ask_for_the_version_of_the_contract(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError):  # nothing is left to do
        await desk.types("--version")
    assert capsys.readouterr().out.endswith(f", output format {OUTPUT_FORMAT}\n")
    assert f"*output format {OUTPUT_FORMAT}*" in PAGE


# What earlier versions have left -----------------------------------------------------------------


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.parent.name)
def test_what_a_script_could_rely_on_is_still_there(
    file: Path, now: dict[str, Any]
) -> None:
    before = json.loads(file.read_text())
    if before["output_format"] == OUTPUT_FORMAT:
        assert lost(before["json"], now["json"]) == []
        assert set(before["metrics"]) <= set(now["metrics"])
    assert before["output_format"] <= OUTPUT_FORMAT


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.parent.name)
def test_a_recorded_ledger_is_read_whole(file: Path) -> None:
    written = json.loads(file.read_text())["ledger"]
    document = json.loads(written)
    assert f'`"format": {document[LEDGER_FORMAT]}`' in PAGE

    @staged(world)  # by the clock of the recording: a month later, much is forgotten
    async def read(w: World) -> None:
        place = Memory(w.clock)
        place.data = written.encode()
        ledger = Ledger(place, ServiceClock(w.clock))
        attempts = await ledger.attempts()
        assert {each.kind for each in attempts} == {"snapshot", "restore"}
        assert len(attempts) == len(document["attempts"])
        history = await consult(ledger, GuardBook.history)
        assert len(history) == len(document["guards"]) > 0
        assert (await last_drills(ledger)).keys() == document["drills"].keys() != set()

    read()


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.parent.name)
def test_a_recorded_manifest_is_read_whole_and_one_with_more_too(file: Path) -> None:
    recorded = json.loads(file.read_text())
    written = json.loads(recorded["manifest"])
    uri = f"file:///backups/{recorded['archive']}"
    found = Manifest.parse(json.dumps(written).encode(), uri, START)
    assert found is not None
    assert json.loads(found.text) == written
    more = {**written, "field_of_a_later_version": 1}
    assert Manifest.parse(json.dumps(more).encode(), uri, START) == found


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        ({"a": "text"}, {"a": "null", "b": "bool"}, []),
        ({"a": "text"}, {}, [".a"]),
        (
            [{"a": {"b": "text"}}],
            [{"a": {"b": "number"}}],
            ["[].a.b: text is number now"],
        ),
        ({"a": ["text"]}, {"a": []}, []),
        ({"a": ["text"]}, {"a": "text"}, [".a: ['text'] is text now"]),
    ],
)
def test_a_field_that_goes_or_changes_its_type_is_noticed(
    before: Shape, after: Shape, gone: list[str]
) -> None:
    assert lost(before, after) == gone
