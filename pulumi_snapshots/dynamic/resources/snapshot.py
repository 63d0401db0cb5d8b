"""The dynamic provider's `Snapshot`."""

from __future__ import annotations

from pulumi_snapshots.dynamic.provider import SnapshotProvider
from pulumi_snapshots.dynamic.resources.dynamic import Dynamic
from pulumi_snapshots.program.snapshot import SnapshotDeclaration
from pulumi_snapshots.run.settings import PACKAGE


class Snapshot(Dynamic, SnapshotDeclaration, module=PACKAGE, name="Snapshot"):  # noqa: D101  the declaration's
    _served_by = SnapshotProvider
