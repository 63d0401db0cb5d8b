"""The dynamic provider of snapshots; what it does stands in `operations.snapshot_calls`."""

from __future__ import annotations

from pulumi_snapshots.dynamic.translate import Provider
from pulumi_snapshots.snapshot.calls import SnapshotCalls

__all__ = ["SnapshotProvider"]


class SnapshotProvider(Provider):
    """The class's path stands in every state, so it never moves."""

    calls = SnapshotCalls()
