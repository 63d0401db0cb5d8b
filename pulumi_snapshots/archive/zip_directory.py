"""Whether a zip's directory can be read, from its last bytes alone: a zip that was cut short has none."""

from __future__ import annotations

import struct

from pulumi_snapshots.errors.explained import Explained

__all__ = ["LONGEST_END", "BrokenZip", "check_directory"]

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_NAMES = slice(10, 13)
"""Where an entry has the lengths of its name, extra field and comment."""
LONGEST_END = _END.size + 0xFFFF + _LOCATOR.size + _END_64.size
"""Bytes after the directory: the end record with the longest comment, and the two records of large archives."""
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF


class BrokenZip(Explained):
    """It is no zip, or not a whole one."""


def check_directory(tail: bytes, size: int) -> int:
    """Read the directory of a zip.

    Args:
        tail: its last bytes; of a directory that begins before them only the entries within them are read.
        size: bytes of the whole.

    Returns:
        How many entries were read.

    Raises:
        BrokenZip: it cannot be read.
    """
    begin = size - len(tail)
    end = _find_end(tail)
    _, _, _, _, count, length, offset, _ = _END.unpack_from(tail, end)
    stop = end
    if count == _FULL_16 or _FULL_32 in (length, offset):
        stop, count, length, offset = _large(tail, end, begin, (count, length, offset))
    if offset + length != begin + stop:
        raise BrokenZip("its directory is not where its end says")
    at, first = offset - begin, True
    if at < 0:
        at, first = tail.find(b"PK\x01\x02"), False
    read = 0
    while 0 <= at < stop:
        after = _after_entry(tail, at, stop)
        if after is None:
            if first:
                raise BrokenZip(f"entry {read + 1} of its directory cannot be read")
            # Bytes that only looked like the beginning of an entry.
            at, read = tail.find(b"PK\x01\x02", at + 1), 0
            continue
        at, read = after, read + 1
        if at == stop:
            break
    if (first and read != count) or at not in {stop, -1}:
        raise BrokenZip(f"its directory holds {read} entries, its end speaks of {count}")
    return read


def _find_end(tail: bytes) -> int:
    """Where the end record is: the last one whose comment reaches exactly to the end."""
    at = len(tail)
    while (at := tail.rfind(b"PK\x05\x06", 0, at)) >= 0:
        if at + _END.size <= len(tail) and at + _END.size + _END.unpack_from(tail, at)[-1] == len(tail):
            return at
        at += 3  # rfind's end is exclusive: go on with those that begin before this one
    raise BrokenZip("it has no end: it is no zip, or was cut short")


def _large(tail: bytes, end: int, begin: int, small: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Where the directory ends, its entries, length and offset, from the records of large archives."""
    count, length, offset = small
    at = end - _LOCATOR.size
    if at < 0 or tail[at : at + 4] != b"PK\x06\x07":
        return end, count, length, offset  # really 65535 entries
    at = _LOCATOR.unpack_from(tail, at)[2] - begin
    if not 0 <= at <= end - _LOCATOR.size - _END_64.size or tail[at : at + 4] != b"PK\x06\x06":
        raise BrokenZip("the record of its length cannot be read")
    fields = _END_64.unpack_from(tail, at)
    return at, fields[7], fields[8], fields[9]


def _after_entry(tail: bytes, at: int, stop: int) -> int | None:
    if at + _ENTRY.size > stop or tail[at : at + 4] != b"PK\x01\x02":
        return None
    after = at + _ENTRY.size + sum(_ENTRY.unpack_from(tail, at)[_NAMES])
    return after if after <= stop else None
