"""Checks a zip as it passes by: its directory, which one that was cut short lacks, and its members' checksums."""

from __future__ import annotations

import bz2
import io
import struct
import zipfile
import zlib
from collections.abc import Generator
from typing import Any

from pulumi_snapshots.errors import Explained

END, END_64 = 22, 76
"""Bytes of the end record without its comment, and of the two records before it in large zips."""
LONGEST_COMMENT = 0xFFFF
BOUND = 1024 * 1024
"""Bytes that are unpacked at once, however small they were: a member may be made to fill the memory."""
PIECE = 16 * 1024
"""Bytes that are read at once of a member that does not say where it ends: what is beyond its end is copied."""
ENCRYPTED, SIZES_FOLLOW = 1, 8
"""Flags of a member."""
STORED, DEFLATED, BZIP2 = 0, 8, 12
"""Methods of compression that are read; members with another one are passed over."""
FULL = 0xFFFFFFFF
AFTER_MEMBERS = {b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x08"}
Blocks = Generator[None, bytes, Any]
"""Code that is handed one block after another."""


class BrokenZip(Explained):
    """It is no zip, or not a whole one."""


def check_directory(tail: bytes, size: int) -> int:
    """Read the directory of a zip of this size, which ends in `tail`; raises `BrokenZip` if it cannot be read.

    Returns the number of members; 0 if the directory begins before the tail, so that only its place was checked.
    """
    before = size - len(tail)
    stop = end = _end_record(tail)
    length, start = struct.unpack_from("<2L", tail, end + 12)
    if end >= END_64 and tail.startswith(b"PK\x06\x07", end - 20):
        stop = end - END_64
        length, start = struct.unpack_from("<2Q", tail, stop + 40)
    # zipfile would take bytes that are missing or added for another beginning of the zip.
    if start + length != before + stop:
        raise BrokenZip("its directory is not where its end record says")
    if start < before:
        return 0
    try:
        # Without the comment, in which zipfile may find another end record.
        with zipfile.ZipFile(io.BytesIO(tail[start - before : end + END - 2] + bytes(2))) as directory:
            return len(directory.infolist())
    except Exception as error:  # zipfile raises errors of many kinds
        raise BrokenZip(f"its directory cannot be read ({error})") from error


def _end_record(tail: bytes) -> int:
    """The place of the end record, whose comment reaches exactly to the end of the zip."""
    for comment in range(min(LONGEST_COMMENT, len(tail) - END) + 1):
        at = len(tail) - END - comment
        if tail.startswith(b"PK\x05\x06", at) and tail[at + 20 : at + END] == comment.to_bytes(2, "little"):
            return at
    raise BrokenZip("it has no end record: it is not a zip, or was truncated")


class Members:
    """The members of a zip whose bytes are handed over in order.

    Attributes:
        checked: how many have the checksum that they must have.
        passed_over: how many were not read: encrypted, or compressed in another way.
    """

    def __init__(self) -> None:
        self.checked = 0
        self.passed_over = 0
        self._view = self._before = memoryview(b"")
        self._reader: Blocks | None = self._all()
        next(self._reader)

    def feed(self, block: bytes) -> None:
        """Read on; raises `BrokenZip` if a member is damaged."""
        if self._reader is not None:
            try:
                self._reader.send(block)
            except StopIteration:  # the directory, or what cannot be followed any further
                self._reader = None
            except struct.error as error:
                raise BrokenZip(f"the header of a member cannot be read ({error})") from None

    def _all(self) -> Blocks:
        while (signature := (yield from self._take(4))) == b"PK\x03\x04":
            header = yield from self._take(26)
            flags, method, crc, packed, size, name_length, extra_length = struct.unpack("<2x2H4x3L2H", header)
            name = yield from self._take(name_length)
            large, size, packed = _large(size, packed, (yield from self._take(extra_length)))
            follows = bool(flags & SIZES_FOLLOW) and not packed
            unpack = None if flags & ENCRYPTED else _unpacker(method)
            if follows and (unpack is None or method == STORED):
                self.passed_over += 1
                return  # nothing shows where it ends
            seen = _Seen()
            yield from self._data(seen, unpack, None if follows else packed)
            if flags & SIZES_FOLLOW:
                crc, size = yield from self._descriptor(seen, large=large)
            if unpack is None:
                self.passed_over += 1
            elif (seen.crc, seen.size) != (crc, size):
                raise BrokenZip(f"the zip's member {name.decode(errors='replace')} is damaged: it has another checksum")
            else:
                self.checked += 1

        if signature not in AFTER_MEMBERS and self.checked + self.passed_over:
            raise BrokenZip("the header of a member of the zip is damaged")

    def _data(self, seen: _Seen, unpack: Any, packed: int | None) -> Blocks:
        """Read the data of a member, of so many bytes, or up to where its compression ends."""
        while not unpack.eof if packed is None else seen.packed < packed:
            taken = yield from self._some(PIECE if packed is None else packed - seen.packed)
            seen.packed += len(taken)
            try:
                beyond = seen.unpack(unpack, taken)
            except (OSError, ValueError, EOFError, zlib.error) as error:
                raise BrokenZip(f"a member of the zip cannot be unpacked ({error})") from None
            if packed is None and beyond:
                seen.packed -= beyond
                self._view = self._before[len(taken) - beyond :]

    def _descriptor(self, seen: _Seen, *, large: bool) -> Generator[None, bytes, tuple[int, int]]:
        """The checksum and size that follow a member, with or without a signature, in one of two widths."""
        first = yield from self._take(4)
        crc = struct.unpack("<L", (yield from self._take(4)) if first == b"PK\x07\x08" else first)[0]
        sizes = yield from self._take(8)
        if not large and struct.unpack("<2L", sizes) == (seen.packed & FULL, seen.size & FULL):
            return crc, seen.size
        packed, size = struct.unpack("<2Q", sizes + (yield from self._take(8)))
        return crc, size if packed == seen.packed else -1

    def _some(self, most: int) -> Generator[None, bytes, memoryview]:
        """At most so many bytes, and one at least."""
        while not self._view:
            self._view = memoryview((yield))
        self._before = self._view
        taken, self._view = self._view[:most], self._view[most:]
        return taken

    def _take(self, count: int) -> Generator[None, bytes, bytes]:
        """Exactly so many bytes."""
        taken = bytearray()
        while len(taken) < count:
            taken += yield from self._some(count - len(taken))
        return bytes(taken)


class _Seen:
    """The facts about a member that is being read."""

    def __init__(self) -> None:
        self.packed = self.size = self.crc = 0

    def unpack(self, unpacker: Any, data: memoryview) -> int:
        """Unpack data, a bounded part at a time; returns how many bytes of it are beyond the member's end."""
        if unpacker is None:
            return 0
        if unpacker is STORED:
            self._count(data)
            return 0
        left: bytes | memoryview = data
        while not unpacker.eof:
            part = unpacker.decompress(left, BOUND)
            self._count(part)
            left = getattr(unpacker, "unconsumed_tail", b"")
            if not left and len(part) < BOUND:
                break
        return len(unpacker.unused_data)

    def _count(self, data: bytes | memoryview) -> None:
        self.crc, self.size = zlib.crc32(data, self.crc), self.size + len(data)


def _unpacker(method: int) -> Any:
    """The library's object for a method; None if there is none."""
    if method == DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS)
    return {STORED: STORED, BZIP2: bz2.BZ2Decompressor()}.get(method)


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
