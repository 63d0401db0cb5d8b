"""The zip of a snapshot: how it is written, of exactly a wanted size if need be, and how its data is read back."""

from __future__ import annotations

import json
import zipfile
from typing import IO

__all__ = ["DATA", "data_of", "write_archive"]

DATA = "database.sqlite"  # the member that holds the data: an SQLite database, or nothing for an empty one
_ABOUT = "snapshot.json"
_PADDING = "padding"
# What a stored member adds to a zip beside its data: a local header of 30 bytes, a central one of 46, its name twice.
_MEMBER_OVERHEAD = 30 + 46 + 2 * len(_PADDING)


def write_archive(  # noqa: PLR0913 - what an archive consists of
    target: IO[bytes], data: bytes, database_id: str, version_id: str, size: int | None, *, compress: bool = False
) -> None:
    """Write a snapshot's zip to an empty file; the same data of the same version gives the same bytes.

    Raises:
        ValueError: The zip does not fit into `size` bytes.
    """
    about = json.dumps({"database_id": database_id, "version_id": version_id}).encode()
    how = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", compression=how) as archive:
        archive.writestr(zipfile.ZipInfo(_ABOUT), about)
        archive.writestr(zipfile.ZipInfo(DATA), data, compress_type=how)
    if size is None or target.tell() == size:
        return
    padding = size - target.tell() - _MEMBER_OVERHEAD
    if padding < 0:
        least = target.tell()
        raise ValueError(f"this snapshot takes {least} bytes, or {least + _MEMBER_OVERHEAD} and more, not {size}")
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(zipfile.ZipInfo(_PADDING), bytes(padding))


def data_of(source: IO[bytes]) -> bytes:
    """The data in a snapshot's zip."""
    with zipfile.ZipFile(source) as archive:
        return archive.read(DATA)
