"""The only source of time: monotonic seconds, sleeping, and UTC; all three move together under a virtual clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio

__all__ = ["Clock", "in_utc", "parse_rfc3339", "rfc3339", "system_utc"]


def system_utc() -> datetime:
    """This machine's UTC time, for the few places that run outside an event loop (a Pulumi diff)."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """`moment` as the outputs show it: UTC, milliseconds only where there are any (`2025-08-13T13:29:11.263Z`)."""
    moment = moment.astimezone(UTC)
    spec = "milliseconds" if moment.microsecond >= 1000 else "seconds"  # noqa: PLR2004  a millisecond
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """The moment that `text` names; a text without a zone is UTC.

    Raises:
        ValueError: `text` is no date.
    """
    return in_utc(datetime.fromisoformat(text))


def in_utc(moment: datetime) -> datetime:
    """`moment` in UTC; one without a zone is taken to be in UTC already, as everything that the service sends."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


class Clock:
    """Time as one run sees it.

    Monotonic time and sleeping come from the event loop. UTC is a start plus monotonic time, so that a test's
    virtual clock moves both, and a step of the machine's clock in the middle of a wait moves neither.

    Args:
        start: UTC time at the first use; this machine's time unless given.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start
        self._start_monotonic: float | None = None

    def monotonic(self) -> float:
        """Seconds on the event loop's clock; only differences mean something."""
        return anyio.current_time()

    def utc(self) -> datetime:
        """The time of day, UTC."""
        now = self.monotonic()
        if self._start is None:
            self._start = system_utc()
        if self._start_monotonic is None:
            self._start_monotonic = now
        return self._start + timedelta(seconds=now - self._start_monotonic)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop's clock; nothing else in the project sleeps."""
        await anyio.sleep(max(0.0, seconds))
