"""The plugin's `Snapshot`."""

from __future__ import annotations

from pulumi_snapshots.plugin.resources.native import Native
from pulumi_snapshots.program.snapshot import SnapshotDeclaration


class Snapshot(Native, SnapshotDeclaration):  # noqa: D101  the declaration's
    pass
