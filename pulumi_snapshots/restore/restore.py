"""Restore and resume: one POST at most, then watching the database until what it holds is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import anyio

from pulumi_snapshots.api.errors import Cooldown, DatabaseMissing, KeyRefused, RestoreRunning, SquareCloudError
from pulumi_snapshots.attempt.attempt import Attempt
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import Unresolved, not_listed
from pulumi_snapshots.errors.text import Text
from pulumi_snapshots.listing.match import Search
from pulumi_snapshots.progress import Member
from pulumi_snapshots.properties.checks import RETENTION
from pulumi_snapshots.restore.record import RestoreRecord, another_snapshot
from pulumi_snapshots.restore.status import NeverSeen, StatusWatch
from pulumi_snapshots.snapshot.record import requested_text, split_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pulumi_snapshots.attempt.post import Post
    from pulumi_snapshots.progress import Listener
    from pulumi_snapshots.restore.inputs import RestoreInputs
    from pulumi_snapshots.run.session import Session

__all__ = ["RestorePending", "RestoreRefused", "restore", "resume_restore"]

NOT_RESTORED = "Nothing was restored."


class RestorePending(Unresolved[RestoreRecord]):
    """The restore was started, or may have been, and its end was not seen. It must be kept."""

    resumes = (Next(Step.KEEP_WATCHING), Next(Step.RESTORE_AGAIN))
    stays = (Next(Step.CHECK_RESTORED), Next(Step.RESTORE_AGAIN))
    kept_here = Next(Step.RESTORE_KEPT_HERE)
    not_kept = Next(Step.RESTORE_NOT_KEPT)


class RestoreRefused(Explained):
    """A restore that must not be sent."""


async def restore(
    session: Session,
    inputs: RestoreInputs,
    listener: Listener,
    *,
    owner: str | None = None,
    give_up_earlier: bool = False,
) -> RestoreRecord:
    """Put a snapshot back and wait until its database runs again.

    Args:
        session: the service.
        inputs: checked.
        listener: hears how it goes.
        owner: the resource's name, as a user would give it to `--replace`.
        give_up_earlier: whether it gives up on what a killed run has left of this very restore, and acts again.

    Returns:
        The record, complete.

    Raises:
        RestorePending: it was or may have been started, and its end was not seen; keep the record.
        RestoreRefused: it must not be sent.
        NothingSent: the time was over, or it was interrupted, before a request was sent.
        SquareCloudError: the service refused; nothing was started.
    """
    attempt = RestoreAttempt(session, inputs, Member(session.fleet, listener), owner, give_up_earlier=give_up_earlier)
    async with attempt.running():
        if not attempt.resumed:
            await attempt.prepare()
            await attempt.post_it()
        return await attempt.wait()


async def resume_restore(
    session: Session, record: RestoreRecord, inputs: RestoreInputs, listener: Listener, *, owner: str | None = None
) -> RestoreRecord:
    """Go on watching a restore whose end was not seen; never sends a POST.

    Args:
        session: the service.
        record: as the state keeps it; what it names was restored, whatever the inputs name by now.
        inputs: checked; the watch has its whole time-out again.
        listener: hears how it goes.
        owner: the resource's name.

    Returns:
        The record, complete; `record` itself where it already was.

    Raises:
        RestorePending: its end is still not known; keep the record.
    """
    if record.attempt is None or not record.pending:
        return record
    ours = replace(
        inputs,
        database_id=record.database_id,
        version_id=record.version_id,
        target_database_id=record.target_database_id,
    )
    attempt = RestoreAttempt(session, ours, Member(session.fleet, listener), owner)
    async with attempt.running(record.attempt):
        return await attempt.wait()


class RestoreAttempt(Attempt):
    """One restore or resume.

    Args:
        session: the service.
        inputs: checked.
        member: hears how it goes.
        owner: the resource's URN; None if unknown.
        give_up_earlier: whether it gives up on what a killed run has left of it, and acts again.
    """

    what: ClassVar[str] = "restore"
    passing: ClassVar[tuple[type[SquareCloudError], ...]] = (Cooldown, RestoreRunning)
    supersedes: ClassVar[bool] = True  # else a return to earlier triggers would take an old POST for the one wanted now

    def __init__(
        self,
        session: Session,
        inputs: RestoreInputs,
        member: Member,
        owner: str | None,
        *,
        give_up_earlier: bool = False,
    ) -> None:
        super().__init__(
            session,
            inputs.target,
            member,
            owner,
            purpose=inputs.purpose,
            timeout=inputs.timeout,
            restores=inputs.snapshot,
            give_up_earlier=give_up_earlier,
        )
        self._session = session
        self._inputs = inputs
        self._name: str | None = None
        self._status = StatusWatch(session, self)

    # The journal ---------------------------------------------------------------------------------------------------------

    def relevant_for(self, post: Post) -> timedelta:  # noqa: ARG002  whatever it is
        """An earlier restore is never over by its age alone, since it must not act twice."""
        return timedelta(seconds=RETENTION)  # no version is there longer, so none can be restored

    # Before the POST -------------------------------------------------------------------------------------------------

    async def take_over(self) -> bool:
        """As every attempt does, and tell the user whose restore it is."""
        if not await super().take_over():
            return False
        record = self._record()
        self.member.warn(
            Text(
                "an earlier run was killed after it had requested the restore of {id} onto database {onto} at {at}: that one "
                "is watched, and none is sent. {then}",
                id=record.snapshot,
                onto=self.database_id,
                at=record.requested_at,
                then=Next(Step.RESTORE_AGAIN),
            )
        )
        if record.snapshot != self._inputs.snapshot:
            self.member.warn(another_snapshot(record))
        return True

    async def prepare_again(self) -> None:
        """Another run was faster: how the database is now is not because of our restore."""
        await self._status.before()

    async def prepare(self) -> None:
        """Find out what the POST needs, and whether it would be a mistake.

        Raises:
            RestoreRefused: it would be.
            SquareCloudError: the service could not be asked, or refuses to show what would tell its end.
        """
        database_id, version_id = self._inputs.database_id, self._inputs.version_id
        if database_id == self.database_id and self._session.memory.is_claimed(database_id, version_id):
            raise RestoreRefused(
                f"snapshot {self._inputs.snapshot} is new in this same run, so there is nothing to go back to yet",
                NOT_RESTORED,
                [Next(Step.TAKE_RESTORE_OUT)],
            )
        self._name, runtime = self._inputs.name, self._inputs.runtime
        if self._name is None:
            self.show_step("looking up the snapshot")
            entry = await self._session.listings.find_version(database_id, version_id)
            if entry is None:
                raise RestoreRefused(not_listed(database_id, version_id), NOT_RESTORED)
            self._name, runtime = entry.name, entry.runtime
        if runtime is not None and database_id != self.database_id:
            await self._compare_engines(runtime)
        self.show_step("looking whether the database runs")
        await self._status.before()

    async def _compare_engines(self, runtime: str) -> None:
        self.show_step("comparing the engines")
        try:
            target = await self._session.databases.database(self.database_id, self._session.clock.monotonic())
        except (KeyRefused, DatabaseMissing):
            raise
        except SquareCloudError:
            return  # the service compares them too
        if target.type is not None and target.type != runtime:
            raise RestoreRefused(
                f"snapshot {self._inputs.snapshot} is of a {runtime} database, and database {self.database_id} is {target.type}: a "
                "snapshot can be restored onto the same engine only",
                NOT_RESTORED,
            )

    # The POST --------------------------------------------------------------------------------------------------------

    async def post_it(self) -> None:
        """Send the POST, again only if it certainly started nothing."""
        self.step = "queued"
        await self.send(self._start, stop_before_again=self._sees_again)

    async def _start(self, on_send: Callable[[], Awaitable[None]]) -> str:
        """One try, with the database watched while it is open."""
        sent = anyio.Event()
        refusal: SquareCloudError | None = None

        async def leaves() -> None:
            await on_send()
            if self._status.down_before:
                self.update(down_before=True)
            sent.set()

        async with anyio.create_task_group() as group:
            group.start_soon(self._status.while_open, sent)
            try:
                await self._session.client.restore_snapshot(
                    self.database_id,
                    name=self._name or "",
                    version_id=self._inputs.version_id,
                    on_send=leaves,
                    on_wait=self.member.waits,
                )
            except SquareCloudError as error:  # a task group would wrap it
                refusal = error
            group.cancel_scope.cancel()
        if refusal is not None:
            raise refusal
        return "200"

    async def _sees_again(self, refusal: SquareCloudError) -> bool:
        """Before the next try: another restore may be running, and what it does must not count as ours."""
        others = isinstance(refusal, RestoreRunning)
        self.step = "waiting for another restore of this database" if others else "looking whether it runs"
        await self._status.before()
        if others:
            self._status.down_before = True
            await self._status.until_other_ends()
        return False

    # After the POST --------------------------------------------------------------------------------------------------

    async def wait(self) -> RestoreRecord:
        """Watch the database until the restore is over.

        Raises:
            RestorePending: nothing will tell any more, or the service refuses to.
        """
        try:
            restored = await self._status.until_over(age=self.age)
        except NeverSeen as never:
            raise self.unresolved_error(undecided=True) from never
        except SquareCloudError as error:
            raise self.unresolved_error(cause=error) from error
        record = replace(self._record(), restored_at=rfc3339(restored.replace(microsecond=0)), attempt=None)
        self.resolved()
        memory = self._session.memory.of(self.database_id)
        earlier, memory.restored = memory.restored, record.snapshot
        if earlier:
            self.member.warn(
                Text(
                    "database {onto} was restored twice by this run, first from {earlier} and then from {id}: without "
                    "`{depends_on}` between the two, chance decides which comes last.",
                    onto=self.database_id,
                    earlier=earlier,
                    id=record.snapshot,
                )
            )
        self.member.progress(f"restored {record.snapshot} onto database {self.database_id}")
        return record

    # The end -------------------------------------------------------------------------------------------------------------

    @property
    def not_done(self) -> str:
        """What was not done if nothing was sent."""
        return f"Database {self.database_id} was not restored."

    def unresolved_error(
        self, why: str = "", *, undecided: bool = False, cause: Explained | None = None
    ) -> RestorePending:
        """The error of an end that is not known."""
        return RestorePending(self._record(), f"{self._sent_text()} {why}".rstrip(), undecided=undecided, cause=cause)

    def _record(self) -> RestoreRecord:
        post = self.sent
        posted = Search.of(post, self._session.client.service_clock.offset).posted
        # An earlier run may have chosen another one than the inputs name now.
        database_id, version_id = split_id(self.restores or "")
        return RestoreRecord(database_id, version_id, self.database_id, requested_text(posted), attempt=post)

    def _sent_text(self) -> str:
        record, post = self._record(), self.sent
        what = f"The restore of snapshot {record.snapshot} onto database {self.database_id} was requested at {record.requested_at}"
        if post.accepted:
            seen = "seen down, but not running again" if post.seen_down else "not seen running since"
            return f"{what} and accepted, and the database was {seen}: what it holds now is not known."
        seen = "was seen down, but not running again" if post.seen_down else "was never seen going down"
        return (
            f"{what} and the answer was lost ({post.answered}): it may or may not have been carried out. The database "
            f"{seen}, so what it holds now is not known."
        )
