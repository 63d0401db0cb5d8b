"""The plugin's `Archive`."""

from __future__ import annotations

from pulumi_snapshots.plugin.resources.native import Native
from pulumi_snapshots.program.archive import ArchiveDeclaration


class Archive(Native, ArchiveDeclaration):  # noqa: D101  the declaration's
    pass
