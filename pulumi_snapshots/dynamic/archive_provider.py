"""The dynamic provider of archives; what it does stands in `operations.archive_calls`."""

from __future__ import annotations

from pulumi_snapshots.archive.calls import ArchiveCalls
from pulumi_snapshots.dynamic.translate import Provider

__all__ = ["ArchiveProvider"]


class ArchiveProvider(Provider):
    """The class's path stands in every state, so it never moves."""

    calls = ArchiveCalls()
