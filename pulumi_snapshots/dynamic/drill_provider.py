"""`Drill` by the dynamic provider."""

from __future__ import annotations

from pulumi_snapshots.drill.difference import DrillRules
from pulumi_snapshots.dynamic.resource import Dynamic
from pulumi_snapshots.dynamic.translate import Provider
from pulumi_snapshots.program.drill import DrillDeclaration
from pulumi_snapshots.run.settings import PACKAGE


class DrillProvider(Provider):
    """The class's path stands in every state, so it never moves."""

    rules = DrillRules()


class Drill(Dynamic, DrillDeclaration, module=PACKAGE, name="Drill"):  # noqa: D101  the declaration's
    _served_by = DrillProvider
