"""What the engine's calls do with an archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pulumi_snapshots.archive.archive import archive
from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.archive.manifest import note_pin
from pulumi_snapshots.archive.record import ARCHIVE, ArchiveMemory, ArchiveRecord
from pulumi_snapshots.archive.shelf import imported
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.archive.upkeep import check_archived, remove
from pulumi_snapshots.run.calls import EngineCall, Resource


class ArchiveCalls:
    """Create, read, update and delete."""

    async def create(self, call: EngineCall, values: Mapping[str, Any]) -> Resource:
        """Archive it."""
        previous, _ = call.shared.of(ArchiveMemory).current.get(call.owner or "", (None, False))
        record = await _archive(call, values, previous)
        return Resource(record.id, ARCHIVE.state(record, values))

    async def read(self, call: EngineCall, id_: str, state: Mapping[str, Any]) -> Resource:
        """Check whether the object exists as it was written; import one by its URI and manifest."""
        if "mark" not in state:
            record, keys = await imported(call.shared.of(Transfers), id_, call.owner, call.listener)
            values = {"destination": record.uri, "recipients": keys, "pin": record.pinned}
            return Resource(record.id, ARCHIVE.state(record, {name: each for name, each in values.items() if each}))
        record = await check_archived(call.shared.of(Transfers), ArchiveRecord.from_outputs(state), call.listener)
        return Resource(id_, ARCHIVE.state(record, state))

    async def update(self, call: EngineCall, _id: str, state: Mapping[str, Any], values: Mapping[str, Any]) -> Resource:
        """Archive again what a refresh found lost; otherwise only keep the new inputs."""
        record, pin = ArchiveRecord.from_outputs(state), bool(values.get("pin"))
        if record.lost is not None:
            record = await _archive(call, values, record)
        elif bool(record.pinned) != pin:
            await note_pin(call.shared.of(Transfers), record, call.listener, pin=pin)
        record = replace(record, pinned=pin or None)
        return Resource(record.id, ARCHIVE.state(record, values))

    async def delete(self, call: EngineCall, _id: str, state: Mapping[str, Any]) -> None:
        """Keep the object or remove it, as `delete_object` says."""
        record = ArchiveRecord.from_outputs(state)
        known = call.shared.of(ArchiveMemory).successor(call.owner, record)
        delete = bool(state.get("delete_object"))
        await remove(call.shared.of(Transfers), record, call.listener, *known, delete_object=delete)


async def _archive(call: EngineCall, values: Mapping[str, Any], previous: ArchiveRecord | None) -> ArchiveRecord:
    inputs, settings, memory = ArchiveInputs.of(values), call.settings(), call.shared.of(ArchiveMemory)
    # Without a key, a URL is enough.
    session = None if settings.api_key is None else call.shared.session(settings)
    known: Any = {"owner": call.owner, "previous": previous, "proofs": memory.proofs}
    record = await archive(session, call.shared.of(Transfers), inputs, call.listener, **known)
    memory.current[call.owner] = record, inputs.rule is not None
    return record
