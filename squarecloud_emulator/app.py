"""The ASGI app of an emulator: its dashboard, its control API, and the service's own routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from squarecloud_emulator.control.control_api import PREFIX, control_app
from squarecloud_emulator.control.dashboard import FILES, dashboard_app
from squarecloud_emulator.wire.gateway import Gateway

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from squarecloud_emulator.control.controlled_service import ControlledService


def emulator_app(service: ControlledService) -> ASGIApp:
    """The app, which raises DroppedConnectionError to the server.

    Close the connection without the rest of an answer.
    """
    dashboard = dashboard_app(service)
    control_api = control_app(service)
    gateway = Gateway(service)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] in FILES:
            await dashboard(scope, receive, send)
        elif scope["path"].startswith(PREFIX):
            await control_api(scope, receive, send)
            service.save_changes()
        else:
            await gateway(scope, receive, send)

    return app
