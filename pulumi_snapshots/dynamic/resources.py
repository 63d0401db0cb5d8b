"""The resources of the dynamic provider, as programs declare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pulumi
from pulumi.dynamic import Resource

from pulumi_snapshots.declaration import Declared, alias_of, warn_of_plain_key
from pulumi_snapshots.declaration.archive import ArchiveDeclaration
from pulumi_snapshots.declaration.drill import DrillDeclaration
from pulumi_snapshots.declaration.restore import RestoreDeclaration
from pulumi_snapshots.declaration.snapshot import SnapshotDeclaration
from pulumi_snapshots.dynamic.archive_provider import ArchiveProvider
from pulumi_snapshots.dynamic.drill_provider import DrillProvider
from pulumi_snapshots.dynamic.provider import SnapshotProvider
from pulumi_snapshots.dynamic.restore_provider import RestoreProvider
from pulumi_snapshots.run.settings import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.dynamic.translate import Provider


class _Dynamic(Declared, Resource):
    """A resource of the dynamic provider."""

    _served_by: ClassVar[type[Provider]]

    def _register(self, resource_name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None) -> None:
        # A resource of the plugin is the same one: a changed import line replaces nothing.
        alias = alias_of(f"{PACKAGE}:index:{self.thing.name}", resource_name, opts)
        own = pulumi.ResourceOptions(additional_secret_outputs=sorted(self.thing.secrets), aliases=[alias])
        # An output exists only if the inputs name it.
        properties = {**dict.fromkeys(self.thing.outputs), **inputs}
        Resource.__init__(
            self,
            self._served_by(),
            resource_name,
            properties,
            own if opts is None else pulumi.ResourceOptions.merge(own, opts),
        )
        warn_of_plain_key(self)  # the plugin warns by itself, for programs in every language


class Snapshot(_Dynamic, SnapshotDeclaration, module=PACKAGE, name="Snapshot"):  # noqa: D101  the declaration's
    _served_by = SnapshotProvider


class Restore(_Dynamic, RestoreDeclaration, module=PACKAGE, name="Restore"):  # noqa: D101  the declaration's
    _served_by = RestoreProvider


class Drill(_Dynamic, DrillDeclaration, module=PACKAGE, name="Drill"):  # noqa: D101  the declaration's
    _served_by = DrillProvider


class Archive(_Dynamic, ArchiveDeclaration, module=PACKAGE, name="Archive"):  # noqa: D101  the declaration's
    _served_by = ArchiveProvider
