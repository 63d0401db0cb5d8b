"""Every call that the engine makes for an Archive, in the SDK's own provider process: emulated service, real files."""

import json
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.dynamic.conftest import NAMES, Place, Serve
from tests.support.servicer import NO_KEY, failure

KIND = "Archive"
NAME = NAMES["Archive"]
PACE: dict[str, str] = {}
SERVICE = ()
SIZE = 3_000_000
PROOF = ("uri", "sha256", "mark")


def path_of(outputs: dict[str, Any]) -> Path:
    return Path(unquote(urlsplit(outputs["uri"]).path))


def inputs_in(folder: Path, place: Place, **wishes: Any) -> dict[str, Any]:
    """What a new Snapshot gives to an Archive in a folder, and what else it is given."""
    service = place.emulator
    stored = service.control("snapshots", {"database_id": place.database, "size": SIZE})
    address = f"{service.api}/databases/{place.database}/snapshots"
    request = urllib.request.Request(address, headers={"Authorization": service.key})  # noqa: S310  http to this machine
    with urllib.request.urlopen(request) as response:  # noqa: S310
        entries = json.loads(response.read())["response"]
    (url,) = [
        entry["url"]
        for entry in entries
        if f"versionId={stored['version_id']}" in entry["url"]
    ]
    given = {
        "database_id": place.database,
        "version_id": stored["version_id"],
        "size": stored["size"],
    }
    given |= {"download_url": url, "created_at": stored["modified"]}
    return {**given, "destination": f"{folder}/", **wishes}


def refused(call: Any, *arguments: Any) -> str:
    """The text with which a call fails, which opens nothing."""
    failed = failure(call, *arguments)
    assert failed.kept is None
    assert "Signature=" not in failed.message
    return failed.message


def test_create_gives_a_verified_file_that_is_imported_by_its_uri(
    serve: Serve, place: Place, tmp_path: Path
) -> None:
    source = inputs_in(tmp_path, place, keep_last=2)
    answer = place.servicer.create(NAME, source)
    outputs = answer.outputs
    path = path_of(outputs)
    assert answer.id == outputs["uri"] == path.as_uri()
    assert path.parent == tmp_path / place.database
    assert path.name.endswith(f"Z-{source['version_id']}.zip")
    _is_verified(outputs, path.read_bytes(), source)
    assert [each["kind"] for each in place.requests()].count("download") == 1
    assert (
        place.servicer.progress(NAME)[-1] == f"archived {SIZE / 1e6:.1f} MB to {path}"
    )
    _shows_nothing_secret(place, str(outputs))
    with serve(env=NO_KEY) as idle:
        read = idle.read(NAME, answer.id, None, {}).outputs
        assert [read[name] for name in PROOF] == [outputs[name] for name in PROOF]
        assert "does not exist" in refused(idle.read, NAME, f"{answer.id}x", None, {})
        path.with_name(f"{path.name}.json").unlink()
        assert "has no manifest, so nothing says what it must be" in refused(
            idle.read, NAME, answer.id, None, {}
        )


def _is_verified(
    outputs: dict[str, Any], content: bytes, source: dict[str, Any]
) -> None:
    """The outputs say what the file holds and where it is from, without the URL that opens it."""
    assert len(content) == outputs["size"] == source["size"]
    assert outputs["sha256"] == sha256(content).hexdigest()
    for name in ("database_id", "version_id", "destination", "keep_last"):
        assert outputs[name] == source[name]
    assert "download_url" not in outputs


def _shows_nothing_secret(place: Place, *more: str) -> None:
    shown = [message.text for message in place.servicer.messages]
    for text in [*shown, *place.servicer.printed, *more]:
        assert place.emulator.key not in text
        assert "Signature" not in text


def test_a_url_alone_needs_no_key_and_an_id_alone_does(
    serve: Serve, place: Place, tmp_path: Path
) -> None:
    source = inputs_in(tmp_path, place)
    with serve(env=NO_KEY) as keyless:
        alone = {
            "download_url": source["download_url"],
            "destination": str(tmp_path / "x.zip"),
        }
        answer = keyless.create(NAME, alone)
        assert answer.outputs["database_id"] == place.database
        assert path_of(answer.outputs) == tmp_path / "x.zip"
        ids = {
            name: source[name] for name in ("database_id", "version_id", "destination")
        }
        told = refused(keyless.create, NAME, ids)
        assert "no API key is set, so its download URL cannot be looked up" in told
    assert (
        place.servicer.create(NAME, ids).outputs["sha256"] == answer.outputs["sha256"]
    )


def test_a_lost_or_altered_object_is_archived_again_and_kept_unless_told_otherwise(
    serve: Serve, place: Place, tmp_path: Path
) -> None:
    servicer = place.servicer
    inputs = inputs_in(tmp_path, place)
    created = servicer.create(NAME, inputs)
    path = path_of(created.outputs)
    same = servicer.read(NAME, created.id, created.outputs, inputs)
    assert (same.id, same.outputs) == (created.id, created.outputs)
    path.write_bytes(b"x")
    assert (
        servicer.read(NAME, created.id, created.outputs, inputs).outputs["lost"]
        == "altered"
    )
    path.unlink()
    missing = servicer.read(NAME, created.id, created.outputs, inputs)
    assert (missing.id, missing.outputs["lost"]) == (created.id, "missing")
    assert servicer.diagnostics(NAME, "WARNING")[-1].endswith(
        "is missing. The next `pulumi up` archives again."
    )
    assert servicer.diff(NAME, created.id, missing.outputs, inputs).changes
    assert servicer.progress(NAME)[-1] == f"x: {path} is missing: to be archived again"
    again = servicer.update(NAME, created.id, missing.outputs, inputs).outputs
    assert "lost" not in again
    assert (again["uri"], again["sha256"]) == (
        created.outputs["uri"],
        created.outputs["sha256"],
    )
    assert path.stat().st_size == SIZE
    with serve(env=NO_KEY, config={"squarecloud:pollEvery": "never"}) as idle:
        idle.delete(NAME, created.id, again)
        assert path.exists()
        idle.delete(NAME, created.id, {**again, "delete_object": True})
        assert idle.diagnostics(NAME) == [f"kept: {path}", f"deleted {path}"]
    assert not path.exists()
