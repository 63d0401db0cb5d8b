"""The `Snapshot` resource of the dynamic provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import Resource

from pulumi_snapshots.declaration.snapshot import SNAPSHOT_OUTPUTS, SnapshotDeclaration
from pulumi_snapshots.dynamic.provider import SnapshotProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Snapshot"]


class Snapshot(SnapshotDeclaration, Resource, module="squarecloud", name="Snapshot"):  # noqa: D101  the declaration's
    __doc__ = SnapshotDeclaration.__doc__
    __annotations__ = SnapshotDeclaration.__annotations__  # the SDK looks for types in the class itself

    def _register(self, resource_name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["download_url"])
        # An output exists only where the inputs name it.
        properties = {**dict.fromkeys(SNAPSHOT_OUTPUTS), **inputs}
        Resource.__init__(
            self, SnapshotProvider(), resource_name, properties, pulumi.ResourceOptions.merge(secret, opts)
        )
