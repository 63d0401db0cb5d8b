"""What inputs may be, and what a change of them means for a restore that has acted. Sends no request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_snapshots.late import late
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.restore.inputs import target_of
from pulumi_snapshots.restore.record import RESTORE, RestoreRecord, another_snapshot
from pulumi_snapshots.run.calls import Changes, Rules
from pulumi_snapshots.snapshot.difference import changed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.run.calls import Call, Calls


class RestoreRules(Rules):
    """The rules of a restore."""

    thing = RESTORE

    @property
    def calls(self) -> Calls:
        """Create, read, update and delete."""
        calls: Calls = late("restore.calls:RestoreCalls")()
        return calls

    def compare(
        self, _call: Call, record: RestoreRecord, state: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Changes:
        """Compare."""
        return restore_difference(record, state, values)


def restore_difference(record: RestoreRecord, old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
    """Compare by value: only other triggers or another target restore again, a changed snapshot alone never does.

    Triggers or a target that are `UNKNOWN`, or hold it, count as changed.
    """
    replaces = ["triggers"] if changed("triggers", old, new) else []
    if target_of(new) != record.target_database_id:
        replaces.append("database_id" if new.get("target_database_id") is None else "target_database_id")
    if replaces:
        return Changes(tuple(replaces))
    is_another = any(new.get(name) not in {UNKNOWN, getattr(record, name)} for name in ("database_id", "version_id"))
    warning = another_snapshot(record) if is_another else ""
    return Changes(updates=("attempt",) if record.pending else (), warning=warning)
