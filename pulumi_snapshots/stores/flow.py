"""Blocks that one thread pushes and another one pulls: what turns a library that reads by itself into one that is written to."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")
BLOCKS = 2
"""Blocks that wait to be pulled."""


class _Stopped(Exception):
    """What the puller gets instead of the next block."""


class Flow(Generic[T]):
    """One flow of blocks, and the thread that pulls them.

    Args:
        pull: takes the blocks and returns the result. An error that it raises reaches the caller of `push`.
    """

    def __init__(self, pull: Callable[[Iterator[bytes | bytearray]], T]) -> None:
        self._blocks: deque[bytes | bytearray] = deque()
        self._changed = threading.Condition()
        self._ending: type[Exception] | None = None
        self._result: Future[T] = Future()
        threading.Thread(target=self._run, args=(pull,), daemon=True).start()

    def push(self, block: bytes | bytearray) -> None:
        """Hand over a block; waits while enough of them wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._result.done() or len(self._blocks) < BLOCKS)
            self._blocks.append(block)
            self._changed.notify_all()
        if self._result.done():
            self._result.result()

    def finish(self) -> T:
        """Say that there are no more blocks, and wait for the result."""
        self._end(StopIteration)
        return self._result.result()

    def stop(self) -> None:
        """Make the puller fail at its next block, and wait until it has tidied up; an error of before was raised already."""
        failed_before = self._result.done()
        self._end(_Stopped)
        error = self._result.exception()
        if error is not None and not failed_before and not isinstance(error, _Stopped):
            raise error

    def _end(self, how: type[Exception]) -> None:
        with self._changed:
            self._ending = self._ending or how
            self._changed.notify_all()

    def _run(self, pull: Callable[[Iterator[bytes | bytearray]], T]) -> None:
        try:
            result = pull(self._pulled())
        except BaseException as error:  # noqa: BLE001  the pushing thread raises it
            self._result.set_exception(error)
        else:
            self._result.set_result(result)
        with self._changed:
            self._changed.notify_all()

    def _pulled(self) -> Iterator[bytes | bytearray]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._blocks or self._ending)
                if self._ending is _Stopped:
                    raise _Stopped
                if not self._blocks:
                    return
                block = self._blocks.popleft()
                self._changed.notify_all()
            yield block
