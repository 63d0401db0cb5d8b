"""The command of somebody else that this process runs, with the same terminal."""

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.abc import Process

BY_SIGNAL = 128
"""Shells add this to the number of the signal that ended a command."""
TERMINAL = Path("/dev/tty")


class ChildCommand:
    """A command that has this process's terminal and streams, and gets its signals."""

    def __init__(self) -> None:
        self._process: Process | None = None
        # the signals since the command was to start; None while no command is wanted
        self._early: list[signal.Signals] | None = None

    async def run(self, words: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run a command until it ends; what it has forked may live on.

        Args:
            words: The command and its arguments.
            environment: Its whole environment.

        Returns:
            Its exit code, as a shell has it.

        Raises:
            OSError: It could not be started.
        """
        self._early = []
        try:
            self._process = await anyio.open_process(
                [*words], stdin=None, stdout=None, stderr=None, env=environment
            )
            for each in self._early:
                self._process.send_signal(each)
            code = await self._process.wait()
        finally:
            self._process = None
            self._early = None
        return code if code >= 0 else BY_SIGNAL - code

    def hand_on(self, received: signal.Signals) -> bool:
        """Hand a signal on to the command, unless the terminal has sent it to both.

        Args:
            received: the signal.

        Returns:
            Whether the command is running, so that the signal is not this process's.
        """
        if self._process is None:
            if self._early is not None:
                self._early.append(received)
            return self._early is not None
        if not _is_from_terminal(received):
            with suppress(ProcessLookupError):  # it has just ended
                self._process.send_signal(received)
        return True


def _is_from_terminal(received: signal.Signals) -> bool:
    """Whether each process of the terminal's foreground has got a signal, as ^C."""
    if received == signal.SIGTERM:
        return False
    with suppress(OSError), TERMINAL.open() as terminal:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    return False
