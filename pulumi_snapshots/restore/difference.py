"""What a change of inputs means for a restore that has acted. Asks nobody. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.restore.inputs import target_of
from pulumi_snapshots.snapshot.difference import changed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.restore.record import RestoreRecord

__all__ = ["RestoreDifference", "another_snapshot", "restore_difference"]


@dataclass(frozen=True)
class RestoreDifference:
    """What there is to do.

    Attributes:
        replaces: the properties because of which it restores again.
        resumes: whether there is a restore to go on watching.
        warning: something the user should know; empty for nothing.
    """

    replaces: tuple[str, ...] = ()
    resumes: bool = False
    warning: str = ""


def restore_difference(record: RestoreRecord, old: Mapping[str, Any], new: Mapping[str, Any]) -> RestoreDifference:
    """Compare by value: only other triggers or another target restore again, a changed snapshot alone never does.

    Args:
        record: the restore in the state.
        old: its inputs.
        new: the inputs now; triggers or a target that are `UNKNOWN`, or hold it, count as changed.
    """
    replaces = ["triggers"] if changed("triggers", old, new) else []
    if target_of(new) != record.target_database_id:
        replaces.append("database_id" if new.get("target_database_id") is None else "target_database_id")
    if replaces:
        return RestoreDifference(tuple(replaces))
    is_another = any(new.get(name) not in {UNKNOWN, getattr(record, name)} for name in ("database_id", "version_id"))
    return RestoreDifference(resumes=record.pending, warning=another_snapshot(record) if is_another else "")


def another_snapshot(record: RestoreRecord) -> str:
    """What to warn of where the program names another snapshot than the one that was restored."""
    return (
        f"the snapshot changed; set triggers to restore again. What was requested at {record.requested_at} for database "
        f"{record.target_database_id} is {record.snapshot}, and a Restore acts once."
    )
