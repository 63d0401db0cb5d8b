"""What was sent when, by this process and by others of this machine with the same key. Facts only, no limits."""

from __future__ import annotations

import math
import os
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pulumi_snapshots.clock import Clock
    from pulumi_snapshots.locked_file import LockedFile

__all__ = ["RequestLog"]

T = TypeVar("T")

MEMORY = 200.0
"""Seconds that a request is remembered: longer than the longest limit, the 180 s of a database."""


LATEST = 1e12
"""Seconds since 1970 beyond which a time in a file is nonsense that no arithmetic should meet."""


def _is_time(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and -LATEST < value < LATEST


@dataclass
class _Sends:
    """One process's; times are monotonic seconds of this process."""

    requests: deque[float] = field(default_factory=deque)
    account: dict[str, float] = field(default_factory=dict)
    database: dict[str, float] = field(default_factory=dict)

    def prune(self, now: float) -> None:
        while self.requests and self.requests[0] < now - MEMORY:
            self.requests.popleft()
        for last in (self.account, self.database):
            for key in [key for key, at in last.items() if at < now - MEMORY]:
                del last[key]

    def to_file(self, shift: float) -> dict[str, Any]:
        return {
            "requests": [at + shift for at in self.requests],
            "account": {key: at + shift for key, at in self.account.items()},
            "database": {key: at + shift for key, at in self.database.items()},
        }

    @classmethod
    def from_file(cls, content: Any, shift: float, now: float) -> _Sends:
        """From another process; nothing lies in the future, whatever its clock said."""
        parts = content if isinstance(content, dict) else {}

        def times(values: Any) -> Iterable[tuple[Any, float]]:
            pairs = (
                values.items() if isinstance(values, dict) else enumerate(values if isinstance(values, list) else ())
            )
            return ((key, min(at - shift, now)) for key, at in pairs if _is_time(at))

        return cls(
            deque(sorted(at for _, at in times(parts.get("requests")))),
            dict(times(parts.get("account"))),
            dict(times(parts.get("database"))),
        )


class RequestLog:
    """The requests of the last minutes.

    Args:
        clock: the time.
        file: shared with the other processes; None keeps everything to this one.
        name: tells the processes apart; the process id unless given.
    """

    def __init__(self, clock: Clock, file: LockedFile | None = None, *, name: str | None = None) -> None:
        self._clock = clock
        self._file = file
        self._ours = _Sends()
        self._name = name or str(os.getpid())
        self._others: dict[str, _Sends] = {}
        self.blocked_until = -math.inf
        """Monotonic seconds until which the account is blocked, as far as any process knows."""

    async def exchange(self, decide: Callable[[], T]) -> T:
        """Learn what the others sent, decide, and tell them; no other process decides meanwhile.

        Args:
            decide: may record and forget; must not wait.
        """
        if self._file is None:
            return decide()

        def under_lock(content: dict[str, Any]) -> T:
            now = self._clock.monotonic()
            shift = self._clock.utc().timestamp() - now
            written = content.get("written")
            # All times in it are by the clock of who wrote it last: where that was ahead of ours, by how much at least.
            ahead = max(0.0, written - shift - now) if _is_time(written) else 0.0
            self._read(content, shift + ahead, now)
            result = decide()
            self._write(content, shift, now)
            return result

        return await self._file.change(under_lock)

    def record(self, lane: str, database_id: str | None, at: float) -> None:
        """A request leaves now."""
        self._ours.prune(at)
        self._ours.requests.append(at)
        self._ours.account[lane] = at
        if database_id is not None:
            self.note(lane, database_id, at)

    def note(self, lane: str, database_id: str, at: float) -> None:
        """One for this database is known to have left then."""
        key = f"{lane} {database_id}"
        self._ours.database[key] = max(at, self._ours.database.get(key, -math.inf))

    def delay(self, lane: str, at: float) -> None:
        """The account's next one in this lane waits as if one had left then."""
        self._ours.account[lane] = at

    def forget(self, lane: str, database_id: str, earlier: float) -> None:
        """One for this database did not count; the one before it does again."""
        self._ours.database[f"{lane} {database_id}"] = earlier

    def ours_for_database(self, lane: str, database_id: str) -> float:
        """When this process sent the last one for this database; minus infinity for never."""
        return self._ours.database.get(f"{lane} {database_id}", -math.inf)

    def last_for_account(self, lane: str) -> float:
        """When the last one in this lane left; minus infinity for never."""
        return max(sends.account.get(lane, -math.inf) for sends in self._everybody())

    def was_ours(self, lane: str) -> bool:
        """Whether this process sent the last one in this lane, and others were sending lately."""
        ours = self._ours.account.get(lane, -math.inf)
        return bool(self._others) and ours > -math.inf and ours >= self.last_for_account(lane)

    def last_for_database(self, lane: str, database_id: str | None) -> float:
        """When the last one for this database left; minus infinity for never."""
        key = f"{lane} {database_id}"
        return max(sends.database.get(key, -math.inf) for sends in self._everybody())

    def since(self, begin: float) -> list[float]:
        """When the requests after `begin` left, oldest first."""
        return sorted(at for sends in self._everybody() for at in sends.requests if at > begin)

    def _everybody(self) -> tuple[_Sends, ...]:
        return (self._ours, *self._others.values())

    def _read(self, content: Mapping[str, Any], shift: float, now: float) -> None:
        processes = content.get("processes")
        known = processes.items() if isinstance(processes, dict) else ()
        self._others = {name: _Sends.from_file(sends, shift, now) for name, sends in known if name != self._name}
        blocked = content.get("blocked_until")
        if _is_time(blocked):
            self.blocked_until = max(self.blocked_until, blocked - shift)

    def _write(self, content: dict[str, Any], shift: float, now: float) -> None:
        everybody = {**self._others, self._name: self._ours}
        for sends in everybody.values():
            sends.prune(now)
        content["processes"] = {
            name: sends.to_file(shift)
            for name, sends in everybody.items()
            if sends.requests or name == self._name  # who has had no turn yet is to be known, too
        }
        content["written"] = now + shift
        content["blocked_until"] = self.blocked_until + shift if self.blocked_until > now else None
