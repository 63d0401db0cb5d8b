"""The plugin inside this process, by its own names, in virtual time and with an emulated service: no process, no socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import provider_pb2

from pulumi_snapshots.engine.messages import Callbacks
from pulumi_snapshots.plugin.protocol.servicer import Plugin
from squarecloud_emulator import Emulator, EmulatorSettings
from tests.support import servicer as wire
from tests.support.inside import (
    Computer,
    MachineClock,
    Native,
    _AsyncContext,
    _InsideEngine,
    _process,
    run_inside,
)

OF_DO = "urn:pulumi:dev::default::pulumi:providers:squarecloud::"
"""The provider of `pulumi do --stateless`, which has no name."""
OF_STACK = "urn:pulumi:dev::shop::pulumi:providers:squarecloud::default_0_1_0"

bag = wire._struct


def values(struct: Any) -> dict[str, Any]:
    """As it is on the wire, marks included."""
    return dict(MessageToDict(struct))


def request_of(method: str, **fields: Any) -> Any:
    """What is sent for a call; a `dict` among the fields is an object on the wire."""
    given = {
        name: bag(value) if isinstance(value, dict) else value
        for name, value in fields.items()
    }
    return getattr(provider_pb2, f"{method.removesuffix('Config')}Request")(**given)


class _Context(_AsyncContext):
    def __init__(self, peer: str) -> None:
        self.peer = lambda: peer


@dataclass
class Plugged:
    emulator: Emulator  # the service
    process: Native  # what it has told the engine, as `warnings` and `progress`
    plugin: Any
    peer: str = "127.0.0.1:2"  # of the connection

    async def call(self, method: str, request: Any) -> Any:
        """Its answer, all answers of a stream as a list; raises `CallFailedError` as `Servicer` does."""
        try:
            answering = getattr(self.plugin, method)(request, _Context(self.peer))
            return (
                [each async for each in answering]
                if method == "List"
                else await answering
            )
        except grpc.RpcError as error:
            raise wire.failure_of(error) from None

    async def ask(self, method: str, **fields: Any) -> Any:
        return await self.call(method, request_of(method, **fields))

    async def refused(self, method: str, **fields: Any) -> str:
        """The text with which it refuses; nothing is kept."""
        with pytest.raises(wire.CallFailedError) as caught:
            await self.ask(method, **fields)
        assert caught.value.kept is None
        return caught.value.message

    async def ready(
        self, config: Mapping[str, Any] | None = None, provider: str = OF_STACK
    ) -> None:
        """What an engine says first."""
        await self.call(
            "Handshake",
            provider_pb2.ProviderHandshakeRequest(supports_refresh_before_update=True),
        )
        service = {
            "apiKey": wire.secret(self.emulator.settings.api_key),
            "apiUrl": self.emulator.api_url,
        }
        args = bag(service | dict(config or {}))
        await self.call(
            "Configure",
            provider_pb2.ConfigureRequest(urn=provider, args=args, acceptSecrets=True),
        )

    @property
    def kinds(self) -> list[str]:
        """The requests that the service has got."""
        return [entry.kind for entry in self.emulator.journal]

    def again(self) -> Plugged:
        return _started(self.emulator, self.process.computer)


def _started(emulator: Emulator, computer: Computer) -> Plugged:
    process = Native(computer, {})
    _process.set(process)
    return Plugged(
        emulator, process, Plugin(_InsideEngine(process), process.shared, Callbacks(""))
    )


@asynccontextmanager
async def plugged(
    config: Mapping[str, Any] | None = None, *, provider: str = OF_STACK, **service: Any
) -> AsyncIterator[Plugged]:
    """A plugin that has a key of the emulated service."""
    emulator = Emulator(
        EmulatorSettings(**service),
        clock=MachineClock(0.0),
        base_url="http://127.0.0.1:1",
    )
    here = _started(emulator, Computer("laptop", emulator))
    await here.ready(config, provider)
    yield here


def inside(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Decorate a test that runs in virtual time with a plugin in it; fixtures work as usual."""

    @wraps(test)
    def run(**given: Any) -> None:
        run_inside(partial(test, **given))

    return run
