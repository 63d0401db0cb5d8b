"""A plugin that users started themselves, to debug it: engines attach to it by `PULUMI_DEBUG_PROVIDERS`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from inspect import getmembers, isfunction
from typing import Any

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from pulumi_snapshots.plugin.protocol.servicer import Plugin

NO_HANDSHAKE = (
    "This connection to the attached plugin did not begin with a handshake: the plugin was started again, or the connection "
    "was lost. Nothing was sent. Run the command again."
)


class Attached(provider_pb2_grpc.ResourceProviderServicer):
    """Serves each connection by a plugin of its own: a connection is one provider of one command, with its settings.

    So an account's key is never used for another provider's resources, and the Cancel at a command's end ends no other's waits.

    Args:
        start: makes a plugin.
    """

    def __init__(self, start: Callable[[], Plugin]) -> None:
        self._start = start
        self._by_connection: dict[str, Plugin] = {}

    def stop(self) -> None:
        """End all waits."""
        for each in self._by_connection.values():
            each.stop()

    async def of(self, method: str, context: Any) -> Any:
        """The method of the connection's plugin, which a handshake starts; older engines only attach."""
        connection = context.peer()
        if method == "Handshake":
            running = {name: each for name, each in self._by_connection.items() if not each.is_over}
            self._by_connection = {**running, connection: self._start()}
        elif method == "Attach" and connection not in self._by_connection:
            self._by_connection[connection] = self._start()
        if connection not in self._by_connection:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, NO_HANDSHAKE)
        return getattr(self._by_connection[connection], method)

    async def List(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802  the protocol's name
        """Hand on the one call whose answer is a stream."""
        async for each in (await self.of("List", context))(request, context):
            yield each


def _handing_on(method: str) -> Any:
    async def hand_on(self: Attached, request: Any, context: Any) -> Any:
        return await (await self.of(method, context))(request, context)

    return hand_on


for _method, _ in getmembers(provider_pb2_grpc.ResourceProviderServicer, isfunction):
    if _method not in vars(Attached):
        setattr(Attached, _method, _handing_on(_method))
