"""The dynamic provider's `Archive`."""

from __future__ import annotations

from pulumi_snapshots.dynamic.archive_provider import ArchiveProvider
from pulumi_snapshots.dynamic.resources.dynamic import Dynamic
from pulumi_snapshots.program.archive import ArchiveDeclaration
from pulumi_snapshots.run.settings import PACKAGE


class Archive(Dynamic, ArchiveDeclaration, module=PACKAGE, name="Archive"):  # noqa: D101  the declaration's
    _served_by = ArchiveProvider
