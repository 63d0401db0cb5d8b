"""The check of a zip's directory, which tells a whole zip from one that was cut short."""

from __future__ import annotations

import io
import random
import zipfile

import pytest

from pulumi_snapshots.archive.zip_directory import BrokenZip, check_directory

LONGEST_END = 22 + 0xFFFF + 76
"""Bytes after the directory at most: the end record, its comment, and the records of large zips."""


def made(members: int, comment: bytes = b"", content: bytes = b"PK\x05\x06 PK\x01\x02") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.comment = comment
        for number in range(min(members, 1000)):
            archive.writestr(f"{'folder/' * (number % 5)}{number}", content)
        # Members that only the directory has, since a real one takes twenty times as long.
        archive.filelist += archive.filelist[-1:] * (members - 1000)
    return target.getvalue()


@pytest.mark.parametrize("members", [0, 1, 3, 1000, 65_535, 65_536])
def test_a_zip_of_any_number_of_members_passes(members: int) -> None:
    archive = made(members, content=b"")
    assert check_directory(archive, len(archive)) == members
    tail = archive[-(LONGEST_END + 1000) :]
    assert 0 <= check_directory(tail, len(archive)) <= members


@pytest.mark.parametrize("comment", [b"hello", b"PK\x05\x06", b"PK\x05\x06" * 20, b"x" * 65_535])
def test_a_zip_with_a_comment_passes(comment: bytes) -> None:
    archive = made(3, comment)
    assert check_directory(archive, len(archive)) == 3


def test_a_zip_cut_anywhere_is_refused() -> None:
    archive = made(20, b"a comment")
    for cut in range(1, len(archive)):
        with pytest.raises(BrokenZip):
            check_directory(archive[:-cut], len(archive) - cut)


def test_a_zip_that_lost_bytes_in_the_middle_is_refused() -> None:
    archive = made(20)
    for begin in range(0, len(archive) - 30, 7):
        with pytest.raises(BrokenZip):
            check_directory(archive[:begin] + archive[begin + 5 :], len(archive) - 5)


def test_a_damaged_directory_raises_no_other_error() -> None:
    chance = random.Random(1)
    archive = made(5, b"comment")
    for _ in range(3000):
        damaged = bytearray(archive)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(archive) - 400, len(archive))] = chance.choice([0, 255, chance.randrange(256)])
        try:
            check_directory(bytes(damaged), len(damaged))
        except BrokenZip:
            continue


@pytest.mark.parametrize("other", [b"", b"PK", b"<html>502</html>", bytes(100_000)])
def test_a_file_that_is_no_zip_is_refused(other: bytes) -> None:
    with pytest.raises(BrokenZip, match="not a zip, or was truncated"):
        check_directory(other, len(other))
