"""The difference between the service's clock and this machine's, which may be hours."""

from __future__ import annotations

from datetime import datetime, timedelta

from pulumi_snapshots.clock import Clock

DATE_RESOLUTION = 1.0
"""Seconds. `Date` is cut to whole seconds, so the middle of that second is the best estimate."""
PLAUSIBLE = 10 * 365 * 86400.0
"""The largest difference in seconds that is believed. A larger one comes from a nonsensical date, and could overflow."""


class ServiceClock:
    """The service's clock, from the `Date` headers of its answers.

    Args:
        clock: this machine's time.

    Attributes:
        offset: seconds that the service's clock is ahead of this machine's; negative if it is behind, and None until the
            service has answered.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset: float | None = None

    def observe(self, date: datetime, received: datetime) -> None:
        """Learn the offset from the `Date` header of an answer, and when that was received by this machine's clock."""
        offset = (date - received).total_seconds() + DATE_RESOLUTION / 2
        if abs(offset) <= PLAUSIBLE:
            self.offset = offset

    def assume(self, offset: float | None) -> None:
        """Take the offset that an earlier run has seen, until the service answers this one."""
        if self.offset is None and offset is not None and abs(offset) <= PLAUSIBLE:
            self.offset = offset

    def now(self) -> datetime:
        """The service's time; this machine's time until the offset is known."""
        return self._clock.utc() + timedelta(seconds=self.offset or 0.0)
