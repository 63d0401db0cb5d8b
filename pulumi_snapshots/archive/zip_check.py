"""Checks a zip as it passes by: its members' checksums, and its directory, which one that was cut short lacks."""

import bz2
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from pulumi_snapshots.errors import Explained
from pulumi_snapshots.storage.flow import file_of
from pulumi_snapshots.storage.store import Buffer

BOUND = 1024 * 1024
"""Bytes that are unpacked at once, however small they were: a member may be made to fill the memory."""
# bytes of a directory that is read: that of about 80,000 members
LARGEST_DIRECTORY = 8 * 1024 * 1024
LONGEST_END = 0xFFFF + 22
"""Bytes at the end in which zipfile looks for the end record, whose comment may be as long."""
HEADER = struct.Struct("<2x2H8x2L2H")
ENCRYPTED, SIZES_FOLLOW = 1, 8  # flags of a member
STORED, DEFLATED, BZIP2 = 0, 8, 12
"""Methods of compression that are read; members with another one are passed over."""
FULL = 0xFFFFFFFF
SIGNATURES = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x08")
"""What follows a member: another one, or the directory."""
# words of four bytes that may follow a member's data: signature, checksum, sizes
LONGEST_DESCRIPTOR = 6


class BrokenZip(Explained):
    """It is no zip, or not a whole one."""


def check_zip(blocks: Iterator[Buffer]) -> int:
    """Read a zip to its end; returns how many members could not be read. Raises `BrokenZip` if it is damaged or not whole."""
    file = file_of(blocks)
    try:
        found, tail = _members(file)
        while block := file.read(BOUND):
            tail = tail[-LARGEST_DIRECTORY:] + block
        before = file.tell() - len(tail)
        gap = bytes(min(before, LONGEST_END))
        with zipfile.ZipFile(_End(gap + tail, before - len(gap))) as directory:
            every = directory.infolist()
    except Explained:
        raise
    except Exception as error:  # zipfile and the unpackers raise errors of many kinds
        raise BrokenZip(
            f"the download is not a readable zip, or was truncated ({error})"
        ) from error
    # zipfile takes bytes that are missing or added for another beginning of the zip.
    if every and min(each.header_offset for each in every) != 0:
        raise BrokenZip(
            "the download is not a readable zip: its directory is not where its end record says"
        )
    for each in every:
        if found.get(each.header_offset) not in {None, (each.CRC, each.file_size)}:
            raise BrokenZip(f"the zip's member {each.filename} is damaged: it has another checksum")
    return list(found.values()).count(None)


class _End(io.BytesIO):
    """The end of a file, in which each byte has its place in the whole: zipfile checks the places."""

    def __init__(self, end: bytes, before: int) -> None:
        super().__init__(end)
        self._before = before

    def seek(self, place: int, whence: int = 0) -> int:
        return super().seek(place if whence else place - self._before, whence) + self._before

    def tell(self) -> int:
        return super().tell() + self._before


def _members(file: io.BufferedReader) -> tuple[dict[int, tuple[int, int] | None], bytes]:
    """The checksum and size of each member by its place, None for one that is passed over, and the signature that ended them."""
    found: dict[int, tuple[int, int] | None] = {}
    start, signature = 0, file.read(4)
    while signature == SIGNATURES[0]:
        flags, method, packed, size, name_length, extra_length = HEADER.unpack(
            _exactly(file, HEADER.size)
        )
        _exactly(file, name_length)
        packed = _large(size, packed, _exactly(file, extra_length))
        known, follows = (
            not flags & ENCRYPTED and method in {STORED, DEFLATED, BZIP2},
            bool(flags & SIZES_FOLLOW),
        )
        if follows and not (known and (method == DEFLATED or packed)):
            return {**found, start: None}, b""  # nothing shows where it ends
        crc = count = 0
        for part in _unpacked(
            file, method if known else STORED, None if follows and not packed else packed
        ):
            crc, count = zlib.crc32(part, crc), count + len(part)
        found[start] = (crc, count) if known else None
        signature = file.read(4)
        for _ in range(LONGEST_DESCRIPTOR if follows else 0):
            signature = signature if signature in SIGNATURES else _exactly(file, 4)
        start = file.tell() - 4
    if found and signature not in SIGNATURES:
        raise BrokenZip("the header of a member of the zip is damaged")
    return found, signature


def _exactly(file: io.BufferedReader, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError("it ends within a member")
    return data


def _unpacked(file: io.BufferedReader, method: int, left: int | None) -> Iterator[bytes]:
    """Read a member with so many bytes left, or up to where its compression ends, and unpack it in bounded parts."""
    while method == STORED and left:
        yield _exactly(file, min(left, BOUND))
        left -= min(left, BOUND)
    if method == STORED:
        return
    unpacker: Any = (
        bz2.BZ2Decompressor() if method == BZIP2 else zlib.decompressobj(-zlib.MAX_WBITS)
    )
    while not unpacker.eof:
        data = file.peek()[:left] if getattr(unpacker, "needs_input", True) else b""
        part = unpacker.decompress(data, BOUND)
        taken = len(data) - len(unpacker.unused_data or getattr(unpacker, "unconsumed_tail", b""))
        if taken < 0 or not (part or taken):
            raise EOFError("a member is cut short or has other data")
        file.read(taken)
        left = None if left is None else left - taken
        yield part
    if left:
        raise EOFError("a member ends before its data")


def _large(size: int, packed: int, extra: bytes) -> int:
    """The packed size of a member, which stands in a field of its own if it is large."""
    while len(extra) >= 4 and packed == FULL:  # noqa: PLR2004  a field's head
        kind, length = struct.unpack("<2H", extra[:4])
        if kind == 1:
            start = 12 if size == FULL else 4
            return int.from_bytes(extra[start : start + 8], "little")
        extra = extra[4 + length :]
    return packed
