"""The engine's calls about a drill: create, read, update and delete."""

from collections.abc import Awaitable, Callable
from typing import Any

from pulumi_snapshots.archive.manifest import note_drill
from pulumi_snapshots.archive.record import ArchiveMemory
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.drill.drill import DrillFailed, Drilling, unfinished_drill
from pulumi_snapshots.drill.record import (
    ASKS,
    DRILL,
    DRILLS,
    RESUMES,
    DrillInputs,
    DrillRecord,
    GoodDrill,
)
from pulumi_snapshots.errors import AnyMessage
from pulumi_snapshots.properties.catalogue import Values
from pulumi_snapshots.run.calls import (
    Changes,
    EngineCall,
    Resource,
    ResourceNotFinished,
    ending_unfinished,
    keep_in_ledger,
)


class DrillCalls:
    """Create, read, update and delete; `compare` says what a change of inputs means."""

    def __init__(self, compare: Callable[..., Changes]) -> None:
        self.compare = compare

    async def create(self, call: EngineCall, values: Values) -> Resource:
        """Restore onto the scratch database, and check what came back.

        If this run has deleted an equal drill of the resource, that drill is kept or resumed
        instead.

        Args:
            call: The call.
            values: The inputs, by their names in Python.

        Returns:
            The resource; of a drill that failed only if `on_failure` is `warn`.

        Raises:
            ResourceNotFinished: The drill has failed, or its end was not seen.
            ProviderError: Nothing was restored.
        """
        inputs = DrillInputs.of(values)
        memory = call.shared.memory
        calls = memory.calls_of("restore", call.owner)
        in_state = calls.kept_for(memory.purposes(inputs.restore.triggers))
        kept: Any = in_state.record if in_state else None
        if in_state is None or not _is_result_of(inputs, kept):
            drilling = _drilling(call, inputs)
            return await _finish(
                call, values, drilling.carry_out(forced=calls.is_forced)
            )
        # This run has deleted the resource, which should not change, and the engine re-creates it.
        await keep_in_ledger(call, in_state)
        if _is_settled(kept, values):
            return _resource(kept, values, None)
        return await _finish(call, values, _continue(call, kept, inputs), kept.id, kept)

    async def read(self, _call: EngineCall, id_: str, state: Values) -> Resource:
        """Return what the state holds; no request is sent, since a drill is an act.

        Args:
            id_: The id in the state.
            state: The outputs in the state.

        Returns:
            The resource, as it is in the state.

        Raises:
            ResourceNotFinished: The drill has failed and `on_failure` is not `warn`, or its end was
                not seen. The next `up` runs the checks again or resumes the drill.
        """
        record = DrillRecord.from_outputs(state)
        resource = _resource(record, state, id_)
        if _is_settled(record, state):
            return resource
        if record.passed is False:
            raise ResourceNotFinished(resource, DrillFailed(record))
        if record.pending:
            happened = (
                "The end of the restore that was requested at "
                f"{record.requested_at} was not seen."
            )
        else:
            happened = (
                f"Snapshot {record.snapshot} was restored at {record.restored_at}, "
                "and not checked."
            )
        raise ResourceNotFinished(resource, unfinished_drill(record, happened))

    async def update(
        self,
        call: EngineCall,
        id_: str,
        state: Values,
        values: Values,
    ) -> Resource:
        """Drill again, resume a drill, run its checks again, or only keep new inputs.

        Args:
            call: The call.
            id_: The id in the state, which stays.
            state: The outputs in the state.
            values: The new inputs.

        Returns:
            The resource, with the new inputs.

        Raises:
            ResourceNotFinished: As for `create`.
            ProviderError: The checks of a drill that has passed could not be run to their end; the
                state stays as it is.
        """
        record = DrillRecord.from_outputs(state)
        inputs = DrillInputs.of(values)
        updates = self.compare(call, record, state, values).updates
        if DRILLS in updates:
            drilling = _drilling(call, inputs, record.last_good)
            return await _finish(call, values, drilling.carry_out(), id_)
        if RESUMES not in updates and ASKS not in updates:
            return _resource(record, values, id_)
        if record.passed:
            next_drill = record.next_drill(values.get("every"))
            checked = _continue(call, record, inputs, next_drill)
            return await _finish(call, values, checked, id_)
        return await _finish(call, values, _continue(call, record, inputs), id_, record)

    async def delete(self, call: EngineCall, _id: str, state: Values) -> None:
        """Forget the drill: nothing is sent, and the scratch database keeps what it holds.

        Args:
            call: The call, whose listener gets a line about the drill.
            state: The outputs in the state.
        """
        record = DrillRecord.from_outputs(state)
        scratch = f"database {record.scratch_database_id}"
        call.listener.note(
            f"forgotten: the drill of {record.snapshot}; {scratch} keeps what it holds"
        )


def _is_result_of(inputs: DrillInputs, record: DrillRecord) -> bool:
    """Whether an earlier drill is what these inputs ask for.

    A snapshot that was not restored is drilled again.
    """
    same_scratch = record.scratch_database_id == inputs.scratch_database_id
    return same_scratch and not record.failed_to_restore


def _is_settled(record: DrillRecord, values: Values) -> bool:
    """Whether a drill has passed, or has failed and only warns."""
    if record.passed is False:
        return values.get("on_failure") == "warn"
    return bool(record.passed)


def _drilling(
    call: EngineCall, inputs: DrillInputs, last_good: GoodDrill | None = None
) -> Drilling:
    """Prepare a drill of the call's resource."""
    return Drilling(call.session(), inputs, call.listener, call.owner, last_good)


async def _continue(
    call: EngineCall,
    record: DrillRecord,
    inputs: DrillInputs,
    next_drill: AnyMessage | None = None,
) -> DrillRecord:
    """Watch a restore whose end was not seen, or run the checks again.

    Args:
        call: The engine's call.
        record: The drill in the state; the inputs name the same snapshot and scratch database.
        inputs: The inputs now.
        next_drill: See `Drilling.check_again`.
    """
    drilling = _drilling(call, inputs, record.last_good)
    if record.pending:
        return await drilling.carry_out(record)
    return await drilling.check_again(record, next_drill)


async def _finish(
    call: EngineCall,
    values: Values,
    operation: Awaitable[DrillRecord],
    id_: str | None = None,
    kept: DrillRecord | None = None,
) -> Resource:
    """Return the resource after a drill or its checks.

    Args:
        call: The engine's call.
        values: The inputs.
        operation: The drill, or its checks.
        id_: The id in the state; None if the state does not have the resource yet.
        kept: What the state must keep, also if the operation could not begin, as without a key.

    Raises:
        ResourceNotFinished: The drill has failed, or its end was not seen.
    """
    with ending_unfinished(call, DRILL, values, unfinished_drill, id_, kept):
        try:
            record = await operation
        except DrillFailed as error:
            record = error.record
            if not _is_settled(record, values):
                raise ResourceNotFinished(
                    _resource(record, values, id_), error, error.then
                ) from error
            call.listener.warn(record.warning)
    if record.passed:
        await note_in_archives(call, record)
    return _resource(record, values, id_)


async def note_in_archives(call: EngineCall, record: DrillRecord) -> None:
    """Note a drill that has passed in the manifests of the stack's archives of the snapshot."""
    if record.proof is None:
        return
    snapshot = (record.database_id, record.version_id)
    uris = [
        archived.uri
        for archived, _ in call.shared.of(ArchiveMemory).current.values()
        if (archived.database_id, archived.version_id) == snapshot and not archived.lost
    ]
    transfers = call.shared.of(Transfers)
    await note_drill(transfers, uris, snapshot, record.proof, call.listener)


def _resource(record: DrillRecord, values: Values, id_: str | None) -> Resource:
    return Resource(id_ or record.id, DRILL.state(record, values))
