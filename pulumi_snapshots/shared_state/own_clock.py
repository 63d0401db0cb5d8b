"""The clock of a place that machines share: all of them can read it, so the times in its files are by it."""

from __future__ import annotations

from pulumi_snapshots.clock import Clock


class OwnClock:
    """A place with a clock of its own, which it learns when it is opened.

    Attributes:
        clock: this machine's time.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._ahead: float | None = None

    def now(self) -> float:
        """Seconds since 1970 by the place's clock, or by this machine's until the place is open."""
        return self.clock.utc().timestamp() + (self._ahead or 0.0)

    @property
    def ahead(self) -> float | None:
        """Seconds that the place's clock is ahead of this machine's; None until the place is open."""
        return self._ahead
