"""The plugin's resources, as Python programs declare them, and its explicit provider."""

from __future__ import annotations

from functools import partial
from inspect import getdoc
from typing import Any

import pulumi

from pulumi_snapshots.program import (
    Declared,
    alias_of,
    bound,
    class_of,
    given_values,
    with_arguments,
)
from pulumi_snapshots.program.declaration import signature_of_provider
from pulumi_snapshots.properties.catalogue import (
    Property,
    Values,
    in_camel,
    in_camels,
    in_python,
    record_in,
)
from pulumi_snapshots.resources import RESOURCES
from pulumi_snapshots.run.settings import PACKAGE, Settings


class Native(Declared):
    """A resource of the plugin: the engine's names inside, Python's names for programs."""

    def _register(
        self,
        resource_name: str,
        inputs: Values,
        opts: pulumi.ResourceOptions | None,
    ) -> None:
        name = self.schema.name
        outputs = self.schema.outputs
        # A resource of the dynamic provider is the same one: a changed import line replaces
        # nothing.
        alias = alias_of(f"pulumi-python:dynamic/{PACKAGE}:{name}", resource_name, opts)
        opts = pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(aliases=[alias])
        )
        declared = self.schema.inputs.properties()
        properties: dict[str, Any] = {
            in_camel(output): None for output in self._outputs
        }
        for given, value in inputs.items():
            properties[in_camel(given)] = _in_camels(declared[given].type, value)
        pulumi.CustomResource.__init__(
            self, f"{PACKAGE}:index:{name}", resource_name, properties, opts
        )
        for each in outputs.values():
            if record_in(each.type) and each.camel in self.__dict__:
                output = self.__dict__[each.camel]
                self.__dict__[each.camel] = output.apply(partial(_in_python, each))

    def __getattr__(self, name: str) -> Any:
        """An output by its Python name."""
        try:
            return self.__dict__[in_camel(name)]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name}") from None


def __getattr__(name: str) -> type[Native]:
    """The class of a resource, which is made at its first use: most programs have few of them."""
    if name not in RESOURCES:
        raise AttributeError(name)
    resource = class_of(name, Native, {"__module__": __name__})
    return globals().setdefault(name, resource)  # type: ignore[no-any-return]  # globals are Any


_PROVIDER = signature_of_provider(Settings.properties())


class Provider(pulumi.ProviderResource):
    """An account: its own key, requests and address.

    The arguments win over the stack's config and the environment.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        settings = bound("Provider", _PROVIDER, (self, *arguments), named)
        resource_name = settings.pop("resource_name")
        opts = settings.pop("opts")
        # The engine takes a provider's numbers as texts.
        texts = {
            in_camel(name): pulumi.Output.from_input(value).apply(str)
            for name, value in given_values(settings).items()
        }
        for name in ("apiKey", "notify"):
            if name in texts:
                texts[name] = pulumi.Output.secret(texts[name])
        super().__init__(PACKAGE, resource_name, texts, opts)


Provider.__doc__ = with_arguments(getdoc(Provider) or "", _PROVIDER, Settings)
Provider.__init__.__signature__ = _PROVIDER  # type: ignore[attr-defined]  # what `inspect` looks for


def _in_camels(kind: Any, value: Any) -> Any:
    """Rename what a program gives to the plugin's names, also inside outputs."""
    if record_in(kind) is None:
        return value
    if isinstance(value, pulumi.Output):
        return value.apply(partial(_in_camels, kind))
    if isinstance(value, list):
        return [_in_camels(kind, each) for each in value]
    return in_camels(kind, value)


def _in_python(each: Property, value: Any) -> Any:
    properties = {each.name: each}
    values = in_python(properties, {each.camel: value})
    return values.get(each.name)
