"""Manifests beside archives, and the commands that list, verify and decrypt archives without stack and account."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pyrage
import pytest

from pulumi_snapshots.archive import manifest
from pulumi_snapshots.archive.archive import archive
from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.archive.record import ArchiveMemory
from pulumi_snapshots.archive.shelf import shelved
from pulumi_snapshots.drill.proof import note_in_archives
from pulumi_snapshots.drill.record import DrillRecord
from pulumi_snapshots.stores.destination import Destination
from pulumi_snapshots.stores.store import StoreTrouble
from tests.archive.scene import file_of, scene
from tests.cli.typed import Desk
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, world

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi_snapshots.archive.record import ArchiveRecord

IDENTITY = pyrage.x25519.Identity.generate()
KEY = str(IDENTITY.to_public())


def manifest_of(record: ArchiveRecord) -> Path:
    file = file_of(record)
    return file.with_name(f"{file.name}.json")


@virtual
async def test_a_manifest_explains_an_archive_without_its_stack(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        record = await at.archive(recipients=[KEY])
        said = json.loads(manifest_of(record).read_text())
        content = file_of(record).read_bytes()
        assert said == {
            "format": "pulumi-snapshots archive",
            "object": file_of(record).name,
            "version_id": at.snapshot.version_id,
            "database_id": DATABASE,
            "created_at": record.created_at,
            "archived_at": record.archived_at,
            "size": len(content),
            "sha256": sha256(content).hexdigest(),
            "plain_size": len(at.zip),
            "plain_sha256": sha256(at.zip).hexdigest(),
            "recipients": [KEY],
            "tool": said["tool"],
            "drill": None,
        }
        assert said["tool"].startswith("pulumi-snapshots ")
        assert manifest_of(record).stat().st_mode & 0o077 == 0


@virtual
async def test_a_drill_is_noted_whether_it_passes_before_or_after_the_archive_is_made(tmp_path: Path) -> None:
    noted: dict[str, Any] = {"drilled_at": "2026-03-01T12:01:30Z", "restore_seconds": 62.5}
    memory = ArchiveMemory()
    async with scene(tmp_path / "a") as at:
        first = await at.archive()
        memory.keep("urn:first", first, counts=False)
        drill = DrillRecord(DATABASE, first.version_id, OTHER_DATABASE, "2026-03-01T12:00:00Z", **noted)
        await note_in_archives(at.transfers, memory, drill, at.row)
        assert json.loads(manifest_of(first).read_text())["drill"] is None, "it has not passed"
        await note_in_archives(at.transfers, memory, replace(drill, passed=True), at.row)
        assert json.loads(manifest_of(first).read_text())["drill"] == noted
        later = ArchiveInputs.of({**await at.outputs(), "destination": f"{tmp_path}/b.zip"})
        second = await archive(at.here.session, at.transfers, later, at.row, proof=memory.proof)
        assert json.loads(manifest_of(second).read_text())["drill"] == noted
        with patch.object(manifest, "_write", side_effect=StoreTrouble("no room")):
            await note_in_archives(at.transfers, memory, replace(drill, passed=True, restore_seconds=60.0), at.row)
        (warning,) = at.row.warnings
        assert warning.startswith("the drill was not noted in the manifest of /")
        assert warning.endswith(": no room.")


@virtual
async def test_a_removed_archive_takes_its_manifest_along(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        first = await at.archive(keep_last=1)
        theirs = file_of(first).with_name("theirs.zip.json")
        theirs.write_text("{}")
        at.newer(size=1000)
        second = await at.archive(keep_last=1, previous=first)
        assert not manifest_of(first).exists()
        assert manifest_of(second).exists()
        manifest_of(second).write_text('{"format": "of somebody else"}')
        await at.remove(second, delete_object=True)
        assert not file_of(second).exists()
        assert manifest_of(second).exists()
        assert theirs.exists()


@virtual
async def test_a_manifest_that_cannot_be_written_only_warns(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        (at.folder / "x.zip.json").mkdir()
        record = await at.archive(destination=f"{at.folder}/x.zip")
        assert file_of(record).read_bytes() == at.zip
        assert "is archived, but its manifest was not written: " in at.row.warnings[-1]


@virtual
async def test_every_kind_of_damage_is_found(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        records = []
        for _ in range(5):
            records.append(await at.archive(recipients=[KEY]))
            at.newer(size=1000)
        whole, missing, short, changed, alone = records
        file_of(missing).unlink()
        file_of(short).write_bytes(file_of(short).read_bytes()[:-1])
        file_of(changed).write_bytes(file_of(changed).read_bytes()[:-1] + b"x")
        manifest_of(alone).unlink()
        (at.folder / "notes.json").write_text("{}")
        (at.folder / "large.json").write_bytes(b" " * 200_000)
        (at.folder / "theirs.zip").write_bytes(b"x")

        def problems(*, deep: bool) -> list[str]:
            found = shelved(Destination.parse(f"{at.folder}/"), at.transfers.store, deep=deep)
            by_uri = {each.uri: each.problem for each in found}
            assert set(by_uri) == {each.uri for each in records}
            return [by_uri[each.uri] for each in records]

        size = file_of(short).stat().st_size
        expected = [
            "",
            "is missing",
            f"has {size} bytes, not {size + 1}",
            "",
            "has no manifest, so nothing says what it",
        ]
        for said, wanted in zip(problems(deep=False), expected, strict=True):
            assert said.startswith(wanted)
            assert bool(said) == bool(wanted)
        assert problems(deep=True)[3].startswith("was changed: its SHA-256 is ")
        assert problems(deep=True)[0] == ""
        (one,) = shelved(Destination.parse(whole.uri), at.transfers.store, deep=True)
        assert (one.uri, one.problem) == (whole.uri, "")


# The commands ----------------------------------------------------------------------------------------------------------


@virtual
async def test_archives_lists_and_verifies_without_a_key(tmp_path: Path) -> None:
    async with world() as w:
        desk = Desk(w, tmp_path / "state")
        stored = w.emulator.add_snapshot(DATABASE, size=100_000)
        await desk.types("archive", f"{DATABASE}/{stored.version_id}", f"{tmp_path}/kept/")
        del desk.environment["SQUARECLOUD_API_KEY"]
        ended = (await desk.types("archives", f"{tmp_path}/kept/")).done
        assert [line.split()[0] for line in ended.out.splitlines()[1:]] == ["ok"]
        assert stored.version_id in ended.out
        (file,) = (tmp_path / "kept" / DATABASE).glob("*.zip")
        file.write_bytes(file.read_bytes()[:-1] + b"x")
        assert (await desk.types("archives", f"{tmp_path}/kept/")).code == 0
        ended = await desk.types("archives", "--deep", "--json", f"{tmp_path}/kept/")
        assert ended.code == 1
        (one,) = ended.json
        assert one["problem"].startswith("was changed")
        assert one["manifest"]["version_id"] == stored.version_id
        assert "squarecloud-snapshots archive DATABASE/VERSION DESTINATION" in ended.err
        ended = await desk.types("archives", f"{tmp_path}/nowhere/")
        assert (ended.code, "nowhere does not exist" in ended.err) == (1, True)
        assert (await desk.types("archives", "ftp://x")).code == 2
        (tmp_path / "empty").mkdir()
        assert (await desk.types("archives", f"{tmp_path}/empty/")).done.err.endswith("no archives\n")


@virtual
async def test_a_download_has_no_manifest(tmp_path: Path) -> None:
    async with world() as w:
        stored = w.emulator.add_snapshot(DATABASE, size=1000)
        folder = tmp_path / "d"
        await Desk(w, tmp_path).types("download", f"{DATABASE}/{stored.version_id}", "--output", f"{folder}/x.zip")
        assert [file.name for file in folder.iterdir()] == ["x.zip"]


@virtual
async def test_decrypt_opens_an_archive_with_its_private_key(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        record = await at.archive(recipients=[KEY])
        content = at.zip
        (tmp_path / "key.txt").write_text(f"{IDENTITY}\n")
        target = tmp_path / "open" / "x.zip"
        desk = Desk(at.here, tmp_path)
        ended = await desk.types(
            "decrypt", str(file_of(record)), "--identity", f"{tmp_path}/key.txt", "--output", str(target), "--json"
        )
        assert target.read_bytes() == content
        assert ended.done.json["sha256"] == record.plain_sha256


@virtual
async def test_archive_encrypts_for_the_keys_that_are_typed(tmp_path: Path) -> None:
    async with world() as w:
        desk = Desk(w, tmp_path / "state")
        stored = w.emulator.add_snapshot(DATABASE, size=1000)
        command = ("archive", f"{DATABASE}/{stored.version_id}", f"{tmp_path}/kept/", "--recipient")
        await desk.types(*command, KEY, "--recipient", str(pyrage.x25519.Identity.generate().to_public()))
        (file,) = (tmp_path / "kept" / DATABASE).glob("*.zip.age")
        assert pyrage.decrypt(file.read_bytes(), [IDENTITY]) == w.emulator.archive_of(stored.version_id)
        ended = await desk.types(*command, str(IDENTITY))
        assert ended.code == 2
        assert "--recipient holds a private key" in ended.err
        assert str(IDENTITY) not in ended.err


@pytest.mark.parametrize(
    ("content", "identity", "told"),
    [
        ("sealed", str(pyrage.x25519.Identity.generate()), "x.age is encrypted for other recipients"),
        ("cut", str(IDENTITY), "x.age was altered or cut short"),
        ("changed", str(IDENTITY), "x.age was altered or cut short"),
        ("plain", str(IDENTITY), "x.age is not encrypted with age"),
        ("none", str(IDENTITY), "does not exist"),
        ("sealed", "not a key", "is no identity file of age"),
        ("sealed", "# nothing", "holds no identity of age"),
        ("sealed", None, "cannot be read"),
    ],
    ids=map(str, range(8)),
)
def test_a_decryption_that_fails_writes_nothing(tmp_path: Path, content: str, identity: str | None, told: str) -> None:
    sealed = pyrage.encrypt(bytes(200_000), [IDENTITY.to_public()])
    given = {
        "sealed": sealed,
        "cut": sealed[:-70_000],
        "changed": sealed[:-1] + b"x",
        "plain": b"PK" * 500,
        "none": b"",
    }
    (tmp_path / "x.age").write_bytes(given[content])
    if content == "none":
        (tmp_path / "x.age").unlink()
    if identity is not None:
        (tmp_path / "key.txt").write_text(identity)

    async def body() -> None:
        async with world() as w:
            ended = await Desk(w, tmp_path).types(
                "decrypt", f"{tmp_path}/x.age", "--identity", f"{tmp_path}/key.txt", "--output", f"{tmp_path}/new/x.zip"
            )
            assert ended.code == 1
            assert told in ended.err
            assert "AGE-SECRET-KEY-1" not in ended.err
            assert not (tmp_path / "new").exists()

    from tests.support.virtual import run_virtual  # noqa: PLC0415

    run_virtual(body)


@virtual
async def test_decrypt_refuses_folders_and_buckets_as_output(tmp_path: Path) -> None:
    async with world() as w:
        desk = Desk(w, tmp_path)
        for archive, output in (
            ("x.age", "s3://b/x"),
            ("x.age", "folder/"),
            ("folder/", "x.zip"),
            ("ftp://x", "x.zip"),
        ):
            ended = await desk.types("decrypt", archive, "--identity", "key.txt", "--output", output)
            assert ended.code == 2


@virtual
async def test_a_manifest_of_another_format_is_none(tmp_path: Path) -> None:
    async with scene(tmp_path / "a") as at:
        record = await at.archive()
        said: dict[str, Any] = json.loads(manifest_of(record).read_text())
        store = at.transfers.store(Destination.parse(f"{record.uri}.json"))
        for text in ("", "[]", "{}", "null", json.dumps({**said, "format": "x"}), json.dumps({**said, "size": None})):
            manifest_of(record).write_text(text)
            assert manifest.Manifest.read(store) is None
        with patch.object(manifest, "LARGEST", 10):
            manifest_of(record).write_text(json.dumps(said))
            assert manifest.Manifest.read(store) is None
