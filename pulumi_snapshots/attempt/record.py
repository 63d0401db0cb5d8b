"""A POST whose end was not seen yet, as the state and the journal keep it. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import parse_rfc3339, rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FAILED_AFTER", "Attempt"]

FAILED_AFTER = timedelta(hours=2)
"""Far beyond any snapshot and any cached page: a POST has failed if no listing shows its snapshot so long after it."""


@dataclass(frozen=True)
class Attempt:
    """A POST whose end was not seen yet: of a snapshot, or of a restore.

    Attributes:
        posted_at: when it was sent, by this machine's clock.
        service_clock_offset: seconds that the service's clock was ahead then; None where no answer had shown it.
        answered: `202`, `200`, or how the answer was lost.
        timeout: seconds that the create was to wait.
        missing_since: of a snapshot, service time of a listing that proved that it failed; None while there is hope.
        down_before: of a restore, whether its database was not seen running since before the POST.
        seen_down: of a restore, whether its database was seen down because of it.
    """

    posted_at: datetime
    service_clock_offset: float | None
    answered: str
    timeout: float
    missing_since: datetime | None = None
    down_before: bool = False
    seen_down: bool = False

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

    def to_outputs(self) -> dict[str, Any]:
        """As the state keeps it."""
        outputs = {
            "posted_at": rfc3339(self.posted_at),
            "service_clock_offset": self.service_clock_offset,
            "answered": self.answered,
            "timeout": self.timeout,
        }
        if self.missing_since is not None:
            outputs["missing_since"] = rfc3339(self.missing_since)
        return outputs | {name: True for name in ("down_before", "seen_down") if getattr(self, name)}

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> Attempt:
        """From the state."""
        missing = outputs.get("missing_since")
        return cls(
            posted_at=parse_rfc3339(outputs["posted_at"]),
            service_clock_offset=outputs.get("service_clock_offset"),
            answered=str(outputs.get("answered")),
            timeout=float(outputs["timeout"]),
            missing_since=parse_rfc3339(missing) if missing else None,
            down_before=bool(outputs.get("down_before")),
            seen_down=bool(outputs.get("seen_down")),
        )
