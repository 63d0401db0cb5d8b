"""One object on its way into a store: its zip is checked, encrypted for the recipients, hashed and written as it passes by."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256

from pulumi_snapshots.archive.zip_check import check_zip
from pulumi_snapshots.storage.encryption import encrypt, sealed_size
from pulumi_snapshots.storage.flow import Flow
from pulumi_snapshots.storage.store import Buffer, Overtaken, Seen, Store, StoreTrouble, sha256_of

SILENCE = 120.0
"""Seconds without progress of an upload after which the store is asked whether it still answers: the library cannot tell a
slow upload from a silent store."""


class Upload:
    """An object that does not exist yet, in this store; `total` is the bytes of the zip, if known. Each method blocks.

    Once the zip is whole, `passed_over` is how many of its members were not checked.
    """

    def __init__(self, store: Store, total: int | None, keys: Sequence[str]) -> None:
        bytes_at_most = sealed_size(total, len(keys)) if total and keys else total
        self.size = self.passed_over = 0
        self._store, self._written_hash, self._plain_hash = store, sha256(), sha256()
        # Each in a thread of its own; unpacking takes longer than all the rest.
        self._checked = Flow(check_zip)
        self._written = Flow(lambda blocks: store.write(blocks, bytes_at_most), SILENCE, self._ask)
        self._sealed = Flow(lambda blocks: encrypt(blocks, keys, self._take)) if keys else None

    @property
    def sha256(self) -> str:
        """The SHA-256 of what is written."""
        return self._written_hash.hexdigest()

    @property
    def plain_sha256(self) -> str | None:
        """The SHA-256 of the zip if it is encrypted."""
        return self._plain_hash.hexdigest() if self._sealed else None

    def push(self, block: Buffer) -> None:
        """Take the next block of the zip; raises `BrokenZip`, or `StoreTrouble`."""
        self._checked.push(block)
        if self._sealed:
            self._plain_hash.update(block)
            self._sealed.push(block)
        else:
            self._take(block)

    def _take(self, block: Buffer) -> None:
        self._written.push(block)
        self._written_hash.update(block)
        self.size += len(block)

    def end(self) -> None:
        """Take it that the zip was whole; raises `BrokenZip`, or `StoreTrouble`. The object does not appear yet."""
        self.passed_over = self._checked.finish()
        if self._sealed:
            self._sealed.finish()

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
            return seen if seen and seen.size == self.size and sha256_of(self._store.read()) == self.sha256 else None
        return None

    def _ask(self) -> None:
        """Raise `StoreTrouble` if the store does not answer; a refusal is an answer too."""
        try:
            self._store.stat()
        except StoreTrouble as silence:
            if not silence.status:
                raise

    def discard(self) -> None:
        """Leave nothing of it; raises `StoreTrouble` if a part may be left."""
        for flow in (self._checked, self._sealed):
            with suppress(Exception):  # it was raised before, or has nothing to do with what is left
                if flow is not None:
                    flow.stop()
        self._written.stop()
