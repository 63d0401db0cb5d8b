"""Runs one command to its exit code: the event loop, signals, and every error that has a text for users."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from contextlib import contextmanager
from functools import partial
from io import StringIO, TextIOWrapper
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.cli.jobs import DONE, FAILED
from pulumi_snapshots.cli.wording import COMMANDS
from pulumi_snapshots.engine.errors import debugging
from pulumi_snapshots.errors.explained import Explained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_snapshots.cli.jobs import Job
    from pulumi_snapshots.cli.place import Place

__all__ = ["carried_out", "run_job", "streams"]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals after which a command ends in order: ^C, a request to end, a terminal that is closed."""
BY_SIGNAL = 128
"""What shells add to the number of the signal that ended a command: 130, 143 and 129 after these."""


def run_job(job: Job, place: Place) -> int:
    """Run a command in this process; returns the exit code."""
    return anyio.run(partial(carried_out, job, place))


async def carried_out(job: Job, place: Place) -> int:
    """Run a command until it ends, or a signal ends it; returns the exit code."""
    code: int | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_heed_signals, place, group.cancel_scope)
        code = await _told(job, place)
        group.cancel_scope.cancel()
    if code is None:
        place.fail("ended at once.")
    if place.signal is not None and code != DONE:
        return BY_SIGNAL + place.signal
    return FAILED if code is None else code


async def _told(job: Job, place: Place) -> int:
    """Run a command; why it failed is told in one paragraph."""
    try:
        return await job(place)
    except Explained as error:
        place.fail(COMMANDS.paragraph(error))
        if debugging():
            place.say(traceback.format_exc())
    return FAILED


async def _heed_signals(place: Place, scope: anyio.CancelScope) -> None:
    """The first lets the command come to its own end, which keeps what is to be kept; the second does not wait for it."""
    # What was set to be ignored, as by nohup or for a job in the background, goes on being ignored.
    heeded = [one for one in ENDING if signal.getsignal(one) is not signal.SIG_IGN]
    with anyio.open_signal_receiver(*heeded) as signals:
        async for received in signals:
            if not place.stop(received):
                scope.cancel()


class _Nowhere(StringIO):
    """A stream that whoever has started this process has closed."""

    def write(self, _text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


@contextmanager
def streams() -> Iterator[None]:
    """Standard output and error as this process may use them, whatever locale it has and whoever reads them."""
    sys.stdout, sys.stderr = sys.stdout or _Nowhere(), sys.stderr or _Nowhere()
    both = (sys.stdout, sys.stderr)
    for stream in both:
        if isinstance(stream, TextIOWrapper):
            # A locale may lack a character that a name has.
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream in both:
            try:
                stream.flush()
            except OSError:
                # Else the interpreter tries again at its end, and says so in its own way.
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
