"""How a snapshot can end without what it was to bring; the texts that users read then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import Unresolved
from pulumi_snapshots.errors.text import Text

if TYPE_CHECKING:
    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.snapshot.record import SnapshotRecord

__all__ = ["Pending", "forgotten", "still_pending"]


class Pending(Unresolved["SnapshotRecord"]):
    """The snapshot was started, or may have been, and is not known yet. It must be kept."""

    resumes = (Next(Step.KEEP_WAITING), Next(Step.GIVE_UP))
    stays = (Next(Step.ASK_AGAIN), Next(Step.GIVE_UP))
    kept_here = Next(Step.SNAPSHOT_KEPT_HERE)
    not_kept = Next(Step.SNAPSHOT_NOT_KEPT)


def still_pending(record: SnapshotRecord) -> Explained:
    """What a refresh says of a snapshot that it did not find yet."""
    which = f"The snapshot of database {record.database_id} requested at {record.requested_at}"
    if record.attempt is not None and record.attempt.missing_since is not None:
        missing = f"{which} never came: the service's listing of {rfc3339(record.attempt.missing_since)} lacks it"
        return Explained(missing, then=[Next(Step.TAKE_ANOTHER)])
    return Explained(f"{which} is still pending")


def forgotten(record: SnapshotRecord, *, adopted: bool) -> Words:
    """What a delete says: nothing is sent, so the snapshot outlives the resource.

    Args:
        record: what leaves the state.
        adopted: whether a resource of this run has the very same snapshot now.
    """
    if adopted:
        return Text(
            "not forgotten: {id}, which `{reuse_within}` has adopted; without it another one is taken", id=record.id
        )
    if record.pending:
        return f"forgotten: {record.id}; if its snapshot was started, the service keeps it for 30 days"
    if not record.available:
        return f"forgotten: {record.id}, which the service no longer listed"
    until = record.expires_at or "its 30 days are over"
    return Text(
        "forgotten: {id}, at the service until {until}. {then}", id=record.id, until=until, then=Next(Step.BRING_BACK)
    )
