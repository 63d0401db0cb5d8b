"""The difference between the service's clock and this machine's, which may be hours."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from pulumi_snapshots.clock import Clock

AHEAD_HERE = "service_ahead"
"""The seconds that the service's clock was ahead of this machine's, in a ledger that only this machine uses."""
DATE_RESOLUTION = 1.0
"""Seconds. `Date` is cut to whole seconds, so the service's time is at most this much later."""
PLAUSIBLE = 10 * 365 * 86400.0
"""The largest difference in seconds that is believed. A larger one comes from a nonsensical date, and could overflow."""


class ServiceClock:
    """The service's clock, from the `Date` headers of its answers.

    Each answer shows it to a second, and each further one narrows that: the difference of two clocks stays the same. `clock` is
    this machine's time.

    Attributes:
        offset: seconds that the service's clock is ahead of this machine's; negative if behind, None until the service has
            answered.
        unsure: seconds by which `now` may be wrong, in either direction.
    """

    def __init__(self, clock: Clock) -> None:
        self.offset: float | None = None
        self.unsure = 0.0
        self._clock = clock
        self._least = -math.inf
        self._most = math.inf
        self._assumed = 0.0

    def observe(self, date: datetime, sent: datetime, received: datetime) -> None:
        """Learn from the `Date` header of an answer; when its request was sent and it came is by this machine's clock."""
        least, most = (date - received).total_seconds(), (date - sent).total_seconds() + DATE_RESOLUTION
        if abs(least) > PLAUSIBLE or abs(most) > PLAUSIBLE:
            return
        if max(least, self._least) <= min(most, self._most):
            least, most = max(least, self._least), min(most, self._most)
        self._least, self._most = least, most  # if nothing is left, one of the clocks was set
        self.offset, self.unsure = (least + most) / 2, (most - least) / 2

    def assume(self, offset: object) -> None:
        """Let `now` use the offset that an earlier command has seen, until the service answers; `offset` stays unknown."""
        if isinstance(offset, int | float) and abs(offset) <= PLAUSIBLE:
            self._assumed = offset

    def now(self) -> datetime:
        """The service's time; this machine's time until the offset is known or assumed."""
        return self._clock.utc() + timedelta(seconds=self._assumed if self.offset is None else self.offset)
