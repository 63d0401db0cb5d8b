"""Database snapshots of Square Cloud as Pulumi resources: take one, wait for exactly it, use its pinned download URL."""

from pulumi_snapshots.dynamic.archive import Archive
from pulumi_snapshots.dynamic.snapshot import Snapshot

__all__ = ["Archive", "Snapshot"]
