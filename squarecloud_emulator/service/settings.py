"""How the emulated service and its account behave: the choices of a test or a demo."""

from dataclasses import dataclass, field
from typing import Literal

# 64 characters, the service's shortest key
TEST_API_KEY = "emulator-" + "0123456789abcde" * 3 + "0123456789"
CacheWorld = Literal["invalidated", "kept"]
ModifiedIs = Literal["start", "end"]
NameStyle = Literal["id", "id_type", "id_type_origin"]
Plan = Literal["paid", "free"]
RestoreStatusRoute = Literal["there", "404", "405"]
VersionStyle = Literal["uuid", "opaque"]


@dataclass(frozen=True, kw_only=True)
class EmulatorSettings:
    """The service as documented, unless you choose otherwise. If the documentation is silent, you can choose both ways.

    Every duration is in seconds of the service's time; `speed` is how many of them pass in a real second.
    """

    # The account and its key.
    api_key: str = field(default=TEST_API_KEY, repr=False)
    account_id: str = "5f1c0de5f1c0de5f1c0de5f1"
    user_name: str = "Emulated User"
    user_email: str = "user@emulator.test"
    plan: Plan = "paid"  # "free": the account listing answers 402
    plan_memory_mb: int = 2048  # the quota is (memory / 256) * 2 snapshots in any 24 hours
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
    retry_after_header: bool = False  # on RATE_LIMITED; we do not know that the service sends it

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
    old_style_entries: bool = False  # only name, size, modified and key, as before api-types 5.0.0

    # The snapshot host.
    url_valid_days: float = 30.0
    version_header: bool = True  # x-amz-version-id on downloads

    # Restores.
    restore_queue_seconds: float = 0.0  # in which its status is "queued", before it starts
    restore_seconds: float = 60.0
    # When the POST is answered. False: at once, as the OpenAPI document says ("dispatched"). True: with the outcome, as the
    # Rust SDK says, or with 202 SNAPSHOT_RESTORE_PROCESSING at the soft deadline.
    restore_holds: bool = False
    # whether the database is down while it is restored; not public
    restore_stops_database: bool = True
    # Whether a restore of a broken dump reports success all the same, with as much of it as could be read.
    restore_ignores_errors: bool = False
    # after a success, in which other POSTs are answered with RESTORE_IN_PROGRESS
    restore_tail_seconds: float = 120.0
    # for which the status shows an outcome; then it is "none"
    restore_outcome_seconds: float = 3600.0
    # "404" or "405": a service without the route of the status. The vendor's stored OpenAPI document does not have it.
    restore_status_route: RestoreStatusRoute = "there"

    # Time and chance.
    clock_offset_seconds: float = 0.0  # how far the service's clock is ahead of the machine's
    speed: float = 1.0
    seed: int = 0  # of version ids and of faults with a probability

    def __post_init__(self) -> None:
        """Refuse values with which the emulator would hang or divide by zero.

        Raises:
            ValueError: A number is out of its range.
        """
        if self.speed <= 0:
            raise ValueError(f"speed must be above 0, not {self.speed}")
        if not 0 <= self.automatic_hour < 24:  # noqa: PLR2004 - hours of a day
            raise ValueError(f"automatic_hour must be 0 to 23, not {self.automatic_hour}")
        for name in (
            "plan_memory_mb", "requests_per_minute", "block_seconds", "account_listing_misses_per_minute",
            "account_listing_block_seconds", "soft_deadline_seconds", "snapshot_seconds", "retention_days",
            "cache_seconds", "url_valid_days", "restore_queue_seconds", "restore_seconds", "restore_tail_seconds",
            "restore_outcome_seconds",
        ):  # fmt: skip
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")

    @property
    def plan_name(self) -> str:
        """The plan's name, of the service's form: `free`, or `standard-4` for one of 4 GB."""
        return "free" if self.plan == "free" else f"standard-{max(1, self.plan_memory_mb // 1024)}"

    def key_may_use(self, resource_id: str) -> bool:
        """Whether the key is allowed to use this database."""
        return self.resources is None or resource_id in self.resources
