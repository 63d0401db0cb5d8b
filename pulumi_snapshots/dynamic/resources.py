"""The part of the dynamic provider's resources that they share, as programs declare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pulumi
from pulumi.dynamic import Resource

from pulumi_snapshots.late import late
from pulumi_snapshots.program import (
    Declared,
    alias_of,
    class_of,
    warn_of_plain_key,
)
from pulumi_snapshots.resources import RESOURCES
from pulumi_snapshots.run.settings import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.dynamic.provider import Provider


class Dynamic(Declared, Resource):
    """A resource of the dynamic provider."""

    _served_by: ClassVar[type[Provider]]

    def _register(
        self,
        resource_name: str,
        inputs: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None,
    ) -> None:
        # A resource of the plugin is the same one: a changed import line replaces nothing.
        alias = alias_of(f"{PACKAGE}:index:{self.schema.name}", resource_name, opts)
        own = pulumi.ResourceOptions(
            additional_secret_outputs=sorted(self.schema.secrets), aliases=[alias]
        )
        # An output exists only if the inputs name it.
        properties = {**dict.fromkeys(self._outputs), **inputs}
        opts = pulumi.ResourceOptions.merge(own, opts)
        Resource.__init__(self, self._served_by(), resource_name, properties, opts)
        # the plugin warns by itself, for programs in every language
        warn_of_plain_key(self)


def __getattr__(name: str) -> type[Dynamic]:
    """The class of a resource, which is made at its first use: most programs have few of them."""
    if name not in RESOURCES:
        raise AttributeError(name)
    served_by = late(f"dynamic.provider:{name}Provider")
    body = {"__module__": __name__, "_served_by": served_by}
    keywords = {"module": PACKAGE, "name": name}
    resource: type[Dynamic] = class_of(name, Dynamic, body, keywords)
    return globals().setdefault(name, resource)  # type: ignore[no-any-return]  # globals are Any
