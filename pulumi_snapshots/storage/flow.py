"""A flow of blocks that one thread pushes and another thread pulls.

A library that only reads can be written to in this way.
"""

import io
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Any, Generic, TypeVar

import anyio.from_thread

from pulumi_snapshots.clock import system_monotonic
from pulumi_snapshots.storage.store import (
    READ_SIZE,
    Buffer,
    StoreTrouble,
)

T = TypeVar("T")
BLOCKS = 2  # blocks that wait to be pulled
PULLER_GRACE = 20.0
"""Seconds that a puller gets to end once the caller is cancelled."""
TIDYING = 30.0
"""Seconds that a puller gets to tidy up once it is stopped."""
STEP = 1.0  # seconds after which a wait checks whether to continue


class Stopped(BaseException):
    """Raised in the puller in place of its next block.

    It is a `BaseException`, so that no handler of a library's errors catches it.
    """


class Flow(Generic[T]):
    """One flow of blocks, and the thread that pulls them.

    An error of the puller reaches the caller of `push`.

    Args:
        pull: takes the blocks, in a thread of its own.
        silence: seconds without a pulled block after which `check` is called.
        check: raises an error if it makes no sense to wait longer.
    """

    def __init__(
        self,
        pull: Callable[[Iterator[Buffer]], T],
        silence: float = math.inf,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self._silence = silence
        self._check = check
        self._tidying = TIDYING
        self._blocks: Queue[Buffer | None] = Queue(BLOCKS)
        self._stopped = False
        self._result: Future[T] = Future()
        threading.Thread(target=self._run, args=(pull,), daemon=True).start()

    def push(self, block: Buffer | None) -> None:
        """Hand over a block, and wait while enough blocks are queued.

        Args:
            block: the bytes; None ends the flow.

        Raises:
            Exception: the puller's own error.
        """

        def handed() -> bool:
            with suppress(Full):
                self._blocks.put(block, timeout=STEP)
                return True
            return False

        self._wait(lambda: self._result.done() or handed())
        if self._result.done():
            self._result.result()

    def finish(self) -> T:
        """End the flow, and wait for the puller.

        Returns:
            The result of `pull`.

        Raises:
            Exception: the puller's own error.
        """
        self.push(None)
        self._wait(self._ended)
        return self._result.result()

    def stop(self) -> None:
        """Make the puller fail at its next block, and wait until it has tidied up.

        Raises:
            Exception: the puller's own error, if it was not raised before.
        """
        failed_before = self._result.done()
        self._stopped = True
        with suppress(Full):
            self._blocks.put_nowait(None)
        self._wait(self._ended, self._tidying)
        error = self._result.exception()
        if error is not None and not failed_before and not isinstance(error, Stopped):
            raise error

    def _ended(self) -> bool:
        return bool(wait([self._result], STEP).done)

    def _wait(self, ready: Callable[[], bool], patience: float = math.inf) -> None:
        """Wait for the puller, not much longer if the caller is cancelled.

        Raises an error if the puller takes too long.
        """
        began = checked = system_monotonic()
        while not ready():
            now = system_monotonic()
            if _is_cancelled():
                patience = min(patience, now - began + PULLER_GRACE)
            if now - began >= patience:
                self._tidying = 0.0  # `stop` does not wait again
                raise StoreTrouble("the store does not answer")
            if now - checked >= self._silence:
                self._check()
                checked = system_monotonic()

    def _run(self, pull: Callable[[Iterator[Buffer]], T]) -> None:
        try:
            self._result.set_result(pull(self._pulled()))
        except BaseException as error:  # noqa: BLE001  the pushing thread raises it
            self._result.set_exception(error)
        with suppress(Empty):
            self._blocks.get_nowait()  # makes room for which the pushing thread may wait

    def _pulled(self) -> Iterator[Buffer]:
        while (block := self._blocks.get()) is not None and not self._stopped:
            yield block
        if self._stopped:
            raise Stopped


def _is_cancelled() -> bool:
    """Tell whether the task that runs this worker thread is cancelled."""
    try:
        anyio.from_thread.check_cancelled()
    except RuntimeError:  # this thread is no worker thread
        return False
    except BaseException:  # noqa: BLE001  the event loop's own
        return True
    return False


class _Blocks(io.RawIOBase):
    """A file that reads blocks."""

    def __init__(self, blocks: Iterator[Buffer]) -> None:
        self._blocks = blocks
        self._left = memoryview(b"")
        self._taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._left = memoryview(block)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        self._taken += count
        return count

    def tell(self) -> int:
        return self._taken


def file_of(blocks: Iterator[Buffer]) -> io.BufferedReader:
    """Return a file object that reads blocks.

    Args:
        blocks: the bytes of the file.
    """
    return io.BufferedReader(_Blocks(blocks), READ_SIZE)
