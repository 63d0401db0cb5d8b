"""Database snapshots of Square Cloud as Pulumi resources.

Take a snapshot, wait for exactly this one, and use its pinned download URL.
"""

from pulumi_snapshots.late import at_first_use
from pulumi_snapshots.resources import RESOURCES

# type checkers take it for true; `typing` itself takes 50 ms, in which ^C would be a traceback
TYPE_CHECKING = False
# isort: off
if TYPE_CHECKING:  # `import X as X` exports a name
    from pulumi_snapshots.archive.record import Keep as Keep
    from pulumi_snapshots.drill.check import Check as Check
    from pulumi_snapshots.dynamic.guard import Guard as Guard
    from pulumi_snapshots.dynamic.lookups import (
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
    from pulumi_snapshots.program.resources import *  # noqa: F403  one for each
    from pulumi_snapshots.lookup.results import (
        DatabaseInfo as DatabaseInfo,
        SnapshotInfo as SnapshotInfo,
    )
    from pulumi_snapshots.program import LookupFailed as LookupFailed

# The command line, the emulator and the plugin are in this package, too, and need none of what a
# program declares with.
HOMES = {
    "archive.record": ("Keep",),
    "dynamic.guard": ("Guard",),
    "dynamic.lookups": (
        "get_database",
        "get_database_output",
        "get_databases",
        "get_databases_output",
        "get_download_url",
        "get_download_url_output",
        "get_latest_snapshot",
        "get_latest_snapshot_output",
        "get_snapshots",
        "get_snapshots_output",
    ),
    "dynamic.resources": (*RESOURCES,),
    "lookup.results": ("DatabaseInfo", "SnapshotInfo"),
    "program": ("LookupFailed",),
    "program.check": ("Check",),
}
if not TYPE_CHECKING:  # they see the names above, and no others
    __getattr__, __dir__, __all__ = at_first_use(HOMES)
