"""A bucket in memory, as machines of a test share it: with delays and failures, under a virtual clock."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.shared_state.bucket import Bucket
from pulumi_snapshots.stores.buckets import Held, Mark, Overtaken
from pulumi_snapshots.stores.store import StoreTrouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_snapshots.clock import Clock

__all__ = ["Place"]


@dataclass
class Place:
    """What is stored, and how the store behaves.

    Attributes:
        clock: the store's.
        delay: seconds that each call takes.
        fails: why each call fails; empty if none does.
        refuses: why each write fails; empty if none does.
        slow: seconds that each of the next calls takes.
        failing: why each of the next calls fails.
        lags: by file, seconds that the answer to its next write takes, which is done at once.
        loses: the files whose next writes are done, though their answers are lost.
        ignores_marks: whether it writes an object whatever its mark is.
        writes: how often each object was written, or a write was refused.
        refused: how many writes were refused.
        calls: how many calls there were.
        machines: how many processes have opened it.
    """

    clock: Clock
    where: str = "s3://shared/here"
    delay: float = 0.05
    fails: str = ""
    refuses: str = ""
    slow: list[float] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    lags: dict[str, float] = field(default_factory=dict)
    loses: list[str] = field(default_factory=list)
    ignores_marks: bool = False
    refused: int = 0
    calls: int = 0
    machines: int = 0
    held: dict[str, Held] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)

    def bucket(self, clock: Clock) -> Bucket:
        """The place as a machine with this clock reaches it."""
        self.machines += 1
        return Bucket(self, clock, self._call, random.Random(self.machines))

    async def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        self.calls += 1
        delay = self.slow.pop(0) if self.slow else self.delay
        failing = self.failing.pop(0) if self.failing else ""
        await self.clock.sleep(delay / 2)
        try:
            if failing:
                raise StoreTrouble(f"{self.where}: {failing}")
            return method(*arguments)
        finally:
            await self.clock.sleep(delay / 2 + (self._lag(arguments[0]) if len(arguments) > 1 else 0.0))

    def _lag(self, name: str) -> float:
        return next((self.lags.pop(what) for what in list(self.lags) if f".{what}." in name), 0.0)

    def load(self, name: str) -> Held | None:
        self._check()
        return self.held.get(name)

    def replace(self, name: str, content: bytes, mark: Mark | None) -> Mark:
        self._check(writes=True)
        there = self.held.get(name)
        if not self.ignores_marks and (there.mark if there else None) != mark:
            self.refused += 1
            raise Overtaken(name)
        return self.overwrite(name, content)

    def overwrite(self, name: str, content: bytes) -> Mark:
        self._check(writes=True)
        self.writes[name] = self.writes.get(name, 0) + 1
        mark = Mark(f'"{sum(self.writes.values())}"', None)
        modified = self.clock.utc().replace(microsecond=0)
        self.held[name] = Held(content, mark, modified)
        if lost := next((what for what in self.loses if f".{what}." in name), None):
            self.loses.remove(lost)
            raise StoreTrouble(f"{self.where}/{name}: the answer was lost")
        return mark

    def put(self, name: str, content: bytes) -> None:
        """Let somebody else write an object."""
        self.held[name] = Held(content, Mark(f'"{name}"', None), self.clock.utc() - timedelta(hours=1))

    def written(self, what: str) -> int:
        """How often the file of this kind was written."""
        return sum(count for name, count in self.writes.items() if f".{what}." in name)

    def _check(self, *, writes: bool = False) -> None:
        if self.fails:
            raise StoreTrouble(f"{self.where}: {self.fails}")
        if writes and self.refuses:
            raise StoreTrouble(f"{self.where}: {self.refuses}")
