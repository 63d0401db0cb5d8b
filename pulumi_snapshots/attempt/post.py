"""A POST whose end was not seen yet, as the state and the journal keep it. Standard library only."""

from __future__ import annotations

from datetime import datetime, timedelta

from pulumi_snapshots.properties.catalogue import Record, declare

__all__ = ["FAILED_AFTER", "Post"]

FAILED_AFTER = timedelta(hours=2)
"""Far beyond any snapshot and any cached page: a POST has failed if no listing shows its snapshot so long after it."""


class Post(Record, sparse=True):
    """A request whose end was not seen yet: of a snapshot, or of a restore."""

    posted_at: datetime = declare("When it was sent, by the machine's clock.")
    service_clock_offset: float | None = declare(
        "Seconds that the service's clock was ahead then; absent if no answer had shown it."
    )
    answered: str = declare("`202`, `200`, or how the answer was lost.")
    timeout: float = declare("Seconds that the create was to wait.")
    missing_since: datetime | None = declare(
        "Of a snapshot: when a listing proved that it failed, by the service's clock.", default=None
    )
    down_before: bool = declare(
        "Of a restore: whether its database was not seen running since before the request.", default=False
    )
    seen_down: bool = declare("Of a restore: whether its database was seen down because of it.", default=False)

    @property
    def failed_after(self) -> timedelta:
        """How long after it the POST has failed if a listing does not show its snapshot; later ones are others' then."""
        return max(FAILED_AFTER, timedelta(seconds=self.timeout))

    def age(self, now: datetime) -> float:
        """Seconds since it was sent; none if another machine's clock puts it into the future.

        Args:
            now: this machine's time.
        """
        return max(0.0, (now - self.posted_at).total_seconds())

    @property
    def accepted(self) -> bool:
        """Whether the service said that it took it."""
        return self.answered in {"200", "202"}
