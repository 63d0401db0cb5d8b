"""The engine that the plugin serves: whether it is there, and what is told to it. Nothing about snapshots."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from pulumi_snapshots.engine.errors import readable
from pulumi_snapshots.engine.presence import CHANNEL_OPTIONS, LOG_DEADLINE, listens
from pulumi_snapshots.engine.wording import PLUGIN

if TYPE_CHECKING:
    from pulumi_snapshots.errors.text import Words

__all__ = ["Engine", "Row"]


class Engine:
    """Sends messages to the engine, in order, while the work goes on; in the event loop only.

    Args:
        address: where it listens; None where nobody has told it.
    """

    def __init__(self, address: str | None = None) -> None:
        self._parent = os.getppid()
        self._address = address
        self._waiting: asyncio.Queue[engine_pb2.LogRequest] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None

    def is_at(self, address: str) -> None:
        """Where it listens, as a handshake tells it."""
        self._address = self._address or address

    @property
    def alive(self) -> bool:
        """Whether it still runs: it listens, and this process is its child until it ends."""
        return os.getppid() == self._parent and (self._address is None or listens(self._address))

    def say(self, text: str, urn: str = "", *, warning: bool = False, ephemeral: bool = False) -> None:
        """Put one message in line."""
        if self._address is None:
            return
        severity = engine_pb2.WARNING if warning else engine_pb2.INFO
        text = readable(text)
        self._waiting.put_nowait(engine_pb2.LogRequest(severity=severity, message=text, urn=urn, ephemeral=ephemeral))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send(self._address))

    async def flush(self) -> None:
        """Wait, for a bounded time, until the engine has what was said, so that it does not arrive after a call's end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), LOG_DEADLINE)

    async def _send(self, address: str) -> None:
        async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            stub = engine_pb2_grpc.EngineStub(channel)
            while True:
                message = await self._waiting.get()
                with suppress(grpc.aio.AioRpcError):  # whoever is not there needs no message
                    await stub.Log(message, timeout=LOG_DEADLINE)
                self._waiting.task_done()


class Row:
    """A resource's row on the terminal.

    Args:
        engine: shows it.
        urn: of the resource; empty for the stack's.

    Attributes:
        last: what was said last of what goes on.
        lost: whether the call was given up by the engine, so that nobody hears its end.
    """

    def __init__(self, engine: Engine, urn: str) -> None:
        self._engine = engine
        self._urn = urn
        self._wording = PLUGIN.about(resource=urn)
        self.last = ""
        self.lost = False

    def progress(self, text: Words) -> None:
        """What goes on now; the same again says nothing."""
        said = self._wording.text(text)
        if said != self.last:
            self.last = said
            self._engine.say(said, self._urn, ephemeral=True)

    def warn(self, text: Words) -> None:
        """Something that the user should know afterwards."""
        self._engine.say(self._wording.text(text), self._urn, warning=True)

    def leave(self) -> None:
        """Let what was said last stay, as the call's result."""
        if self.last:
            self._engine.say(self.last, self._urn)

    def will_keep(self, *, pending: bool) -> bool:  # noqa: ARG002  everything can be kept
        """Whether the end of the operation reaches the state."""
        return not self.lost and self._engine.alive
