"""The ASGI app of an emulator: its dashboard, its control API, and the service's own routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from squarecloud_emulator.control.control_api import PREFIX, control_app
from squarecloud_emulator.control.dashboard import FILES, dashboard_app
from squarecloud_emulator.wire.gateway import Gateway

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from squarecloud_emulator.control.controlled_service import ControlledService


class EmulatorApp:
    """Send each request to the part that answers it.

    Raises, to the server:
        DroppedConnectionError: Close the connection without the rest of an answer.
    """

    def __init__(self, service: ControlledService) -> None:
        self._service = service
        self._dashboard = dashboard_app()
        self._control_api = control_app(service)
        self._gateway = Gateway(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["path"] in FILES:
            await self._dashboard(scope, receive, send)
        elif scope["path"].startswith(PREFIX):
            await self._control_api(scope, receive, send)
            self._service.save_changes()
        else:
            await self._gateway(scope, receive, send)
