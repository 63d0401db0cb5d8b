"""The engine that the plugin serves: whether it still runs, and the messages to it."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from pulumi_snapshots.engine.errors import readable
from pulumi_snapshots.engine.presence import CHANNEL_OPTIONS, LOG_DEADLINE, listens
from pulumi_snapshots.engine.wording import PLUGIN
from pulumi_snapshots.errors.text import Words
from pulumi_snapshots.errors.wording import Wording


class Engine:
    """Sends messages to the engine, in order, without waiting; in the event loop only.

    Args:
        address: the engine's; None if it is not known yet.
    """

    def __init__(self, address: str | None = None) -> None:
        self._parent = os.getppid()
        self._is_quiet = False
        self._address = address
        self._waiting: asyncio.Queue[engine_pb2.LogRequest] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None

    def is_at(self, address: str) -> None:
        """Take the address from a handshake, unless one is known."""
        self._address = self._address or address

    def be_quiet(self) -> None:
        """Send warnings only from now on: `pulumi do` prints everything else into its answer, which programs read."""
        self._is_quiet = True

    def is_alive(self) -> bool:
        """Whether it still runs: it listens, and this process is its child until it ends. Blocks while the engine is stopped."""
        return os.getppid() == self._parent and (self._address is None or listens(self._address))

    def say(self, text: str, urn: str = "", *, warning: bool = False, ephemeral: bool = False) -> None:
        """Queue one message."""
        if self._address is None or (self._is_quiet and not warning):
            return
        severity = engine_pb2.WARNING if warning else engine_pb2.INFO
        text = readable(text)
        self._waiting.put_nowait(engine_pb2.LogRequest(severity=severity, message=text, urn=urn, ephemeral=ephemeral))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send(self._address))

    async def flush(self) -> None:
        """Wait, for a bounded time, until the engine has all messages, so that none arrives after a call's end."""
        if self._sender is None:  # as in most calls: nothing was said yet
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), LOG_DEADLINE)

    async def _send(self, address: str) -> None:
        async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            stub = engine_pb2_grpc.EngineStub(channel)
            while True:
                message = await self._waiting.get()
                with suppress(grpc.aio.AioRpcError):  # an engine that is gone needs no message
                    await stub.Log(message, timeout=LOG_DEADLINE)
                self._waiting.task_done()


class Row:
    """A resource's row on the terminal, or the stack's if the URN is empty.

    Attributes:
        wording: words that name the resource.
    """

    def __init__(self, engine: Engine, urn: str) -> None:
        self.wording = self._words(urn)
        self._engine = engine
        self._urn = urn
        self._last = ""

    def _words(self, urn: str) -> Wording:
        return PLUGIN.about(resource=urn)

    def progress(self, text: Words) -> None:
        """Show the text on the row until the next one; the same text again sends nothing."""
        said = self.wording.text(text)
        if said != self._last:
            self._last = said
            self._engine.say(said, self._urn, ephemeral=True)

    def warn(self, text: Words) -> None:
        """Leave a warning under Diagnostics."""
        self._engine.say(self.wording.text(text), self._urn, warning=True)

    def note(self, text: Words) -> None:
        """Leave good news under Diagnostics."""
        self._engine.say(self.wording.text(text), self._urn)
