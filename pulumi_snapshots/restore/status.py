"""Watching the restore of one POST until it is over: what the service and its database's status say, and the progress.

The service says how the last restore of a database stands. If it has no such route, the database's own status must do: an
accepted restore is over once the database was seen down, or says that it has started since, and runs again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import anyio

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.attempt import SKEW, Attempt, Request
from pulumi_snapshots.listing.wait import failed_poll
from pulumi_snapshots.restore.record import SUCCESS
from pulumi_snapshots.run.once import until_free
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF, PATIENT, Patience
from pulumi_snapshots.service.errors import RestoreRunning, SquareCloudError
from pulumi_snapshots.service.limits import RESTORE_PER_DATABASE
from pulumi_snapshots.service.models import RestoreStatus
from pulumi_snapshots.service.rate_limiter import BLOCKED

OTHER_RESTORE = 180.0
"""Seconds to wait for another restore before asking for ours again, if the service does not say how it stands."""
APART = timedelta(seconds=RESTORE_PER_DATABASE)
"""Two restores of one database are never accepted closer together. A request may also take this long to arrive."""
SAME = timedelta(seconds=1)
"""How far apart two times of one restore may be."""
UNSTARTED = 300.0
"""Seconds after which an accepted restore is over, though the database has not started since its request by what it says."""
OUTCOME_KEPT = 3600.0
"""Seconds for which the service shows how a restore ended."""
DENIALS = 2
"""How often the service must answer that it has no route for the status of a restore before it is believed: a proxy may have
said so once."""


class NeverSeen(Exception):
    """No poll will show any more how the restore ended."""


@dataclass
class StatusWatch:
    """The watch over one database.

    Attributes:
        session: the service.
        database_id: the database.
        waits: shows what it waits for.
        attempt: the restore that is watched, once it was claimed; it learns from what is seen.
        resumed: whether an earlier run has sent it, or another one.
        earlier: the last restore before the POST; None if that is not known.
        denials: how often the service has answered that it has no route for the status of a restore.
        shown: the last restore, as the last poll saw it; None if no poll did.
        is_ours: whether that is ours; False if it is a later one, None if that is not known (yet).
        followed: until when no other restore can have been accepted since our POST, by the service's clock.
        refusal: how our POST was refused, if with a code that is new: a restore of ours would begin at once or never.
        failed: what the progress says of the last poll, if it failed.
        started: when the database was last started, as the last poll of its own status saw it; None if that is not known.
    """

    session: Session
    database_id: str
    waits: Callable[..., None]
    attempt: Attempt | None = None
    resumed: bool = False
    earlier: RestoreStatus | None = None
    denials: int = 0
    shown: RestoreStatus | None = None
    is_ours: bool | None = None
    followed: datetime | None = None
    refusal: SquareCloudError | None = None
    failed: str = ""
    started: datetime | None = None
    _is_saved: bool = True

    # What is known of it -------------------------------------------------------------------------------------------------

    @property
    def request(self) -> Request:
        """The request, with what is known of it by now."""
        if self.attempt is None:
            raise AssertionError  # nothing is watched before it was claimed
        return self.attempt.request

    @property
    def age(self) -> float:
        """Seconds since the request."""
        return self.request.age(self.session.service_clock.now())

    def note(self, **fields: Any) -> None:
        """Keep what was seen; `save` writes it into the ledger."""
        request = replace(self.request, **fields)
        if self.attempt is not None and request != self.request:
            self.attempt, self._is_saved = replace(self.attempt, request=request), False

    async def save(self) -> None:
        """Write what was seen into the ledger, before a wait in which the run may be killed."""
        if self.attempt is None or self._is_saved:
            return
        with anyio.CancelScope(shield=True), suppress(LedgerUnavailable):
            await self.session.ledger.update(self.attempt, request=self.attempt.request)
            self._is_saved = True

    # Before the POST -----------------------------------------------------------------------------------------------------

    async def before(self) -> bool:
        """Wait until no other restore holds up the POST, and see how things stand: only a later change can be its effect.

        Returns:
            Whether the database may be down. A poll that failed may hide that, and the POST may well fail in the same way.

        Raises:
            SquareCloudError: a status is refused, so the end of a restore could not be seen.
        """
        self.earlier = await until_free(self.session, self.waits, lambda: self._restore(BRIEF))
        return await self._running(BRIEF) is not True

    async def until_other_ends(self) -> None:
        """Wait for the end of the restore because of which ours was refused; the next try of ours shows whether it is over."""
        clock, until = self.session.clock, self.session.clock.monotonic() + OTHER_RESTORE
        while True:
            self.waits("waiting for the end of another restore of this database")
            await clock.sleep(self.session.settings.poll_every)
            # `before` waits too if the service says how that restore stands.
            if not self.denials or clock.monotonic() >= until or await self._running(BRIEF):
                return

    # After it ------------------------------------------------------------------------------------------------------------

    async def until_over(self) -> datetime | None:
        """Poll until the restore is over.

        Returns:
            When the database was seen running again, by the service's clock; None if the restore failed.

        Raises:
            NeverSeen: no poll can show any more how it ended.
            SquareCloudError: a poll was refused, and will be refused again; or it is `refusal`, and nothing has begun since.
        """
        clock = self.session.clock
        began = clock.monotonic()
        self.followed = self.request.followed or self.request.posted_at
        while True:
            if (until := self.session.client.blocked_until) is not None:
                self.waits(BLOCKED, until=until, why=f"{self._state}, {self._about()}")
            runs = await self._poll()
            if self.request.outcome not in {None, SUCCESS}:
                return None
            # Only now, since the answer to this run's first poll shows how the clock of an earlier run stood.
            age = max(self.age if self.resumed else 0.0, clock.monotonic() - began)
            pause = self._pause(age, runs=runs is True)
            if pause is None:
                return self.session.service_clock.now()
            self.waits(self._state, next_check=clock.utc() + timedelta(seconds=pause), why=self._about())
            await clock.sleep(pause)

    def _pause(self, age: float, *, runs: bool) -> float | None:
        """Seconds until the next poll; None if the restore is over.

        Args:
            age: seconds since it was accepted.
            runs: whether the database was seen running now.
        """
        post, every = self.request, self.session.settings.poll_every
        if post.outcome == SUCCESS:
            return None if runs else every
        if not self._needs_database:
            is_another = self.is_ours is False
            shows_none = not self.failed and self.shown is not None and (is_another or not self.shown.in_progress)
            if self.refusal and not is_another and shows_none and age >= RESTORE_PER_DATABASE:
                raise self.refusal
            if shows_none and (is_another or self.age >= (OUTCOME_KEPT if post.accepted else post.timeout)):
                raise NeverSeen
        elif runs:
            longest = self.session.settings.restore_settle
            unstarted = self.started is not None and not self._is_after(post.posted_at)
            settling = (max(longest, UNSTARTED) if unstarted else longest) - age
            if post.seen_down or (post.accepted and settling <= 0):
                return None
            if post.accepted:
                return min(every, settling)
            if self.age >= post.timeout:
                raise NeverSeen
        return every

    @property
    def _needs_database(self) -> bool:
        """Whether only the database's own status can show the end."""
        return self.denials >= DENIALS

    async def _poll(self) -> bool | None:
        """Ask once; the attempt learns what that says of the restore.

        Returns:
            Whether the database runs; None if that is not known.
        """
        runs, asks = None, self.request.outcome is None
        while asks and not self._needs_database:
            status = await self._restore(PATIENT)
            asks = status is None and not self.failed
            if status is not None:
                self._learn(status)
        if self.request.outcome == SUCCESS:
            runs = await self._running(PATIENT)
        elif self._needs_database:
            runs = await self._running(PATIENT)
            post = self.request
            # One that was down before the POST may just be down as before, or started by somebody.
            is_effect = (runs is False and post.accepted) or not post.down_before
            if (runs is False or self._has_started()) and is_effect and not post.seen_down:
                self.note(seen_down=True)
        await self.save()
        return runs

    async def _restore(self, patience: Patience) -> RestoreStatus | None:
        """The last restore of the database; None if it is not known."""
        self.failed = ""
        try:
            status = await self.session.client.restore_status(self.database_id, patience=patience)
        except RestoreRunning:
            return RestoreStatus(state="running")
        except SquareCloudError as error:
            self.failed = failed_poll(error)
            return None
        self.denials = self.denials + 1 if status is None else 0
        return status

    async def _running(self, patience: Patience) -> bool | None:
        self.failed = ""
        now = self.session.clock.monotonic()
        try:
            status = await self.session.databases.status(self.database_id, now, patience=patience)
        except RestoreRunning:
            return False
        except SquareCloudError as error:
            self.failed = failed_poll(error)
            return None
        self.started = status.uptime
        return status.running

    def _has_started(self) -> bool:
        """Whether the database has started since the request, by its own status."""
        post = self.request
        # Long after a request that was lost, somebody may have started it for another reason.
        is_late = self.started is not None and self.started > post.posted_at + timedelta(seconds=post.timeout)
        return self._is_after(post.posted_at) and (post.accepted or not is_late)

    def _is_after(self, time: datetime) -> bool:
        return self.started is not None and self.started > time + SAME

    # Whose restore it is ---------------------------------------------------------------------------------------------------

    def _learn(self, status: RestoreStatus) -> None:
        """Note what a poll says, and in the attempt what it says of ours."""
        now, post = self.session.service_clock.now(), self.request
        is_followed = self.followed is not None and now - self.followed <= APART
        self.shown, self.is_ours = status, self._whose(status, is_followed=is_followed and post.accepted)
        if is_followed or (self.is_ours and status.in_progress):
            self.followed = now
        if not self.is_ours:
            return
        if (began := self._known(status.started_at)) is not None and status.state != "queued":
            self.note(began=began)
        if status.state == SUCCESS:
            self.note(outcome=SUCCESS)
        elif status.state == "error":
            self.note(outcome=status.code or "error")

    def _whose(self, status: RestoreStatus, *, is_followed: bool) -> bool | None:
        """Whether the last restore is that of our POST, see `is_ours`; `is_followed`: it can be no later one."""
        post, began = self.request, self._known(status.started_at)
        if began is None:
            is_new = self.is_ours or status.in_progress or (self.earlier is not None and status != self.earlier)
            return True if is_followed and is_new and status.state != "none" else None
        if post.began is not None and abs(began - post.began) < SAME:
            return True
        # Accepted shortly after another one, ours would have been refused, however far apart the clocks are.
        first = post.began or post.posted_at - (APART if post.accepted else SKEW)
        if began < first or (self.earlier is not None and began == self.earlier.started_at):
            return None
        return is_followed or (post.began is None and began <= post.posted_at + APART)

    def keep_followed(self) -> None:
        """Note for the next run until when no other restore can have been accepted; once it has begun, its beginning tells."""
        if self.followed is not None and self.request.accepted and self.request.began is None:
            self.note(followed=self.followed.replace(microsecond=0))

    def _known(self, time: datetime | None) -> datetime | None:
        """A time of the status; None for one in the future, which says nothing."""
        return time if time is not None and time <= self.session.service_clock.now() + APART else None

    # Words -----------------------------------------------------------------------------------------------------------------

    @property
    def _state(self) -> str:
        if self.request.outcome == SUCCESS:
            return "restored"
        if self._step:
            return "restoring"
        return "accepted" if self.request.accepted else "refused" if self.refusal else "answer lost"

    @property
    def _step(self) -> str:
        """What the service was last seen doing for an accepted restore of ours; empty if it was not."""
        runs = self.request.accepted and self.is_ours and self.shown is not None and self.shown.state == "running"
        return (self.shown.step or "running") if runs and self.shown else ""

    def _about(self) -> str:
        """What is known beside the state."""
        post = self.request
        lost = [] if post.accepted else [post.answered]
        if post.outcome == SUCCESS:
            seen = "waiting for the database to run"
        elif self._needs_database:
            seen = "the database is down" if post.seen_down and post.accepted else "watching the database"
        elif self.shown is None or self.is_ours is False or self.shown.state in {"none", SUCCESS, "error"}:
            seen = "looking for the restore" if lost else "not started yet"
        else:
            seen = self._step or f"restore {self.shown}"
        return ", ".join(filter(None, (*lost, seen, self.failed)))

    def seen(self) -> str:
        """What was seen of it last, for the error of an end that is not known."""
        post = self.request
        if self.shown is not None and self.is_ours is False:
            began = to_the_second(self.shown.started_at) if self.shown.started_at else "a later time"
            known = post.began is not None
            unknown = f"a restore of the database began at {began}, which may be this one or a later one"
            return f"another restore of the database began at {began}" if known else unknown
        if self.shown is not None and not self._needs_database:
            if self.shown.state == "none" and self.age >= OUTCOME_KEPT:
                return "the service no longer shows how the restore of the database ended"
            if self.shown.state in {"none", SUCCESS, "error"}:
                return "the service has shown no restore of the database since"
            return f"a restore of the database was {self.shown} when the service was last asked"
        if post.seen_down:
            return "the database was seen down, but not running again"
        return "the database was not seen running since" if post.accepted else "the database was never seen going down"
