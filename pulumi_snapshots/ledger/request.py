"""A request whose result is not known yet, in the form of the state and the ledger. It loads no HTTP stack."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.properties.catalogue import Record, declare

if TYPE_CHECKING:
    from collections.abc import Mapping

FAILED_AFTER = timedelta(hours=2)
"""An accepted request has failed if a listing fetched this long after it does not show its snapshot. No snapshot and no cached
page takes as long."""
LATEST_OF_LOST = timedelta(minutes=15)
"""How much later than a request whose answer was lost its snapshot may have been taken: the service's soft deadline of 90 s and
the "~2 minutes" after it, with room."""
LOST_AFTER = timedelta(minutes=50)
"""The same if its answer was lost: 20 minutes, by which its snapshot is whole, and the 30 minutes for which the service may
serve an older page."""
SKEW = timedelta(seconds=5)
"""How far `modified` may be before the POST: `Date` has whole seconds, and clocks drift."""
CLEAR = SKEW + timedelta(seconds=1)
"""How long a request waits after a snapshot of the same database: longer than the skew that finding it allows."""
ACCEPTED = frozenset({"200", "202"})


class Request(Record, sparse=True):
    """The request of a snapshot or a restore whose result is not known yet."""

    posted_at: datetime = declare("When it was sent, by the service's clock.")
    answered: str = declare("`202`, `200`, or how the answer was lost.")
    timeout: float = declare("Seconds that the create was to wait.")
    id: str = declare("Identifies the request among those that runs remember.", default="")
    service_clock_offset: float | None = declare(
        "In states of versions before 0.1: seconds that the service's clock was ahead of the one that `posted_at` is by.",
        default=None,
        internal=True,
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
    def from_outputs(cls, outputs: Mapping[str, Any]) -> Self:
        """From the state or the ledger; one by a machine's clock is moved to the service's."""
        request = super().from_outputs(outputs)
        if request.service_clock_offset is not None:
            ahead = timedelta(seconds=request.service_clock_offset)
            request = replace(request, posted_at=request.posted_at + ahead, service_clock_offset=None)
        return request if request.id else replace(request, id=rfc3339(request.posted_at))

    @property
    def accepted(self) -> bool:
        """Whether the service accepted it."""
        return self.answered in ACCEPTED

    @property
    def longest(self) -> timedelta:
        """How long after it a listing without its snapshot proves that there will be none."""
        return max(FAILED_AFTER, timedelta(seconds=self.timeout)) if self.accepted else LOST_AFTER

    @property
    def requested(self) -> datetime:
        """When it was sent, in whole seconds, as a state has it."""
        return self.posted_at.replace(microsecond=0)

    def age(self, now: datetime) -> float:
        """Seconds since it was sent, at this time of the service; 0 if that is in the future."""
        return max(0.0, (now - self.posted_at).total_seconds())
