"""The checks of a zip: its directory, which one that was cut short lacks, and its members' checksums."""

import io
import random
import tracemalloc
import zipfile
from functools import cache

import pytest

from pulumi_snapshots.archive.zip_check import BrokenZip, check_zip


def made(
    members: int, comment: bytes = b"", content: bytes = b"PK\x05\x06 PK\x01\x02"
) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.comment = comment
        for number in range(min(members, 1000)):
            archive.writestr(f"{'folder/' * (number % 5)}{number}", content)
        # Members that only the directory has, since a real one takes twenty times as long.
        archive.filelist += archive.filelist[-1:] * (members - 1000)
    return target.getvalue()


@pytest.mark.parametrize("members", [0, 3, 65_536])
def test_a_zip_of_any_number_of_members_passes(members: int) -> None:
    assert checked(made(members, content=b"")) == "it is empty"
    for comment in (b"a comment", b"x" * 65_535):
        found = checked(made(members, comment, content=bytes(20_000)))
        assert found == (None if members else "it is empty"), "its end alone is kept"


def test_a_zip_that_was_cut_or_lost_or_got_bytes_is_refused() -> None:
    archive = made(20)
    cut = [archive[:-each] for each in range(1, len(archive))]
    begins = range(0, len(archive) - 30, 7)
    lost = [archive[:begin] + archive[begin + 5 :] for begin in begins]
    got = [archive[:begin] + b"extra" + archive[begin:] for begin in begins]
    for changed in cut + lost + got:
        with pytest.raises(BrokenZip):
            checked(changed)


@pytest.mark.parametrize("other", [b"", b"PK", b"<html>502</html>", bytes(100_000)])
def test_a_file_that_is_no_zip_is_refused(other: bytes) -> None:
    with pytest.raises(BrokenZip, match="not a readable zip, or was truncated"):
        checked(other)


class Stream(io.RawIOBase):
    """A file that cannot be rewound, so that a member's checksum and sizes follow it."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.content += memoryview(data)  # type: ignore[arg-type]
        return memoryview(data).nbytes  # type: ignore[arg-type]


METHODS = [
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2,
    zipfile.ZIP_LZMA,
]
NOISE = random.Random(1).randbytes(100_000)
CONTENTS = [b"", b"x", NOISE, bytes(2_000_000), NOISE, b"last"]


@cache
def zipped(method: int, *, streamed: bool = False, large: bool = False) -> bytes:
    target: Stream | io.BytesIO = Stream() if streamed else io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for number, content in enumerate(CONTENTS):
            with archive.open(f"folder/{number}", "w", force_zip64=large) as member:
                member.write(content)
    return bytes(target.content) if isinstance(target, Stream) else target.getvalue()


def checked(archive: bytes, size: int = 65_536) -> str | None:
    return check_zip(
        archive[start : start + size] for start in range(0, len(archive), size)
    )


@pytest.mark.parametrize("size", [97, 10_000_000])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_every_member_of_a_good_zip_is_checked(
    method: int,
    streamed: bool,  # noqa: FBT001
    large: bool,  # noqa: FBT001
    size: int,
) -> None:
    found = checked(zipped(method, streamed=streamed, large=large), size)
    known = method == zipfile.ZIP_DEFLATED or (
        method in {zipfile.ZIP_STORED, zipfile.ZIP_BZIP2} and not streamed
    )
    if known:
        assert found is None
    else:  # a method that is not read, or members that do not say where they end
        assert found is not None
        assert found.startswith("6 of 6 members were not checked: ")


@pytest.mark.parametrize(
    ("method", "streamed", "large"),
    [
        *((method, False, False) for method in METHODS[:3]),
        (zipfile.ZIP_DEFLATED, True, False),
        (zipfile.ZIP_DEFLATED, True, True),
    ],
)
def test_one_changed_byte_in_a_member_is_noticed(
    method: int,
    streamed: bool,  # noqa: FBT001
    large: bool,  # noqa: FBT001
) -> None:
    archive = zipped(method, streamed=streamed, large=large)
    chance = random.Random(1)
    start = archive.index(b"folder/2") + 28
    places = [
        (chance.randrange(start, start + 90_000), 1 << chance.randrange(8))
        for _ in range(20)
    ]
    in_headers = [
        (archive.index(b"folder/2") - 30, 1),
        (archive.index(b"folder/3") - 10, 1),
    ]
    for place, bit in places + in_headers * (not streamed):
        damaged = bytearray(archive)
        damaged[place] ^= bit
        with pytest.raises(BrokenZip, match=r"damaged|not a readable zip"):
            checked(bytes(damaged), 65_536)


def test_a_member_that_is_made_to_fill_the_memory_does_not() -> None:
    target = io.BytesIO()
    with (
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("bomb", "w") as member,
    ):
        for _ in range(100):
            member.write(bytes(1024 * 1024))
    tracemalloc.start()
    assert checked(target.getvalue(), 1024 * 1024) is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
