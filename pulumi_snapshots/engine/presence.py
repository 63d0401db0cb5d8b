"""Whether a Pulumi engine is still there: one that was killed tells nobody."""

from __future__ import annotations

import socket

__all__ = ["listens"]

ANSWER_DEADLINE = 5.0
"""Seconds; on one machine it takes none."""


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
