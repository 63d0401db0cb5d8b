"""The dynamic provider's `Drill`."""

from __future__ import annotations

from pulumi_snapshots.dynamic.drill_provider import DrillProvider
from pulumi_snapshots.dynamic.resources.dynamic import Dynamic
from pulumi_snapshots.program.drill import DrillDeclaration
from pulumi_snapshots.run.settings import PACKAGE


class Drill(Dynamic, DrillDeclaration, module=PACKAGE, name="Drill"):  # noqa: D101  the declaration's
    _served_by = DrillProvider
