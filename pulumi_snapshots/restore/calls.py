"""What the engine's calls do with a restore."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi_snapshots.errors import Explained, Next, Step
from pulumi_snapshots.restore.inputs import RestoreInputs
from pulumi_snapshots.restore.record import RESTORE, RestoreRecord
from pulumi_snapshots.restore.restore import RestorePending, failure_of, restore, resume_restore
from pulumi_snapshots.run.calls import Call, Calls, Resource, Unfinished, ending_unfinished

NO_LOOKUP = (
    "A Restore cannot be looked up or imported: it is an act of this stack, and the service keeps no list of them."
)


class RestoreCalls(Calls):
    """Create, read, update and delete."""

    async def create(self, call: Call, values: Mapping[str, Any]) -> Resource:
        """Restore, and wait until the database runs again."""
        inputs, memory = RestoreInputs.of(values), call.shared.memory
        kept: RestoreRecord | None = memory.kept("restore", call.owner, inputs.triggers)
        is_same = kept is not None and kept.target_database_id == inputs.target
        if kept is not None and is_same and not kept.failure:  # the engine makes again what is to stay
            return await _continued(call, kept.id, kept, values)
        fresh = memory.is_forced("restore", call.owner)
        with ending_unfinished(call, RESTORE, values, RestorePending):
            record = await restore(call.session(), inputs, call.listener, call.owner, fresh=fresh)
        return Resource(record.id, RESTORE.state(record, values))

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

    async def update(self, call: Call, id_: str, state: Mapping[str, Any], values: Mapping[str, Any]) -> Resource:
        """Keep watching a restore whose end was not seen; there is nothing else to update."""
        return await _continued(call, id_, RestoreRecord.from_outputs(state), values)

    async def delete(self, call: Call, _id: str, state: Mapping[str, Any]) -> None:
        """Forget it: nothing is sent, and the database keeps what it holds."""
        record = RestoreRecord.from_outputs(state)
        kept = f"database {record.target_database_id} keeps what it holds"
        call.listener.note(f"forgotten: the restore of {record.snapshot}; {kept}")


async def _continued(call: Call, id_: str, record: RestoreRecord, values: Mapping[str, Any]) -> Resource:
    if record.pending:
        with ending_unfinished(call, RESTORE, values, RestorePending, kept=(id_, record)):
            inputs = RestoreInputs.of(values)
            record = await resume_restore(call.session(), record, inputs, call.listener, owner=call.owner)
    resource = Resource(id_, RESTORE.state(record, values))
    if record.failure:
        # What is known of a failure is kept, since the service forgets it.
        error = failure_of(record)
        raise Unfinished(resource, error, error.then)
    return resource
