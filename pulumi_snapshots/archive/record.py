"""What is known of one archive, as the state keeps it. Standard library only."""

from __future__ import annotations

from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.properties.catalogue import Moment, Record, Thing, declare

__all__ = ["ARCHIVE", "ArchiveRecord", "StoredObject"]


class StoredObject(Record):
    """One object that this resource has written."""

    uri: str = declare("Where it is.")
    mark: str = declare("What tells it from another object of the same name; the store's own, opaque.")


class ArchiveRecord(Record):
    """A snapshot's zip in storage of your own, beyond the 30 days that the service keeps it.

    `pulumi up` streams it there, resumes a transfer that breaks off, and lets the object appear under its name only once
    it is whole and verified. Another version is another object; a new signature of the same version changes nothing.
    """

    uri: str = declare("Where the object is, always a URI.")
    size: int = declare("Bytes.")
    sha256: str = declare("The object's SHA-256, hexadecimal.")
    archived_at: Moment = declare("When it was whole, by the machine's clock.")
    database_id: str | None = declare("The database whose snapshot it holds; absent if a URL alone does not tell.")
    version_id: str = declare("The snapshot's version id.")
    mark: str = declare("What tells the object from another one of the same name.", internal=True)
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


ARCHIVE = Thing("Archive", ArchiveInputs, ArchiveRecord)
