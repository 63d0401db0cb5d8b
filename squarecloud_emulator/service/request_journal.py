"""The request journal.

What arrived at the emulator and how it was answered, without keys and signed URLs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

KeySeen = Literal["right", "wrong", "none"]
KINDS = (
    "create",
    "list",
    "list account",
    "restore",
    "restore status",
    "create database",
    "database",
    "update database",
    "delete database",
    "start",
    "stop",
    "status",
    "statuses",
    "metrics",
    "certificate",
    "reset",
    "me",
    "service status",
    "download",
    "unknown",
)
"""Kinds of requests: one for each route, and one for what has none."""


@dataclass
class JournalEntry:
    """One request, entered on arrival.

    `status` is None while it is held open, and if it was dropped.
    """

    number: int
    at: datetime  # the service's time
    monotonic: float  # the machine's monotonic seconds
    method: str
    path: str  # without its query
    kind: str  # one of KINDS
    database_id: str | None
    key: KeySeen
    status: int | None = None
    code: str | None = None
    fault: str | None = None  # the fault's name
    accepted: bool = False  # whether it is a POST that started a snapshot or a restore
    # of the snapshot that it started, restored or downloaded
    version_id: str | None = None
    # the service's time; if it was dropped, when the connection closed
    answered_at: datetime | None = None
