"""A ledger's document in a bucket: each write names what it replaces, so none is lost."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import Explained, LedgerUnavailable, Next, Step
from pulumi_snapshots.ledger.place import Document, Place, destination_of, environment_of, packed
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from pulumi_snapshots.storage.buckets import Buckets, BucketStore
from pulumi_snapshots.storage.destination import Destination
from pulumi_snapshots.storage.store import Held, Mark, Overtaken, StoreTrouble

T = TypeVar("T")

CHECK = "check"
"""The object that shows whether the store refuses a stale write."""
WRITES = "writes"
"""The document's own key for the ids of its last writes, by which a writer whose answer was lost finds its own."""
WRITES_KEPT = 50
PATIENCE = 120.0
"""Seconds within which an edit ends, whatever happens."""
TRIES = 3
"""Tries of a write while the store fails."""
PAUSE = 1.0
"""Seconds before the next."""
LONGEST_PAUSE = 10.0
"""Seconds between two tries while other machines are faster, at most."""
CONTENDED = 60.0
"""Seconds after another machine was faster for which a write begins with a read: others write all the time."""
CLIENT: dict[str, Any] = {
    "allow_http": True,  # for an endpoint that says so; the stores' own addresses have https
    "connect_timeout": timedelta(seconds=5),
    "timeout": timedelta(seconds=10),
}
"""The document is some kB, and requests wait for it."""
RETRIES: dict[str, Any] = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(seconds=0.25), "max_backoff": timedelta(seconds=2), "base": 2},
}

CHECKSUM = {"AWS_CHECKSUM_ALGORITHM": "SHA256"}
"""Without a checksum S3 takes nothing into a bucket with object lock."""


class BucketObjects:
    """Objects below a prefix of a bucket. Each method blocks, and raises `StoreTrouble` if the store fails.

    Args:
        place: bucket and prefix.
        environment: variables that are as if they were set so in the process's own environment.
    """

    def __init__(self, place: Destination, environment: Mapping[str, str] | None = None) -> None:
        self.where = place.uri
        self._place = place
        self._buckets = Buckets(CLIENT, RETRIES, {**CHECKSUM, **os.environ, **(environment or {})})

    def load(self, name: str) -> Held | None:
        """Read an object; None if there is none, or no such bucket."""
        return self._object(name).load()

    def replace(self, name: str, content: bytes, mark: Mark | None) -> Mark:
        """Write an object if it still has this mark, or does not exist; raises `Overtaken` if it has another mark."""
        return self._object(name).replace(content, mark)

    def overwrite(self, name: str, content: bytes) -> Mark:
        """Write an object, whatever is there."""
        return self._object(name).overwrite(content)

    def _object(self, name: str) -> BucketStore:
        place = self._place
        return BucketStore(self._buckets, Destination(place.scheme, f"{place.path.removesuffix('/')}/{name}"))


class Bucket(Place):
    """A `Place` in a bucket.

    The store refuses a write that does not replace what it was made from. So the first try is made from what this process has
    written last, without a read unless others write all the time.

    Args:
        objects: below its prefix.
        name: the object of the document.
        clock: the time.
        in_thread: runs a blocking call, and leaves it alone if it is cancelled; in a worker thread unless given.
        chance: the source of the pauses while other machines are faster.
    """

    is_shared = True

    def __init__(
        self,
        objects: BucketObjects,
        name: str,
        clock: Clock,
        in_thread: Callable[..., Awaitable[Any]] | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.where = objects.where
        self._objects = objects
        self._name = name
        self._clock = clock
        self._in_thread = in_thread or partial(anyio.to_thread.run_sync, abandon_on_cancel=True)
        self._chance = chance or random.Random()  # noqa: S311  jitter, no secret
        self._is_checked = False
        self._written: Held | None = None
        self._was_there = False
        self._contended_until = 0.0
        self._turn = anyio.Lock(fast_acquire=True)

    @property
    def file(self) -> str:
        """Names the object itself."""
        return f"{self.where}/{self._name}"

    def beside(self, name: str) -> Bucket:
        """Another document in the same bucket, as a new process reaches it."""
        return Bucket(self._objects, f"{name}.ledger.json", self._clock, self._in_thread, self._chance)

    async def may_list(self) -> bool:
        """Whether an object that does not exist looks like that, and not like a refusal."""
        try:
            await self._in_thread(self._objects.load, "missing")
        except StoreTrouble as error:
            return not error.forbidden
        return True

    async def read(self) -> Document:
        """Read the document."""
        with self._bounded(self._clock.monotonic() + PATIENCE):
            held = await self._call(self._objects.load, self._name)
        return self._document(held)[0]

    async def edit(self, change: Callable[[Document], T]) -> T:
        """Change the document, again if another machine was faster; what is begun ends, also if the caller is cancelled."""
        deadline = self._clock.monotonic() + PATIENCE
        with anyio.CancelScope(shield=True), self._bounded(deadline):
            async with self._turn:
                await self._check()
                result = await self._write(change, deadline)
        return result

    async def _check(self) -> None:
        """Make sure that the store refuses a stale write, once in a process."""
        if self._is_checked:
            return
        stale = await self._call(self._objects.overwrite, CHECK, _anything())
        await self._call(self._objects.overwrite, CHECK, _anything())
        try:
            await self._call(self._objects.replace, CHECK, _anything(), stale)
        except Overtaken:
            self._is_checked = True
        else:
            why = "the store writes an object although another one has written it meanwhile"
            raise self.unavailable(why, [Next(Step.USE_OTHER_STORE)])

    async def _write(self, change: Callable[[Document], T], deadline: float) -> T:
        """Make the change and write it, until that has succeeded."""
        failures = faster = 0
        tries: dict[str, T] = {}
        while True:
            began = self._clock.monotonic()
            try:
                written = await self._tried(change, tries)
            except Overtaken:
                faster += 1
                now = self._clock.monotonic()
                self._contended_until = now + CONTENDED
                # One other writer is let by without a pause; many would only refuse each other. An edit that has waited for
                # long tries again sooner than younger ones, so that all end in time.
                took = now - began
                longest = min(took * 2.0 ** min(faster - 1, 10), LONGEST_PAUSE, (deadline - now) / 8)
                pause = self._chance.uniform(0.0, longest) if faster > 1 else 0.0
                if now + pause + took >= deadline:
                    raise self.unavailable("other machines write it all the time") from None
                await self._clock.sleep(pause)
            except LedgerUnavailable:
                failures += 1
                if failures == TRIES or not tries:  # a read that failed proves that nothing was written
                    raise
                await self._clock.sleep(PAUSE)
            else:
                if written is not None:
                    return written[0]

    async def _tried(self, change: Callable[[Document], T], tries: dict[str, T]) -> tuple[T] | None:
        """Make the change on what is there, and write it.

        Args:
            change: to be made.
            tries: results of earlier tries by the ids of their writes, of which one may be in though its answer was lost; this
                one is added.

        Returns:
            The result; None if it has to be made again, since it may have gone by what is not there any more.
        """
        is_alone = self._clock.monotonic() >= self._contended_until
        held, self._written = (self._written if is_alone else None), None
        is_fresh = held is None
        if is_fresh:
            held = await self._call(self._objects.load, self._name)
        document, writes = self._document(held)
        for lost in tries.keys() & set(writes):
            return (tries[lost],)
        before = packed(document)
        try:
            result = change(document)
        except Exception:
            if is_fresh:
                raise
            return None
        if packed(document) == before:
            return (result,) if is_fresh else None
        write = secrets.token_hex(4)
        tries[write] = result
        content = packed({**document, WRITES: [*writes, write][-WRITES_KEPT:]})
        mark = await self._call(self._objects.replace, self._name, content, held.mark if held else None)
        self._written, self._was_there = Held(content, mark), True
        return (result,)

    def _document(self, held: Held | None) -> tuple[Document, list[str]]:
        """The document, and the ids of its last writes."""
        if held is None and self._was_there:
            raise self.gone()
        self._was_there |= held is not None
        document = {} if held is None else self.parsed(held.content)
        writes = document.pop(WRITES, [])
        return document, [str(each) for each in writes] if isinstance(writes, list) else []

    async def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call the store."""
        try:
            return await self._in_thread(method, *arguments)
        except StoreTrouble as error:
            # Its page is about archives, so this error has none of its causes that users read.
            cause = None if isinstance(error.__cause__, Explained) else error.__cause__
            listing = (Next(Step.ALLOW_LISTING),) * (error.forbidden and method == self._objects.load)
            raise self.unavailable(self._without_place(str(error.happened)), (*error.then, *listing)) from cause

    def _without_place(self, happened: str) -> str:
        """What happened, without the object, prefix or bucket before it."""
        bucket = "/".join(self.where.split("/")[:3])
        while happened.startswith(bucket) and ": " in happened:
            happened = happened.partition(": ")[2]
        return happened

    @contextmanager
    def _bounded(self, deadline: float) -> Iterator[None]:
        """Leave the body at a time by the clock, with an error."""
        with anyio.CancelScope(deadline=deadline) as scope:
            yield
        if scope.cancelled_caught:
            raise self.unavailable(f"it has not answered within {PATIENCE:.0f} s")


def _anything() -> bytes:
    """Content that differs from what was there: some stores make an object's mark from its content."""
    return secrets.token_hex(8).encode()


def place_of(setting: str | None, state_directory: Path, service: str, clock: Clock) -> Place:
    """Choose the place. Nothing is read or written yet.

    Args:
        setting: a checked URI or path that machines share; None for this machine's own place.
        state_directory: the folder for files of this machine.
        service: names the ledger of one service address.
        clock: the time.
    """
    if setting is None:
        return SqliteFile(state_directory / f"{service}.ledger", clock)
    shared = destination_of(setting)
    if shared.scheme != "file":
        return Bucket(BucketObjects(shared, environment_of(setting)), f"{service}.ledger.json", clock)
    return SqliteFile(shared.file / f"{service}.ledger", clock, is_shared=True)
