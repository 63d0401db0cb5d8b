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

    def utc(self) -> datetime:
        return self._clock.utc() + timedelta(seconds=self.ahead)


def set_clock(clock: Clock, ahead: timedelta) -> AbstractContextManager[object]:
    """Let the machine's clock be ahead while the body runs, or behind."""
    right = clock.utc

    def wrong() -> datetime:
        return right() + ahead

    return mock.patch.object(clock, "utc", wrong)
