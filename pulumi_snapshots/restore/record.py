"""What is known of one restore, as the state keeps it. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.attempt.record import Attempt

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RestoreRecord"]


@dataclass(frozen=True)
class RestoreRecord:
    """The outputs of a restore; times are RFC 3339, UTC, by the service's clock.

    Attributes:
        database_id: whose snapshot was put back.
        version_id: which one.
        target_database_id: whose data was overwritten.
        requested_at: when the POST was sent.
        restored_at: when the database was seen running again; None while that is not known.
        attempt: the POST, only until then.
    """

    database_id: str
    version_id: str
    target_database_id: str
    requested_at: str
    restored_at: str | None = None
    attempt: Attempt | None = None

    @property
    def id(self) -> str:
        """`DATABASE_ID/restore:TIME`, of the database that was overwritten and the time of the POST."""
        return f"{self.target_database_id}/restore:{self.requested_at.replace('-', '').replace(':', '')}"

    @property
    def snapshot(self) -> str:
        """The snapshot's id."""
        return f"{self.database_id}/{self.version_id}"

    @property
    def pending(self) -> bool:
        """Whether its end was not seen yet."""
        return self.restored_at is None

    def to_outputs(self) -> dict[str, Any]:
        """As the state keeps it, every output, in plain values."""
        outputs = {each.name: getattr(self, each.name) for each in fields(self)}
        return outputs | {"attempt": self.attempt.to_outputs() if self.attempt else None}

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> RestoreRecord:
        """From the state, which drops what is None."""
        known = {each.name: outputs.get(each.name) for each in fields(cls)}
        attempt = outputs.get("attempt")
        known["attempt"] = Attempt.from_outputs(attempt) if attempt else None
        return cls(**known)  # type: ignore[arg-type]  # the state holds what to_outputs wrote
