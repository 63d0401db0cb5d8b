"""The service's limits, each number once, and the kinds of requests that have them."""

from dataclasses import dataclass

SNAPSHOT_PER_ACCOUNT = 5.0
"""Seconds between two creates of an account, by the reference page."""
SNAPSHOT_PER_DATABASE = 180.0
"""Seconds between two creates of a database, by the reference page."""
RESTORE_PER_DATABASE = 120.0
"""Seconds between two restores of a database, by the OpenAPI document."""
ACCOUNT_LISTING_BLOCK = 300.0
"""Seconds for which the account's listings are blocked after one too many, by the OpenAPI document.
"""
BUDGET_WINDOW = 60.5
"""Seconds of a minute in which requests are counted, and half a second.

The service is assumed to count by arrival, so half a second is added for network jitter. No
block is shorter than this, whatever `Retry-After` says: a block ends no sooner than the minute
whose budget was exceeded.
"""


@dataclass(frozen=True)
class Lane:
    """A kind of request, and the spacing that the service's limits require."""

    name: str  # in the ledger, which other processes read
    per_account: float = 0.0  # seconds between two requests of the account
    per_database: float = 0.0  # seconds between two requests of one database
    # Whether the request starts a snapshot or a restore. Such requests go before reads, and are not
    # sent during a block or an outage.
    starts: bool = False
    # Whether it starts nothing, but may use what the budget leaves for such requests.
    goes_with_post: bool = False
    # how many requests of the lane CHECK leave right after its claim
    checks: int = 0

    @property
    def is_read(self) -> bool:
        """Whether it is a read that no spacing delays."""
        return not self.starts and self.per_account == 0

    @property
    def is_urgent(self) -> bool:
        """Whether it may use what the budget leaves for POSTs."""
        return self.starts or self.goes_with_post


# The numbers are from the OpenAPI document; the additions to them allow for network jitter.
CREATE = Lane(
    "create", SNAPSHOT_PER_ACCOUNT + 0.15, SNAPSHOT_PER_DATABASE + 1, starts=True
)
RESTORE_LANE = Lane(
    "restore", 60.0 + 0.5, RESTORE_PER_DATABASE + 0.5, starts=True, checks=1
)
READ = Lane("read")
# what a restore asks for between its claim and its request
CHECK = Lane("check", goes_with_post=True)
CREDENTIALS = Lane("credentials", 3.0 + 0.2)
# the service counts the requests that its cache does not serve
ACCOUNT_LANE = Lane("account listing", 60 / 3 + 0.2)
