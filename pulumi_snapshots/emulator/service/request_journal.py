"""The journal: what arrived at the emulator and how it was answered; never a key, never a signed URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["JournalEntry", "KeySeen"]

KeySeen = Literal["right", "wrong", "none"]


@dataclass
class JournalEntry:
    """One request. It is entered on arrival, so `status` is None while the request is held open or was dropped."""

    number: int
    at: datetime  # by the service's clock
    monotonic: float  # by the machine's clock, seconds
    method: str
    path: str  # without its query
    kind: str  # "create", "list", "list account", "restore", "database", "status", "me", "download", …
    database_id: str | None  # or an application's
    key: KeySeen
    status: int | None = None
    code: str | None = None
    fault: str | None = None  # the fault's name
    accepted: bool = False  # a POST that started a snapshot or a restore
    version_id: str | None = None  # what that POST started, or what was downloaded
    answered_at: datetime | None = None  # by the service's clock; dropped: when the connection closed
