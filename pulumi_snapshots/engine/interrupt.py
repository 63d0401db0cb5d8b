"""Hears of ^C in a program: the engine tells its providers of it, but not a program whose hook it waits for.

A terminal sends ^C to the engine's process group only, and each process that the engine starts has a group of its own. So a
child process that does nothing joins the engine's group, and what ends it is what the engine got.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

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

    @contextmanager
    def heard_by(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call `callback`, from another thread, if the engine gets ^C while the body runs; never if that cannot be known."""
        with self._lock:
            self._listening += 1
            if self._listening == 1:
                self._begin(callback)
        try:
            yield
        finally:
            with self._lock:
                self._listening -= 1
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
