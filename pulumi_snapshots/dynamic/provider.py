"""`Snapshot` by the dynamic provider."""

from __future__ import annotations

from pulumi_snapshots.dynamic.resource import Dynamic
from pulumi_snapshots.dynamic.translate import Provider
from pulumi_snapshots.program.snapshot import SnapshotDeclaration
from pulumi_snapshots.run.settings import PACKAGE
from pulumi_snapshots.snapshot.difference import SnapshotRules


class SnapshotProvider(Provider):
    """The class's path stands in every state, so it never moves."""

    rules = SnapshotRules()


class Snapshot(Dynamic, SnapshotDeclaration, module=PACKAGE, name="Snapshot"):  # noqa: D101  the declaration's
    _served_by = SnapshotProvider
