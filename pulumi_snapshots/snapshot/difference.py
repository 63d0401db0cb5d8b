"""What inputs may be, and what a change of them, or time, means for a snapshot that exists. Sends no request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import parse_rfc3339, system_utc, time_text, to_the_second
from pulumi_snapshots.errors import Text, Words
from pulumi_snapshots.late import late
from pulumi_snapshots.ledger.attempt import Proof
from pulumi_snapshots.properties.checks import UNKNOWN, digest_of
from pulumi_snapshots.properties.durations import duration_text, parse_duration
from pulumi_snapshots.run.calls import Changes, Rules
from pulumi_snapshots.snapshot.record import SNAPSHOT, SnapshotRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.run.calls import Call, Calls


REPLACES = tuple(each.name for each in SNAPSHOT.inputs.properties().values() if each.replaces)
WAITS_ON = "pending since {since}; will keep waiting, no new request"


class SnapshotRules(Rules):
    """The rules of a snapshot."""

    schema = SNAPSHOT
    kind = "snapshot"

    def in_state(self, state: Mapping[str, Any]) -> Proof | None:
        """The snapshot, or the wait for it."""
        if "available" not in state:  # one that is looked up by its id
            return None
        record = SnapshotRecord.from_outputs(state)
        request = record.attempt if record.pending else None
        known = record.version_id, request, record.requested_at
        return Proof("snapshot", record.database_id, *known, digest_of(state.get("triggers")), record=record)

    @property
    def calls(self) -> Calls:
        """Create, read, update and delete."""
        calls: Calls = late("snapshot.calls:SnapshotCalls")()
        return calls

    def compare(
        self, call: Call, record: SnapshotRecord, state: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Changes:
        """Compare; remember what is about to be replaced, since create is not told."""
        found = difference(record, state, values, system_utc(), call.shared.memory.is_same_snapshot)
        record.remember_in(call.shared.memory, replaced=bool(found.replaces))
        return found


Same = Callable[[Any, Any], bool]
"""Whether two values that are not equal mean the same."""


def never(_old: object, _new: object) -> bool:
    """Values that are not equal mean something else."""
    return False


def changed(name: str, old: Mapping[str, Any], new: Mapping[str, Any], same: Same = never) -> bool:
    """Whether an input has changed for all that is known; an empty one equals none, and `UNKNOWN` equals everything.

    The engine compares with unknown values what depends on something that it deletes first, also if they stay the same.
    """
    return differs(old.get(name) or None, new.get(name) or None, same)


def differs(old: Any, new: Any, same: Same = never) -> bool:
    """Whether two values differ in what is known of them."""
    if new is UNKNOWN:
        return False
    if isinstance(old, list) and isinstance(new, list):
        return len(old) != len(new) or any(differs(one, other, same) for one, other in zip(old, new, strict=True))
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() != new.keys() or any(differs(old[name], new[name], same) for name in new)
    return bool(old != new) and not same(old, new)


def holds_unknown(value: Any) -> bool:
    """Whether a value is `UNKNOWN`, or holds it."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is UNKNOWN or any(map(holds_unknown, inside))


def undecided(new: Mapping[str, Any], *names: str) -> Words:
    """The reason why a preview cannot decide whether to make a new one; empty if it can."""
    unknown = [name for name in names if holds_unknown(new.get(name))]
    if not unknown:
        return ""
    named = " and ".join("{" + name + "}" for name in unknown)
    return Text(f"decided in the update, since a preview does not know {named}")


def since(requested_at: str | None, now: datetime) -> str:
    """When something was requested, as a line on a terminal has it."""
    return time_text(parse_rfc3339(requested_at), now) if requested_at else "an earlier run"


def difference(  # noqa: PLR0911  each kind of change is one return
    record: SnapshotRecord, old: Mapping[str, Any], new: Mapping[str, Any], now: datetime, same: Same = never
) -> Changes:
    """Compare by value: only another database, other triggers, or age take a new snapshot.

    What is `UNKNOWN` is no change: an update decides it, and known values do. `now` is this machine's time: a diff sends no request.
    """
    replaces = [name for name in REPLACES if changed(name, old, new, same)]
    if record.pending:
        if replaces:
            return Changes(tuple(replaces))
        return Changes(updates=("attempt",), note=Text(WAITS_ON, since=since(record.requested_at, now)))
    rotate_after = new.get("rotate_after")
    if replaces:
        return Changes(tuple(replaces))
    later = undecided(new, *REPLACES)
    if rotate_after is None or rotate_after is UNKNOWN:
        return Changes(reason=later)
    created = parse_rfc3339(record.created_at) if record.created_at else None
    if created is None or created > now:
        when = "not known" if created is None else f"in the future ({to_the_second(record.created_at or '')})"
        return Changes(reason=later, warning=f"snapshot {record.id} is not rotated: its time of creation is {when}.")
    after = parse_duration(rotate_after)
    if now - created > timedelta(seconds=after):
        age = "created at {at}, longer ago than {rotate_after} ({after})"
        longer = Text(age, at=to_the_second(created), after=duration_text(after))
        return Changes(("created_at",), reason=longer)
    return Changes(reason=later)
