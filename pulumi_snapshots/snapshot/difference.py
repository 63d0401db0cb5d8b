"""What inputs may be, and what a change of them, or time, means for a snapshot that exists. Sends no request."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import parse_rfc3339, system_utc
from pulumi_snapshots.errors.text import Text
from pulumi_snapshots.late import late
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.properties.durations import duration_text, parse_duration
from pulumi_snapshots.run.calls import Changes, Rules
from pulumi_snapshots.snapshot.record import SNAPSHOT, SnapshotRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.run.calls import Call, Calls


class SnapshotRules(Rules):
    """The rules of a snapshot."""

    thing = SNAPSHOT

    @property
    def calls(self) -> Calls:
        """Create, read, update and delete."""
        calls: Calls = late("snapshot.calls:SnapshotCalls")()
        return calls

    def compare(
        self, call: Call, record: SnapshotRecord, state: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Changes:
        """Compare; remember what is about to be replaced, since create is not told."""
        found = difference(record, state, values, system_utc())
        record.note_in(call.shared.memory, call.owner, replaced=bool(found.replaces))
        return found


def changed(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether an input has changed; an empty one equals none, and one that is `UNKNOWN` has changed."""
    return (old.get(name) or None) != (new.get(name) or None)


def difference(record: SnapshotRecord, old: Mapping[str, Any], new: Mapping[str, Any], now: datetime) -> Changes:
    """Compare by value: only another database, other triggers, age, or a proven failure take a new snapshot.

    A value that is `UNKNOWN`, or holds one, counts as changed. `now` is this machine's time: a diff sends no request.
    """
    replaces = [name for name in ("database_id", "triggers") if changed(name, old, new)]
    if record.pending:
        if record.attempt is not None and record.attempt.missing_since is not None:
            reason = f"the snapshot requested at {record.requested_at} never came" if not replaces else ""
            return Changes((*replaces, "attempt"), reason=reason)
        return Changes(tuple(replaces), updates=() if replaces else ("attempt",))
    rotate_after = new.get("rotate_after")
    if rotate_after is None or rotate_after is UNKNOWN:
        return Changes(tuple(replaces))
    created = parse_rfc3339(record.created_at) if record.created_at else None
    if created is None or created > now:
        when = "not known" if created is None else f"in the future ({record.created_at})"
        return Changes(tuple(replaces), warning=f"snapshot {record.id} is not rotated: its time of creation is {when}.")
    after = parse_duration(rotate_after)
    if now - created > timedelta(seconds=after):
        age = "created at {at}, longer ago than {rotate_after} ({after})"
        longer = Text(age, at=record.created_at, after=duration_text(after))
        return Changes((*replaces, "created_at"), reason="" if replaces else longer)
    return Changes(tuple(replaces))
