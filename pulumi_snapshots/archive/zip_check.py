"""Checks a zip as it passes by: its members' checksums, and its directory, which one that was cut short lacks."""

from __future__ import annotations

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
LARGEST_DIRECTORY = 8 * 1024 * 1024
"""Bytes of a directory that is read: that of about 80,000 members."""
LONGEST_END = 0xFFFF + 22
"""Bytes at the end in which zipfile looks for the end record, whose comment may be as long."""
HEADER = struct.Struct("<2x2H4x3L2H")
ENCRYPTED, SIZES_FOLLOW = 1, 8
"""Flags of a member."""
STORED, DEFLATED, BZIP2 = 0, 8, 12
"""Methods of compression that are read; members with another one are passed over."""
FULL = 0xFFFFFFFF
AFTER_MEMBERS = (b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x08")


class BrokenZip(Explained):
    """It is no zip, or not a whole one."""


def check_zip(blocks: Iterator[Buffer]) -> int:
    """Read a zip to its end; returns how many members could not be read. Raises `BrokenZip` if it is damaged or not whole."""
    file = file_of(blocks)
    try:
        passed_over, tail = _members(file)
        while block := file.read(BOUND):
            tail = tail[-LARGEST_DIRECTORY:] + block
        before = file.tell() - len(tail)
        gap = bytes(min(before, LONGEST_END))
        with zipfile.ZipFile(_End(gap + tail, before - len(gap))) as directory:
            starts = [each.header_offset for each in directory.infolist()]
    except Explained:
        raise
    except Exception as error:  # zipfile and the unpackers raise errors of many kinds
        raise BrokenZip(f"the download is not a readable zip, or was truncated ({error})") from error
    # zipfile takes bytes that are missing or added for another beginning of the zip.
    if starts and min(starts) != 0:
        raise BrokenZip("the download is not a readable zip: its directory is not where its end record says")
    return passed_over


class _End(io.BytesIO):
    """The end of a file, in which each byte has its place in the whole: zipfile checks the places."""

    def __init__(self, end: bytes, before: int) -> None:
        super().__init__(end)
        self._before = before

    def seek(self, place: int, whence: int = 0) -> int:
        return super().seek(place if whence else place - self._before, whence) + self._before

    def tell(self) -> int:
        return super().tell() + self._before


def _members(file: io.BufferedReader) -> tuple[int, bytes]:
    """Check each member; returns how many were passed over, and the signature that ended them."""
    count = passed_over = 0
    while (signature := file.read(4)) == b"PK\x03\x04":
        count += 1
        flags, method, crc, packed, size, name_length, extra_length = HEADER.unpack(_exactly(file, HEADER.size))
        name = _exactly(file, name_length)
        large, size, packed = _large(size, packed, _exactly(file, extra_length))
        known = not flags & ENCRYPTED and method in {STORED, DEFLATED, BZIP2}
        follows = bool(flags & SIZES_FOLLOW)
        if follows and not (known and (method == DEFLATED or packed)):
            return passed_over + 1, b""  # nothing shows where it ends
        start, found = file.tell(), [0, 0]
        for part in _unpacked(file, method if known else STORED, None if follows and not packed else packed):
            found = [zlib.crc32(part, found[0]), found[1] + len(part)]
        if not known:
            passed_over += 1
        elif not (_is_described(file, file.tell() - start, *found, large=large) if follows else found == [crc, size]):
            raise BrokenZip(f"the zip's member {name.decode(errors='replace')} is damaged: it has another checksum")
    if count and signature not in AFTER_MEMBERS:
        raise BrokenZip("the header of a member of the zip is damaged")
    return passed_over, signature


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
    unpacker: Any = bz2.BZ2Decompressor() if method == BZIP2 else zlib.decompressobj(-zlib.MAX_WBITS)
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


def _is_described(file: io.BufferedReader, packed: int, crc: int, size: int, *, large: bool) -> bool:
    """Whether the checksum and sizes that follow a member fit, with or without a signature, in one of two widths."""
    found = _exactly(file, 4)
    if found == b"PK\x07\x08":
        found = _exactly(file, 4)
    sizes = _exactly(file, 8)
    if large or sizes != struct.pack("<2L", packed & FULL, size & FULL):
        sizes += _exactly(file, 8)
        return found + sizes == struct.pack("<L2Q", crc, packed, size)
    return found == struct.pack("<L", crc)


def _large(size: int, packed: int, extra: bytes) -> tuple[bool, int, int]:
    """The sizes of a large member stand in a field of their own: whether there is one, and the sizes."""
    while len(extra) >= 4:  # noqa: PLR2004  a field's head
        kind, length = struct.unpack("<2H", extra[:4])
        if kind == 1:
            wide = iter(struct.unpack(f"<{length // 8}Q", extra[4 : 4 + length // 8 * 8]))
            size = next(wide, size) if size == FULL else size
            return True, size, next(wide, packed) if packed == FULL else packed
        extra = extra[4 + length :]
    return False, size, packed
