"""What the engine's calls do with a restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.restore.inputs import RestoreInputs
from pulumi_snapshots.restore.outcomes import RestorePending, restore_forgotten, restore_still_pending
from pulumi_snapshots.restore.record import RESTORE, RestoreRecord
from pulumi_snapshots.restore.restore import restore, resume_restore
from pulumi_snapshots.run.calls import Call, Calls, Resource, Unfinished, keeping

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RestoreCalls"]

NO_LOOKUP = (
    "A Restore cannot be looked up or imported: it is an act of this stack, and the service keeps no list of them."
)


class RestoreCalls(Calls):
    """Create, read, update and delete."""

    async def create(self, call: Call, values: Mapping[str, Any]) -> Resource:
        """Restore, and wait until the database runs again."""
        inputs = RestoreInputs.of(values)
        with keeping(call, RestorePending, lambda record: _outputs(record, values)):
            record = await restore(call.session(), inputs, call.listener, owner=call.owner)
            return Resource(record.id, _outputs(record, values))
        raise AssertionError  # a failed operation has ended the call

    async def read(self, _call: Call, id_: str, state: Mapping[str, Any]) -> Resource:
        """Nothing is asked: what was done is done, whatever becomes of the snapshot."""
        if "requested_at" not in state:
            raise Explained(NO_LOOKUP)
        record = RestoreRecord.from_outputs(state)
        seen = Resource(id_, _outputs(record, state))
        if record.pending:
            raise Unfinished(seen, restore_still_pending(record), unkept=None)
        return seen

    async def update(self, call: Call, id_: str, state: Mapping[str, Any], values: Mapping[str, Any]) -> Resource:
        """Go on watching a restore whose end was not seen; there is nothing else to update."""
        record = RestoreRecord.from_outputs(state)
        if record.pending:
            inputs = RestoreInputs.of(values)
            with keeping(call, RestorePending, lambda record: _outputs(record, values), kept=(id_, record)):
                record = await resume_restore(call.session(), record, inputs, call.listener, owner=call.owner)
        return Resource(id_, _outputs(record, values))

    async def delete(self, call: Call, _id: str, state: Mapping[str, Any]) -> None:
        """Forget it: nothing is sent, and the database keeps what it holds."""
        call.listener.progress(restore_forgotten(RestoreRecord.from_outputs(state)))


def _outputs(record: RestoreRecord, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return RESTORE.state(record, inputs)
