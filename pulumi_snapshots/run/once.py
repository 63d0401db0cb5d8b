"""Sending a request once: claimed in the ledger before it leaves, and sent again only if it certainly started nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from itertools import chain, repeat
from typing import TYPE_CHECKING, TypeVar

import anyio

from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import LedgerUnavailable, NothingSent
from pulumi_snapshots.errors.text import Text, TimeOfDay, Words
from pulumi_snapshots.ledger.attempt import Attempt, Claim, Intent, Role, decide, unresolved
from pulumi_snapshots.ledger.request import Request
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.backend import could_share
from pulumi_snapshots.service.errors import Cooldown, NotSent, SquareCloudError, UnreadableAnswer
from pulumi_snapshots.service.pacing.limits import SNAPSHOT_PER_DATABASE
from pulumi_snapshots.service.pacing.rate_limiter import Lane, Slot

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_snapshots.progress import Member
    from pulumi_snapshots.run.session import Session

T = TypeVar("T")
BACK_OFF = (5.0, 10.0, 20.0, 40.0, 80.0)
"""Seconds between refused requests. They begin with the shortest cooldown, the account's 5 s."""
BACK_OFF_LAST = SNAPSHOT_PER_DATABASE
"""Seconds between all later ones: the longest cooldown. The rate limiter keeps the cooldowns of restores."""
JITTER = 0.1
"""The largest random addition to a pause, as a share of it, so that clients refused together do not return together."""
UNREACHABLE_TRIES = 3
"""The number of tries in a row if the service cannot be reached ..."""
IN_A_ROW = 600.0
"""... and the seconds within which two of them are."""
WAITS = ("waiting", "queued", "service is returning errors")
"""What begins the text of a wait: whatever it is for, it has an end."""
CLAIM_LASTS = timedelta(seconds=10)
"""How old a claim may be when its request leaves. The service's own cooldowns, 120 s and more, refuse it if another run's request
came in between."""
LATE_TRIES = 3
"""How often a request is claimed again because it was too late."""


class ClaimTooOld(NotSent):
    """The request was kept back, since so much time has passed since it was claimed that others may have sent one."""

    meaning = (
        "it was not sent, because this machine slept, or the ledger was slow, between writing it down and sending it"
    )
    steps = (Next(Step.RUN_AGAIN),)


@dataclass
class Operation:
    """One call that may send a request, from its beginning to its end.

    Attributes:
        session: the service.
        member: gets the progress.
        intent: what it wants.
        began: when it began, by this machine's clock.
        step: what it is doing, for the error of an early end.
        refusal: the last refusal that may pass.
        claim: the attempt that it acts on, once there is one.
    """

    session: Session
    member: Member
    intent: Intent
    began: datetime
    step: str = "starting"
    refusal: SquareCloudError | None = None
    claim: Claim | None = None

    @property
    def attempt(self) -> Attempt | None:
        """The attempt that it acts on, which may have started something; None if there is none."""
        return self.claim.attempt if self.claim else None

    @property
    def resumed(self) -> bool:
        """Whether an earlier run has sent it."""
        return self.claim is not None and self.claim.role is Role.RESUMED

    def note(self, attempt: Attempt) -> Attempt:
        """Keep what is known of the attempt by now."""
        if self.claim is None:
            raise AssertionError  # only what was claimed changes
        self.claim = replace(self.claim, attempt=attempt)
        return attempt

    def resumes(self, request: Request) -> None:
        """Act on what the state has as pending."""
        intent, status = self.intent, unresolved(request)
        there = Attempt(intent.kind, intent.owner, intent.database_id, intent.purpose, request, status, intent.source)
        self.claim = Claim(replace(there, proved=True), Role.RESUMED)

    def show(self, text: str, detail: Words = "", *, until: datetime | None = None, why: str = "") -> None:
        """Show what it waits for before its request is sent; see `Member.waits`."""
        self.step = f"{text}, since {why}" if why else text
        at_most = self.ends if until is None and text.startswith(WAITS) else None
        self.member.waits(text, detail, until=until, at_most=at_most, why=why)

    @property
    def ends(self) -> datetime:
        """When it ends at the latest, by this machine's clock."""
        return self.began + timedelta(seconds=self.intent.timeout)

    @property
    def age(self) -> float:
        """Seconds that earlier runs have waited."""
        attempt = self.attempt
        return attempt.request.age(self.session.service_clock.now()) if self.resumed and attempt else 0.0

    async def in_time(self, work: Callable[[], Awaitable[T]], ended: Callable[[str], Awaitable[T]]) -> T:
        """Do the work within the time-out.

        Args:
            work: is cancelled at the time-out, and when the run stops.
            ended: gets why, as a sentence without its full stop; returns a result all the same, or raises.
        """
        try:
            with self.session.until(self.intent.timeout):
                return await work()
        except LedgerUnavailable:
            self.session.take_note()  # the error says it
            raise
        finally:
            if note := self.session.take_note():
                self.member.warn(note)
        why = (
            "The wait was interrupted"
            if self.session.stopping
            else f"The wait ended after {spoken(self.intent.timeout)}"
        )
        return await ended(why)

    def nothing_sent(self, not_done: str, why: str) -> NothingSent:
        """The error of an early end before a request was sent; `not_done` is a sentence."""
        happened = f"{not_done} {why}, while {self.step}"
        if self.refusal is None:
            return NothingSent(happened)
        return NothingSent(f"{happened}. Last refusal: {self.refusal}", then=self.refusal.then)

    # The ledger ----------------------------------------------------------------------------------------------------------

    async def earlier(self, settle: Callable[[Attempt], Awaitable[None]]) -> Claim | None:
        """Find what earlier runs have left of this very operation, once no other attempt is in the way.

        Args:
            settle: waits for an attempt that is in the way, or for a moment.

        Raises:
            ClaimRefused: the request must not be sent.
            LedgerUnavailable: the ledger cannot be read, so nothing may be sent.
        """
        self.step = "connecting to the service"
        await self.session.know_time(self.intent.database_id)
        clock = self.session.service_clock
        began = clock.now() - (self.session.clock.utc() - self.began)
        self.intent = replace(self.intent, began=began, run_began=clock.now() - self.session.running_for)
        while True:
            claim = decide(await self.session.ledger.attempts(), self.intent, clock.now())
            if claim.role is not Role.IN_THE_WAY:
                return claim if claim.role is Role.RESUMED else None
            await settle(claim.attempt)

    async def entered(self, change: Callable[[Attempt], Awaitable[Attempt]], otherwise: Attempt) -> Attempt:
        """Enter what is known of the attempt, and keep it; without the ledger, only this operation and the state know it."""
        if self.attempt is None:
            raise AssertionError  # there is nothing to enter
        with anyio.CancelScope(shield=True):
            # The session warns, and the next run that needs the database finds out.
            with suppress(LedgerUnavailable):
                otherwise = await change(self.attempt)
        return self.note(otherwise)

    async def withdraw(self) -> None:
        """Remove the attempt: it has certainly started nothing, or its result will never come."""
        attempt, self.claim = self.attempt, None
        if attempt is not None:
            with anyio.CancelScope(shield=True):
                with suppress(LedgerUnavailable):  # later runs look for its result until its time is over
                    await self.session.ledger.withdraw(attempt)


class Since(Enum):
    """What has happened right before a request is queued."""

    BEGIN = "nothing"
    WAIT = "another attempt was waited for"
    REFUSAL = "the request was refused, or another run was faster"


Post = Callable[[Callable[[], None]], Awaitable[tuple[str, T]]]
"""Sends a request once; gets a function that it must call right before the request leaves, and which may raise. Returns `200` or
`202`, and the answer."""


async def once(  # noqa: PLR0913  each is a part of its own
    operation: Operation,
    lane: Lane,
    path: str,
    post: Post[T],
    *,
    settle: Callable[[Attempt], Awaitable[None]],
    instead: Callable[[Since], Awaitable[bool]],
    refused: Callable[[SquareCloudError], Awaitable[bool]],
    passing: tuple[type[SquareCloudError], ...] = (Cooldown,),
    in_doubt: Callable[[SquareCloudError], bool] = lambda error: error.ambiguous,
) -> T | None:
    """Send the request of an operation, unless an earlier run has; afterwards `operation.attempt` is what to wait for.

    Args:
        operation: the operation.
        lane: its limits.
        path: of the request, for errors.
        post: sends it.
        settle: see `Operation.earlier`.
        instead: called before the request is queued; whether nothing has to be sent.
        refused: called with each refusal that may pass, before the next try; whether nothing has to be sent any more.
        passing: the refusals after which the same request may succeed later.
        in_doubt: whether a failed request may have started something.

    Returns:
        The answer; None if an earlier run has sent the request, nothing had to be sent, or the answer was lost.

    Raises:
        SquareCloudError: a refusal that does not pass; nothing was started.
        LedgerUnavailable: the ledger cannot be used, so nothing was sent.
        ClaimRefused: the request must not be sent.
    """
    session, pauses = operation.session, _back_off(operation.session.chance)
    tries, since = _Tries(passing), Since.BEGIN

    async def settled(other: Attempt) -> None:
        nonlocal since
        await settle(other)
        since = Since.WAIT

    while True:
        operation.claim = await operation.earlier(settled)
        if operation.claim is not None or await instead(since):
            return None
        since = Since.REFUSAL
        operation.step = "queued"  # the rate limiter shows it, if there is a queue
        claim, slot = await session.rate_limiter.claim(
            path,
            lane,
            operation.intent.database_id,
            lambda document: session.ledger.decided(document, operation.intent),
            operation.show,
        )
        if not claim.is_new:
            continue  # another run was faster
        operation.claim = claim
        line = "" if session.settings.shared_state else could_share(os.environ)
        if line and session.memory.is_first(line):
            operation.member.note(line)
        try:
            return await _sent(operation, slot, post, in_doubt)
        except SquareCloudError as error:
            operation.refusal = error
            tries.count(error, session.clock.monotonic())
            if isinstance(error, ClaimTooOld):
                continue
            if await refused(error):
                return None
            await _pause(operation, error, max(next(pauses), error.retry_after or 0.0))


@dataclass
class _Tries:
    """The tries of a request that were in vain.

    Attributes:
        passing: the refusals after which it may succeed later.
        unreachable: when the service could not be reached, in a row.
        late: how often it was too late.
    """

    passing: tuple[type[SquareCloudError], ...]
    unreachable: list[float] = field(default_factory=list)
    late: int = 0

    def count(self, error: SquareCloudError, now: float) -> None:
        """Count one that failed; raises the error if no further try would help."""
        if isinstance(error, ClaimTooOld):
            self.late += 1
            if self.late == LATE_TRIES:
                raise error
        elif isinstance(error, NotSent):
            self.unreachable = [*(at for at in self.unreachable if now - at < IN_A_ROW), now]
            if len(self.unreachable) == UNREACHABLE_TRIES:
                raise error
        elif isinstance(error, self.passing):
            self.unreachable = []
        else:
            raise error


async def _sent(
    operation: Operation, slot: Slot, post: Post[T], in_doubt: Callable[[SquareCloudError], bool]
) -> T | None:
    session, attempt = operation.session, operation.attempt
    if attempt is None:
        raise AssertionError  # it was claimed

    def leaves() -> None:
        if session.service_clock.now() - attempt.request.posted_at > CLAIM_LASTS:
            raise ClaimTooOld("The request")

    try:
        async with slot.used():
            how, answer = await post(leaves)
    except SquareCloudError as error:
        if not in_doubt(error):
            await operation.withdraw()
            raise
        await _answered(operation, how_lost(error))
        return None
    except anyio.get_cancelled_exc_class() as cancelled:
        if isinstance(cancelled.__cause__, NotSent):
            operation.step = "connecting to the service"
            await operation.withdraw()
        raise
    await _answered(operation, how)
    return answer


async def _answered(operation: Operation, how: str) -> None:
    attempt = operation.attempt
    if attempt is not None:
        known = replace(attempt, request=replace(attempt.request, answered=how))
        await operation.entered(lambda there: operation.session.ledger.answered(there, how), known)


async def _pause(operation: Operation, error: SquareCloudError, pause: float) -> None:
    clock = operation.session.clock
    operation.step = "waiting to try again"
    again = TimeOfDay(clock.utc() + timedelta(seconds=pause))
    refused = error.code or error.status or "not reached"
    operation.member.progress(Text("{refused}; next try {again}, nothing was started", refused=refused, again=again))
    await clock.sleep(pause)


def how_lost(error: SquareCloudError) -> str:
    """How the answer was lost, in a few words; never just `200`, which would mean that the request was accepted."""
    if isinstance(error, UnreadableAnswer):
        return f"unreadable {error.status}"
    return " ".join(str(part) for part in (error.status, error.code) if part) or error.message or "no answer"


def _back_off(chance: random.Random) -> Iterator[float]:
    for pause in chain(BACK_OFF, repeat(BACK_OFF_LAST)):
        yield pause * (1 + JITTER * chance.random())
