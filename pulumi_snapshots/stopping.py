"""Waiting that ends by its time, or at once when the run is to stop; one rule for everything that waits."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_snapshots.clock import Clock

__all__ = ["REFRESH_PATIENCE", "Stoppable"]

REFRESH_PATIENCE = 110.0
"""Seconds for a refresh, a get or a delete of one resource, so that it ends within 2 minutes."""


class Stoppable:
    """Something whose waits can be ended together.

    Args:
        clock: the time.

    Attributes:
        clock: the time.
        stopping: whether `stop` was called; from then on every wait ends as it begins.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.stopping = False
        self._scopes: set[anyio.CancelScope] = set()

    def stop(self) -> None:
        """End all waiting at once, as after ^C: what must be kept is kept, what was not sent never is."""
        self.stopping = True
        for scope in tuple(self._scopes):
            scope.cancel()

    @contextmanager
    def until(self, seconds: float) -> Iterator[anyio.CancelScope]:
        """Run the body for at most that long, and no longer than `stop` allows; the scope tells whether it was cut."""
        with anyio.CancelScope(deadline=self.clock.monotonic() + seconds) as scope:
            self._scopes.add(scope)
            if self.stopping:
                scope.cancel()
            try:
                yield scope
            finally:
                self._scopes.discard(scope)
