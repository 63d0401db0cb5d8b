"""What is known of one snapshot, as the state keeps it. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.attempt.record import Attempt
from pulumi_snapshots.properties.checks import version_id_problem
from pulumi_snapshots.properties.durations import shown
from pulumi_snapshots.snapshot.inputs import problems_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SnapshotRecord", "is_provisional", "split_id"]

PENDING = "pending:"
"""What the version part of a provisional id begins with; no version id of the service holds a colon."""


def split_id(resource_id: str) -> tuple[str, str]:
    """Database id and version id of a resource id.

    Raises:
        ValueError: it is not `DATABASE_ID/VERSION_ID`.
    """
    database_id, slash, version_id = resource_id.partition("/")
    if not (slash and version_id) or problems_of({"database_id": database_id}) or version_id_problem(version_id):
        raise ValueError(f"the id of a snapshot is DATABASE_ID/VERSION_ID, not {shown(resource_id)}")
    return database_id, version_id


def is_provisional(resource_id: str) -> bool:
    """Whether the id is one of a snapshot that was pending when it got it."""
    return resource_id.partition("/")[2].startswith(PENDING)


@dataclass(frozen=True)
class SnapshotRecord:
    """The outputs of a snapshot, None where not known; times are RFC 3339 in UTC, `size` is bytes."""

    database_id: str
    version_id: str | None = None
    name: str | None = None
    download_url: str | None = None
    download_url_expires_at: str | None = None
    size: int | None = None
    created_at: str | None = None
    expires_at: str | None = None
    requested_at: str | None = None
    available: bool = False
    attempt: Attempt | None = None
    origin: str | None = None
    runtime: str | None = None

    def __repr__(self) -> str:
        # The URL opens the data to whoever has it.
        shown = replace(self, download_url=None) if self.download_url else self
        return "SnapshotRecord(" + ", ".join(f"{f.name}={getattr(shown, f.name)!r}" for f in fields(self)) + ")"

    @property
    def id(self) -> str:
        """`DATABASE_ID/VERSION_ID`, or while pending a provisional id that names the time of the POST."""
        if self.version_id is not None:
            return f"{self.database_id}/{self.version_id}"
        posted = self.attempt.posted_at.astimezone(UTC) if self.attempt else datetime.min.replace(tzinfo=UTC)
        return f"{self.database_id}/{PENDING}{posted:%Y%m%dT%H%M%SZ}"

    @property
    def pending(self) -> bool:
        """Whether its snapshot was not seen yet; keyed on the version, never on the id alone."""
        return self.version_id is None

    def to_outputs(self) -> dict[str, Any]:
        """As the state keeps it, every output, in plain values."""
        outputs = {f.name: getattr(self, f.name) for f in fields(self)}
        outputs["attempt"] = self.attempt.to_outputs() if self.attempt else None
        return outputs

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> SnapshotRecord:
        """From the state, which gives whole numbers back as floats and drops what is None."""
        known = {f.name: outputs.get(f.name) for f in fields(cls)}
        attempt, size = outputs.get("attempt"), outputs.get("size")
        known["attempt"] = Attempt.from_outputs(attempt) if attempt else None
        known["size"] = int(size) if size is not None else None
        known["available"] = bool(outputs.get("available"))
        return cls(**known)  # type: ignore[arg-type]  # the state holds what to_outputs wrote
