"""A ledger's document in memory, for tests: as slow and as unreliable as a test wants."""

import copy
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.ledger.attempt import NOT_ANSWERED, Attempt, Request, Status
from pulumi_snapshots.ledger.decision import Claim
from pulumi_snapshots.ledger.place import Document, Place, packed

T = TypeVar("T")
SENT = Claim(
    Attempt(
        "snapshot",
        None,
        "d",
        "",
        Request(datetime(2026, 1, 1, tzinfo=UTC), NOT_ANSWERED, 0.0, "request"),
        Status.SENT,
    ),
    "new",
)
"""The decision to send a request, for tests of what surrounds it."""


class Memory(Place):
    """A `Place` of this process, as if its machines shared it."""

    def __init__(
        self,
        clock: Clock,
        delay: tuple[float, float] = (0.0, 0.0),
        chance: random.Random | None = None,
        *,
        where: str = "memory",
        is_shared: bool = True,
    ) -> None:
        self.where = where  # names it in texts
        self.is_shared = is_shared  # whether it passes for a place of several machines
        self.data: bytes | None = None
        self.delay = delay  # the least and the most seconds that a call takes
        self.refuses_reads = self.refuses_writes = (
            ""  # why it cannot be read; empty if it can
        )
        # the probability that another writer is faster, so that a change is made again
        self.contended = 0.0
        # called with the document after each write; what it returns is why the answer is lost, if not empty
        self.accident: Callable[[Document], str] | None = None
        self.writes = 0  # how often it was written
        self._clock = clock
        self._chance = chance or random.Random(0)

    async def read(self) -> Document:
        await self._wait()
        document = self._document()
        await self._wait()
        return document

    async def edit(self, change: Callable[[Document], T]) -> T:
        await self._wait()
        while self._chance.random() < self.contended:
            change(self._document())
            await self._wait()
        document = self._document()
        result = change(document)
        lost = ""
        if (data := packed(document)) != (self.data or packed({})):
            self._check(self.refuses_writes)
            self.data = data
            self.writes += 1
            lost = self.accident(self._document()) if self.accident else ""
        with anyio.CancelScope(
            shield=True
        ):  # as everywhere: a caller must know what it has written
            await self._wait()
        self._check(lost)
        return result

    async def _wait(self) -> None:
        """Wait for half of a call, since what it does happens in its middle."""
        if any(self.delay):
            await self._clock.sleep(self._chance.uniform(*self.delay) / 2)

    def _document(self) -> Document:
        self._check(self.refuses_reads)
        return {} if self.data is None else self.parsed(self.data)

    def _check(self, trouble: str) -> None:
        if trouble:
            raise self.unavailable(trouble)


class Mortal(Place):
    """A `Place` that ends with its process."""

    def __init__(self, place: Place) -> None:
        self.where = place.where
        self.is_shared = place.is_shared
        self.killed = False  # whether it has ended
        self._place = place

    async def read(self) -> Document:
        return await self._place.read()

    async def edit(self, change: Callable[[Document], T]) -> T:
        # An edit that was under way at the kill is not made either; it ends, since no cancellation reaches a shielded one.
        return await self._place.edit(
            lambda document: change(
                copy.deepcopy(document) if self.killed else document
            )
        )
