"""Clocks that are wrong."""

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from unittest import mock

from pulumi_snapshots.clock import Clock
from tests.support.world import START


class Shifted(Clock):
    """The clock of a machine that is ahead, and that may be suspended or paused."""

    def __init__(self, clock: Clock, ahead: float = 0.0) -> None:
        super().__init__(START, self._boot, self.wall)
        self._clock = clock
        self.ahead = ahead
        # Seconds that its boot clock, and its wall clock, have not counted while it was paused.
        self.paused = 0.0
        self.wall_lost = 0.0

    def utc(self) -> datetime:
        return self._clock.utc() + timedelta(seconds=self.ahead - self.paused)

    def wall(self) -> datetime:
        """Read the time of day, which lacks a pause unless something has set it afterwards."""
        return self._clock.utc() + timedelta(seconds=self.ahead - self.wall_lost)

    def _boot(self) -> float:
        return self._clock.monotonic() - self.paused


def set_clock(clock: Clock, ahead: timedelta) -> AbstractContextManager[object]:
    """Let the machine's clock be ahead while the body runs, or behind."""
    right = clock.utc

    def wrong() -> datetime:
        return right() + ahead

    return mock.patch.object(clock, "utc", wrong)
