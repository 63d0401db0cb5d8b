"""How a restore can end without what it was to bring; the texts that users read then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import Unresolved

if TYPE_CHECKING:
    from pulumi_snapshots.restore.record import RestoreRecord

__all__ = ["RestorePending", "RestoreRefused", "another_snapshot", "restore_forgotten", "restore_still_pending"]


class RestorePending(Unresolved["RestoreRecord"]):
    """The restore was started, or may have been, and its end was not seen. It must be kept."""

    resumes = (Next(Step.KEEP_WATCHING), Next(Step.RESTORE_AGAIN))
    stays = (Next(Step.CHECK_RESTORED), Next(Step.RESTORE_AGAIN))
    kept_here = Next(Step.RESTORE_KEPT_HERE)
    not_kept = Next(Step.RESTORE_NOT_KEPT)


class RestoreRefused(Explained):
    """A restore that must not be sent."""


def restore_still_pending(record: RestoreRecord) -> Explained:
    """What a refresh says of a restore whose end was not seen."""
    return Explained(
        f"What database {record.target_database_id} holds is not known: the end of the restore that was requested at "
        f"{record.requested_at} was not seen",
        then=[Next(Step.KEEP_WATCHING)],
    )


def restore_forgotten(record: RestoreRecord) -> str:
    """What a delete says: nothing is sent, so the database keeps what it holds."""
    return f"forgotten: the restore of {record.snapshot}; database {record.target_database_id} keeps what it holds"


def another_snapshot(record: RestoreRecord) -> str:
    """What to warn of where the program names another snapshot than the one that was restored."""
    return (
        f"the snapshot changed; set triggers to restore again. What was requested at {record.requested_at} for database "
        f"{record.target_database_id} is {record.snapshot}, and a Restore acts once."
    )
