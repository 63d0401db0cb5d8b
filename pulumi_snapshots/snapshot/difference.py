"""What a change of inputs, or time, means for a snapshot that exists. Asks nobody. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors.text import Text
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.properties.durations import duration_text, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.snapshot.record import SnapshotRecord

__all__ = ["Difference", "changed", "difference"]


@dataclass(frozen=True)
class Difference:
    """What there is to do.

    Attributes:
        replaces: the properties because of which a new snapshot is taken.
        resumes: whether there is a pending one to go on waiting for.
        reason: why a new one is taken, where no input shows it; empty otherwise.
        warning: something the user should know; empty for nothing.
    """

    replaces: tuple[str, ...] = ()
    resumes: bool = False
    reason: Words = ""
    warning: str = ""


def changed(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether an input is another one; one that is empty is as good as none, and one that is `UNKNOWN` has changed."""
    return (old.get(name) or None) != (new.get(name) or None)


def difference(record: SnapshotRecord, old: Mapping[str, Any], new: Mapping[str, Any], now: datetime) -> Difference:
    """Compare by value: only another database, other triggers, age, or a proven failure take a new snapshot.

    Args:
        record: the snapshot in the state.
        old: its inputs.
        new: the inputs now; a value that is `UNKNOWN`, or holds one, counts as changed.
        now: this machine's time, since a diff asks nobody.
    """
    replaces = [name for name in ("database_id", "triggers") if changed(name, old, new)]
    if record.pending:
        if record.attempt is not None and record.attempt.missing_since is not None:
            reason = f"the snapshot requested at {record.requested_at} never came" if not replaces else ""
            return Difference((*replaces, "attempt"), reason=reason)
        return Difference(tuple(replaces), resumes=not replaces)
    rotate_after = new.get("rotate_after")
    if rotate_after is None or rotate_after is UNKNOWN:
        return Difference(tuple(replaces))
    created = parse_rfc3339(record.created_at) if record.created_at else None
    if created is None or created > now:
        when = "not known" if created is None else f"in the future ({record.created_at})"
        return Difference(
            tuple(replaces), warning=f"snapshot {record.id} is not rotated: its time of creation is {when}."
        )
    after = parse_duration(rotate_after)
    if now - created > timedelta(seconds=after):
        longer = Text(
            "created at {at}, longer ago than {rotate_after} ({after})",
            at=record.created_at,
            after=duration_text(after),
        )
        return Difference((*replaces, "created_at"), reason="" if replaces else longer)
    return Difference(tuple(replaces))
