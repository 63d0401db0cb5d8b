"""What the engine's calls do with a restore."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi_snapshots.errors import Explained, Next, Step
from pulumi_snapshots.restore.inputs import RestoreInputs
from pulumi_snapshots.restore.record import RESTORE, RestoreRecord
from pulumi_snapshots.restore.restore import RestorePending, failure_of, restore, resume_restore
from pulumi_snapshots.run.calls import ActCalls, Call, Resource, Unfinished

NO_LOOKUP = (
    "A Restore cannot be looked up or imported: it is an act of this stack, and the service keeps no list of them."
)


class RestoreCalls(ActCalls):
    """Create, read, update and delete."""

    ends = RestorePending
    act, resume = staticmethod(restore), staticmethod(resume_restore)

    def stays(self, kept: RestoreRecord, inputs: RestoreInputs) -> bool:
        """Whether it was onto the same database, and did not fail."""
        return kept.target_database_id == inputs.target and not kept.failure

    async def read(self, _call: Call, id_: str, state: Mapping[str, Any]) -> Resource:
        """Return what the state holds; no request is sent, since a restore acts once."""
        if "requested_at" not in state:
            raise Explained(NO_LOOKUP)
        record = RestoreRecord.from_outputs(state)
        resource = Resource(id_, RESTORE.state(record, state))
        if record.failure:
            raise Unfinished(resource, failure_of(record))
        if record.pending:
            happened = (
                f"What database {record.target_database_id} holds is not known: the end of the restore that was requested "
                f"at {record.requested_at} was not seen"
            )
            raise Unfinished(resource, Explained(happened, then=[Next(Step.KEEP_WATCHING)]))
        return resource

    async def delete(self, call: Call, _id: str, state: Mapping[str, Any]) -> None:
        """Forget it: nothing is sent, and the database keeps what it holds."""
        record = RestoreRecord.from_outputs(state)
        kept = f"database {record.target_database_id} keeps what it holds"
        call.listener.note(f"forgotten: the restore of {record.snapshot}; {kept}")

    def resource(self, record: RestoreRecord, values: Mapping[str, Any], id_: str | None = None) -> Resource:
        """The resource, also if it failed: what is known of a failure is kept, since the service forgets it."""
        resource = Resource(id_ or record.id, RESTORE.state(record, values))
        if record.failure:
            error = failure_of(record)
            raise Unfinished(resource, error, error.then)
        return resource
