"""Whether a Pulumi engine is still there: a killed engine sends no message."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


CHANNEL_OPTIONS = [("grpc.enable_http_proxy", 0)]
"""Without it, gRPC sends even this machine's own address through the HTTP proxy of the environment."""
LOG_DEADLINE = 5.0
"""Seconds. The engine takes a message within a millisecond; a busy or missing engine must not hold up the work."""
WATCH_EVERY = 1.0
"""Seconds between checks whether the engine still runs; short, since no run hears what ends in between."""
ANSWER_DEADLINE = 5.0
"""Seconds."""


def address_in(command: Sequence[str]) -> str | None:
    """The engine's address: the last argument of a provider's command line; None if there is none."""
    last = command[-1] if len(command) > 1 else ""
    return last if re.fullmatch(r"[\w.\-\[\]:]*:\d+|unix:\S+", last) else None


def run_in(command: Sequence[str]) -> str:
    """Name the engine's run, alike in all processes that it has started; empty without an engine."""
    address = address_in(command)
    return f"{socket.gethostname()} {address}" if address else ""


def listens(address: str) -> bool:
    """Whether the engine's address is in use; only a refused connection says that it is not."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return True  # a socket of another kind
    try:
        socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), timeout=ANSWER_DEADLINE).close()
    except OSError as error:
        return not isinstance(error, ConnectionRefusedError)
    return True
