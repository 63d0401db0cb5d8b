"""What the engine's calls do with a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Explained, Next, Step, Text, Words
from pulumi_snapshots.ledger.attempt import owner_of
from pulumi_snapshots.run.calls import ActCalls, Call, Resource, Unfinished
from pulumi_snapshots.run.settings import SettingsError
from pulumi_snapshots.snapshot.create import Pending, create, resume
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.read import get, read
from pulumi_snapshots.snapshot.record import SNAPSHOT, SnapshotRecord


class SnapshotCalls(ActCalls):
    """Create, read, update and delete."""

    ends = Pending
    act, resume = staticmethod(create), staticmethod(resume)

    def stays(self, kept: SnapshotRecord, inputs: SnapshotInputs) -> bool:
        """Whether it is of the same database."""
        return kept.database_id == inputs.database_id

    async def read(self, call: Call, id_: str, state: Mapping[str, Any]) -> Resource:
        """Refresh a snapshot in the state, or get an existing one by its id."""
        if "available" not in state:
            return self.resource(await get(call.session(), id_), state)
        record = SnapshotRecord.from_outputs(state)
        try:
            seen = await read(call.session(), record, call.listener, owner=call.owner)
        except Explained as error:
            # The engine refreshes with the configuration of the last run, not with the present one.
            if not record.pending:
                stays = f"Snapshot {record.id} was not refreshed and stays as it was."
                done = Text("{done} {stays}", done=error.done, stays=stays) if error.done else stays
                raise Explained(error.happened, done, (*error.then, Next(Step.REFRESH_WITH_PROGRAM))) from error
            if not isinstance(error, SettingsError):
                raise
            seen = record  # the update that follows has the present one
        if seen.pending:
            which = f"The snapshot of database {seen.database_id} requested at {seen.requested_at}"
            raise Unfinished(Resource(id_, SNAPSHOT.state(seen, state)), Explained(f"{which} is still pending"))
        return self.resource(seen, state)  # under its own id: a snapshot that was resumed still has the provisional one

    async def delete(self, call: Call, _id: str, state: Mapping[str, Any]) -> None:
        """Forget it: the service has no delete, so nothing is sent."""
        record = SnapshotRecord.from_outputs(state)
        # With `--replace`, a create does not learn what it replaces, so it may adopt the same snapshot.
        adopted = record.version_id in call.shared.memory.of(record.database_id).claimed
        resumed = owner_of(call.owner) in call.shared.memory.resumed
        call.listener.note(_forgotten(record, adopted=adopted, resumed=resumed))


def _forgotten(record: SnapshotRecord, *, adopted: bool, resumed: bool) -> Words:
    """What a delete says.

    Args:
        record: of the snapshot.
        adopted: whether a resource of this run has the very same snapshot now.
        resumed: whether this run has found the snapshot that an earlier run began to replace it with.
    """
    if adopted:
        kept = "not forgotten: {id}, which a resource of this run has now: it has adopted it (`{reuse_within}`) or completed it"
        return Text(kept, id=record.id)
    if record.pending:
        return f"forgotten: {record.id}; if its snapshot was started, the service keeps it for 30 days"
    if not record.available:
        return f"forgotten: {record.id}, which the service no longer listed"
    until = to_the_second(record.expires_at) if record.expires_at else "its 30 days are over"
    known = f"forgotten: {'the old record {id}' if resumed else '{id}'}; the service keeps it until {{until}}"
    why = "; its replacement, which an earlier run began, is there: nothing is taken again" if resumed else ""
    return Text(f"{known}{why}. {{then}}", id=record.id, until=until, then=Next(Step.BRING_BACK))
