"""The plugin's `Restore`."""

from __future__ import annotations

from pulumi_snapshots.declaration.restore import RestoreDeclaration
from pulumi_snapshots.plugin.resources.native import Native


class Restore(Native, RestoreDeclaration):  # noqa: D101  the declaration's
    pass
