"""Runs the plugin's process the way the engine does, behind the same face as the dynamic provider's: Python's names.

What a test says of the one must hold for the other, up to the names of properties, which are translated here.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi.runtime.proto import provider_pb2

from pulumi_snapshots.plugin.description.package import KINDS
from pulumi_snapshots.properties.catalogue import record_in
from tests.support import servicer as wire
from tests.support.servicer import Answer, CallFailedError, CheckAnswer, Kept, Message, Servicer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf import struct_pb2

PROPERTIES = [
    each
    for kind in KINDS.values()
    for properties in (kind.schema.inputs.properties(), kind.schema.outputs)
    for each in properties.values()
]
RECORDS = {each.name: record for each in PROPERTIES if (record := record_in(each.type))}
NAMES = {each.camel: each.name for record in RECORDS.values() for each in record.properties().values()}
NAMES |= {each.camel: each.name for each in PROPERTIES}
CAMEL = {python: camel for camel, python in NAMES.items()}


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The properties under their other names; what is inside `triggers` is the user's."""
    return {
        names.get(key, key): _inside(value, names) if {key, names.get(key)} & RECORDS.keys() else value
        for key, value in values.items()
    }


def _inside(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_inside(each, names) for each in value]
    return renamed(value, names) if isinstance(value, dict) else value


def in_python(text: str) -> str:
    return re.sub(r"\b\w+\b", lambda word: NAMES.get(word.group(), word.group()), text)


class PluginServicer(Servicer):
    """As `Servicer`; the provider names only which kind of resource it is about."""

    def _arguments(self) -> list[str]:
        return [str(Path(sys.executable).with_name("pulumi-resource-squarecloud")), self.address]

    def configure(self, config: Mapping[str, Any]) -> None:
        """What an engine says first, and the settings."""
        self.serialized_provider = ""  # nothing of it stands in the state
        self._call(
            "Handshake",
            provider_pb2.ProviderHandshakeRequest(engine_address=self.address, supports_refresh_before_update=True),
        )
        settings = {name.partition(":")[2]: value for name, value in config.items()}
        self._call("Configure", provider_pb2.ConfigureRequest(args=wire._struct(settings), acceptSecrets=True))

    def check(self, urn: str, news: Mapping[str, Any], olds: Mapping[str, Any] | None = None) -> CheckAnswer:
        answer = super().check(urn, news, olds)
        failures = [(NAMES.get(name, name), in_python(reason)) for name, reason in answer.failures]
        return CheckAnswer(renamed(answer.inputs, NAMES), _of(answer.secrets), failures)

    def diff(self, urn: str, id_: str, olds: Mapping[str, Any], news: Mapping[str, Any], *args: Any) -> Any:
        answer = super().diff(urn, id_, olds, news, *args)
        return dataclasses.replace(answer, replaces=[NAMES.get(name, name) for name in answer.replaces])

    def create(self, urn: str, inputs: Mapping[str, Any]) -> Answer:
        answer: Answer = _answer(super().create(urn, inputs))
        return answer

    def update(self, urn: str, id_: str, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Answer:
        answer: Answer = _answer(super().update(urn, id_, olds, news))
        return answer

    def read(self, *args: Any, **kwargs: Any) -> Any:
        answer = super().read(*args, **kwargs)
        inputs = None if answer.inputs is None else renamed(answer.inputs, NAMES)
        return dataclasses.replace(_answer(answer), inputs=inputs)

    @property
    def messages(self) -> list[Message]:
        return [dataclasses.replace(message, text=in_python(message.text)) for message in super().messages]

    def _bag(self, values: Mapping[str, Any]) -> struct_pb2.Struct:
        return wire._struct(renamed(values, CAMEL))

    def _call(self, method: str, request: Any) -> Any:
        try:
            return super()._call(method, request)
        except CallFailedError as error:
            raise CallFailedError(error.code, in_python(error.message), _kept(error.kept)) from None


def _answer(answer: Any) -> Any:
    return dataclasses.replace(answer, outputs=renamed(answer.outputs, NAMES), secrets=_of(answer.secrets))


def _of(secrets: frozenset[str]) -> frozenset[str]:
    return frozenset(NAMES.get(path, path) for path in secrets)


def _kept(kept: Kept | None) -> Kept | None:
    if kept is None:
        return None
    return dataclasses.replace(
        kept,
        outputs=renamed(kept.outputs, NAMES),
        inputs=renamed(kept.inputs, NAMES),
        secrets=_of(kept.secrets),
        reasons=[in_python(reason) for reason in kept.reasons],
    )


ADAPTERS = {"dynamic": Servicer, "plugin": PluginServicer}
"""Both ways to the engine; a test of what the engine's calls do holds for each."""
