"""Drill: restore a snapshot onto a scratch database with one POST at most, and check what came back."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar

from pulumi_snapshots.api.client import BRIEF
from pulumi_snapshots.api.errors import RestoreRunning, SquareCloudError
from pulumi_snapshots.attempt.owner import UNKNOWN_ASKER, Asker, owner_of
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.drill.asking import Asking, Opens
from pulumi_snapshots.drill.databases.errors import DatabaseUnreachable
from pulumi_snapshots.drill.databases.opening import open_database
from pulumi_snapshots.drill.due import KEPT, in_use, told_of
from pulumi_snapshots.drill.inputs import DrillInputs, misfit, purpose_of
from pulumi_snapshots.drill.proof import drilled_of
from pulumi_snapshots.drill.record import DrillRecord, GoodDrill
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import SharedStateUnavailable, Unresolved
from pulumi_snapshots.errors.text import Text, Words
from pulumi_snapshots.guard.book import GuardBook
from pulumi_snapshots.progress import Listener, Member
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.restore.record import SUCCESS, RestoreRecord
from pulumi_snapshots.restore.restore import NOT_RESTORED, RestoreAttempt, RestoreRefused
from pulumi_snapshots.run.session import Session

SAME = timedelta(seconds=2)
"""How far apart the service's time of a restore and ours of its end may be, since ours are whole seconds."""


class DrillPending(Unresolved[DrillRecord]):
    """The drill's restore was started, or may have been, and its end was not seen. It must be kept."""

    resumes: ClassVar[tuple[Next, ...]] = (Next(Step.KEEP_WATCHING), Next(Step.DRILL_AGAIN))
    stays: ClassVar[tuple[Next, ...]] = (Next(Step.DRILL_AGAIN),)
    kept_here = Next(Step.DRILL_KEPT_HERE)
    not_kept = Next(Step.DRILL_NOT_KEPT)


class DrillUnchecked(DrillPending):
    """The snapshot was restored, and then the run ended before all checks were run. It must be kept."""

    resumes = (Next(Step.CHECK_AGAIN),)
    stays = resumes


class DrillFailed(Explained):
    """The drill came to its end, and has not proved that the snapshot restores. It must be kept.

    Attributes:
        record: says why.
    """

    def __init__(self, record: DrillRecord, happened: Words, done: Words, then: tuple[Next, ...]) -> None:
        super().__init__(happened, done, then)
        self.record = record


async def drill(  # noqa: PLR0913  each is a fact of its own
    session: Session,
    inputs: DrillInputs,
    listener: Listener,
    asker: Asker = UNKNOWN_ASKER,
    *,
    last_good: GoodDrill | None = None,
    opens: Opens = open_database,
) -> DrillRecord:
    """Restore a snapshot onto the scratch database, and check it.

    Args:
        session: the service.
        inputs: checked.
        listener: gets the progress.
        asker: who asks for it.
        last_good: the last drill that has passed.
        opens: opens the scratch database.

    Raises:
        DrillPending: its restore was or may have been started, and its end, or that of its checks, was not seen; keep the
            record.
        DrillFailed: the restore or a check failed; keep the record.
        RestoreRefused: it must not be sent.
        NothingSent: it timed out or was interrupted before a request was sent.
        SquareCloudError: the service refused; nothing was started.
    """
    attempt = DrillAttempt(session, inputs, Member(session.fleet, listener), asker, last_good)
    return await attempt.carry_out(opens)


async def resume_drill(  # noqa: PLR0913  each is a fact of its own
    session: Session,
    record: DrillRecord,
    inputs: DrillInputs,
    listener: Listener,
    *,
    owner: str | None = None,
    opens: Opens = open_database,
) -> DrillRecord:
    """Keep watching a drill's restore whose end was not seen, with the whole time-out again, and check it; sends no POST.

    Raises:
        DrillPending: its end is still not known; keep the record.
        DrillFailed: the restore or a check failed; keep the record.
    """
    member = Member(session.fleet, listener)
    attempt = DrillAttempt(session, _ours(record, inputs), member, Asker(owner), record.last_good)
    return await attempt.carry_out(opens, record)


async def check_again(  # noqa: PLR0913  each is a fact of its own
    session: Session,
    record: DrillRecord,
    inputs: DrillInputs,
    listener: Listener,
    asker: Asker,
    *,
    opens: Opens = open_database,
) -> DrillRecord:
    """Run the checks of a drill again, without another restore unless the scratch database was restored again since.

    Raises:
        DrillUnchecked: they were not run; keep the record.
        DrillFailed: a check failed; keep the record.
        Exception: as `drill` raises them, if it restores again.
    """
    ours, member = _ours(record, inputs), Member(session.fleet, listener)
    asking = Asking(ours, session.clock, member, opens)
    overtaken = False
    done: _Verdict | None = None
    with session.until(inputs.timeout):
        async with session.lock("restore", record.scratch_database_id):
            overtaken = await _has_left_another(session, record, ours, asker.owner, member) or await _is_overtaken(
                session, record
            )
            if not overtaken:
                found = await _verdict(asking, record)
                overtaken = await _is_overtaken(session, record)
                done = found
    if overtaken:
        member.progress("the scratch database was restored again since: restoring the snapshot again")
        return await drill(session, ours, listener, asker, last_good=record.last_good, opens=opens)
    if done is None:
        raise _unchecked(session, record, inputs.timeout)
    return await _concluded(session, done, member)


class DrillAttempt(RestoreAttempt):
    """One drill or resume: a restore, and while no other restore of the scratch database may begin, its checks."""

    def __init__(
        self, session: Session, inputs: DrillInputs, member: Member, asker: Asker, last_good: GoodDrill | None
    ) -> None:
        super().__init__(session, inputs.restore, member, asker)
        self._drill = inputs
        self._last_good = last_good

    async def carry_out(self, opens: Opens, record: DrillRecord | None = None) -> DrillRecord:
        """Restore and check; with a record, only watch its restore before that. Raises as `drill` does."""
        asking = Asking(self._drill, self._session.clock, self.member, opens)
        restored: DrillRecord | None = None
        done: _Verdict | None = None
        overtaken = False
        async with self.running(record.attempt if record else None):
            if not self.resumed:
                await self.prepare()
                self.step = "queued"
                await self.send(self.start, self.checks_again)
            ended = await self.wait()
            if (kept := self._kept()) is not None:
                return kept
            restored = self._drilled(ended)
            if ended.failure is not None:
                failed = replace(restored, failure=ended.failure, passed=False, results=[], attempt=None)
                done = _Verdict(failed, self.failure(ended))
            else:
                if restored.restored_at is not None:
                    await self._session.drills.note_restored(restored.scratch_database_id, restored.restored_at)
                found = await _verdict(asking, restored)
                overtaken = await _is_overtaken(self._session, restored)
                done = found
        if restored is None:
            raise AssertionError  # the wait has ended, or has raised
        if overtaken:
            raise DrillUnchecked(
                restored, f"{_restored(restored)}, and another restore of that database began meanwhile."
            )
        if done is None:
            raise _unchecked(self._session, restored, self._drill.timeout)
        return await _concluded(self._session, done, self.member)

    async def prepare(self) -> None:
        """Find out what the POST needs, and whether it must not be sent.

        Raises:
            RestoreRefused: the scratch database is in use, or the connection is to another engine.
            SquareCloudError: a request failed, or the service refuses to show the status, so the end would not be seen.
        """
        scratch = self._drill.scratch_database_id
        resource = self._session.memory.kept_by(scratch) or await self._guard_of(scratch)
        if resource is not None:
            raise RestoreRefused(
                Text("{scratch_database_id} ({scratch}) {why}", scratch=scratch, why=in_use(resource)), NOT_RESTORED
            )
        await super().prepare()
        if reason := misfit(self._drill.connection, self.runtime):
            raise RestoreRefused(Text("{connection} {reason}", reason=reason), NOT_RESTORED)

    async def _guard_of(self, database_id: str) -> str | None:
        """The guard of a database that a program has used lately, here or where machines share what they send."""
        if self._session.guards is None:
            return None
        with suppress(SharedStateUnavailable):  # then the POST does not leave either
            guard = await GuardBook(self._session.guards).guarding(database_id)
            return None if guard is None else f"Guard {guard!r}"
        return None

    def note_restored(self, record: RestoreRecord) -> None:
        """Nothing: each drill holds the scratch database until its checks were run, so drills may share one."""

    def completes_early(self) -> bool:
        """Whether the restore is done, so that only checks are left."""
        return self.finished is not None

    @property
    def not_done(self) -> str:
        """What was not done."""
        return f"Snapshot {self._drill.snapshot} was not drilled."

    def unresolved_error(
        self, why: str = "", *, undecided: bool = False, cause: Explained | None = None
    ) -> DrillPending:
        """The error of an unknown end."""
        end = super().unresolved_error(why, undecided=undecided)
        return DrillPending(self._drilled(end.record), end.happened, undecided=undecided, cause=cause)

    def _drilled(self, restored: RestoreRecord) -> DrillRecord:
        return DrillRecord(
            restored.database_id,
            restored.version_id,
            restored.target_database_id,
            restored.requested_at,
            restored.restored_at,
            restore_seconds=self._seconds(restored),
            last_good=self._last_good,
            attempt=restored.attempt,
        )

    def _seconds(self, restored: RestoreRecord) -> float | None:
        """How long the restore took; None if an interrupted run does not know."""
        if restored.restored_at is None:
            return None
        requested, shown = parse_rfc3339(restored.requested_at), self._status.shown
        if shown is not None and shown.state == SUCCESS and shown.finished_at is not None:
            return max(0.0, round((shown.finished_at - requested).total_seconds(), 1))
        took = (parse_rfc3339(restored.restored_at) - requested).total_seconds()
        # An earlier run's restore may have been seen running only long after its end.
        return took if 0 <= took <= self._drill.timeout else None

    def _kept(self) -> DrillRecord | None:
        """The drill that this run has deleted because of something upstream, and that is to stay; None without one."""
        kept = self.outputs.get(KEPT) if self.carried else None
        with suppress(ValueError, LookupError, TypeError):
            record = DrillRecord.from_outputs(json.loads(kept or ""))
            if record.passed or (record.passed is False and self._drill.on_failure == "warn"):
                return record
        return None


# The end of a drill ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Verdict:
    """What a drill has found.

    Attributes:
        record: the drill, passed or failed.
        cause: why no check was run; None if they were.
    """

    record: DrillRecord
    cause: Explained | None = None


async def _verdict(asking: Asking, record: DrillRecord) -> _Verdict:
    """Run the checks of a restored snapshot."""
    ended = replace(record, drilled_at=record.restored_at, attempt=None)
    try:
        results = await asking.results()
    except DatabaseUnreachable as error:
        why = f"the scratch database cannot be reached: {error.why}"
        return _Verdict(replace(ended, passed=False, results=[], failure=why), error)
    passed = all(each.passed for each in results)
    ended = replace(ended, passed=passed, results=results, failure=None)
    return _Verdict(replace(ended, last_good=ended.good or record.last_good))


async def _concluded(session: Session, verdict: _Verdict, member: Member) -> DrillRecord:
    """The record of a drill that has passed, which is said and remembered; raises `DrillFailed` for another one."""
    record = verdict.record
    if not record.passed:
        raise failed(record, verdict.cause)
    count = len(record.results or ())
    took = "" if record.restore_seconds is None else f" in {spoken(record.restore_seconds)}"
    checks = "its check passed" if count == 1 else f"all {count} checks passed"
    member.note(f"drill passed: snapshot {record.snapshot} restores{took}, and {checks}")
    if (drilled := drilled_of(record)) is not None:
        await session.drills.note(record.database_id, drilled, record.version_id)
    return record


def failed(record: DrillRecord, cause: Explained | None = None) -> DrillFailed:
    """The error of a drill that has failed; `cause` is why no check was run, if one was met in this run."""
    then: tuple[Next, ...] = (Next(Step.CHECK_AGAIN), Next(Step.DRILL_AGAIN))
    if record.failed_to_restore:
        then = (Next(Step.DRILLS_NEXT),)
    elif cause is not None:
        then = (*cause.then, *then)
    done = "" if record.failed_to_restore else f"{_restored(record)}."
    good = record.last_good
    last = (
        ""
        if good is None
        else f"The last good drill was of snapshot {good.database_id}/{good.version_id} at {good.drilled_at}."
    )
    error = DrillFailed(
        record, f"The drill of snapshot {record.snapshot} failed: {told_of(record)}", f"{done} {last}".strip(), then
    )
    error.__cause__ = cause
    return error


def _unchecked(session: Session, record: DrillRecord, timeout: float) -> DrillUnchecked:
    why = "The wait was interrupted" if session.stopping else f"The wait ended after {spoken(timeout)}"
    return DrillUnchecked(record, f"{_restored(record)}, and its checks were not run to their end. {why}.")


def _restored(record: DrillRecord) -> str:
    took = "" if record.restore_seconds is None else f" in {spoken(record.restore_seconds)}"
    return f"Snapshot {record.snapshot} was restored onto database {record.scratch_database_id}{took}"


# Other restores of the scratch database ----------------------------------------------------------------------------------


async def _has_left_another(
    session: Session, record: DrillRecord, inputs: DrillInputs, owner: str | None, member: Member
) -> bool:
    """Whether a killed run has begun this drill again. First waits for other running processes on the scratch database."""
    journal = session.journals["restore"]
    while any(map(journal.is_under_way, entries := await journal.of(record.scratch_database_id))):
        member.waits("waiting for another run's restore of the scratch database")
        await session.clock.sleep(session.poll_every)
    wanted = owner_of(owner), purpose_of(record.snapshot, inputs.triggers)
    return any((each.owner, each.purpose) == wanted and not each.proved and not each.run for each in entries)


async def _is_overtaken(session: Session, record: DrillRecord) -> bool:
    """Whether another restore of the scratch database has begun since the drill's own, as far as it is known.

    The service shows one for an hour; later only what runs remember shows another drill's.
    """
    last = await session.drills.last_restored(record.scratch_database_id)
    ours = record.restored_at
    if last is not None and ours is not None and parse_rfc3339(last) > parse_rfc3339(ours) + SAME:
        return True
    try:
        status = await session.client.restore_status(record.scratch_database_id, patience=BRIEF)
    except RestoreRunning:
        return True
    except SquareCloudError:
        return False  # it does not say; the checks are as good as without it
    if status is None or record.restored_at is None:
        return False
    began = status.started_at
    return status.in_progress or (began is not None and began > parse_rfc3339(record.restored_at) + SAME)


def _ours(record: DrillRecord, inputs: DrillInputs) -> DrillInputs:
    """The inputs with the snapshot that was restored: they may name another one by now."""
    return replace(
        inputs,
        database_id=record.database_id,
        version_id=record.version_id,
        scratch_database_id=record.scratch_database_id,
    )
