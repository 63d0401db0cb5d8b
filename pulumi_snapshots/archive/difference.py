"""What a change of inputs, or a refresh, means for an archive that exists. Asks nobody. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.archive.destination import Destination
from pulumi_snapshots.archive.inputs import which_snapshot
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.snapshot.difference import changed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.archive.record import ArchiveRecord

__all__ = ["ArchiveDifference", "archive_difference"]


@dataclass(frozen=True)
class ArchiveDifference:
    """What there is to do.

    Attributes:
        replaces: the properties because of which another object is written.
        archives_again: whether the object is lost, so that an update writes it again.
        saves: new wishes that an update only keeps (`keep_last`, `delete_object`), writing nothing.
        reason: why it is archived again; empty otherwise.
    """

    replaces: tuple[str, ...] = ()
    archives_again: bool = False
    saves: tuple[str, ...] = ()
    reason: str = ""


def archive_difference(record: ArchiveRecord, old: Mapping[str, Any], new: Mapping[str, Any]) -> ArchiveDifference:
    """Compare by value: another version or place replaces; another signature, expiry or time-out is no difference.

    Args:
        record: the archive in the state.
        old: its inputs.
        new: the inputs now; a value that is `UNKNOWN` counts as changed.
    """
    database_id, version_id = which_snapshot(new)
    # A URL of an unusual host does not tell its database: then the version alone decides.
    replaces = [
        name
        for name, was, now in (
            ("database_id", record.database_id, database_id),
            ("version_id", record.version_id, version_id),
        )
        if was != now and (name == "version_id" or (was is not None and now is not None))
    ]
    # What only the URL tells is shown as the URL's change.
    replaces = list(dict.fromkeys(name if new.get(name) is not None else "download_url" for name in replaces))
    if _place(old.get("destination")) != _place(new.get("destination")):
        replaces.append("destination")
    if replaces:
        return ArchiveDifference(tuple(replaces))
    if record.lost is not None:
        return ArchiveDifference(archives_again=True, reason=f"{record.uri} is {record.lost}: archiving again")
    return ArchiveDifference(saves=tuple(name for name in ("keep_last", "delete_object") if changed(name, old, new)))


def _place(destination: Any) -> Any:
    """Two spellings of one place are equal; what is not known equals nothing else."""
    if destination is UNKNOWN or not isinstance(destination, str):
        return destination
    try:
        return Destination.parse(destination)
    except ValueError:
        return destination
