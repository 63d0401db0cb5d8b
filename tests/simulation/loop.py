"""A virtual event loop that a state machine's rules take turns on: between two rules its time stands still."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from hypothesis import register_random
from trio._core._run import _r as order_of_tasks
from trio.testing import MockClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["VirtualLoop"]

T = TypeVar("T")

# Trio wakes tasks that are due together in random order: from Hypothesis's seed, so that a failure can be replayed.
register_random(order_of_tasks)


class VirtualLoop:
    """One trio run on a thread of its own; `run` gives it work and waits.

    A rule of a Hypothesis state machine is no coroutine, and an event loop of its own for each rule would end the
    requests that the service still holds open. So the loop lives as long as the machine, and blocks between rules.
    """

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], Awaitable[Any]] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=trio.run, args=(self._serve,), kwargs={"clock": MockClock(autojump_threshold=0)}, daemon=True
        )
        self._thread.start()

    def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation to its end; its error is raised here."""
        self._work.put(operation)
        result, error = self._done.get()
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]  # what the operation returned

    def close(self) -> None:
        self._work.put(None)
        self._thread.join()

    async def _serve(self) -> None:
        # `get` blocks the loop on purpose: nothing moves until the next rule.
        while (operation := self._work.get()) is not None:
            try:
                self._done.put((await operation(), None))
            except BaseException as error:  # noqa: BLE001  raised again where the result is awaited
                self._done.put((None, error))
