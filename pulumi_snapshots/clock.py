"""The only source of time, and waits that end with the run.

A test's virtual clock moves monotonic seconds, sleeping and UTC together.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import anyio

REFRESH_PATIENCE = 110.0
"""Seconds for the refresh, get or delete of one resource, so that it ends within 2 minutes."""
YEARS = range(2000, 9000)
"""No snapshot is of another one, to which no duration can be added without an overflow."""
DATE_RESOLUTION = 1.0
"""Seconds. `Date` is cut to whole seconds, so the service's time is at most this much later."""
DRIFT = 0.5
"""Seconds by which two clocks may drift apart between two answers without one of them being set."""
PLAUSIBLE = 10 * 365 * 86400.0
"""The largest difference in seconds between two clocks that is believed; beyond it one is wrong."""
NO_ANSWER_YET = "the service has not answered yet"
NO_DATE = "the service's answers have no date"
WRONG_MACHINE = (
    "this machine's clock is wrong: it says {here}, and the service says {there}"
)
COUNTING = getattr(
    time, "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME", None
)
"""The system's monotonic clock that counts while the machine is suspended; None if it has none but
Python's. There a POST that was under way meanwhile may not be matched to its snapshot."""


def system_utc() -> datetime:
    """Return this machine's UTC time, for code outside an event loop, such as a Pulumi diff."""
    return datetime.now(UTC)


def system_monotonic() -> float:
    """Return this machine's monotonic seconds, for a thread without an event loop.

    Only differences are meaningful.
    """
    return time.monotonic()


def rfc3339(moment: datetime) -> str:
    """Format a time as in the outputs: UTC, with milliseconds if there are any.

    Args:
        moment: the time; a time without a zone is UTC.

    Returns:
        The text, such as `2025-08-13T13:29:11.263Z`.
    """
    moment = moment.astimezone(UTC)
    spec = "milliseconds" if moment.microsecond >= 1000 else "seconds"  # noqa: PLR2004  a millisecond
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """Parse a time; a text without a zone is UTC.

    Args:
        text: such as `2025-08-13T13:29:11.263Z`.

    Returns:
        The time, with a zone.

    Raises:
        ValueError: The text is not a date, or is a date of another age.
    """
    return in_utc(datetime.fromisoformat(text))


def in_utc(moment: datetime) -> datetime:
    """Convert a time to UTC.

    Args:
        moment: the time. A time without a zone is UTC already, like all times of the service.

    Returns:
        The time in UTC.

    Raises:
        ValueError: The year is nonsense.
    """
    if moment.year not in YEARS:
        raise ValueError("no snapshot is of that year")
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def to_the_second(moment: datetime | str) -> str:
    """Format a time as in messages: like `rfc3339`, without milliseconds.

    Args:
        moment: the time, or its text.

    Returns:
        The text, such as `2025-08-13T13:29:11Z`.
    """
    moment = parse_rfc3339(moment) if isinstance(moment, str) else moment
    return rfc3339(moment.replace(microsecond=0))


def time_text(moment: datetime, now: datetime | None = None) -> str:
    """Format a time of day for people.

    Args:
        moment: the time.
        now: the present time, to leave out today's date; None leaves out any date.

    Returns:
        The text: `12:32:05 UTC`, after the date if it is not the date of `now`.
    """
    moment = moment.astimezone(UTC)
    spec = (
        "%H:%M:%S UTC"
        if now is None or moment.date() == now.astimezone(UTC).date()
        else "%Y-%m-%d %H:%M:%S UTC"
    )
    return moment.strftime(spec)


class Stamp(NamedTuple):
    """One moment by both clocks of a machine, either of which can stand still or jump."""

    wall: datetime
    """The time of day, which a user or the network can set."""
    boot: float
    """Seconds since the machine started, also while it sleeps; but not while all of it is paused.
    """


class Clock:
    """The time of one run.

    Monotonic time and sleeping come from the event loop. UTC is a `start`, or else this machine's
    time at the first use, plus the seconds of a clock that counts while the machine is suspended.
    So a change of the machine's clock during a wait moves neither.

    Args:
        start: The UTC time at the first use; None for this machine's.
        ticks: Returns the seconds that UTC counts; None for the system's boot clock, or with a
            `start` for the event loop's, so that a virtual clock moves UTC too.
        wall: Returns this machine's time of day, for `stamp`; None for the system's, or with a
            `start` for `utc`.
    """

    def __init__(
        self,
        start: datetime | None = None,
        ticks: Callable[[], float] | None = None,
        wall: Callable[[], datetime] | None = None,
    ) -> None:
        counting = (
            time.monotonic
            if COUNTING is None
            else partial(time.clock_gettime, COUNTING)
        )
        self._ticks = ticks or (anyio.current_time if start else counting)
        self._wall = wall
        self._start = start
        self._began: tuple[datetime, float] | None = None

    monotonic = staticmethod(anyio.current_time)
    """Seconds on the event loop's clock; only differences are meaningful."""

    def utc(self) -> datetime:
        """Return the date and time in UTC."""
        now = self._ticks()
        if self._began is None:
            self._began = self._start or system_utc(), now
        start, began = self._began
        return start + timedelta(seconds=now - began)

    def stamp(self) -> Stamp:
        """Return this moment by both clocks of the machine, for `age_of`."""
        if self._wall is not None:
            wall = self._wall()
        elif self._start is not None:
            wall = self.utc()
        else:
            wall = system_utc()
        return Stamp(wall, self._ticks())

    def age_of(self, stamp: Stamp) -> float:
        """Return the seconds since a stamp, by whichever clock has moved most.

        Args:
            stamp: an earlier moment.
        """
        now = self.stamp()
        return max(abs((now.wall - stamp.wall).total_seconds()), now.boot - stamp.boot)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop's clock. Nothing else in this package sleeps.

        Args:
            seconds: how long.
        """
        await anyio.sleep(max(0.0, seconds))


class TimeSpan(NamedTuple):
    """Two times of the service; something happened between them."""

    earliest: datetime
    latest: datetime


def corrected_time(
    claimed: datetime, span: TimeSpan | None, skew: timedelta
) -> datetime:
    """Correct the time at which a request was sent by the evidence of its answer.

    Args:
        claimed: The time in the ledger, by the service's clock.
        span: The times between which the answer shows that the request was sent; None if the answer
            shows nothing.
        skew: How far outside of the span the claimed time can be.

    Returns:
        The claimed time if it fits the span, else the earliest time that does.
    """
    if span is None or span.earliest - skew <= claimed <= span.latest + skew:
        return claimed
    return span.earliest


class _Offset(NamedTuple):
    """The seconds by which the service's clock can be ahead of this machine's."""

    least: float
    most: float
    date: datetime
    """The `Date` of the last answer that shows it."""

    def agrees_with(self, other: _Offset) -> bool:
        """Tell whether both can be right, or differ by no more than clocks drift."""
        return max(self.least, other.least) <= min(self.most, other.most) + DRIFT

    def narrowed_by(self, other: _Offset) -> _Offset:
        """Return what both allow, or the other one if the clocks have drifted apart."""
        least = max(self.least, other.least)
        most = min(self.most, other.most)
        return other if least > most else _Offset(least, most, other.date)


class ServiceClock:
    """The service's clock, which the `Date` headers of its answers show.

    The service's clock can be hours ahead of this machine's `clock`. Each answer shows the
    difference to a second, and further answers narrow it, because the difference does not change.
    The first answer is believed, since there is nothing else. After that, one deviating answer
    moves nothing, because a proxy may have stored its page: two answers with different dates must
    agree.

    Attributes:
        offset: The seconds that the service's clock is ahead; None while no answer has shown it.
        unsure: The seconds by which `now` can be wrong, in either direction; 0 while it is unknown.
    """

    def __init__(self, clock: Clock) -> None:
        self.offset: float | None = None
        self.unsure = 0.0
        self._clock = clock
        self._believed: _Offset | None = None
        self._doubting: _Offset | None = None  # the last answer that disagrees
        self._assumed = 0.0
        self._trouble = NO_ANSWER_YET

    def is_known(self) -> bool:
        """Tell whether an answer has shown the service's time."""
        return self.offset is not None

    @property
    def trouble(self) -> str | None:
        """Why the service's time is not known, as a clause; None if the time is known."""
        return self._trouble if self._believed is None else None

    def observe(
        self, date: datetime | None, sent: datetime, received: datetime
    ) -> TimeSpan | None:
        """Learn from an answer of the service.

        Args:
            date: Its `Date` header; None without a date of the service's own.
            sent: When its request was sent, by this machine's clock.
            received: When the answer came, by this machine's clock.

        Returns:
            The times of the service between which the request was sent; None if the answer shows
            none.
        """
        if date is None:
            self._trouble = NO_DATE
            return None
        least = (date - received).total_seconds()
        most = (date - sent).total_seconds() + DATE_RESOLUTION
        if max(abs(least), abs(most)) > PLAUSIBLE:
            self._trouble = WRONG_MACHINE.format(
                here=_to_say(received), there=_to_say(date)
            )
            return None
        self._weigh(_Offset(least, most, date))
        latest = date + timedelta(seconds=DATE_RESOLUTION)
        return TimeSpan(date - (received - sent), latest)

    def _weigh(self, shown: _Offset) -> None:
        """Decide whether an answer narrows what is believed, takes its place, or must wait."""
        believed = self._believed
        if believed is None:
            believed = shown
        elif shown.agrees_with(believed):
            believed = believed.narrowed_by(shown)
            self._doubting = None
        elif self._doubting is not None and self._is_seconded(self._doubting, shown):
            believed = self._doubting.narrowed_by(shown)
            self._doubting = None
        else:
            self._doubting = shown
        self._believed = believed
        self.offset = (believed.least + believed.most) / 2
        self.unsure = (believed.most - believed.least) / 2

    @staticmethod
    def _is_seconded(doubting: _Offset, shown: _Offset) -> bool:
        """Tell whether a second answer confirms a doubt; the same date is that of the same page."""
        return shown.date != doubting.date and shown.agrees_with(doubting)

    def assume(self, offset: object) -> None:
        """Let `now` use an offset that an earlier command saw, until the service answers.

        Args:
            offset: The seconds that the service's clock is ahead; anything but a number is ignored.
        """
        if isinstance(offset, int | float) and abs(offset) <= PLAUSIBLE:
            self._assumed = offset

    def now(self) -> datetime:
        """Return the service's time; this machine's until the offset is known or assumed."""
        offset = self._assumed if self.offset is None else self.offset
        return self._clock.utc() + timedelta(seconds=offset)


def _to_say(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


class Stoppable:
    """A base class for objects whose waits can all be ended at once."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.stopping = False  # from then on every wait ends at once
        self._scopes: set[anyio.CancelScope] = set()

    def stop(self) -> None:
        """End all waits, as after ^C.

        Operations save what must be kept, and send no further request.
        """
        self.stopping = True
        for scope in tuple(self._scopes):
            scope.cancel()

    @contextmanager
    def until(self, seconds: float) -> Iterator[anyio.CancelScope]:
        """Run the body until it ends, `seconds` have passed or `stop` is called.

        Args:
            seconds: how long the body can run.

        Yields:
            The scope, which shows whether the body was cut.
        """
        with anyio.CancelScope(deadline=self.clock.monotonic() + seconds) as scope:
            self._scopes.add(scope)
            if self.stopping:
                scope.cancel()
            try:
                yield scope
            finally:
                self._scopes.discard(scope)


@asynccontextmanager
async def alongside(
    work: Callable[[], Coroutine[Any, Any, None]],
) -> AsyncIterator[None]:
    """Do work while the body runs, and cancel the work at the body's end.

    Args:
        work: Work that does not fail.

    Yields:
        Nothing.
    """
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            try:
                yield
            finally:
                group.cancel_scope.cancel()
    except ExceptionGroup as failures:
        failure = failures.exceptions[0]
        raise failure from failure.__cause__
