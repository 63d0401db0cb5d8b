"""An object on its way into a store: checked, encrypted, hashed, and stored whole or not at all."""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256

from pulumi_snapshots.archive.transfers import ObjectStore
from pulumi_snapshots.archive.zip_check import check_zip
from pulumi_snapshots.storage.encryption import encrypt
from pulumi_snapshots.storage.flow import Flow
from pulumi_snapshots.storage.store import (
    Buffer,
    ObjectStat,
    Overtaken,
    StoreTrouble,
)

SILENCE = 120.0
"""Seconds without progress of an upload after which the store is asked whether it still answers.

The library cannot tell a slow upload from a silent store.
"""


class Upload:
    """An object that does not exist yet. Each method blocks.

    Attributes:
        size: bytes written so far.
        sha256: the SHA-256 of the object, hexadecimal; empty until the end.
        plain_sha256: the SHA-256 before encryption; None until the end, or without encryption.
        unproved: why the content of the zip is not proved; None until the end, or if it is proved.
    """

    def __init__(self, store: ObjectStore, recipients: Sequence[str]) -> None:
        self.size = 0
        self.sha256 = ""
        self.plain_sha256: str | None = None
        self.unproved: str | None = None
        self._store = store
        self._written_hash = sha256()
        self._plain_hash = sha256()
        # Each of these has a thread of its own; unpacking takes longer than all the rest.
        self._checked = Flow(check_zip)
        self._written = Flow(store.write, SILENCE, self._require_answer)
        self._sealed = None
        if recipients:
            self._sealed = Flow(lambda blocks: encrypt(blocks, recipients, self._write))

    def push(self, block: Buffer) -> None:
        """Take the next block of the zip.

        Args:
            block: bytes of the zip, which continue the last block.

        Raises:
            BrokenZip: the zip is damaged.
            StoreTrouble: the block could not be written.
        """
        self._checked.push(block)
        if self._sealed:
            self._plain_hash.update(block)
            self._sealed.push(block)
        else:
            self._write(block)

    def _write(self, block: Buffer) -> None:
        self._written.push(block)
        self._written_hash.update(block)
        self.size += len(block)

    def end(self) -> None:
        """Finish the object, which takes no more blocks and does not appear yet.

        Raises:
            BrokenZip: the zip is damaged, or was not whole.
            StoreTrouble: the rest could not be written.
        """
        self.unproved = self._checked.finish()
        if self._sealed:
            self._sealed.finish()
            self.plain_sha256 = self._plain_hash.hexdigest()
        self.sha256 = self._written_hash.hexdigest()

    def appear(self) -> str:
        """Let the object appear under its name.

        Returns:
            The object's mark; empty for a key that can only write.

        Raises:
            StoreTrouble: the object did not appear.
            Overtaken: another writer's object is there.
        """
        try:
            seen = self._written.finish()
        except StoreTrouble as trouble:
            seen = None if trouble.status else self._own_object()
            if seen is None:
                raise
        if seen is not None and seen.size != self.size:
            where = self._store.where
            raise Overtaken(
                f"{where}: {self.size} bytes were written, but {seen.size} are there"
            )
        return seen.mark if seen else ""

    def _own_object(self) -> ObjectStat | None:
        """Find the object if only the store's answer was lost.

        Another writer's object may be as large, so the bytes prove it.
        """
        with suppress(StoreTrouble):
            seen = self._store.stat()
            if seen is not None and seen.size == self.size:
                hasher = sha256()
                for piece in self._store.read():
                    hasher.update(piece)
                return seen if hasher.hexdigest() == self.sha256 else None
        return None

    def _require_answer(self) -> None:
        """Raise `StoreTrouble` if the store does not answer; a refusal is an answer too."""
        try:
            self._store.stat()
        except StoreTrouble as silence:
            if not silence.status:
                raise

    def discard(self) -> None:
        """Leave nothing of the object.

        Raises:
            StoreTrouble: a part may be left.
        """
        for flow in (self._checked, self._sealed):
            # Their errors were raised before, or have nothing to do with what is left.
            with suppress(Exception):
                if flow is not None:
                    flow.stop()
        self._written.stop()
