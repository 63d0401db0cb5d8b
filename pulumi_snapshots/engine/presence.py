"""Whether a Pulumi engine is still there: one that was killed tells nobody."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CHANNEL_OPTIONS", "LOG_DEADLINE", "WATCH_EVERY", "address_in", "listens"]

CHANNEL_OPTIONS = [("grpc.enable_http_proxy", 0)]
"""Without it, gRPC sends even this machine's own address through the HTTP proxy of the environment."""
LOG_DEADLINE = 5.0
"""Seconds. The engine takes a message within a millisecond; one that does not is busy or gone, and neither is a reason to
hold up the work that the message is about."""

WATCH_EVERY = 1.0
"""Seconds between checks whether the engine still runs. Short: no run hears what ends in between."""
ANSWER_DEADLINE = 5.0
"""Seconds; on one machine it takes none."""


def address_in(command: Sequence[str]) -> str | None:
    """The engine's address: the last argument of a provider's command line; None if there is none."""
    last = command[-1] if len(command) > 1 else ""
    return last if re.fullmatch(r"[\w.\-\[\]:]*:\d+|unix:\S+", last) else None


def listens(address: str) -> bool:
    """Whether somebody listens at the engine's address; only a refusal says that nobody does."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return True  # a socket of another kind
    try:
        socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), timeout=ANSWER_DEADLINE).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True
