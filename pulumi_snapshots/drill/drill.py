"""Drill: restore a snapshot onto a scratch database with one POST at most, and check what came back."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import anyio

from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.databases.database import CheckNotRun, Database, DatabaseUnreachable
from pulumi_snapshots.drill.check import Check, CheckResult
from pulumi_snapshots.drill.reach import APART, ProvesNothing, Reach
from pulumi_snapshots.drill.record import DrillInputs, DrillRecord, GoodDrill
from pulumi_snapshots.errors import (
    Explained,
    LedgerUnavailable,
    Next,
    Step,
    Text,
    Unresolved,
    Words,
)
from pulumi_snapshots.guard.book import GuardBook, consult
from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import Document
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.restore.record import SUCCESS, RestoreRecord
from pulumi_snapshots.restore.restore import NOT_RESTORED, RestorePending, RestoreRefused, Restoring
from pulumi_snapshots.run.memory import Listener, Member, Uses, in_use
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import RestoreRunning, SquareCloudError
from pulumi_snapshots.storage.destination import place_text

# how long the scratch database is held for the checks; renewed three times as often
HOLDS = timedelta(seconds=90)
PATIENCE = 120.0  # seconds for which a restored database may refuse connections: it starts again after its restore
SURE = 10.0  # seconds after which a refused login or a wrong certificate is believed: a server that starts may show it
EVERY = 5.0  # seconds between two tries to connect
LONGEST = 300.0  # seconds that connecting, or one check, may take
# between the service's time of a restore and ours of its end, which is in whole seconds
SAME = timedelta(seconds=2)
LAST = "drills"  # the ledger's key for the last drills that have passed, by database
UNKNOWN_HOST = "{connection} is to another host than the service's own, so nothing shows that it leads to the scratch database."


class DrillPending(Unresolved[DrillRecord]):
    """The drill's restore was started, or may have been, and its end was not seen. It must be kept."""

    steps_if_pending: ClassVar[tuple[Next, ...]] = (Next(Step.KEEP_WAITING), Next(Step.DRILL_AGAIN))
    steps_if_undecided: ClassVar[tuple[Next, ...]] = (Next(Step.DRILL_AGAIN),)


class DrillUnchecked(DrillPending):
    """The snapshot was restored, and then the run ended before all checks were run. It must be kept."""

    steps_if_pending = (Next(Step.CHECK_AGAIN),)
    steps_if_undecided = (Next(Step.DRILLS_NEXT),)


def unfinished(record: DrillRecord, happened: Words = "", **more: Any) -> DrillPending:
    """The error of a drill that has not come to its end, by how far it is."""
    return (DrillPending if record.pending else DrillUnchecked)(record, happened, **more)


class DrillFailed(Explained):
    """The drill came to its end, and has not proved that the snapshot restores, as its record says. It must be kept."""

    def __init__(
        self, record: DrillRecord, happened: Words, done: Words, then: tuple[Next, ...]
    ) -> None:
        super().__init__(happened, done, then)
        self.record = record


Found = tuple[DrillRecord, Explained | None]  # a drill, passed or failed, and why no check was run


@dataclass(eq=False)
class Drilling:
    """One drill, from a restore or from what an earlier run has left; `owner` is the resource's URN, or the command."""

    session: Session
    inputs: DrillInputs
    listener: Listener
    owner: str | None = None
    last_good: GoodDrill | None = None

    def __post_init__(self) -> None:
        self.member, self.reach = (
            Member(self.session.fleet, self.listener),
            Reach(self.session, self.inputs),
        )
        self.lock = self.session.locks[self.inputs.scratch_database_id]
        self.restored: DrillRecord | None = None

    async def carry_out(
        self, earlier: DrillRecord | None = None, *, fresh: bool = False
    ) -> DrillRecord:
        """Restore, or watch an earlier run's restore, and check it; `DrillPending` and `DrillFailed` have a record to be kept."""
        not_done = f"Snapshot {self.inputs.snapshot} was not drilled."
        of: Any = self.session, self.inputs.restore, self.member, self.owner
        restoring = Restoring(
            *of, fresh=fresh, not_done=not_done, before=self._refuse_misuse, holds=HOLDS
        )
        if earlier is not None and earlier.attempt is not None:
            restoring.operation.resume(earlier.attempt)
        try:
            found = await restoring.in_time(self._restored_and_checked(restoring))
        except RestorePending as end:
            if self.restored is not None:  # only checks were left
                raise self._unchecked(self.restored) from None
            record = self._drilled(restoring, end.record)
            raise DrillPending(
                record, end.told, undecided=end.undecided, cause=end.cause
            ) from end.__cause__
        return await concluded(self.session.ledger, self.member, *found)

    async def _refuse_misuse(self, runtime: str | None) -> None:
        """Raise `RestoreRefused` if the scratch database is in use, or cannot be what the connection leads to."""
        session, scratch = self.session, self.inputs.scratch_database_id
        used = await misuse(session.memory.uses, session.ledger, scratch)
        named = Text("{scratch_database_id} ({scratch}) {why}", scratch=scratch, why=used)
        if why := named if used else await self.reach.misfit(runtime):
            raise RestoreRefused(why, NOT_RESTORED)
        if not self.reach.is_own:
            self.member.warn(Text(UNKNOWN_HOST))

    async def _restored_and_checked(self, restoring: Restoring) -> Found:
        if self.lock.locked():
            restoring.operation.show("waiting for another drill of this database")
        async with self.lock:
            await restoring.sent()
            ended = await restoring.ended()
            record = self._drilled(restoring, ended)
            if ended.failure is not None:
                return record.judged(failure=ended.failure), restoring.failure(ended)
            self.restored = record
            async with self._held(restoring.operation.sent):
                found = await self._checked(record)
            if await self._is_overtaken(record):
                happened = (
                    f"{_restored(record)}, and another restore of that database began meanwhile."
                )
                raise DrillUnchecked(record, happened, undecided=True)
            return found

    @asynccontextmanager
    async def _held(self, attempt: Attempt) -> AsyncIterator[None]:
        """Let no other restore of the database begin while the body runs, on any machine that uses the same ledger."""
        session = self.session

        async def hold(until: datetime | None) -> None:
            with suppress(LedgerUnavailable):
                await session.ledger.update(attempt, held_until=until)

        async def renew() -> None:
            while True:
                await hold(session.service_clock.now() + HOLDS)
                await session.clock.sleep(HOLDS.total_seconds() / 3)

        async with anyio.create_task_group() as group:
            group.start_soon(renew)
            try:
                yield
            finally:
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await hold(None)

    def _drilled(self, restoring: Restoring, restored: RestoreRecord) -> DrillRecord:
        names = ("database_id", "version_id", "requested_at", "restored_at", "attempt")
        same: Any = {each: getattr(restored, each) for each in names}
        record = DrillRecord(
            **same, scratch_database_id=restored.target_database_id, last_good=self.last_good
        )
        if restored.restored_at is None:
            return record
        shown = restoring.watch.shown if restoring.watch else None
        ended = shown.finished_at if shown is not None and shown.state == SUCCESS else None
        took = (ended or parse_rfc3339(restored.restored_at)) - parse_rfc3339(restored.requested_at)
        seconds = took.total_seconds()
        # An earlier run's restore may have been seen running only long after its end.
        return replace(
            record,
            restore_seconds=max(0.0, round(seconds, 1)) if seconds <= self.inputs.timeout else None,
        )

    async def check_again(self, record: DrillRecord, then: Words | None = None) -> DrillRecord:
        """Run the checks again, and restore again only if another restore came since; never with `then`, which says when they run."""
        found, why, doubts = None, "", then is not None
        with self.session.until(self.inputs.timeout):
            async with self.lock:
                if not (why := await self._lost(record, doubts=doubts)):
                    checked = await self._checked(record)
                    why = (checked[0].failure if doubts else None) or await self._lost(
                        record, doubts=doubts
                    )
                    found = checked
        if why and then is not None:
            self.member.warn(
                Text("the changed checks were not run: {why}. They run {then}.", why=why, then=then)
            )
            return record
        if why:
            self.member.progress(f"{why}: restoring the snapshot again")
            return await self.carry_out()
        if found is None:
            raise self._unchecked(record)
        return await concluded(self.session.ledger, self.member, *found)

    async def _checked(self, record: DrillRecord) -> Found:
        """Run the checks of a restored snapshot."""
        try:
            return record.judged(*await self._asked(record)), None
        except (ProvesNothing, DatabaseUnreachable) as error:
            unreachable = "the scratch database cannot be reached: " * isinstance(
                error, DatabaseUnreachable
            )
            return record.judged(failure=f"{unreachable}{error.why}"), error

    async def _asked(self, record: DrillRecord) -> tuple[list[CheckResult], list[str]]:
        """Ask the restored database the checks; returns what shows that the right one was asked, too."""
        reach, inputs, member, clock = self.reach, self.inputs, self.member, self.session.clock
        began = clock.monotonic()
        while True:
            member.progress("restored; connecting to the scratch database")
            try:
                async with reach.connection() as dsn:
                    database = Database(dsn, timeout=min(LONGEST, inputs.timeout))
                    proofs = await reach.proofs(record, await database.age())
                    return await results_of(database, inputs.checks, member.progress), proofs
            except DatabaseUnreachable as error:
                if clock.monotonic() - began >= (SURE if error.lasting else PATIENCE):
                    raise
                again = clock.utc() + timedelta(seconds=EVERY)
                member.waits("not reachable yet", next_check=again, why=error.why)
            await clock.sleep(EVERY)

    def _unchecked(self, record: DrillRecord) -> Explained:
        """The error of checks that were not run to their end; of a drill that has passed before, none that changes its state."""
        ended = f"The wait ended after {spoken(self.inputs.timeout)}"
        why = "The wait was interrupted" if self.session.stopping else ended
        happened = f"{_restored(record)}, and its checks were not run to their end. {why}."
        return (
            Explained(happened, then=[Next(Step.CHECK_AGAIN)])
            if record.passed
            else DrillUnchecked(record, happened)
        )

    async def _lost(self, record: DrillRecord, *, doubts: bool) -> str:
        """Why the scratch database may hold what another restore has brought, or with `doubts`, why nothing shows that it does not."""
        if await self._is_overtaken(record):
            return "the scratch database was restored again since"
        try:
            status = await self.session.client.database_status(
                record.scratch_database_id, patience=BRIEF
            )
        except SquareCloudError as error:
            return (
                f"the service does not say how the scratch database is ({error.happened})"
                if doubts
                else ""
            )
        # A restore of another ledger's run starts it again; an emulator that cannot start a server of yours leaves it empty.
        if (
            status.uptime
            and status.uptime > parse_rfc3339(record.restored_at or record.requested_at) + APART
        ):
            return "the scratch database was started again since, so it may have been restored"
        if not doubts or (status.running and "uptime" in status.model_fields_set):
            return ""
        silent = "the service does not say since when the scratch database has run"
        return silent if status.running else "the scratch database does not run"

    async def _is_overtaken(self, record: DrillRecord) -> bool:
        """Whether another restore has begun since; the service shows one for an hour, later only the ledger shows those of runs."""
        scratch, requested = record.scratch_database_id, parse_rfc3339(record.requested_at)
        if any(
            each.request.requested > requested
            for each in await restores(self.session.ledger, {scratch})
        ):
            return True
        try:
            status = await self.session.client.restore_status(scratch, patience=BRIEF)
        except SquareCloudError as error:
            # If it does not say, the checks are as good as without it.
            return isinstance(error, RestoreRunning)
        if status is None or record.restored_at is None:
            return False
        began = status.started_at
        return status.in_progress or (
            began is not None and began > parse_rfc3339(record.restored_at) + SAME
        )


async def results_of(
    database: Any, checks: Sequence[Check], progress: Callable[[str], None]
) -> list[CheckResult]:
    """The result of each check of an open database; raises `DatabaseUnreachable`."""
    results: list[CheckResult] = []
    for number, check in enumerate(checks, 1):
        progress(f"check {number} of {len(checks)}: {check.title}")
        try:
            results.append(check.judge(await database.ask(check.query)))
        except CheckNotRun as error:
            results.append(
                CheckResult(check.title, passed=False, expected=check.expected, reason=error.why)
            )
    return results


async def restores(ledger: Ledger, databases: set[str]) -> list[Attempt]:
    """The restores of these databases that runs have requested, as far as the ledger says."""
    with suppress(LedgerUnavailable):
        return [
            each
            for each in await ledger.attempts()
            if each.kind == "restore" and each.database_id in databases
        ]
    return []


async def misuse(uses: Uses, ledger: Ledger, database_id: str) -> str:
    """Why drills must not overwrite a database: a resource or a guard uses it, as far as run and ledger know; empty if they may."""
    user = uses.used.get(database_id)
    with suppress(LedgerUnavailable):  # then the request does not leave either
        guards = [
            each.guard
            for each in await consult(ledger, GuardBook.history)
            if each.database_id == database_id
        ]
        user = user or (f"Guard {guards[0]!r}" if guards else None)
    return "" if user is None else in_use(user)


async def concluded(
    ledger: Ledger, listener: Member | Listener, record: DrillRecord, cause: Explained | None = None
) -> DrillRecord:
    """Say and remember a drill that has passed, and return it; raises `DrillFailed` of one that has not."""
    if not record.passed:
        raise failed(record, cause)
    count, archived = len(record.results or ()), "archived " * bool(record.archive)
    checks = "its check passed" if count == 1 else f"all {count} checks passed"
    listener.note(
        f"drill passed: {archived}snapshot {record.snapshot} restores{_took(record)}, and {checks}"
    )
    if (drilled := record.drilled) is not None and record.database_id:
        await note_last_drill(ledger, record.database_id, drilled)
    return record


async def note_last_drill(ledger: Ledger, database_id: str, drilled: Drilled) -> None:
    """Remember a drill that has passed, unless a later one is known. It may be lost: it is no proof."""

    def change(document: Document) -> None:
        known = document.setdefault(LAST, {})
        if known.get(database_id, {}).get("drilled_at", "") <= drilled.drilled_at:
            known[database_id] = drilled.to_outputs()

    with suppress(LedgerUnavailable):
        await ledger.edit(change)


async def last_drills(ledger: Ledger) -> dict[str, Drilled]:
    """The last drill of each database by its id; none if the ledger cannot be read."""
    with suppress(LedgerUnavailable):
        stored = (await ledger.read()).get(LAST, {})
        return {database_id: Drilled.from_outputs(each) for database_id, each in stored.items()}
    return {}


def failed(record: DrillRecord, cause: Explained | None = None) -> DrillFailed:
    """The error of a drill that has failed; `cause` is why no check was run, if one was met in this run."""
    drills_next = record.archive is not None or record.failed_to_restore
    then = [Step.DRILLS_NEXT] if drills_next else [Step.CHECK_AGAIN, Step.DRILL_AGAIN]
    first = cause.then if cause and (record.archive or not record.failed_to_restore) else ()
    done = [] if record.failed_to_restore else [f"{_restored(record)}."]
    if (good := record.last_good) is not None:
        last = f"snapshot {good.database_id}/{good.version_id} at {good.drilled_at}"
        done.append(f"The last good drill was of {last}.")
    happened = f"The drill of snapshot {record.snapshot} failed: {record.told}"
    error = DrillFailed(record, happened, " ".join(done), (*first, *map(Next, then)))
    error.__cause__ = cause
    return error


def _restored(record: DrillRecord) -> str:
    way = (
        f"from {place_text(record.archive)}"
        if record.archive
        else f"onto database {record.scratch_database_id}"
    )
    return f"Snapshot {record.snapshot} was restored {way}{_took(record)}"


def _took(record: DrillRecord) -> str:
    return "" if record.restore_seconds is None else f" in {spoken(record.restore_seconds)}"
