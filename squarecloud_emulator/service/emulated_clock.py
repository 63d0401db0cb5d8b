"""The service's time.

UTC at a chosen speed, which can jump forward and wakes the requests that wait for it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import anyio

from squarecloud_emulator.service.refusals import DroppedConnectionError

if TYPE_CHECKING:
    from squarecloud_emulator.service.settings import EmulatorSettings


class Clock(Protocol):
    """The machine's time; tests give a virtual one."""

    def monotonic(self) -> float:
        """Seconds on the event loop's clock; only differences are meaningful."""

    def utc(self) -> datetime:
        """The date and time in UTC."""


class MachineClock:
    """The time of this machine.

    UTC moves with the event loop, so a change of the machine's clock does not move it.
    """

    def __init__(self) -> None:
        self._ahead: timedelta | None = None

    def monotonic(self) -> float:
        """Seconds on the event loop's clock."""
        return anyio.current_time()

    def utc(self) -> datetime:
        """The date and time in UTC."""
        since = datetime.fromtimestamp(0, UTC) + timedelta(seconds=self.monotonic())
        if self._ahead is None:
            self._ahead = datetime.now(UTC) - since
        return since + self._ahead


class EmulatedClock:
    """Time as the service sees it.

    Args:
        clock: The machine's time.
        settings: Speed and offset; call `use` to replace them.
        lead: How far the service's time was ahead of the machine's when the last run ended.
    """

    def __init__(
        self,
        clock: Clock,
        settings: EmulatorSettings,
        lead: timedelta = timedelta(0),
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._lead = lead
        # the service's time without offset, and the machine's monotonic seconds then
        self._from: tuple[datetime, float] | None = None
        # the last time returned, for calls outside the event loop
        self._seen: datetime | None = None
        self._sleepers: set[anyio.Event] = set()
        self._stopped = False

    def now(self) -> datetime:
        """The service's UTC, its offset included."""
        return self._unshifted() + timedelta(
            seconds=self._settings.clock_offset_seconds
        )

    def monotonic(self) -> float:
        """The machine's monotonic seconds; 0 outside an event loop."""
        try:
            return self._clock.monotonic()
        # anyio's NoEventLoopError: a test may set up its emulator before its loop runs
        except RuntimeError:
            return 0.0

    def lead(self) -> timedelta:
        """How far the service's time is ahead of the machine's, without the offset."""
        try:
            return self._unshifted() - self._clock.utc()
        except RuntimeError:
            return self._lead

    def use(self, settings: EmulatorSettings) -> None:
        """Run at these settings' speed and offset from now on."""
        self._rebase(timedelta(0))
        self._settings = settings
        self._wake()

    def advance(self, seconds: float) -> None:
        """Jump forward and wake the sleepers."""
        self._rebase(timedelta(seconds=seconds))
        self._wake()

    async def sleep_until(self, moment: datetime) -> None:
        """Sleep until the service's clock shows `moment`.

        Raises:
            DroppedConnectionError: The emulator stops, so open requests end.
        """
        while True:
            if self._stopped:
                raise DroppedConnectionError
            remaining = (moment - self.now()).total_seconds() / self._settings.speed
            if remaining <= 0:
                return
            woken = anyio.Event()
            self._sleepers.add(woken)
            try:
                with anyio.move_on_after(remaining):
                    await woken.wait()
            finally:
                self._sleepers.discard(woken)

    def stop(self) -> None:
        """End every sleep, those to come included."""
        self._stopped = True
        self._wake()

    def _unshifted(self) -> datetime:
        try:
            monotonic = self._clock.monotonic()
        except RuntimeError:  # no event loop: time stands still until there is one
            return datetime.now(UTC) + self._lead if self._seen is None else self._seen
        if self._from is None:
            self._from = (self._clock.utc() + self._lead, monotonic)
        start, since = self._from
        self._seen = start + timedelta(
            seconds=(monotonic - since) * self._settings.speed
        )
        return self._seen

    def _rebase(self, jump: timedelta) -> None:
        try:
            monotonic = self._clock.monotonic()
        except RuntimeError:
            self._lead += jump
            if self._from is not None and self._seen is not None:
                self._from = (self._from[0] + jump, self._from[1])
                self._seen += jump
            return
        self._from = (self._unshifted() + jump, monotonic)

    def _wake(self) -> None:
        for woken in list(self._sleepers):
            woken.set()
