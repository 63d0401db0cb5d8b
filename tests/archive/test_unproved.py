"""A zip whose content cannot be checked is said to be unproved, and is no reason to remove an older good one."""

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pulumi_snapshots.archive.record import ArchiveRecord
from tests.archive.scene import Declared, Scene, file_of, put, scene
from tests.archive.test_archive_zip import zipped
from tests.cli.typed import Desk, at_desk
from tests.support.virtual import staged
from tests.support.world import DATABASE, OTHER_DATABASE, World

URN = "urn:pulumi:prod::shop::squarecloud:index:Archive::nightly"


def encrypted() -> bytes:
    """A zip whose only member says that it is encrypted, in its header and in the directory."""
    content = bytearray(made(dump=b"data"))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    return bytes(content)


def made(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


UNPROVED = {
    "an empty zip": (made(), "it is empty"),
    "only empty members": (made(a=b"", b=b""), "it is empty"),
    "encrypted": (encrypted(), "1 of 1 members was not checked: encrypted"),
    "a method that is not read": (
        zipped(zipfile.ZIP_LZMA),
        "6 of 6 members were not checked",
    ),
    "members without an end": (
        zipped(zipfile.ZIP_STORED, streamed=True),
        "6 of 6 members were not checked",
    ),
}


def serves(at: Scene, content: bytes) -> dict[str, Any]:
    """Let the host serve this as the scene's snapshot; returns inputs without its size."""
    version = {"x-amz-version-id": at.snapshot.version_id}

    async def body() -> AsyncIterator[bytes]:
        yield content

    at.transfers.http = httpx.MockTransport(
        lambda _: httpx.Response(200, content=body(), headers=version)
    )
    return {"size": None}


@pytest.mark.parametrize("kind", UNPROVED)
@staged(scene)
async def test_a_zip_that_cannot_be_checked_costs_no_older_good_one(
    at: Scene, kind: str
) -> None:
    content, why = UNPROVED[kind]
    one = Declared(at, URN)
    http = at.transfers.http
    good = await one.up(keep_last=1)
    bad = list[ArchiveRecord]()
    for _ in range(2):
        at.newer(size=1000)
        bad.append(await one.up(keep_last=1, **serves(at, content)))
    assert file_of(good).exists()
    assert (one.state or {})["unproved"].startswith(why)
    assert any("is not proved: " + why in text for text in at.row.warnings)
    # They are counted among themselves, and the next good one takes the place of all.
    assert [file_of(each).exists() for each in bad] == [False, True]
    at.newer(size=1000)
    at.transfers.http = http
    last = await one.up(keep_last=1)
    assert "unproved" not in (one.state or {})
    assert [file_of(each).exists() for each in (good, *bad, last)] == [
        False,
        False,
        False,
        True,
    ]


@staged(scene)
async def test_damage_that_is_seen_archives_nothing_and_removes_nothing(
    at: Scene,
) -> None:
    one = Declared(at, URN)
    good = await one.up(keep_last=1)
    at.newer(size=1000)
    content = bytearray(made(dump=b"data" * 1000))
    content[200] ^= 1
    with pytest.raises(Exception, match="damaged"):
        await one.up(keep_last=1, **serves(at, bytes(content)))
    assert at.files() == {DATABASE, f"{DATABASE}/{file_of(good).name}"}


@at_desk()
async def test_archives_of_several_databases_are_listed_newest_first_as_snapshots_are(
    desk: Desk, tmp_path: Path
) -> None:
    for day, database in ((2, DATABASE), (0, OTHER_DATABASE), (1, DATABASE)):
        put(tmp_path, day, database)
    listed = await desk.types("archives", f"{tmp_path}/", "--json")
    found = [each["manifest"]["version_id"] for each in listed.done.json]
    assert found == ["v0", "v1", "v2"]


@at_desk()
async def test_archives_says_which_are_not_proved_and_expects_a_good_one(
    desk: Desk, tmp_path: Path
) -> None:
    put(tmp_path / "kept", 0, unproved="it is empty")
    typed = ("archives", f"{tmp_path}/kept/")
    ended = (await desk.types(*typed)).failed("some archives are not proved")
    assert "is not proved: it is empty" in ended.out
    ended = await desk.types(*typed, "--expect", DATABASE)
    assert "has no good archive of database" in ended.err
    put(tmp_path / "kept", 1)
    ended = await desk.types(*typed, "--expect", DATABASE)
    assert "has no good archive" not in ended.err


@at_desk()
async def test_forget_removes_no_good_archive_for_one_that_is_not_proved(
    desk: Desk, tmp_path: Path
) -> None:
    newest, middle = (put(tmp_path, day, unproved="it is empty") for day in (0, 1))
    good = put(tmp_path, 2)
    oldest = put(tmp_path, 3)
    assert (await desk.types("forget", f"{tmp_path}/", "--keep-last", "1")).code == 0
    assert [each.exists() for each in (newest, middle, good, oldest)] == [
        True,
        False,
        True,
        False,
    ]


@at_desk()
async def test_status_counts_no_archive_that_is_not_proved(
    w: World, desk: Desk, tmp_path: Path
) -> None:
    w.emulator.add_snapshot(DATABASE)
    put(tmp_path, 270, unproved="it is empty")
    limits = (
        "--max-age",
        "7d",
        "--archives",
        f"{tmp_path}/",
        "--max-archive-age",
        "7d",
    )
    (await desk.types("status", DATABASE, *limits)).failed("no archive")
