"""The dynamic provider of restores; what it does stands in `operations.restore_calls`."""

from __future__ import annotations

from pulumi_snapshots.dynamic.translate import Provider
from pulumi_snapshots.restore.calls import RestoreCalls

__all__ = ["RestoreProvider"]


class RestoreProvider(Provider):
    """The class's path stands in every state, so it never moves."""

    calls = RestoreCalls()
