"""The only source of time, and waits that end with the run. A test's virtual clock moves monotonic seconds, sleeping and UTC together."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import anyio

FIRST_YEAR, END_YEAR = 2000, 9000

REFRESH_PATIENCE = 110.0
"""Seconds for the refresh, get or delete of one resource, so that it ends within 2 minutes."""
SHORT_SLEEP = 1.0
"""Seconds. A shorter difference between two clocks of the system is no suspension: they are not read at the same instant."""


def system_utc() -> datetime:
    """This machine's UTC time, for code outside an event loop, such as a Pulumi diff."""
    return datetime.now(UTC)


def system_monotonic() -> float:
    """This machine's monotonic seconds, for a thread without an event loop; only differences are meaningful."""
    return time.monotonic()


def system_suspended() -> float:
    """The seconds for which this machine was suspended since it started, which monotonic time leaves out.

    0 on a system that does not tell: there a POST that was under way meanwhile may not be matched to its snapshot.
    """
    counting, stopping = "CLOCK_BOOTTIME", "CLOCK_MONOTONIC"
    if sys.platform == "darwin":
        counting, stopping = "CLOCK_MONOTONIC", "CLOCK_UPTIME_RAW"
    if not hasattr(time, counting):
        return 0.0
    return time.clock_gettime(getattr(time, counting)) - time.clock_gettime(getattr(time, stopping))


def rfc3339(moment: datetime) -> str:
    """Format a time as in the outputs: UTC, with milliseconds if there are any (`2025-08-13T13:29:11.263Z`)."""
    moment = moment.astimezone(UTC)
    spec = "milliseconds" if moment.microsecond >= 1000 else "seconds"  # noqa: PLR2004  a millisecond
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """Parse a time; a text without a zone is UTC.

    Raises:
        ValueError: `text` is not a date.
    """
    return in_utc(datetime.fromisoformat(text))


def in_utc(moment: datetime) -> datetime:
    """Convert a time to UTC; a time without a zone is UTC already, like all times of the service."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def to_the_second(moment: datetime | str) -> str:
    """Format a time as messages have it: as `rfc3339`, without milliseconds."""
    moment = parse_rfc3339(moment) if isinstance(moment, str) else moment
    return rfc3339(moment.replace(microsecond=0))


def time_text(moment: datetime, now: datetime | None = None) -> str:
    """Format a time of day: `12:32:05 UTC`; with its date if that is not the one of `now`."""
    moment = moment.astimezone(UTC)
    spec = "%H:%M:%S UTC" if now is None or moment.date() == now.astimezone(UTC).date() else "%Y-%m-%d %H:%M:%S UTC"
    return moment.strftime(spec)


def is_nonsense(moment: datetime) -> bool:
    """Whether no snapshot is of that time; it could overflow when a time zone or a duration is added."""
    return not FIRST_YEAR <= moment.year < END_YEAR


class Clock:
    """The time of one run.

    Monotonic time and sleeping come from the event loop. UTC is a start time plus monotonic time and the time for which the
    machine was suspended. So a test's virtual clock moves both, and a change of the machine's clock during a wait moves
    neither.

    Args:
        start: the UTC time at the first use; this machine's time if not given.
        suspended: counts the seconds for which the machine was suspended; the system's unless given, none with a `start`.
    """

    def __init__(self, start: datetime | None = None, suspended: Callable[[], float] | None = None) -> None:
        self._start = start
        self._suspended = suspended or (system_suspended if start is None else lambda: 0.0)
        self._began: tuple[float, float] | None = None  # monotonic time and suspensions at the first use

    monotonic = staticmethod(anyio.current_time)
    """Seconds on the event loop's clock; only differences are meaningful."""

    def utc(self) -> datetime:
        """The date and time in UTC."""
        now, suspended = self.monotonic(), self._suspended()
        self._start = self._start or system_utc()
        self._began = self._began or (now, suspended)
        slept = suspended - self._began[1]
        return self._start + timedelta(seconds=now - self._began[0] + (slept if slept >= SHORT_SLEEP else 0.0))

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop's clock. Nothing else in this project sleeps."""
        await anyio.sleep(max(0.0, seconds))


class Stoppable:
    """A base class for objects whose waits can all be ended at once.

    Attributes:
        clock: the time.
        stopping: whether `stop` was called; from then on every wait ends at once.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.stopping = False
        self._scopes: set[anyio.CancelScope] = set()

    def stop(self) -> None:
        """End all waits, as after ^C. Operations keep what they must, and send no further request."""
        self.stopping = True
        for scope in tuple(self._scopes):
            scope.cancel()

    @contextmanager
    def until(self, seconds: float) -> Iterator[anyio.CancelScope]:
        """Run the body until it ends, `seconds` have passed or `stop` is called; the yielded scope shows whether it was cut."""
        with anyio.CancelScope(deadline=self.clock.monotonic() + seconds) as scope:
            self._scopes.add(scope)
            if self.stopping:
                scope.cancel()
            try:
                yield scope
            finally:
                self._scopes.discard(scope)
