"""What inputs may be, and what a change of them means for a drill that has acted. Sends no request."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.attempt.journal import Entry, Proof
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.clock import system_utc
from pulumi_snapshots.drill.due import KEPT, drill_difference, in_use
from pulumi_snapshots.drill.inputs import purpose_of
from pulumi_snapshots.drill.record import DRILL, DrillRecord
from pulumi_snapshots.late import late
from pulumi_snapshots.properties.unfit import Problem
from pulumi_snapshots.run.calls import Changes, Rules
from pulumi_snapshots.snapshot.record import is_same_snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.run.calls import Call, Calls


class DrillRules(Rules):
    """The rules of a drill."""

    thing = DRILL
    what = "restore"

    def check(self, call: Call, values: Mapping[str, Any], *, in_state: bool = False) -> list[Problem]:
        """What is wrong with the inputs, and with overwriting the scratch database as far as this run knows the stack."""
        problems = super().check(call, values, in_state=in_state)
        scratch, memory = values.get("scratch_database_id"), call.shared.memory
        if isinstance(scratch, str) and scratch != values.get("database_id"):
            memory.note_scratch(scratch, self.about(call))
            if (resource := memory.kept_by(scratch)) is not None:
                problems.append(Problem("scratch_database_id", in_use(resource)))
        return problems

    def proof_by_state(self, state: Mapping[str, Any]) -> Proof | None:
        """That it has this restore, or this attempt."""
        if "requested_at" not in state:  # one that is looked up by its id
            return None
        record = DrillRecord.from_outputs(state)
        return Proof.of(record.scratch_database_id, record.restored_at, record.attempt, record.requested_at)

    def post_of(self, record: DrillRecord) -> Post | None:
        """That of the restore, or of the wait for its end; nothing of one that failed, which is to be sent again."""
        if record.failed_to_restore:
            return None
        return record.attempt or Post.resolved(record.requested_at)

    def kept_by_state(self, state: Mapping[str, Any]) -> Entry | None:
        """The restore, or the wait for its end; nothing of one that failed, which is to be sent again."""
        record = DrillRecord.from_outputs(state)
        post = self.post_of(record)
        if post is None:
            return None
        purpose = purpose_of(record.snapshot, state.get("triggers"))
        kept = Entry(None, record.scratch_database_id, purpose, post, "", restores=record.snapshot)
        outputs = {KEPT: json.dumps(record.to_outputs())}
        return replace(kept, finished=record.restored_at, in_state=record.pending, outputs=outputs)

    @property
    def calls(self) -> Calls:
        """Create, read, update and delete."""
        calls: Calls = late("drill.calls:DrillCalls")()
        return calls

    def compare(self, call: Call, record: DrillRecord, state: Mapping[str, Any], values: Mapping[str, Any]) -> Changes:
        """Compare."""
        return drill_difference(record, state, values, system_utc(), partial(is_same_snapshot, call.shared.memory))
