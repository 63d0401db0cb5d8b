"""What the archives of a process share: time, worker threads, a turn for each, stores, and the way to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from pulumi_snapshots.archive.stores import Buckets, BucketStore, FileStore, Store
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.stopping import Stoppable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from pulumi_snapshots.archive.destination import Destination

__all__ = ["Transfers"]

T = TypeVar("T")
AT_A_TIME = 4
"""Transfers at once: each takes memory and bandwidth, and one alone fills most lines."""


class Transfers(Stoppable):
    """One per process.

    Args:
        clock: the time.
        http: the HTTP transport below; the network unless a test gives another.
        open_store: the store of a place.
        in_thread: runs a blocking call; in a worker thread unless a test gives another.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        http: httpx.AsyncBaseTransport | None = None,
        open_store: Callable[[Destination], Store] | None = None,
        in_thread: Callable[..., Awaitable[Any]] | None = None,
    ) -> None:
        super().__init__(clock or Clock())
        self.http = http
        self._buckets = Buckets()
        self._open_store = open_store or self._store
        self._in_thread = in_thread or self._thread
        self._turns: anyio.Semaphore | None = None
        self._threads: anyio.CapacityLimiter | None = None

    def store(self, place: Destination) -> Store:
        """The store of this place."""
        return self._open_store(place)

    async def blocking(self, call: Callable[..., T], *args: Any) -> T:
        """Run a blocking call apart from the event loop; it is not cut short."""
        result: T = await self._in_thread(call, *args)
        return result

    @property
    def turn(self) -> anyio.Semaphore:
        """Held during a transfer."""
        if self._turns is None:  # belongs to the event loop
            self._turns = anyio.Semaphore(AT_A_TIME)
        return self._turns

    def _store(self, place: Destination) -> Store:
        return FileStore(place.file) if place.scheme == "file" else BucketStore(self._buckets, place)

    async def _thread(self, call: Callable[..., T], *args: Any) -> T:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(2 * AT_A_TIME)
        return await anyio.to_thread.run_sync(call, *args, limiter=self._threads)
