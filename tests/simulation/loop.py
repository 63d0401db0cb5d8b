"""A virtual event loop for the rules of a Hypothesis state machine; its time stops between two rules."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from hypothesis import register_random
from trio._core._run import _r as task_order
from trio.testing import MockClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["VirtualLoop"]

T = TypeVar("T")

# Trio wakes tasks that are due together in random order. Hypothesis's seed decides it, so that a failure can be replayed.
register_random(task_order)


class VirtualLoop:
    """A trio event loop on its own thread; `run` gives it work and waits for the result.

    A rule of a state machine is not a coroutine. An event loop for each rule would end the requests that the service still
    holds open, so this one lives as long as the state machine, and blocks between two rules.
    """

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], Awaitable[Any]] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=trio.run, args=(self._serve,), kwargs={"clock": MockClock(autojump_threshold=0)}, daemon=True
        )
        self._thread.start()

    def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation; returns its result or raises its error."""
        self._work.put(operation)
        result, error = self._done.get()
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]  # the operation's result

    def close(self) -> None:
        self._work.put(None)
        self._thread.join()

    async def _serve(self) -> None:
        # `get` blocks the loop on purpose, so that its time stops until the next rule.
        while (operation := self._work.get()) is not None:
            try:
                self._done.put((await operation(), None))
            except BaseException as error:  # noqa: BLE001  raised again where the result is awaited
                self._done.put((None, error))
