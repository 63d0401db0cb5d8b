"""The `Archive` resource of the dynamic provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import Resource

from pulumi_snapshots.declaration.archive import ARCHIVE_OUTPUTS, ArchiveDeclaration
from pulumi_snapshots.dynamic.archive_provider import ArchiveProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Archive"]


class Archive(ArchiveDeclaration, Resource, module="squarecloud", name="Archive"):  # noqa: D101  the declaration's
    __doc__ = ArchiveDeclaration.__doc__
    __annotations__ = ArchiveDeclaration.__annotations__  # the SDK looks for types in the class itself

    def _register(self, resource_name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["download_url"])
        # An output exists only where the inputs name it.
        properties = {**dict.fromkeys(ARCHIVE_OUTPUTS), **inputs}
        Resource.__init__(
            self, ArchiveProvider(), resource_name, properties, pulumi.ResourceOptions.merge(secret, opts)
        )
