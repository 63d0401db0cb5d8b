"""Restore and resume: one POST at most, then watching it until what the database holds is known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, ClassVar

import anyio

from pulumi_snapshots.api.errors import (
    Cooldown,
    DatabaseMissing,
    KeyRefused,
    RestoreFailed,
    RestoreRunning,
    SquareCloudError,
    is_known,
    is_new,
)
from pulumi_snapshots.attempt.attempt import Attempt
from pulumi_snapshots.attempt.journal import Entry
from pulumi_snapshots.attempt.owner import UNKNOWN_ASKER, Asker, is_renamed
from pulumi_snapshots.clock import parse_rfc3339, rfc3339, to_the_second
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import SharedStateUnavailable, Unresolved, not_listed
from pulumi_snapshots.errors.text import Text
from pulumi_snapshots.listing.match import Search
from pulumi_snapshots.listing.wait import find_version
from pulumi_snapshots.progress import Listener, Member
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.restore.inputs import RestoreInputs
from pulumi_snapshots.restore.record import SUCCESS, RestoreRecord, another_snapshot
from pulumi_snapshots.restore.status import NeverSeen, NothingBegan, StatusWatch
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.record import requested_text, split_id

NOT_RESTORED = "Nothing was restored."
NOTHING_BEGAN = "Nothing was restored: by the service's status no restore has begun since."


class RestorePending(Unresolved[RestoreRecord]):
    """The restore was started, or may have been, and its end was not seen. It must be kept."""

    resumes = (Next(Step.KEEP_WATCHING), Next(Step.RESTORE_AGAIN))
    stays = (Next(Step.CHECK_RESTORED), Next(Step.RESTORE_AGAIN))
    kept_here = Next(Step.RESTORE_KEPT_HERE)
    not_kept = Next(Step.RESTORE_NOT_KEPT)


class RestoreRefused(Explained):
    """A restore that must not be sent."""


async def restore(
    session: Session, inputs: RestoreInputs, listener: Listener, asker: Asker = UNKNOWN_ASKER
) -> RestoreRecord:
    """Put a snapshot back and wait until that has succeeded and its database runs again.

    Args:
        session: the service.
        inputs: checked.
        listener: gets the progress.
        asker: who asks for it.

    Raises:
        RestorePending: it was or may have been started, and its end was not seen; keep the record.
        RestoreRefused: it must not be sent.
        RestoreFailed: it was carried out and failed; there is nothing to keep.
        NothingSent: it timed out or was interrupted before a request was sent.
        SquareCloudError: the service refused; nothing was started.
    """
    attempt = RestoreAttempt(session, inputs, Member(session.fleet, listener), asker)
    async with attempt.running():
        if not attempt.resumed:
            await attempt.prepare()
            attempt.step = "queued"
            await attempt.send(attempt.start, attempt.checks_again)
        record = await attempt.wait()
        if record.failure:
            raise attempt.failure(record)
        return record


async def resume_restore(
    session: Session, record: RestoreRecord, inputs: RestoreInputs, listener: Listener, *, owner: str | None = None
) -> RestoreRecord:
    """Keep watching a restore whose end was not seen, with the whole time-out again; never sends a POST.

    The record says which snapshot was restored; the inputs may name another one by now.

    Returns:
        The record, complete or with the restore's failure; a failed one is not watched any more.

    Raises:
        RestorePending: its end is still not known; keep the record.
    """
    if record.attempt is None or not record.pending or record.failure:
        return record
    ours = replace(
        inputs,
        database_id=record.database_id,
        version_id=record.version_id,
        target_database_id=record.target_database_id,
    )
    attempt = RestoreAttempt(session, ours, Member(session.fleet, listener), Asker(owner))
    async with attempt.running(record.attempt):
        return await attempt.wait()


class RestoreAttempt(Attempt):
    """One restore or resume.

    Attributes:
        runtime: the snapshot's engine, if it is known.
    """

    what: ClassVar[str] = "restore"
    passing: ClassVar[tuple[type[SquareCloudError], ...]] = (Cooldown, RestoreRunning)
    supersedes: ClassVar[bool] = True  # else a return to earlier triggers would resume an old POST

    def __init__(self, session: Session, inputs: RestoreInputs, member: Member, asker: Asker) -> None:
        super().__init__(
            session,
            inputs.target,
            member,
            asker,
            purpose=inputs.purpose,
            timeout=inputs.timeout,
            restores=inputs.snapshot,
        )
        self._session = session
        self._inputs = inputs
        self.runtime: str | None = None
        self._name: str | None = None
        self._status = StatusWatch(session, self)

    # Before the POST -------------------------------------------------------------------------------------------------

    def note_other(self, entry: Entry) -> None:
        """Refuse if it is not known whether this is the same restore under another name, or if a later run has sent another.

        Raises:
            RestoreRefused: it must not be sent.
        """
        if self.held_back and not self.resumed and self.owner is not None and entry.owner == self.owner:
            raise RestoreRefused(
                f"another run of the same resource has requested the restore of snapshot {entry.restores} onto database "
                f"{entry.database_id} before this run's request could be sent",
                NOT_RESTORED,
                [Next(Step.RUN_AGAIN)],
            )
        same = not self.resumed and self.is_alike(entry) and entry.restores == self._inputs.snapshot
        if same and not entry.proved and is_renamed(entry.owner, self.owner):
            when = entry.finished or to_the_second(entry.post.posted_at)
            raise RestoreRefused(
                f"snapshot {entry.restores} was restored onto database {entry.database_id} for {entry.owner} at {when}, and no "
                "later run has shown that its state was saved: this may be the same restore under another name",
                NOT_RESTORED,
                [Next(Step.CHECK_DATA), Next(Step.SHOW_OTHER), Next(Step.RESTORE_BY_TRIGGERS)],
            )

    async def take_over(self) -> bool:
        """Take over the POST of an earlier run, if there is one, and tell the user which snapshot it restores."""
        if not await super().take_over():
            return False
        record = self._record()
        if self.carried:
            return True
        if self.finished is None:
            resumed = (
                f"an earlier run was killed after it had requested the restore of {record.snapshot} onto database "
                f"{self.database_id} at {record.requested_at}: that one is watched, and none is sent."
            )
        else:
            resumed = (
                f"snapshot {record.snapshot} was restored onto database {self.database_id} by an earlier run whose state was "
                f"not saved, {spoken(self.age)} ago ({self.finished}): nothing is restored now."
            )
        self.member.warn(Text("{resumed} {then}", resumed=resumed, then=Next(Step.RESTORE_AGAIN)))
        if record.snapshot != self._inputs.snapshot:
            self.member.warn(another_snapshot(record))
        return True

    async def prepare_again(self) -> bool:
        """Another run was faster: the database's status now is not the effect of our restore."""
        await self._status.before()
        return False

    async def prepare(self) -> None:
        """Find out what the POST needs, and whether it must not be sent.

        Raises:
            RestoreRefused: it must not be sent.
            SquareCloudError: a request failed, or the service refuses to show the status, so the end would not be seen.
        """
        database_id, version_id = self._inputs.database_id, self._inputs.version_id
        if database_id == self.database_id and self._session.memory.is_claimed(database_id, version_id):
            raise RestoreRefused(
                f"snapshot {self._inputs.snapshot} is new in this same run, so there is nothing to go back to yet",
                NOT_RESTORED,
                [Next(Step.TAKE_RESTORE_OUT)],
            )
        self._name, self.runtime = self._inputs.name, self._inputs.runtime
        if self._name is None:
            self.show_step("looking up the snapshot")
            patience = self._inputs.timeout
            entry, by = await find_version(self._session, database_id, version_id, self.member, patience=patience)
            if entry is None:
                happened, then = not_listed(database_id, version_id, by)
                raise RestoreRefused(happened, NOT_RESTORED, then)
            self._name, self.runtime = entry.name, entry.runtime
        if self.runtime is not None and database_id != self.database_id:
            await self._compare_engines(self.runtime)
        self.show_step("checking that the database runs")
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

    async def start(self, on_send: Callable[[], Awaitable[None]]) -> str:
        """Send the POST once, and watch the database while it waits for its answer."""
        continues = False
        refusal: SquareCloudError | SharedStateUnavailable | None = None

        async def leaves() -> None:
            await on_send()
            if self._status.down_before:
                self.update(down_before=True)
                await self.save()
            self._status.note_sent()
            group.start_soon(self._status.while_open)

        async with anyio.create_task_group() as group:
            try:
                continues = await self._session.client.restore_snapshot(
                    self.database_id,
                    name=self._name or "",
                    version_id=self._inputs.version_id,
                    on_send=leaves,
                    on_wait=self.member.waits,
                )
            except (SquareCloudError, SharedStateUnavailable) as error:  # a task group would wrap it
                refusal = error
            except anyio.get_cancelled_exc_class() as cancelled:
                self.on_cancelled(cancelled)
                raise
            group.cancel_scope.cancel()
        if refusal is not None:
            raise refusal
        return "202" if continues else "200"

    def leaves_doubt(self, error: SquareCloudError) -> bool:
        """A code that is new may also be of a restore that began and failed; then its status decides."""
        if is_new(error):
            self._status.refusal = error
        return error.ambiguous or is_new(error)

    async def checks_again(self, refusal: SquareCloudError) -> bool:
        """Check the status before the next try, since another restore may be running, whose effects are not ours."""
        if isinstance(refusal, RestoreRunning):
            self.step = "waiting for the end of another restore of this database"
            await self._status.until_other_ends()
        else:
            self.step = "checking that it runs"
            await self._status.before()
        return False

    # After the POST --------------------------------------------------------------------------------------------------

    async def wait(self) -> RestoreRecord:
        """Watch the restore until it is over.

        Returns:
            The record, complete or with the restore's failure.

        Raises:
            RestorePending: the end will never be seen, or the service refuses to show the status.
            SquareCloudError: the POST was refused with a code that is new, and started nothing.
        """
        if self.finished is not None:
            record = replace(self._record(), restored_at=self.finished, attempt=None)
            self.resolved(self.finished)
            return record
        in_state = self.in_state
        try:
            restored = await self._status.until_over()
        except NeverSeen as never:
            raise self.unresolved_error(undecided=True) from never
        except NothingBegan as none:
            self.set_post(None)
            none.refusal.done = NOTHING_BEGAN
            raise none.refusal from None
        except SquareCloudError as error:
            raise self.unresolved_error(cause=error) from error
        record = self._record()
        if restored is None:
            self.set_post(None)  # there is nothing to keep of it, as after a refusal
            return record
        restored_at = rfc3339(restored.replace(microsecond=0))
        record = replace(record, restored_at=restored_at, attempt=None)
        self.resolved(restored_at)
        self.note_restored(record)
        done = f"restored {record.snapshot} onto database {self.database_id}"
        self.member.progress(done)
        if in_state:
            asked = spoken((self._session.service_clock.now() - parse_rfc3339(record.requested_at)).total_seconds())
            self.member.note(f"{done}, requested {asked} ago; no new request was sent")
        return record

    def note_restored(self, record: RestoreRecord) -> None:
        """Warn if this run has restored the database before: chance has decided which one comes last."""
        memory = self._session.memory.of(self.database_id)
        earlier, memory.restored = memory.restored, record.snapshot
        if earlier:
            twice = (
                "database {onto} was restored twice by this run, first from {earlier} and then from {id}: without "
                "`{depends_on}` between the two, chance decides which comes last."
            )
            self.member.warn(Text(twice, onto=self.database_id, earlier=earlier, id=record.snapshot))

    # The end -------------------------------------------------------------------------------------------------------------

    @property
    def not_done(self) -> str:
        """What was not done."""
        return f"Database {self.database_id} was not restored."

    def unresolved_error(
        self, why: str = "", *, undecided: bool = False, cause: Explained | None = None
    ) -> Unresolved[Any]:
        """The error of an unknown end."""
        self._status.note_followed()
        record, post = self._record(), self.sent
        what, seen = _requested(record), self._status.seen()
        unknown = "what it holds now is not known."
        if post.outcome == SUCCESS:
            happened = f"{what} and succeeded, but the database was not seen running since."
        elif post.accepted:
            happened = f"{what} and accepted, and {seen}: {unknown}"
        else:
            seen = seen[:1].upper() + seen[1:]
            answer = (
                f"was answered with {post.answered}, which is new"
                if _is_new_code(post.answered)
                else f"the answer was lost ({post.answered})"
            )
            lost = f"{answer}: it may or may not have been carried out"
            happened = f"{what} and {lost}. {seen}, so {unknown}"
        return RestorePending(record, f"{happened} {why}".rstrip(), undecided=undecided, cause=cause)

    def failure(self, record: RestoreRecord) -> RestoreFailed:
        """The error of a restore that failed, with the step in which it did."""
        return failure_of(record, self._status.shown.step if self._status.shown else None)

    def _record(self) -> RestoreRecord:
        post = self.sent
        posted = Search.of(post, self._session.client.service_clock.offset).posted
        # An earlier run may have restored another snapshot than the inputs name now.
        database_id, version_id = split_id(self.restores or "")
        return RestoreRecord(database_id, version_id, self.database_id, requested_text(posted), attempt=post)


def _is_new_code(answered: str) -> bool:
    """Whether a POST was answered with a status and a code that is new, see `Post.answered`."""
    status, _, code = answered.partition(" ")
    return status.isdecimal() and bool(code) and not is_known(code)


def failure_of(record: RestoreRecord, step: str | None = None) -> RestoreFailed:
    """The error of a restore that failed; `step` is what the service was doing."""
    return RestoreFailed.reported(f"{_requested(record)} and", record.failure or "", step)


def _requested(record: RestoreRecord) -> str:
    onto = f"onto database {record.target_database_id}"
    return f"The restore of snapshot {record.snapshot} {onto} was requested at {record.requested_at}"
