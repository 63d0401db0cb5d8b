"""What the engine's calls do with an archive. Programs load this file, so what speaks HTTP is loaded by the calls that need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_snapshots.archive.difference import archive_difference
from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.archive.memory import ArchiveMemory
from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.run.calls import Call, Calls, Changes, Resource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.properties.unfit import Problem

__all__ = ["ArchiveCalls"]

WISHES = ("destination", "keep_last", "delete_object", "timeout")
"""Inputs that the outputs repeat. The URL is not among them: once the object is whole nobody needs it."""


class ArchiveCalls(Calls):
    """The calls of `operations.archive`, `archive_upkeep` and `archive_difference`."""

    inputs = ("database_id", "version_id", "download_url", "size", "created_at", *WISHES)
    computed = frozenset({"database_id", "version_id", "size"})
    secrets = frozenset({"download_url"})

    def problems(self, values: Mapping[str, Any]) -> list[Problem]:
        """What is wrong with the inputs."""
        return ArchiveInputs.problems(values)

    def diff(self, call: Call, state: Mapping[str, Any], values: Mapping[str, Any]) -> Changes:
        """Compare; remember what the state holds, since create is not told what it replaces."""
        record = ArchiveRecord.from_outputs(state)
        found = archive_difference(record, state, values)
        call.shared.of(ArchiveMemory).has(call.owner, record, _keep_last(state))
        if found.reason:
            call.listener.progress(found.reason)
        return Changes(found.replaces, updates=("lost",) if found.archives_again else found.saves)

    async def create(self, call: Call, values: Mapping[str, Any]) -> Resource:
        """Archive it, after what this resource has archived before."""
        record = await _archive(call, values, call.shared.of(ArchiveMemory).previous(call.owner))
        return Resource(record.id, _outputs(record, values))

    async def read(self, call: Call, id_: str, state: Mapping[str, Any]) -> Resource:
        """Look whether the object is there, as it was written."""
        from pulumi_snapshots.archive.transfers import Transfers  # noqa: PLC0415  the same
        from pulumi_snapshots.archive.upkeep import check_archived  # noqa: PLC0415  not for programs

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
        from pulumi_snapshots.archive.transfers import Transfers  # noqa: PLC0415  the same
        from pulumi_snapshots.archive.upkeep import remove  # noqa: PLC0415  not for programs

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
    from pulumi_snapshots.archive.archive import archive  # noqa: PLC0415  not for programs
    from pulumi_snapshots.archive.transfers import Transfers  # noqa: PLC0415  the same

    inputs = ArchiveInputs.of(values)
    settings = call.settings()
    # Without a key a URL is enough; an archive that needs the service fails.
    session = None if settings.api_key is None else call.shared.session(settings)
    record = await archive(session, call.shared.of(Transfers), inputs, call.listener, previous=previous)
    call.shared.of(ArchiveMemory).has(call.owner, record, inputs.keep_last)
    return record


def _keep_last(values: Mapping[str, Any]) -> int | None:
    kept = values.get("keep_last")
    return None if kept is None else int(kept)


def _outputs(record: ArchiveRecord, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: inputs[name] for name in WISHES if name in inputs} | record.to_outputs()
