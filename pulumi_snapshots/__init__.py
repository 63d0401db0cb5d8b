"""Database snapshots of Square Cloud as Pulumi resources: take one, wait for exactly it, use its pinned download URL."""

from typing import TYPE_CHECKING

from pulumi_snapshots.late import at_first_use

if TYPE_CHECKING:
    from pulumi_snapshots.archive.retention import Keep
    from pulumi_snapshots.drill.check import Check
    from pulumi_snapshots.dynamic.guard import Guard
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
    from pulumi_snapshots.dynamic.resources.archive import Archive
    from pulumi_snapshots.dynamic.resources.drill import Drill
    from pulumi_snapshots.dynamic.resources.restore import Restore
    from pulumi_snapshots.dynamic.resources.snapshot import Snapshot
    from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo
    from pulumi_snapshots.program import LookupFailed

__all__ = [
    "Archive",
    "Check",
    "DatabaseInfo",
    "Drill",
    "Guard",
    "Keep",
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

# The command line, the emulator and the plugin are in this package, too, and need none of what a program declares with.
__getattr__, __dir__ = at_first_use(
    {
        "Archive": "dynamic.resources.archive",
        "Check": "drill.check",
        "DatabaseInfo": "lookup.results",
        "Drill": "dynamic.resources.drill",
        "Guard": "dynamic.guard",
        "Keep": "archive.retention",
        "LookupFailed": "program",
        "Restore": "dynamic.resources.restore",
        "Snapshot": "dynamic.resources.snapshot",
        "SnapshotInfo": "lookup.results",
        "get_database": "dynamic.lookups",
        "get_database_output": "dynamic.lookups",
        "get_databases": "dynamic.lookups",
        "get_databases_output": "dynamic.lookups",
        "get_latest_snapshot": "dynamic.lookups",
        "get_latest_snapshot_output": "dynamic.lookups",
        "get_snapshots": "dynamic.lookups",
        "get_snapshots_output": "dynamic.lookups",
    }
)
