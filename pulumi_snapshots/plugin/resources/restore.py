"""The plugin's `Restore`."""

from __future__ import annotations

from pulumi_snapshots.plugin.resources.native import Native
from pulumi_snapshots.program.restore import RestoreDeclaration


class Restore(Native, RestoreDeclaration):  # noqa: D101  the declaration's
    pass
