"""One object on its way into a store: its zip is checked, encrypted for the recipients, hashed and written as it passes by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256

from pulumi_snapshots.archive.zip_check import check_zip
from pulumi_snapshots.storage.encryption import encrypt, sealed_size
from pulumi_snapshots.storage.flow import Flow
from pulumi_snapshots.storage.store import Buffer, Overtaken, Seen, Store, StoreTrouble

SILENCE = 120.0
"""Seconds without progress of an upload after which the store is asked whether it still answers: the library cannot tell a
slow upload from a silent store."""


class Upload:
    """An object that does not exist yet, in this store; `total` is the bytes of the zip, if known. Each method blocks.

    Once the zip is whole, it has the object's size and SHA-256, that of the zip if `keys` encrypt it, and how many of the zip's
    members were passed over.
    """

    def __init__(self, store: Store, total: int | None, keys: Sequence[str]) -> None:
        size = sealed_size(total, len(keys)) if total and keys else total
        self.size = self.passed_over = 0
        self.sha256 = ""
        self.plain_sha256: str | None = None
        self._store = store
        # Each in a thread of its own; unpacking takes longer than all the rest.
        self._checked = Flow(check_zip)
        self._hashed = Flow(_sha256_of)
        self._written = Flow(lambda blocks: store.write(blocks, size), SILENCE, store.check_alive)
        self._plain = Flow(_sha256_of) if keys else None
        self._sealed = Flow(lambda blocks: encrypt(blocks, keys, self._take)) if keys else None

    def push(self, block: Buffer) -> None:
        """Take the next block of the zip; raises `BrokenZip`, or `StoreTrouble`."""
        self._checked.push(block)
        if self._plain and self._sealed:
            self._plain.push(block)
            self._sealed.push(block)
        else:
            self._take(block)

    def _take(self, block: Buffer) -> None:
        self._written.push(block)
        self._hashed.push(block)
        self.size += len(block)

    def end(self) -> None:
        """Take it that the zip was whole; raises `BrokenZip`, or `StoreTrouble`. The object does not appear yet."""
        self.passed_over = self._checked.finish()
        if self._plain and self._sealed:
            self.plain_sha256 = self._plain.finish()
            self._sealed.finish()
        self.sha256 = self._hashed.finish()

    def appear(self) -> str:
        """Let the object appear; returns its mark, empty for a key that only writes. Raises `StoreTrouble` or `Overtaken`."""
        try:
            seen = self._written.finish()
        except StoreTrouble as trouble:
            if trouble.status or (seen := self._found()) is None:
                raise
        if seen is not None and seen.size != self.size:
            raise Overtaken(f"{self._store.where}: {self.size} bytes were written, but {seen.size} are there")
        return seen.mark if seen else ""

    def _found(self) -> Seen | None:
        """The object, if only the answer was lost. Another writer's object may be as large, so the bytes prove it."""
        with suppress(StoreTrouble):
            seen = self._store.stat()
            return seen if seen and seen.size == self.size and self._store.digest() == self.sha256 else None
        return None

    def discard(self) -> None:
        """Leave nothing of it; raises `StoreTrouble` if a part may be left."""
        for flow in (self._checked, self._plain, self._sealed, self._hashed):
            with suppress(Exception):  # it was raised before, or has nothing to do with what is left
                if flow is not None:
                    flow.stop()
        self._written.stop()


def _sha256_of(blocks: Iterator[Buffer]) -> str:
    hasher = sha256()
    for block in blocks:
        hasher.update(block)
    return hasher.hexdigest()
