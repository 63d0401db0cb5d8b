"""Which requests may control the emulator: those of programs on this machine, and of its own dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.requests import Request


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback. The rest of 127.0.0.0/8 is routed elsewhere by some systems."""
    return host in {"localhost", "127.0.0.1", "::1"}


def is_local(request: Request) -> bool:
    """Whether a request comes from a program on this machine, or from the emulator's own dashboard.

    The control API runs SQL and revokes keys. So no other machine may use it, whatever address the API listens on, and
    neither may any other page in a browser on this machine. A browser sends an Origin with every POST. The dashboard's
    Origin equals the host of the request. That host must also be a loopback name, since a foreign page can have its own
    name resolve to this machine.
    """
    if request.client is None or not is_loopback(request.client.host):
        return False
    origin = request.headers.get("origin")
    return origin is None or (
        origin == f"http://{request.headers.get('host')}"
        and is_loopback(urlsplit(origin).hostname or "")
    )
