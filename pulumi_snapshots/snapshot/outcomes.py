"""How a snapshot can end without what it was to bring; the texts that users read then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors.outcomes import Unresolved

if TYPE_CHECKING:
    from pulumi_snapshots.snapshot.record import SnapshotRecord

__all__ = ["Pending", "forgotten", "still_pending"]


class Pending(Unresolved["SnapshotRecord"]):
    """The snapshot was started, or may have been, and is not known yet. It must be kept."""

    def reason(self, resource: str | None) -> str:
        """The paragraph for the user."""
        next_up = (
            "It stays in the state as pending, and every `pulumi up` asks again."
            if self.undecided
            else "It is kept in the state: the next `pulumi up` goes on waiting and sends no second request."
        )
        return (
            f"{self.happened} {next_up} `pulumi up --replace '{resource or 'URN'}'` gives up on it instead, and may pay "
            "for one more."
        )

    def reason_unkept(self, resource: str | None) -> str:
        """The same where there is no way to keep it in the state."""
        here = (
            "the next `pulumi up` on this machine waits for it all the same, and one elsewhere"
            if resource
            else "the next `pulumi up`"
        )
        return (
            f"{self.happened} The installed Pulumi SDK has no known way to keep it in the stack's state: {here} "
            "takes another one, unless `reuse_within` lets it adopt this one."
        )


def still_pending(record: SnapshotRecord) -> str:
    """What a refresh says of a snapshot that it did not find yet."""
    which = f"the snapshot of database {record.database_id} requested at {record.requested_at}"
    if record.attempt is not None and record.attempt.missing_since is not None:
        return (
            f"{which} never came: the service's listing of {rfc3339(record.attempt.missing_since)} lacks it. "
            "The next `pulumi up` takes another one."
        )
    return f"{which} is still pending."


def forgotten(record: SnapshotRecord, *, adopted: bool) -> str:
    """What a delete says: nothing is sent, so the snapshot outlives the resource.

    Args:
        record: what leaves the state.
        adopted: whether a resource of this run has the very same snapshot now.
    """
    if adopted:
        return f"not forgotten: {record.id}, which `reuse_within` has adopted; without it another one is taken"
    if record.pending:
        return f"forgotten: {record.id}; if its snapshot was started, the service keeps it for 30 days"
    if not record.available:
        return f"forgotten: {record.id}, which the service no longer listed"
    return (
        f"forgotten: {record.id}, at the service until {record.expires_at or 'its 30 days are over'}; "
        "Snapshot.get(…) brings it back"
    )
