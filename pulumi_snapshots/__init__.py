"""Database snapshots of Square Cloud as Pulumi resources.

Take a snapshot, wait for exactly this one, and use its pinned download URL.
"""

from pulumi_snapshots.late import at_first_use
from pulumi_snapshots.resources import LOOKUP_FUNCTIONS, RESOURCES

# type checkers take it for true; `typing` itself takes 50 ms, in which ^C would be a traceback
TYPE_CHECKING = False
# isort: off
if TYPE_CHECKING:  # `import X as X` exports a name
    from pulumi_snapshots.archive.record import Keep as Keep
    from pulumi_snapshots.drill.check import Check as Check
    from pulumi_snapshots.dynamic.guard import Guard as Guard
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
    "dynamic.lookups": LOOKUP_FUNCTIONS,
    "dynamic.resources": (*RESOURCES,),
    "lookup.results": ("DatabaseInfo", "SnapshotInfo"),
    "program": ("LookupFailed",),
    "program.check": ("Check",),
}
if not TYPE_CHECKING:  # they see the names above, and no others
    __getattr__, __dir__, __all__ = at_first_use(HOMES)
