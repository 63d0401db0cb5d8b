"""The one event loop of a provider process, and what its resources share on it."""

import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from pulumi_snapshots.engine.process import run_in
from pulumi_snapshots.run.calls import Shared

T = TypeVar("T")


class Run:
    """The event loop of a process, and the objects that its resources share.

    There is one in a process.
    """

    def __init__(self) -> None:
        self.shared = Shared(run_in(sys.argv))
        started = Future[BlockingPortal]()

        async def serve() -> None:
            async with BlockingPortal() as portal:
                started.set_result(portal)
                await portal.sleep_until_stopped()

        # A daemon, so that the process ends when the engine wants it to.
        threading.Thread(
            target=anyio.run,
            args=(serve,),
            name="snapshots",
            daemon=True,
        ).start()
        self._portal = started.result()

    def carry_out(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation on the event loop; the calling thread waits.

        Args:
            operation: starts the operation.

        Returns:
            Its result.
        """
        return self._portal.call(operation)

    def begin(self, operation: Callable[[], Awaitable[T]]) -> Future[T]:
        """Start an operation on the event loop, for callers on another event loop.

        Args:
            operation: starts the operation.

        Returns:
            The future of its result.
        """
        return self._portal.start_task_soon(operation)

    def stop(self) -> None:
        """End all waiting, from any thread; returns at once."""
        self._portal.start_task_soon(self.shared.stop)


_made: list[Run] = []
_making = threading.Lock()


def shared_run() -> Run:
    """Return the run of this process, which is made at its first use.

    After the first use this takes no lock, so that a signal handler can call it.
    """
    if not _made:
        with _making:
            if not _made:
                _made.append(Run())
    return _made[0]
