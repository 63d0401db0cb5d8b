"""What the archives of a process share: time, worker threads, a few slots, stores, and the way to stop."""

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
Store = FileStore | BucketStore
AT_A_TIME = 4  # transfers at once: each takes memory and bandwidth, and one alone fills most lines
READS_AT_ONCE = 32  # short reads at once, such as those of manifests


class Transfers(Stoppable):
    """One per process; `slots` holds one for each transfer. Tests give another clock, transport and way to run a thread."""

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
        self._in_thread = in_thread or partial(run, limiter=anyio.CapacityLimiter(2 * AT_A_TIME))
        readers = anyio.CapacityLimiter(READS_AT_ONCE)
        self._reads = in_thread or partial(run, limiter=readers, abandon_on_cancel=True)
        self._buckets = Buckets()

    def store(self, place: Destination) -> Store:
        """The store of a place."""
        return (
            FileStore(place.file) if place.scheme == "file" else BucketStore(self._buckets, place)
        )

    def at(self, uri: str) -> Store:
        """The store of an object's URI."""
        return self.store(Destination.parse(uri))

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Run the body; raises `StoreTrouble` if it is cut off, by `stop` or after so many seconds."""
        with self.until(seconds) as scope:
            yield
        if scope.cancelled_caught:
            raise StoreTrouble(
                "it was interrupted" if self.stopping else "the store did not answer in time"
            )

    async def blocking(self, call: Callable[..., T], *args: Any) -> T:
        """Run a blocking call in a worker thread. A cancellation waits for its end."""
        return await self._in_thread(call, *args)  # type: ignore[no-any-return]

    async def digest(self, store: Store) -> str:
        """The SHA-256 of an object. It can be cancelled between two pieces."""
        hasher, pieces = sha256(), store.read()
        while piece := await self.reading(next, pieces, b""):
            hasher.update(piece)
        return hasher.hexdigest()

    async def reading(self, call: Callable[..., T], *args: Any) -> T:
        """Run a blocking call that changes nothing. A cancellation does not wait for its end."""
        return await self._reads(call, *args)  # type: ignore[no-any-return]

    async def reading_each(self, call: Callable[[Any], object], every: Iterable[Any]) -> None:
        """Run such calls at once, one for each."""
        async with anyio.create_task_group() as group:
            for each in every:
                group.start_soon(self.reading, call, each)
