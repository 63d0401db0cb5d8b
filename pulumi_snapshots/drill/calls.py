"""What the engine's calls do with a drill."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import anyio

from pulumi_snapshots.archive.manifest import note_drill
from pulumi_snapshots.archive.record import ArchiveMemory
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.clock import system_utc
from pulumi_snapshots.drill.address import Address
from pulumi_snapshots.drill.asking import Door
from pulumi_snapshots.drill.drill import DrillFailed, Drilling, DrillPending, DrillUnchecked, drill, failed
from pulumi_snapshots.drill.due import ASKS, DRILLS, RESUMES, drill_difference, next_drill, still_failed
from pulumi_snapshots.drill.inputs import DrillInputs
from pulumi_snapshots.drill.of_archive import drill_archive
from pulumi_snapshots.drill.record import DRILL, DrillRecord, GoodDrill
from pulumi_snapshots.errors import Explained
from pulumi_snapshots.properties.unfit import Problem
from pulumi_snapshots.run.calls import Call, Calls, Resource, Unfinished, steps_if_not_saved
from pulumi_snapshots.service.client import ONCE

NO_LOOKUP = (
    "A Drill cannot be looked up or imported: it is an act of this stack, and the service keeps no list of them."
)
ANSWERS_WITHIN = 10.0
"""Seconds for which a preview waits for the scratch database's port."""


class DrillCalls(Calls):
    """Create, read, update and delete."""

    async def create(self, call: Call, values: Mapping[str, Any]) -> Resource:
        """Restore onto the scratch database, and check what came back."""
        inputs, memory = DrillInputs.of(values), call.shared.memory
        kept: DrillRecord | None = None
        if inputs.archive is None:
            kept = memory.kept("restore", call.owner, inputs.restore.triggers)
        is_same = kept is not None and kept.scratch_database_id == inputs.scratch_database_id
        if kept is not None and is_same and not kept.failed_to_restore:  # the engine makes again what is to stay
            if kept.passed or (kept.passed is False and _only_warns(values)):
                return _resource(kept, values, None)
            return await _ended(call, values, partial(_continued, call, kept, inputs), kept.id, kept)
        fresh = memory.is_forced("restore", call.owner)
        return await _ended(call, values, partial(_drilled, call, inputs, fresh=fresh))

    async def read(self, _call: Call, id_: str, state: Mapping[str, Any]) -> Resource:
        """Return what the state holds; no request is sent, since a drill is an act."""
        if "requested_at" not in state:
            raise Explained(NO_LOOKUP)
        record = DrillRecord.from_outputs(state)
        resource = Resource(id_, DRILL.state(record, state))
        if (end := _unfinished(record)) is not None and not (record.passed is False and _only_warns(state)):
            raise Unfinished(resource, end)
        return resource

    async def update(self, call: Call, id_: str, state: Mapping[str, Any], values: Mapping[str, Any]) -> Resource:
        """Drill again, watch a restore whose end was not seen, or run the checks; or only keep the new inputs."""
        record, inputs = DrillRecord.from_outputs(state), DrillInputs.of(values)
        todo = drill_difference(record, state, values, system_utc(), call.shared.memory.is_same_snapshot).updates
        if DRILLS in todo:
            return await _ended(call, values, partial(_drilled, call, inputs, record.last_good), id_)
        if ASKS in todo and record.passed:
            then, drilling = next_drill(record, values.get("every")), partial(_rest, call, record, inputs)
            return await _ended(call, values, lambda: drilling().check_changed(record, then), id_, keeps=False)
        if RESUMES in todo or ASKS in todo:
            return await _ended(call, values, partial(_continued, call, record, inputs), id_, record)
        return _resource(record, values, id_)

    async def delete(self, call: Call, _id: str, state: Mapping[str, Any]) -> None:
        """Forget it: nothing is sent, and the scratch database keeps what it holds."""
        record = DrillRecord.from_outputs(state)
        scratch = f"database {record.scratch_database_id}" if record.scratch_database_id else "the scratch database"
        call.listener.note(f"forgotten: the drill of {record.snapshot}; {scratch} keeps what it holds")


async def wrong_port(call: Call, connection: str, scratch: str) -> list[Problem]:
    """That the connection's port is not the one that the service says; nothing if that cannot be found out now."""
    with suppress(Explained), anyio.move_on_after(ANSWERS_WITHIN):
        port = (await call.session().client.database(scratch, patience=ONCE)).port
        if reason := Address.of(connection).misfit(scratch, port):
            return [Problem("connection", reason)]
    return []


async def _drilled(
    call: Call, inputs: DrillInputs, last_good: GoodDrill | None = None, *, fresh: bool = False
) -> DrillRecord:
    if inputs.archive is not None:
        return await drill_archive(call, inputs, last_good)
    opens = call.shared.of(Door).opens
    return await drill(call.session(), inputs, call.listener, call.owner, fresh=fresh, last_good=last_good, opens=opens)


def _rest(call: Call, record: DrillRecord, inputs: DrillInputs) -> Drilling:
    """What is left of a drill, of the snapshot that it has restored: the inputs may name another one by now."""
    restored = {name: getattr(record, name) for name in ("database_id", "version_id", "scratch_database_id")}
    ours, opens = replace(inputs, **restored), call.shared.of(Door).opens
    return Drilling(call.session(), ours, call.listener, call.owner, record.last_good, opens)


async def _continued(call: Call, record: DrillRecord, inputs: DrillInputs) -> DrillRecord:
    """Watch a restore whose end was not seen, or run the checks again."""
    rest = _rest(call, record, inputs)
    return await (rest.carry_out(record.attempt) if record.pending else rest.check_again(record))


def _only_warns(values: Mapping[str, Any]) -> bool:
    return values.get("on_failure") == "warn"


async def _ended(  # noqa: PLR0913  each is a fact of its own
    call: Call,
    values: Mapping[str, Any],
    operation: Callable[[], Awaitable[DrillRecord]],
    id_: str | None = None,
    kept: DrillRecord | None = None,
    *,
    keeps: bool = True,
) -> Resource:
    """The resource after an operation.

    Args:
        call: what surrounds it.
        values: its inputs.
        operation: what is done.
        id_: the resource's id; None for a new one.
        kept: what the state must keep, whatever happens; None if it stays as it is after an error that keeps nothing.
        keeps: whether the state must have what was not finished; otherwise it stays as it is, which has passed.

    Raises:
        Unfinished: something must be kept, and has failed.
        Explained: it failed, and the state stays as it is.
    """
    try:
        record = await operation()
    except DrillFailed as error:
        record = error.record
        if not _only_warns(values):
            raise Unfinished(_resource(record, values, id_), error, error.then) from error
        call.listener.warn(still_failed(record))
    except Explained as error:
        end = error
        if kept is not None and not isinstance(error, DrillPending):
            # It could not even begin, as without a key.
            end = (DrillPending if kept.pending else DrillUnchecked)(kept, cause=error)
        if not keeps or not isinstance(end, DrillPending):
            raise
        steps = steps_if_not_saved(call, end) if id_ is None else end.then
        raise Unfinished(_resource(end.record, values, id_), end, steps) from error
    if record.passed:
        await note_in_archives(call, record)
    return _resource(record, values, id_)


async def note_in_archives(call: Call, record: DrillRecord) -> None:
    """Note a drill that has passed in the manifests of this snapshot's archives of the stack, and of those made later."""
    if (drilled := record.drilled) is not None:
        memory = call.shared.of(ArchiveMemory)
        memory.prove(record.database_id, record.version_id, drilled)
        uris = {each.uri for each in memory.of_version(record.database_id, record.version_id) if not each.lost}
        uris |= {record.archive} if record.archive else set()
        snapshot = record.database_id or None, record.version_id
        await note_drill(call.shared.of(Transfers), uris, snapshot, drilled, call.listener)


def _resource(record: DrillRecord, values: Mapping[str, Any], id_: str | None) -> Resource:
    return Resource(id_ or record.id, DRILL.state(record, values))


def _unfinished(record: DrillRecord) -> Explained | None:
    """What a refresh says of a drill that has not passed; None for one that has."""
    if record.passed:
        return None
    if record.passed is False:
        return failed(record)
    if record.pending:
        happened = f"The end of the restore that was requested at {record.requested_at} was not seen."
        return DrillPending(record, happened)
    return DrillUnchecked(record, f"Snapshot {record.snapshot} was restored at {record.restored_at}, and not checked.")
