"""The `Restore` resource of the dynamic provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi  # noqa: TC002  the SDK resolves the annotations
from pulumi.dynamic import Resource

from pulumi_snapshots.declaration.restore import RESTORE_OUTPUTS, RestoreDeclaration
from pulumi_snapshots.dynamic.restore_provider import RestoreProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Restore"]


class Restore(RestoreDeclaration, Resource, module="squarecloud", name="Restore"):  # noqa: D101  the declaration's
    __doc__ = RestoreDeclaration.__doc__
    __annotations__ = RestoreDeclaration.__annotations__  # the SDK looks for types in the class itself

    def _register(self, resource_name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None) -> None:
        # An output exists only where the inputs name it.
        Resource.__init__(self, RestoreProvider(), resource_name, {**dict.fromkeys(RESTORE_OUTPUTS), **inputs}, opts)
