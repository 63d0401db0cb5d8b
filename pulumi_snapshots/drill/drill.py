"""Restore a snapshot onto a scratch database with one POST at most, and check the restored data."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple

import anyio

from pulumi_snapshots.clock import alongside, parse_rfc3339
from pulumi_snapshots.databases.database import (
    CheckNotRun,
    Database,
    DatabaseUnreachable,
)
from pulumi_snapshots.drill.check import Check, CheckResult
from pulumi_snapshots.drill.history import note_ended
from pulumi_snapshots.drill.last import note_last_drill, rows_before
from pulumi_snapshots.drill.reach import STARTS_APART, ProvesNothing, Reach
from pulumi_snapshots.drill.record import DrillInputs, DrillRecord, GoodDrill
from pulumi_snapshots.drill.scratch import refusal
from pulumi_snapshots.drill.tables import (
    RowsBefore,
    Tables,
    largest_differences,
    shown_name,
)
from pulumi_snapshots.errors import (
    AnyMessage,
    Hint,
    HintKind,
    LedgerUnavailable,
    Message,
    NotFinished,
    ProviderError,
)
from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.restore.record import SUCCESS, RestoreRecord
from pulumi_snapshots.restore.restore import (
    NOT_RESTORED,
    RestoreOperation,
    RestorePending,
    RestoreRefused,
)
from pulumi_snapshots.run.memory import Listener, Member
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import RestoreRunning, SquareCloudError
from pulumi_snapshots.service.models import DatabaseStatus

HOLDS = timedelta(seconds=90)
"""How long the scratch database is reserved for the checks, which is renewed every third of it."""
START_PATIENCE = 120.0
"""Seconds for which a restored database may refuse connections, since it starts again."""
BELIEVED_AFTER = 10.0
"""Seconds after which a refused login or a wrong certificate is believed.

A server that starts may show such an error for a moment.
"""
CONNECT_EVERY = 5.0
"""Seconds between two tries to connect."""
LONGEST_OF_DRILL = 300.0
"""Seconds that connecting, or one check, may take."""
SAME_RESTORE = timedelta(seconds=2)
"""How far the service's time of a restore's end, in whole seconds, and this run's may differ."""
UNKNOWN_HOST = (
    "{connection} is to another host than the service's own, so nothing shows that it leads to "
    "the scratch database."
)


class DrillPending(NotFinished[DrillRecord]):
    """The drill's restore was started, or may have been, and its end was not seen.

    The record must be kept.
    """

    steps_if_pending: ClassVar[tuple[Hint, ...]] = (
        Hint(HintKind.KEEP_WAITING),
        Hint(HintKind.DRILL_AGAIN),
    )
    steps_if_undecided: ClassVar[tuple[Hint, ...]] = (Hint(HintKind.DRILL_AGAIN),)


class DrillUnchecked(DrillPending):
    """The snapshot was restored, and then the run ended before all checks were run.

    The record must be kept.
    """

    steps_if_pending = (Hint(HintKind.CHECK_AGAIN),)
    steps_if_undecided = (Hint(HintKind.DRILLS_NEXT),)


def unfinished_drill(
    record: DrillRecord, happened: AnyMessage = "", **more: Any
) -> DrillPending:
    """Make the error of a drill that has not come to its end.

    Args:
        record: The drill as far as it is known.
        happened: What happened, in sentences.
        more: See `NotFinished`.

    Returns:
        `DrillPending` while the restore's end is not known, else `DrillUnchecked`.
    """
    kind = DrillPending if record.pending else DrillUnchecked
    return kind(record, happened, **more)


class DrillFailed(ProviderError):
    """The drill came to its end, and has not proved that the snapshot restores.

    Attributes:
        record: The drill, which must be kept.
    """

    def __init__(self, record: DrillRecord, cause: ProviderError | None = None) -> None:
        """Explain a failed drill; `cause` is why no check was run, if this run knows the error."""
        done = []
        first: tuple[Hint, ...] = ()
        if record.failed_to_restore:
            then = [HintKind.DRILLS_NEXT]
        else:
            then = [HintKind.CHECK_AGAIN, HintKind.DRILL_AGAIN]
            done.append(f"{_restored(record)}.")
            first = cause.then if cause else ()
        good = record.last_good
        if good is not None:
            last = f"snapshot {good.database_id}/{good.version_id} at {good.drilled_at}"
            done.append(f"The last good drill was of {last}.")
        happened = f"The drill of snapshot {record.snapshot} failed: {record.reason}"
        super().__init__(happened, " ".join(done), (*first, *map(Hint, then)))
        self.record = record
        self.__cause__ = cause


class Judgement(NamedTuple):
    """A drill that has passed or failed, and the error that kept checks from running, if any."""

    record: DrillRecord
    cause: ProviderError | None = None


@dataclass(eq=False)
class Drilling:
    """One drill, from a restore or from what an earlier run has left.

    Attributes:
        session: What the run shares.
        inputs: The inputs.
        listener: Shows the progress.
        owner: The resource's URN, or the command.
        last_good: The last drill of the resource that has passed.
    """

    session: Session
    inputs: DrillInputs
    listener: Listener
    owner: str | None = None
    last_good: GoodDrill | None = None

    def __post_init__(self) -> None:
        self.member = Member(self.session.fleet, self.listener)
        self.reach = Reach(self.session, self.inputs)
        self.lock = self.session.locks[self.inputs.scratch_database_id]
        self.restored: DrillRecord | None = None

    async def carry_out(
        self, earlier: DrillRecord | None = None, *, forced: bool = False
    ) -> DrillRecord:
        """Restore the snapshot, and check the restored data.

        Args:
            earlier: A drill whose restore is only watched; None requests a restore.
            forced: Whether another restore is wanted, whatever earlier runs have left.

        Returns:
            The drill, which has passed.

        Raises:
            DrillPending: The restore was started, or may have been, and its end was not seen.
            DrillUnchecked: The checks were not run to their end.
            DrillFailed: The snapshot could not be restored, or a check failed.
        """
        restoring = RestoreOperation(
            self.session,
            self.inputs.restore,
            self.member,
            self.owner,
            forced=forced,
            not_done=f"Snapshot {self.inputs.snapshot} was not drilled.",
            before=self._refuse_misuse,
            holds=HOLDS,
        )
        if earlier is not None and earlier.attempt is not None:
            restoring.resume(earlier.attempt)
        try:
            judgement = await restoring.in_time(self._restore_and_check(restoring))
        except RestorePending as end:
            if self.restored is not None:  # Only checks were left.
                raise self._unchecked(self.restored) from None
            record = self._record_of(restoring, end.record)
            raise DrillPending(
                record,
                end.without_cause,
                undecided=end.undecided,
                cause=end.cause,
            ) from end.__cause__
        return await self._conclude(judgement)

    async def _refuse_misuse(self, runtime: str | None) -> None:
        """Check before the request that the scratch database may be overwritten and connected to.

        Args:
            runtime: The snapshot's engine, if that is known.

        Raises:
            RestoreRefused: Something uses the scratch database, or the connection cannot lead
                there.
            LedgerUnavailable: Nothing shows that no guard uses it.
        """
        session = self.session
        scratch = self.inputs.scratch_database_id
        in_use = await refusal(session.memory.uses, session.ledger, scratch)
        if in_use is not None:
            reason = Message(
                "{scratch_database_id} ({scratch}) {why}", scratch=scratch, why=in_use
            )
            raise RestoreRefused(reason, NOT_RESTORED)
        misfit = await self.reach.misfit(runtime)
        if misfit is not None:
            raise RestoreRefused(misfit, NOT_RESTORED)
        if not self.reach.is_own:
            self.member.warn(Message(UNKNOWN_HOST))

    async def _restore_and_check(self, restoring: RestoreOperation) -> Judgement:
        if self.lock.locked():
            restoring.show("waiting for another drill of this database")
        async with self.lock:
            await restoring.ensure_sent()
            ended = await restoring.ended()
            record = self._record_of(restoring, ended)
            if ended.failure is not None:
                return Judgement(
                    record.with_failure(ended.failure), restoring.failure(ended)
                )
            self.restored = record
            async with self._held(restoring.sent):
                judgement = await self._check(record)
            if await self._is_overtaken(record):
                happened = (
                    f"{_restored(record)}, and another restore of that database "
                    "began meanwhile."
                )
                raise DrillUnchecked(record, happened, undecided=True)
            return judgement

    @asynccontextmanager
    async def _held(self, attempt: Attempt) -> AsyncIterator[None]:
        """Let no other restore of the database begin while the body runs.

        This keeps away all machines that use the same ledger.
        """
        session = self.session

        async def hold(until: datetime | None) -> None:
            with suppress(LedgerUnavailable):
                await session.ledger.hold(attempt, until)

        async def renew() -> None:
            while True:
                await hold(session.service_clock.now() + HOLDS)
                await session.clock.sleep(HOLDS.total_seconds() / 3)

        try:
            async with alongside(renew):
                yield
        finally:
            with anyio.CancelScope(shield=True):
                await hold(None)

    def _record_of(
        self, restoring: RestoreOperation, restored: RestoreRecord
    ) -> DrillRecord:
        """Make the record of a drill from its restore's record."""
        record = DrillRecord(
            restored.database_id,
            restored.version_id,
            restored.target_database_id,
            restored.requested_at or "",
            restored.restored_at,
            attempt=restored.attempt,
            last_good=self.last_good,
        )
        if restored.restored_at is None:
            return record
        ended = parse_rfc3339(restored.restored_at)
        status = restoring.watch.shown if restoring.watch else None
        if (
            status is not None
            and status.state == SUCCESS
            and status.finished_at is not None
        ):
            ended = status.finished_at
        seconds = (ended - parse_rfc3339(record.requested_at)).total_seconds()
        # An earlier run's restore may have been seen running only long after its end.
        if seconds > self.inputs.timeout:
            return record
        return replace(record, restore_seconds=max(0.0, round(seconds, 1)))

    async def check_again(
        self, record: DrillRecord, next_drill: AnyMessage | None = None
    ) -> DrillRecord:
        """Run the checks again, and restore again only if the database was restored since.

        Args:
            record: The drill, whose snapshot was restored.
            next_drill: When the checks run if they cannot run now, as `DrillRecord.next_drill`
                says. None for a drill that has not passed: its snapshot is restored again instead.

        Returns:
            The drill, which has passed; the unchanged record if its checks cannot run now.

        Raises:
            ProviderError: The wait ended before the checks did; `DrillUnchecked` if the drill has
                not passed.
            DrillFailed: A check failed. Also raises as `carry_out`.
        """
        has_passed = next_drill is not None
        obstacle: str | None = None
        judgement: Judgement | None = None
        with self.session.until(self.inputs.timeout):
            async with self.lock:
                obstacle = await self._obstacle(record, must_be_sure=has_passed)
                if obstacle is None:
                    checked = await self._check(record)
                    if has_passed:
                        obstacle = checked.record.failure
                    obstacle = obstacle or await self._obstacle(
                        record, must_be_sure=has_passed
                    )
                    judgement = checked
        if obstacle is not None and next_drill is not None:
            not_run = "the changed checks were not run: {why}. They run {then}."
            self.member.warn(Message(not_run, why=obstacle, then=next_drill))
            return record
        if obstacle is not None:
            self.member.progress(f"{obstacle}: restoring the snapshot again")
            return await self.carry_out()
        if judgement is None:
            raise self._unchecked(record)
        return await self._conclude(judgement)

    async def _check(self, record: DrillRecord) -> Judgement:
        """Run the checks of a restored snapshot."""
        try:
            results, proofs = await self._ask(record)
        except DatabaseUnreachable as error:
            reason = f"the scratch database cannot be reached: {error.why}"
            return Judgement(record.with_failure(reason), error)
        except ProvesNothing as error:
            return Judgement(record.with_failure(error.why), error)
        seconds = self._recovery_seconds(record)
        return Judgement(record.with_results(results, proofs, seconds))

    def _recovery_seconds(self, record: DrillRecord) -> float | None:
        """Return the seconds since the request; None if these are not the time of a recovery."""
        # After a restore by an earlier run, time has passed without any work.
        if self.restored is None:
            return None
        requested = parse_rfc3339(record.requested_at)
        seconds = (self.session.service_clock.now() - requested).total_seconds()
        if record.restore_seconds is None or seconds > self.inputs.timeout:
            return None
        return round(seconds, 1)

    async def _ask(self, record: DrillRecord) -> tuple[list[CheckResult], list[str]]:
        """Ask the restored database the checks.

        Returns the results, and what shows that the right database was asked.
        """
        clock = self.session.clock
        began = clock.monotonic()
        while True:
            self.member.progress("restored; connecting to the scratch database")
            try:
                return await self._ask_once(record)
            except DatabaseUnreachable as error:
                patience = BELIEVED_AFTER if error.lasting else START_PATIENCE
                if clock.monotonic() - began >= patience:
                    raise
                again = clock.utc() + timedelta(seconds=CONNECT_EVERY)
                self.member.waits("not reachable yet", next_poll=again, why=error.why)
            await clock.sleep(CONNECT_EVERY)

    async def _ask_once(
        self, record: DrillRecord
    ) -> tuple[list[CheckResult], list[str]]:
        """Ask over a new connection.

        Raises `DatabaseUnreachable` or `ProvesNothing` before the first check.
        """
        async with self.reach.connection() as dsn:
            database = Database(dsn, timeout=min(LONGEST_OF_DRILL, self.inputs.timeout))
            proofs = await self.reach.proofs(record, await database.age())
            return await self._results(record, database), proofs

    async def _results(
        self, record: DrillRecord, database: Database
    ) -> list[CheckResult]:
        """Ask an open database each check; raises `DatabaseUnreachable`."""
        checks = self.inputs.questions
        results: list[CheckResult] = []
        for number, check in enumerate(checks, 1):
            self.member.progress(f"check {number} of {len(checks)}: {check.title}")
            try:
                result = await self._result(check, record, database)
            except CheckNotRun as error:
                result = check.not_run(error.why)
            results.append(result)
        return results

    async def _result(
        self, check: Check, record: DrillRecord, database: Database
    ) -> CheckResult:
        """Ask one check; raises `DatabaseUnreachable` or `CheckNotRun`."""
        tables = check.tables_
        if tables is None:
            return check.judge(await database.ask(check.query or ""))
        try:
            before = await rows_before(self.session.ledger, self.last_good, record)
        except LedgerUnavailable as error:
            reason = f"the last good drill is not known: {error.happened}"
            raise CheckNotRun(reason) from error
        source = self.inputs.source_connection
        if before is None and source is not None:
            self.member.progress("counting the tables of the source")
            before = await self._source_rows(source, tables)
        counts = await database.count(tables.is_left_out, refuse_writes=True)
        return check.judge_tables(tables, counts, before)

    async def _source_rows(self, connection: str, tables: Tables) -> RowsBefore:
        """Count the tables of the snapshot's own database; raises `CheckNotRun`."""
        source = Database(
            connection, timeout=min(LONGEST_OF_DRILL, self.inputs.timeout)
        )
        try:
            counts = await source.count(tables.is_left_out, refuse_writes=False)
        except (DatabaseUnreachable, CheckNotRun) as error:
            raise CheckNotRun(
                f"the source could not be counted: {error.why}"
            ) from error
        for count in counts:
            if count.problem is not None:
                name = shown_name(count.table)
                reason = f"{name} cannot be counted at the source: {count.problem}"
                raise CheckNotRun(reason)
        rows = {count.table: count.rows for count in counts if count.rows is not None}
        if not any(rows.values()):
            raise CheckNotRun("the source has no row to compare with")
        return RowsBefore(
            rows, "the source, which may have grown since the snapshot was taken"
        )

    async def _conclude(self, judgement: Judgement) -> DrillRecord:
        """Remember a drill, and show and return it if it has passed; else raise `DrillFailed`."""
        record = judgement.record
        ledger = self.session.ledger
        await note_ended(ledger, record)
        if not record.passed:
            raise DrillFailed(record, judgement.cause)
        count = len(record.results or ())
        checks = "its check passed" if count == 1 else f"all {count} checks passed"
        passed = f"snapshot {record.snapshot} restores{_took(record)}, and {checks}"
        if record.tables:
            passed += f"; largest differences: {largest_differences(record.tables)}"
        self.member.note(f"drill passed: {passed}")
        if record.proof is not None:
            await note_last_drill(
                ledger, record.database_id, record.proof, record.last_good
            )
        return record

    def _unchecked(self, record: DrillRecord) -> ProviderError:
        """Make the error of checks that were not run to their end.

        If the drill has passed before, its state stays.
        """
        ending = f"The wait ended after {spoken(self.inputs.timeout)}"
        if self.session.stopping:
            ending = "The wait was interrupted"
        happened = (
            f"{_restored(record)}, and its checks were not run to their end. {ending}."
        )
        if record.passed:
            return ProviderError(happened, then=[Hint(HintKind.CHECK_AGAIN)])
        return DrillUnchecked(record, happened)

    async def _obstacle(
        self,
        record: DrillRecord,
        *,
        must_be_sure: bool,
    ) -> str | None:
        """Say why the scratch database may hold other data than the drill has restored.

        Args:
            record: The drill.
            must_be_sure: Whether it is an obstacle, too, if nothing proves that the database still
                holds the restore.

        Returns:
            The reason; None without an obstacle.
        """
        if await self._is_overtaken(record):
            return "the scratch database was restored again since"
        scratch = record.scratch_database_id
        try:
            status = await self.session.client.database_status(scratch, patience=BRIEF)
        except SquareCloudError as error:
            unknown = (
                "the service does not say whether the scratch database runs "
                f"({error.happened})"
            )
            return unknown if must_be_sure else None
        restored = parse_rfc3339(record.restored_at or record.requested_at)
        # A restore of another ledger's run starts the database again. Only an emulator leaves the
        # time empty.
        if status.uptime and status.uptime > restored + STARTS_APART:
            return "the scratch database was started again since, so it may have been restored"
        return _silence(status) if must_be_sure else None

    async def _is_overtaken(self, record: DrillRecord) -> bool:
        """Whether another restore of the scratch database has begun since the drill's.

        The service shows a restore for an hour. Later only the ledger shows a restore, if a run has
        requested it.
        """
        scratch = record.scratch_database_id
        requested = parse_rfc3339(record.requested_at)
        later = await _restored_after(self.session.ledger, scratch, requested)
        if later:
            return True
        try:
            status = await self.session.client.restore_status(scratch, patience=BRIEF)
        except SquareCloudError as error:
            # Without an answer, the checks still prove something.
            return isinstance(error, RestoreRunning)
        if status is None or record.restored_at is None:
            return False
        if status.in_progress:
            return True
        ended = parse_rfc3339(record.restored_at)
        return (
            status.started_at is not None and status.started_at > ended + SAME_RESTORE
        )


def _silence(status: DatabaseStatus) -> str | None:
    """Say why a status does not show since when its database has run; None if the status does."""
    if not status.running:
        return "the scratch database does not run"
    if "uptime" not in status.model_fields_set:
        return "the service does not say since when the scratch database has run"
    return None


async def _restored_after(ledger: Ledger, database_id: str, time: datetime) -> bool:
    """Whether the ledger has a restore of a database that was requested after a time."""
    with suppress(LedgerUnavailable):
        return any(
            each.kind == "restore"
            and each.database_id == database_id
            and each.request.requested > time
            for each in await ledger.attempts()
        )
    return False


def _restored(record: DrillRecord) -> str:
    onto = f"onto database {record.scratch_database_id}"
    return f"Snapshot {record.snapshot} was restored {onto}{_took(record)}"


def _took(record: DrillRecord) -> str:
    seconds = record.restore_seconds
    return "" if seconds is None else f" in {spoken(seconds)}"
