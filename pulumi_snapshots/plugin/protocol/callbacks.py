"""What the engine calls back in the plugin's process: the hooks and the transforms of its components."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from pulumi.runtime.proto import callback_pb2, callback_pb2_grpc


class Callbacks(callback_pb2_grpc.CallbacksServicer):
    """Functions by the tokens that the engine calls them with.

    Args:
        target: the address at which the engine reaches this process.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._functions: dict[str, Callable[[bytes], Awaitable[Any]]] = {}

    def to(self, function: Callable[[bytes], Awaitable[Any]]) -> Any:
        """A callback to a function, which gets a message's bytes and returns a message."""
        token = secrets.token_hex(8)
        self._functions[token] = function
        return callback_pb2.Callback(target=self._target, token=token)

    async def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802  the protocol's name
        """Call one."""
        function = self._functions.get(request.token)
        if function is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "This plugin has no such callback.")
            raise AssertionError  # `abort` has ended the call
        return callback_pb2.CallbackInvokeResponse(response=(await function(request.request)).SerializeToString())
