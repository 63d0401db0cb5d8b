"""The manifest beside an archived object: what it is, for those who have neither the stack nor the account any more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.progress import Listener
from pulumi_snapshots.properties.catalogue import Moment, Record, declare
from pulumi_snapshots.run.drills import Drilled
from pulumi_snapshots.stores.destination import Destination, place_text
from pulumi_snapshots.stores.store import Store, StoreTrouble

SUFFIX = ".json"
FORMAT = "pulumi-snapshots archive"
"""How a manifest names its kind: another `.json` is somebody else's."""
LARGEST = 100_000
"""Bytes of a manifest; what is larger is none."""


class Manifest(Record):
    """What a manifest says."""

    object: str = declare("The object's name, in the manifest's own folder.")
    version_id: str = declare("The snapshot's version id.")
    database_id: str | None = declare("The database's id.", default=None)
    created_at: Moment | None = declare("When the snapshot was taken.", default=None)
    archived_at: Moment = declare("When the object was whole.", kw_only=True)
    size: int = declare("Bytes of the object.", kw_only=True)
    sha256: str = declare("The object's SHA-256.", kw_only=True)
    plain_size: int | None = declare("Bytes before encryption.", default=None, kw_only=True)
    plain_sha256: str | None = declare("The SHA-256 before encryption.", default=None, kw_only=True)
    recipients: list[str] | None = declare("Public keys that it is encrypted for.", default=None, kw_only=True)
    tool: str = declare("What wrote it.", kw_only=True)
    drill: Drilled | None = declare("The last drill that it has passed.", default=None, kw_only=True)

    @classmethod
    def of(cls, record: ArchiveRecord, recipients: Sequence[str] | None) -> Manifest:
        """What describes an object."""
        return cls(
            object=record.uri.rpartition("/")[2],
            version_id=record.version_id,
            database_id=record.database_id,
            created_at=record.created_at,
            archived_at=record.archived_at,
            size=record.size,
            sha256=record.sha256,
            plain_size=record.plain_size,
            plain_sha256=record.plain_sha256,
            recipients=list(recipients) if recipients else None,
            tool=f"pulumi-snapshots {version('pulumi-snapshots')}",
        )

    @classmethod
    def read(cls, store: Store) -> Manifest | None:
        """The manifest in a store's object; None if that is none. Raises `StoreTrouble`."""
        content = bytearray()
        for piece in store.read():
            content += piece
            if len(content) > LARGEST:
                return None
        try:
            said: Any = json.loads(content)
            return cls.from_outputs(said) if said["format"] == FORMAT else None
        except (ValueError, LookupError, TypeError, AttributeError):
            return None

    @property
    def text(self) -> bytes:
        """As it is written."""
        return (json.dumps({"format": FORMAT, **self.to_outputs()}, indent=2) + "\n").encode()


def manifest_of(transfers: Transfers, uri: str) -> Store:
    """The place of an object's manifest."""
    return transfers.store(Destination.parse(uri + SUFFIX))


async def describe(
    transfers: Transfers,
    record: ArchiveRecord,
    recipients: Sequence[str] | None,
    listener: Listener,
    *,
    drill: Drilled | None = None,
) -> None:
    """Write an object's manifest; without it the archive is as good, so a failure only warns."""
    manifest = replace(Manifest.of(record, recipients), drill=drill)
    try:
        await transfers.blocking(_write, manifest_of(transfers, record.uri), manifest.text)
    except StoreTrouble as trouble:
        listener.warn(f"{place_text(record.uri)} is archived, but its manifest was not written: {trouble.happened}.")


def note_drill(transfers: Transfers, uri: str, drilled: Drilled) -> bool:
    """Note in an object's manifest that a drill has proved its snapshot; false if there is none. Raises `StoreTrouble`."""
    store = manifest_of(transfers, uri)
    found = None if store.stat() is None else _read(store, uri)
    if found is not None and found.drill != drilled:
        _write(store, replace(found, drill=drilled).text)
    return found is not None


def _write(store: Store, content: bytes) -> None:
    draft = store.begin(len(content))
    try:
        draft.write(content)
        draft.commit()
    except BaseException:
        draft.discard()
        raise


def remove_manifest(transfers: Transfers, uri: str) -> None:
    """Remove the manifest of an object that was removed, and nothing that is none; raises `StoreTrouble`."""
    store = manifest_of(transfers, uri)
    seen = store.stat()
    if seen is not None and _read(store, uri) is not None:
        store.remove(seen.mark)


def is_drilled(transfers: Transfers, uri: str) -> bool:
    """Whether its manifest says that a drill has proved it; raises `StoreTrouble` if the store does not answer."""
    store = manifest_of(transfers, uri)
    found = None if store.stat() is None else _read(store, uri)
    return found is not None and found.drill is not None


def _read(store: Store, uri: str) -> Manifest | None:
    """The manifest of this very object, if it is one."""
    found = Manifest.read(store)
    return found if found is not None and found.object == uri.rpartition("/")[2] else None
