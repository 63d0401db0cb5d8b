"""The service's limits: cooldowns, the daily quota and rate limits, all in the service's time."""

from bisect import insort
from collections import deque
from datetime import datetime, timedelta

from squarecloud_emulator.service.refusals import RefusedError, refusal

# The documented cooldowns, in seconds.
_SNAPSHOT_PER_USER = 5  # "1 request / 5s" per user
# "1 request / 180s" per database; a page says 60 for an application, the OpenAPI document 180
_SNAPSHOT_PER_RESOURCE = 180
_RESTORE_PER_USER = 60
_RESTORE_PER_RESOURCE = 120

_QUOTA_WINDOW = timedelta(hours=24)  # "(RAM / 256) x 2 per 24h", rolling
_MB_PER_QUOTA_STEP = 256
_SNAPSHOTS_PER_QUOTA_STEP = 2

_RATE_WINDOW = timedelta(minutes=1)


class Cooldowns:
    """KEEP_CALM: the time that must pass between two accepted POSTs."""

    def __init__(self) -> None:
        self.accepted_at: dict[str, datetime] = {}

    def check_snapshot(self, resource_id: str, now: datetime) -> None:
        """Refuse a POST that takes a snapshot too soon."""
        self._check("snapshot", _SNAPSHOT_PER_USER, now)
        self._check(f"snapshot {resource_id}", _SNAPSHOT_PER_RESOURCE, now)

    def check_restore(self, resource_id: str, now: datetime) -> None:
        """Refuse a POST that restores too soon."""
        self._check("restore", _RESTORE_PER_USER, now)
        self._check(f"restore {resource_id}", _RESTORE_PER_RESOURCE, now)

    def start(self, action: str, resource_id: str, now: datetime) -> None:
        """Start both cooldowns of `action`."""
        self.accepted_at[action] = now
        self.accepted_at[f"{action} {resource_id}"] = now

    def _check(self, key: str, seconds: int, now: datetime) -> None:
        last = self.accepted_at.get(key)
        if last is not None and now - last < timedelta(seconds=seconds):
            raise refusal("KEEP_CALM", seconds=seconds)


class Quota:
    """The number of snapshots that the account may take in any 24 hours."""

    def __init__(self) -> None:
        self.uses: list[datetime] = []

    @staticmethod
    def limit(plan_memory_mb: int) -> int:
        """The number that a plan allows."""
        return plan_memory_mb // _MB_PER_QUOTA_STEP * _SNAPSHOTS_PER_QUOTA_STEP

    def used(self, now: datetime) -> int:
        """The number that counts at this moment."""
        self.uses = [use for use in self.uses if now - use < _QUOTA_WINDOW]
        return len(self.uses)

    def spend(self, plan_memory_mb: int, now: datetime) -> None:
        """Count one snapshot, or refuse it."""
        limit = self.limit(plan_memory_mb)
        if self.used(now) >= limit:
            raise refusal("DAILY_SNAPSHOTS_LIMIT_REACHED", limit=limit)
        self.uses.append(now)

    def give_back(self, spent_at: datetime) -> None:
        """Uncount a snapshot that failed."""
        if spent_at in self.uses:
            self.uses.remove(spent_at)


class RateLimit:
    """RATE_LIMITED: after too many requests in a minute, every request is refused for a while."""

    def __init__(self) -> None:
        self._requests: deque[datetime] = deque()
        self._until: datetime | None = None

    def block(self, now: datetime, seconds: float) -> None:
        """Refuse every request for so many seconds."""
        self._until = now + timedelta(seconds=seconds)
        self._requests.clear()

    def until(self, now: datetime) -> datetime | None:
        """When the block ends; None if there is no block."""
        return self._until if self._until is not None and now < self._until else None

    def check(self, now: datetime) -> None:
        """Refuse while the block lasts."""
        if self._until is None:
            return
        if now >= self._until:
            self._until = None
            return
        raise refusal("RATE_LIMITED", retry_after=(self._until - now).total_seconds())

    def count(self, now: datetime, per_minute: int, block_seconds: float) -> None:
        """Count one request; the first that exceeds the limit starts the block and is refused.

        Args:
            now: When it arrived. A delayed request may be counted after later ones; it counts for
                its own time.
            per_minute: The limit.
            block_seconds: How long the block lasts.

        """
        insort(self._requests, now)
        while self._requests[-1] - self._requests[0] >= _RATE_WINDOW:
            self._requests.popleft()
        if len(self._requests) > per_minute:
            newest = self._requests[-1]
            self.block(newest, block_seconds)
            self.check(newest)


class RouteLimits:
    """KEEP_CALM: the limits that single routes have."""

    def __init__(self) -> None:
        self._admitted: dict[str, list[datetime]] = {}

    def count(self, kind: str, most: int, seconds: int, now: datetime) -> None:
        """Admit a request of this kind, or refuse one of more than so many in so many seconds."""
        lately = [
            at
            for at in self._admitted.get(kind, ())
            if now - at < timedelta(seconds=seconds)
        ]
        if len(lately) >= most:
            raise RefusedError(429, "KEEP_CALM")  # its message is not public
        self._admitted[kind] = [*lately, now]
