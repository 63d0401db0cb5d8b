"""The plugin's `Snapshot`."""

from __future__ import annotations

from pulumi_snapshots.declaration.snapshot import SnapshotDeclaration
from pulumi_snapshots.plugin.resources.native import Native


class Snapshot(Native, SnapshotDeclaration):  # noqa: D101  the declaration's
    pass
