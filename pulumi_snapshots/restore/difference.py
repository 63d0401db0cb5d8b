"""What a change of inputs means for a restore that has acted. Sends no request."""

from datetime import datetime
from functools import cached_property
from typing import Any

from pulumi_snapshots.late import late
from pulumi_snapshots.properties.catalogue import Values
from pulumi_snapshots.properties.checks import UNKNOWN, Problem, digest_of
from pulumi_snapshots.restore.record import RESTORE, RestoreRecord, another_snapshot
from pulumi_snapshots.run.calls import Changes, EngineCall, Rules, Same
from pulumi_snapshots.run.memory import StateRequest
from pulumi_snapshots.snapshot.record import NAMED_BY, short_id


class RestoreRules(Rules):
    """Only other triggers, another target or a failure restore again; another snapshot does not."""

    schema = RESTORE
    kind = "restore"
    calls = cached_property(lambda self: late("restore.restore:RestoreCalls")(self))  # noqa: PLW0108  loaded late
    waits_on = "restore pending since {since}; will keep watching, no new request"

    def check(
        self, call: EngineCall, values: Values, *, in_state: bool = False
    ) -> list[Problem]:
        """Check the inputs; the row of a new restore names its snapshot, also in a preview."""
        problems = super().check(call, values, in_state=in_state)
        snapshot = [values.get(name) for name in NAMED_BY]
        if not (in_state or problems or UNKNOWN in snapshot):
            restored = short_id("/".join(map(str, snapshot)))
            call.show(f"restores {restored}")
        return problems

    def in_state(self, state: Values) -> StateRequest | None:
        """The restore, or the wait for its end; None for one that is looked up by its id."""
        if "requested_at" not in state:
            return None
        record = RestoreRecord.from_outputs(state)
        return StateRequest(
            "restore",
            record.target_database_id,
            record.requested_at,
            record.attempt,
            digest_of(state.get("triggers")),
            record,
        )

    def uses(self, values: Values) -> dict[str, Any]:
        """The snapshot's database, and the database that is restored."""
        return {
            **super().uses(values),
            "target_database_id": values.get("target_database_id"),
        }

    def deciding(self, new: Values) -> list[str]:
        """The triggers, and the input that names the target."""
        return [
            "triggers",
            "database_id"
            if new.get("target_database_id") is None
            else "target_database_id",
        ]

    def others(
        self,
        record: RestoreRecord,
        old: Values,
        new: Values,
        same: Same,
    ) -> list[str]:
        """The inputs among these that differ, whichever named the target before."""
        target = dict.fromkeys(
            ("database_id", "target_database_id"), record.target_database_id
        )
        return super().others(record, {**old, **target}, new, same)

    def otherwise(
        self,
        record: RestoreRecord,
        _old: Values,
        new: Values,
        _now: datetime,
    ) -> Changes:
        """Another snapshot alone restores nothing, and neither does a failure."""
        is_another = any(
            new.get(name) not in {UNKNOWN, getattr(record, name)} for name in NAMED_BY
        )
        if record.failure:
            failed = f"the restore requested at {record.requested_at} failed with {record.failure}"
            return Changes(updates=("attempt",), reason=failed)
        return Changes(warning=another_snapshot(record) if is_another else "")
