"""Serves an emulator over HTTP with uvicorn. No other file knows uvicorn or asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pulumi_snapshots.emulator.service.refusals import DroppedConnectionError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from pulumi_snapshots.emulator.emulator import Emulator

__all__ = ["serve"]

_STOP_SECONDS = 2  # how long open requests may take to end; those held open are dropped at once


def serve(emulator: Emulator, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, then save the state.

    Args:
        emulator: Its `base_url` must be the address of the socket.
        listening: A bound socket.
        ready: Called once requests are accepted.
    """
    config = uvicorn.Config(
        emulator.app,
        http=_DroppingProtocol,
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        date_header=False,  # answers have the service's time
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    _Server(config, emulator, ready).run(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that drops the requests held open when a signal stops it, and then returns."""

    def __init__(self, config: uvicorn.Config, emulator: Emulator, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._emulator = emulator
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._emulator.stop()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        # After its shutdown uvicorn raises the signal again, so the process would end by the signal instead of with 0.
        self.should_exit = True


class _DroppingProtocol(H11Protocol):
    """HTTP whose app may drop the connection, which closes after what was sent so far."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._emulator_app = self.app
        self.app = self._run

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        cycle = self.cycle
        try:
            await self._emulator_app(scope, receive, send)
        except DroppedConnectionError:
            cycle.disconnected = True  # otherwise uvicorn answers 500 when an app does not answer
            self.transport.close()
