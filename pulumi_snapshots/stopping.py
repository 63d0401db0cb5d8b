"""Waits that end by their time, or at once when the run stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from pulumi_snapshots.clock import Clock

REFRESH_PATIENCE = 110.0
"""Seconds for the refresh, get or delete of one resource, so that it ends within 2 minutes."""


class Stoppable:
    """A base class for objects whose waits can all be ended at once.

    Attributes:
        clock: the time.
        stopping: whether `stop` was called; from then on every wait ends at once.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.stopping = False
        self._scopes: set[anyio.CancelScope] = set()

    def stop(self) -> None:
        """End all waits, as after ^C. Operations keep what they must, and send no further request."""
        self.stopping = True
        for scope in tuple(self._scopes):
            scope.cancel()

    @contextmanager
    def until(self, seconds: float) -> Iterator[anyio.CancelScope]:
        """Run the body until it ends, `seconds` have passed or `stop` is called; the yielded scope shows whether it was cut."""
        with anyio.CancelScope(deadline=self.clock.monotonic() + seconds) as scope:
            self._scopes.add(scope)
            if self.stopping:
                scope.cancel()
            try:
                yield scope
            finally:
                self._scopes.discard(scope)
