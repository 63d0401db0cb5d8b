"""A POST whose result is not known yet, in the form of the state and the journal. It loads no HTTP stack."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.properties.catalogue import Record, declare

FAILED_AFTER = timedelta(hours=2)
"""A POST has failed if a listing fetched this long after it does not show its snapshot. No snapshot and no cached page takes
as long."""


class Post(Record, sparse=True):
    """The request of a snapshot or a restore whose result is not known yet."""

    posted_at: datetime = declare("When it was sent, by the machine's clock.")
    service_clock_offset: float | None = declare(
        "Seconds that the service's clock was ahead then; absent if no answer had shown it."
    )
    answered: str = declare("`202`, `200`, or how the answer was lost.")
    timeout: float = declare("Seconds that the create was to wait.")
    missing_since: datetime | None = declare(
        "Of a snapshot: when a listing proved that it failed, by the service's clock.", default=None
    )
    earlier: datetime | None = declare(
        "Of a snapshot: when an earlier request was sent that was accepted, given up and not found, by the service's clock.",
        default=None,
    )
    down_before: bool = declare(
        "Of a restore: whether its database was not seen running since before the request.", default=False
    )
    seen_down: bool = declare("Of a restore: whether its database was seen down because of it.", default=False)

    followed: datetime | None = declare(
        "Of a restore that is queued: until when the service has shown no other one since the request, by its clock.",
        default=None,
    )
    began: datetime | None = declare(
        "Of a restore: when it began, as the service's status says, by the service's clock.", default=None
    )
    outcome: str | None = declare(
        "Of a restore: `success`, or the code with which it failed, as the service's status says.", default=None
    )

    @classmethod
    def resolved(cls, requested_at: str) -> Self:
        """The request of what is complete: a state keeps nothing of it but its time, by the service's clock."""
        return cls(parse_rfc3339(requested_at), 0.0, "200", 0.0)

    @property
    def failed_after(self) -> timedelta:
        """How long after the POST a listing without its snapshot proves that the POST failed."""
        return max(FAILED_AFTER, timedelta(seconds=self.timeout))

    def age(self, now: datetime) -> float:
        """Seconds since the POST was sent; 0 if another machine's clock puts it into the future.

        Args:
            now: this machine's time.
        """
        return max(0.0, (now - self.posted_at).total_seconds())

    @property
    def requested(self) -> datetime:
        """When it was sent, by the service's clock as far as it was known then, in whole seconds as a state has it.

        A later run that knows the clock better does not correct it: a snapshot's first id is made of it, and is a trigger of
        what depends on the snapshot.
        """
        return (self.posted_at + timedelta(seconds=self.service_clock_offset or 0.0)).replace(microsecond=0)

    @property
    def accepted(self) -> bool:
        """Whether the service accepted the POST."""
        return self.answered in {"200", "202"}
