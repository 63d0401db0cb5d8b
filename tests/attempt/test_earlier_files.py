"""Files that an earlier version has left on the disk or in a shared place: previews are empty, a killed run is resumed."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pulumi.runtime.proto import provider_pb2

from pulumi_snapshots.attempt.journal import Entry, Found
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.clock import Clock, parse_rfc3339
from pulumi_snapshots.emulator import Emulator, EmulatorSettings
from tests.dynamic.test_stored_states import handed
from tests.support.earlier import STATES, VERSIONS, moved, read, without_state
from tests.support.inside import WAYS, Computer, run_inside
from tests.support.shared_places import Place
from tests.support.world import START

if TYPE_CHECKING:
    from datetime import datetime

    from tests.support.inside import Provider

FOLDER = Path("/state/pulumi-snapshots")
DIFF = provider_pb2.DiffResponse
LEFT = [
    (version, way, where)
    for version in VERSIONS
    for way in WAYS
    for where in ("disk", "shared")
    if any((STATES / version / way / where).rglob("*.json"))
]


def files(version: str, way: str, where: str) -> dict[str, str]:
    """The content of each file by its name."""
    found = (STATES / version / way / where).rglob("*.json")
    return {file.name: file.read_text() for file in found}


def journal(version: str, way: str, where: str) -> list[dict[str, Any]]:
    (name,) = (name for name in files(version, way, where) if name.endswith(".attempts.json"))
    return list(json.loads(files(version, way, where)[name])["attempts"])


def provider(version: str, way: str, where: str, recorded: datetime, **service: Any) -> Provider:
    """A provider of today on the machine of that version, some time after that has written the files."""
    settings = read(version, way, "settings.json")
    url = settings["api_url"].removesuffix("/v2")
    emulator = Emulator(EmulatorSettings(api_key=settings["api_key"], **service), clock=Clock(START), base_url=url)
    computer = Computer("laptop", emulator, FOLDER)
    left = {name: moved(content, recorded) for name, content in files(version, way, where).items()}
    if where == "disk":
        computer.files = {FOLDER / name: content for name, content in left.items()}
    else:
        computer.place = Place(Clock(START))
        for name, content in left.items():
            computer.place.put(name, content.encode())
    config = {f"squarecloud:{name}": settings[key] for name, key in (("apiKey", "api_key"), ("apiUrl", "api_url"))}
    return WAYS[way](computer, computer.new_name("engine"), (), config)


@pytest.mark.parametrize(("version", "way", "where"), LEFT)
def test_no_entry_of_an_earlier_version_is_unreadable(version: str, way: str, where: str) -> None:
    for name, content in files(version, way, where).items():
        parts = json.loads(content)
        for kind in (Entry, Found):
            entries = parts.get({Entry: "attempts", Found: "found"}[kind], [])
            assert all(kind.from_file(each) for each in entries), name
        if name.endswith(".attempts.json"):
            assert without_state(parts["attempts"])


@pytest.mark.parametrize(("version", "way", "where"), LEFT)
def test_what_an_earlier_version_was_killed_over_is_resumed(version: str, way: str, where: str) -> None:
    """One killed run left its POST on the disk, and one in the shared place."""
    left = without_state(journal(version, way, where))[-1]
    database, post = left["database_id"], Post.from_outputs(left["attempt"])
    recorded, name = post.posted_at + timedelta(seconds=60), left["owner"].rpartition("::")[2]
    triggers = {"killed": ["a", "b"], "shared": []}[name]

    async def body() -> None:
        offset = post.service_clock_offset or 0.0
        here = provider(version, way, where, recorded, clock_offset_seconds=offset)
        emulator = here.computer.emulator
        emulator.add_database(database)
        taken = emulator.add_snapshot(database, modified=START + timedelta(seconds=offset - 30))
        type_ = {"dynamic": "pulumi-python:dynamic/squarecloud:Snapshot", "plugin": "squarecloud:index:Snapshot"}[way]
        inputs = {"database_id": database, "triggers": triggers}
        made = await here.call("Snapshot", "create", f"urn:pulumi:dev::app::{type_}::{name}", inputs)
        assert made.id == f"{database}/{taken.version_id}"
        assert [entry.kind for entry in emulator.journal if entry.kind == "create"] == []

    run_inside(body)


@pytest.mark.parametrize(("version", "way"), [(version, way) for version in VERSIONS for way in WAYS])
def test_a_stack_of_an_earlier_version_previews_empty_beside_its_files(version: str, way: str) -> None:
    recorded = parse_rfc3339(journal(version, way, "disk")[-1]["attempt"]["posted_at"]) + timedelta(minutes=10)
    stored = json.loads(moved(json.dumps(read(version, f"{way}.json")), recorded))

    async def body() -> None:
        here = provider(version, way, "disk", recorded)
        for one in stored:
            kind = one["urn"].split("::")[2].rpartition(":")[2]
            inputs, outputs = handed(way, one["inputs"]), handed(way, one["outputs"])
            check = provider_pb2.CheckRequest(urn=one["urn"], olds=inputs, news=inputs)
            checked = await here.call(kind, "_call", "Check", check)
            assert not checked.failures
            diff = provider_pb2.DiffRequest(
                urn=one["urn"], id=one["id"], olds=outputs, old_inputs=inputs, news=checked.inputs
            )
            compared = await here.call(kind, "_call", "Diff", diff)
            assert not compared.replaces, one["urn"]
            pending = "attempt" in one["outputs"]
            assert compared.changes == (DIFF.DIFF_SOME if pending else DIFF.DIFF_NONE), one["urn"]
        assert here.warnings == []
        assert here.computer.emulator.journal == []

    run_inside(body)


def test_the_times_of_what_is_recorded_move_together() -> None:
    recorded = parse_rfc3339("2026-11-27T01:00:00Z")
    text = '{"at": "2026-11-27T01:00:30.500Z", "lease": 1795741201.5, "size": 1795741201}'
    assert moved(text, recorded) == '{"at": "2026-03-01T12:00:30.500Z", "lease": 1772366401.5, "size": 1795741201}'
