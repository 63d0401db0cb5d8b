"""One operation: it claims a request in the ledger, sends it once, and enters the result."""

from __future__ import annotations

import math
import os
import random
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.clock import Stamp, TimeSpan, alongside, corrected_time, time_text
from pulumi_snapshots.errors import (
    AnyMessage,
    Hint,
    HintKind,
    LedgerUnavailable,
    Message,
    NothingSent,
    ProviderError,
)
from pulumi_snapshots.ledger.attempt import (
    KEPT,
    LEAVES_WITHIN,
    LONGEST_WAIT,
    SECOND,
    SKEW,
    Attempt,
    Request,
    Status,
    owner_kind,
)
from pulumi_snapshots.ledger.decision import Claim, Wish, decide, left_by_earlier_run
from pulumi_snapshots.ledger.place import Document
from pulumi_snapshots.ledger.wording import (
    plain_requester,
    request_state,
    resuming_command,
)
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.run.memory import CONNECTING, Member
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import could_share
from pulumi_snapshots.service.client import (
    LONGEST_POST,
    POST_READ_TIMEOUT,
    Leaving,
    PostAnswer,
)
from pulumi_snapshots.service.errors import (
    ClaimTooOld,
    Cooldown,
    NotSent,
    RestoreRunning,
    SnapshotRunning,
    SquareCloudError,
    UnreadableAnswer,
    is_new,
)
from pulumi_snapshots.service.limits import SNAPSHOT_PER_DATABASE, Lane
from pulumi_snapshots.service.rate_limiter import Departure

T = TypeVar("T")
Post = Callable[[Leaving], Awaitable[PostAnswer]]
"""Sends a request, once, and returns how it was accepted."""
BACK_OFF = (5.0, 10.0, 20.0, 40.0, 80.0, SNAPSHOT_PER_DATABASE)
"""Seconds between refused requests, the last number for all later pauses: from the shortest
cooldown, the account's 5 s, to the longest. The rate limiter keeps the cooldowns of restores."""
JITTER = 0.1
"""The largest random addition to a pause, as its share: clients refused together do not return
together."""
PASSING = (Cooldown, NotSent, RestoreRunning, SnapshotRunning)
"""The refusals after which a request is sent again."""
FOLLOWED_EVERY = 5.0
"""Seconds between two readings of the ledger for what another process may enter there.

They are few enough that all operations that wait for one snapshot continue together. The service is
asked nothing.
"""
UNSENT_TRIES = 3
"""How often in a row a request may fail to leave: the service cannot be reached, or the claim is
always too old."""
SENT = {"snapshot": "sent", "restore": "restore sent"}
"""What the progress says of a request that has left, by its kind."""
NOT_WRITTEN = "Nothing was started, because each request must be written there first."


class TimeIsUp(Exception):
    """The wait for the result of a request has ended; the text says why."""


class Operation:
    """One call that may send a request, from its beginning to its end.

    Attributes:
        attempt: The attempt that the operation acts on, which can have started something; None
            before.
        is_resumed: Whether an earlier run, or another operation of this one, has sent the
            attempt's request.
        is_shared: Whether a guard of this run has sent the request.
        refusal: How its last request was refused; None without a refusal.
        waits_for: The attempt that the operation waits for, or has waited for; None without one.

    Args:
        session: The session of its process.
        member: Shows the progress.
        wish: What the operation wants.
        not_done: What was not done if no request was sent, a sentence.
    """

    def __init__(
        self,
        session: Session,
        member: Member,
        wish: Wish,
        *,
        not_done: str = "",
    ) -> None:
        self.session = session
        self.member = member
        self.wish = wish
        self.not_done = not_done
        self.began = session.clock.utc()
        self.attempt: Attempt | None = None
        self.is_resumed = False
        self.is_shared = False
        self.refusal: SquareCloudError | None = None
        self.waits_for: Attempt | None = None
        self._scope = anyio.CancelScope()  # whose time-out ends the wait
        self._step = "starting"  # for the error of an early end
        self._is_held_up = False  # by the service's limits, or by another request
        self._refusals = 0
        self._unsent = 0
        # Since when what another client has started holds up the request.
        self._held_up_since: datetime | None = None

    @property
    def sent(self) -> Attempt:
        """The attempt that the operation acts on, for callers who know that there is an attempt."""
        if self.attempt is None:
            raise AssertionError  # the request was neither sent nor resumed
        return self.attempt

    @property
    def age(self) -> float:
        """Seconds that earlier runs have waited."""
        if not self.is_resumed:
            return 0.0
        return self.sent.request.age(self.session.service_clock.now())

    @property
    def elapsed(self) -> timedelta:
        """How long ago the operation began. The machine can have slept meanwhile."""
        return self.session.clock.utc() - self.began

    def resume(self, request: Request) -> None:
        """Act on the request that the state has as pending.

        Args:
            request: The request.
        """
        self.attempt = self.wish.attempt_of(request, request.status)
        self.session.memory.note_in_state(self.attempt.names)
        self.is_resumed = True

    # Progress -------------------------------------------------------------------------------------

    def show(self, text: str, detail: str = "", *, why: str = "", **until: Any) -> None:
        """Show what the operation waits for; see `Member.waits`.

        Args:
            text: See `Member.waits`.
            detail: See `Member.waits`.
            why: See `Member.waits`.
            **until: The times of `Member.waits`.
        """
        self._step = f"{text}, since {why}" if why else text
        self._is_held_up = True
        at_most = self.began + timedelta(seconds=self.wish.timeout)
        self.member.waits(text, detail, at_most=at_most, why=why, **until)

    def show_poll(
        self,
        text: str,
        *,
        next_poll: datetime | None = None,
        **more: Any,
    ) -> None:
        """Show when the next poll is due, or the end of the wait if that is sooner.

        Args:
            text: The state.
            next_poll: When the next poll is due.
            **more: Further arguments of `Member.waits`.
        """
        clock = self.session.clock
        left = self._scope.deadline - clock.monotonic()
        ends = clock.utc() + timedelta(seconds=min(left, KEPT.total_seconds()))
        if next_poll is not None and next_poll > ends:
            self.member.waits(text, at_most=ends, **more)
        else:
            self.member.waits(text, next_poll=next_poll, **more)

    def show_step(self, text: str) -> None:
        """Show a step that takes no time.

        Args:
            text: The step.
        """
        self._step = text
        self.member.progress(text)

    def warn(self, text: AnyMessage, step: HintKind) -> None:
        """Leave a warning, which names the next step.

        Args:
            text: The warning.
            step: The next step.
        """
        self.member.warn(Message("{text} {then}", text=text, then=Hint(step)))

    def show_other(self, other: Attempt, *_text: str, **_until: Any) -> None:
        """Show that the operation waits for another attempt, whatever that attempt waits for.

        Args:
            other: The attempt.
        """
        session = self.session
        now = session.service_clock.now()
        self.waits_for = other
        if other.owner != self.wish.owner:
            by = plain_requester(other)
        elif other.id in session.sent:
            by = "this run"
        else:
            by = "another run" if self.wish.is_new_since(other) else "an earlier run"
        at = time_text(other.request.posted_at, now)
        why = f"requested at {at}, {request_state(other, now)}"
        until = session.clock.utc() + (other.waited_for_until - now)
        text = f"waiting for the {other.kind} of {by}"
        self.show(text, until=until, why=why)

    # The whole ------------------------------------------------------------------------------------

    async def in_time(self, work: Awaitable[T]) -> T:
        """Do the work within the time-out.

        Args:
            work: The work.

        Returns:
            The result of the work.

        Raises:
            TimeIsUp: The time-out or the run ended after a request was sent.
            NothingSent: The time-out or the run ended before a request was sent.
        """
        try:
            with self.session.until(self.wish.timeout) as scope:
                self._scope = scope
                async with alongside(self.member.watch):
                    return await work
        except LedgerUnavailable as error:
            self.session.take_note()  # the error says so
            if self.attempt is None:
                error.done = NOT_WRITTEN
            raise
        except SquareCloudError as error:
            if self.attempt is not None or error.done:
                raise
            own_error = copy(error)  # several callers may share an answer
            own_error.done = self.not_done
            raise own_error from error
        finally:
            note = self.session.take_note()
            if note:
                self.member.warn(note)
        raise self._early_end()

    @contextmanager
    def taking_longer(self) -> Iterator[None]:
        """Do not count the time of the body, which has its own time-out.

        Yields:
            Nothing.
        """
        clock = self.session.clock
        began = clock.monotonic()
        left = self._scope.deadline - began
        self._scope.deadline = math.inf
        try:
            yield
        finally:
            self._scope.deadline = clock.monotonic() + left

    def _early_end(self) -> TimeIsUp | NothingSent:
        """The error of an end by time-out or interrupt."""
        if self.session.stopping:
            why = "The wait was interrupted"
        else:
            why = f"The wait ended after {spoken(self.wish.timeout)}"
        if self.attempt is not None:
            return TimeIsUp(f"{why}.")
        happened = f"{self.not_done} {why}, while {self._step}"
        if self.refusal is not None:
            happened = f"{happened}. Last refusal: {self.refusal.happened}"
        error = NothingSent(happened, then=self._steps_if_nothing_sent())
        error.__cause__ = self.refusal
        is_refusal_later = self.refusal is None or bool(self.refusal.is_later)
        error.is_later = (
            self._is_held_up and is_refusal_later and not self.session.stopping
        )
        return error

    def _steps_if_nothing_sent(self) -> list[Hint]:
        """The next steps after a wait that has ended early, before anything was sent."""
        if self.refusal is not None:
            return list(self.refusal.then)
        if self.waits_for is not None:
            return [self._after(self.waits_for)]
        if self.session.stopping:
            return [Hint(HintKind.RUN_AGAIN)]
        if self._is_held_up:
            return [Hint(HintKind.RUN_AGAIN_LONGER)]
        if self._step == CONNECTING:
            return [Hint(HintKind.CHECK_ADDRESS)]
        return []

    def _after(self, other: Attempt) -> Hint:
        """What to do about an attempt that was waited for in vain."""
        command = resuming_command(other)
        if command is not None:
            return Hint(HintKind.RESUME_OTHER, other=command)
        session = self.session
        left = other.waited_for_until - session.service_clock.now()
        if left < SECOND:  # the next run no longer waits
            return Hint(HintKind.RUN_AGAIN)
        return Hint(HintKind.RUN_AGAIN_AFTER, time=session.clock.utc() + left)

    # Before the request ---------------------------------------------------------------------------

    async def next_claim(self) -> Claim | None:
        """Decide what to send, or what to wait for first, see `wait_out`.

        Returns:
            The decision; None if the operation has to act on its `attempt`.

        Raises:
            ClaimRefused: Nothing may be sent.
            NothingSent: The service's time is not known, without which nothing can be decided.
            LedgerUnavailable: The ledger cannot be read.
        """
        session = self.session
        while self.attempt is None:
            self._step = CONNECTING
            attempts = await session.ledger.attempts()
            if self.wish.began_with is None:
                began_with = frozenset(each.id for each in attempts)
                self.wish = replace(self.wish, began_with=began_with)
            await self._know_time(attempts)
            claim = decide(attempts, self.wish, session.service_clock.now())
            if claim.role != "resumed":
                return claim
            await self._resume_claimed(claim.attempt)
        return None

    async def _know_time(self, attempts: list[Attempt]) -> None:
        """Learn the service's time, unless an earlier run has left what needs no request."""
        clock = self.session.service_clock
        if clock.is_known():
            return
        left = left_by_earlier_run(attempts, self.wish, clock.now())
        if left is None or left.is_owner_at_work(clock.now()):
            await self.session.know_time(self.wish.database_id)

    async def _resume_claimed(self, attempt: Attempt) -> None:
        """Act on what an earlier run has sent, once that run has entered the answer, or cannot."""
        session = self.session
        is_shared = self._may_share(attempt)
        if is_shared and not await session.ledger.take_shared(attempt):
            return  # another Snapshot was faster, or something has changed
        self.is_shared = is_shared
        session.memory.note_taken(attempt.names)
        if attempt.is_dropped:  # by another process of this run
            session.memory.note_in_state(attempt.names)
            await session.ledger.enter_seen()
        self.attempt = attempt
        self.is_resumed = True
        known: Attempt | None = attempt
        while known is not None and known.is_owner_at_work(session.service_clock.now()):
            self.show_other(known)
            await session.clock.sleep(self.follows_every)
            known = await session.ledger.get(attempt.id)
        if known is None or known.is_void(session.service_clock.now()):
            # the other run has withdrawn the request, or was killed before sending it
            self.attempt = None
            self.is_resumed = False
        else:
            self.attempt = known

    def _may_share(self, attempt: Attempt) -> bool:
        """Whether a guard has sent an attempt's request for a Snapshot of this run too."""
        return (
            attempt.shared_in is not None and owner_kind(self.wish.owner) == "resource"
        )

    async def wait_out(
        self,
        other: Attempt,
        settle: Callable[[Attempt], Awaitable[None]],
    ) -> None:
        """Wait for a moment, or until another attempt is over or no longer holds up this operation.

        Args:
            other: The attempt.
            settle: Finds the end of the attempt, and enters the end or ignores the attempt.
        """
        session = self.session
        now = session.service_clock.now()
        left = (other.waited_for_until - now).total_seconds()
        self.show_other(other)
        if other.is_over or other.is_owner_at_work(now):
            await session.clock.sleep(min(self.follows_every, left))
            return
        with anyio.move_on_after(left):
            async with session.locks[other.id]:
                known = await session.ledger.get(other.id)
                if known is not None and not known.is_over:
                    await settle(known)

    def ignore(self, other: Attempt) -> None:
        """Stop waiting for an attempt, and use nothing of its result.

        Args:
            other: The attempt.
        """
        self.wish = replace(self.wish, void=self.wish.void | {other.id})

    async def send(self, lane: Lane, path: str, post: Post) -> None:
        """Claim the request in the ledger, and send the request once.

        If there is no `attempt` afterwards, another run was faster, and `next_claim` decides again.

        Args:
            lane: The limits that the request counts for.
            path: The request, for messages.
            post: Sends the request.

        Raises:
            SquareCloudError: Nothing was started. Errors that leave open whether the service
                accepted the request are kept in the attempt and not raised.
        """
        session = self.session
        wish = replace(self.wish, id=secrets.token_hex(8))
        await session.warn_of_plan_end(wish.kind, self.member.warn)
        decided_at = session.clock.stamp()

        def decided(document: Document) -> Claim:
            nonlocal decided_at
            decided_at = session.clock.stamp()
            return session.ledger.decided(document, wish)

        self._step = "queued"  # the rate limiter shows a queue, if there is one
        claim, slot = await session.rate_limiter.claim(
            path, lane, wish.database_id, decided, self.show
        )
        if claim.role != "new":
            return
        self.attempt = claim.attempt
        self.is_resumed = False
        self._hint_at_shared_state()
        try:
            async with slot as departure:
                by = session.clock.utc() + timedelta(seconds=POST_READ_TIMEOUT)
                self.member.waits(SENT[wish.kind], answer_by=by)
                answer = await post(partial(self._leave, path, decided_at, departure))
            answered = "202" if answer.continues else "200"
            sent_within = answer.sent_within
        except SquareCloudError as error:
            self.refusal = error
            # A code that is new may mean that a restore began and failed.
            may_have_begun = wish.kind == "restore" and is_new(error)
            if not error.ambiguous and not may_have_begun:
                await self.withdraw()
                raise
            answered = _lost_answer(error)
            sent_within = error.sent_within
        except ProviderError:  # kept back right before the request would have left
            await self.withdraw()
            raise
        except anyio.get_cancelled_exc_class():
            # No request leaves before `_leave` has returned.
            if self.sent.status is Status.CLAIMED:
                self._step = CONNECTING
                await self.withdraw()
            raise
        await self._enter_answer(answered, sent_within)

    async def _leave(self, path: str, decided_at: Stamp, departure: Departure) -> None:
        """Mark in the ledger that the request leaves, or keep the request back if it is too late.

        Args:
            path: The request, for messages.
            decided_at: When the request was decided on, by both clocks of this machine.
            departure: Enters it.
        """
        session = self.session
        if session.clock.age_of(decided_at) > LEAVES_WITHIN.total_seconds():
            raise ClaimTooOld(path)
        within = timedelta(seconds=LONGEST_POST)
        claimed = self.sent
        left = await departure(
            lambda document: session.ledger.left(document, claimed, within)
        )
        if left is None:
            raise ClaimTooOld(path)
        self.attempt = left
        session.sent.add(left.id)

    def _hint_at_shared_state(self) -> None:
        hint = "" if self.session.settings.shared_state else could_share(os.environ)
        if hint and self.session.memory.is_first(hint):
            self.member.note(hint)

    async def _enter_answer(self, answered: str, sent_within: TimeSpan | None) -> None:
        """Enter how the request was answered, and when it was sent according to the answer."""
        sent = self.sent
        posted_at = corrected_time(sent.request.posted_at, sent_within, SKEW)
        request = replace(sent.request, answered=answered, posted_at=posted_at)
        self.attempt = replace(sent, request=request, status=request.status)
        with self._as_far_as_possible():
            self.attempt = await self.session.ledger.enter(self.attempt)

    async def try_again(self, refusal: SquareCloudError) -> None:
        """Wait until the request may be sent again.

        Args:
            refusal: The refusal.

        Raises:
            SquareCloudError: The refusal, if waiting would not help.
        """
        self._refusals += 1
        self._unsent = self._unsent + 1 if isinstance(refusal, NotSent) else 0
        if self._unsent == UNSENT_TRIES or not isinstance(refusal, PASSING):
            raise refusal
        session = self.session
        if isinstance(refusal, RestoreRunning | SnapshotRunning):
            await self._wait_for_running(refusal)
        pause = max(self._pause(), refusal.retry_after or 0.0)
        self._step = "waiting to try again"
        self._is_held_up = True
        again = session.clock.utc() + timedelta(seconds=pause)
        refused = refusal.code or refusal.status or "not sent"
        self.member.waits(str(refused), next_try=again)
        await session.clock.sleep(pause)

    async def _wait_for_running(
        self, refusal: RestoreRunning | SnapshotRunning
    ) -> None:
        """Wait for what another client has started, in all no longer than others are waited for."""
        session = self.session
        now = session.clock.utc()
        self._held_up_since = self._held_up_since or now
        if now - self._held_up_since > LONGEST_WAIT:
            raise refusal
        what = "restore" if isinstance(refusal, RestoreRunning) else "snapshot"
        self.show(f"waiting for the end of another {what} of this database")
        await session.clock.sleep(session.settings.poll_every)

    def _pause(self) -> float:
        """Seconds until the next try, the same in each simulation of the same operation."""
        seed = f"{self.wish.database_id} {self.began} {self._refusals}"
        chance = random.Random(seed).random()  # noqa: S311  jitter, no secret
        back_off = BACK_OFF[min(self._refusals, len(BACK_OFF)) - 1]
        return back_off * (1 + JITTER * chance)

    # After the request ----------------------------------------------------------------------------

    async def known_attempts(self, *, needed: bool = False) -> list[Attempt]:
        """Read all attempts, and update the operation's own one.

        Args:
            needed: Whether nothing can be done without the ledger.

        Returns:
            All attempts; none if the ledger cannot be read.
        """
        attempts: list[Attempt] = []
        with nullcontext() if needed else suppress(LedgerUnavailable):
            attempts = await self.session.ledger.attempts()
            own = self.sent
            for each in attempts:
                if each.id == own.id:
                    self.attempt = each.joined(own)
        return attempts

    @property
    def follows_every(self) -> float:
        """Seconds between two readings of what another process may have entered."""
        return min(FOLLOWED_EVERY, self.session.settings.poll_every)

    async def entered_end(self, attempt: Attempt) -> Attempt | None:
        """Read the end of an attempt that another operation has entered.

        Args:
            attempt: The attempt.

        Returns:
            The attempt with its result; None if no operation has entered one.
        """
        with suppress(LedgerUnavailable):
            known = await self.session.ledger.get(attempt.id)
            if known is not None and known.is_over:
                return known
        return None

    async def enter_resumed(self) -> None:
        """Enter a request that only the state has, so that other runs know of the request.

        If a later run has requested another in its place and could not save it, this operation acts
        on the later request.
        """
        if not self.is_resumed:
            return
        ledger = self.session.ledger
        now = self.session.service_clock.now()
        with self._as_far_as_possible():
            left = left_by_earlier_run(await ledger.attempts(), self.wish, now)
            if (
                left is not None
                and left.request.posted_at > self.sent.request.posted_at
            ):
                self.attempt = left
            else:
                self.attempt = await ledger.enter(self.sent, is_new=True)

    async def enter_result(
        self,
        result: str,
        *,
        failed: bool = False,
        holds: timedelta | None = None,
    ) -> None:
        """Enter the result of the attempt, see `Ledger.end`.

        Args:
            result: The version, the time of the restore, or the code of the failure.
            failed: Whether the result is the code of a failure.
            holds: How long other requests stay away from the database afterwards; None for no time.
        """
        status = Status.FAILED if failed else Status.FOUND
        attempt = self.sent
        self.attempt = replace(attempt, status=status, result=result)
        with self._as_far_as_possible():
            self.attempt = await self.session.ledger.end(
                attempt, result, failed=failed, holds=holds
            )

    async def withdraw(self) -> bool:
        """Remove the attempt, which has certainly started nothing, or whose result will never come.

        Returns:
            Whether it was removed: it stays the operation's own if another run knows more of it,
            see `Ledger.withdraw`.
        """
        attempt = self.sent
        is_gone = True
        # If it stays, later runs look for its result until its time is over.
        with self._as_far_as_possible():
            is_gone = await self.session.ledger.withdraw(attempt)
        if is_gone:
            self.attempt = None
            self.is_resumed = False
            self.ignore(attempt)
        return is_gone

    @property
    def is_in_state(self) -> bool:
        """Whether a state is known to have the attempt that the operation acts on."""
        attempt = self.sent
        return attempt.saved or bool(attempt.names & self.session.memory.seen)

    @property
    def is_command(self) -> bool:
        """Whether a command sent the request, so that no state keeps the result."""
        return owner_kind(self.wish.owner) == "command"

    @contextmanager
    def _as_far_as_possible(self) -> Iterator[None]:
        """Let nothing interrupt an entry.

        Without the ledger, the session warns, and the next run that needs the database finds out.
        """
        with anyio.CancelScope(shield=True), suppress(LedgerUnavailable):
            yield


def _lost_answer(error: SquareCloudError) -> str:
    """How an answer was lost, in a few words; never just `200`."""
    unreadable = "unreadable" if isinstance(error, UnreadableAnswer) else None
    parts = (unreadable, error.status, error.code)
    words = " ".join(str(each) for each in parts if each)
    return words or error.message or "no answer"
