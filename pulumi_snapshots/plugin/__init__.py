"""The native plugin `pulumi-resource-squarecloud`: the classes and functions of the top level, by way of the plugin."""

from typing import TYPE_CHECKING

from pulumi_snapshots.late import at_first_use

# isort: off
if TYPE_CHECKING:  # `import X as X` exports a name
    from pulumi_snapshots.archive.inputs import Keep as Keep
    from pulumi_snapshots.drill.check import Check as Check
    from pulumi_snapshots.lookup.results import DatabaseInfo as DatabaseInfo, SnapshotInfo as SnapshotInfo
    from pulumi_snapshots.plugin.guard import Guard as Guard
    from pulumi_snapshots.plugin.lookups import (
        get_database as get_database,
        get_database_output as get_database_output,
        get_databases as get_databases,
        get_databases_output as get_databases_output,
        get_download_url as get_download_url,
        get_download_url_output as get_download_url_output,
        get_latest_snapshot as get_latest_snapshot,
        get_latest_snapshot_output as get_latest_snapshot_output,
        get_snapshots as get_snapshots,
        get_snapshots_output as get_snapshots_output,
    )
    from pulumi_snapshots.plugin.resources.archive import Archive as Archive
    from pulumi_snapshots.plugin.resources.drill import Drill as Drill
    from pulumi_snapshots.plugin.resources.provider import Provider as Provider
    from pulumi_snapshots.plugin.resources.restore import Restore as Restore
    from pulumi_snapshots.plugin.resources.snapshot import Snapshot as Snapshot
    from pulumi_snapshots.program import LookupFailed as LookupFailed

# The plugin's process is in this package, too, and needs none of what a program declares with.
__getattr__, __dir__, __all__ = at_first_use(
    {
        "Archive": "plugin.resources.archive",
        "Check": "program.drill",
        "DatabaseInfo": "lookup.results",
        "Drill": "plugin.resources.drill",
        "Guard": "plugin.guard",
        "Keep": "archive.inputs",
        "LookupFailed": "program",
        "Provider": "plugin.resources.provider",
        "Restore": "plugin.resources.restore",
        "Snapshot": "plugin.resources.snapshot",
        "SnapshotInfo": "lookup.results",
        "get_database": "plugin.lookups",
        "get_database_output": "plugin.lookups",
        "get_databases": "plugin.lookups",
        "get_databases_output": "plugin.lookups",
        "get_download_url": "plugin.lookups",
        "get_download_url_output": "plugin.lookups",
        "get_latest_snapshot": "plugin.lookups",
        "get_latest_snapshot_output": "plugin.lookups",
        "get_snapshots": "plugin.lookups",
        "get_snapshots_output": "plugin.lookups",
    },
    "pulumi_snapshots.plugin",
)
