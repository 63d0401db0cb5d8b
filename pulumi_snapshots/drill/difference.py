"""The checks of a drill's inputs, and what changed inputs, or time, mean for the drill.

Sends no request. A drill is never replaced.
"""

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from pulumi_snapshots.clock import parse_rfc3339, to_the_second
from pulumi_snapshots.drill.record import ASKS, DRILL, DRILLS, DrillRecord, marks
from pulumi_snapshots.errors import AnyMessage, Message
from pulumi_snapshots.late import late
from pulumi_snapshots.properties.catalogue import Values
from pulumi_snapshots.properties.checks import (
    UNKNOWN,
    Problem,
    digest_of,
    duration_text,
    parse_duration,
)
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.calls import (
    Changes,
    EngineCall,
    Rules,
    Same,
    changed,
    holds_unknown,
)
from pulumi_snapshots.run.memory import StateRequest, is_same_database

MAY_RUN = timedelta(days=1)
"""How long a restore whose end was not seen is watched, whatever `every` is."""


class DrillRules(Rules):
    """The rules of a drill: another snapshot, other triggers, `every` and others drill again."""

    schema = DRILL
    kind = "restore"
    waits_on = RestoreRules.waits_on
    acts_again = DRILLS

    def check(
        self,
        call: EngineCall,
        values: Values,
        *,
        in_state: bool = False,
    ) -> list[Problem]:
        """Find what is wrong with the inputs, and with overwriting the scratch database.

        What uses that database is known as far as the engine has told this process.
        """
        problems = super().check(call, values, in_state=in_state)
        scratch = values.get("scratch_database_id")
        # If it is the snapshot's own database, the inputs' check has said so already.
        if isinstance(scratch, str) and not is_same_database(
            scratch, values.get("database_id")
        ):
            uses = call.shared.memory.uses
            reason = uses.remember_overwriting(scratch, self.about(call))
            if reason:
                problems.append(Problem("scratch_database_id", reason))
        return problems

    def in_state(self, state: Values) -> StateRequest | None:
        """Return the drill, or the wait for its restore's end; None for a lookup by id."""
        if "requested_at" not in state:
            return None
        record = DrillRecord.from_outputs(state)
        return StateRequest(
            "restore",
            record.scratch_database_id,
            record.requested_at,
            record.attempt if record.pending else None,
            digest_of(marks(record.snapshot, state.get("triggers"))),
            record,
        )

    @cached_property
    def calls(self) -> Any:
        """Its create, read, update and delete."""
        return late("drill.calls:DrillCalls")(self.compare)

    def others(
        self, record: DrillRecord, old: Values, new: Values, same: Same
    ) -> list[str]:
        """Find the inputs that differ from those of the drill."""
        return super().others(record, {**old, **record.to_outputs()}, new, same)

    def otherwise(
        self,
        record: DrillRecord,
        old: Values,
        new: Values,
        now: datetime,
    ) -> Changes:
        """Decide on `every`, a failure, and other checks."""
        every = new.get("every")
        reason = _is_due(record, every, now)
        if reason:
            return Changes(updates=(DRILLS,), reason=reason)
        if record.pending:
            return Changes()
        has_other_checks = changed("checks", old, new)
        if holds_unknown(new.get("checks")):
            has_other_checks = False
        if record.passed:
            return _other_checks(record, every) if has_other_checks else Changes()
        # A database that could not be reached was not judged, and the connection may have changed.
        was_judged = record.passed is False and record.failure is None
        if was_judged and not has_other_checks and new.get("on_failure") == "warn":
            return Changes(warning=record.warning)
        return Changes(
            updates=(ASKS,), reason="the checks run again, without another restore"
        )


def _other_checks(record: DrillRecord, every: Any) -> Changes:
    """Say when other checks of a drill that has passed run."""
    now_if = (
        "the checks changed: they run now if database {scratch} still holds this drill's restore, "
        "otherwise {then}"
    )
    note = Message(
        now_if, scratch=record.scratch_database_id, then=record.next_drill(every)
    )
    return Changes(updates=(ASKS,), note=note)


def _is_due(record: DrillRecord, every: Any, now: datetime) -> AnyMessage | None:
    """Say why it is time for another drill.

    Args:
        record: The last drill.
        every: The input, a duration; None or `UNKNOWN` asks for no drill by age.
        now: This machine's time.

    Returns:
        The reason; None if no drill is due yet.
    """
    if record.failed_to_restore:
        return f"the restore requested at {record.requested_at} failed with {record.failure}"
    if every is None or every is UNKNOWN:
        return None
    last = parse_rfc3339(record.restored_at or record.requested_at)
    seconds = parse_duration(every)
    patience = MAY_RUN if record.pending else timedelta()
    if now - last <= max(timedelta(seconds=seconds), patience):
        return None
    age = "last drilled at {at}, longer ago than {every} ({after})"
    return Message(age, at=to_the_second(last), after=duration_text(seconds))
