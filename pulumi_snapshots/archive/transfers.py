"""The clock, threads, slots and stores that the archives of a process share, and how to stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from pulumi_snapshots.clock import Clock, Stoppable
from pulumi_snapshots.storage.buckets import Buckets, BucketStore
from pulumi_snapshots.storage.destination import Destination
from pulumi_snapshots.storage.store import FileStore, StoreTrouble

if TYPE_CHECKING:
    import httpx  # spoken in `service` and `hosts` only

T = TypeVar("T")
ObjectStore = FileStore | BucketStore
AT_A_TIME = 4
"""Transfers at once: each takes memory and bandwidth, and one alone fills most lines."""
READS_AT_ONCE = 32
"""Short reads at once, such as those of manifests."""


class Transfers(Stoppable):
    """The means by which a process archives; there is one in a process.

    Attributes:
        http: the transport of downloads; None for the network.
        slots: one slot for each transfer that can run at the same time.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        http: httpx.AsyncBaseTransport | None = None,
        in_thread: Callable[..., Awaitable[Any]] | None = None,
    ) -> None:
        super().__init__(clock or Clock())
        self.http = http
        self.slots = anyio.Semaphore(AT_A_TIME)
        run = anyio.to_thread.run_sync
        writers = anyio.CapacityLimiter(2 * AT_A_TIME)
        self._in_thread = in_thread or partial(run, limiter=writers)
        readers = anyio.CapacityLimiter(READS_AT_ONCE)
        self._reads = in_thread or partial(run, limiter=readers, abandon_on_cancel=True)
        self._buckets = Buckets()

    def store(self, place: Destination) -> ObjectStore:
        """Return the store of a place.

        Args:
            place: a file, or an object of a bucket.
        """
        if place.scheme == "file":
            return FileStore(place.file)
        return BucketStore(self._buckets, place)

    def at(self, uri: str) -> ObjectStore:
        """Return the store of an object's URI.

        Args:
            uri: the URI.
        """
        return self.store(Destination.parse(uri))

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Run the body for a limited time.

        Args:
            seconds: the limit.

        Yields:
            Nothing.

        Raises:
            StoreTrouble: `stop` or the limit ended the body.
        """
        with self.until(seconds) as scope:
            yield
        if scope.cancelled_caught:
            reason = (
                "it was interrupted"
                if self.stopping
                else "the store did not answer in time"
            )
            raise StoreTrouble(reason)

    async def blocking(self, call: Callable[..., T], *args: Any) -> T:
        """Run a blocking call in a worker thread. A cancellation waits for its end.

        Args:
            call: the function.
            *args: its arguments.

        Returns:
            The result of `call`.
        """
        return await self._in_thread(call, *args)  # type: ignore[no-any-return]  # of `call`

    async def digest(self, store: ObjectStore) -> str:
        """Compute the SHA-256 of an object. A cancellation takes effect between two pieces.

        Args:
            store: the object's store.

        Returns:
            The hexadecimal digest.
        """
        hasher = sha256()
        pieces = store.read()
        while piece := await self.reading(next, pieces, b""):
            hasher.update(piece)
        return hasher.hexdigest()

    async def reading(self, call: Callable[..., T], *args: Any) -> T:
        """Run a blocking call that changes nothing. A cancellation does not wait for its end.

        Args:
            call: the function.
            *args: its arguments.

        Returns:
            The result of `call`.
        """
        return await self._reads(call, *args)  # type: ignore[no-any-return]  # of `call`

    async def reading_each(
        self, call: Callable[[Any], object], every: Iterable[Any]
    ) -> None:
        """Run a blocking call that changes nothing for several arguments at the same time.

        Args:
            call: the function.
            every: its arguments, one for each call.
        """
        async with anyio.create_task_group() as group:
            for each in every:
                group.start_soon(self.reading, call, each)
