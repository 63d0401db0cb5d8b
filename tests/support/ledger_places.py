"""The ledger under a virtual clock: a bucket in memory with delays and failures."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.ledger.bucket import CHECK, Bucket
from pulumi_snapshots.storage.store import Mark, Overtaken, StoredContent, StoreTrouble

NAME = "service.ledger.json"


@dataclass
class Store:
    clock: Clock  # the store's
    where: str = "s3://shared/here"
    delay: float = 0.05  # seconds that each call takes
    fails: str = ""  # why each call fails; empty if none does
    refuses: str = ""  # why each write fails; empty if none does
    # how many of the next writes are done, though their answers are lost
    loses: int = 0
    # is called once after such a write
    after_lost: Callable[[], None] = field(default=lambda: None)
    # how many of the next writes arrive twice, so that the second is refused
    repeats: int = 0
    ignores_marks: bool = False  # whether it writes an object whatever its mark is
    hangs: bool = False  # whether calls never end
    unlisted: bool = False  # whether an object that does not exist looks like a refusal
    writes: int = 0  # how often the document was written
    refused: int = 0  # how many writes of it were refused
    calls: int = 0  # how many calls there were
    held: dict[str, StoredContent] = field(default_factory=dict)
    _marks: int = 0
    _machines: int = 0

    def bucket(self, in_thread: Callable[..., Any] | None = None) -> Bucket:
        self._machines += 1
        chance = random.Random(self._machines)
        return Bucket(
            self.where,
            self.at,
            "service",
            self.clock,
            in_thread=in_thread or self._call,
            chance=chance,
        )

    def at(self, name: str) -> Any:
        return SimpleNamespace(
            **{
                each: partial(getattr(self, each), name)
                for each in ("load", "replace", "overwrite")
            }
        )

    async def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        self.calls += 1
        await self.clock.sleep(1e9 if self.hangs else self.delay / 2)
        try:
            return method(*arguments)
        finally:
            await self.clock.sleep(self.delay / 2)

    def load(self, name: str) -> StoredContent | None:
        self._check()
        if self.unlisted and name not in self.held:
            refused = StoreTrouble(f"{self.where}/{name}: AccessDenied")
            refused.status = 403
            raise refused
        return self.held.get(name)

    def replace(self, name: str, content: bytes, mark: Mark | None) -> Mark:
        self._check(writes=True)
        there = self.held.get(name)
        if not self.ignores_marks and (there.mark if there else None) != mark:
            self.refused += name == NAME
            raise Overtaken(name)
        written = self.overwrite(name, content)
        if name == NAME and self.repeats:
            self.repeats -= 1
            raise Overtaken(name)
        if name == NAME and self.loses:
            self.loses -= 1
            self.after_lost()
            raise StoreTrouble(f"{self.where}/{name}: the answer was lost")
        return written

    def overwrite(self, name: str, content: bytes) -> Mark:
        self._check(writes=True)
        self.writes += name != CHECK
        self._marks += 1
        self.held[name] = StoredContent(content, f'"{self._marks}"')
        return self.held[name].mark

    def _check(self, *, writes: bool = False) -> None:
        if self.fails or (writes and self.refuses):
            raise StoreTrouble(f"{self.where}: {self.fails or self.refuses}")
