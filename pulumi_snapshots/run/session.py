"""The session of one API key: client, rate limiter, listings, ledger and memory, shared by a process's operations."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.clock import Clock, Stoppable
from pulumi_snapshots.errors import Next, NothingSent, Step, Text, Words
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.listing.listings import READS_SHARE, Listings
from pulumi_snapshots.listing.polling import PollPlan
from pulumi_snapshots.progress import Fleet
from pulumi_snapshots.run.memory import RunMemory
from pulumi_snapshots.run.settings import LISTING_CACHES, Settings
from pulumi_snapshots.service.client import BRIEF, ONCE, Client
from pulumi_snapshots.service.errors import KeyRefused, SquareCloudError
from pulumi_snapshots.service.rate_limiter import RateLimiter

if TYPE_CHECKING:
    import httpx  # spoken in `service` only

UNWRITTEN = (
    "the ledger of what is sent cannot be used ({trouble}): nothing new is sent, this process keeps the service's limits alone, "
    "and other runs do not see the result of what it has sent"
)


class Session(Stoppable):
    """The session of one API key in a process; raises `MissingKey` if the settings have none."""

    def __init__(  # noqa: PLR0913  tests replace most of them
        self,
        settings: Settings,
        ledger: Ledger,
        memory: RunMemory | None = None,
        *,
        clock: Clock | None = None,
        http: httpx.AsyncBaseTransport | None = None,
        chance: random.Random | None = None,
    ) -> None:
        super().__init__(clock or Clock())
        self.settings = settings
        self.ledger = ledger
        self.memory = memory or RunMemory()
        self.chance = chance or random.Random()  # noqa: S311  jitter, no secret
        self.service_clock = ledger.clock
        self.rate_limiter = RateLimiter(
            self.clock,
            ledger,
            settings.account(),
            requests_per_minute=settings.own_requests,
            block_wait=settings.block_wait,
        )
        address = settings.api_url, settings.required_key().value
        self.client = Client(self.rate_limiter, *address, self.clock, self.service_clock, http=http)
        self.fleet = Fleet(self.clock)
        self.listings = Listings(self.client, self.clock, ledger)
        self.poll_plan = PollPlan(
            self.listings,
            first_after=settings.first_poll_after,
            every=settings.poll_every,
            ends=LISTING_CACHES[settings.listing_cache],
        )
        self._asking_time = anyio.Lock()
        # When it was asked for in vain last, and why.
        self._no_time: tuple[float, SquareCloudError | None] = (-math.inf, None)
        # On an attempt, or on a database of drills: of several who would do the same, one does it.
        self.locks: dict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._reads_start = -math.inf
        self._warned = False

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    def take_note(self) -> Words:
        """The warning that the ledger cannot be used, if it was not taken before; empty otherwise."""
        if not self.ledger.trouble or self._warned:
            return ""
        self._warned = True
        return Text(UNWRITTEN, trouble=self.ledger.trouble)

    async def know_time(self, database_id: str, *, briefly: bool = False) -> None:
        """Learn the service's time, if no answer has shown it yet, by requests on which no listing's page hangs.

        A database that is out of order must not hold up the others: then the account is asked too, unless `briefly`. Raises
        `NothingSent` if no answer shows it, `KeyRefused` if the key is refused.
        """
        if self.service_clock.offset is not None:
            return
        began = self.clock.monotonic()
        status = partial(self.client.database_status, database_id, patience=ONCE if briefly else BRIEF)
        asks: list[Callable[[], Awaitable[object]]] = [status]
        asks += [] if briefly else [partial(self.client.account, patience=ONCE)]
        async with self._asking_time:
            asked_at, failed = self._no_time
            for ask in asks if asked_at < began else []:  # unless another caller asked while this one waited
                if self.service_clock.offset is None:
                    failed = None
                    try:
                        await ask()
                    except KeyRefused:
                        raise
                    except SquareCloudError as error:  # a refusal has a time too
                        failed = error
                    if not briefly:
                        self._no_time = self.clock.monotonic(), failed
        if self.service_clock.offset is None:
            why = failed.happened if failed else "its answers have no date"
            unknown = f"Nothing was requested for database {database_id}, since the service's time is not known: {why}"
            raise NothingSent(unknown, then=failed.then if failed else [Next(Step.RUN_AGAIN)]) from failed

    def left_for_reads(self, seconds: float) -> float:
        """What is left of the `seconds` that all reads of a run share, counted from the first read."""
        now = self.clock.monotonic()
        if now - self._reads_start > READS_SHARE:
            self._reads_start = now
        return max(0.0, self._reads_start + seconds - now)
