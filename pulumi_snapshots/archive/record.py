"""What the state, and a run, keep of an archive. Standard library only."""

from __future__ import annotations

from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.properties.catalogue import Moment, Record, Thing, declare


class StoredObject(Record):
    """One object that this resource has written."""

    uri: str = declare("Its URI.")
    mark: str = declare("Opaque; another object of the same name has another one.")


class ArchiveRecord(Record):
    """A snapshot's zip in storage of your own, beyond the 30 days that the service keeps it.

    `pulumi up` streams it there, resumes a transfer that breaks off, and lets the object appear under its name only once
    it is whole and verified. Another version is another object; a new signature of the same version changes nothing.
    """

    uri: str = declare("The object's URI.")
    size: int = declare("Bytes.")
    sha256: str = declare("The object's SHA-256, hexadecimal.")
    archived_at: Moment = declare("When it was whole, by the machine's clock.")
    database_id: str | None = declare("The database whose snapshot it holds; absent if a URL alone does not show it.")
    version_id: str = declare("The snapshot's version id.")
    mark: str = declare("As in `StoredObject`.", internal=True)
    lost: str | None = declare(
        "Why it must be archived again, as a refresh has found it (`missing`, `altered`); absent while it is there.",
        default=None,
        internal=True,
    )
    earlier: tuple[StoredObject, ...] = declare(
        "This resource's objects before this one, newest first, for `keep_last`.", default=(), internal=True
    )

    @property
    def id(self) -> str:
        """The resource's id."""
        return self.uri

    @property
    def object(self) -> StoredObject:
        """The object itself."""
        return StoredObject(self.uri, self.mark)


class ArchiveMemory:
    """The archive that each resource has now, and its `keep_last`.

    A create does not get what it replaces, nor a delete what replaced it.
    """

    def __init__(self) -> None:
        self._current: dict[str, tuple[ArchiveRecord, int | None]] = {}

    def keep(self, owner: str | None, record: ArchiveRecord, keep_last: int | None) -> None:
        """Remember what a diff found in the state, or this run wrote; nothing for an owner that is not known."""
        if owner is not None:
            self._current[owner] = record, keep_last

    def current(self, owner: str | None) -> tuple[ArchiveRecord | None, int | None]:
        """The owner's archive, and its `keep_last`."""
        return self._current.get(owner or "", (None, None))


ARCHIVE = Thing("Archive", ArchiveInputs, ArchiveRecord)
