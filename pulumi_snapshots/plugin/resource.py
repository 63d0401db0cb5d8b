"""What the plugin's resources share where Python programs declare them: the engine's names, and Python's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pulumi

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PACKAGE", "PluginResource", "in_camel", "in_python"]

PACKAGE = "squarecloud"


class PluginResource(pulumi.CustomResource):
    """A resource of the plugin; its outputs have the engine's names inside, and Python's for programs.

    Attributes:
        kind: the last part of its type.
        output_names: the outputs that are not inputs.
    """

    kind: ClassVar[str]
    output_names: ClassVar[tuple[str, ...]]

    def _register(self, resource_name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None) -> None:
        # What the dynamic provider has made is the same resource: a changed import line takes nothing anew.
        alias = pulumi.ResourceOptions(aliases=[pulumi.Alias(type_=f"pulumi-python:dynamic/{PACKAGE}:{self.kind}")])
        opts = pulumi.ResourceOptions.merge(opts, alias)
        properties = {in_camel(name): value for name, value in {**dict.fromkeys(self.output_names), **inputs}.items()}
        pulumi.CustomResource.__init__(self, f"{PACKAGE}:index:{self.kind}", resource_name, properties, opts)

    def __getattr__(self, name: str) -> Any:
        """An output by its Python name."""
        try:
            return self.__dict__[in_camel(name)]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name}") from None


def in_camel(name: str) -> str:
    """A property's name in every language but Python: `databaseId`."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def in_python(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The object by its Python names; what it lacks stays away."""
    return {name: values[in_camel(name)] for name in names if in_camel(name) in values}
