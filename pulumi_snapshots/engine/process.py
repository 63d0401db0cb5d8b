"""The engine's process: whether it still runs, and whether it was interrupted.

A killed engine sends no message.
"""

import atexit
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHANNEL_OPTIONS = [("grpc.enable_http_proxy", 0)]
"""Without this option, gRPC sends even a call to this machine through the HTTP proxy of the
environment.
"""
WATCH_EVERY = 1.0
"""Seconds between checks whether the engine still runs; short, since no run hears what ends in
between.
"""
ANSWER_DEADLINE = 5.0
"""Seconds. The engine answers within a millisecond; a busy or missing one must not hold up the
work.
"""

NOTHING = ["sleep", str(8 * 86400)]
"""What the child does, longer than any time-out if nothing ends it, as after a kill of this
process.
"""


def address_in(command: Sequence[str]) -> str | None:
    """Return the engine's address, the last argument of a provider's command line.

    Args:
        command: the command line.

    Returns:
        `HOST:PORT`; None if there is none.
    """
    last = command[-1] if len(command) > 1 else ""
    return last if re.fullmatch(r"[\w.\-\[\]:]*:\d+|unix:\S+", last) else None


def run_at(address: str | None) -> str:
    """Return the name of an engine's run, the same in all processes that the engine starts.

    Args:
        address: the engine's address; None without an engine.

    Returns:
        The name; empty without an engine.
    """
    return f"{socket.gethostname()} {address}" if address else ""


def end_with(address: str) -> None:
    """End this process as soon as an engine was killed.

    Args:
        address: the engine's address.
    """

    def watch() -> None:
        while listens(address) or listens(address):
            time.sleep(WATCH_EVERY)
        # not as at ^C: an answer that the engine never gets must not be recorded as delivered
        os._exit(1)

    threading.Thread(target=watch, name="engine-watch", daemon=True).start()


def listens(address: str) -> bool:
    """Return whether the engine's address is in use; only a refused connection shows the contrary.

    Args:
        address: the engine's address.
    """
    host, _, port = address.rpartition(":")
    if port.isdecimal():  # else a socket of another kind
        try:
            socket.create_connection(
                (host.strip("[]") or "127.0.0.1", int(port)), timeout=ANSWER_DEADLINE
            ).close()
        except OSError as error:
            return not isinstance(error, ConnectionRefusedError)
    return True


def engine_process() -> int | None:
    """Return the number of the engine's process, the nearest ancestor that is called `pulumi`.

    None if there is no such ancestor.
    """
    process = _parent_of(os.getpid())
    # Launchers and shells may stand between. In a container, the engine may be the first process.
    while process:
        with suppress(OSError):
            command_line = Path(f"/proc/{process}/cmdline").read_text(errors="replace")
            program, *_ = command_line.split("\0")
            if Path(program).stem == "pulumi":
                return process
        process = _parent_of(process)
    return None


def _parent_of(process: int) -> int:
    """The number of a process's parent; 0 if the system does not say, or the process has ended."""
    with suppress(OSError):
        status = Path(f"/proc/{process}/stat").read_text()
        # The program's name, which ends at the last ")", may contain anything.
        _, _, fields = status.rpartition(")")
        return int(fields.split()[1])
    return 0


class Interrupts:
    """The interrupts of a program whose hook the engine waits for.

    Since Pulumi 3.229, the language host interrupts the program if the engine is asked to stop, in
    whatever way. Before that, the program hears nothing. But a terminal sends ^C to the engine's
    process group, and each process that the engine starts has its own group. So a child process
    that does nothing joins the engine's group, and the signal that the engine gets ends it.

    Args:
        callback: called, from any thread, if the engine is interrupted.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._begun = False
        self._waiting = 0

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Wait for something that the callback ends. Meanwhile an interrupt does nothing else.

        Yields:
            Nothing.
        """
        if not self._begun:
            self._begun = True
            self._begin()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def _begin(self) -> None:
        # A program of the Automation API can be in another thread than the main one.
        with suppress(ValueError):
            usual: Any = signal.getsignal(signal.SIGINT)

            def interrupted(*received: Any) -> None:
                self._callback()
                if not self._waiting and callable(usual):
                    usual(*received)

            signal.signal(signal.SIGINT, interrupted)
        with suppress(OSError):  # no such command, or the engine is not of this session
            engine = engine_process()
            if engine is None:
                return
            child = subprocess.Popen(  # noqa: S603  a fixed command
                NOTHING,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=os.getpgid(engine),
            )
            # Not before the exit: if the child's end leaves a stopped engine alone in its group,
            # the system sends the engine SIGHUP.
            atexit.register(child.kill)

            def wait() -> None:
                if child.wait() in {-signal.SIGINT, -signal.SIGTERM}:
                    self._callback()

            threading.Thread(target=wait, name="engine-interrupts", daemon=True).start()
