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
from pulumi_snapshots.drill.asking import Opens, asked
from pulumi_snapshots.drill.due import told_of
from pulumi_snapshots.drill.evidence import APART, ProvesNothing, evidence
from pulumi_snapshots.drill.inputs import DrillInputs
from pulumi_snapshots.drill.reach import Reach, Unfitting
from pulumi_snapshots.drill.record import DrillRecord, GoodDrill
from pulumi_snapshots.errors import Explained, LedgerUnavailable, Next, Step, Text, Unresolved, Words
from pulumi_snapshots.guard.book import consult
from pulumi_snapshots.ledger.attempt import Attempt, Request, owner_of
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
RESTORED_AGAIN = "the scratch database was restored again since"
STARTED_AGAIN = "the scratch database was started again since, so it may have been restored"


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
    return await Drilling(session, inputs, listener, owner, last_good, opens).carry_out(fresh=fresh)


@dataclass(eq=False)
class Drilling:
    """One drill, from a restore or from what an earlier run has left; the attributes are the arguments of `drill`."""

    session: Session
    inputs: DrillInputs
    listener: Listener
    owner: str | None
    last_good: GoodDrill | None
    opens: Opens

    def __post_init__(self) -> None:
        self.member, self.reach = Member(self.session.fleet, self.listener), Reach(self.session, self.inputs)

    # The restore and the checks ------------------------------------------------------------------------------------------

    async def carry_out(self, attempt: Request | None = None, *, fresh: bool = False) -> DrillRecord:
        """Restore and check, or watch a restore whose end was not seen, with the whole time-out again. Raises as `drill` does."""
        restoring, restored = self._restoring(fresh=fresh), list[DrillRecord]()
        if attempt is not None:
            restoring.operation.resume(attempt)
        try:
            found = await restoring.in_time(self._restored_and_checked(restoring, restored))
        except RestorePending as end:
            if restored:  # only checks were left
                raise self._unchecked(restored[0]) from None
            raise end.about(DrillPending, self._drilled(restoring, end.record)) from end.__cause__
        return await concluded(self.session.ledger, self.member, *found)

    def _restoring(self, *, fresh: bool) -> Restoring:
        return Restoring(
            self.session,
            self.inputs.restore,
            self.member,
            self.owner,
            fresh=fresh,
            not_done=f"Snapshot {self.inputs.snapshot} was not drilled.",
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

    async def _restored_and_checked(
        self, restoring: Restoring, restored: list[DrillRecord]
    ) -> tuple[DrillRecord, Explained | None]:
        lock = self._lock
        if lock.locked():
            restoring.operation.show("waiting for another drill of this database")
        async with lock:
            await restoring.sent()
            ended = await restoring.ended()
            record = self._drilled(restoring, ended)
            if ended.failure is not None:
                failed = replace(record, failure=ended.failure, passed=False, results=[], attempt=None)
                return failed, restoring.failure(ended)
            restored.append(record)
            async with held(self.session.ledger, restoring.operation.attempt, self.session):
                found = await self._checked(record)
            if await self._is_overtaken(record):
                happened = f"{_restored(record)}, and another restore of that database began meanwhile."
                raise DrillUnchecked(record, happened)
            return found

    @property
    def _lock(self) -> anyio.Lock:
        return self.session.lock(self.inputs.scratch_database_id)

    def _drilled(self, restoring: Restoring, restored: RestoreRecord) -> DrillRecord:
        return DrillRecord(
            restored.database_id,
            restored.version_id,
            restored.target_database_id,
            restored.requested_at,
            restored.restored_at,
            restore_seconds=self._seconds(restoring, restored),
            last_good=self.last_good,
            attempt=restored.attempt,
        )

    def _seconds(self, restoring: Restoring, restored: RestoreRecord) -> float | None:
        """How long the restore took; None if an interrupted run does not know."""
        if restored.restored_at is None:
            return None
        requested, shown = parse_rfc3339(restored.requested_at), restoring.status.shown
        if shown is not None and shown.state == SUCCESS and shown.finished_at is not None:
            return max(0.0, round((shown.finished_at - requested).total_seconds(), 1))
        took = (parse_rfc3339(restored.restored_at) - requested).total_seconds()
        # An earlier run's restore may have been seen running only long after its end.
        return took if 0 <= took <= self.inputs.timeout else None

    async def _checked(self, record: DrillRecord) -> tuple[DrillRecord, Explained | None]:
        """Run the checks of a restored snapshot; returns the drill, passed or failed, and why no check was run."""
        ended = replace(record, drilled_at=record.restored_at, proved_by=None, attempt=None, failure=None)

        async def proves(age: float | None) -> list[str]:
            return await evidence(self.session, record, age, own=self.reach.is_own)

        try:
            results, proofs = await asked(self.reach, self.opens, self.member, proves)
        except ProvesNothing as nothing:
            return replace(ended, passed=False, results=[], failure=nothing.why), nothing
        except DatabaseUnreachable as error:
            why = f"the scratch database cannot be reached: {error.why}"
            return replace(ended, passed=False, results=[], failure=why), error
        passed = all(each.passed for each in results)
        ended = replace(ended, passed=passed, results=results, proved_by=proofs)
        return replace(ended, last_good=ended.good or record.last_good), None

    def _unchecked(self, record: DrillRecord) -> DrillUnchecked:
        ended = f"The wait ended after {spoken(self.inputs.timeout)}"
        why = "The wait was interrupted" if self.session.stopping else ended
        return DrillUnchecked(record, f"{_restored(record)}, and its checks were not run to their end. {why}.")

    # The checks alone ----------------------------------------------------------------------------------------------------

    async def check_again(self, record: DrillRecord) -> DrillRecord:
        """Run the checks of a drill again, without another restore unless the scratch database was restored again since.

        Raises:
            DrillUnchecked: they were not run; keep the record.
            DrillFailed: a check failed; keep the record.
            Exception: as `drill` raises them, if it restores again.
        """
        found: tuple[DrillRecord, Explained | None] | None = None
        why = ""
        with self.session.until(self.inputs.timeout):
            async with self._lock:
                await self._until_others_end(record)
                if not (why := await self._overtaken(record)):
                    found = await self._checked(record)
                    why = await self._overtaken(record)
        if why:
            self.member.progress(f"{why}: restoring the snapshot again")
            return await self.carry_out()
        if found is None:
            raise self._unchecked(record)
        return await concluded(self.session.ledger, self.member, *found)

    async def check_changed(self, record: DrillRecord, then: Words) -> DrillRecord:
        """Run changed checks of a drill that has passed, if the scratch database still holds its restore.

        If not, the record is returned as it is, and a warning says that they run `then`.

        Raises:
            DrillUnchecked: they were not run to their end; the drill has passed as before.
            DrillFailed: a check failed; keep the record.
        """
        found: tuple[DrillRecord, Explained | None] | None = None
        why: str | None = None
        with self.session.until(self.inputs.timeout):
            async with self._lock:
                if not (why := await self._no_longer_holds(record)):
                    found = await self._checked(record)
                    why = found[0].failure or await self._no_longer_holds(record)
        if why:
            self.member.warn(Text("the changed checks were not run: {why}. They run {then}.", why=why, then=then))
            return record
        if found is None or why is None:
            raise self._unchecked(record)
        return await concluded(self.session.ledger, self.member, *found)

    async def _no_longer_holds(self, record: DrillRecord) -> str:
        """Why it is not sure that the scratch database holds what the drill has restored; empty if it is.

        A restore starts the database again, also one of a run that has another ledger.
        """
        if await self._is_overtaken(record):
            return RESTORED_AGAIN
        try:
            status = await self.session.client.database_status(record.scratch_database_id, patience=BRIEF)
        except SquareCloudError as error:
            return f"the service does not say how the scratch database is ({error.happened})"
        if not status.running:
            return "the scratch database does not run"
        if "uptime" not in status.model_fields_set:
            return "the service does not say since when the scratch database has run"
        # An emulator that cannot start a server of yours again leaves it empty.
        if status.uptime and status.uptime > parse_rfc3339(record.restored_at or record.requested_at) + APART:
            return STARTED_AGAIN
        return ""

    async def _overtaken(self, record: DrillRecord) -> str:
        """Why the scratch database may hold what another restore has brought; empty if nothing shows that."""
        why = await self._no_longer_holds(record)
        return why if why in {RESTORED_AGAIN, STARTED_AGAIN} else ""

    async def _until_others_end(self, record: DrillRecord) -> None:
        """Wait for the other restores of the scratch database that are under way."""
        session, ledger = self.session, self.session.ledger
        while True:
            now = session.service_clock.now()
            there = [each for each in await ledger.attempts() if _is_restore_of(record, each)]
            others = (each for each in there if each.owner != owner_of(self.owner) and each.is_in_the_way(now))
            if (other := next(others, None)) is None:
                return
            about = UnderWay(other, now, ledger.place.is_shared)
            until = session.clock.utc() + (about.until - now)
            self.member.waits("waiting for another restore of the scratch database", until=until, why=str(about))
            await session.clock.sleep(session.settings.poll_every)

    async def _is_overtaken(self, record: DrillRecord) -> bool:
        """Whether another restore of the scratch database has begun since the drill's own, as far as it is known.

        The service shows one for an hour; later only the ledger shows those of runs.
        """
        requested = parse_rfc3339(record.requested_at)
        with suppress(LedgerUnavailable):
            there = await self.session.ledger.attempts()
            if any(_is_restore_of(record, each) and each.request.requested > requested for each in there):
                return True
        try:
            status = await self.session.client.restore_status(record.scratch_database_id, patience=BRIEF)
        except RestoreRunning:
            return True
        except SquareCloudError:
            return False  # it does not say; the checks are as good as without it
        if status is None or record.restored_at is None:
            return False
        began = status.started_at
        return status.in_progress or (began is not None and began > parse_rfc3339(record.restored_at) + SAME)


def _is_restore_of(record: DrillRecord, attempt: Attempt) -> bool:
    return (attempt.kind, attempt.database_id) == ("restore", record.scratch_database_id)


@asynccontextmanager
async def held(ledger: Ledger, attempt: Attempt | None, session: Session) -> AsyncIterator[None]:
    """Let no other restore of the database begin while the body runs, on any machine that uses the same ledger."""

    async def renew() -> None:
        while attempt is not None:
            with suppress(LedgerUnavailable):
                await ledger.hold(attempt, session.service_clock.now() + HOLDS)
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
                await ledger.hold(attempt, None)
    if failed is not None:
        raise failed


async def guard_of(ledger: Ledger, database_id: str) -> str | None:
    """The guard of a database that a program has used lately, as far as the ledger knows."""
    with suppress(LedgerUnavailable):  # then the request does not leave either
        guard = await consult(ledger, lambda book: book.guarding(database_id))
        return None if guard is None else f"Guard {guard!r}"
    return None


async def concluded(
    ledger: Ledger, listener: Member | Listener, record: DrillRecord, cause: Explained | None = None
) -> DrillRecord:
    """Say and remember a drill that has passed, and return it; `cause` is why no check was run.

    Raises:
        DrillFailed: it has not passed.
    """
    if not record.passed:
        raise failed(record, cause)
    listener.note(_said_passed(record))
    if (drilled := record.drilled) is not None and record.database_id:
        await Drills(ledger).note(record.database_id, drilled, record.version_id)
    return record


def _said_passed(record: DrillRecord) -> str:
    """The good news of a drill, for people."""
    count = len(record.results or ())
    checks = "its check passed" if count == 1 else f"all {count} checks passed"
    archived = "archived " * bool(record.archive)
    return f"drill passed: {archived}snapshot {record.snapshot} restores{_took(record)}, and {checks}"


def failed(record: DrillRecord, cause: Explained | None = None) -> DrillFailed:
    """The error of a drill that has failed; `cause` is why no check was run, if one was met in this run."""
    then: tuple[Next, ...] = (Next(Step.CHECK_AGAIN), Next(Step.DRILL_AGAIN))
    if record.archive is not None:
        then = (*(cause.then if cause else ()), Next(Step.DRILLS_NEXT))
    elif record.failed_to_restore:
        then = (Next(Step.DRILLS_NEXT),)
    elif cause is not None:
        then = (*cause.then, *then)
    done = [] if record.failed_to_restore else [f"{_restored(record)}."]
    if (good := record.last_good) is not None:
        last = f"snapshot {good.database_id}/{good.version_id} at {good.drilled_at}"
        done.append(f"The last good drill was of {last}.")
    happened = f"The drill of snapshot {record.snapshot} failed: {told_of(record)}"
    error = DrillFailed(record, happened, " ".join(done), then)
    error.__cause__ = cause
    return error


def _restored(record: DrillRecord) -> str:
    way = f"from {place_text(record.archive)}" if record.archive else f"onto database {record.scratch_database_id}"
    return f"Snapshot {record.snapshot} was restored {way}{_took(record)}"


def _took(record: DrillRecord) -> str:
    return "" if record.restore_seconds is None else f" in {spoken(record.restore_seconds)}"
