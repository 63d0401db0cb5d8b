"""What the engine's calls do with an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_snapshots.archive.archive import archive
from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.archive.memory import ArchiveMemory
from pulumi_snapshots.archive.record import ARCHIVE, ArchiveRecord
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.archive.upkeep import check_archived, remove
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.run.calls import Call, Calls, Resource

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ArchiveCalls"]


class ArchiveCalls(Calls):
    """Create, read, update and delete."""

    async def create(self, call: Call, values: Mapping[str, Any]) -> Resource:
        """Archive it, after what this resource has archived before."""
        record = await _archive(call, values, call.shared.of(ArchiveMemory).previous(call.owner))
        return Resource(record.id, _outputs(record, values))

    async def read(self, call: Call, id_: str, state: Mapping[str, Any]) -> Resource:
        """Look whether the object is there, as it was written."""
        if "mark" not in state:
            raise Explained("An Archive cannot be looked up or imported", then=[Next(Step.DECLARE_ARCHIVE)])
        record = await check_archived(call.shared.of(Transfers), ArchiveRecord.from_outputs(state), call.listener)
        return Resource(id_, _outputs(record, state))

    async def update(self, call: Call, _id: str, state: Mapping[str, Any], values: Mapping[str, Any]) -> Resource:
        """Archive again what a refresh has found lost; else only the wishes have changed, and the state keeps them."""
        record = ArchiveRecord.from_outputs(state)
        if record.lost is not None:
            record = await _archive(call, values, record)
        return Resource(record.id, _outputs(record, values))

    async def delete(self, call: Call, _id: str, state: Mapping[str, Any]) -> None:
        """Keep the object, or delete it, as the resource says."""
        record = ArchiveRecord.from_outputs(state)
        successor, keep_last = call.shared.of(ArchiveMemory).successor(call.owner, record)
        await remove(
            call.shared.of(Transfers),
            record,
            call.listener,
            delete_object=bool(state.get("delete_object")),
            keep_last=keep_last,
            successor=successor,
        )


async def _archive(call: Call, values: Mapping[str, Any], previous: ArchiveRecord | None) -> ArchiveRecord:
    inputs = ArchiveInputs.of(values)
    settings = call.settings()
    # Without a key a URL is enough; an archive that needs the service fails.
    session = None if settings.api_key is None else call.shared.session(settings)
    record = await archive(session, call.shared.of(Transfers), inputs, call.listener, previous=previous)
    call.shared.of(ArchiveMemory).has(call.owner, record, inputs.keep_last)
    return record


def _outputs(record: ArchiveRecord, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return ARCHIVE.state(record, inputs)
