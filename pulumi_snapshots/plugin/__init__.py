"""The native plugin `pulumi-resource-squarecloud`.

The classes and functions of the top level, by way of the plugin.
"""

from typing import TYPE_CHECKING

from pulumi_snapshots import HOMES
from pulumi_snapshots.late import at_first_use

if TYPE_CHECKING:
    from pulumi_snapshots import *  # noqa: F403  the same names with the same arguments
    from pulumi_snapshots.program.resources import Provider as Provider

# The plugin's process is in this package, too, and needs none of what a program declares with.
if not TYPE_CHECKING:
    __getattr__, __dir__, __all__ = at_first_use(
        HOMES
        | {
            "program.lookups": HOMES["dynamic.lookups"],
            "plugin.guard": ("Guard",),
            "plugin.resources": (*HOMES["dynamic.resources"], "Provider"),
        },
        "pulumi_snapshots.plugin",
    )
