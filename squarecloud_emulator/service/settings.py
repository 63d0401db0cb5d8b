"""How the emulated service and its account behave: the choices of a test or a demo."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from squarecloud_emulator.service.ranges import (
    COUNT,
    LONGEST,
    SECONDS,
    refuse_any_outside,
)

# 64 characters, the service's shortest key
TEST_API_KEY = "emulator-" + "0123456789abcde" * 3 + "0123456789"
CacheWorld = Literal["invalidated", "kept"]
ModifiedIs = Literal["start", "end"]
NameStyle = Literal["id", "id_type", "id_type_origin"]
Plan = Literal["paid", "free"]
RestoreStatusRoute = Literal["there", "404", "405"]
VersionStyle = Literal["uuid", "opaque"]


FASTEST = 10**6
"""Seconds of the service's time in a real one; 12 days."""
_DAYS = (0, LONGEST // 86400)
_RANGES: dict[str, tuple[float, float]] = {
    "plan_memory_mb": COUNT,
    "requests_per_minute": COUNT,
    "block_seconds": SECONDS,
    "account_listing_misses_per_minute": COUNT,
    "account_listing_block_seconds": SECONDS,
    "wrong_keys_before_block": COUNT,
    "soft_deadline_seconds": SECONDS,
    "snapshot_seconds": SECONDS,
    "automatic_hour": (0, 23),
    "retention_days": _DAYS,
    "cache_seconds": SECONDS,
    "url_valid_days": _DAYS,
    "restore_queue_seconds": SECONDS,
    "restore_seconds": SECONDS,
    "restore_tail_seconds": SECONDS,
    "restore_outcome_seconds": SECONDS,
    "clock_offset_seconds": (-LONGEST, LONGEST),
}
"""The least and the largest right number of each setting."""


@dataclass(frozen=True, kw_only=True)
class EmulatorSettings:
    """The service as documented, unless you choose otherwise.

    If the documentation is silent, you can choose both ways.

    Every duration is in seconds of the service's time; `speed` is how many of them pass in a real
    second.
    """

    # The account and its key.
    api_key: str = field(default=TEST_API_KEY, repr=False)
    account_id: str = "5f1c0de5f1c0de5f1c0de5f1"
    user_name: str = "Emulated User"
    user_email: str = "user@emulator.test"
    plan: Plan = "paid"  # "free": the account listing answers 402
    # the `duration` of `/users/me`, UTC; None: none is shown. See `Account` for what happens then
    plan_ends_at: datetime | None = None
    # the quota is (memory / 256) * 2 snapshots in any 24 hours
    plan_memory_mb: int = 2048
    scopes: frozenset[str] | None = None  # None: the key may do everything
    resources: frozenset[str] | None = None  # ids that the key may use; None: all

    # Limits.
    requests_per_minute: int = 60
    block_seconds: float = 1800.0
    account_listing_misses_per_minute: int = 3
    account_listing_block_seconds: float = 300.0
    # wrong keys in a minute that block the address; None: never
    wrong_keys_before_block: int | None = None
    # whether a POST that is refused for another reason starts the cooldowns
    refusals_start_cooldown: bool = False
    failures_spend_quota: bool = True
    # on RATE_LIMITED; we do not know that the service sends it
    retry_after_header: bool = False

    # Snapshots.
    soft_deadline_seconds: float = 90.0
    snapshot_seconds: float = 30.0
    # whether a POST waits for a snapshot already in progress, at no cost
    posts_join_running: bool = False
    modified_is: ModifiedIs = "end"
    key_of_200_has_version: bool = True
    name_style: NameStyle = "id"
    version_style: VersionStyle = "uuid"
    automatic_snapshots: bool = False
    automatic_hour: int = 3  # UTC
    retention_days: float = 30.0

    # Listings.
    cache_seconds: float = 1800.0
    # "invalidated": a finished snapshot drops the cached pages that lack it
    cache_world: CacheWorld = "kept"
    # only name, size, modified and key, as before api-types 5.0.0
    old_style_entries: bool = False

    # The snapshot host.
    url_valid_days: float = 30.0
    version_header: bool = True  # x-amz-version-id on downloads

    # Restores.
    # in which its status is "queued", before it starts
    restore_queue_seconds: float = 0.0
    restore_seconds: float = 60.0
    # When the POST is answered. False: at once, as the OpenAPI document says ("dispatched"). True:
    # with the outcome, as the
    # Rust SDK says, or with 202 SNAPSHOT_RESTORE_PROCESSING at the soft deadline.
    restore_holds: bool = False
    # whether the database is down while it is restored; not public
    restore_stops_database: bool = True
    # Whether a restore of a broken dump reports success all the same, with as much of it as could
    # be read.
    restore_ignores_errors: bool = False
    # after a success, in which other POSTs are answered with RESTORE_IN_PROGRESS
    restore_tail_seconds: float = 120.0
    # for which the status shows an outcome; then it is "none"
    restore_outcome_seconds: float = 3600.0
    # "404" or "405": a service without the route of the status. The vendor's stored OpenAPI
    # document does not have it.
    restore_status_route: RestoreStatusRoute = "there"

    # Time and chance.
    # how far the service's clock is ahead of the machine's
    clock_offset_seconds: float = 0.0
    speed: float = 1.0
    seed: int = 0  # of version ids and of faults with a probability

    def __post_init__(self) -> None:
        """Refuse values with which the emulator would hang or divide by zero.

        Raises:
            ValueError: A number is out of its range.
        """
        ends = self.plan_ends_at
        if ends is not None and ends.tzinfo is None:
            object.__setattr__(self, "plan_ends_at", ends.replace(tzinfo=UTC))
        if not 0 < self.speed <= FASTEST:
            raise ValueError(
                f"speed must be above 0, and at most {FASTEST}, not {self.speed}"
            )
        refuse_any_outside(self, _RANGES)

    @property
    def plan_name(self) -> str:
        """The plan's name, of the service's form: `free`, or `standard-4` for one of 4 GB."""
        return (
            "free"
            if self.plan == "free"
            else f"standard-{max(1, self.plan_memory_mb // 1024)}"
        )

    def key_has(self, scope: str | None) -> bool:
        """Whether the key has a scope; None stands for a route that needs none."""
        return scope is None or self.scopes is None or scope in self.scopes

    def key_may_use(self, resource_id: str) -> bool:
        """Whether the key is allowed to use this database."""
        return self.resources is None or resource_id in self.resources
