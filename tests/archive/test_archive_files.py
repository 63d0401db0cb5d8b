"""Archives to files of this machine, with real sockets, threads, disks and kills."""

import fcntl
import os
import resource
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import pyrage
import pytest

from pulumi_snapshots.archive.archive import (
    ArchiveRequest,
    NotArchived,
    archive_snapshot,
)
from pulumi_snapshots.archive.record import ArchiveInputs
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.storage.store import PART, FileStore, StoreTrouble
from tests.archive.real import Host, hosted, outcome, start
from tests.support.world import Row

MIB = 1024**2
OLD = b"an archive that was there before"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosted(8 * MIB) as one:
        yield one


def test_a_large_archive_takes_little_memory(tmp_path: Path) -> None:
    with hosted(96 * MIB) as large:
        done = outcome(start(large.url, tmp_path / "x.zip"))
    assert done["sha256"] == large.sha256
    assert done["size"] == 96 * MIB == (tmp_path / "x.zip").stat().st_size
    assert done["above_idle"] <= 64, done
    assert zipfile.ZipFile(tmp_path / "x.zip").namelist() == ["dump"]


@pytest.mark.parametrize(
    "recipients",
    [None, [str(pyrage.x25519.Identity.generate().to_public())]],
    ids=["", "age"],
)
def test_a_full_disk_leaves_nothing_and_keeps_the_old_file(
    host: Host, tmp_path: Path, recipients: list[str] | None
) -> None:
    target = tmp_path / ("x.zip.age" if recipients else "x.zip")
    target.write_bytes(OLD)
    values = {
        "download_url": host.url,
        "destination": str(target),
        "recipients": recipients,
    }
    request = ArchiveRequest(
        None, Transfers(), ArchiveInputs.of(values), Row(), force=True
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # of this process, which fails as a full disk does
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, hard))
    try:
        with pytest.raises(
            NotArchived,
            match=r"File too large.*an earlier file of that name is unchanged",
        ):
            anyio.run(archive_snapshot, request)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == OLD


def test_the_part_of_a_killed_run_is_removed_by_the_next_one_and_that_of_a_living_one_stays(
    tmp_path: Path,
) -> None:
    (tmp_path / f"{PART}killed.part").write_bytes(OLD)

    def blocks() -> Iterator[bytes]:
        (mine,) = tmp_path.iterdir()
        FileStore(tmp_path / "y.zip").write(iter([b"y"]))
        assert mine.exists()
        yield b"x"

    FileStore(tmp_path / "x.zip").write(blocks())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.zip", "y.zip"]


def test_a_part_that_another_run_removes_as_stale_before_it_is_locked_is_made_again(
    tmp_path: Path,
) -> None:
    removed: list[Any] = []
    make = tempfile.NamedTemporaryFile

    def made(**options: Any) -> Any:
        part = make(**options)
        if not removed:  # the other run has opened it, and locks it first
            removed.append(Path(part.name).open("rb"))  # noqa: SIM115  it stays locked
            fcntl.flock(removed[0], fcntl.LOCK_EX)
        return part

    def blocks() -> Iterator[bytes]:
        Path(removed[0].name).unlink()
        removed[0].close()
        yield b"x"

    with mock.patch.object(tempfile, "NamedTemporaryFile", made):
        FileStore(tmp_path / "x.zip").write(blocks())
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"x"]


def test_the_content_of_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    held = FileStore(tmp_path).load()
    assert held is not None
    assert held.content == b""


def test_what_others_have_there_is_not_removed(tmp_path: Path) -> None:
    for name in (".archive-0.part", "other.part", f"{PART}notes"):
        (tmp_path / name).touch()
    (tmp_path / f"{PART}folder.part").mkdir()
    (tmp_path / f"{PART}link.part").symlink_to(tmp_path / "other.part")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / f"{PART}pipe.part")
    before = set(tmp_path.iterdir())
    FileStore(tmp_path / "x.zip").write(iter([b"x"]))
    for name in ("pipe", f"{PART}folder.part"):
        with pytest.raises(StoreTrouble, match="is not a file"):
            FileStore(tmp_path / name).write(iter([b"x"]))
    assert set(tmp_path.iterdir()) == before | {tmp_path / "x.zip"}

    def blocks() -> Iterator[bytes]:
        (tmp_path / "new" / "theirs").touch()
        raise StoreTrouble("no bytes")
        yield b""

    with pytest.raises(StoreTrouble):
        FileStore(tmp_path / "new" / "deep" / "x.zip").write(blocks())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["theirs"], (
        "a new folder that another uses"
    )
