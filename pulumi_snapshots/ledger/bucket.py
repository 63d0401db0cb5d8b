"""A ledger's document in a bucket: each write names what it replaces, so none is lost."""

from __future__ import annotations

import os
import random
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import LedgerUnavailable, Next, Step
from pulumi_snapshots.ledger.place import (
    GONE,
    Document,
    Place,
    destination_of,
    environment_of,
    packed,
)
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from pulumi_snapshots.storage.buckets import Buckets, BucketStore
from pulumi_snapshots.storage.store import Held, Overtaken, StoreTrouble

T = TypeVar("T")

CHECK = "check"  # the object that shows whether the store refuses a stale write
PATIENCE = 120.0  # seconds within which a read or an edit ends, whatever happens
TRIES, PAUSE = 3, 1.0
"""Tries of an edit whose write failed, and the seconds between two. A read that failed proves that nothing was written."""
LONGEST_PAUSE = 10.0  # seconds between two tries while other machines are faster, at most
CLIENT: dict[str, Any] = {  # the document is some kB, and requests wait for it
    "allow_http": True,  # for an endpoint that says so; the stores' own addresses have https
    "connect_timeout": timedelta(seconds=5),
    "timeout": timedelta(seconds=10),
}
RETRIES: dict[str, Any] = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {
        "init_backoff": timedelta(seconds=0.25),
        "max_backoff": timedelta(seconds=2),
        "base": 2,
    },
}
CHECKSUM = {
    "AWS_CHECKSUM_ALGORITHM": "SHA256"
}  # without a checksum S3 takes nothing into a bucket with object lock


class Bucket(Place):
    """A `Place` in a bucket."""

    is_shared = True

    def __init__(  # noqa: PLR0913  tests replace two of them
        self,
        where: str,  # the URI of bucket and prefix
        at: Callable[[str], BucketStore],  # gets the object of a name below it
        name: str,  # the document's
        clock: Clock,
        *,
        # Runs a blocking call, and leaves it alone if it is cancelled.
        in_thread: Callable[..., Awaitable[Any]] | None = None,
        chance: random.Random | None = None,  # decides the pauses while others are faster
    ) -> None:
        self.where, self._object = f"{where}/{name}.ledger.json", at(f"{name}.ledger.json")
        self._below, self._at, self._clock = where, at, clock
        self._in_thread = in_thread or partial(anyio.to_thread.run_sync, abandon_on_cancel=True)
        self._chance = chance or random.Random()  # noqa: S311  jitter, no secret
        self._is_checked = self._was_there = self._may_be_written = False

    def beside(self, name: str) -> Bucket:
        """Another document in the same bucket, as a new process reaches it."""
        return Bucket(
            self._below, self._at, name, self._clock, in_thread=self._in_thread, chance=self._chance
        )

    async def read(self) -> Document:
        """Read the document."""
        async with self._in_time():
            return (await self._loaded())[1]

    async def edit(self, change: Callable[[Document], T]) -> T:
        """Change the document, again if another machine was faster; what is begun ends, also if the caller is cancelled."""
        failures = faster = 0
        self._may_be_written = False
        async with self._in_time(shield=True):
            while True:
                began, pause = self._clock.monotonic(), PAUSE
                try:
                    return await self._edit(change)
                except Overtaken:  # perhaps by its own write, whose answer was lost
                    longest = (self._clock.monotonic() - began) * 2.0 ** min(faster, 10)
                    pause = self._chance.uniform(0.0, min(longest, LONGEST_PAUSE))
                    faster += 1
                except LedgerUnavailable:
                    failures += 1
                    if failures == TRIES or not self._may_be_written:
                        raise
                await self._clock.sleep(pause)

    @asynccontextmanager
    async def _in_time(self, *, shield: bool = False) -> AsyncIterator[None]:
        try:
            with anyio.fail_after(PATIENCE, shield=shield):
                yield
        except TimeoutError:
            why = f"it has not answered within {PATIENCE:.0f} s, or other machines write it all the time"
            raise self.unavailable(why) from None

    async def _edit(self, change: Callable[[Document], T]) -> T:
        if not self._is_checked:
            await self._check()
        held, document = await self._loaded()
        before = packed(document)
        result = change(document)
        if (content := packed(document)) != before:
            self._may_be_written = True
            await self._call(self._object.replace, content, held.mark if held else None)
            self._was_there = True
        return result

    async def _check(self) -> None:
        """Make sure that the store refuses a stale write."""
        check = self._at(CHECK)
        # With contents that differ: some stores make an object's mark from its content.
        stale = await self._call(check.overwrite, secrets.token_bytes())
        await self._call(check.overwrite, secrets.token_bytes())
        with suppress(Overtaken):
            await self._call(check.replace, secrets.token_bytes(), stale)
            why = "the store writes an object although another one has written it meanwhile"
            raise self.unavailable(why, Next(Step.USE_OTHER_STORE))
        self._is_checked = True

    async def _loaded(self) -> tuple[Held | None, Document]:
        held: Held | None = await self._call(self._object.load)
        if held is None and self._was_there:
            raise self.unavailable(*GONE)
        self._was_there |= held is not None
        return held, self.parsed(held.content) if held else {}

    async def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call the store."""
        try:
            return await self._in_thread(method, *arguments)
        except StoreTrouble as error:
            # the error has the place already
            why = re.sub(r"^(\w+://[^:]*: )+", "", str(error.happened))
            listing = (Next(Step.ALLOW_LISTING),) * (error.forbidden and not arguments)
            # Its page, and that of its cause, is about archives.
            raise self.unavailable(why, *error.then, *listing) from None


def place_of(setting: str | None, state_directory: Path, service: str, clock: Clock) -> Place:
    """Choose the place of a service's ledger: a checked URI or path, or else this machine's own. Nothing is read or written yet."""
    if setting is None:
        return SqliteFile(state_directory / f"{service}.ledger")
    shared = destination_of(setting)
    if shared.scheme != "file":
        buckets = Buckets(CLIENT, RETRIES, {**CHECKSUM, **os.environ, **environment_of(setting)})
        return Bucket(
            shared.uri, lambda name: BucketStore(buckets, shared.holding(name)), service, clock
        )
    return SqliteFile(shared.file / f"{service}.ledger", is_shared=True)
