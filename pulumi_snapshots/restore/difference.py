"""What inputs may be, and what a change of them means for a restore that has acted. Sends no request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import system_utc
from pulumi_snapshots.errors import Text
from pulumi_snapshots.late import late
from pulumi_snapshots.ledger.attempt import Proof
from pulumi_snapshots.properties.checks import UNKNOWN, digest_of
from pulumi_snapshots.restore.inputs import target_of
from pulumi_snapshots.restore.record import RESTORE, RestoreRecord, another_snapshot
from pulumi_snapshots.run.calls import Changes, Rules
from pulumi_snapshots.snapshot.difference import Same, changed, differs, never, since, undecided

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.run.calls import Call, Calls


WATCHES_ON = "restore pending since {since}; will keep watching, no new request"


class RestoreRules(Rules):
    """The rules of a restore."""

    schema = RESTORE
    kind = "restore"

    def in_state(self, state: Mapping[str, Any]) -> Proof | None:
        """The restore, or the wait for its end."""
        if "requested_at" not in state:  # one that is looked up by its id
            return None
        record = RestoreRecord.from_outputs(state)
        request = record.attempt if record.pending and not record.failure else None
        known = record.restored_at, request, record.requested_at
        purpose = digest_of(state.get("triggers"))
        return Proof("restore", record.target_database_id, *known, purpose, record.snapshot, record)

    def uses(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The snapshot's database, and the one that is restored."""
        return {**super().uses(values), "target_database_id": values.get("target_database_id")}

    @property
    def calls(self) -> Calls:
        """Create, read, update and delete."""
        calls: Calls = late("restore.calls:RestoreCalls")()
        return calls

    def compare(
        self, call: Call, record: RestoreRecord, state: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Changes:
        """Compare."""
        return restore_difference(record, state, values, call.shared.memory.is_same_snapshot)


def restore_difference(
    record: RestoreRecord, old: Mapping[str, Any], new: Mapping[str, Any], same: Same = never
) -> Changes:
    """Compare by value: only other triggers, another target or a failure restore again, a changed snapshot alone never does.

    What is `UNKNOWN` is no change: an update decides it, and known values do.
    """
    target = "database_id" if new.get("target_database_id") is None else "target_database_id"
    replaces = ["triggers"] if changed("triggers", old, new, same) else []
    if differs(record.target_database_id, target_of(new)):
        replaces.append(target)
    if record.failure:
        reason = f"the restore requested at {record.requested_at} failed with {record.failure}" if not replaces else ""
        return Changes((*replaces, "attempt"), reason=reason)
    if replaces:
        return Changes(tuple(replaces))
    is_another = any(new.get(name) not in {UNKNOWN, getattr(record, name)} for name in ("database_id", "version_id"))
    warning = another_snapshot(record) if is_another else ""
    later = undecided(new, "triggers", target)
    if not record.pending:
        return Changes(reason=later, warning=warning)
    note = Text(WATCHES_ON, since=since(record.requested_at, system_utc()))
    return Changes(updates=("attempt",), reason=later, note=note, warning=warning)
