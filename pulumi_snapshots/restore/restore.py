"""Restore and resume: one POST at most, then watching the database until what it holds is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.api.errors import Cooldown, DatabaseMissing, KeyRefused, RestoreRunning, SquareCloudError
from pulumi_snapshots.attempt.posting import Posting
from pulumi_snapshots.attempt.trace import HeldBack, Trace
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors.outcomes import not_listed, sentence
from pulumi_snapshots.listing.match import Search
from pulumi_snapshots.progress import Member
from pulumi_snapshots.properties.checks import RETENTION
from pulumi_snapshots.restore.difference import another_snapshot
from pulumi_snapshots.restore.outcomes import RestorePending, RestoreRefused
from pulumi_snapshots.restore.record import RestoreRecord
from pulumi_snapshots.restore.status import NeverSeen, StatusWatch
from pulumi_snapshots.snapshot.describe import requested_text
from pulumi_snapshots.snapshot.record import split_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pulumi_snapshots.attempt.journal import Entry
    from pulumi_snapshots.progress import Listener
    from pulumi_snapshots.restore.inputs import RestoreInputs
    from pulumi_snapshots.run.session import Session

__all__ = ["restore", "resume_restore"]


async def restore(
    session: Session, inputs: RestoreInputs, listener: Listener, *, owner: str | None = None, anew: bool = False
) -> RestoreRecord:
    """Put a snapshot back and wait until its database runs again.

    Args:
        session: the service.
        inputs: checked.
        listener: hears how it goes.
        owner: the resource's name, as a user would give it to `--replace`.
        anew: whether it gives up on what a killed run has left of this very restore, and acts again.

    Returns:
        The record, complete.

    Raises:
        RestorePending: it was or may have been started, and its end was not seen; keep the record.
        RestoreRefused: it must not be sent.
        NothingSent: the time was over, or it was interrupted, before a request was sent.
        SquareCloudError: the service refused; nothing was started.
    """
    job = _Job(session, inputs, Member(session.fleet, listener), owner, anew=anew)
    try:
        with session.until(inputs.timeout):
            # Of two restores nobody could tell which has ended.
            async with job.posting.alone(session.alone_restoring(inputs.target)):
                if not await job.takes_over():
                    await job.prepare()
                    await job.post()
                return await job.watched()
        raise job.cut_short()
    finally:
        await job.posting.has_answered()


async def resume_restore(
    session: Session, record: RestoreRecord, inputs: RestoreInputs, listener: Listener, *, owner: str | None = None
) -> RestoreRecord:
    """Go on watching a restore whose end was not seen; never sends a POST.

    Args:
        session: the service.
        record: as the state keeps it; what it names was restored, whatever the inputs name by now.
        inputs: checked; the watch has its time-out anew.
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
        inputs, database_id=record.database_id, version_id=record.version_id, target=record.target_database_id
    )
    job = _Job(session, ours, Member(session.fleet, listener), owner)
    job.posting.resumes(record.attempt)
    try:
        with session.until(inputs.timeout):
            # Not alone: it starts nothing, and must not wait for another one that may never be seen to end.
            return await job.watched()
        raise job.cut_short()
    finally:
        await job.posting.has_answered()


class _RestoreTrace(Trace):
    """Of a restore: an earlier one of the same resource is never over by its age alone, since it must not act twice."""

    def _is_over(self, entry: Entry) -> bool:
        return self._age(entry) > timedelta(seconds=RETENTION)  # no version is there longer, so none can be restored

    async def _entered(self, entry: Entry) -> None:
        # Else a return to earlier triggers would take an old POST for the one that is wanted now.
        await self._journal.supersede(entry)

    def snapshot(self) -> tuple[str, str]:
        """Database id and version id of what is put back; an earlier run may have chosen another than this one."""
        return split_id(self._restores or "")


@dataclass
class _Job:
    """One restore or resume: what it has sent so far decides how it may end."""

    session: Session
    inputs: RestoreInputs
    member: Member
    owner: str | None
    anew: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        self.target = self.inputs.target
        self.trace = _RestoreTrace(
            self.session,
            self.session.restores,
            database_id=self.target,
            purpose=self.inputs.purpose,
            owner=self.owner,
            restores=self.inputs.snapshot,
            anew=self.anew,
        )
        self.posting = Posting(
            self.session,
            self.trace,
            self.member,
            what="restore",
            timeout=self.inputs.timeout,
            passing=(Cooldown, RestoreRunning),
        )
        self.status = StatusWatch(self.session, self.target, self.trace, self.member)

    # Before the POST -------------------------------------------------------------------------------------------------

    async def takes_over(self) -> bool:
        """As the posting does, and tell the user whose restore it is."""
        if await self.posting.takes_over():
            record = self._record()
            self.member.warn(
                f"an earlier run was killed after it had requested the restore of {record.snapshot} onto database "
                f"{self.target} at {record.requested_at}: that one is watched, and none is sent. "
                f"`pulumi up --replace '{self.owner or 'URN'}'` restores again."
            )
            if record.snapshot != self.inputs.snapshot:
                self.member.warn(another_snapshot(record))
        return self.posting.resumed

    async def prepare(self) -> None:
        """Find out what the POST needs, and whether it would be a mistake.

        Raises:
            RestoreRefused: it would be.
            SquareCloudError: the service could not be asked, or refuses to show what would tell its end.
        """
        database_id, version_id = self.inputs.database_id, self.inputs.version_id
        if database_id == self.target and self.session.memory.is_claimed(database_id, version_id):
            raise RestoreRefused(
                f"snapshot {self.inputs.snapshot} is new in this same run, so there is nothing to go back to yet, and nothing was "
                "restored. Take the Restore out of the program, unless the next `pulumi up` is to restore this snapshot."
            )
        self.name, runtime = self.inputs.name, self.inputs.runtime
        if self.name is None:
            self.posting.does("looking up the snapshot")
            entry = await self.session.looks.listed(database_id, version_id)
            if entry is None:
                raise RestoreRefused(f"{not_listed(database_id, version_id)} Nothing was restored.")
            self.name, runtime = entry.name, entry.runtime
        if runtime is not None and database_id != self.target:
            await self._compare_engines(runtime)
        self.posting.does("looking whether the database runs")
        await self.status.before()

    async def _compare_engines(self, runtime: str) -> None:
        self.posting.does("comparing the engines")
        try:
            target = await self.session.databases.database(self.target, self.session.clock.monotonic())
        except (KeyRefused, DatabaseMissing):
            raise
        except SquareCloudError:
            return  # the service compares them too
        if target.type is not None and target.type != runtime:
            raise RestoreRefused(
                f"snapshot {self.inputs.snapshot} is of a {runtime} database, and database {self.target} is {target.type}: a "
                "snapshot can be restored onto the same engine only. Nothing was restored."
            )

    # The POST --------------------------------------------------------------------------------------------------------

    async def post(self) -> None:
        """Send the POST, again only if it certainly started nothing."""
        self.posting.step = "waiting for its turn"
        while True:
            try:
                await self.posting.send(self._start, stop_before_again=self._sees_again)
            except HeldBack:
                if await self.takes_over():
                    return
                await self.status.before()
            else:
                return

    async def _start(self, on_send: Callable[[], Awaitable[None]]) -> str:
        """One try, with the database watched while it is open."""
        sent = anyio.Event()
        refusal: SquareCloudError | None = None

        async def leaves() -> None:
            await on_send()
            if self.status.down_before:
                await self.trace.learns(replace(self.posting.attempt, down_before=True))
            sent.set()

        async with anyio.create_task_group() as group:
            group.start_soon(self.status.while_open, sent)
            try:
                await self.session.client.restore_snapshot(
                    self.target,
                    name=self.name or "",
                    version_id=self.inputs.version_id,
                    on_send=leaves,
                    tell=self.member.waits,
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
        self.posting.step = "waiting for another restore of this database" if others else "looking whether it runs"
        await self.status.before()
        if others:
            self.status.down_before = True
            await self.status.until_other_ends()
        return False

    # After the POST --------------------------------------------------------------------------------------------------

    async def watched(self) -> RestoreRecord:
        """Watch the database until the restore is over."""
        try:
            restored = await self.status.until_over(age=self.posting.age)
        except NeverSeen as never:
            raise RestorePending(self._record(), self._sent_text(), undecided=True) from never
        except SquareCloudError as error:
            raise RestorePending(self._record(), f"{self._sent_text()} {sentence(error)}") from error
        record = replace(self._record(), restored_at=rfc3339(restored.replace(microsecond=0)), attempt=None)
        self.trace.resolved()
        if earlier := self.session.memory.restored(self.target, record.snapshot):
            self.member.warn(
                f"database {self.target} was restored twice by this run, first from {earlier} and then from "
                f"{record.snapshot}: without `depends_on` between the two, chance decides which comes last."
            )
        self.member.progress(f"restored {record.snapshot} onto database {self.target}")
        return record

    # The end ---------------------------------------------------------------------------------------------------------

    def cut_short(self) -> Exception:
        """What to raise where the time is over or the run was interrupted: what was sent decides."""
        if self.trace.attempt is not None:
            return RestorePending(self._record(), f"{self._sent_text()} {self.posting.ended()}.")
        return self.posting.nothing_sent(f"Database {self.target} was not restored.")

    def _record(self) -> RestoreRecord:
        attempt = self.posting.attempt
        posted = Search.of(attempt, self.session.client.service_clock.offset).posted
        database_id, version_id = self.trace.snapshot()
        return RestoreRecord(database_id, version_id, self.target, requested_text(posted), attempt=attempt)

    def _sent_text(self) -> str:
        record, attempt = self._record(), self.posting.attempt
        what = f"The restore of snapshot {record.snapshot} onto database {self.target} was requested at {record.requested_at}"
        if attempt.accepted:
            seen = "seen down, but not running again" if attempt.seen_down else "not seen running since"
            return f"{what} and accepted, and the database was {seen}: what it holds now is not known."
        seen = "was seen down, but not running again" if attempt.seen_down else "was never seen going down"
        return (
            f"{what} and the answer was lost ({attempt.answered}): it may or may not have been carried out. The database "
            f"{seen}, so what it holds now is not known."
        )
