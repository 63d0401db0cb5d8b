"""Every call that the engine makes for an Archive, in the SDK's own provider process: emulated service, real files."""

from __future__ import annotations

import dataclasses
import json
import urllib.request
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pulumi
import pyrage
import pytest
from pulumi.runtime.proto import provider_pb2

from pulumi_snapshots import Archive
from pulumi_snapshots.dynamic.archive_provider import ArchiveProvider
from tests.support.servicer import NO_KEY, Answer, CallFailedError, Servicer, urn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.dynamic.conftest import Serve
    from tools.sandbox import Service

NAME = urn("offsite", "squarecloud:index:Archive")
PROVIDER = ArchiveProvider()
SERVICE = ("--no-automatic", "--cache-world", "invalidated", "--requests-per-minute", "10000")
SIZE = 3_000_000
_numbers = count(1)


def path_of(outputs: dict[str, Any]) -> Path:
    return Path(unquote(urlsplit(outputs["uri"]).path))


@dataclasses.dataclass
class Place:
    """A database of its own at the service, a folder, and a provider process."""

    emulator: Service
    servicer: Servicer
    database: str
    folder: Path

    def snapshot(self) -> dict[str, Any]:
        """What a new Snapshot gives to an Archive."""
        self.emulator.control("clock", {"advance": 3600})
        stored = self.emulator.control("snapshots", {"database_id": self.database, "size": SIZE})
        address = f"{self.emulator.api}/databases/{self.database}/snapshots"
        request = urllib.request.Request(address, headers={"Authorization": self.emulator.key})  # noqa: S310  http to this machine
        with urllib.request.urlopen(request) as response:  # noqa: S310
            entries = json.loads(response.read())["response"]
        (url,) = [entry["url"] for entry in entries if f"versionId={stored['version_id']}" in entry["url"]]
        return {
            "database_id": self.database,
            "version_id": stored["version_id"],
            "download_url": url,
            "size": stored["size"],
            "created_at": stored["modified"],
        }

    def inputs(self, source: dict[str, Any], **wishes: Any) -> dict[str, Any]:
        return {**source, "destination": f"{self.folder}/", **wishes}

    def create(self, inputs: dict[str, Any]) -> Answer:
        return self.servicer.create(NAME, inputs)

    def replace(self, old: Answer, inputs: dict[str, Any]) -> Answer:
        """All that the engine does when a change replaces."""
        assert self.servicer.diff(NAME, old.id, old.outputs, inputs).replaces
        new = self.create(inputs)
        self.servicer.delete(NAME, old.id, old.outputs)
        return new

    def files(self) -> set[str]:
        return {path.name for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".json"}

    def requests(self) -> list[str]:
        return [entry["kind"] for entry in self.emulator.journal() if entry["database_id"] == self.database]


@pytest.fixture(scope="module")
def provider(serve: Serve, emulator: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servicer]:
    """A process that serves test after test, as it serves resource after resource."""
    with serve(env={**emulator.environment, "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}) as servicer:
        yield servicer


@pytest.fixture
def place(provider: Servicer, emulator: Service, tmp_path: Path) -> Place:
    return placed(emulator, provider, tmp_path)


@pytest.fixture
def own_place(serve: Serve, emulator: Service, tmp_path: Path) -> Iterator[Place]:
    """One with a process of its own, which is told to end, or knows of no other replacement under the same name."""
    with serve(env=emulator.environment) as servicer:
        yield placed(emulator, servicer, tmp_path)


def placed(emulator: Service, servicer: Servicer, folder: Path) -> Place:
    emulator.control("faults", method="DELETE")
    database = str(emulator.control("databases", {"id": f"{next(_numbers):032x}"})["id"])
    return Place(emulator, servicer, database, folder / "archives")


def failure(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(CallFailedError) as caught:
        call(*args, **kwargs)
    assert caught.value.kept is None
    assert not [text for text in ("Traceback", "Signature=") if text in caught.value.message]
    return caught.value.message


# Declaring it: what must be given

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
SNAPSHOT: Any = dataclasses.make_dataclass(
    "Snapshot", ["database_id", "version_id", "download_url", "size", "created_at"]
)(DATABASE, "v1", None, 5, None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "nothing to archive is given, or a lookup has found no snapshot. Give snapshot=SNAPSHOT"),
        ({"snapshot": SNAPSHOT, "download_url": "https://x/y"}, "snapshot and download_url are given"),
        ({"snapshot": SNAPSHOT, "database_id": "a", "version_id": "b"}, "snapshot and database_id and version_id are"),
        ({"snapshot": "before-release"}, "snapshot is a str"),
    ],
    ids=str,
)
def test_a_program_learns_what_to_give(given: dict[str, Any], told: str) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        Archive("offsite", destination="/backups/", **given)
    assert str(caught.value).startswith(f"Archive 'offsite': {told}")
    assert str(caught.value).endswith(
        "Give snapshot=SNAPSHOT, a Snapshot of this program or one that a lookup has found, or instead of it "
        "database_id= and version_id=, or download_url= alone."
    )


# Check: without a request, without a key

URL = f"https://snapshots.test/databases/account/{DATABASE}.zip?Expires=1757683751&Signature=s"
GOOD: dict[str, Any] = {"database_id": DATABASE, "version_id": "v1", "destination": "/backups/"}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"database_id": None, "version_id": None}, "snapshot", "is required"),
    ({"download_url": f"{URL}&versionId=v2"}, "download_url", "is pinned to version"),
    ({"destination": None}, "destination", "is required: a path, or a URI of file://, s3://, gs:// or az://"),
]
"""One of each kind; `tests/archive/test_archive_inputs.py` has all."""


@pytest.mark.parametrize(("changes", "property_", "reason"), WRONG, ids=[str(wrong[0]) for wrong in WRONG])
def test_a_wrong_input_fails_on_its_property(
    idle: Servicer, changes: dict[str, Any], property_: str, reason: str
) -> None:
    ((name, told),) = idle.check(NAME, {**GOOD, **changes}).failures
    assert name == property_
    assert reason in told
    assert "Signature" not in told


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("recipients", [str(pyrage.x25519.Identity.generate())]),
        ("destination", "s3://AKIAEXAMPLE:wJalrXUtnFEMI@bucket/x"),
    ],
    ids=["recipients", "destination"],
)
def test_a_secret_in_the_wrong_place_is_not_printed(idle: Servicer, name: str, secret: Any) -> None:
    """The engine prints the value of the property that a failure names."""
    news = idle._bag({"destination": "/backups/", name: secret})
    failures = idle._call("Check", provider_pb2.CheckRequest(urn=NAME, news=news)).failures
    (failure,) = [each for each in failures if name in each.property + each.reason]
    assert failure.property == ""
    assert failure.reason.startswith(f"{name} ")
    assert str(secret).strip("[]'")[:30] not in failure.reason


# Diff: without a request, without a key

STATE: dict[str, Any] = {
    "uri": f"file:///backups/{DATABASE}/20260101T000000Z-v1.zip",
    "size": 5.0,
    "sha256": "00",
    "archived_at": "2026-01-01T00:00:10Z",
    "database_id": DATABASE,
    "version_id": "v1",
    "mark": "1:2",
    "destination": "/backups/",
}
INPUTS = {**GOOD, "download_url": f"{URL}&versionId=v1", "size": 5, "created_at": "2026-01-01T00:00:00Z"}
FROM_URL = {"database_id": None, "version_id": None}


@pytest.mark.parametrize(
    ("olds", "news", "replaces", "changes"),
    [
        (STATE, {"download_url": f"{URL}9&versionId=v1", "timeout": "2h", "destination": "file:///backups/"}, [], False),
        (STATE, {"version_id": "v2", "download_url": None}, ["version_id"], True),
        (STATE, {**FROM_URL, "download_url": f"{URL}&versionId=v2"}, ["download_url"], True),
        (STATE, {"delete_object": True}, [], True),
        ({**STATE, "lost": "missing"}, {}, [], True),
    ],
    ids=str,
)  # fmt: skip
def test_a_version_or_place_replaces_and_a_signature_does_not(
    idle: Servicer, olds: dict[str, Any], news: dict[str, Any], replaces: list[str], changes: Any
) -> None:
    answer = idle.diff(NAME, STATE["uri"], olds, {**INPUTS, **news})
    assert (answer.replaces, answer.changes, answer.delete_before_replace) == (replaces, changes, False)


# Create, read, update, delete


def test_create_gives_a_verified_file_and_no_open_url(place: Place) -> None:
    source = place.snapshot()
    answer = place.create(place.inputs(source, keep_last=2))
    outputs, path = answer.outputs, path_of(answer.outputs)
    content = path.read_bytes()
    assert answer.id == outputs["uri"] == path.as_uri()
    assert path.parent == place.folder / place.database
    assert path.name.endswith(f"Z-{source['version_id']}.zip")
    assert len(content) == outputs["size"] == source["size"]
    assert outputs["sha256"] == sha256(content).hexdigest()
    assert (outputs["database_id"], outputs["version_id"]) == (place.database, source["version_id"])
    assert (outputs["destination"], outputs["keep_last"]) == (f"{place.folder}/", 2)
    assert "download_url" not in outputs
    assert place.requests().count("download") == 1
    assert place.servicer.progress(NAME)[-1] == f"archived {SIZE / 1e6:.1f} MB to {path_of(outputs)}"
    shown = [message.text for message in place.servicer.messages] + place.servicer.printed
    assert not [text for text in [*shown, str(outputs)] if place.emulator.key in text or "Signature" in text]


def test_a_url_alone_needs_no_key_and_an_id_alone_does(serve: Serve, place: Place) -> None:
    source = place.snapshot()
    with serve(env=NO_KEY) as keyless:
        answer = keyless.create(
            NAME, {"download_url": source["download_url"], "destination": str(place.folder / "x.zip")}
        )
        assert answer.outputs["database_id"] == place.database
        assert path_of(answer.outputs) == place.folder / "x.zip"
        ids = {name: source[name] for name in ("database_id", "version_id")}
        told = failure(keyless.create, NAME, place.inputs(ids))
        assert "no API key is set, so its download URL cannot be looked up" in told
    assert place.create(place.inputs(ids)).outputs["sha256"] == answer.outputs["sha256"]


def test_a_lost_or_altered_object_is_archived_again(place: Place) -> None:
    inputs = place.inputs(place.snapshot())
    created = place.create(inputs)
    same = place.servicer.read(NAME, created.id, created.outputs, inputs)
    assert (same.id, same.outputs) == (created.id, created.outputs)
    path_of(created.outputs).write_bytes(b"x")
    altered = place.servicer.read(NAME, created.id, created.outputs, inputs)
    assert altered.outputs["lost"] == "altered"
    path_of(created.outputs).unlink()
    missing = place.servicer.read(NAME, created.id, created.outputs, inputs)
    assert missing.id == created.id
    assert missing.outputs["lost"] == "missing"
    assert place.servicer.diagnostics(NAME, "WARNING")[-1].endswith("is missing. The next `pulumi up` archives again.")
    assert place.servicer.diff(NAME, created.id, missing.outputs, inputs).changes
    assert place.servicer.progress(NAME)[-1] == f"{path_of(created.outputs)} is missing: to be archived again"
    again = place.servicer.update(NAME, created.id, missing.outputs, inputs)
    assert "lost" not in again.outputs
    assert {again.outputs[name] for name in ("uri", "sha256")} == {created.outputs[name] for name in ("uri", "sha256")}
    assert path_of(again.outputs).stat().st_size == SIZE


def test_a_delete_keeps_the_object_unless_told_otherwise(serve: Serve, place: Place) -> None:
    created = place.create(place.inputs(place.snapshot()))
    with serve(env=NO_KEY, config={"squarecloud:lookEvery": "never"}) as idle:
        idle.delete(NAME, created.id, created.outputs)
        assert idle.diagnostics(NAME) == [f"kept: {path_of(created.outputs)}"]
        assert place.files()
        idle.delete(NAME, created.id, {**created.outputs, "delete_object": True})
        assert idle.diagnostics(NAME)[1:] == [f"deleted {path_of(created.outputs)}"]
    assert not place.files()


def test_an_archive_is_imported_by_its_uri(serve: Serve, place: Place) -> None:
    created = place.create(place.inputs(place.snapshot()))
    with serve(env=NO_KEY) as idle:
        read = idle.read(NAME, created.id, None, {})
        assert {name: read.outputs[name] for name in ("uri", "sha256", "mark")} == {
            name: created.outputs[name] for name in ("uri", "sha256", "mark")
        }
        assert "does not exist" in failure(idle.read, NAME, f"{created.id}x", None, {})
        path_of(created.outputs).with_name(f"{path_of(created.outputs).name}.json").unlink()
        assert "has no manifest, so nothing says what it must be" in failure(idle.read, NAME, created.id, None, {})
