"""The session of one API key: client, rate limiter, listings, journals and memory, shared by a process's operations."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

from pulumi_snapshots.addresses import is_loopback
from pulumi_snapshots.api.client import Client
from pulumi_snapshots.api.pacing.rate_limiter import LOCAL_BLOCK, RateLimiter
from pulumi_snapshots.api.pacing.request_log import RequestLog
from pulumi_snapshots.attempt.memory import RunMemory
from pulumi_snapshots.attempt.process import Process
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors.text import Text, Words
from pulumi_snapshots.listing.complete import CompleteListings
from pulumi_snapshots.listing.databases import Databases
from pulumi_snapshots.listing.kept import KeptPages
from pulumi_snapshots.listing.listings import READS_SHARE, Listings
from pulumi_snapshots.listing.poll_plan import PollPlan
from pulumi_snapshots.locked_file import LockedFile
from pulumi_snapshots.progress import Fleet
from pulumi_snapshots.run.drills import Drills
from pulumi_snapshots.run.journals import (
    Journals,
    drills_file,
    guards_file,
    journals_of,
    process_of,
    requests_file,
    shared_state_of,
)
from pulumi_snapshots.run.quota import QuotaHint
from pulumi_snapshots.run.settings import LISTING_CACHES, Settings
from pulumi_snapshots.stopping import Stoppable

if TYPE_CHECKING:
    import httpx  # spoken in `api` only

    from pulumi_snapshots.shared_state.state import SharedState

NOT_SHARED = (
    "the runs on this machine cannot share what they send ({trouble}): run one at a time. Two at once may exceed the "
    "service's limits, and a killed run is not resumed"
)
NOT_REACHED = (
    "{shared_state} failed ({trouble}): this machine keeps the service's limits alone until it answers again. Runs on other "
    "machines may exceed them together, and do not see the end of what this one has sent"
)
LOST = (
    "a file that the runs on this machine share was lost ({damage}): starting fresh. An earlier killed run is not resumed, so "
    "its snapshot is taken again unless {reuse_within} adopts it"
)


class Session(Stoppable):
    """The session of one API key in a process.

    Args:
        settings: the settings, with an API key.
        memory: the memory of the run, shared by its sessions.
        clock: the time.
        http: the HTTP transport; the network if not given.
        chance: the source of the jitter between retries.
        state: the directory for the files that the runs of this machine share; without one nothing is shared.
        process: this process; the real one if not given.
        shared: the place that all machines share, if it is open already; the one of the settings if not given.
        beside: another session of this process with the same key; both count what either sends.
        journals: of the key, if they are open already.
        announce: see `Fleet`.
        cuts_rows: see `Fleet`.

    Raises:
        MissingKey: the settings have no API key.
    """

    def __init__(  # noqa: PLR0913  tests replace most of them
        self,
        settings: Settings,
        memory: RunMemory | None = None,
        *,
        clock: Clock | None = None,
        http: httpx.AsyncBaseTransport | None = None,
        chance: random.Random | None = None,
        state: Path | None = None,
        process: Process | None = None,
        shared: SharedState | None = None,
        beside: Session | None = None,
        journals: Journals | None = None,
        announce: Callable[[str], None] | None = None,
        cuts_rows: bool = False,
    ) -> None:
        super().__init__(clock or Clock())
        self.settings = settings
        self.memory = memory or RunMemory()
        self.chance = chance or random.Random()  # noqa: S311  jitter, no secret
        self.shared_state = shared or shared_state_of(settings, self.clock)
        if journals is None:
            process = process or process_of(self.shared_state)
            journals = journals_of(settings, self.clock, state, process, self.shared_state)
        self.journals = journals
        process = journals["snapshot"].process
        requests = requests_file(settings, self.clock, state, self.shared_state)
        self.drills = Drills(drills_file(settings, self.clock, state, self.shared_state))
        # Of programs in other processes; without a folder they keep none.
        self.guards = guards_file(settings, self.clock, state, self.shared_state) if state else None
        self._files = [requests, *(journal.file for journal in self.journals.values())]
        # A service on this machine is asked at no cost whether its block still lasts; see LOCAL_BLOCK.
        local = is_loopback(urlsplit(settings.api_url).hostname or "")
        log = RequestLog(self.clock, requests, name=process.name, shares_blocks=not local)
        self.request_log: RequestLog = beside.request_log if beside else log
        self.rate_limiter = RateLimiter(
            self.clock,
            requests_per_minute=settings.own_requests,
            block_wait=settings.block_wait,
            longest_block=LOCAL_BLOCK if local else math.inf,
            log=self.request_log,
        )
        self.client = Client(settings.api_url, settings.required_key().value, self.rate_limiter, self.clock, http=http)
        self.service_clock = self.client.service_clock
        self.poll_every = settings.look_every
        self.databases = Databases(self.client, self.clock)
        self.fleet = Fleet(self.clock, announce, cuts_rows=cuts_rows)
        self.listings = Listings(self.client, self.clock, invalidated=LISTING_CACHES[settings.listing_cache])
        journal, budget = self.journals["snapshot"], settings.own_requests
        self.complete_listings = CompleteListings(
            self.listings, self.databases, journal, self.clock, requests_per_minute=budget
        )
        self.poll_plan = PollPlan(
            self.listings, self.clock, first_look_after=settings.first_look_after, look_every=settings.look_every
        )
        # Of this machine alone, since shell completion reads them.
        pages = LockedFile(state / f"{settings.fingerprint()}.pages.json", self.clock) if state else None
        self.kept_pages = KeptPages(pages)
        self.quota_hint = QuotaHint(self.client, self.listings, self)
        self._locks: dict[tuple[str, str], anyio.Lock] = defaultdict(anyio.Lock)
        self._reads_start = -math.inf
        self._noted: set[str] = set()

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    def take_note(self) -> Words:
        """The warnings about the shared files that were not taken before; empty if there are none."""
        files = [file for file in self._files if file is not None]
        trouble = next((file.trouble for file in files if file.trouble), "")
        damage = next((file.damage for file in files if file.damage), "")
        unshared = NOT_SHARED if self.shared_state is None else NOT_REACHED
        new = [note for note, why in ((unshared, trouble), (LOST, damage)) if why and note not in self._noted]
        self._noted.update(new)
        return Text(". ".join(new), trouble=trouble, damage=damage) if new else ""

    def lock(self, what: str, database_id: str) -> anyio.Lock:
        """The lock for snapshots of a database, or for restores onto it. An operation holds it while it sends and waits.

        Two operations of one kind at once could not be distinguished in the listings. `what` is `snapshot` or `restore`.
        """
        return self._locks[what, database_id]

    def left_for_reads(self, seconds: float) -> float:
        """What is left of the `seconds` that all reads of a run share, counted from the first read."""
        now = self.clock.monotonic()
        if now - self._reads_start > READS_SHARE:
            self._reads_start = now
        return max(0.0, self._reads_start + seconds - now)

    async def account_id(self) -> str:
        """Get the account's id, with one request for all callers; raises a `SquareCloudError` if there is no answer."""
        return (await self.databases.account(since=-math.inf)).id
