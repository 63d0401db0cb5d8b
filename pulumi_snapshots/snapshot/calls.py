"""What the engine's calls do with a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.run.calls import Call, Calls, Resource, Unfinished, keeping
from pulumi_snapshots.run.settings import SettingsError
from pulumi_snapshots.snapshot.create import create, resume
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.outcomes import Pending, forgotten, still_pending
from pulumi_snapshots.snapshot.read import get, read
from pulumi_snapshots.snapshot.record import SNAPSHOT, SnapshotRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

__all__ = ["SnapshotCalls"]


class SnapshotCalls(Calls):
    """Create, read, update and delete."""

    async def create(self, call: Call, values: Mapping[str, Any]) -> Resource:
        """Take a snapshot and wait for it."""
        inputs = SnapshotInputs.of(values)
        with _keeping(call, values):
            return _resource(await create(call.session(), inputs, call.listener, owner=call.owner), values)
        raise AssertionError  # a failed operation has ended the call

    async def read(self, call: Call, id_: str, state: Mapping[str, Any]) -> Resource:
        """Refresh a snapshot in the state, or get an existing one by its id."""
        if "available" not in state:
            return _resource(await get(call.session(), id_), state)
        record = SnapshotRecord.from_outputs(state)
        if not record.pending:
            try:
                # Its own id: a snapshot that was resumed still has the provisional one.
                return _resource(await read(call.session(), record, call.listener, owner=call.owner), state)
            except Explained as error:
                # A key or a setting that was set right since does not reach a refresh.
                then = (*error.then, Next(Step.REFRESH_WITH_PROGRAM))
                raise Explained(error.happened, error.done, then) from error
        try:
            seen = await read(call.session(), record, call.listener, owner=call.owner)
        except SettingsError:
            # The engine reads with the configuration of the last run; the update that follows has the current one.
            seen = record
        if seen.pending:
            raise Unfinished(Resource(id_, _outputs(seen, state)), still_pending(seen), unkept=None)
        return _resource(seen, state)

    async def update(self, call: Call, id_: str, state: Mapping[str, Any], values: Mapping[str, Any]) -> Resource:
        """Go on waiting for a pending snapshot; there is nothing else to update."""
        record = SnapshotRecord.from_outputs(state)
        if record.pending:
            inputs = SnapshotInputs.of(values)
            with _keeping(call, values, kept=(id_, record)):
                record = await resume(call.session(), record, inputs, call.listener, owner=call.owner)
        return _resource(record, values)

    async def delete(self, call: Call, _id: str, state: Mapping[str, Any]) -> None:
        """Forget it: the service has no delete, so nothing is sent."""
        record = SnapshotRecord.from_outputs(state)
        # A create is not told what it replaces where the user wants that (`--replace`), so it may adopt the same one.
        adopted = record.version_id is not None and call.shared.memory.is_claimed(record.database_id, record.version_id)
        call.listener.progress(forgotten(record, adopted=adopted))


def _keeping(
    call: Call, inputs: Mapping[str, Any], kept: tuple[str, SnapshotRecord] | None = None
) -> AbstractContextManager[None]:
    """End the call unfinished if the body leaves something pending, see `keeping`."""
    return keeping(call, Pending, lambda record: _outputs(record, inputs), kept)


def _resource(record: SnapshotRecord, inputs: Mapping[str, Any]) -> Resource:
    return Resource(record.id, _outputs(record, inputs))


def _outputs(record: SnapshotRecord, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return SNAPSHOT.state(record, inputs)
