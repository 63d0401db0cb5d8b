"""The dynamic provider's `Restore`."""

from __future__ import annotations

from pulumi_snapshots.dynamic.resources.dynamic import Dynamic
from pulumi_snapshots.dynamic.restore_provider import RestoreProvider
from pulumi_snapshots.program.restore import RestoreDeclaration
from pulumi_snapshots.run.settings import PACKAGE


class Restore(Dynamic, RestoreDeclaration, module=PACKAGE, name="Restore"):  # noqa: D101  the declaration's
    _served_by = RestoreProvider
