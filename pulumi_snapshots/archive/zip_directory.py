"""Checks a zip's directory from its last bytes alone: a zip that was cut short has none."""

from __future__ import annotations

import io
import struct
import zipfile

from pulumi_snapshots.errors.explained import Explained

END, END_64 = 22, 76
"""Bytes of the end record without its comment, and of the two records before it in large zips."""
LONGEST_COMMENT = 0xFFFF


class BrokenZip(Explained):
    """It is no zip, or not a whole one."""


def check_directory(tail: bytes, size: int) -> int:
    """Read the directory of a zip.

    Args:
        tail: its last bytes.
        size: bytes of the whole.

    Returns:
        The number of members; 0 if the directory begins before the tail, so that only its place was checked.

    Raises:
        BrokenZip: it cannot be read.
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
