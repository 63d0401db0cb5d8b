"""Manifests beside archives, and the commands that list, verify and decrypt archives without stack and account."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyrage
import pytest

from pulumi_snapshots.archive import manifest
from pulumi_snapshots.archive.listed import list_archives
from pulumi_snapshots.archive.manifest import note_drill
from pulumi_snapshots.archive.record import ArchiveMemory, ArchiveSuccessor, Drilled
from pulumi_snapshots.archive.removal import NotRemoved
from pulumi_snapshots.drill.calls import note_in_archives
from pulumi_snapshots.drill.record import DrillRecord
from pulumi_snapshots.storage.destination import Destination
from pulumi_snapshots.storage.encryption import NotDecrypted, decrypt_object
from pulumi_snapshots.storage.store import FileStore, StoreTrouble
from tests.archive.scene import (
    Scene,
    file_of,
    manifest_of,
    put,
    rewrite_manifest,
    scene,
)
from tests.cli.typed import Desk, at_desk
from tests.support.virtual import staged
from tests.support.world import DATABASE, OTHER_DATABASE, World

IDENTITY = pyrage.x25519.Identity.generate()
KEY = str(IDENTITY.to_public())


@staged(scene)
async def test_a_manifest_explains_an_archive_without_its_stack(at: Scene) -> None:
    record = await at.archive(recipients=[KEY])
    said = json.loads(manifest_of(record).read_text())
    content = file_of(record).read_bytes()
    assert said == {
        **{
            name: getattr(record, name)
            for name in ("database_id", "version_id", "created_at", "archived_at")
        },
        "size": len(content),
        "sha256": sha256(content).hexdigest(),
        "plain_size": len(at.zip),
        "plain_sha256": sha256(at.zip).hexdigest(),
        "recipients": [KEY],
        "format": "pulumi-snapshots archive",
        "object": file_of(record).name,
        "tool": said["tool"],
        "owners": [],
        "drill": None,
        "claim": None,
        "unproved": None,
    }
    assert said["tool"].startswith("pulumi-snapshots ")
    assert manifest_of(record).stat().st_mode & 0o077 == 0


@staged(scene)
async def test_a_drill_that_passes_is_noted_in_the_archives_of_its_snapshot(
    at: Scene,
) -> None:
    noted: dict[str, Any] = {
        "drilled_at": "2026-03-01T12:01:30Z",
        "restore_seconds": 62.5,
    }
    first = await at.archive()
    memory = ArchiveMemory()
    memory.current["urn:first"] = ArchiveSuccessor(first, counts=False)
    drill = DrillRecord(
        DATABASE, first.version_id, OTHER_DATABASE, "2026-03-01T12:00:00Z", **noted
    )
    call = at.call("urn:drill", memory)

    def told() -> Any:
        return json.loads(manifest_of(first).read_text())

    await note_in_archives(call, drill)
    assert told()["drill"] is None, "it has not passed"
    await note_in_archives(call, replace(drill, passed=True))
    assert told()["drill"] == noted
    now = [first.uri], (DATABASE, first.version_id), Drilled("2026-03-01T12:01:30Z")
    with patch.object(FileStore, "replace", side_effect=StoreTrouble("no room")):
        assert not await note_drill(at.transfers, *now, at.row)
    assert re.fullmatch(
        r"the drill was not noted in the manifest of /.*: no room\.", at.row.warnings[0]
    )
    # Another archive has taken the name while this one was drilled.
    rewrite_manifest(first, version_id="newer", drill=None)
    assert not await note_drill(at.transfers, *now, at.row)
    assert told()["drill"] is None


@staged(scene)
async def test_a_newer_snapshot_under_the_same_name_has_passed_no_drill(
    at: Scene,
) -> None:
    place = f"{at.folder}/x.zip"
    record = await at.archive(owner="urn:a", destination=place)
    drilled = Drilled("2026-03-01T12:01:30Z")
    which = (DATABASE, record.version_id)
    assert await note_drill(at.transfers, [record.uri], which, drilled, at.row)
    again = await at.archive(owner="urn:a", destination=place, previous=record)
    assert json.loads(manifest_of(again).read_text())["drill"] is not None
    at.newer()
    newer = await at.archive(owner="urn:a", destination=place, previous=record)
    assert newer.version_id != record.version_id
    assert json.loads(manifest_of(newer).read_text())["drill"] is None


@staged(scene)
async def test_every_kind_of_damage_is_found(at: Scene) -> None:
    records = []
    for _ in range(5):
        records.append(await at.archive(recipients=[KEY]))
        at.newer(size=1000)
    whole, missing, short, changed, alone = records
    file_of(missing).unlink()
    file_of(short).write_bytes(file_of(short).read_bytes()[:-1])
    file_of(changed).write_bytes(file_of(changed).read_bytes()[::-1])
    manifest_of(alone).unlink()
    (at.folder / "notes.json").write_text("{}")
    (at.folder / "large.json").write_bytes(b" " * 200_000)
    (at.folder / "theirs.zip").write_bytes(b"x")

    async def problems(place: str, *, deep: bool) -> list[str]:
        found = await list_archives(at.transfers, Destination.parse(place), deep=deep)
        by_uri = {each.uri: each.problem for each in found}
        return [by_uri.pop(each.uri, "") or "" for each in records] + [*by_uri]

    size = file_of(short).stat().st_size
    nothing = "has no manifest, so nothing says what it must be"
    found = ["", "is missing", f"has {size} bytes, not {size + 1}", "", nothing]
    assert await problems(f"{at.folder}/", deep=False) == found
    *same, deeply, last = await problems(f"{at.folder}/", deep=True)
    assert ([*same, last], deeply[:27]) == (
        [*found[:3], nothing],
        "was changed: its SHA-256 is",
    )
    assert await problems(whole.uri, deep=True) == [""] * 5


@staged(scene, folder="a ü%")
async def test_a_copy_of_an_archive_elsewhere_is_one_too(at: Scene) -> None:
    """The names in a bucket and in a folder are the same, whatever a URI has to encode."""
    at.snapshot = at.here.emulator.add_snapshot(
        DATABASE, size=1000, version_id="ab/cd+ef=_01234567890123"
    )
    for name in ("", "50% ü.zip"):
        record = await at.archive(destination=f"{at.folder}/{name}")
        said = json.loads(manifest_of(record).read_text())
        assert said["object"] == file_of(record).name
    found = await list_archives(at.transfers, Destination.parse(f"{at.folder}/"))
    assert [each.problem for each in found] == [None, None]


@staged(scene)
async def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(
    at: Scene,
) -> None:
    await at.archive()

    (at.folder / "sub").mkdir()
    real = os.scandir

    def refused(folder: Path) -> Iterator[os.DirEntry[str]]:
        if folder.name == "sub":
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    with (
        patch.object(os, "scandir", refused),
        pytest.raises(StoreTrouble, match=r"sub: Permission denied"),
    ):
        await list_archives(at.transfers, Destination.parse(f"{at.folder}/"))


# The commands ----------------------------------------------------------------------------------------------------------


@at_desk()
async def test_archives_lists_and_verifies_without_a_key(
    w: World, desk: Desk, tmp_path: Path
) -> None:
    stored = w.emulator.add_snapshot(DATABASE, size=100_000)
    await desk.types("archive", f"{DATABASE}/{stored.version_id}", f"{tmp_path}/kept/")
    del desk.environment["SQUARECLOUD_API_KEY"]
    ended = (await desk.types("archives", f"{tmp_path}/kept/")).done
    assert [line.split()[0] for line in ended.out.splitlines()[1:]] == ["ok"]
    assert stored.version_id in ended.out
    (file,) = (tmp_path / "kept" / DATABASE).glob("*.zip")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert (await desk.types("archives", f"{tmp_path}/kept/")).code == 0
    ended = (
        await desk.types("archives", "--deep", "--json", f"{tmp_path}/kept/")
    ).failed()
    (one,) = ended.json
    assert one["problem"].startswith("was changed")
    assert one["manifest"]["version_id"] == stored.version_id
    assert "squarecloud-snapshots archive DATABASE/VERSION DESTINATION" in ended.err
    (await desk.types("archives", f"{tmp_path}/nowhere/")).failed(
        "nowhere does not exist"
    )
    (tmp_path / "empty").mkdir()
    assert (await desk.types("archives", f"{tmp_path}/empty/")).done.err.endswith(
        "no archives\n"
    )


def test_an_interrupt_ends_the_reading_of_an_archive_at_once(tmp_path: Path) -> None:
    """The archive is larger than can be read while the test waits."""
    with put(tmp_path, 0, size=2**42).open("wb") as large:
        large.truncate(2**42)
    with typed(tmp_path, "archives", "--deep", f"{tmp_path}/") as process:
        assert process.stderr is not None
        assert "reading" in process.stderr.readline()


@contextmanager
def typed(
    home: Path, *arguments: str, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """Type a command in a process of its own, which is interrupted in the end and says so."""
    command = [sys.executable, "-m", "pulumi_snapshots.cli", *arguments]
    known = {"PATH": os.environ["PATH"], "HOME": str(home), **environment}
    with subprocess.Popen(  # noqa: S603  ours
        command, env=known, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.send_signal(signal.SIGINT)
        _, last = process.communicate(timeout=30)  # a store may be silent for longer
    assert (process.returncode, last) == (
        130,
        "Error: interrupted before it was done.\n",
    )


def test_an_interrupt_does_not_wait_for_a_store_that_does_not_answer(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        keys = {
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_ENDPOINT_URL": address,
        }
        with typed(tmp_path, "archives", "s3://bucket/shop/", **keys):
            connection, _ = silent.accept()
            connection.recv(1)
        connection.close()


def test_an_interrupted_decryption_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.age").write_bytes(
        pyrage.encrypt(bytes(3_000_000), [IDENTITY.to_public()])
    )
    asked = iter([False, False, True])
    source = FileStore(tmp_path / "x.age")
    target = FileStore(tmp_path / "new" / "x.zip")
    with pytest.raises(NotDecrypted, match="it was interrupted"):
        decrypt_object(
            source.read(),
            target.write,
            [IDENTITY],
            name="x",
            stopping=lambda: next(asked),
        )
    assert not (tmp_path / "new").exists()


@at_desk()
async def test_what_is_encrypted_for_typed_keys_is_opened_by_one_of_them(
    w: World, desk: Desk, tmp_path: Path
) -> None:
    stored = w.emulator.add_snapshot(DATABASE, size=1000)
    command = (
        "archive",
        f"{DATABASE}/{stored.version_id}",
        f"{tmp_path}/kept/",
        "--recipient",
    )
    await desk.types(
        *command, KEY, "--recipient", str(pyrage.x25519.Identity.generate().to_public())
    )
    (file,) = (tmp_path / "kept" / DATABASE).glob("*.zip.age")
    key = tmp_path / "key.txt"
    target = tmp_path / "open" / "x.zip"
    key.write_text(f"{IDENTITY}\n")
    ended = await desk.types(
        "decrypt", str(file), "--identity", str(key), "--output", str(target), "--json"
    )
    assert target.read_bytes() == w.emulator.archive_of(stored.version_id)
    assert ended.done.json["sha256"] == sha256(target.read_bytes()).hexdigest()
    ended = (await desk.types(*command, str(IDENTITY))).failed(
        "--recipient holds a private key", code=2
    )
    assert str(IDENTITY) not in ended.err


SEALED = pyrage.encrypt(bytes(200_000), [IDENTITY.to_public()])
ALTERED = "x.age is not encrypted with age, or was altered or cut short"
UNDECRYPTED: dict[str, tuple[bytes, str, str, str]] = {
    "another key": (
        SEALED,
        f"{pyrage.x25519.Identity.generate()}",
        "new/x",
        "x.age is encrypted for other recipients",
    ),
    "cut": (SEALED[:-70_000], f"{IDENTITY}", "new/x", ALTERED),
    "changed": (SEALED[:-1] + bytes([SEALED[-1] ^ 1]), f"{IDENTITY}", "new/x", ALTERED),
    "plain": (b"PK" * 500, f"{IDENTITY}", "new/x", ALTERED),
    "nothing": (b"", f"{IDENTITY}", "new/x", "does not exist"),
    "no key": (SEALED, "not a key", "new/x", "is no identity file of age"),
    "an empty file of keys": (
        SEALED,
        "# nothing",
        "new/x",
        "is no identity file of age",
    ),
    "no file of keys": (SEALED, "", "new/x", "cannot be read"),
    "itself": (SEALED, f"{IDENTITY}", "x.age", "is itself the file to write"),
    "a link to itself": (SEALED, f"{IDENTITY}", "link", "is itself the file to write"),
    "itself by another name": (
        SEALED,
        f"{IDENTITY}",
        "hard",
        "is itself the file to write",
    ),
}


@pytest.mark.parametrize("why", UNDECRYPTED)
@at_desk()
async def test_a_decryption_that_fails_writes_nothing(
    desk: Desk, tmp_path: Path, why: str
) -> None:
    content, identity, output, told = UNDECRYPTED[why]
    if content:
        (tmp_path / "x.age").write_bytes(content)
        (tmp_path / "link").symlink_to("x.age")
        (tmp_path / "hard").hardlink_to(tmp_path / "x.age")
    if identity:
        (tmp_path / "key.txt").write_text(identity)
    given = (
        f"{tmp_path}/x.age",
        "--identity",
        f"{tmp_path}/key.txt",
        "--output",
        f"{tmp_path}/{output}",
    )
    ended = (await desk.types("decrypt", *given)).failed(told)
    assert ("Nothing was written." in ended.err) == bool(content)
    assert "AGE-SECRET-KEY-1" not in ended.err
    assert not (tmp_path / "new").exists()
    assert not content or (tmp_path / "x.age").read_bytes() == content


@staged(scene)
async def test_a_file_of_somebody_else_beside_an_archive_is_no_manifest_and_stays(
    at: Scene,
) -> None:
    record = await at.archive()
    said: dict[str, Any] = json.loads(manifest_of(record).read_text())
    for text in (
        "",
        "[]",
        "{}",
        "null",
        json.dumps({**said, "format": "x"}),
        " " * 200_000,
        "[" * 50_000,
    ):
        manifest_of(record).write_text(text)
        assert manifest.manifest_at(at.transfers, record.uri) is None
        record = await at.archive(previous=record)
        assert manifest_of(record).read_text() == text
        assert re.search(
            "is archived, but its manifest was not written: .*another file, and stays",
            at.row.warnings[-1],
        )
    await at.remove(await at.archive(previous=record), delete_object=True)
    assert [manifest_of(record).exists(), file_of(record).exists()] == [True, False]


@pytest.mark.parametrize(
    "changes",
    [{"size": None}, {"created_at": "yesterday"}, {"drill": {"drilled_at": "soon"}}],
)
@staged(scene)
async def test_a_damaged_manifest_is_no_traceback_and_hides_no_other(
    at: Scene, changes: dict[str, Any]
) -> None:
    record = await at.archive()
    at.newer(size=1000)
    other = await at.archive()
    rewrite_manifest(record, **changes)
    found = await list_archives(at.transfers, Destination.parse(f"{at.folder}/"))
    assert [(each.uri, (each.problem or "")[:28]) for each in found] == [
        (record.uri, "its manifest cannot be read:"),
        (other.uri, ""),
    ]
    await at.remove(other, delete_object=True)
    with pytest.raises(NotRemoved, match="damaged manifest"):
        await at.remove(record, delete_object=True)
    assert file_of(record).exists()
