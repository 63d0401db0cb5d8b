"""The plugin's `Drill`."""

from __future__ import annotations

from pulumi_snapshots.declaration.drill import DrillDeclaration
from pulumi_snapshots.plugin.resources.native import Native


class Drill(Native, DrillDeclaration):  # noqa: D101  the declaration's
    pass
