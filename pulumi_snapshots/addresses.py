"""Loopback addresses. Standard library only, since programs load it."""

from __future__ import annotations

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""The rest of 127.0.0.0/8 is left out, since some systems route it elsewhere."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback."""
    return host in LOOPBACK
