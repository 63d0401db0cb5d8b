"""What a change of inputs, or time, means for a snapshot that exists. Sends no request."""

from datetime import datetime, timedelta
from functools import cached_property

from pulumi_snapshots.clock import parse_rfc3339, to_the_second
from pulumi_snapshots.errors import Message
from pulumi_snapshots.late import late
from pulumi_snapshots.properties.catalogue import Values
from pulumi_snapshots.properties.checks import (
    UNKNOWN,
    Problem,
    digest_of,
    duration_text,
    parse_duration,
)
from pulumi_snapshots.run.calls import Changes, EngineCall, Rules
from pulumi_snapshots.run.memory import StateRequest
from pulumi_snapshots.snapshot.record import SNAPSHOT, SnapshotRecord


class SnapshotRules(Rules):
    """Only another database, other triggers, or age take a new snapshot."""

    schema = SNAPSHOT
    kind = "snapshot"
    calls = cached_property(lambda self: late("snapshot.read:SnapshotCalls")(self))  # noqa: PLW0108  loaded late
    waits_on = "pending since {since}; will keep waiting, no new request"

    def in_state(self, state: Values) -> StateRequest | None:
        """The snapshot, or the wait for it; None for one that is looked up by its id."""
        if "available" not in state:
            return None
        record = SnapshotRecord.from_outputs(state)
        request = record.attempt if record.pending else None
        purpose = digest_of(state.get("triggers"))
        return StateRequest(
            "snapshot",
            record.database_id,
            record.requested_at,
            request,
            purpose,
            record,
        )

    def check(
        self, call: EngineCall, values: Values, *, in_state: bool = False
    ) -> list[Problem]:
        """Check the inputs, and note that a new snapshot is made unless a comparison follows."""
        self.calls_of(call).makes_new_of = values.get("database_id")
        return super().check(call, values, in_state=in_state)

    def compare(
        self,
        call: EngineCall,
        record: SnapshotRecord,
        state: Values,
        values: Values,
    ) -> Changes:
        """Compare, and remember what the state has, which the engine does not tell a create."""
        record.remember_in(call.shared.memory)
        found = super().compare(call, record, state, values)
        calls = self.calls_of(call)
        calls.version = record.version_id
        calls.makes_new_of = None
        calls.replaces = record.id if found.replaces else None
        calls.rotated = record if "created_at" in found.replaces else None
        return found

    def otherwise(
        self,
        record: SnapshotRecord,
        _old: Values,
        new: Values,
        now: datetime,
    ) -> Changes:
        """Whether it is time for another snapshot."""
        rotate_after = new.get("rotate_after")
        if record.pending or rotate_after is None or rotate_after is UNKNOWN:
            return Changes()
        created = parse_rfc3339(record.created_at) if record.created_at else None
        if created is None or created > now:
            when = (
                "not known"
                if created is None
                else f"in the future ({to_the_second(created)})"
            )
            return Changes(
                warning=f"snapshot {record.id} is not rotated: its time of creation is {when}."
            )
        after = parse_duration(rotate_after)
        if now - created <= timedelta(seconds=after):
            return Changes()
        age = "created at {at}, longer ago than {rotate_after} ({after})"
        return Changes(
            ("created_at",),
            reason=Message(age, at=to_the_second(created), after=duration_text(after)),
        )
