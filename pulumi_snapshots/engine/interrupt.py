"""Hears of ^C in a program, whose hook the engine waits for.

The language host of Pulumi 3.229 and later interrupts the program if the engine is asked to stop, however that is asked.
Before that, the program hears nothing. But a terminal sends ^C to the engine's process group, and each process that the
engine starts has a group of its own: so a child process that does nothing joins that group, and ends by what the engine got.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.engine.process import engine_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOTHING = ["sleep", str(8 * 86400)]
"""What the child does, longer than any time-out if nothing ends it, as after a kill of this process."""


class Interrupts:
    """Those of one process: `callback` is called, from any thread, if the engine is interrupted once something waits."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._begun, self._waiting = False, 0

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Wait for something that the callback ends: meanwhile an interrupt does nothing else."""
        if not self._begun:
            self._begun = True
            self._begin()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def _begin(self) -> None:
        with suppress(ValueError):  # a program of the Automation API, in another thread than the main one
            usual: Any = signal.getsignal(signal.SIGINT)

            def interrupted(*now: Any) -> None:
                self._callback()
                if not self._waiting and callable(usual):
                    usual(*now)

            signal.signal(signal.SIGINT, interrupted)
        with suppress(OSError):  # no such command, or the engine is not of this session
            if (engine := engine_process()) is None:
                return
            no = subprocess.DEVNULL
            child = subprocess.Popen(NOTHING, stdin=no, stdout=no, stderr=no, process_group=os.getpgid(engine))  # noqa: S603  a fixed command
            # Not before: if the child's end leaves a stopped engine alone in its group, the system sends that SIGHUP.
            atexit.register(child.kill)

            def wait() -> None:
                if child.wait() in {-signal.SIGINT, -signal.SIGTERM}:
                    self._callback()

            threading.Thread(target=wait, name="engine-interrupts", daemon=True).start()
