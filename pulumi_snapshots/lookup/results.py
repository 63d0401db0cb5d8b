"""What the lookups bring, typed. Standard library only: programs load it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_snapshots.snapshot.record import SnapshotRecord

__all__ = ["DatabaseInfo", "SnapshotInfo"]


@dataclass(frozen=True)
class SnapshotInfo:
    """A snapshot that the service lists, with the outputs of the Snapshot resource.

    Attributes:
        database_id: whose data.
        version_id: the service's; with `database_id` all that identifies a snapshot.
        name: the storage object's name; a restore needs it.
        download_url_expires_at: RFC 3339, UTC.
        size: bytes.
        created_at: RFC 3339, UTC.
        expires_at: RFC 3339, UTC: the end of its 30 days at the service.
        available: false where its 30 days are over, and an old page of the service still lists it.
        origin: `manual` or `automatic`; None where the service does not say.
        runtime: `postgres`, `mongo`, `mysql` or `redis`; None where the service does not say.
        requested_at: always None, as for every snapshot that was not taken by this stack.
        attempt: always None: what is listed is not pending.
    """

    database_id: str
    version_id: str
    name: str | None
    download_url_expires_at: str | None
    size: int | None
    created_at: str | None
    expires_at: str | None
    available: bool
    origin: str | None
    runtime: str | None
    requested_at: str | None = None
    attempt: None = None
    # Private, so that neither a printed nor an exported result shows it: it opens the data to whoever has it.
    _download_url: str | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """`DATABASE_ID/VERSION_ID`, for `Snapshot.get`."""
        return f"{self.database_id}/{self.version_id}"

    @property
    def download_url(self) -> str | None:
        """Signed, pinned to this version; opens the data to whoever has it. None where the service gives none."""
        return self._download_url

    @classmethod
    def of(cls, record: SnapshotRecord) -> SnapshotInfo:
        """From the record of a listed snapshot, which always has a version."""
        return cls(
            database_id=record.database_id,
            version_id=record.version_id or "",
            name=record.name,
            download_url_expires_at=record.download_url_expires_at,
            size=record.size,
            created_at=record.created_at,
            expires_at=record.expires_at,
            available=record.available,
            origin=record.origin,
            runtime=record.runtime,
            _download_url=record.download_url,
        )


@dataclass(frozen=True)
class DatabaseInfo:
    """A database of the account.

    Attributes:
        id: what `database_id` is everywhere else.
        name: as its owner calls it; not unique.
        type: its engine: `postgres`, `mongo`, `mysql` or `redis`.
        ram: MB; None where the service does not say.
        cluster: where it runs; None where the service does not say.
        running: whether it ran when it was asked for.
    """

    id: str
    name: str
    type: str
    ram: int | None
    cluster: str | None
    running: bool
