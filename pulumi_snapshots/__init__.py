"""Database snapshots of Square Cloud as Pulumi resources: take one, wait for exactly it, use its pinned download URL."""

from pulumi_snapshots.declaration import LookupFailed
from pulumi_snapshots.dynamic.lookups import (
    get_database,
    get_database_output,
    get_databases,
    get_databases_output,
    get_latest_snapshot,
    get_latest_snapshot_output,
    get_snapshots,
    get_snapshots_output,
)
from pulumi_snapshots.dynamic.resources import Archive, Restore, Snapshot
from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo

__all__ = [
    "Archive",
    "DatabaseInfo",
    "LookupFailed",
    "Restore",
    "Snapshot",
    "SnapshotInfo",
    "get_database",
    "get_database_output",
    "get_databases",
    "get_databases_output",
    "get_latest_snapshot",
    "get_latest_snapshot_output",
    "get_snapshots",
    "get_snapshots_output",
]
