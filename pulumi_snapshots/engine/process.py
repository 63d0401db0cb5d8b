"""The engine's process: whether it still runs, and whether it was interrupted.

A killed engine sends no message.
"""

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
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


class Interrupts:
    """The interrupts of a program whose hook the engine waits for.

    If the engine is asked to stop, in whatever way, the language host interrupts the program. It
    does so since Pulumi 3.229, and the engines of guards are newer.

    Args:
        callback: called, from the main thread, if the engine is interrupted.
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
        usual: Any = signal.getsignal(signal.SIGINT)

        def interrupted(*received: Any) -> None:
            self._callback()
            if not self._waiting and callable(usual):
                usual(*received)

        # A program of the Automation API can be in another thread than the main one.
        with suppress(ValueError):
            signal.signal(signal.SIGINT, interrupted)
