"""Hears of ^C in a program, whose hook the engine waits for.

The language host of Pulumi 3.229 and later interrupts the program if the engine is asked to stop, however that is asked.
Before that, the program hears nothing. But a terminal sends ^C to the engine's process group, and each process that the
engine starts has a group of its own: so a child process that does nothing joins that group, and ends by what the engine got.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.engine.process import engine_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST = 8 * 86400
"""Seconds that the child lives if nothing ends it, as after a kill of this process; longer than any time-out."""


class Interrupts:
    """One child for all who listen at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listening = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._before: Any = None

    @contextmanager
    def heard_by(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call `callback`, from any thread, if the engine is interrupted while the body runs; never if that cannot be known."""
        with self._lock:
            self._listening += 1
            if self._listening == 1:
                with suppress(ValueError):  # a program of the Automation API, in another thread than the main one
                    self._before = signal.signal(signal.SIGINT, lambda *_: callback())
                self._begin(callback)
        try:
            yield
        finally:
            with self._lock:
                self._listening -= 1
                if self._listening == 0 and self._before is not None:
                    signal.signal(signal.SIGINT, self._before)
                    self._before = None
                if self._listening == 0 and self._child is not None:
                    self._child.kill()
                    self._child = None

    def _begin(self, callback: Callable[[], None]) -> None:
        engine = engine_process()
        if engine is None:
            return
        with suppress(OSError):  # no such command, or the engine is not of this session
            nothing = subprocess.DEVNULL
            command = ["sleep", str(LONGEST)]
            group = os.getpgid(engine)
            child = subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, process_group=group)  # noqa: S603  a fixed command
            self._child = child
            threading.Thread(target=_wait, args=(child, callback), name="engine-interrupts", daemon=True).start()


def _wait(child: subprocess.Popen[bytes], callback: Callable[[], None]) -> None:
    if child.wait() in {-signal.SIGINT, -signal.SIGTERM}:
        callback()
