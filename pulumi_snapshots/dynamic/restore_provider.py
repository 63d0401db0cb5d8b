"""`Restore` by the dynamic provider."""

from __future__ import annotations

from pulumi_snapshots.dynamic.resource import Dynamic
from pulumi_snapshots.dynamic.translate import Provider
from pulumi_snapshots.program.restore import RestoreDeclaration
from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.settings import PACKAGE


class RestoreProvider(Provider):
    """The class's path stands in every state, so it never moves."""

    rules = RestoreRules()


class Restore(Dynamic, RestoreDeclaration, module=PACKAGE, name="Restore"):  # noqa: D101  the declaration's
    _served_by = RestoreProvider
