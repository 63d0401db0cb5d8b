"""What a drill that has passed proves of archives: their manifests say so, and the last one proved is never removed."""

from __future__ import annotations

from collections.abc import Iterable

from pulumi_snapshots.archive.manifest import note_drill
from pulumi_snapshots.archive.record import ArchiveMemory
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.drill.record import DrillRecord
from pulumi_snapshots.ledger.drilled import Drilled
from pulumi_snapshots.progress import Listener
from pulumi_snapshots.storage.destination import place_text
from pulumi_snapshots.storage.store import StoreTrouble


async def note_in_archives(
    transfers: Transfers, memory: ArchiveMemory, record: DrillRecord, listener: Listener
) -> None:
    """Note a drill in the manifests of this snapshot's archives of the stack, and of those that this run makes later."""
    if (drilled := drilled_of(record)) is not None:
        memory.prove(record.database_id, record.version_id, drilled)
        uris = [each.uri for each in memory.of_version(record.database_id, record.version_id) if not each.lost]
        await note_in_manifests(transfers, uris, drilled, listener)


async def note_in_manifests(transfers: Transfers, uris: Iterable[str], drilled: Drilled, listener: Listener) -> int:
    """Note a drill in the manifests of these objects; one that cannot be written only warns. Returns how many say so now."""
    count = 0
    for uri in uris:
        try:
            count += await transfers.blocking(note_drill, transfers, uri, drilled)
        except StoreTrouble as trouble:
            listener.warn(f"the drill was not noted in the manifest of {place_text(uri)}: {trouble.happened}.")
    return count


def drilled_of(record: DrillRecord) -> Drilled | None:
    """What a drill proves; None if it has not passed."""
    if not record.passed or record.drilled_at is None:
        return None
    return Drilled(record.drilled_at, record.restore_seconds)
