"""The native plugin `pulumi-resource-squarecloud`: the classes and functions of the top level, by way of the plugin."""

from pulumi_snapshots.archive.retention import Keep
from pulumi_snapshots.declaration import LookupFailed
from pulumi_snapshots.drill.check import Check
from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo
from pulumi_snapshots.plugin.guard import Guard
from pulumi_snapshots.plugin.lookups import (
    get_database,
    get_database_output,
    get_databases,
    get_databases_output,
    get_latest_snapshot,
    get_latest_snapshot_output,
    get_snapshots,
    get_snapshots_output,
)
from pulumi_snapshots.plugin.resources import Archive, Drill, Provider, Restore, Snapshot

__all__ = [
    "Archive",
    "Check",
    "DatabaseInfo",
    "Drill",
    "Guard",
    "Keep",
    "LookupFailed",
    "Provider",
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
