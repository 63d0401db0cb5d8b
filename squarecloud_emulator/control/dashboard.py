"""The dashboard at `/`: three static files.

They show and change the emulator through the control API.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from squarecloud_emulator.control.local_only import is_local

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from squarecloud_emulator.control.controlled_service import ControlledService

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": ("index.html", "text/html"),
    "/_emulator/page.css": ("page.css", "text/css"),
    "/_emulator/page.js": ("page.js", "text/javascript"),
}
"""By path: the file and its media type."""
_HEADERS = {
    # It loads and requests nothing from elsewhere, and no other page may frame it, to trick a user
    # into clicking.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src "
        "data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def dashboard_app(service: ControlledService) -> ASGIApp:
    """The dashboard as an ASGI app, for this machine only."""

    async def file(request: Request) -> Response:
        if not is_local(request, service.base_url):
            text = "the emulator's page is for this machine"
            return PlainTextResponse(text, HTTPStatus.FORBIDDEN)
        name, kind = FILES[request.url.path]
        return Response((STATIC / name).read_bytes(), media_type=kind, headers=_HEADERS)

    return Router(
        routes=[Route(path, endpoint=file) for path in FILES], redirect_slashes=False
    )
