"""The dynamic provider of drills."""

from __future__ import annotations

from pulumi_snapshots.drill.difference import DrillRules
from pulumi_snapshots.dynamic.translate import Provider


class DrillProvider(Provider):
    """The class's path stands in every state, so it never moves."""

    rules = DrillRules()
