"""The engine that the plugin serves: the messages to it, and what it calls back."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from pulumi.runtime.proto import callback_pb2, callback_pb2_grpc

from pulumi_snapshots.engine.messages import Messages, engine_at


class Engine(Messages):
    """Gets the messages of one plugin; if it `is_quiet`, warnings only: `pulumi do` prints the rest into its answer."""

    def __init__(self, address: str | None = None) -> None:
        super().__init__(lambda: engine_at(str(self._address)))
        self.is_quiet = False
        self._address = address

    def is_at(self, address: str) -> None:
        """Take the address from a handshake, unless one is known."""
        self._address = self._address or address

    def say(self, text: str, urn: str = "", **how: bool) -> None:
        """Queue one message."""
        if self._address is not None and (how.get("warning") or not self.is_quiet):
            super().say(text, urn, **how)


class Callbacks(callback_pb2_grpc.CallbacksServicer):
    """The hooks and the transforms of components; `target` is the address at which the engine reaches this process."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._functions: dict[str, Callable[[bytes], Awaitable[Any]]] = {}

    def to(self, function: Callable[[bytes], Awaitable[Any]]) -> Any:
        """A callback to a function, which gets a message's bytes and returns a message."""
        token = secrets.token_hex(8)
        self._functions[token] = function
        return callback_pb2.Callback(target=self._target, token=token)

    async def Invoke(self, request: Any, _context: Any) -> Any:  # noqa: N802  the protocol's name
        """Call one."""
        message = await self._functions[request.token](request.request)
        return callback_pb2.CallbackInvokeResponse(response=message.SerializeToString())
