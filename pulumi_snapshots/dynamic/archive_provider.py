"""`Archive` by the dynamic provider."""

from __future__ import annotations

from pulumi_snapshots.archive.difference import ArchiveRules
from pulumi_snapshots.dynamic.resource import Dynamic
from pulumi_snapshots.dynamic.translate import Provider
from pulumi_snapshots.program.archive import ArchiveDeclaration
from pulumi_snapshots.run.settings import PACKAGE


class ArchiveProvider(Provider):
    """The class's path stands in every state, so it never moves."""

    rules = ArchiveRules()


class Archive(Dynamic, ArchiveDeclaration, module=PACKAGE, name="Archive"):  # noqa: D101  the declaration's
    _served_by = ArchiveProvider
