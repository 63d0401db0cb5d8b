"""The zip of an archive, whole, checked and decrypted, for as long as it is read: nothing of it has a name on this machine."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

from pulumi_snapshots.archive.manifest import Manifest, manifest_at
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.archive.zip_check import BrokenZip
from pulumi_snapshots.storage.destination import Destination, place_text
from pulumi_snapshots.storage.encryption import SUFFIX, decrypt
from pulumi_snapshots.storage.store import StoreTrouble


@dataclass(frozen=True)
class Found:
    """An archive that is there.

    Attributes:
        place: of the object.
        manifest: None without one.
        size: bytes of the object.
        sealed: whether it is encrypted.
    """

    place: Destination
    manifest: Manifest | None
    size: int
    sealed: bool


async def find(transfers: Transfers, place: Destination) -> Found:
    """An archive and its manifest; raises `StoreTrouble` if it is not there."""
    seen = await transfers.reading(transfers.store(place).stat)
    if seen is None:
        raise StoreTrouble(f"{place_text(place.uri)} does not exist")
    manifest = await transfers.reading(manifest_at, transfers, place.uri)
    sealed = place.path.endswith(SUFFIX) or bool(manifest and manifest.recipients)
    return Found(place, manifest, seen.size, sealed)


@asynccontextmanager
async def opened(transfers: Transfers, found: Found, keys: list[Any]) -> AsyncIterator[ZipFile]:
    """The zip of an archive.

    Args:
        transfers: of the process.
        found: the archive.
        keys: private keys, for one that is encrypted.

    Raises:
        BrokenZip: it is not what its manifest says, or a member is damaged.
        NotDecrypted: no key opens it.
        StoreTrouble: it cannot be read.
    """
    # A file without a name, which is gone with this process, or the archive's own.
    is_plain_file = found.place.scheme == "file" and not found.sealed
    with found.place.file.open("rb") if is_plain_file else tempfile.TemporaryFile() as file:
        await transfers.reading(_fetch, transfers, found, keys, None if is_plain_file else file)
        try:
            zipped = ZipFile(file)
            damaged = await transfers.reading(zipped.testzip)
        except (BadZipFile, zlib.error, EOFError) as error:
            raise BrokenZip(f"{place_text(found.place.uri)} is no readable zip: {error}") from None
        if damaged is not None:
            raise BrokenZip(f"{place_text(found.place.uri)} is damaged in its member {damaged}")
        with zipped:
            yield zipped


def _fetch(transfers: Transfers, found: Found, keys: list[Any], file: IO[bytes] | None) -> None:
    """Read it, decrypted on the way, and copy it."""
    name, about, hasher = place_text(found.place.uri), found.manifest, sha256()

    def take(data: bytes) -> None:
        hasher.update(data)
        if file is not None:
            file.write(data)

    pieces = transfers.store(found.place).read()
    if found.sealed:
        decrypt(pieces, keys, take, name=name)
    else:
        for piece in pieces:
            take(piece)
    if about is not None and hasher.hexdigest() != (about.plain_sha256 if found.sealed else about.sha256):
        raise BrokenZip(f"{name} was changed: its SHA-256 is not that of its manifest")
