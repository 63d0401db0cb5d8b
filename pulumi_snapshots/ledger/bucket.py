"""A ledger's document in a bucket: each write names what it replaces, so none is lost."""

from __future__ import annotations

import os
import random
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import Hint, HintKind, LedgerUnavailable
from pulumi_snapshots.ledger.moving import Successor
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
from pulumi_snapshots.storage.store import Overtaken, StoredContent, StoreTrouble

T = TypeVar("T")

CHECK = "check"  # the object that shows whether the store refuses a stale write
BUCKET_PATIENCE = 120.0  # seconds within which a read or an edit ends, whatever happens
TRIES = 3
"""Tries of an edit whose write failed. A read that failed proves that nothing was written."""
PAUSE = 1.0  # seconds between two such tries
LONGEST_PAUSE = (
    10.0  # seconds between two tries while other machines are faster, at most
)
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
CHECKSUM = {"AWS_CHECKSUM_ALGORITHM": "SHA256"}
"""Without a checksum S3 takes nothing into a bucket with object lock."""


class Bucket(Place):
    """A `Place` in a bucket.

    Args:
        where: The URI of bucket and prefix.
        at: Gets the object of a name below that prefix.
        name: The document's name.
        clock: Times the pauses.
        in_thread: Runs a blocking call in a thread, which is not waited for after a cancellation.
        chance: Decides the pauses while other machines are faster.
    """

    is_shared = True

    def __init__(  # noqa: PLR0913  tests replace two of them
        self,
        where: str,
        at: Callable[[str], BucketStore],
        name: str,
        clock: Clock,
        *,
        in_thread: Callable[..., Awaitable[Any]] | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.where = f"{where}/{name}.ledger.json"
        self._object = at(f"{name}.ledger.json")
        self._below = where
        self._at = at
        self._clock = clock
        self._in_thread = in_thread or partial(
            anyio.to_thread.run_sync, abandon_on_cancel=True
        )
        self._chance = chance or random.Random()  # noqa: S311  jitter, no secret
        self._is_checked = False
        self._was_there = False

    def beside(self, name: str) -> Bucket:
        """Return another document in the same bucket, as a new process reaches it.

        Args:
            name: The document's name, without `.ledger.json`.

        Returns:
            The document's place; nothing is read yet.
        """
        return Bucket(
            self._below,
            self._at,
            name,
            self._clock,
            in_thread=self._in_thread,
            chance=self._chance,
        )

    async def read(self) -> Document:
        """Read the document."""
        with self._in_time():
            return (await self._loaded())[1]

    async def edit(self, change: Callable[[Document], T]) -> T:
        """Change the document, again if another machine was faster.

        An interrupt ends the edit at once while nothing can have been written. From its write on
        the edit continues until the result of the write is known. It ends within `BUCKET_PATIENCE`.

        Args:
            change: See `Place.edit`.

        Returns:
            The result of the last call of `change`.

        Raises:
            LedgerUnavailable: The bucket cannot be reached, `TRIES` writes have failed, or the
                store does not refuse a stale write.
        """
        failures = 0
        faster = 0
        is_lost = False  # whether a write may arrive whose answer was lost
        with self._in_time() as scope:
            while True:
                began = self._clock.monotonic()
                try:
                    return await self._edit(change, scope, is_lost=is_lost)
                except Overtaken:  # perhaps by its own write, whose answer was lost
                    longest = (self._clock.monotonic() - began) * 2.0 ** min(faster, 10)
                    pause = self._chance.uniform(0.0, min(longest, LONGEST_PAUSE))
                    faster += 1
                except LedgerUnavailable:
                    failures += 1
                    if failures == TRIES or not scope.shield:
                        raise
                    pause = PAUSE
                    is_lost = True
                await self._clock.sleep(pause)

    @contextmanager
    def _in_time(self) -> Iterator[anyio.CancelScope]:
        try:
            with anyio.fail_after(BUCKET_PATIENCE) as scope:
                yield scope
        except TimeoutError:
            why = (
                f"it has not answered within {BUCKET_PATIENCE:.0f} s, "
                "or other machines write it all the time"
            )
            raise self.unavailable(why) from None

    async def _edit(
        self,
        change: Callable[[Document], T],
        scope: anyio.CancelScope,
        *,
        is_lost: bool,
    ) -> T:
        if not self._is_checked:
            await self._check()
        held, document = await self._loaded()
        before = packed(document)
        result = change(document)
        content = packed(document)
        if content != before:
            if not is_lost:
                # Nothing is written yet, so an interrupt ends the edit here.
                scope.shield = False
                await anyio.lowlevel.checkpoint()
            scope.shield = True
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
            raise self.unavailable(why, Hint(HintKind.USE_OTHER_STORE))
        self._is_checked = True

    async def _loaded(self) -> tuple[StoredContent | None, Document]:
        """Load the object, None if there is none, and its document; an empty object holds none."""
        held: StoredContent | None = await self._call(self._object.load)
        if held is None or not held.content:
            if self._was_there:
                raise self.unavailable(*GONE)
            return held, {}
        self._was_there = True
        return held, self.parsed(held.content)

    async def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call the store."""
        try:
            return await self._in_thread(method, *arguments)
        except StoreTrouble as error:
            # the error has the place already
            why = re.sub(r"^(\w+://[^:]*: )+", "", str(error.happened))
            then = [*error.then]
            if error.forbidden and not arguments:
                then.append(Hint(HintKind.ALLOW_LISTING))
            # The error pages of this error and its cause are about archives.
            raise self.unavailable(why, *then) from None


def place_of(
    setting: str | None,
    state_directory: Path,
    service: str,
    clock: Clock,
) -> Place:
    """Choose the place of a service's ledger. Nothing is read or written yet.

    A shared place takes along what this machine's own ledger of the service holds.

    Args:
        setting: A URI or path that `read_place` has checked; None for this machine's own place.
        state_directory: The folder of this machine's own ledgers; a relative path means that this
            machine has none.
        service: Names the service, and so the document.
        clock: Times the pauses.

    Returns:
        The place.
    """
    own = SqliteFile(state_directory / f"{service}.ledger")
    if setting is None:
        return own
    shared = _shared_place(setting, service, clock)
    # Without a home directory there is no ledger of this machine.
    return Successor(shared, own) if state_directory.is_absolute() else shared


def _shared_place(setting: str, service: str, clock: Clock) -> Place:
    shared = destination_of(setting)
    if shared.scheme == "file":
        return SqliteFile(shared.file / f"{service}.ledger", is_shared=True)
    buckets = Buckets(
        CLIENT,
        RETRIES,
        {**CHECKSUM, **os.environ, **environment_of(setting)},
    )

    def object_of(name: str) -> BucketStore:
        return BucketStore(buckets, shared.holding(name))

    return Bucket(shared.uri, object_of, service, clock)
