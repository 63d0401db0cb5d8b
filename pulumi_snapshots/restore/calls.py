"""What the engine's calls do with a restore. Programs load this file, so what speaks HTTP is loaded by the calls that need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.restore.difference import restore_difference
from pulumi_snapshots.restore.inputs import RestoreInputs
from pulumi_snapshots.restore.outcomes import RestorePending, restore_forgotten, restore_still_pending
from pulumi_snapshots.restore.record import RestoreRecord
from pulumi_snapshots.run.calls import Call, Calls, Changes, Resource, Unfinished, keeping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.properties.unfit import Problem

__all__ = ["RestoreCalls"]

WISHES = ("overwrite", "triggers", "timeout")
"""Inputs that the outputs repeat; the record has what was restored, and onto which database."""
NO_LOOKUP = (
    "A Restore cannot be looked up or imported: it is an act of this stack, and the service keeps no list of them."
)


class RestoreCalls(Calls):
    """The calls of `operations.restore` and `restore_difference`."""

    inputs = ("database_id", "version_id", "target_database_id", "name", "runtime", *WISHES)
    computed = frozenset({"target_database_id"})

    def problems(self, values: Mapping[str, Any]) -> list[Problem]:
        """What is wrong with the inputs."""
        return RestoreInputs.problems(values)

    def diff(self, call: Call, state: Mapping[str, Any], values: Mapping[str, Any]) -> Changes:
        """Compare."""
        found = restore_difference(RestoreRecord.from_outputs(state), state, values)
        if found.warning:
            call.listener.warn(found.warning)
        return Changes(found.replaces, updates=("attempt",) if found.resumes else ())

    async def create(self, call: Call, values: Mapping[str, Any]) -> Resource:
        """Restore, and wait until the database runs again."""
        from pulumi_snapshots.restore.restore import restore  # noqa: PLC0415  not for programs

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
        from pulumi_snapshots.restore.restore import resume_restore  # noqa: PLC0415  not for programs

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
    return {name: inputs[name] for name in WISHES if name in inputs} | record.to_outputs()
