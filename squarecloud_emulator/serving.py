"""Serves an emulator over HTTP with uvicorn. No other file knows uvicorn or asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from squarecloud_emulator.service.refusals import DroppedConnectionError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from squarecloud_emulator.emulator import Emulator

_STOP_SECONDS = (
    2  # how long open requests may take to end; those held open are dropped at once
)


class Server(uvicorn.Server):
    """A server that drops the requests held open when it is stopped, and then returns.

    Args:
        emulator: Its `base_url` must be the address of the socket.
        ready: Called once requests are accepted.
    """

    def __init__(self, emulator: Emulator, ready: Callable[[], None]) -> None:
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
        super().__init__(config)
        self._emulator = emulator
        self._ready = ready

    def serve_at(self, listening: socket.socket) -> None:
        """Serve at a bound socket until SIGINT, SIGTERM or `end`, then save the state.

        Signals reach the main thread only.
        """
        self.run(sockets=[listening])

    def end(self) -> None:
        """Stop, from any thread; returns at once."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that requests are accepted, once they are."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drop the requests held open, and save the state, before the rest ends."""
        self._emulator.stop()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Stop at a signal."""
        # After its shutdown uvicorn raises the signal again, so the process would end by the signal
        # instead of with 0.
        self.end()


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
            # otherwise uvicorn answers 500 when an app does not answer
            cycle.disconnected = True
            self.transport.close()
