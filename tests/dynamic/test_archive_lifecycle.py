"""Every call that the engine makes for an Archive, in the SDK's own provider process: emulated service, real files."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.dynamic.conftest import NAMES, Place, Serve
from tests.support.servicer import NO_KEY, Answer, Servicer, failure
from tools.sandbox import Service

KIND, NAME = "Archive", NAMES["Archive"]
PACE: dict[str, str] = {}
SERVICE = ()
SIZE = 3_000_000


def path_of(outputs: dict[str, Any]) -> Path:
    return Path(unquote(urlsplit(outputs["uri"]).path))


@dataclass
class Shelf:
    """A place's database, and a folder for its archives."""

    emulator: Service
    servicer: Servicer
    database: str
    folder: Path

    def inputs(self, **wishes: Any) -> dict[str, Any]:
        """What a new Snapshot gives to an Archive, and what else it is given."""
        self.emulator.control("clock", {"advance": 3600})
        stored = self.emulator.control("snapshots", {"database_id": self.database, "size": SIZE})
        address = f"{self.emulator.api}/databases/{self.database}/snapshots"
        request = urllib.request.Request(address, headers={"Authorization": self.emulator.key})  # noqa: S310  http to this machine
        with urllib.request.urlopen(request) as response:  # noqa: S310
            entries = json.loads(response.read())["response"]
        (url,) = [entry["url"] for entry in entries if f"versionId={stored['version_id']}" in entry["url"]]
        given = {"database_id": self.database, "version_id": stored["version_id"], "size": stored["size"]}
        given |= {"download_url": url, "created_at": stored["modified"]}
        return {**given, "destination": f"{self.folder}/", **wishes}

    def create(self, inputs: dict[str, Any]) -> Answer:
        return self.servicer.create(NAME, inputs)


@pytest.fixture
def shelf(place: Place, tmp_path: Path) -> Shelf:
    return Shelf(place.emulator, place.servicer, place.database, tmp_path / "archives")


def refused(call: Any, *arguments: Any) -> str:
    """The text with which a call fails, which opens nothing."""
    failed = failure(call, *arguments)
    assert failed.kept is None
    assert "Signature=" not in failed.message
    return failed.message


def test_create_gives_a_verified_file_and_no_open_url(place: Place, shelf: Shelf) -> None:
    source = shelf.inputs(keep_last=2)
    answer = shelf.create(source)
    outputs, path = answer.outputs, path_of(answer.outputs)
    content = path.read_bytes()
    assert answer.id == outputs["uri"] == path.as_uri()
    assert path.parent == shelf.folder / shelf.database
    assert path.name.endswith(f"Z-{source['version_id']}.zip")
    assert len(content) == outputs["size"] == source["size"]
    assert outputs["sha256"] == sha256(content).hexdigest()
    assert (outputs["database_id"], outputs["version_id"]) == (shelf.database, source["version_id"])
    assert (outputs["destination"], outputs["keep_last"]) == (f"{shelf.folder}/", 2)
    assert "download_url" not in outputs
    assert [each["kind"] for each in place.requests()].count("download") == 1
    assert shelf.servicer.progress(NAME)[-1] == f"archived {SIZE / 1e6:.1f} MB to {path_of(outputs)}"
    shown = [message.text for message in shelf.servicer.messages] + shelf.servicer.printed
    assert not [text for text in [*shown, str(outputs)] if shelf.emulator.key in text or "Signature" in text]


def test_a_url_alone_needs_no_key_and_an_id_alone_does(serve: Serve, shelf: Shelf) -> None:
    source = shelf.inputs()
    with serve(env=NO_KEY) as keyless:
        answer = keyless.create(
            NAME, {"download_url": source["download_url"], "destination": str(shelf.folder / "x.zip")}
        )
        assert answer.outputs["database_id"] == shelf.database
        assert path_of(answer.outputs) == shelf.folder / "x.zip"
        ids = {name: source[name] for name in ("database_id", "version_id", "destination")}
        told = refused(keyless.create, NAME, ids)
        assert "no API key is set, so its download URL cannot be looked up" in told
    assert shelf.create(ids).outputs["sha256"] == answer.outputs["sha256"]


def test_a_lost_or_altered_object_is_archived_again(shelf: Shelf) -> None:
    inputs = shelf.inputs()
    created = shelf.create(inputs)
    same = shelf.servicer.read(NAME, created.id, created.outputs, inputs)
    assert (same.id, same.outputs) == (created.id, created.outputs)
    path_of(created.outputs).write_bytes(b"x")
    altered = shelf.servicer.read(NAME, created.id, created.outputs, inputs)
    assert altered.outputs["lost"] == "altered"
    path_of(created.outputs).unlink()
    missing = shelf.servicer.read(NAME, created.id, created.outputs, inputs)
    assert missing.id == created.id
    assert missing.outputs["lost"] == "missing"
    assert shelf.servicer.diagnostics(NAME, "WARNING")[-1].endswith("is missing. The next `pulumi up` archives again.")
    assert shelf.servicer.diff(NAME, created.id, missing.outputs, inputs).changes
    assert shelf.servicer.progress(NAME)[-1] == f"{path_of(created.outputs)} is missing: to be archived again"
    again = shelf.servicer.update(NAME, created.id, missing.outputs, inputs)
    assert "lost" not in again.outputs
    assert {again.outputs[name] for name in ("uri", "sha256")} == {created.outputs[name] for name in ("uri", "sha256")}
    assert path_of(again.outputs).stat().st_size == SIZE


def test_a_delete_keeps_the_object_unless_told_otherwise(serve: Serve, shelf: Shelf) -> None:
    created = shelf.create(shelf.inputs())
    with serve(env=NO_KEY, config={"squarecloud:lookEvery": "never"}) as idle:
        idle.delete(NAME, created.id, created.outputs)
        assert idle.diagnostics(NAME) == [f"kept: {path_of(created.outputs)}"]
        assert path_of(created.outputs).exists()
        idle.delete(NAME, created.id, {**created.outputs, "delete_object": True})
        assert idle.diagnostics(NAME)[1:] == [f"deleted {path_of(created.outputs)}"]
    assert not path_of(created.outputs).exists()


def test_an_archive_is_imported_by_its_uri(serve: Serve, shelf: Shelf) -> None:
    created = shelf.create(shelf.inputs())
    with serve(env=NO_KEY) as idle:
        read = idle.read(NAME, created.id, None, {})
        assert {name: read.outputs[name] for name in ("uri", "sha256", "mark")} == {
            name: created.outputs[name] for name in ("uri", "sha256", "mark")
        }
        assert "does not exist" in refused(idle.read, NAME, f"{created.id}x", None, {})
        path_of(created.outputs).with_name(f"{path_of(created.outputs).name}.json").unlink()
        assert "has no manifest, so nothing says what it must be" in refused(idle.read, NAME, created.id, None, {})
