"""The only source of time, and waits that end with the run. A test's virtual clock moves monotonic seconds, sleeping and UTC together."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import anyio

REFRESH_PATIENCE = 110.0
"""Seconds for the refresh, get or delete of one resource, so that it ends within 2 minutes."""
YEARS = range(2000, 9000)
"""No snapshot is of another one, to which no duration can be added without an overflow."""
DATE_RESOLUTION = 1.0
"""Seconds. `Date` is cut to whole seconds, so the service's time is at most this much later."""
PLAUSIBLE = 10 * 365 * 86400.0
"""The largest difference in seconds between two clocks that is believed. A larger one comes from a nonsensical date."""
COUNTING = getattr(time, "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME", None)
"""The system's monotonic clock that counts while the machine is suspended; None if there is no other one than Python's. There a
POST that was under way meanwhile may not be matched to its snapshot."""


def system_utc() -> datetime:
    """This machine's UTC time, for code outside an event loop, such as a Pulumi diff."""
    return datetime.now(UTC)


def system_monotonic() -> float:
    """This machine's monotonic seconds, for a thread without an event loop; only differences are meaningful."""
    return time.monotonic()


def rfc3339(moment: datetime) -> str:
    """Format a time as in the outputs: UTC, with milliseconds if there are any (`2025-08-13T13:29:11.263Z`)."""
    moment = moment.astimezone(UTC)
    spec = "milliseconds" if moment.microsecond >= 1000 else "seconds"  # noqa: PLR2004  a millisecond
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """Parse a time; a text without a zone is UTC. Raises `ValueError` for one that is no date, or not of this age."""
    return in_utc(datetime.fromisoformat(text))


def in_utc(moment: datetime) -> datetime:
    """Convert a time to UTC; one without a zone is UTC already, like all times of the service. `ValueError` for nonsense."""
    if moment.year not in YEARS:
        raise ValueError("no snapshot is of that year")
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def to_the_second(moment: datetime | str) -> str:
    """Format a time as messages have it: as `rfc3339`, without milliseconds."""
    moment = parse_rfc3339(moment) if isinstance(moment, str) else moment
    return rfc3339(moment.replace(microsecond=0))


def time_text(moment: datetime, now: datetime | None = None) -> str:
    """Format a time of day: `12:32:05 UTC`; with its date if that is not the one of `now`."""
    moment = moment.astimezone(UTC)
    spec = (
        "%H:%M:%S UTC"
        if now is None or moment.date() == now.astimezone(UTC).date()
        else "%Y-%m-%d %H:%M:%S UTC"
    )
    return moment.strftime(spec)


class Clock:
    """The time of one run.

    Monotonic time and sleeping come from the event loop. UTC is a `start`, or else this machine's time at the first use, plus the
    seconds of a clock that counts while the machine is suspended, so that a change of the machine's clock during a wait moves
    neither. With a `start` those are the event loop's unless `ticks` are given, so that a virtual clock moves UTC too.
    """

    def __init__(
        self, start: datetime | None = None, ticks: Callable[[], float] | None = None
    ) -> None:
        counting = time.monotonic if COUNTING is None else partial(time.clock_gettime, COUNTING)
        self._ticks = ticks or (anyio.current_time if start else counting)
        self._start = start
        self._began: tuple[datetime, float] | None = None

    monotonic = staticmethod(anyio.current_time)
    """Seconds on the event loop's clock; only differences are meaningful."""

    def utc(self) -> datetime:
        """The date and time in UTC."""
        now = self._ticks()
        if self._began is None:
            self._began = self._start or system_utc(), now
        start, began = self._began
        return start + timedelta(seconds=now - began)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop's clock. Nothing else in this project sleeps."""
        await anyio.sleep(max(0.0, seconds))


class ServiceClock:
    """The service's clock, whose difference from this machine's, which may be hours, the `Date` headers of its answers show.

    Each answer shows it to a second, and each further one narrows that: the difference of two clocks stays the same. `clock` is
    this machine's time.
    """

    def __init__(self, clock: Clock) -> None:
        # Seconds that the service's clock is ahead; None until the service has answered.
        self.offset: float | None = None
        self.unsure = 0.0  # seconds by which `now` may be wrong, in either direction
        self._clock = clock
        self._range = -math.inf, math.inf
        self._assumed = 0.0

    def observe(self, date: datetime, sent: datetime, received: datetime) -> None:
        """Learn from the `Date` header of an answer; when its request was sent and it came is by this machine's clock."""
        seen = (date - received).total_seconds(), (date - sent).total_seconds() + DATE_RESOLUTION
        if max(map(abs, seen)) > PLAUSIBLE:
            return
        both = max(seen[0], self._range[0]), min(seen[1], self._range[1])
        # If nothing is left, one of the clocks was set.
        least, most = self._range = both if both[0] <= both[1] else seen
        self.offset, self.unsure = (least + most) / 2, (most - least) / 2

    def assume(self, offset: object) -> None:
        """Let `now` use the offset that an earlier command has seen, until the service answers; `offset` stays unknown."""
        if isinstance(offset, int | float) and abs(offset) <= PLAUSIBLE:
            self._assumed = offset

    def now(self) -> datetime:
        """The service's time; this machine's time until the offset is known or assumed."""
        return self._clock.utc() + timedelta(
            seconds=self._assumed if self.offset is None else self.offset
        )


class Stoppable:
    """A base class for objects whose waits can all be ended at once."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.stopping = False  # from then on every wait ends at once
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
