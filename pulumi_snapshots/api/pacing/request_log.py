"""The log of recent requests, of this process and of the others with the same API key.

The log knows no limits: the rate limiter decides what the times mean.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.shared_file import SharedFile

KEPT = 200.0
"""Seconds that a request is kept: longer than the longest limit, the 180 s of a database."""
LISTED_KEPT = 30 * 60.0
"""Seconds that the request of a database's listing is kept: as long as the service may serve the page that it brought."""
LONGEST_BLOCK = 86400.0
"""Seconds: no setting lets a block last longer, so a later end in the file is nonsense."""
LATEST = 1e12
"""Seconds since 1970. A later time in the file is nonsense, and could overflow."""


def _is_time(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and -LATEST < value < LATEST


OLD_LANES = {"account look": "account listing"}
"""How version 0.1.0 called a lane whose name has changed."""


@dataclass(frozen=True)
class Sent:
    """A request that is about to be sent.

    Attributes:
        lane: its kind.
        database_id: its database, if it has one.
        at: when it is sent; the limits count from then.
        counts: whether it is a new request; otherwise it was recorded, and is sent later than it was to be.
        lists: whether it requests the listing of its database.
    """

    lane: str
    database_id: str | None
    at: float
    counts: bool = True
    lists: bool = False


@dataclass
class _ProcessLog:
    """The requests of one process; times are monotonic seconds of this process.

    Attributes:
        requests: when each request was sent, oldest first.
        last: when the last request was sent, by lane, and by lane and database.
    """

    requests: list[float] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)

    def prune(self, now: float) -> None:
        self.requests = [at for at in self.requests if at >= now - KEPT]
        self.last = {key: at for key, at in self.last.items() if at >= now - KEPT}

    def note(self, lane: str, database_id: str | None, at: float) -> None:
        key = _key(lane, database_id)
        self.last[key] = max(at, self.last.get(key, -math.inf))

    def add(self, sent: Sent) -> None:
        if sent.counts:
            self.prune(sent.at)
            self.requests.append(sent.at)
        self.note(sent.lane, None, sent.at)
        self.note(sent.lane, sent.database_id, sent.at)

    def with_(self, sent: Sent) -> _ProcessLog:
        log = replace(self, requests=list(self.requests), last=dict(self.last))
        log.add(sent)
        return log

    def to_file(self, shift: float) -> dict[str, Any]:
        last = {key: at + shift for key, at in self.last.items()}
        return {"requests": [at + shift for at in self.requests], "last": last}

    @classmethod
    def from_file(cls, content: Any, shift: float, now: float) -> _ProcessLog:
        """The log of another process; a time in the future becomes `now`, whatever that process's clock said."""
        parts = content if isinstance(content, dict) else {}
        requests = parts.get("requests")
        # Version 0.1.0 wrote two maps, `account` and `database`, with the same keys.
        maps = [each for each in map(parts.get, ("account", "database", "last")) if isinstance(each, dict)]
        last = {OLD_LANES.get(str(key), str(key)): at for each in maps for key, at in each.items()}
        return cls(
            sorted(min(at - shift, now) for at in requests if _is_time(at)) if isinstance(requests, list) else [],
            {key: min(at - shift, now) for key, at in last.items() if _is_time(at)},
        )


def _key(lane: str, database_id: str | None) -> str:
    return lane if database_id is None else f"{lane} {database_id}"


class RequestLog:
    """The requests of the last minutes.

    Times are monotonic seconds. A lane is the name of a kind of request, see `rate_limiter.Lane`.

    Args:
        clock: the time.
        file: shared with the other processes; without one the log holds this process's requests only.
        name: the name of this process in the file; the process id if not given.
        shares_blocks: whether the processes know of each other's blocks.

    Attributes:
        blocked_until: when the account's block ends, as far as any process knows.
        listed: when any process last requested the listing of a database, by database.
    """

    def __init__(
        self, clock: Clock, file: SharedFile | None = None, *, name: str | None = None, shares_blocks: bool = True
    ) -> None:
        self._clock = clock
        self._file = file
        self._exchanging = anyio.Lock(fast_acquire=True)
        self._own = _ProcessLog()
        self._name = name or str(os.getpid())
        self._others: dict[str, _ProcessLog] = {}
        self.blocked_until = -math.inf
        self.listed: dict[str, float] = {}
        self._lanes_blocked_until: dict[str, float] = {}
        self._block_noted_at = self._blocks_forgotten_at = -math.inf
        self._shares_blocks = shares_blocks
        self._ahead = 0.0
        self._told: tuple[Any, ...] | None = None

    @property
    def trouble(self) -> str:
        """Why the other processes may not see this log; empty if they do."""
        return "" if self._file is None else self._file.trouble

    async def exchange(self, decide: Callable[[], Sent | None] = lambda: None) -> Sent | None:
        """Read the requests of the other processes, decide, and write our own.

        Args:
            decide: decides which request is sent now, if any, and changes nothing: it is called again if another process
                was faster.

        Returns:
            The last decision. The other processes know of it, and it is in this log.
        """
        async with self._exchanging:  # the next decision needs the result of this one
            sent = decide() if self._file is None else await self._exchange(self._file, decide)
            if sent is not None:
                self._own.add(sent)
                if sent.lists and sent.database_id is not None:
                    self.listed[sent.database_id] = sent.at
            return sent

    async def _exchange(self, file: SharedFile, decide: Callable[[], Sent | None]) -> Sent | None:
        def edit(content: dict[str, Any]) -> Sent | None:
            now = self._clock.monotonic()
            shift = file.now() - now
            written = content.get("written")
            # The times in the file are by the clock that is furthest ahead of those of all processes that have written it.
            # If that is not ours, this is by how much it is ahead at least. A process whose clock is behind writes times of
            # that clock too, or the others would take them for old ones.
            if _is_time(written):
                self._ahead = max(self._ahead, written - shift - now)
            self._read(content, shift + self._ahead, now)
            sent = decide()
            # A write that tells nothing new would only let the others decide again. Another file may be in use after trouble.
            if sent is not None or self._news() != self._told or not self._is_in(content) or file.trouble:
                self._write(content, shift + self._ahead, now, sent)
            return sent

        news = self._news()
        sent = await file.change(edit)
        self._told = news if sent is None else None
        return sent

    def _is_in(self, content: Mapping[str, Any]) -> bool:
        processes = content.get("processes")
        return isinstance(processes, dict) and self._name in processes

    def _news(self) -> tuple[Any, ...]:
        """What this process has to tell the others."""
        blocks = self._block_noted_at, self._blocks_forgotten_at
        return (len(self._own.requests), dict(self._own.last), *blocks)

    def delay(self, lane: str, database_id: str | None, at: float) -> None:
        """Let the limits of the account and of a database count from `at`, if that is later."""
        self._own.add(Sent(lane, database_id, at, counts=False))

    def note(self, lane: str, database_id: str | None, at: float) -> None:
        """Let the limit of a database, or of the account, count from `at`, if that is later."""
        self._own.note(lane, database_id, at)

    def forget(self, lane: str, database_id: str, at: float, *, earlier: float) -> None:
        """Let the limit of a database count from an earlier request again, if it counts from the one at `at`."""
        if self.own(lane, database_id) == at:
            self._own.last[_key(lane, database_id)] = earlier

    def block(self, until: float, lane: str | None = None) -> None:
        """Note that the service refuses all requests until then, or those of one lane."""
        self._block_noted_at = self._clock.monotonic()
        self._block(until, lane)

    def forget_blocks(self) -> float:
        """Forget every block that any process has noted so far, and return when the last of them was to end."""
        last = max(self.blocked_until, *self._lanes_blocked_until.values(), -math.inf)
        self._blocks_forgotten_at = self._clock.monotonic()
        self.blocked_until = -math.inf
        self._lanes_blocked_until.clear()
        return last

    def _block(self, until: float, lane: str | None) -> None:
        if lane is None:
            self.blocked_until = max(until, self.blocked_until)
        else:
            self._lanes_blocked_until[lane] = max(until, self.lane_blocked_until(lane))

    def lane_blocked_until(self, lane: str) -> float:
        """When the block of one lane ends, as far as any process knows; minus infinity if there was none."""
        return self._lanes_blocked_until.get(lane, -math.inf)

    def own(self, lane: str, database_id: str | None = None) -> float:
        """When this process sent the last request, of the account or for a database; minus infinity for never."""
        return self._own.last.get(_key(lane, database_id), -math.inf)

    def last(self, lane: str, database_id: str | None = None) -> float:
        """When any process sent the last request, of the account or for a database; minus infinity for never."""
        key = _key(lane, database_id)
        return max(log.last.get(key, -math.inf) for log in self._all())

    def was_own(self, lane: str) -> bool:
        """Whether this process sent the last request in a lane, and other processes sent requests lately."""
        return bool(self._others) and -math.inf < self.own(lane) >= self.last(lane)

    def since(self, begin: float) -> list[float]:
        """When each request after `begin` was sent, by any process, oldest first."""
        return sorted(at for log in self._all() for at in log.requests if at > begin)

    def _all(self) -> tuple[_ProcessLog, ...]:
        return (self._own, *self._others.values())

    def _read(self, content: Mapping[str, Any], shift: float, now: float) -> None:
        processes = content.get("processes")
        known = processes.items() if isinstance(processes, dict) else ()
        self._others = {name: _ProcessLog.from_file(log, shift, now) for name, log in known if name != self._name}
        listed = content.get("listed")
        for database_id, at in listed.items() if isinstance(listed, dict) else ():
            if _is_time(at):
                self.listed[database_id] = max(min(at - shift, now), self.listed.get(database_id, -math.inf))
        if self._shares_blocks:
            self._read_blocks(content, shift, now)

    def _read_blocks(self, content: Mapping[str, Any], shift: float, now: float) -> None:
        forgotten = content.get("blocks_forgotten")
        if _is_time(forgotten) and self._blocks_forgotten_at < (at := min(forgotten - shift, now)):
            if self._block_noted_at <= at:
                self.forget_blocks()
            self._blocks_forgotten_at = at
        blocked = content.get("blocked_until")
        if _is_time(blocked) and blocked - shift <= now + LONGEST_BLOCK:
            self._block(blocked - shift, None)
        lanes = content.get("lanes_blocked_until")
        for lane, until in lanes.items() if isinstance(lanes, dict) else ():
            if _is_time(until) and until - shift <= now + LONGEST_BLOCK:
                self._block(until - shift, lane)

    def _write(self, content: dict[str, Any], shift: float, now: float, sent: Sent | None) -> None:
        logs = {**self._others, self._name: self._own.with_(sent) if sent else self._own}
        for log in logs.values():
            log.prune(now)
        content["processes"] = {
            name: log.to_file(shift)
            for name, log in logs.items()
            if log.requests or name == self._name  # other processes must know of this one before its first request
        }
        self.listed = {database_id: at for database_id, at in self.listed.items() if at > now - LISTED_KEPT}
        listed = self.listed | ({sent.database_id: sent.at} if sent and sent.lists and sent.database_id else {})
        content["listed"] = {database_id: at + shift for database_id, at in listed.items()}
        content["written"] = now + shift
        if self._shares_blocks:
            self._write_blocks(content, shift, now)

    def _write_blocks(self, content: dict[str, Any], shift: float, now: float) -> None:
        content["blocked_until"] = self.blocked_until + shift if self.blocked_until > now else None
        lanes = {lane: until + shift for lane, until in self._lanes_blocked_until.items() if until > now}
        content["lanes_blocked_until"] = lanes
        # A process that sleeps through a block still has it in its memory, and would write it again.
        known = self._blocks_forgotten_at > now - LONGEST_BLOCK
        content["blocks_forgotten"] = self._blocks_forgotten_at + shift if known else None
