"""Drill: restore a snapshot onto a scratch database with one POST at most, and check what came back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar

import anyio

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.databases.errors import DatabaseUnreachable
from pulumi_snapshots.databases.opening import open_database
from pulumi_snapshots.drill.asking import Asking, Opens
from pulumi_snapshots.drill.due import told_of
from pulumi_snapshots.drill.evidence import ProvesNothing, evidence
from pulumi_snapshots.drill.inputs import DrillInputs
from pulumi_snapshots.drill.reach import Reach, Unfitting
from pulumi_snapshots.drill.record import DrillRecord, GoodDrill
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import LedgerUnavailable, Unresolved
from pulumi_snapshots.errors.text import Text, Words
from pulumi_snapshots.guard.book import consult
from pulumi_snapshots.ledger.attempt import owner_of
from pulumi_snapshots.ledger.drilled import Drills
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.progress import Listener, Member
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.restore.record import SUCCESS, RestoreRecord
from pulumi_snapshots.restore.restore import NOT_RESTORED, RestorePending, RestoreRefused, Restoring
from pulumi_snapshots.run.memory import in_use
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.under_way import UnderWay
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import RestoreRunning, SquareCloudError
from pulumi_snapshots.storage.destination import place_text

HOLDS = timedelta(seconds=90)
"""How long the scratch database is held for the checks without another word; renewed three times as often."""
UNKNOWN_HOST = Text(
    "{connection} is to another host than the service's own of the scratch database, so its address does not show that it leads "
    "there."
)
SAME = timedelta(seconds=2)
"""How far apart the service's time of a restore and ours of its end may be, since ours are whole seconds."""


class DrillPending(Unresolved[DrillRecord]):
    """The drill's restore was started, or may have been, and its end was not seen. It must be kept."""

    steps_if_pending: ClassVar[tuple[Next, ...]] = (Next(Step.KEEP_WATCHING), Next(Step.DRILL_AGAIN))
    steps_if_undecided: ClassVar[tuple[Next, ...]] = (Next(Step.DRILL_AGAIN),)
    step_if_remembered = Next(Step.DRILL_KEPT_HERE)
    step_if_forgotten = Next(Step.DRILL_NOT_KEPT)


class DrillUnchecked(DrillPending):
    """The snapshot was restored, and then the run ended before all checks were run. It must be kept."""

    steps_if_pending = (Next(Step.CHECK_AGAIN),)
    steps_if_undecided = steps_if_pending


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
    owner: str | None = None,
    *,
    fresh: bool = False,
    last_good: GoodDrill | None = None,
    opens: Opens = open_database,
) -> DrillRecord:
    """Restore a snapshot onto the scratch database, and check it.

    Args:
        session: the service.
        inputs: checked.
        listener: gets the progress.
        owner: the resource's URN, or the command; None if unknown.
        fresh: whether another one is wanted, whatever earlier runs have left.
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
    member = Member(session.fleet, listener)
    return await Drilling(session, inputs, member, owner, last_good, fresh=fresh).carry_out(opens)


async def resume_drill(  # noqa: PLR0913  each is a fact of its own
    session: Session,
    record: DrillRecord,
    inputs: DrillInputs,
    listener: Listener,
    *,
    owner: str | None = None,
    opens: Opens = open_database,
) -> DrillRecord:
    """Keep watching a drill's restore whose end was not seen, with the whole time-out again, and check it; sends no restore.

    Raises:
        DrillPending: its end is still not known; keep the record.
        DrillFailed: the restore or a check failed; keep the record.
    """
    member = Member(session.fleet, listener)
    drilling = Drilling(session, _ours(record, inputs), member, owner, record.last_good)
    if record.attempt is not None:
        drilling.restoring.operation.resume(record.attempt)
    return await drilling.carry_out(opens)


async def check_again(  # noqa: PLR0913  each is a fact of its own
    session: Session,
    record: DrillRecord,
    inputs: DrillInputs,
    listener: Listener,
    owner: str | None,
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
    asking = Asking(ours, session.clock, member, opens, Reach(session, ours))
    overtaken = False
    done: _Verdict | None = None
    with session.until(inputs.timeout):
        async with session.lock(record.scratch_database_id):
            overtaken = await _has_left_another(session, record, owner, member) or await _is_overtaken(session, record)
            if not overtaken:
                found = await _verdict(session, asking, record)
                overtaken = await _is_overtaken(session, record)
                done = found
    if overtaken:
        member.progress("the scratch database was restored again since: restoring the snapshot again")
        return await drill(session, ours, listener, owner, last_good=record.last_good, opens=opens)
    if done is None:
        raise _unchecked(session, record, inputs.timeout)
    return await _concluded(session, done, member)


class Drilling:
    """One drill or resume: a restore, and while no other restore of the scratch database may begin, its checks.

    Args:
        session: the service.
        inputs: checked.
        member: gets the progress.
        owner: the resource's URN, or the command; None if unknown.
        last_good: the last drill that has passed.
        fresh: see `drill`.

    Attributes:
        restoring: its restore.
        reach: the way to the scratch database.
        restored: what is known of it once the snapshot was restored.
    """

    def __init__(  # noqa: PLR0913  what is known of it
        self,
        session: Session,
        inputs: DrillInputs,
        member: Member,
        owner: str | None,
        last_good: GoodDrill | None,
        *,
        fresh: bool = False,
    ) -> None:
        self.session, self.inputs, self.member, self.last_good = session, inputs, member, last_good
        self.reach = Reach(session, inputs)
        self.restored: DrillRecord | None = None
        self.restoring = Restoring(
            session,
            inputs.restore,
            member,
            owner,
            fresh=fresh,
            not_done=f"Snapshot {inputs.snapshot} was not drilled.",
            before=self._refuse_misuse,
            holds=HOLDS,
        )

    async def _refuse_misuse(self, runtime: str | None) -> None:
        """Raise `RestoreRefused` if the scratch database is in use, or cannot be what the connection leads to."""
        session, scratch = self.session, self.inputs.scratch_database_id
        resource = session.memory.uses.used_by(scratch) or await guard_of(session.ledger, scratch)
        if resource is not None:
            why = Text("{scratch_database_id} ({scratch}) {why}", scratch=scratch, why=in_use(resource))
            raise RestoreRefused(why, NOT_RESTORED)
        try:
            await self.reach.check(runtime)
        except Unfitting as unfit:
            raise RestoreRefused(unfit.why, NOT_RESTORED) from None
        if not self.reach.is_own:
            self.member.warn(UNKNOWN_HOST)

    async def carry_out(self, opens: Opens) -> DrillRecord:
        """Restore and check. Raises as `drill` does."""
        asking = Asking(self.inputs, self.session.clock, self.member, opens, self.reach)
        try:
            verdict = await self.restoring.in_time(self._verdict(asking))
        except RestorePending as end:
            if self.restored is not None:  # only checks were left
                raise _unchecked(self.session, self.restored, self.inputs.timeout) from None
            raise end.about(DrillPending, self._drilled(end.record)) from end.__cause__
        return await _concluded(self.session, verdict, self.member)

    async def _verdict(self, asking: Asking) -> _Verdict:
        lock = self.session.lock(self.inputs.scratch_database_id)
        if lock.locked():
            self.restoring.operation.show("waiting for another drill of this database")
        async with lock:
            await self.restoring.sent()
            ended = await self.restoring.ended()
            record = self._drilled(ended)
            if ended.failure is not None:
                failed = replace(record, failure=ended.failure, passed=False, results=[], attempt=None)
                return _Verdict(failed, self.restoring.failure(ended))
            self.restored = record
            async with held(self.restoring):
                found = await _verdict(self.session, asking, record)
            if await _is_overtaken(self.session, record):
                happened = f"{_restored(record)}, and another restore of that database began meanwhile."
                raise DrillUnchecked(record, happened)
            return found

    def _drilled(self, restored: RestoreRecord) -> DrillRecord:
        return DrillRecord(
            restored.database_id,
            restored.version_id,
            restored.target_database_id,
            restored.requested_at,
            restored.restored_at,
            restore_seconds=self._seconds(restored),
            last_good=self.last_good,
            attempt=restored.attempt,
        )

    def _seconds(self, restored: RestoreRecord) -> float | None:
        """How long the restore took; None if an interrupted run does not know."""
        if restored.restored_at is None:
            return None
        requested, shown = parse_rfc3339(restored.requested_at), self.restoring.status.shown
        if shown is not None and shown.state == SUCCESS and shown.finished_at is not None:
            return max(0.0, round((shown.finished_at - requested).total_seconds(), 1))
        took = (parse_rfc3339(restored.restored_at) - requested).total_seconds()
        # An earlier run's restore may have been seen running only long after its end.
        return took if 0 <= took <= self.inputs.timeout else None


@asynccontextmanager
async def held(restoring: Restoring) -> AsyncIterator[None]:
    """Let no other restore of the database begin while the body runs, on any machine that uses the same ledger."""
    session, attempt = restoring.session, restoring.operation.attempt

    async def renew() -> None:
        while attempt is not None:
            until = session.service_clock.now() + HOLDS
            with suppress(LedgerUnavailable):
                await session.ledger.hold(attempt, until)
            await session.clock.sleep(HOLDS.total_seconds() / 3)

    failed: Exception | None = None
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(renew)
            try:
                yield
            except Exception as error:  # noqa: BLE001  raised below: the group would wrap it
                failed = error
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True), suppress(LedgerUnavailable):
            if attempt is not None:
                await session.ledger.hold(attempt, None)
    if failed is not None:
        raise failed


async def guard_of(ledger: Ledger, database_id: str) -> str | None:
    """The guard of a database that a program has used lately, as far as the ledger knows."""
    with suppress(LedgerUnavailable):  # then the request does not leave either
        guard = await consult(ledger, lambda book: book.guarding(database_id))
        return None if guard is None else f"Guard {guard!r}"
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


async def _verdict(session: Session, asking: Asking, record: DrillRecord) -> _Verdict:
    """Run the checks of a restored snapshot."""
    ended = replace(record, drilled_at=record.restored_at, proved_by=None, attempt=None)

    async def proves(age: float | None) -> list[str]:
        return await evidence(session, record, age, own=asking.reach.is_own)

    try:
        results, proofs = await asking.results(proves)
    except ProvesNothing as nothing:
        return _Verdict(replace(ended, passed=False, results=[], failure=nothing.why), nothing)
    except DatabaseUnreachable as error:
        why = f"the scratch database cannot be reached: {error.why}"
        return _Verdict(replace(ended, passed=False, results=[], failure=why), error)
    passed = all(each.passed for each in results)
    ended = replace(ended, passed=passed, results=results, failure=None, proved_by=proofs)
    return _Verdict(replace(ended, last_good=ended.good or record.last_good))


async def _concluded(session: Session, verdict: _Verdict, member: Member) -> DrillRecord:
    """The record of a drill that has passed, which is said and remembered; raises `DrillFailed` for another one."""
    record = verdict.record
    if not record.passed:
        raise failed(record, verdict.cause)
    member.note(said_passed(record))
    if (drilled := record.drilled) is not None:
        await Drills(session.ledger).note(record.database_id, drilled, record.version_id)
    return record


def said_passed(record: DrillRecord) -> str:
    """The good news of a drill, for people."""
    count = len(record.results or ())
    took = "" if record.restore_seconds is None else f" in {spoken(record.restore_seconds)}"
    checks = "its check passed" if count == 1 else f"all {count} checks passed"
    return f"drill passed: {'archived ' * bool(record.archive)}snapshot {record.snapshot} restores{took}, and {checks}"


def failed(record: DrillRecord, cause: Explained | None = None) -> DrillFailed:
    """The error of a drill that has failed; `cause` is why no check was run, if one was met in this run."""
    then: tuple[Next, ...] = (Next(Step.CHECK_AGAIN), Next(Step.DRILL_AGAIN))
    if record.archive is not None:
        then = (*(cause.then if cause else ()), Next(Step.DRILLS_NEXT))
    elif record.failed_to_restore:
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
    way = f"from {place_text(record.archive)}" if record.archive else f"onto database {record.scratch_database_id}"
    return f"Snapshot {record.snapshot} was restored {way}{took}"


# Other restores of the scratch database ----------------------------------------------------------------------------------


async def _has_left_another(session: Session, record: DrillRecord, owner: str | None, member: Member) -> bool:
    """Whether a killed run has begun this drill again. First waits for restores of the scratch database that are under way."""
    ledger = session.ledger
    while True:
        there = [each for each in await ledger.attempts() if each.database_id == record.scratch_database_id]
        theirs = [each for each in there if each.kind == "restore" and each.owner != owner_of(owner)]
        now = session.service_clock.now()
        other = next((each for each in theirs if each.is_in_the_way(now)), None)
        if other is None:
            break
        about = UnderWay(other, now, session.ledger.place.is_shared)
        until = session.clock.utc() + (about.until - now)
        member.waits("waiting for another restore of the scratch database", until=until, why=str(about))
        await session.clock.sleep(session.settings.poll_every)
    mine = [each for each in there if each.kind == "restore" and each.owner == owner_of(owner)]
    ours = parse_rfc3339(record.requested_at)  # an earlier one, whose end was never seen, is none that replaces it
    return any(not each.proved and each.request.requested > ours for each in mine)


async def _is_overtaken(session: Session, record: DrillRecord) -> bool:
    """Whether another restore of the scratch database has begun since the drill's own, as far as it is known.

    The service shows one for an hour; later only the ledger shows those of runs.
    """
    with suppress(LedgerUnavailable):
        for each in await session.ledger.attempts():
            theirs = (each.kind, each.database_id) == ("restore", record.scratch_database_id)
            if theirs and each.request.requested > parse_rfc3339(record.requested_at):
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
