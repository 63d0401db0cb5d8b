"""The plugin's `Drill`."""

from __future__ import annotations

from pulumi_snapshots.plugin.resources.native import Native
from pulumi_snapshots.program.drill import DrillDeclaration


class Drill(Native, DrillDeclaration):  # noqa: D101  the declaration's
    pass
