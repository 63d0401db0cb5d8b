"""The choice of the place in which the ledger lies."""

from __future__ import annotations

from pathlib import Path

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.ledger.bucket import Bucket, BucketObjects
from pulumi_snapshots.ledger.place import Place, destination_of, environment_of
from pulumi_snapshots.ledger.sqlite_file import SqliteFile


def place_of(setting: str | None, state_directory: Path, service: str, clock: Clock) -> Place:
    """Choose the place. Nothing is read or written yet.

    Args:
        setting: a checked URI or path that machines share; None for this machine's own place.
        state_directory: the folder for files of this machine.
        service: names the ledger of one service address.
        clock: the time.
    """
    if setting is None:
        return SqliteFile(state_directory / f"{service}.ledger", clock)
    shared = destination_of(setting)
    if shared.scheme != "file":
        return Bucket(BucketObjects(shared, environment_of(setting)), f"{service}.ledger.json", clock)
    return SqliteFile(shared.file / f"{service}.ledger", clock, is_shared=True)
