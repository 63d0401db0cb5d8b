"""The zip of a snapshot: how to write it, at an exact size if wanted, and how to read its data."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import IO

# the member that holds the data: an SQLite database, or no bytes for an empty one
DATA = "database.sqlite"
_ABOUT = "snapshot.json"
_PADDING = "padding"
# What a stored member adds to a zip beside its data: a local header of 30 bytes, a central one of
# 46, its name twice.
_MEMBER_OVERHEAD = 30 + 46 + 2 * len(_PADDING)


def write_zip(  # noqa: PLR0913 - what a snapshot's zip consists of
    target: IO[bytes],
    data: bytes | tuple[str, Path],
    database_id: str,
    version_id: str,
    size: int | None,
    *,
    compress: bool = False,
) -> None:
    """Write a snapshot's zip to an empty file.

    The same data of the same version gives the same bytes.

    The data is an SQLite image, which may be compressed, or the name and the path of a dump, which
    is never whole in memory. With a `size` the zip gets exactly as many bytes; ValueError if it
    does not fit.
    """
    about = json.dumps({"database_id": database_id, "version_id": version_id}).encode()
    how = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", compression=how) as archive:
        archive.writestr(zipfile.ZipInfo(_ABOUT), about)
        if isinstance(data, tuple):
            name, path = data
            with (
                path.open("rb") as source,
                archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member,
            ):
                shutil.copyfileobj(source, member, 1 << 20)
        else:
            archive.writestr(zipfile.ZipInfo(DATA), data, compress_type=how)
    if size is None or target.tell() == size:
        return
    padding = size - target.tell() - _MEMBER_OVERHEAD
    if padding < 0:
        least = target.tell()
        raise ValueError(
            f"this snapshot takes {least} bytes, or {least + _MEMBER_OVERHEAD} and more, not {size}"
        )
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(zipfile.ZipInfo(_PADDING), bytes(padding))


def data_of(source: IO[bytes]) -> bytes:
    """The SQLite image in a snapshot's zip."""
    with zipfile.ZipFile(source) as archive:
        return archive.read(DATA)


def unpack(source: IO[bytes], name: str, into: Path) -> None:
    """Write the dump in a snapshot's zip to a file.

    KeyError if it holds none of this name, as that of another engine.
    """
    with (
        zipfile.ZipFile(source) as archive,
        archive.open(name) as member,
        into.open("wb") as target,
    ):
        shutil.copyfileobj(member, target, 1 << 20)
