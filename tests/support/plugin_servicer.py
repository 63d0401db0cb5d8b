"""Runs the plugin's process the way the engine does, behind the same face as the dynamic provider's: Python's names."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import struct_pb2
from pulumi.runtime.proto import provider_pb2

from pulumi_snapshots.plugin.description.package import RESOURCE_KINDS
from pulumi_snapshots.properties.catalogue import record_in
from tests.support import servicer as wire
from tests.support.servicer import Servicer

PROPERTIES = [
    each
    for kind in RESOURCE_KINDS.values()
    for properties in (kind.schema.inputs.properties(), kind.schema.outputs)
    for each in properties.values()
]
RECORDS = {each.name: record for each in PROPERTIES if (record := record_in(each.type))}
NAMES = {
    each.camel: each.name
    for record in RECORDS.values()
    for each in record.properties().values()
}
NAMES |= {each.camel: each.name for each in PROPERTIES}
CAMEL = {python: camel for camel, python in NAMES.items()}


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The properties under their other names; what is inside `triggers` is the user's."""
    return {
        names.get(key, key): _inside(value, names)
        if {key, names.get(key)} & RECORDS.keys()
        else value
        for key, value in values.items()
    }


def _inside(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_inside(each, names) for each in value]
    return renamed(value, names) if isinstance(value, dict) else value


def in_python(text: str) -> str:
    return re.sub(r"\b\w+\b", lambda word: NAMES.get(word.group(), word.group()), text)


class Raw(dict[str, Any]):
    """Properties by the names that are in the state."""


class PluginServicer(Servicer):
    """As `Servicer`; the provider names only which kind of resource it is about."""

    is_new = True
    """Whether the engine is of 3.269 or later."""

    def _arguments(self) -> list[str]:
        return [
            str(Path(sys.executable).with_name("pulumi-resource-squarecloud")),
            self.address,
        ]

    def configure(self, config: Mapping[str, Any]) -> None:
        """What an engine says first, and the settings."""
        self.serialized_provider = ""  # nothing of it stands in the state
        self._call(
            "Handshake",
            provider_pb2.ProviderHandshakeRequest(
                engine_address=self.address,
                supports_refresh_before_update=True,
                accepts_outputs_in_call=self.is_new,
            ),
        )
        settings = {name.partition(":")[2]: value for name, value in config.items()}
        self._call(
            "Configure",
            provider_pb2.ConfigureRequest(
                args=wire._struct(settings), acceptSecrets=True
            ),
        )

    def _bag(self, values: Mapping[str, Any]) -> struct_pb2.Struct:
        return wire._struct(
            values if isinstance(values, Raw) else renamed(values, CAMEL)
        )

    def _values(
        self, struct: struct_pb2.Struct
    ) -> tuple[dict[str, Any], frozenset[str]]:
        values, secrets = super()._values(struct)
        return renamed(values, NAMES), frozenset(
            NAMES.get(path, path) for path in secrets
        )

    def _text(self, text: str) -> str:
        return in_python(text)


ADAPTERS = {"dynamic": Servicer, "plugin": PluginServicer}
"""Both ways to the engine; a test of what the engine's calls do holds for each."""
