"""The plugin's resources, as Python programs declare them, and its explicit provider."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pulumi

from pulumi_snapshots.program import Declared, alias_of, class_of, with_arguments
from pulumi_snapshots.properties.catalogue import (
    Property,
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
        inputs: Mapping[str, Any],
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
    made = class_of(name, Native, {"__module__": __name__})
    return globals().setdefault(name, made)  # type: ignore[no-any-return]


class Provider(pulumi.ProviderResource):
    """An account: its own key, requests and address.

    They win over the stack's config and the environment.
    """

    def __init__(  # noqa: PLR0913  each is a setting
        self,
        resource_name: str,
        *,
        api_key: pulumi.Input[str] | None = None,
        api_url: pulumi.Input[str] | None = None,
        snapshots_url: pulumi.Input[str] | None = None,
        requests_per_minute: pulumi.Input[int] | None = None,
        requests_for_others: pulumi.Input[int] | None = None,
        state_dir: pulumi.Input[str] | None = None,
        shared_state: pulumi.Input[str] | None = None,
        first_poll_after: pulumi.Input[str] | None = None,
        poll_every: pulumi.Input[str] | None = None,
        listing_cache: pulumi.Input[str] | None = None,
        guard: pulumi.Input[str] | None = None,
        notify: pulumi.Input[str] | None = None,
        block_wait: pulumi.Input[str] | None = None,
        restore_settle: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        given = {
            name: value
            for name, value in locals().items()
            if name in Settings.properties() and value is not None
        }
        # The engine takes a provider's numbers as texts.
        texts = {
            in_camel(name): pulumi.Output.from_input(value).apply(str)
            for name, value in given.items()
        }
        for name in ("apiKey", "notify"):
            if name in texts:
                texts[name] = pulumi.Output.secret(texts[name])
        super().__init__(PACKAGE, resource_name, texts, opts)


Provider.__doc__ = with_arguments(str(Provider.__doc__), Provider.__init__, Settings)


def _in_camels(kind: Any, value: Any) -> Any:
    """Rename what a program gives to the plugin's names, also inside outputs."""
    if record_in(kind) is None:
        return value
    if isinstance(value, pulumi.Output):
        return value.apply(partial(_in_camels, kind))
    return (
        [_in_camels(kind, one) for one in value]
        if isinstance(value, list)
        else in_camels(kind, value)
    )


def _in_python(each: Property, value: Any) -> Any:
    properties = {each.name: each}
    values = in_python(properties, {each.camel: value})
    return values.get(each.name)
