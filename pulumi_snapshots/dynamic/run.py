"""The one event loop of a provider process, and what its resources share on it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from pulumi_snapshots.engine.process import address_in, run_at
from pulumi_snapshots.first_use import FirstUse
from pulumi_snapshots.late import late
from pulumi_snapshots.run.calls import Shared

if TYPE_CHECKING:
    from concurrent.futures import Future

    from anyio.from_thread import BlockingPortal

T = TypeVar("T")


class Run:
    """The event loop of a process, and the objects that its resources share.

    There is one in a process. Checks and comparisons need no event loop, so the first operation
    starts it.
    """

    def __init__(self) -> None:
        self.shared = Shared(run_at(address_in(sys.argv)))
        self._portal = FirstUse(_start_event_loop)

    def carry_out(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation on the event loop; the calling thread waits.

        Args:
            operation: starts the operation.

        Returns:
            Its result.
        """
        return self._portal().call(operation)

    def begin(self, operation: Callable[[], Awaitable[T]]) -> Future[T]:
        """Start an operation on the event loop, for callers on another event loop.

        Args:
            operation: starts the operation.

        Returns:
            The future of its result.
        """
        return self._portal().start_task_soon(operation)

    def stop(self) -> None:
        """End all waiting, from any thread; returns at once."""
        self._portal().start_task_soon(self.shared.stop)


def _start_event_loop() -> BlockingPortal:
    """Start the event loop, whose library is loaded late."""
    portal: BlockingPortal = late("dynamic.event_loop:start")()
    return portal


shared_run = FirstUse(Run)
"""Return the run of this process."""
