"""Watching a restore until its end: what the service and the database say."""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

import anyio

from pulumi_snapshots.clock import time_text, to_the_second
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.attempt import (
    LEAVES_WITHIN,
    LONGEST_WAIT,
    SKEW,
    Attempt,
    Request,
)
from pulumi_snapshots.listing.polling import failed_poll
from pulumi_snapshots.restore.record import SUCCESS
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF, ONCE, PATIENT
from pulumi_snapshots.service.errors import RestoreRunning, SquareCloudError
from pulumi_snapshots.service.limits import CHECK, RESTORE_PER_DATABASE
from pulumi_snapshots.service.models import DatabaseStatus, RestoreStatus
from pulumi_snapshots.service.rate_limiter import BLOCKED

T = TypeVar("T")
APART = timedelta(seconds=RESTORE_PER_DATABASE)
"""The service never accepts two restores of one database closer together. A request may also take
this long to arrive."""
SAME = timedelta(seconds=1)
"""How far apart two times of one restore may be."""
CHECKED_WITHIN = LEAVES_WITHIN.total_seconds() / 2
"""Seconds for the check right before a request: a late answer must not keep a claim from
leaving."""
UNSTARTED = 300.0
"""Seconds after which an accepted restore is over, although the database has not started since."""
OUTCOME_KEPT = 3600.0
"""Seconds for which the service shows how a restore ended."""
DENIALS = 2
"""How many answers show that the status of a restore has no route: a proxy may have sent one."""
RUNNING = RestoreStatus(state="running")
"""What `RESTORE_IN_PROGRESS` says in place of the status of a restore."""
DOWN = DatabaseStatus(running=False)
"""What it says in place of the status of a database."""
ENDED = {"none", SUCCESS, "error"}


class NeverSeen(Exception):
    """No poll will show any more how the restore ended."""


async def clear_of_others(
    session: Session, database_id: str, waits: Callable[..., None]
) -> datetime | None:
    """Wait until the service reports no other restore of a database as running.

    Args:
        session: The session of the process.
        database_id: The database.
        waits: Shows what is waited for.

    Returns:
        When the last restore of the database began; None if none is known.

    Raises:
        RestoreRunning: If another restore still runs after `LONGEST_WAIT`.
        SquareCloudError: If a status is refused, so that the end of a restore could not be seen.
    """
    clock = session.clock
    until = clock.utc() + LONGEST_WAIT
    while True:
        status, _ = await _answer(
            session.client.restore_status(database_id, patience=BRIEF), RUNNING
        )
        if status is None or not _holds_up(status, session.service_clock.now()):
            break
        if clock.utc() >= until:
            raise RestoreRunning(f"POST /databases/{database_id}/snapshots/restore")
        began = (
            f", begun at {time_text(status.started_at)}" if status.started_at else ""
        )
        why = f"the service reports it as {status}{began}"
        waits("waiting for another restore of this database", until=until, why=why)
        await clock.sleep(session.settings.poll_every)
    # A key that must not see the status of the database would not see the end of the restore.
    now = clock.monotonic()
    await _answer(
        session.listings.database_status(database_id, now, patience=BRIEF), DOWN
    )
    return status.started_at if status else None


def _holds_up(status: RestoreStatus, now: datetime) -> bool:
    """Whether a restore keeps the service from accepting another restore.

    The service refuses other POSTs for "about two minutes" after a success.
    """
    ended = status.finished_at if status.state == SUCCESS else None
    is_recent = ended is not None and now - timedelta(seconds=125) < ended <= now
    return status.in_progress or is_recent


async def began_since(
    session: Session, database_id: str, previous: datetime | None
) -> datetime | None:
    """Find out whether a restore of a database has begun since another one.

    Args:
        session: The session of the process.
        database_id: The database.
        previous: When the last known restore began; None without one.

    Returns:
        When the later restore began; None if there is none, or the service does not say in time.

    Raises:
        SquareCloudError: If the status is refused, or a restore runs.
    """
    status: RestoreStatus | None = None
    try:
        # If other requests use up the minute, the claim gets too old, and is made again.
        status = await session.client.restore_status(
            database_id, patience=ONCE._replace(within=CHECKED_WITHIN), lane=CHECK
        )
    except SquareCloudError as error:
        if not error.passing:
            raise
    began = status.started_at if status else None
    if began is None:
        return None
    # Not compared with this machine's time: a machine that was paused with its clocks is behind.
    is_known = previous is not None and began <= previous + SAME
    return None if is_known else began


async def _answer(ask: Awaitable[T], while_restored: T) -> tuple[T | None, str]:
    """Return an answer; None, and what the progress says, after a failure that may pass."""
    try:
        return await ask, ""
    except RestoreRunning:
        return while_restored, ""
    except SquareCloudError as error:
        return None, failed_poll(error)


class StatusWatch:
    """The watch over one attempt, which learns from what is seen.

    Args:
        session: The session of the process.
        attempt: The attempt.
        waits: Shows what the watch waits for, as `Member.waits`.
        refusal: How the attempt's POST was refused, if with a code that is new: its restore begins
            at once or never.

    Attributes:
        attempt: The attempt, with what is known of it by now.
        shown: The last restore of the database, as the last poll saw it.
        is_ours: Whether the last restore is the attempt's; False if it is a later one, None if that
            is not known.
    """

    def __init__(
        self,
        session: Session,
        attempt: Attempt,
        waits: Callable[..., None],
        refusal: SquareCloudError | None = None,
    ) -> None:
        self.session = session
        self.attempt = attempt
        self.refusal = refusal
        self.shown: RestoreStatus | None = None
        self.is_ours: bool | None = None
        self._waits = waits
        # How often the service has answered that it has no route for the status of a restore.
        self._denials = 0
        # Until when no other restore can have been accepted since our POST, by the service's clock.
        self._followed_until = attempt.request.followed or attempt.request.posted_at
        self._failed_poll = ""  # what the progress says of the last poll, if it failed

    @property
    def request(self) -> Request:
        """The request, with what is known of it by now."""
        return self.attempt.request

    async def until_over(self) -> datetime | None:
        """Poll until the restore is over.

        Returns:
            When the database was seen running again; None if the restore failed.

        Raises:
            NeverSeen: No poll will show how it ended.
            SquareCloudError: A poll was refused for good; or the `refusal`, if nothing has begun.
        """
        try:
            return await self._polled_until_over()
        finally:
            if (
                self.request.outcome is None
                and self._followed_until > self.request.posted_at
            ):
                # The next watch continues from here.
                await self._enter(replace(self.request, followed=self._followed_until))

    async def _polled_until_over(self) -> datetime | None:
        session = self.session
        while True:
            blocked_until = session.rate_limiter.blocked_until
            if blocked_until is not None:
                self._waits(
                    BLOCKED, until=blocked_until, why=f"{self._state}, {self._seen_now}"
                )
            await self._poll_restore()
            outcome = self.request.outcome
            if outcome not in {None, SUCCESS}:
                return None
            left: float | None = None
            if outcome == SUCCESS or self._needs_database:
                left = await self._database_settles_in()
            else:
                self._raise_if_hopeless()
            if left is not None and left <= 0:
                return session.service_clock.now()
            pause = min(session.settings.poll_every, left or math.inf)
            next_poll = session.clock.utc() + timedelta(seconds=pause)
            self._waits(self._state, next_poll=next_poll, why=self._seen_now)
            await session.clock.sleep(pause)

    def _raise_if_hopeless(self) -> None:
        """Raise if the service does not show the attempt's restore, and never will."""
        if self._failed_poll or self.shown is None:
            return
        longest = OUTCOME_KEPT if self.request.accepted else self.request.timeout
        if self.is_ours is False or (
            not self.shown.in_progress and self._age >= longest
        ):
            raise NeverSeen
        if (
            self.refusal
            and not self.shown.in_progress
            and self._age >= RESTORE_PER_DATABASE
        ):
            raise self.refusal

    @property
    def _age(self) -> float:
        return self.request.age(self.session.service_clock.now())

    @property
    def _needs_database(self) -> bool:
        """Whether only the database's own status can show the end.

        Then there is no other route, or not for this key.
        """
        return self._denials >= DENIALS

    async def _database_settles_in(self) -> float | None:
        """Seconds until the restore is over by the database's own status.

        None if the database is down.

        Raises:
            NeverSeen: Anybody may have stopped or started the database.
        """
        outcome = self.request.outcome
        if outcome is None and not self.request.accepted:
            raise NeverSeen
        session = self.session
        now = session.clock.monotonic()
        ask = session.listings.database_status(self.attempt.database_id, now)
        database, self._failed_poll = await _answer(ask, DOWN)
        if database is None or not database.running:
            return None
        return 0.0 if outcome == SUCCESS else self._settles_in(database.uptime)

    def _settles_in(self, started: datetime | None) -> float:
        """Seconds until the restore is over, by when the database says that it was `started`."""
        longest = self.session.settings.restore_settle
        if started is not None:
            longest = (
                0.0
                if started > self.request.posted_at + SAME
                else max(longest, UNSTARTED)
            )
        return longest - self._age

    # Polls ----------------------------------------------------------------------------------------

    async def _poll_restore(self) -> None:
        """Ask for the restore's status, unless its outcome is known; enter what is learnt."""
        known = self.request
        self._failed_poll = ""
        while (
            self.request.outcome is None
            and not self._needs_database
            and not self._failed_poll
        ):
            ask = self.session.client.restore_status(
                self.attempt.database_id, patience=PATIENT
            )
            status, self._failed_poll = await _answer(ask, RUNNING)
            if status is not None:
                self._denials = 0
                known = self._learnt(status)
                break
            self._denials += not self._failed_poll
        await self._enter(known)

    async def _enter(self, known: Request) -> None:
        """Enter what is known of the request by now, unless it is known already."""
        if known == self.request:
            return
        self.attempt = replace(self.attempt, request=known)
        with anyio.CancelScope(shield=True), suppress(LedgerUnavailable):
            self.attempt = await self.session.ledger.enter(self.attempt)

    # Whose restore it is --------------------------------------------------------------------------

    def _learnt(self, status: RestoreStatus) -> Request:
        """Note what a poll says; returns the request with what the poll says of its restore."""
        now = self.session.service_clock.now()
        post = self.request
        is_followed = now - self._followed_until <= APART
        self.shown = status
        self.is_ours = self._whose(status, is_followed=is_followed)
        # Without an answer, the POST may not have arrived: its restore is followed only once it is
        # seen.
        if (is_followed and post.accepted) or (self.is_ours and status.in_progress):
            self._followed_until = now
        if not self.is_ours:
            return post
        began = None if status.state == "queued" else self._known(status.started_at)
        outcome = {SUCCESS: SUCCESS, "error": status.code or "error"}.get(status.state)
        return replace(post, began=began or post.began, outcome=outcome)

    def _whose(self, status: RestoreStatus, *, is_followed: bool) -> bool | None:
        """Whether the last restore is the attempt's, see `is_ours`.

        Args:
            status: The last restore.
            is_followed: Whether the last restore cannot be a later one.
        """
        post = self.request
        began = self._known(status.started_at)
        if began is None:
            return True if is_followed and self._may_be_ours(status) else None
        if post.began is not None and abs(began - post.began) < SAME:
            return True
        if self._is_earlier(began):
            return None
        return is_followed or (post.began is None and began <= post.posted_at + APART)

    def _may_be_ours(self, status: RestoreStatus) -> bool:
        """Whether a restore without a time runs, or has ended since a poll saw the attempt's."""
        return status.in_progress or (self.is_ours is True and status.state != "none")

    def _is_earlier(self, began: datetime) -> bool:
        """Whether a restore that began then is an earlier one than the attempt's.

        Shortly after another restore the service would have refused the attempt's, however far
        apart the clocks are.
        """
        post = self.request
        room = APART if post.accepted else SKEW
        return began < (post.began or post.posted_at - room) or began == post.previous

    def _known(self, time: datetime | None) -> datetime | None:
        """A time of the status; None for one in the future, which says nothing."""
        if time is None or time > self.session.service_clock.now() + APART:
            return None
        return time

    # Words ----------------------------------------------------------------------------------------

    @property
    def _state(self) -> str:
        """How far the restore is, in a word or two."""
        if self.request.outcome == SUCCESS:
            return "restored"
        if not self.request.accepted:
            return "answer lost"
        return "restoring" if self._is_seen_running else "accepted"

    @property
    def _seen_now(self) -> str:
        """What is known beside the state: a lost answer, what was seen, and a poll that failed."""
        lost = "" if self.request.accepted else self.request.answered
        return ", ".join(filter(None, (lost, self._seen_restore, self._failed_poll)))

    @property
    def _seen_restore(self) -> str:
        shown = self.shown
        if self.request.outcome == SUCCESS:
            return "waiting for the database to run"
        if self._needs_database:
            return "watching the database"
        if shown is None or self.is_ours is False or shown.state in ENDED:
            return (
                "not started yet"
                if self.request.accepted
                else "looking for the restore"
            )
        if self._is_seen_running and self.request.accepted:
            return f"step {shown.step}" if shown.step else "running"
        return f"restore {shown}"

    @property
    def _is_seen_running(self) -> bool:
        is_running = self.shown is not None and self.shown.state == "running"
        return is_running and self.is_ours is True and not self._needs_database

    def seen(self) -> str:
        """Say what was seen of the restore last, for the error of an end that is not known.

        Returns:
            A clause without a full stop, which begins in lower case.
        """
        shown = self.shown
        if self._needs_database or shown is None:
            return "the service does not say how a restore is going"
        if self.is_ours is False:
            began = (
                to_the_second(shown.started_at) if shown.started_at else "a later time"
            )
            return f"the last restore of the database, which may be another one, began at {began}"
        if shown.state not in ENDED:
            return (
                f"a restore of the database was {shown} when the service was last asked"
            )
        if shown.state == "none" and self._age >= OUTCOME_KEPT:
            return "the service no longer shows how the restore of the database ended"
        return "the service has shown no restore of the database since"
