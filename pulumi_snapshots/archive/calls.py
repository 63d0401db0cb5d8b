"""The engine's calls about an archive: create, read, update and delete."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pulumi_snapshots.archive.archive import ArchiveRequest, archive_snapshot
from pulumi_snapshots.archive.listed import check_archived, imported
from pulumi_snapshots.archive.manifest import Owner, enter_owner
from pulumi_snapshots.archive.record import (
    ARCHIVE,
    ArchiveInputs,
    ArchiveMemory,
    ArchiveRecord,
    ArchiveSuccessor,
)
from pulumi_snapshots.archive.removal import end_archive
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.properties.catalogue import Values
from pulumi_snapshots.run.calls import EngineCall, Resource
from pulumi_snapshots.storage.destination import place_text

IMPORT_HOLDS = timedelta(days=7)
"""How long an imported object stays, whatever other owners' rules say, until an update enters the
importer."""


class ArchiveCalls:
    """The calls of one kind of resource."""

    async def create(self, call: EngineCall, values: Values) -> Resource:
        """Archive a snapshot.

        Args:
            call: the engine's call.
            values: the inputs, by their names in Python.

        Returns:
            The resource, with the archive's outputs.

        Raises:
            NotArchived: nothing was archived.
        """
        previous = call.shared.of(ArchiveMemory).previous(call.owner)
        record = await _archived(call, values, previous)
        return Resource(record.id, ARCHIVE.state(record, values))

    async def read(self, call: EngineCall, id_: str, state: Values) -> Resource:
        """Check whether the object is unchanged, or import an object by its URI.

        An import does not enter the resource into the manifest, because a lookup by id makes the
        same call, even in a preview. The next update enters it; `hold` keeps the object until then.

        Args:
            call: the engine's call.
            id_: the object's URI.
            state: the outputs in the state; empty for an import.

        Returns:
            The resource, as a refresh found it.

        Raises:
            ProviderError: the archive to be imported does not exist or is not readable.
        """
        transfers = call.shared.of(Transfers)
        if "mark" not in state:
            record, recipients = await imported(transfers, id_)
            call.shared.of(ArchiveMemory).looked_up[call.owner] = record
            values: dict[str, Any] = {"destination": record.uri}
            if recipients:
                values["recipients"] = recipients
            return Resource(record.id, ARCHIVE.state(record, values))
        record = ArchiveRecord.from_outputs(state)
        record = await check_archived(transfers, record, call.listener)
        return Resource(id_, ARCHIVE.state(record, state))

    async def hold(self, call: EngineCall, record: ArchiveRecord) -> None:
        """Note in an object's manifest that an importer holds the object for `IMPORT_HOLDS`.

        The preview of `pulumi import` does the same. A failure only warns.

        Args:
            call: the engine's call.
            record: the object.
        """
        transfers = call.shared.of(Transfers)
        until = rfc3339(transfers.clock.utc() + IMPORT_HOLDS)
        holder = replace(_owner(call, None, pin=False), until=until)
        await enter_owner(transfers, record, holder, call.listener)

    async def update(
        self,
        call: EngineCall,
        _id: str,
        state: Values,
        values: Values,
    ) -> Resource:
        """Archive again what a refresh found lost, enter an importer, or keep the new inputs.

        Args:
            call: the engine's call.
            state: the outputs in the state.
            values: the new inputs.

        Returns:
            The resource, with the new inputs.

        Raises:
            NotArchived: the lost object was not archived again.
        """
        record = ArchiveRecord.from_outputs(state)
        pin = bool(values.get("pin"))
        if record.lost is not None:
            record = await _archived(call, values, record)
        elif record.owner is None:
            record = await _entered(call, record, pin=pin)
        elif bool(record.pinned) != pin:
            owner = _owner(call, record.owner, pin=pin)
            await enter_owner(
                call.shared.of(Transfers),
                record,
                owner,
                call.listener,
            )
        record = replace(record, pinned=pin or None)
        return Resource(record.id, ARCHIVE.state(record, values))

    async def delete(self, call: EngineCall, _id: str, state: Values) -> None:
        """Keep the object or remove it, as `delete_object` says.

        Args:
            call: the engine's call.
            state: the outputs in the state.

        Raises:
            NotRemoved: the object may still be there.
        """
        record = ArchiveRecord.from_outputs(state)
        successor = call.shared.of(ArchiveMemory).successor(call.owner, record)
        transfers = call.shared.of(Transfers)
        delete_object = bool(state.get("delete_object"))
        await end_archive(
            transfers,
            record,
            call.listener,
            successor,
            delete_object=delete_object,
        )


def _owner(call: EngineCall, owner_id: str | None, *, pin: bool) -> Owner:
    """Make the owner that manifests name; None makes a new random id."""
    return Owner(
        owner_id or secrets.token_hex(8),
        call.owner or "a resource",
        pin,
    )


async def _entered(
    call: EngineCall, record: ArchiveRecord, *, pin: bool
) -> ArchiveRecord:
    """Enter an importer into the manifest; the record stays without an owner if that failed."""
    owner = _owner(call, None, pin=pin)
    transfers = call.shared.of(Transfers)
    manifest = await enter_owner(transfers, record, owner, call.listener)
    if manifest is None or owner not in manifest.owners:
        name = place_text(record.uri)
        call.listener.warn(f"this resource is not entered yet as an owner of {name}.")
        return record
    call.listener.progress("entered in the manifest as an owner")
    return replace(record, owner=owner.id)


async def _archived(
    call: EngineCall,
    values: Values,
    previous: ArchiveRecord | None,
) -> ArchiveRecord:
    """Archive a snapshot for a resource that has archived `previous` before, if anything."""
    inputs = ArchiveInputs.of(values)
    settings = call.settings()
    request = ArchiveRequest(
        # Without a key, a URL is enough.
        session=None if settings.api_key is None else call.shared.session(settings),
        transfers=call.shared.of(Transfers),
        inputs=inputs,
        listener=call.listener,
        owner=_owner(
            call,
            previous.owner if previous else None,
            pin=inputs.pin,
        ),
        previous=previous,
    )
    record = await archive_snapshot(request)
    memory = call.shared.of(ArchiveMemory)
    memory.current[call.owner] = ArchiveSuccessor(record, inputs.keep is not None)
    return record
