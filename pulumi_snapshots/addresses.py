"""Which host names and addresses lead to this machine only. Standard library only: programs load it."""

from __future__ import annotations

__all__ = ["is_loopback"]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""The rest of 127.0.0.0/8 is left out: some systems route it elsewhere, and nobody needs it."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address leads to this machine only."""
    return host in LOOPBACK
