"""The log of recent requests, of this process and of the other processes on this machine with the same API key.

The log knows no limits: the rate limiter decides what the times mean.
"""

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

KEPT = 200.0
"""Seconds that a request is kept: longer than the longest limit, the 180 s of a database."""
LATEST = 1e12
"""Seconds since 1970. A later time in the file is nonsense, and could overflow."""


def _is_time(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and -LATEST < value < LATEST


@dataclass
class _ProcessLog:
    """The requests of one process; times are monotonic seconds of this process.

    Attributes:
        requests: when each request was sent.
        account: by lane, when the last request was sent.
        database: by lane and database, when the last request was sent.
    """

    requests: deque[float] = field(default_factory=deque)
    account: dict[str, float] = field(default_factory=dict)
    database: dict[str, float] = field(default_factory=dict)

    def prune(self, now: float) -> None:
        while self.requests and self.requests[0] < now - KEPT:
            self.requests.popleft()
        for last in (self.account, self.database):
            for key in [key for key, at in last.items() if at < now - KEPT]:
                del last[key]

    def to_file(self, shift: float) -> dict[str, Any]:
        return {
            "requests": [at + shift for at in self.requests],
            "account": {key: at + shift for key, at in self.account.items()},
            "database": {key: at + shift for key, at in self.database.items()},
        }

    @classmethod
    def from_file(cls, content: Any, shift: float, now: float) -> _ProcessLog:
        """The log of another process; a time in the future becomes `now`, whatever that process's clock said."""
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

    Times are monotonic seconds. A lane is the name of a kind of request, see `rate_limiter.Lane`.

    Args:
        clock: the time.
        file: shared with the other processes; without one the log holds this process's requests only.
        name: the name of this process in the file; the process id if not given.

    Attributes:
        blocked_until: when the account's block ends, as far as any process knows.
    """

    def __init__(self, clock: Clock, file: LockedFile | None = None, *, name: str | None = None) -> None:
        self._clock = clock
        self._file = file
        self._own = _ProcessLog()
        self._name = name or str(os.getpid())
        self._others: dict[str, _ProcessLog] = {}
        self.blocked_until = -math.inf

    async def exchange(self, decide: Callable[[], T]) -> T:
        """Read the requests of the other processes, decide, and write our own; all under the file's lock.

        Args:
            decide: may change the log; must not wait. Its result is returned.
        """
        if self._file is None:
            return decide()

        def under_lock(content: dict[str, Any]) -> T:
            now = self._clock.monotonic()
            shift = self._clock.utc().timestamp() - now
            written = content.get("written")
            # The times in the file are by the clock of the process that wrote it last. If that clock is ahead of ours,
            # this is by how much at least.
            ahead = max(0.0, written - shift - now) if _is_time(written) else 0.0
            self._read(content, shift + ahead, now)
            result = decide()
            self._write(content, shift, now)
            return result

        return await self._file.change(under_lock)

    def record(self, lane: str, database_id: str | None, at: float) -> None:
        """Record a request that is sent at `at`."""
        self._own.prune(at)
        self._own.requests.append(at)
        self._own.account[lane] = at
        if database_id is not None:
            self.note(lane, database_id, at)

    def note(self, lane: str, database_id: str, at: float) -> None:
        """Let the limit of a database count from `at`, unless it counts from a later request already."""
        key = f"{lane} {database_id}"
        self._own.database[key] = max(at, self._own.database.get(key, -math.inf))

    def delay(self, lane: str, at: float) -> None:
        """Let the account's limit in a lane count from `at`."""
        self._own.account[lane] = at

    def forget(self, lane: str, database_id: str, earlier: float) -> None:
        """Let the limit of a database count from an earlier request again, since the last one did not count."""
        self._own.database[f"{lane} {database_id}"] = earlier

    def own_for_database(self, lane: str, database_id: str) -> float:
        """When this process sent its last request for a database; minus infinity for never."""
        return self._own.database.get(f"{lane} {database_id}", -math.inf)

    def last_for_account(self, lane: str) -> float:
        """When any process sent the last request in a lane; minus infinity for never."""
        return max(log.account.get(lane, -math.inf) for log in self._all())

    def was_own(self, lane: str) -> bool:
        """Whether this process sent the last request in a lane, and other processes sent requests lately."""
        own = self._own.account.get(lane, -math.inf)
        return bool(self._others) and own > -math.inf and own >= self.last_for_account(lane)

    def last_for_database(self, lane: str, database_id: str | None) -> float:
        """When any process sent the last request for a database; minus infinity for never."""
        key = f"{lane} {database_id}"
        return max(log.database.get(key, -math.inf) for log in self._all())

    def since(self, begin: float) -> list[float]:
        """When each request after `begin` was sent, by any process, oldest first."""
        return sorted(at for log in self._all() for at in log.requests if at > begin)

    def _all(self) -> tuple[_ProcessLog, ...]:
        return (self._own, *self._others.values())

    def _read(self, content: Mapping[str, Any], shift: float, now: float) -> None:
        processes = content.get("processes")
        known = processes.items() if isinstance(processes, dict) else ()
        self._others = {name: _ProcessLog.from_file(log, shift, now) for name, log in known if name != self._name}
        blocked = content.get("blocked_until")
        if _is_time(blocked):
            self.blocked_until = max(self.blocked_until, blocked - shift)

    def _write(self, content: dict[str, Any], shift: float, now: float) -> None:
        logs = {**self._others, self._name: self._own}
        for log in logs.values():
            log.prune(now)
        content["processes"] = {
            name: log.to_file(shift)
            for name, log in logs.items()
            if log.requests or name == self._name  # other processes must know of this one before its first request
        }
        content["written"] = now + shift
        content["blocked_until"] = self.blocked_until + shift if self.blocked_until > now else None
