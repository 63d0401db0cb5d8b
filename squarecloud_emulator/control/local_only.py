"""Which requests may control the emulator.

Those of programs on this machine, and of its own dashboard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.requests import Request


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback.

    The rest of 127.0.0.0/8 is routed elsewhere by some systems.
    """
    return host in {"localhost", "127.0.0.1", "::1"}


def is_local(request: Request, own_url: str) -> bool:
    """Tell whether a request comes from a program on this machine, or from the dashboard.

    The control API runs SQL and revokes keys. So no other machine may use it, whatever address the
    API listens on, and neither may any other page in a browser on this machine. A foreign page can
    have its own name resolve to this machine: so the host that is asked for must be a loopback
    name, or the emulator's own. A browser sends an Origin with every POST, and the dashboard's
    equals that host.

    Args:
        request: The request.
        own_url: The emulator's own address, as its answers have it.
    """
    if request.client is None or not is_loopback(request.client.host):
        return False
    host = request.headers.get("host", "")
    if not (is_loopback(_name_in(f"http://{host}")) or f"http://{host}" == own_url):
        return False
    origin = request.headers.get("origin")
    return origin is None or origin == f"http://{host}"


def _name_in(url: str) -> str:
    """The host's name in a URL; empty if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
