"""Watching the restore of one POST until it is over: what the service and its database's status say, and the progress."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

import anyio

from pulumi_snapshots.clock import time_text, to_the_second
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.attempt import LONGEST_WAIT, SKEW, Attempt, Request
from pulumi_snapshots.listing.polling import failed_poll
from pulumi_snapshots.restore.record import SUCCESS
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF, ONCE, PATIENT
from pulumi_snapshots.service.errors import RestoreRunning, SquareCloudError
from pulumi_snapshots.service.limits import RESTORE_PER_DATABASE
from pulumi_snapshots.service.models import DatabaseStatus, RestoreStatus
from pulumi_snapshots.service.rate_limiter import BLOCKED

T = TypeVar("T")
APART = timedelta(seconds=RESTORE_PER_DATABASE)
"""Two restores of one database are never accepted closer together. A request may also take this long to arrive."""
SAME = timedelta(seconds=1)
"""How far apart two times of one restore may be."""
UNSTARTED = 300.0
"""Seconds after which an accepted restore is over, though the database has not started since its request by what it says."""
OUTCOME_KEPT = 3600.0
"""Seconds for which the service shows how a restore ended."""
DENIALS = 2
"""How many answers that there is no route for the status of a restore are believed: a proxy may have sent one of them."""
RUNNING, DOWN = RestoreStatus(state="running"), DatabaseStatus(running=False)
"""What `RESTORE_IN_PROGRESS` says in place of a status."""
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
        RestoreRunning: If one still runs after `LONGEST_WAIT`.
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
        began = f", begun at {time_text(status.started_at)}" if status.started_at else ""
        why = f"the service reports one as {status}{began}"
        waits("waiting for another restore of this database", until=until, why=why)
        await clock.sleep(session.settings.poll_every)
    # A key that must not see the status of the database would not see the end of the restore.
    now = clock.monotonic()
    await _answer(session.listings.database_status(database_id, now, patience=BRIEF), DOWN)
    return status.started_at if status else None


def _holds_up(status: RestoreStatus, now: datetime) -> bool:
    """Whether a restore keeps the service from accepting another one.

    It refuses other POSTs for "about two minutes" after a success.
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
        previous: When the last known restore began; None if none is known.

    Returns:
        When it began; None if none has, or the service does not say.

    Raises:
        SquareCloudError: If the status is refused, or a restore runs.
    """
    status: RestoreStatus | None = None
    try:
        status = await session.client.restore_status(database_id, patience=ONCE)
    except SquareCloudError as error:
        if isinstance(error, RestoreRunning) or not error.passing:
            raise
    began = status.started_at if status else None
    if began is None or began > session.service_clock.now() + APART:
        return None
    is_known = previous is not None and began <= previous + SAME
    return None if is_known else began


async def _answer(ask: Awaitable[T], while_restored: T) -> tuple[T | None, str]:
    """An answer of the service; None, and what the progress says of it, after a failure that may pass."""
    try:
        return await ask, ""
    except RestoreRunning:
        return while_restored, ""
    except SquareCloudError as error:
        return None, failed_poll(error)


class StatusWatch:
    """The watch over one attempt, which learns from what is seen; `waits` shows what it waits for."""

    def __init__(
        self,
        session: Session,
        attempt: Attempt,
        waits: Callable[..., None],
        refusal: SquareCloudError | None = None,
    ) -> None:
        self.session, self.attempt, self.waits = session, attempt, waits
        # How our POST was refused, if with a code that is new: a restore of ours would begin at once or never.
        self.refusal = refusal
        # how often the service has answered that it has no route for the status of a restore
        self.denials = 0
        # the last restore of the database, as the last poll saw it
        self.shown: RestoreStatus | None = None
        # Whether that is ours; False if it is a later one, None if that is not known (yet).
        self.is_ours: bool | None = None
        # Until when no other restore can have been accepted since our POST, by the service's clock.
        self.followed = attempt.request.posted_at
        self.failed = ""  # what the progress says of the last poll, if it failed

    @property
    def request(self) -> Request:
        """The request, with what is known of it by now."""
        return self.attempt.request

    async def until_over(self) -> datetime | None:
        """Poll until the restore is over; returns when the database was seen running again, None if the restore failed.

        Raises `NeverSeen`, a `SquareCloudError` that will be raised again, or the `refusal` if nothing has begun since.
        """
        session = self.session
        while True:
            if (until := session.rate_limiter.blocked_until) is not None:
                self.waits(BLOCKED, until=until, why=", ".join(self._told()))
            await self._poll_restore()
            pause, outcome = session.settings.poll_every, self.request.outcome
            if outcome not in {None, SUCCESS}:
                return None
            if outcome is None and not self._needs_database:
                self._raise_if_hopeless()
            elif outcome is None and not self.request.accepted:
                raise NeverSeen  # anybody may have stopped or started the database
            else:
                ask = session.listings.database_status(
                    self.attempt.database_id, session.clock.monotonic()
                )
                database, self.failed = await _answer(ask, DOWN)
                if database is not None and database.running:
                    left = 0.0 if outcome else self._settles_in(database.uptime)
                    if left <= 0:
                        return session.service_clock.now()
                    pause = min(pause, left)
            state, about = self._told()
            self.waits(state, next_check=session.clock.utc() + timedelta(seconds=pause), why=about)
            await session.clock.sleep(pause)

    def _raise_if_hopeless(self) -> None:
        """Raise if the service shows no restore of ours, and never will."""
        if self.failed or self.shown is None:
            return
        longest = OUTCOME_KEPT if self.request.accepted else self.request.timeout
        if self.is_ours is False or (not self.shown.in_progress and self._age >= longest):
            raise NeverSeen
        if self.refusal and not self.shown.in_progress and self._age >= RESTORE_PER_DATABASE:
            raise self.refusal

    @property
    def _age(self) -> float:
        return self.request.age(self.session.service_clock.now())

    def _settles_in(self, started: datetime | None) -> float:
        """Seconds until the restore is over, by when the database was `started` as it says."""
        longest = self.session.settings.restore_settle
        if started is not None:
            longest = 0.0 if started > self.request.posted_at + SAME else max(longest, UNSTARTED)
        return longest - self._age

    @property
    def _needs_database(self) -> bool:
        """Whether only the database's own status can show the end: there is no other route, or not for this key."""
        return self.denials >= DENIALS

    # Polls -----------------------------------------------------------------------------------------------------------------

    async def _poll_restore(self) -> None:
        """Ask how the restore stands, unless that is known, and note that in the attempt and the ledger."""
        self.failed, before = "", self.attempt
        while self.request.outcome is None and not self._needs_database and not self.failed:
            ask = self.session.client.restore_status(self.attempt.database_id, patience=PATIENT)
            status, self.failed = await _answer(ask, RUNNING)
            if status is not None:
                self.denials = 0
                self._learn(status)
                break
            self.denials += not self.failed
        if self.attempt != before:
            with anyio.CancelScope(shield=True), suppress(LedgerUnavailable):
                self.attempt = await self.session.ledger.enter(self.attempt)

    # Whose restore it is ---------------------------------------------------------------------------------------------------

    def _learn(self, status: RestoreStatus) -> None:
        """Note what a poll says, and in the attempt what it says of ours."""
        now, post = self.session.service_clock.now(), self.request
        is_followed = now - self.followed <= APART
        self.shown, self.is_ours = (
            status,
            self._whose(status, is_followed=is_followed and post.accepted),
        )
        if is_followed or (self.is_ours and status.in_progress):
            self.followed = now
        if not self.is_ours:
            return
        began = None if status.state == "queued" else self._known(status.started_at)
        outcome = {SUCCESS: SUCCESS, "error": status.code or "error"}.get(status.state)
        self.attempt = replace(
            self.attempt, request=replace(post, began=began or post.began, outcome=outcome)
        )

    def _whose(self, status: RestoreStatus, *, is_followed: bool) -> bool | None:
        """Whether the last restore is that of our POST, see `is_ours`; `is_followed`: it can be no later one."""
        post, began = self.request, self._known(status.started_at)
        if began is None:
            return (
                True
                if is_followed and (self.is_ours or status.in_progress) and status.state != "none"
                else None
            )
        if post.began is not None and abs(began - post.began) < SAME:
            return True
        # Accepted shortly after another one, ours would have been refused, however far apart the clocks are.
        first = post.began or post.posted_at - (APART if post.accepted else SKEW)
        if began < first or began == post.previous:
            return None
        return is_followed or (post.began is None and began <= post.posted_at + APART)

    def _known(self, time: datetime | None) -> datetime | None:
        """A time of the status; None for one in the future, which says nothing."""
        return (
            time if time is not None and time <= self.session.service_clock.now() + APART else None
        )

    # Words -----------------------------------------------------------------------------------------------------------------

    def _told(self) -> tuple[str, str]:
        """The state, in a word or two, and what is known beside it."""
        shown, post = self.shown, self.request
        lost = "" if post.accepted else post.answered
        state = "answer lost" if lost else "accepted"
        if post.outcome == SUCCESS:
            state, seen = "restored", "waiting for the database to run"
        elif self._needs_database:
            seen = "watching the database"
        elif shown is None or self.is_ours is False or shown.state in ENDED:
            seen = "looking for the restore" if lost else "not started yet"
        elif shown.state == "running" and self.is_ours and post.accepted:
            state, seen = "restoring", f"step {shown.step}" if shown.step else "running"
        else:
            seen = f"restore {shown}"
        return state, ", ".join(filter(None, (lost, seen, self.failed)))

    def seen(self) -> str:
        """What was seen of it last, for the error of an end that is not known."""
        shown = self.shown
        if self._needs_database or shown is None:
            return "the service does not say how a restore stands"
        if self.is_ours is False:
            began = to_the_second(shown.started_at) if shown.started_at else "a later time"
            return f"the last restore of the database, which may be another one, began at {began}"
        if shown.state not in ENDED:
            return f"a restore of the database was {shown} when the service was last asked"
        if shown.state == "none" and self._age >= OUTCOME_KEPT:
            return "the service no longer shows how the restore of the database ended"
        return "the service has shown no restore of the database since"
