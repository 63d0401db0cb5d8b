"""Clocks that are wrong."""

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from unittest import mock

from pulumi_snapshots.clock import Clock
from tests.support.world import START


class Shifted(Clock):
    """The clock of a machine that is ahead, and that may be suspended."""

    def __init__(self, clock: Clock, ahead: float = 0.0) -> None:
        super().__init__(START)
        self._clock = clock
        self.ahead = ahead
        # How far its wall clock, as the system shows it at each moment, is ahead of the right time.
        self.wall_ahead = ahead

    def utc(self) -> datetime:
        return self._clock.utc() + timedelta(seconds=self.ahead)

    def wall(self) -> datetime:
        """Read the wall clock, which counts while the machine stands still only if something sets it afterwards."""
        return self._clock.utc() + timedelta(seconds=self.wall_ahead)


def set_clock(clock: Clock, ahead: timedelta) -> AbstractContextManager[object]:
    """Let the machine's clock be ahead while the body runs, or behind."""
    right = clock.utc

    def wrong() -> datetime:
        return right() + ahead

    return mock.patch.object(clock, "utc", wrong)
