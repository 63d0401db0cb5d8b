"""The one event loop of a provider process, and what its resources share on it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from pulumi_snapshots.dynamic.engine_access import messages
from pulumi_snapshots.engine.messages import Row
from pulumi_snapshots.engine.process import run_in
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.run.shared import Shared

T = TypeVar("T")


class Run:
    """One per process."""

    def __init__(self) -> None:
        self.shared = Shared(Row(messages, "", PYTHON).progress, run=run_in(sys.argv))
        self._lock = threading.RLock()  # `stop` may interrupt this very thread
        self._portal: BlockingPortal | None = None
        self._stopping = False

    def carry_out(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation on the event loop; the calling thread only waits."""
        return self._started().call(operation)

    def begin(self, operation: Callable[[], Awaitable[T]]) -> Future[T]:
        """Start an operation on the event loop, for callers on another one."""
        return self._started().start_task_soon(operation)

    def stop(self) -> None:
        """End all waiting, from any thread; returns at once."""
        self._stopping = True
        with self._lock:
            portal = self._portal
        if portal is not None:
            portal.start_task_soon(self.shared.stop)

    def _started(self) -> BlockingPortal:
        with self._lock:
            if self._portal is None:
                ready = threading.Event()

                async def serve() -> None:
                    async with BlockingPortal() as portal, anyio.create_task_group() as background:
                        self.shared.background = background
                        if self._stopping:
                            self.shared.stop()
                        self._portal = portal
                        ready.set()
                        await portal.sleep_until_stopped()

                # A daemon, so that the process ends when the engine wants it to.
                threading.Thread(target=anyio.run, args=(serve,), name="snapshots", daemon=True).start()
                ready.wait()
            if self._portal is None:
                raise AssertionError  # set before `ready`
            return self._portal


_run = Run()


def this_run() -> Run:
    """The run of this process."""
    return _run
