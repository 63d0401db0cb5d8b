"""What the plugin's resources share, as Python programs declare them: the inputs and outputs of the top level."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pulumi

from pulumi_snapshots.program import Declared, alias_of
from pulumi_snapshots.properties.catalogue import in_camel, in_camels, in_python, record_in
from pulumi_snapshots.run.settings import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.properties.catalogue import Property


class Native(Declared):
    """A resource of the plugin: the engine's names inside, Python's names for programs."""

    def _register(self, resource_name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None) -> None:
        name, outputs = self.schema.name, self.schema.outputs
        # A resource of the dynamic provider is the same one: a changed import line replaces nothing.
        alias = alias_of(f"pulumi-python:dynamic/{PACKAGE}:{name}", resource_name, opts)
        own = pulumi.ResourceOptions(aliases=[alias])
        opts = own if opts is None else pulumi.ResourceOptions.merge(opts, own)
        given = {each: _in_camels(self.schema.inputs.properties()[each].type, value) for each, value in inputs.items()}
        properties = {in_camel(each): value for each, value in {**dict.fromkeys(self._outputs), **given}.items()}
        pulumi.CustomResource.__init__(self, f"{PACKAGE}:index:{name}", resource_name, properties, opts)
        for each in outputs.values():
            if record_in(each.type) and each.camel in self.__dict__:
                self.__dict__[each.camel] = self.__dict__[each.camel].apply(partial(_in_python, each))

    def __getattr__(self, name: str) -> Any:
        """An output by its Python name."""
        try:
            return self.__dict__[in_camel(name)]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name}") from None


def _in_camels(kind: Any, value: Any) -> Any:
    """A value that a program gives, by the names of the plugin, also if it is an output or holds some."""
    if record_in(kind) is None:
        return value
    if isinstance(value, pulumi.Output):
        return value.apply(partial(_in_camels, kind))
    return [_in_camels(kind, one) for one in value] if isinstance(value, list) else in_camels(kind, value)


def _in_python(each: Property, value: Any) -> Any:
    return in_python({each.name: each}, {each.camel: value}).get(each.name)
