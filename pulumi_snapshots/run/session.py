"""The session of one API key, and its operations: each claims a request in the ledger, and sends it once."""

from __future__ import annotations

import math
import os
import random
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from pulumi_snapshots.clock import Clock, Stoppable
from pulumi_snapshots.errors import LedgerUnavailable, Next, NothingSent, Step, Text, Words
from pulumi_snapshots.ledger.attempt import (
    Attempt,
    Claim,
    Intent,
    Kind,
    Request,
    Status,
    decide,
    left,
    owner_of,
)
from pulumi_snapshots.ledger.ledger import Ledger, command_of, described
from pulumi_snapshots.listing.listings import READS_SHARE, Listings
from pulumi_snapshots.listing.polling import PollPlan
from pulumi_snapshots.properties.checks import digest_of, spoken
from pulumi_snapshots.run.memory import Fleet, Member, RunMemory
from pulumi_snapshots.run.settings import LISTING_CACHES, Settings, could_share
from pulumi_snapshots.service.client import BRIEF, ONCE, POST_READ_TIMEOUT, Client
from pulumi_snapshots.service.errors import (
    Cooldown,
    KeyRefused,
    NotSent,
    RestoreRunning,
    SnapshotRunning,
    SquareCloudError,
    UnreadableAnswer,
    is_new,
)
from pulumi_snapshots.service.limits import SNAPSHOT_PER_DATABASE, Lane
from pulumi_snapshots.service.rate_limiter import RateLimiter

if TYPE_CHECKING:
    import httpx  # spoken in `service` and `hosts` only

T = TypeVar("T")
BACK_OFF = (5.0, 10.0, 20.0, 40.0, 80.0, SNAPSHOT_PER_DATABASE)
"""Seconds between refused requests, the last one for all later ones: from the shortest cooldown, the account's 5 s, to the
longest. The rate limiter keeps the cooldowns of restores."""
JITTER = 0.1  # the largest random addition to a pause, as its share: clients refused together do not return together
PASSING = (
    Cooldown,
    NotSent,
    RestoreRunning,
    SnapshotRunning,
)  # the refusals after which a request is sent again
# in a row that never left: the service cannot be reached, or the claim is always too old
UNSENT_TRIES = 3
CLAIM_LASTS = timedelta(seconds=10)
"""How old a claim may be when its request leaves. The service's own cooldowns, 120 s and more, refuse it if another run's request
came in between."""
UNWRITTEN = (
    "the ledger of what is sent cannot be used ({trouble}): nothing new is sent, this process keeps the service's limits alone, "
    "and other runs do not see the result of what it has sent"
)


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
        self.settings, self.ledger, self.service_clock = settings, ledger, ledger.clock
        self.memory = memory or RunMemory()
        self.rate_limiter = RateLimiter(
            self.clock,
            ledger,
            settings.account(),
            budget=settings.own_requests,
            block_wait=settings.block_wait,
        )
        address = settings.api_url, settings.required_key().value
        self.client = Client(self.rate_limiter, *address, http)
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
        self._reads_start, self._warned = -math.inf, False

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

        A database that is out of order must not hold up the others: then the account is asked too, unless `briefly`.
        """
        if self.service_clock.offset is not None:
            return
        began = self.clock.monotonic()
        status = partial(
            self.client.database_status, database_id, patience=ONCE if briefly else BRIEF
        )
        asks: list[Callable[[], Awaitable[object]]] = [status]
        asks += [] if briefly else [partial(self.client.account, patience=ONCE)]
        async with self._asking_time:
            asked_at, failed = self._no_time
            for ask in (
                asks if asked_at < began else []
            ):  # unless another caller asked while this one waited
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
            raise NothingSent(
                unknown, then=failed.then if failed else [Next(Step.RUN_AGAIN)]
            ) from failed

    def left_for_reads(self, seconds: float) -> float:
        """What is left of the `seconds` that all reads of a run share, counted from the first read."""
        now = self.clock.monotonic()
        if now - self._reads_start > READS_SHARE:
            self._reads_start = now
        return max(0.0, self._reads_start + seconds - now)


class TimeIsUp(Exception):
    """The wait for what was sent has ended; the text says why."""


class Operation:
    """One call that may send a request, from its beginning to its end; `wanted` is the rest of its `Intent`."""

    def __init__(  # noqa: PLR0913  what is known of it
        self,
        session: Session,
        member: Member,
        kind: Kind,
        owner: str | None,
        database_id: str,
        *,
        triggers: list[Any] | None,
        not_done: str = "",
        **wanted: Any,
    ) -> None:
        self.session, self.member = session, member
        self.not_done = not_done  # if no request was sent; a sentence
        self.began = session.clock.utc()
        self.intent = Intent(
            kind,
            owner_of(owner),
            database_id,
            digest_of(triggers),
            purposes=session.memory.purposes(triggers),
            carried=frozenset(session.memory.of(database_id).known),
            run=session.memory.run,
            account=session.settings.account(),
            **wanted,
        )
        self.step = "starting"  # for the error of an early end
        self.refusal: SquareCloudError | None = None  # of its last request
        self.attempt: Attempt | None = None  # which may have started something
        self.resumed = False  # whether an earlier run has sent that
        self.waits_for: Attempt | None = None  # or has waited for
        self._tries = self._unsent = 0

    @property
    def sent(self) -> Attempt:
        """The attempt that it acts on, for those who know that there is one."""
        if self.attempt is None:
            raise AssertionError  # the request was neither sent nor resumed
        return self.attempt

    @property
    def age(self) -> float:
        """Seconds that earlier runs have waited."""
        return self.sent.request.age(self.session.service_clock.now()) if self.resumed else 0.0

    def resume(self, request: Request) -> None:
        """Act on what the state has as pending."""
        of = self.intent
        there = Attempt(
            of.kind, of.owner, of.database_id, of.purpose, request, request.status, of.source
        )
        self.attempt, self.resumed = replace(there, proved=True), True

    def show(self, text: str, detail: str = "", *, why: str = "", **until: Any) -> None:
        """Show what it waits for; see `Member.waits`."""
        self.step = f"{text}, since {why}" if why else text
        self.member.waits(
            text,
            detail,
            at_most=self.began + timedelta(seconds=self.intent.timeout),
            why=why,
            **until,
        )

    def does(self, text: str) -> None:
        """Show what it does, which takes no time."""
        self.step = text
        self.member.progress(text)

    async def in_time(self, work: Awaitable[T]) -> T:
        """Do the work within the time-out; raises `TimeIsUp` if that or the run ends after a request was sent, else `NothingSent`."""
        try:
            with self.session.until(self.intent.timeout):
                return await work
        except LedgerUnavailable:
            self.session.take_note()  # the error says it
            raise
        except SquareCloudError as error:
            if self.attempt is not None or error.done:
                raise
            told = copy(error)  # several callers may share an answer
            told.done = self.not_done
            raise told from error
        finally:
            if note := self.session.take_note():
                self.member.warn(note)
        ended = f"The wait ended after {spoken(self.intent.timeout)}"
        why = "The wait was interrupted" if self.session.stopping else ended
        if self.attempt is not None:
            raise TimeIsUp(f"{why}.")
        happened, then = f"{self.not_done} {why}, while {self.step}", list[Next]()
        if self.refusal is not None:
            happened, then = (
                f"{happened}. Last refusal: {self.refusal.happened}",
                list(self.refusal.then),
            )
        elif self.waits_for is not None and (other := command_of(self.waits_for)):
            then = [Next(Step.RESUME_OTHER, other=other)]
        raise NothingSent(happened, then=then) from self.refusal

    # Before the request --------------------------------------------------------------------------------------------------

    async def next_claim(self) -> Claim | None:
        """Decide what is to be sent, or what to wait for first, see `wait_out`; None if the `attempt` is to be waited for."""
        session, clock = self.session, self.session.service_clock
        while self.attempt is None:
            self.step = "connecting to the service"
            attempts = await session.ledger.attempts()
            if self.intent.earlier is None:
                self.intent = replace(self.intent, earlier=frozenset(each.id for each in attempts))
            if clock.offset is None:
                # So that no service that does not answer hides what an earlier run has sent; a guard's may be too old.
                there = None if self.intent.oldest else left(attempts, self.intent, clock.now())
                if there is None or there.awaits_answer(clock.now()):
                    await session.know_time(self.intent.database_id)
            claim = decide(attempts, self.intent, clock.now())
            if claim.role != "resumed":
                return claim
            self.attempt = claim.attempt
            session.memory.of(claim.attempt.database_id).kept.update(claim.attempt.names)
            if claim.attempt.let_go:  # by another process of this run
                self.attempt = await session.ledger.update(claim.attempt, let_go=None)
            # A run elsewhere may be about to enter its answer: what was accepted is searched for longer than what was lost.
            while self.attempt is not None and self.attempt.awaits_answer(clock.now()):
                self.show_other(self.attempt)
                await session.clock.sleep(session.settings.poll_every)
                self.attempt = await session.ledger.get(claim.attempt.id)
            self.resumed = self.attempt is not None  # or that run has withdrawn it
        return None

    def show_other(self, other: Attempt, *_text: str, **_until: Any) -> None:
        """Show that it waits for another attempt, whatever that waits for itself."""
        session, now, self.waits_for = self.session, self.session.service_clock.now(), other
        about = described(other, now, is_shared=session.ledger.place.is_shared)
        own = "an earlier run requested one ({state}); this one continues once its end is known"
        form = own if other.owner == self.intent.owner else "{by} requested one ({state}); {then}"
        until = session.clock.utc() + (other.waited_for_until - now)
        self.show(
            f"waiting for an earlier {other.kind} of this database",
            until=until,
            why=form.format_map(about),
        )

    async def wait_out(self, other: Attempt, settle: Callable[[Attempt], Awaitable[None]]) -> None:
        """Wait until another attempt is over, or for a moment; `settle` finds its end, and enters that, or ignores it."""
        session, now = self.session, self.session.service_clock.now()
        left = (other.in_the_way_until - now).total_seconds()
        self.show_other(other)
        if other.is_over or other.awaits_answer(now):
            await session.clock.sleep(min(session.settings.poll_every, left))
            return
        with anyio.move_on_after(left):
            async with session.locks[other.id]:
                known = await session.ledger.get(other.id)
                if known is not None and not known.is_over:
                    await settle(known)

    def ignore(self, other: Attempt) -> None:
        """Wait no longer for an attempt whose end no run will ever see."""
        self.intent = replace(self.intent, ignored=self.intent.ignored | {other.id})

    async def send(self, lane: Lane, path: str, post: Callable[[datetime], Awaitable[str]]) -> None:
        """Claim the request in the ledger, and send it once by `post`, until a time, which returns how it was accepted.

        Without an `attempt` afterwards another run was faster, and `next_claim` decides again. Errors that do not show whether the
        request was accepted end here; after any other, nothing was started.
        """
        session, intent = self.session, replace(self.intent, id=secrets.token_hex(8))
        self.step = "queued"  # the rate limiter shows it, if there is a queue
        claim, slot = await session.rate_limiter.claim(
            path,
            lane,
            intent.database_id,
            lambda document: session.ledger.decided(document, intent),
            self.show,
        )
        if claim.role != "new":
            return
        attempt = self.attempt = claim.attempt
        self.resumed = False
        hint = "" if session.settings.shared_state else could_share(os.environ)
        if hint and session.memory.is_first(hint):
            self.member.note(hint)
        since = session.service_clock.now() - attempt.request.posted_at
        leave_by = session.clock.utc() + CLAIM_LASTS - since
        try:
            async with slot:
                by = session.clock.utc() + timedelta(seconds=POST_READ_TIMEOUT)
                self.member.progress(Text("sent; answer by {by}", by=by))
                how = await post(leave_by)
        except SquareCloudError as error:
            self.refusal = error
            # A code that is new may be of a restore that began and failed.
            if not error.ambiguous and not (intent.kind == "restore" and is_new(error)):
                await self.withdraw()
                raise
            parts = (
                isinstance(error, UnreadableAnswer) and "unreadable",
                error.status,
                error.code,
            )  # never just `200`
            how = " ".join(str(each) for each in parts if each) or error.message or "no answer"
        except anyio.get_cancelled_exc_class() as cancelled:
            if isinstance(cancelled.__cause__, NotSent):
                self.step = "connecting to the service"
                await self.withdraw()
            raise
        request = replace(attempt.request, answered=how)
        self.attempt = replace(attempt, request=request)
        with self._as_far_as_possible():
            self.attempt = await session.ledger.update(
                attempt, request=request, status=request.status
            )

    async def try_again(self, refusal: SquareCloudError) -> None:
        """Wait until the request may be sent again; raises the refusal if that would not help."""
        self._tries += 1
        self._unsent = self._unsent + 1 if isinstance(refusal, NotSent) else 0
        if self._unsent == UNSENT_TRIES or not isinstance(refusal, PASSING):
            raise refusal
        if isinstance(refusal, RestoreRunning | SnapshotRunning):
            what = "restore" if isinstance(refusal, RestoreRunning) else "snapshot"
            self.show(f"waiting for the end of another {what} of this database")
            await self.session.clock.sleep(self.session.settings.poll_every)
        chance = random.Random(f"{self.intent.database_id} {self.began} {self._tries}").random()  # noqa: S311  for simulations
        pause = BACK_OFF[min(self._tries, len(BACK_OFF)) - 1] * (1 + JITTER * chance)
        pause = max(pause, refusal.retry_after or 0.0)
        self.step = "waiting to try again"
        again = self.session.clock.utc() + timedelta(seconds=pause)
        refused = refusal.code or refusal.status or "not sent"
        self.member.progress(
            Text("{refused}; next try {again}, nothing was started", refused=refused, again=again)
        )
        await self.session.clock.sleep(pause)

    # After it ------------------------------------------------------------------------------------------------------------

    async def newest(self, *, needed: bool = False) -> list[Attempt]:
        """Read all requests, and with them what is known of the attempt by now; none without the ledger, unless it is `needed`."""
        attempts, sent = list[Attempt](), self.sent
        with nullcontext() if needed else suppress(LedgerUnavailable):
            attempts = await self.session.ledger.attempts()
            there = next((each for each in attempts if each.id == sent.id), sent)
            # A state that was resumed has it, although a ledger that cannot be written may not know that.
            self.attempt = replace(there, proved=there.proved or sent.proved)
        return attempts

    async def enter_result(
        self, result: str, *, failed: bool = False, holds: timedelta | None = None
    ) -> None:
        """Enter the result of the attempt, see `Ledger.ended`."""
        attempt = self.sent
        self.attempt = replace(
            attempt, status=Status.FAILED if failed else Status.FOUND, result=result
        )
        with self._as_far_as_possible():
            self.attempt = await self.session.ledger.ended(
                attempt, result, failed=failed, holds=holds
            )

    async def withdraw(self) -> None:
        """Remove the attempt: it has certainly started nothing, or its result will never come."""
        attempt, self.attempt, self.resumed = self.sent, None, False
        self.intent = replace(self.intent, withdrawn=self.intent.withdrawn | {attempt.id})
        with self._as_far_as_possible():  # later runs look for its result until its time is over
            await self.session.ledger.withdraw(attempt)

    @contextmanager
    def _as_far_as_possible(self) -> Iterator[None]:
        """Let nothing interrupt an entry; without the ledger, the session warns, and the next run that needs the database finds out."""
        with anyio.CancelScope(shield=True), suppress(LedgerUnavailable):
            yield
