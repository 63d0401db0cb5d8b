"""The plugin's `Archive`."""

from __future__ import annotations

from pulumi_snapshots.declaration.archive import ArchiveDeclaration
from pulumi_snapshots.plugin.resources.native import Native


class Archive(Native, ArchiveDeclaration):  # noqa: D101  the declaration's
    pass
