"""Blocks that one thread pushes and another one pulls: what turns a library that reads by itself into one that is written to."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Generic, TypeVar

from pulumi_snapshots.clock import system_monotonic

T = TypeVar("T")
BLOCKS = 2
"""Blocks that wait to be pulled."""
GRACE, TIDYING = 20.0, 30.0
"""Seconds that a puller gets to end once it is to hurry, and to tidy up once it is stopped."""


class _Stopped(Exception):
    """What the puller gets instead of the next block."""


class _Silent(Exception):
    """The puller has neither pulled a block nor ended in time."""


class Flow(Generic[T]):
    """One flow of blocks, and the thread that pulls them; an error of the puller reaches the caller of `push`.

    After so many seconds of `silence` without a pulled block, `check` raises an error if it makes no sense to wait longer.
    """

    def __init__(
        self,
        pull: Callable[[Iterator[bytes | bytearray]], T],
        silence: float | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._silence = silence
        self._check = check
        self._ends: float | None = None
        self._blocks: deque[bytes | bytearray] = deque()
        self._changed = threading.Condition()
        self._ending: type[Exception] | None = None
        self._result: Future[T] = Future()
        threading.Thread(target=self._run, args=(pull,), daemon=True).start()

    def push(self, block: bytes | bytearray) -> None:
        """Hand over a block; waits while enough of them wait."""
        self._wait(lambda: self._result.done() or len(self._blocks) < BLOCKS)
        with self._changed:
            self._blocks.append(block)
            self._changed.notify_all()
        if self._result.done():
            self._result.result()

    def finish(self) -> T:
        """Say that there are no more blocks, and wait for the result."""
        self._end(StopIteration)
        self._wait(self._result.done)
        return self._result.result()

    def hurry(self, seconds: float | None = None) -> None:
        """Let every wait for the puller end within so many seconds, or `GRACE`; from any thread."""
        with self._changed:
            self._ends = min(self._ends or math.inf, system_monotonic() + (GRACE if seconds is None else seconds))
            self._changed.notify_all()

    def stop(self) -> None:
        """Make the puller fail at its next block, and wait until it has tidied up; an error of before was raised already."""
        failed_before = self._result.done()
        self._end(_Stopped)
        self.hurry(TIDYING)
        self._wait(self._result.done)
        error = self._result.exception()
        if error is not None and not failed_before and not isinstance(error, _Stopped):
            raise error

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Wait for the puller; raises an error if it takes too long, or what `check` raises."""
        while True:
            with self._changed:
                if ready():
                    return
                hurries = self._ends is not None
                left = self._silence if self._ends is None else max(0.0, self._ends - system_monotonic())
                if self._changed.wait(left):
                    continue
            if hurries:
                raise _Silent("the store does not answer")
            self._check()

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
