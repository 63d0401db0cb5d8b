"""What a change of inputs, or time, means for a drill that has acted. Sends no request.

A drill is never replaced: an update knows the last good one, which stays beside one that failed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.archive.inputs import archive_uri
from pulumi_snapshots.clock import parse_rfc3339, to_the_second
from pulumi_snapshots.drill.record import DrillRecord
from pulumi_snapshots.errors import Text, Words
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.properties.durations import duration_text, parse_duration
from pulumi_snapshots.restore.difference import WATCHES_ON
from pulumi_snapshots.run.calls import Changes
from pulumi_snapshots.snapshot.difference import Same, changed, differs, holds_unknown, never, since, undecided

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


DRILLS, RESUMES, ASKS = "drilled_at", "attempt", "results"
"""The output whose change says what an update has to do: drill again, watch a restore, run the checks."""
APART = timedelta(minutes=5)
"""How far the service's clock may be ahead of this machine's without a warning."""
MAY_RUN = timedelta(days=1)
"""How long a restore whose end was not seen is watched before `every` asks for another drill: nothing shows its end later."""


def drill_difference(  # noqa: PLR0911  each kind of change is one return
    record: DrillRecord, old: Mapping[str, Any], new: Mapping[str, Any], now: datetime, same: Same = never
) -> Changes:
    """Compare by value: another snapshot, other triggers, another scratch database, `every`, and a failure have work to do.

    What is `UNKNOWN` is no change: an update decides it, and known values do. `now` is this machine's time: a diff sends no
    request.
    """
    causes = ["triggers"] if changed("triggers", old, new, same) else []
    causes += [
        name
        for name in ("database_id", "version_id", "scratch_database_id")
        if differs(getattr(record, name), new.get(name, "")) and (record.archive is None or new.get(name) is not None)
    ]
    if differs(record.archive, _uri(new.get("archive"))):
        causes.append("archive")
    if causes:
        return Changes(updates=(*causes, DRILLS))
    if record.failed_to_restore:
        failed = f"the restore requested at {record.requested_at} failed with {record.failure}"
        return Changes(updates=(DRILLS,), reason=failed)
    over, warning = _is_over(record, new.get("every"), now)
    if over:
        return Changes(updates=(DRILLS,), reason=over)
    later = undecided(new, "archive", "database_id", "version_id", "scratch_database_id", "triggers")
    if record.pending:
        note = Text(WATCHES_ON, since=since(record.requested_at, now))
        return Changes(updates=(RESUMES,), reason=later, note=note, warning=warning)
    others = not holds_unknown(new.get("checks")) and changed("checks", old, new)
    if record.passed:
        return replace(_other_checks(record, new.get("every")) if others else Changes(), reason=later, warning=warning)
    again, todo = "the checks run again, without another restore", ASKS
    if record.archive is not None:
        again, todo = "the archive is loaded and checked again", DRILLS
    # Nobody has judged a database that could not be reached, and the connection may be another one now.
    if record.passed is None or new.get("on_failure") != "warn" or others or record.failure is not None:
        return Changes(updates=(todo,), reason=again, warning=warning)
    return Changes(reason=later, warning=warning or still_failed(record))


def _other_checks(record: DrillRecord, every: Any) -> Changes:
    """What other checks mean for a drill that has passed."""
    then = next_drill(record, every)
    if record.archive is not None:
        return Changes(note=Text("the checks changed: they run {then}", then=then))
    now_if = "the checks changed: they run now if database {scratch} still holds this drill's restore, otherwise {then}"
    return Changes(updates=(ASKS,), note=Text(now_if, scratch=record.scratch_database_id, then=then))


def _uri(given: Any) -> Any:
    """Two spellings of one archive are equal."""
    return archive_uri(given) if isinstance(given, str) else given


def next_drill(record: DrillRecord, every: Any) -> Words:
    """With which drill checks run that cannot run now."""
    if every is None or every is UNKNOWN:
        return Text("with the next drill, which another snapshot, other {triggers} or {every} begin")
    due = parse_rfc3339(record.restored_at or record.requested_at) + timedelta(seconds=parse_duration(every))
    return f"with the next drill, which is due at {to_the_second(due)}"


def still_failed(record: DrillRecord) -> str:
    """The warning of each run after a drill that failed and only warned."""
    when = to_the_second(record.drilled_at or record.requested_at)
    return f"the last drill, of snapshot {record.snapshot} at {when}, failed: {told_of(record)}."


def told_of(record: DrillRecord) -> str:
    """Why a drill failed: each check that did not pass, or why none was run."""
    if record.failed_to_restore:
        return f"it could not be restored ({record.failure})"
    return "; ".join(each.told for each in record.failed_checks) or record.failure or "its checks were not run"


def _is_over(record: DrillRecord, every: Any, now: datetime) -> tuple[Words, str]:
    """Why it is time for another drill, empty if it is not; and a warning if that is not known."""
    if every is None or every is UNKNOWN:
        return "", ""
    last = parse_rfc3339(record.restored_at or record.requested_at)
    if last > now + APART:
        return "", f"the drill is not repeated: its time is in the future ({to_the_second(last)})."
    after = parse_duration(every)
    if now - last <= max(timedelta(seconds=after), MAY_RUN if record.pending else timedelta()):
        return "", ""
    age = "last drilled at {at}, longer ago than {every} ({after})"
    return Text(age, at=to_the_second(last), after=duration_text(after)), ""
