"""What inputs may be, and what a change of them, or time, means for a drill, which is never replaced. Sends no request."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from pulumi_snapshots.archive.record import archive_uri
from pulumi_snapshots.clock import parse_rfc3339, to_the_second
from pulumi_snapshots.drill.record import ASKS, DRILL, DRILLS, Address, DrillRecord, marks
from pulumi_snapshots.errors import Text, Words
from pulumi_snapshots.late import late
from pulumi_snapshots.ledger.attempt import Proof
from pulumi_snapshots.properties.checks import (
    UNKNOWN,
    Problem,
    digest_of,
    duration_text,
    parse_duration,
)
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.calls import Changes, EngineCall, Rules, Same, changed, holds_unknown

MAY_RUN = timedelta(days=1)
"""For which a restore whose end was not seen is watched, whatever `every` is: nothing shows it later."""


class DrillRules(Rules):
    """Another snapshot, other triggers, another scratch database, `every`, and a failure have work to do."""

    schema = DRILL
    kind = "restore"
    waits_on = RestoreRules.waits_on
    acts_again = DRILLS

    def check(
        self, call: EngineCall, values: Mapping[str, Any], *, in_state: bool = False
    ) -> list[Problem]:
        """What is wrong with the inputs, and with overwriting the scratch database as far as this run knows the stack."""
        problems = super().check(call, values, in_state=in_state)
        scratch, loads = values.get("scratch_database_id"), values.get("archive") is not None
        name, overwritten = "scratch_database_id", {scratch} if isinstance(scratch, str) else set()
        if loads:
            name, overwritten = "connection", Address.of(values.get("connection")).databases
        for each in overwritten:
            if each != values.get("database_id"):  # that is a problem of its own
                reason = call.shared.memory.uses.remember_overwriting(
                    each, self.about(call), loads=loads
                )
                problems += [Problem(name, reason)] if reason else []
        return problems

    def in_state(self, state: Mapping[str, Any]) -> Proof | None:
        """The drill, or the wait for its restore's end."""
        if "requested_at" not in state or state.get(
            "archive"
        ):  # looked up by its id, or no request of the service
            return None
        record = DrillRecord.from_outputs(state)
        request = record.attempt if record.pending else None
        known = record.restored_at, request, record.requested_at
        purpose = digest_of(marks(record.snapshot, state.get("triggers")))
        return Proof(
            "restore", record.scratch_database_id, *known, purpose, record.snapshot, record
        )

    @cached_property
    def calls(self) -> Any:
        """Create, read, update and delete."""
        return late("drill.calls:DrillCalls")(self.compare)

    def others(
        self, record: DrillRecord, old: Mapping[str, Any], new: Mapping[str, Any], same: Same
    ) -> list[str]:
        """As declared; an archive names its own snapshot, and two spellings of one archive are equal."""
        uri = new.get("archive")
        new = {**new, "archive": archive_uri(uri) if isinstance(uri, str) else uri}
        if record.archive is not None:
            own = {
                name: getattr(record, name)
                for name in ("database_id", "version_id", "scratch_database_id")
            }
            new = {**own, **{name: value for name, value in new.items() if value is not None}}
        return super().others(record, {**old, **record.to_outputs()}, new, same)

    def otherwise(
        self, record: DrillRecord, old: Mapping[str, Any], new: Mapping[str, Any], now: datetime
    ) -> Changes:
        """`every`, a failure, or other checks."""
        every = new.get("every")
        if reason := _is_over(record, every, now):
            return Changes(updates=(DRILLS,), reason=reason)
        if record.pending:
            return Changes()
        others = not holds_unknown(new.get("checks")) and changed("checks", old, new)
        if record.passed:
            return _other_checks(record, every) if others else Changes()
        # Nobody has judged a database that could not be reached, and the connection may be another one now.
        if (
            record.passed is not None
            and new.get("on_failure") == "warn"
            and not others
            and record.failure is None
        ):
            return Changes(warning=record.still_failed)
        if record.archive is not None:
            return Changes(updates=(DRILLS,), reason="the archive is loaded and checked again")
        return Changes(updates=(ASKS,), reason="the checks run again, without another restore")


def _other_checks(record: DrillRecord, every: Any) -> Changes:
    """What other checks mean for a drill that has passed."""
    then = record.next_drill(every)
    if record.archive is not None:
        return Changes(note=Text("the checks changed: they run {then}", then=then))
    now_if = "the checks changed: they run now if database {scratch} still holds this drill's restore, otherwise {then}"
    return Changes(
        updates=(ASKS,), note=Text(now_if, scratch=record.scratch_database_id, then=then)
    )


def _is_over(record: DrillRecord, every: Any, now: datetime) -> Words:
    """Why it is time for another drill; empty if it is not."""
    if record.failed_to_restore:
        return f"the restore requested at {record.requested_at} failed with {record.failure}"
    if every is None or every is UNKNOWN:
        return ""
    last, after = parse_rfc3339(record.restored_at or record.requested_at), parse_duration(every)
    if now - last <= max(timedelta(seconds=after), MAY_RUN if record.pending else timedelta()):
        return ""
    age = "last drilled at {at}, longer ago than {every} ({after})"
    return Text(age, at=to_the_second(last), after=duration_text(after))
