"""What the engine's calls do with a drill."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from pulumi_snapshots.archive.manifest import note_drill
from pulumi_snapshots.archive.record import ArchiveMemory
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.drill.drill import DrillFailed, Drilling, DrillPending, failed, unfinished
from pulumi_snapshots.drill.inputs import DrillInputs
from pulumi_snapshots.drill.of_archive import drill_archive
from pulumi_snapshots.drill.record import ASKS, DRILL, DRILLS, RESUMES, DrillRecord, GoodDrill
from pulumi_snapshots.errors import Explained, Words
from pulumi_snapshots.run.calls import Changes, EngineCall, Resource, Unfinished, ending_unfinished

NO_LOOKUP = (
    "A Drill cannot be looked up or imported: it is an act of this stack, and the service keeps no list of them."
)


class DrillCalls:
    """Create, read, update and delete; `compare` says what a change of inputs means."""

    def __init__(
        self, compare: Callable[[EngineCall, DrillRecord, Mapping[str, Any], Mapping[str, Any]], Changes]
    ) -> None:
        self.compare = compare

    async def create(self, call: EngineCall, values: Mapping[str, Any]) -> Resource:
        """Restore onto the scratch database, and check what came back."""
        inputs, memory = DrillInputs.of(values), call.shared.memory
        kept: Any = None if inputs.archive else memory.carried_over("restore", call.owner, inputs.restore.triggers)
        is_same = kept is not None and kept.scratch_database_id == inputs.scratch_database_id
        if is_same and not kept.failed_to_restore:  # the engine makes again what is to stay
            if kept.passed or (kept.passed is False and _only_warns(values)):
                return _resource(kept, values, None)
            return await _ended(call, values, _continued(call, kept, inputs), kept.id, kept)
        fresh = memory.is_forced("restore", call.owner)
        return await _ended(call, values, _drilled(call, inputs, fresh=fresh))

    async def read(self, _call: EngineCall, id_: str, state: Mapping[str, Any]) -> Resource:
        """Return what the state holds; no request is sent, since a drill is an act."""
        if "requested_at" not in state:
            raise Explained(NO_LOOKUP)
        record = DrillRecord.from_outputs(state)
        resource = _resource(record, state, id_)
        if record.passed or (record.passed is False and _only_warns(state)):
            return resource
        if record.passed is False:
            raise Unfinished(resource, failed(record))
        unseen = f"The end of the restore that was requested at {record.requested_at} was not seen."
        unchecked = f"Snapshot {record.snapshot} was restored at {record.restored_at}, and not checked."
        raise Unfinished(resource, unfinished(record, unseen if record.pending else unchecked))

    async def update(self, call: EngineCall, id_: str, state: Mapping[str, Any], values: Mapping[str, Any]) -> Resource:
        """Drill again, watch a restore whose end was not seen, or run the checks; or only keep the new inputs."""
        record, inputs = DrillRecord.from_outputs(state), DrillInputs.of(values)
        todo = self.compare(call, record, state, values).updates
        if DRILLS in todo:
            return await _ended(call, values, _drilled(call, inputs, record.last_good), id_)
        if not {RESUMES, ASKS} & {*todo}:
            return _resource(record, values, id_)
        then, kept = (record.next_drill(values.get("every")), None) if record.passed else (None, record)
        return await _ended(call, values, _continued(call, record, inputs, then), id_, kept)

    async def delete(self, call: EngineCall, _id: str, state: Mapping[str, Any]) -> None:
        """Forget it: nothing is sent, and the scratch database keeps what it holds."""
        record = DrillRecord.from_outputs(state)
        scratch = f"database {record.scratch_database_id}" if record.scratch_database_id else "the scratch database"
        call.listener.note(f"forgotten: the drill of {record.snapshot}; {scratch} keeps what it holds")


async def _drilled(
    call: EngineCall, inputs: DrillInputs, last_good: GoodDrill | None = None, *, fresh: bool = False
) -> DrillRecord:
    if inputs.archive is not None:
        return await drill_archive(call, inputs, last_good)
    return await Drilling(call.session(), inputs, call.listener, call.owner, last_good).carry_out(fresh=fresh)


async def _continued(
    call: EngineCall, record: DrillRecord, inputs: DrillInputs, then: Words | None = None
) -> DrillRecord:
    """Watch a restore whose end was not seen, or run the checks again; `then` is as in `Drilling.check_again`."""
    # The inputs may name another snapshot by now.
    restored = {name: getattr(record, name) for name in ("database_id", "version_id", "scratch_database_id")}
    ours = replace(inputs, **restored)
    drilling = Drilling(call.session(), ours, call.listener, call.owner, record.last_good)
    return await (drilling.carry_out(record) if record.pending else drilling.check_again(record, then))


def _only_warns(values: Mapping[str, Any]) -> bool:
    return values.get("on_failure") == "warn"


async def _ended(
    call: EngineCall,
    values: Mapping[str, Any],
    operation: Awaitable[DrillRecord],
    id_: str | None = None,
    kept: DrillRecord | None = None,
) -> Resource:
    """The resource after an operation; `kept` is what the state must keep, also if that could not even begin.

    Raises `Unfinished` if something must be kept and has failed, and `Explained` if it failed and the state stays as it is.
    """
    with ending_unfinished(call, DRILL, values, DrillPending, id_, kept, unfinished):
        try:
            record = await operation
        except DrillFailed as error:
            record = error.record
            if not _only_warns(values):
                raise Unfinished(_resource(record, values, id_), error, error.then) from error
            call.listener.warn(record.still_failed)
    if record.passed:
        await note_in_archives(call, record)
    return _resource(record, values, id_)


async def note_in_archives(call: EngineCall, record: DrillRecord) -> None:
    """Note a drill that has passed in the manifests of this snapshot's archives of the stack."""
    if (drilled := record.drilled) is not None:
        snapshot = record.database_id or None, record.version_id
        current = call.shared.of(ArchiveMemory).current.values()
        known = (each for each, _ in current if (each.database_id, each.version_id) == snapshot)
        uris = {each.uri for each in known if not each.lost}
        uris |= {record.archive} if record.archive else set()
        await note_drill(call.shared.of(Transfers), uris, snapshot, drilled, call.listener)


def _resource(record: DrillRecord, values: Mapping[str, Any], id_: str | None) -> Resource:
    return Resource(id_ or record.id, DRILL.state(record, values))
