"""Serves the engine that has started this process, and ends with it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import callback_pb2_grpc, provider_pb2_grpc

from pulumi_snapshots.engine.messages import Callbacks, Engine
from pulumi_snapshots.engine.process import address_in, end_with, run_at
from pulumi_snapshots.plugin.protocol.servicer import Plugin
from pulumi_snapshots.run.calls import Shared

MESSAGE_LIMIT = 400 * 1024 * 1024  # bytes of one message: the engine's own limit
CALLS_GRACE = 30.0
"""Seconds that calls under way have to answer once this process was asked to end; their waits end
at once.
"""
BY_HAND = (
    "This is Pulumi's plugin for Square Cloud; `pulumi` starts it by itself. To debug it, run the "
    "program with "
    "PULUMI_DEBUG_PROVIDERS=squarecloud:{}"
)
NO_HANDSHAKE = (
    "This connection to the attached plugin did not begin with a handshake: the plugin was "
    "started again, or the connection "
    "was lost. Nothing was sent. Run the command again."
)


def serve_engine() -> None:
    """Serve until the engine ends this process. The engine's address is the last argument."""
    anyio.run(_serve, address_in(sys.argv))


async def _serve(address: str | None) -> None:
    options = [
        ("grpc.max_receive_message_length", MESSAGE_LIMIT),
        ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ]
    server = grpc.aio.server(options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    callbacks = Callbacks(f"127.0.0.1:{port}")

    def start() -> Plugin:
        return Plugin(Engine(address), Shared(run_at(address)), callbacks)

    served: Any = Attached(start) if address is None else start()
    callback_pb2_grpc.add_CallbacksServicer_to_server(callbacks, server)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(served, server)
    await server.start()
    asked_to_end = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, asked_to_end.set)
    if address is None:
        print(BY_HAND.format(port), file=sys.stderr)  # noqa: T201  for users who started it themselves
    else:
        end_with(address)
    print(port, flush=True)  # noqa: T201  what the engine waits for
    await asked_to_end.wait()
    served.stop()
    await server.stop(CALLS_GRACE)


@dataclass
class _Connection:
    """What one connection to an attached plugin uses.

    One provider of a command, with a key of its own.
    """

    plugin: Plugin
    calls: int = 0
    """Those under way."""
    is_over: bool = False
    """Whether its engine has said that the command ends."""


class Attached:
    """A plugin that users start themselves, to debug it, with one `Plugin` for each connection.

    A connection is free once its engine has cancelled it, which each command does at its end, and
    no call is under way any more. The next handshake frees what a killed engine has left.
    """

    def __init__(self, start: Callable[[], Plugin]) -> None:
        self._start = start
        self._connections = dict[str, _Connection]()

    def stop(self) -> None:
        """End all waits."""
        for each in self._connections.values():
            each.plugin.stop()

    def __getattr__(self, method: str) -> Any:
        """A method of the protocol, of the connection's plugin."""

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            async with self._call(method, context) as plugin:
                async for each in getattr(plugin, method)(request, context):
                    yield each

        async def answer(request: Any, context: Any) -> Any:
            if method == "Cancel" and context.peer() not in self._connections:
                return empty_pb2.Empty()  # an engine cancels twice
            async with self._call(method, context) as plugin:
                return await getattr(plugin, method)(request, context)

        return stream if method == "List" else answer

    @asynccontextmanager
    async def _call(
        self,
        method: str,
        context: Any,
    ) -> AsyncIterator[Plugin]:
        """Get the plugin of a connection for one call."""
        peer = context.peer()
        connection = await self._connection(method, context)
        connection.is_over = connection.is_over or method == "Cancel"
        connection.calls += 1
        try:
            yield connection.plugin
        finally:
            connection.calls -= 1
            if connection.is_over and not connection.calls:
                await self._free(peer, connection)

    async def _connection(self, method: str, context: Any) -> _Connection:
        """Find a connection, which a handshake starts; older engines only attach."""
        peer = context.peer()
        if method == "Handshake" or (
            method == "Attach" and peer not in self._connections
        ):
            await self._free_lost()
            self._connections[peer] = _Connection(self._start())
        if peer not in self._connections:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, NO_HANDSHAKE)
        return self._connections[peer]

    async def _free_lost(self) -> None:
        """Free what killed engines have left."""
        for peer, connection in list(self._connections.items()):
            if await connection.plugin.has_lost_engine():
                connection.plugin.stop()
                connection.is_over = True
                if not connection.calls:
                    await self._free(peer, connection)

    async def _free(self, peer: str, connection: _Connection) -> None:
        if self._connections.get(peer) is connection:
            del self._connections[peer]
        await connection.plugin.close()
