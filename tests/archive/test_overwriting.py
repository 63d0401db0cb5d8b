"""A file that no manifest explains is not overwritten unless somebody says so, and no wait for a lock has no end."""

import contextlib
import errno
import fcntl
import io
import os
import stat
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest

from pulumi_snapshots.archive import upload
from pulumi_snapshots.archive.upload import Upload
from pulumi_snapshots.storage import flow
from pulumi_snapshots.storage.destination import Destination
from pulumi_snapshots.storage.store import (
    PART,
    READ_SIZE,
    FileStore,
    ObjectStat,
    Overtaken,
    StoredContent,
    StoreTrouble,
)
from tests.archive.scene import Declared, Scene, file_of, holds, manifest_of, put, scene
from tests.cli.typed import Desk, at_desk
from tests.support.virtual import staged
from tests.support.world import DATABASE, World

URN = "urn:pulumi:prod::shop::squarecloud:index:Archive::nightly"
THEIRS = b"rows that nobody has anywhere else"
KEY = pyrage.x25519.Identity.generate()


@pytest.mark.parametrize(
    "beside", [None, b"{}"], ids=["alone", "with a file of their own"]
)
@staged(scene)
async def test_an_archive_overwrites_no_file_that_it_does_not_know(
    at: Scene, beside: bytes | None
) -> None:
    place = at.folder / "x.zip"
    place.write_bytes(THEIRS)
    if beside is not None:
        at.folder.joinpath("x.zip.json").write_bytes(beside)
    with pytest.raises(
        Exception, match=r"x\.zip is there already, and no manifest says"
    ):
        await Declared(at, URN).up(destination=str(place))
    assert place.read_bytes() == THEIRS
    assert at.downloads == [], "it is refused before anything is downloaded"


@staged(scene)
async def test_a_file_that_appears_during_the_transfer_is_not_overwritten(
    at: Scene,
) -> None:
    place = at.folder / "x.zip"
    at.fault(cut_after=1_000_000)
    at.sees(
        lambda request: (
            place.write_bytes(THEIRS) if "range" in request.headers else None
        )
    )
    with pytest.raises(
        Exception, match=r"x\.zip is there already, and no manifest says"
    ):
        await Declared(at, URN).up(destination=str(place))
    assert place.read_bytes() == THEIRS
    assert at.files() == {"x.zip"}


def zip_of_rows() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("dump", "rows")
    return content.getvalue()


def test_an_upload_does_not_take_an_object_of_another_size_for_its_own(
    tmp_path: Path,
) -> None:
    """Another writer's object, which is there as soon as its own has appeared."""

    class Crowded(FileStore):
        def write(self, blocks: Iterator[Any]) -> ObjectStat:
            super().write(blocks)
            return super().write(iter([THEIRS]))

    crowded = Upload(Crowded(tmp_path / "x.zip"), ())
    crowded.push(zip_of_rows())
    crowded.end()
    with pytest.raises(Overtaken, match=rf"were written, but {len(THEIRS)} are there"):
        crowded.appear()


@pytest.mark.parametrize("status", [403, 0], ids=["refuses", "is silent"])
def test_only_a_store_that_does_not_even_refuse_ends_a_slow_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    asked = threading.Event()

    class Slow(FileStore):
        """Stores nothing until somebody has asked for the object, which may be forbidden."""

        def write(self, blocks: Iterator[Any]) -> ObjectStat:
            asked.wait(30)
            return super().write(blocks)

        def stat(self) -> ObjectStat | None:
            asked.set()
            trouble = StoreTrouble("AccessDenied")
            trouble.status = status
            raise trouble

    monkeypatch.setattr(upload, "SILENCE", 0.0)
    monkeypatch.setattr(flow, "STEP", 0.01)
    content = zip_of_rows()
    slow = Upload(Slow(tmp_path / "x.zip"), ())
    slow.push(content)
    slow.end()
    if status:
        assert slow.appear()
        assert (tmp_path / "x.zip").read_bytes() == content
        return
    with pytest.raises(StoreTrouble):
        slow.appear()
    slow.discard()


@staged(scene)
async def test_an_archive_writes_over_its_own_object_that_lost_its_manifest(
    at: Scene,
) -> None:
    one = Declared(at, URN)
    place = f"{at.folder}/x.zip"
    first = await one.up(destination=place)
    manifest_of(first).unlink()
    at.newer(size=1000)
    assert holds(await one.up(destination=place), at.zip)


def typed_for(command: str, folder: Path, version: str) -> tuple[list[str], Path]:
    """A command that writes a file, and the file."""
    snapshot = f"{DATABASE}/{version}"
    target = folder / "out.zip"
    if command == "decrypt":
        (folder / "x.age").write_bytes(pyrage.encrypt(b"content", [KEY.to_public()]))
        (folder / "key.txt").write_text(str(KEY))
        identity = ["--identity", str(folder / "key.txt")]
        return [
            "decrypt",
            str(folder / "x.age"),
            *identity,
            "--output",
            str(target),
        ], target
    if command == "download":
        return ["download", snapshot, "--output", str(target)], target
    return ["archive", snapshot, str(target)], target


@pytest.mark.parametrize("command", ["archive", "download", "decrypt"])
@at_desk()
async def test_a_command_overwrites_a_file_only_if_it_is_forced(
    w: World, desk: Desk, tmp_path: Path, command: str
) -> None:
    stored = w.emulator.add_snapshot(DATABASE, size=1000)
    typed, target = typed_for(command, tmp_path, stored.version_id)
    target.write_bytes(THEIRS)
    (await desk.types(*typed)).failed("out.zip is there already", "--force")
    assert target.read_bytes() == THEIRS
    assert (await desk.types(*typed, "--force")).code == 0
    assert target.read_bytes() != THEIRS
    if command != "decrypt":
        assert target.read_bytes() == w.emulator.archive_of(stored.version_id)


@at_desk()
async def test_a_file_that_appears_during_a_decryption_is_not_overwritten(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed, target = typed_for("decrypt", tmp_path, "v1")
    read = FileStore.read

    def reads(store: FileStore) -> Iterator[Any]:
        target.write_bytes(THEIRS)
        return read(store)

    monkeypatch.setattr(FileStore, "read", reads)
    (await desk.types(*typed)).failed(f"{target} is there already", "--force")
    assert target.read_bytes() == THEIRS
    assert not [each for each in os.listdir(tmp_path) if each.startswith(PART)]  # noqa: PTH208
    assert (await desk.types(*typed, "--force")).code == 0
    assert target.read_bytes() == b"content"


@pytest.mark.parametrize(
    ("archive", "output"),
    [
        ("x.age", "s3://backups/out.zip"),
        ("x.age", "out/"),
        ("archives/", "out.zip"),
    ],
)
@at_desk()
async def test_what_is_decrypted_is_one_object_and_stays_on_this_machine(
    desk: Desk, tmp_path: Path, archive: str, output: str
) -> None:
    typed_for("decrypt", tmp_path, "v1")
    with contextlib.chdir(tmp_path):
        ended = await desk.types(
            "decrypt", archive, "--identity", "key.txt", "--output", output
        )
    ended.failed("--output a file of this machine", code=2)
    assert {*os.listdir(tmp_path)} <= {"x.age", "key.txt", "state"}  # noqa: PTH208


@at_desk()
async def test_a_download_does_not_overwrite_an_archive_that_its_manifest_explains(
    w: World, desk: Desk, tmp_path: Path
) -> None:
    first = w.emulator.add_snapshot(DATABASE, size=1000)
    place = tmp_path / "x.zip"
    await desk.types("archive", f"{DATABASE}/{first.version_id}", str(place))
    kept = place.read_bytes()
    w.emulator.advance(3600)
    second = w.emulator.add_snapshot(DATABASE, size=2000)
    snapshot = f"{DATABASE}/{second.version_id}"
    (await desk.types("download", snapshot, "--output", str(place))).failed(
        "x.zip is there already", "--force"
    )
    assert place.read_bytes() == kept


@pytest.mark.parametrize("folder", ["a/", "a/x.zip"])
@at_desk()
async def test_a_download_into_a_folder_overwrites_nothing_either(
    w: World, desk: Desk, tmp_path: Path, folder: str
) -> None:
    stored = w.emulator.add_snapshot(DATABASE, size=1000)
    (tmp_path / "a").mkdir()
    typed = (
        "download",
        f"{DATABASE}/{stored.version_id}",
        "--output",
        f"{tmp_path}/{folder}",
    )
    assert (await desk.types(*typed)).code == 0
    (file,) = (tmp_path / "a").rglob("*.zip")
    file.write_bytes(THEIRS)
    (await desk.types(*typed)).failed("is there already")
    assert file.read_bytes() == THEIRS


@pytest.mark.parametrize("folder", ["a/", "a/b/", "a/x.zip"])
@at_desk()
async def test_a_file_in_place_of_a_folder_is_named(
    w: World, desk: Desk, tmp_path: Path, folder: str
) -> None:
    stored = w.emulator.add_snapshot(DATABASE, size=1000)
    (tmp_path / "a").write_bytes(THEIRS)
    snapshot = f"{DATABASE}/{stored.version_id}"
    ended = await desk.types("archive", snapshot, f"{tmp_path}/{folder}")
    ended.failed(f": {tmp_path}/a is a file, not a folder.")
    assert not w.emulator.journal, "the file was there before any request"
    assert (tmp_path / "a").read_bytes() == THEIRS


@staged(scene)
async def test_a_lock_of_another_process_ends_the_wait_and_says_who_holds_it(
    at: Scene,
) -> None:
    waited = list[float]()

    def pause(seconds: float) -> None:
        waited.append(seconds)
        assert sum(waited) < 10.0, "the wait does not end"

    def store(place: Destination) -> FileStore:
        return FileStore(
            place.file, lock_seconds=1.0, pause=pause, now=lambda: sum(waited)
        )

    at.transfers.store = store  # type: ignore[method-assign]
    lock = os.open(at.folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        record = await Declared(at, URN).up(destination=f"{at.folder}/x.zip")
    finally:
        os.close(lock)
    assert file_of(record).exists()
    told = " ".join(map(str, at.row.warnings))
    assert f"{at.folder} is locked, for more than 1 s" in told
    assert "another `pulumi` or `squarecloud-snapshots`" in told
    assert sum(waited) >= 1.0
    assert _unlocked(at.folder)


def _unlocked(folder: Path) -> bool:
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(file)
    return True


def test_a_file_system_without_locks_delays_no_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    store = FileStore(tmp_path / "x.json", lock_seconds=0.0)
    mark = store.replace(b"first", None)
    assert store.load() == StoredContent(b"first", mark)
    part = tmp_path / f"{PART}of-a-run.part"
    part.write_bytes(b"of another run, for all that is known")
    store.write(iter([b"second"]))
    assert part.exists()


def test_a_file_is_on_the_disk_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a crash of the machine would leave the name of an archive with nothing in it."""
    happened = list[str]()
    real_sync = os.fsync
    real_replace = os.replace

    def sync(file: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(file).st_mode)
        happened.append("folder" if is_folder else f"{os.fstat(file).st_size} bytes")
        real_sync(file)

    def replace(*names: Any) -> None:
        happened.append("name")
        real_replace(*names)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    FileStore(tmp_path / "x.zip").write(iter([b"12345"]))
    assert happened[:2] == ["5 bytes", "name"]


def test_a_file_that_was_changed_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "x.json")
    mark = store.replace(b"first", None)
    for seen in (None, "of another file"):
        with pytest.raises(Overtaken):
            store.replace(b"lost", seen)
    assert store.load() == StoredContent(b"first", mark)


def test_a_file_that_is_replaced_while_it_is_read_is_no_mixture(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "x.zip")
    store.write(iter([bytes(2 * READ_SIZE)]))
    pieces = store.read()
    next(pieces)
    store.write(iter([b"other" * READ_SIZE]))
    with pytest.raises(StoreTrouble, match="was replaced while it was read"):
        list(pieces)


@staged(scene)
async def test_a_name_that_another_archive_takes_during_the_transfer_stays_its(
    at: Scene,
) -> None:
    place = at.folder / "x.zip"
    theirs = put(at.folder, 0)
    manifest = (
        theirs.with_name(f"{theirs.name}.json")
        .read_text()
        .replace(theirs.name, place.name)
    )

    def through(blocks: Iterator[bytes]) -> Iterator[bytes]:
        place.with_name("x.zip.json").write_text(manifest)
        yield from blocks

    at.passes(through)
    with pytest.raises(Exception, match="another archive has this name"):
        await Declared(at, URN).up(destination=str(place))
    assert place.with_name("x.zip.json").read_text() == manifest
    assert not place.exists()


def test_a_file_that_was_changed_meanwhile_is_not_removed(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "x.zip")
    mark = store.write(iter([b"first"])).mark
    newer = store.write(iter([b"newer"])).mark
    assert not store.remove(mark)
    assert store.remove(newer)
    assert not (tmp_path / "x.zip").exists()
