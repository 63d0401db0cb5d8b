"""The service's clock as its `Date` headers show it, against this machine's; the two may differ by hours."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_snapshots.clock import Clock

__all__ = ["ServiceClock"]

DATE_RESOLUTION = 1.0
"""Seconds: `Date` is cut to whole seconds, so the middle of that second is the best guess."""

BELIEVED = 10 * 365 * 86400.0
"""Seconds between the two clocks that are believed; beyond them a date is nonsense that no arithmetic should meet."""


class ServiceClock:
    """How far the service's clock is ahead of this machine's.

    Attributes:
        offset: seconds, negative where it is behind; None until an answer of the service has shown it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset: float | None = None

    def observe(self, date: datetime, received: datetime) -> None:
        """Learn from an answer that was made at `date` and whose head came at `received`, by this machine's clock."""
        offset = (date - received).total_seconds() + DATE_RESOLUTION / 2
        if abs(offset) <= BELIEVED:
            self.offset = offset

    def now(self) -> datetime:
        """The service's time; this machine's where the difference is not known."""
        return self._clock.utc() + timedelta(seconds=self.offset or 0.0)
