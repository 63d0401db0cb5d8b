"""The session of one API key, which all operations of a process share."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from pulumi_snapshots.clock import Clock, Stoppable
from pulumi_snapshots.errors import AnyMessage, Hint, HintKind, Message, NothingSent
from pulumi_snapshots.ledger.attempt import Kind, owner_of
from pulumi_snapshots.ledger.decision import Wish
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.listing.listings import READS_SHARE, Listings
from pulumi_snapshots.listing.plan import plan_warning
from pulumi_snapshots.listing.poll_table import PollSettings
from pulumi_snapshots.listing.polling import PollPlan
from pulumi_snapshots.properties.checks import digest_of
from pulumi_snapshots.run.memory import Fleet, RunMemory
from pulumi_snapshots.run.notices import PLAN, Notice, tell_monitor
from pulumi_snapshots.run.settings import LISTING_CACHES, Settings
from pulumi_snapshots.service.client import BRIEF, ONCE, Client
from pulumi_snapshots.service.errors import KeyRefused, SquareCloudError
from pulumi_snapshots.service.rate_limiter import RateLimiter

if TYPE_CHECKING:
    import httpx  # spoken in `service` and `hosts` only

    from pulumi_snapshots.hosts.monitor import Monitor

UNWRITTEN = (
    "the ledger cannot be used ({trouble}): nothing new is sent, this process keeps the service's "
    "limits on its own, and other runs do not see the results of its requests"
)
PLAN_ANSWER = 5.0
"""Seconds that a request may wait for what the account's plan says."""


class Session(Stoppable):
    """The session of one API key in a process; raises `MissingKey` if the settings have none."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        memory: RunMemory | None = None,
        clock: Clock | None = None,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(clock or Clock())
        self.settings = settings
        self.ledger = ledger
        self.service_clock = ledger.clock
        self.memory = memory or RunMemory()
        self.monitor: Monitor | None = None
        """Sends messages to a user's monitor; over the network unless it is given."""
        ledger.seen = self.memory.seen
        self._account = settings.account()
        self.rate_limiter = RateLimiter(
            self.clock,
            ledger,
            self._account,
            budget=settings.own_requests,
            block_wait=settings.block_wait,
        )
        key = settings.required_key().value
        self.client = Client(self.rate_limiter, settings.api_url, key, http)
        self.fleet = Fleet(self.clock)
        self.listings = Listings(self.client, self.clock, ledger)
        polls = PollSettings(
            settings.first_poll_after,
            settings.poll_every,
            LISTING_CACHES[settings.listing_cache],
        )
        self.poll_plan = PollPlan(self.listings, polls)
        self._asking_time = anyio.Lock()
        # When the time was asked for in vain last, and why.
        self._no_time: tuple[float, SquareCloudError | None] = (-math.inf, None)
        self.sent = set[str]()  # the ids of the requests that this process has sent
        # Locks of attempts, and of the databases of drills: of several operations that would do the
        # same, a single one acts.
        self.locks: dict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._reads_start = -math.inf
        self._warned = False

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    def take_note(self) -> AnyMessage:
        """Return the warning that the ledger cannot be used, once; empty if there is no trouble."""
        if not self.ledger.trouble or self._warned:
            return ""
        self._warned = True
        return Message(UNWRITTEN, trouble=self.ledger.trouble)

    async def know_time(self, database_id: str, *, briefly: bool = False) -> None:
        """Learn the service's time, if no answer has shown it yet.

        The requests are chosen so that they freeze no listing's page. A database that is out of
        order must not hold up the others, so the account is requested too.

        Args:
            database_id: A database of the account.
            briefly: Whether one try is enough.

        Raises:
            NothingSent: No answer has shown the time.
            KeyRefused: The service refuses the key.
        """
        service_clock = self.service_clock
        if service_clock.is_known():
            return
        began = self.clock.monotonic()
        async with self._asking_time:
            asked_at, failure = self._no_time
            # Another caller may have asked during the wait for the lock.
            if not service_clock.is_known() and asked_at < began:
                failure = await self._ask_time(database_id, briefly=briefly)
                if not briefly:
                    self._no_time = (self.clock.monotonic(), failure)
        if service_clock.is_known():
            return
        why = failure.happened if failure else service_clock.trouble
        happened = (
            f"Nothing was requested for database {database_id}, since the service's time is not "
            f"known: {why}"
        )
        then = failure.then if failure else [Hint(HintKind.RUN_AGAIN)]
        raise NothingSent(happened, then=then) from failure

    async def _ask_time(
        self, database_id: str, *, briefly: bool
    ) -> SquareCloudError | None:
        """Send requests until an answer shows the time; returns the last failure, if any."""
        failure: SquareCloudError | None = None
        questions = (
            partial(self.listings.account, self.clock.monotonic(), patience=ONCE),
            partial(self.client.database_status, database_id, patience=BRIEF),
        )
        for ask in questions[:1] if briefly else questions:
            try:
                await ask()
            except KeyRefused:
                raise
            except SquareCloudError as error:  # a refusal has a time too
                failure = error
            if self.service_clock.is_known():
                break
        return failure

    async def warn_of_plan_end(
        self, kind: Kind, warn: Callable[[AnyMessage], None]
    ) -> None:
        """Warn once a process if the account's plan ends soon or has ended, see `plan_warning`.

        The monitor of the setting `notify` hears of the end too, unless it knows. A process that
        has not asked for the account yet sends a request, whose failure only leaves out the
        warning.

        Args:
            kind: What the next request starts; a restore must not wait for what the plan says.
            warn: Shows a warning.
        """
        if kind == "restore" or not self.memory.is_first(plan_warning):
            return
        warning: str | None = None
        with anyio.move_on_after(PLAN_ANSWER), suppress(SquareCloudError):
            account = await self.listings.account(-math.inf, patience=ONCE)
            warning = plan_warning(account.plan_ends, self.service_clock.now())
        if warning is None:
            return
        warn(warning)
        notice = Notice("warned", PLAN, PLAN, warning)
        await tell_monitor(
            notice,
            self.settings,
            self.memory,
            warn,
            clock=self.clock,
            monitor=self.monitor,
        )

    def wish(  # noqa: PLR0913  each is a fact of its own
        self,
        kind: Kind,
        owner: str | None,
        database_id: str,
        *,
        triggers: list[Any] | None,
        timeout: float,
        forced: bool = False,
        reuses: timedelta | None = None,
        source: str | None = None,
        shared_in: str | None = None,
    ) -> Wish:
        """Return what an operation wants, with the facts that this process knows, see `Wish`.

        Args:
            kind: The kind of act.
            owner: The resource's URN, or the command.
            database_id: The database.
            triggers: The values whose change asks for another request.
            timeout: The operation's time-out in seconds.
            forced: Whether another request is wanted, whatever is remembered.
            reuses: How old a request of any owner can be to serve as well; None for no other
                request.
            source: The snapshot of a restore.
            shared_in: The run in which a Snapshot may use a guard's request too.

        Returns:
            The wish.
        """
        return Wish(
            kind,
            owner_of(owner),
            database_id,
            digest_of(triggers),
            timeout,
            source,
            self._account,
            self.memory.run,
            forced=forced,
            reuses=reuses,
            also_purposes=self.memory.purposes(triggers),
            seen=frozenset(self.memory.seen),
            shared_in=shared_in,
        )

    def left_for_reads(self, seconds: float) -> float:
        """Return what is left of the seconds that all reads of a run share, from the first one on.

        Args:
            seconds: The seconds.
        """
        now = self.clock.monotonic()
        if now - self._reads_start > READS_SHARE:
            self._reads_start = now
        return max(0.0, self._reads_start + seconds - now)
