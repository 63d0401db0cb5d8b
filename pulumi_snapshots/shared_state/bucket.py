"""State that machines share in a bucket: each write names what it replaces, so none is lost."""

from __future__ import annotations

import json
import math
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import SharedStateUnavailable
from pulumi_snapshots.shared_state.content import packed, parsed
from pulumi_snapshots.shared_state.objects import Objects
from pulumi_snapshots.shared_state.own_clock import OwnClock
from pulumi_snapshots.stores.buckets import Held, Overtaken
from pulumi_snapshots.stores.store import StoreTrouble

T = TypeVar("T")
InThread = Callable[..., Awaitable[Any]]

CLOCK = "clock"
"""The object from which machines learn the store's clock."""
HALF_A_SECOND = 0.5
"""The store says in whole seconds when an object was written: this is the middle of one."""
TRIES = 2
"""Tries of a write whose answer was lost. The first may have succeeded, and an edit may be made twice."""
PAUSE = 1.0
"""Seconds before the next."""
PATIENCE = 180.0
"""Seconds for which other machines may be faster again and again."""
LONGEST_PAUSE = 10.0
"""Seconds between two tries while other machines are faster, at most."""
CONTENDED = 60.0
"""Seconds after another machine was faster for which a write begins with a read: others write all the time."""
THREADS = 8
"""Calls to the store at once; downloads have threads of their own."""


class Bucket(OwnClock):
    """A place in a bucket.

    Args:
        objects: below its prefix.
        clock: this machine's time.
        in_thread: runs a blocking call; in a worker thread unless a test gives another.
        chance: the source of the pauses while other machines are faster.

    Attributes:
        where: names it in texts.
    """

    conditional = True

    def __init__(
        self, objects: Objects, clock: Clock, in_thread: InThread | None = None, chance: random.Random | None = None
    ) -> None:
        super().__init__(clock)
        self.where = objects.where
        self.chance = chance or random.Random()  # noqa: S311  jitter, no secret
        self._objects = objects
        self._in_thread = in_thread or self._threads
        self._limiter: anyio.CapacityLimiter | None = None
        self._opening = anyio.Lock(fast_acquire=True)

    def file(self, name: str) -> BucketFile:
        """One object of it."""
        return BucketFile(self, name)

    async def open(self) -> None:
        """Make sure that it can be written, that it refuses a stale write, and learn its clock; once in a process.

        Raises:
            SharedStateUnavailable: it does not do that.
        """
        async with self._opening:
            if self._ahead is None:
                with anyio.CancelScope(shield=True):
                    self._ahead = await self._probe()

    async def _probe(self) -> float:
        first = await self.call(self._objects.overwrite, CLOCK, _anything())
        asked = self.clock.utc()
        await self.call(self._objects.overwrite, CLOCK, _anything())
        middle = asked + (self.clock.utc() - asked) / 2
        try:
            await self.call(self._objects.replace, CLOCK, _anything(), first)
        except Overtaken:
            pass
        else:
            why = "the store writes an object although another one has written it meanwhile"
            raise SharedStateUnavailable(self.where, why, [Next(Step.USE_OTHER_STORE)])
        seen = await self.load(CLOCK)
        if seen is None:
            raise SharedStateUnavailable(self.where, "what was written is not there")
        return (seen.modified - middle).total_seconds() + HALF_A_SECOND

    async def load(self, name: str) -> Held | None:
        """An object; raises `SharedStateUnavailable` if the store fails."""
        held: Held | None = await self.call(self._objects.load, name)
        return held

    async def replace(self, name: str, content: bytes, held: Held | None) -> Held:
        """Write an object that is still as it was seen; raises `Overtaken` if it is not, or `SharedStateUnavailable`."""
        mark = await self.call(self._objects.replace, name, content, held.mark if held else None)
        return Held(content, mark, self.clock.utc())

    async def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call the store."""
        try:
            return await self._in_thread(method, *arguments)
        except StoreTrouble as error:
            # Its page is about archives, so this error has none of its causes that users read.
            cause = None if isinstance(error.__cause__, Explained) else error.__cause__
            raise SharedStateUnavailable(self.where, self._without_place(str(error.happened)), error.then) from cause

    def _without_place(self, happened: str) -> str:
        """What happened, without the object, prefix or bucket before it."""
        bucket = "/".join(self.where.split("/")[:3])
        while happened.startswith(bucket) and ": " in happened:
            happened = happened.partition(": ")[2]
        return happened

    async def _threads(self, method: Callable[..., Any], *arguments: Any) -> Any:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(THREADS)
        # Only reads are cancelled: what must come to its end is shielded by its caller.
        return await anyio.to_thread.run_sync(method, *arguments, limiter=self._limiter, abandon_on_cancel=True)


@dataclass(eq=False)
class _Edit:
    """An edit that waits to be written, and its end."""

    edit: Callable[[dict[str, Any]], Any]
    result: Any = None
    error: SharedStateUnavailable | None = None
    done: bool = False


class _PutFailed(Exception):
    """A write failed, or only its answer was lost."""

    def __init__(self, error: SharedStateUnavailable) -> None:
        super().__init__(error)
        self.error = error


class BucketFile:
    """A `SharedFile` in a bucket.

    A write that does not replace what it was made from is refused by the store. So the first one is made from what this
    process has seen last, without a read unless others write all the time, and edits that wait for it are written together.

    Args:
        bucket: where it lies.
        name: of the object.
    """

    def __init__(self, bucket: Bucket, name: str) -> None:
        self.trouble = ""
        self.damage = ""
        self._bucket = bucket
        self._name = name
        self._seen: Held | None = None
        self._is_seen = False
        self._contended_until = -math.inf
        self._waiting: list[_Edit] = []
        self._writing = anyio.Lock(fast_acquire=True)

    async def ready(self) -> None:
        """Make sure that the place is usable; raises `SharedStateUnavailable` if it is not."""
        with self._noting():
            await self._bucket.open()

    def now(self) -> float:
        """Seconds since 1970 by the store's clock."""
        return self._bucket.now()

    async def read(self) -> dict[str, Any]:
        """Read the object."""
        with self._noting():
            return self._content(await self._bucket.load(self._name))

    async def change(self, edit: Callable[[dict[str, Any]], T], *, durable: bool = False) -> T:  # noqa: ARG002  always is
        """Change the object, again if another process was faster."""
        mine = _Edit(edit)
        self._waiting.append(mine)
        # What is begun ends: an entry of which its writer does not know would delay later runs.
        with anyio.CancelScope(shield=True):
            async with self._writing:
                if not mine.done:
                    await self._write_all()
        if mine.error is not None:
            raise mine.error
        result: T = mine.result
        return result

    async def _write_all(self) -> None:
        edits, self._waiting = self._waiting, []
        try:
            with self._noting():
                await self._bucket.open()
                await self._write(edits)
        except SharedStateUnavailable as error:
            for each in edits:
                each.error = error
        for each in edits:
            each.done = True

    async def _write(self, edits: list[_Edit]) -> None:
        clock, failures, faster = self._bucket.clock, 0, 0
        began = clock.monotonic()
        while True:
            tried = clock.monotonic()
            try:
                if await self._is_written(edits):
                    return
            except Overtaken:
                now = clock.monotonic()
                if now - began > PATIENCE:
                    raise SharedStateUnavailable(self._bucket.where, "others write it all the time") from None
                faster += 1
                if faster > 1:  # one other writer is let by without a pause; many would only refuse each other
                    await clock.sleep(self._bucket.chance.uniform(0.0, self._longest_pause(now - tried, faster)))
            except _PutFailed as failed:
                failures += 1
                if failures == TRIES:
                    raise failed.error from failed
                await clock.sleep(PAUSE)

    def _longest_pause(self, took: float, faster: int) -> float:
        """Seconds: in it many others may write, if each try takes as long as the last one; twice as many each time."""
        return min(took * 2.0 ** min(faster - 1, 10), LONGEST_PAUSE)

    async def _is_written(self, edits: list[_Edit]) -> bool:
        """Make the edits; returns false if they have to be made again, on what is there now."""
        is_alone = self._bucket.clock.monotonic() >= self._contended_until
        was_seen, self._is_seen = self._is_seen and is_alone, False
        if not was_seen:
            self._seen = await self._bucket.load(self._name)
        content = self._content(self._seen)
        before = json.dumps(content)
        for each in edits:
            each.result = each.edit(content)
        if json.dumps(content) == before:
            return not was_seen  # else the edits may have gone by what is not there any more
        try:
            self._seen = await self._bucket.replace(self._name, packed(content), self._seen)
        except Overtaken:
            self._contended_until = self._bucket.clock.monotonic() + CONTENDED
            raise
        except SharedStateUnavailable as error:
            raise _PutFailed(error) from error
        self._is_seen = True
        return True

    def _content(self, held: Held | None) -> dict[str, Any]:
        return {} if held is None else parsed(f"{self._bucket.where}/{self._name}", held.content)

    def _noting(self) -> _Noting:
        return _Noting(self)


class _Noting:
    """Notes whether a file can be used."""

    def __init__(self, file: BucketFile) -> None:
        self._file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, SharedStateUnavailable):
            self._file.trouble = error.trouble


def _anything() -> bytes:
    """Content that differs from what was there: some stores make an object's mark from its content."""
    return secrets.token_hex(8).encode()
