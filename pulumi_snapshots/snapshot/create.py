"""Create and resume: one request at most, then waiting for exactly the snapshot that it started."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import Unresolved
from pulumi_snapshots.errors.text import Text, Words
from pulumi_snapshots.ledger.attempt import SECOND, Attempt, ClaimRefused, Intent, Status
from pulumi_snapshots.ledger.owner import is_resource, owner_of
from pulumi_snapshots.ledger.request import CLEAR
from pulumi_snapshots.listing.match import CREATE_COOLDOWN, AmbiguousSnapshot, Search, late_text
from pulumi_snapshots.listing.wait import PINNING
from pulumi_snapshots.progress import Listener, Member
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.memory import DatabaseMemory
from pulumi_snapshots.run.once import Operation, Since, once
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.under_way import WaitForAnother
from pulumi_snapshots.service.client import BRIEF, POST_READ_TIMEOUT
from pulumi_snapshots.service.errors import Cooldown, QuotaUsedUp, RestoreRunning, SnapshotRunning, SquareCloudError
from pulumi_snapshots.service.models import Finished, ListedSnapshot, RestoreStatus
from pulumi_snapshots.service.pacing.limits import SNAPSHOT_PER_DATABASE
from pulumi_snapshots.service.pacing.rate_limiter import CREATE
from pulumi_snapshots.snapshot.describe import describe, found_text, taken_text
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.other_restores import until_free
from pulumi_snapshots.snapshot.record import SnapshotRecord, requested_text
from pulumi_snapshots.snapshot.search import enter_found, listed, never_came, resolved_by

HINTED_POLLS = SNAPSHOT_PER_DATABASE
"""Seconds of polling after a first KEEP_CALM: our own earlier attempt may still be running."""
LONG_AGO = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
Spent = Callable[[], Awaitable[datetime | None]]
PASSING = (Cooldown, RestoreRunning, SnapshotRunning)
"""The refusals after which the same request may succeed later."""


class Pending(Unresolved[SnapshotRecord]):
    """The snapshot was started, or may have been, and is not known yet. It must be kept."""

    resumes = (Next(Step.KEEP_WAITING), Next(Step.GIVE_UP))
    stays = (Next(Step.ASK_AGAIN), Next(Step.GIVE_UP))
    kept_here = Next(Step.SNAPSHOT_KEPT_HERE)
    not_kept = Next(Step.SNAPSHOT_NOT_KEPT)


class SnapshotRefused(Explained):
    """A snapshot that must not be requested."""


async def create(
    session: Session, inputs: SnapshotInputs, listener: Listener, owner: str | None = None, *, fresh: bool = False
) -> SnapshotRecord:
    """Take a snapshot and wait until the listing shows exactly it.

    Args:
        session: the service.
        inputs: checked.
        listener: gets the progress.
        owner: the resource's URN, or the command; None if unknown.
        fresh: whether another one is wanted, whatever earlier runs have left.

    Raises:
        Pending: the snapshot was or may have been started, and the wait for it ended; keep the record.
        NothingSent: it timed out or was interrupted before a request was sent.
        SnapshotRefused: it may have been taken already.
        LedgerUnavailable: what is sent could not be written down before it leaves.
        SquareCloudError: the service refused; nothing was started.
    """
    with session.fleet.joins(listener) as member:
        return await Taking.of(session, inputs, member, owner, fresh=fresh).carry_out()


async def resume(
    session: Session, record: SnapshotRecord, inputs: SnapshotInputs, listener: Listener, *, owner: str | None = None
) -> SnapshotRecord:
    """Keep waiting for a pending snapshot, with the whole time-out again. One that never came is requested again.

    Raises:
        Pending: it is still not there, or the service refuses to show the listing; keep the record.
        Explained: as `create`, if it never came.
    """
    if record.attempt is None or not record.pending:
        return record
    with session.fleet.joins(listener) as member:
        taking = Taking.of(session, inputs, member, owner)
        taking.operation.resumes(record.attempt)
        return await taking.carry_out()


@dataclass(frozen=True)
class Taking:
    """One create or resume, a guard's too.

    Attributes:
        session: the service.
        inputs: checked.
        member: gets the progress.
        operation: what it is doing, and the attempt that it acts on.
        spent: of a guard's: when something guarded has last happened. No resource and no state keeps it: any snapshot will do
            that is young enough, and was requested after that.
    """

    session: Session
    inputs: SnapshotInputs
    member: Member
    operation: Operation
    spent: Spent | None = None
    _behind: list[bool] = field(default_factory=list)  # not empty once another snapshot held it up

    @classmethod
    def of(  # noqa: PLR0913  what is known of it
        cls,
        session: Session,
        inputs: SnapshotInputs,
        member: Member,
        owner: str | None,
        *,
        fresh: bool = False,
        spent: Spent | None = None,
    ) -> Taking:
        """Begin one."""
        now = session.clock.utc()
        memory = session.memory.of(inputs.database_id)
        intent = Intent(
            "snapshot",
            owner_of(owner),
            inputs.database_id,
            inputs.purpose,
            inputs.timeout,
            now,
            now,
            fresh=fresh,
            account=session.settings.account(),
            carried=frozenset(memory.known),
            # An older one would lose what was written since.
            oldest=timedelta(seconds=max(inputs.timeout, inputs.reuse_within)) if spent else None,
        )
        return cls(session, inputs, member, Operation(session, member, intent, now), spent)

    @property
    def database_id(self) -> str:
        """The database."""
        return self.inputs.database_id

    async def carry_out(self) -> SnapshotRecord:
        """Complete what an earlier run has started, adopt a snapshot, or take one; see `create`."""
        finished: list[Finished] = []

        async def work() -> SnapshotRecord:
            await self._pass_over_spent()
            if self.operation.claim is not None and (record := await self._ended()) is not None:
                return record
            adopted = await self._sent(finished)
            while adopted is None:
                record = await self._ended(*finished)
                if record is not None:
                    return record
                adopted = await self._sent(finished)
            return adopted

        async def ended(why: str) -> SnapshotRecord:
            if unpinned := await self._unpinned(finished[0] if finished else None):
                return unpinned
            if self.operation.attempt is not None:
                raise self.unresolved(f"{why}.")
            raise self.operation.nothing_sent(self.not_done, why)

        try:
            return await self.operation.in_time(work, ended)
        except ClaimRefused as refused:
            raise self._refused(refused.attempt) from None

    # Before the request --------------------------------------------------------------------------------------------------

    async def _sent(self, finished: list[Finished]) -> SnapshotRecord | None:
        """Make sure that a request was sent; returns the record of a snapshot that was adopted instead.

        `finished` gets what a 200 has told.
        """
        adopted: list[SnapshotRecord] = []
        hinted: list[bool] = []

        async def instead(since: Since) -> bool:
            if since is not Since.REFUSAL:  # a listing that is requested too often stays an old one
                adopted.extend(await self._adopted(again=since is Since.WAIT))
            await self._keep_clear()
            return bool(adopted)

        async def post(leaves: Callable[[], None]) -> tuple[str, Finished | None]:
            self.member.waits("sent, waiting for the answer", until=self._answer_by, phase="answer")
            answer = await self.session.client.start_snapshot(self.database_id, leaves=leaves)
            return ("200", answer) if isinstance(answer, Finished) else ("202", None)

        async def refused(error: SquareCloudError) -> bool:
            first = not hinted
            hinted.append(True)
            adopted.extend(await self._waited_out(error, first=first))
            return bool(adopted)

        with self.session.poll_plan.expecting_post():
            if (newest := self._memory.newest_in_state) is not None:
                age = (self.session.service_clock.now() - newest).total_seconds()
                self.session.rate_limiter.note_earlier_post(self.database_id, age)
            path = f"POST /databases/{self.database_id}/snapshots"
            try:
                answer = await once(
                    self.operation,
                    CREATE,
                    path,
                    post,
                    settle=self._settle,
                    instead=instead,
                    refused=refused,
                    passing=PASSING,
                )
            except QuotaUsedUp as error:
                await self.session.quota_hint.explain(error, self.database_id)
                raise
        finished[:] = [answer] if answer is not None else []
        return adopted[0] if adopted else None

    async def _settle(self, other: Attempt) -> None:
        """Wait until another request of this database cannot be mistaken for ours: its snapshot is listed, or never came."""
        session = self.session
        now = session.service_clock.now()
        in_the_way = (other.in_the_way_until or now) - now
        if other.is_over:  # it is found, and held for seconds
            await session.clock.sleep(min(session.settings.poll_every, in_the_way.total_seconds()))
            return
        shown = WaitForAnother(self.operation, other)
        shown.waits()
        if other.awaits_answer(now):
            await session.clock.sleep(session.settings.poll_every)
            return
        entry: ListedSnapshot | None = None
        async with session.lock(other.id):
            known = await session.ledger.get(other.id)
            if known is None or known.is_over:
                return
            decided = True
            with anyio.move_on_after(in_the_way.total_seconds()):
                try:
                    entry = await listed(session, shown, known, excluded=())
                    decided = await resolved_by(session, known, entry)
                except AmbiguousSnapshot as ambiguous:
                    decided = False
                    for each in ambiguous.candidates:
                        self._memory.note_snapshot(each.modified)
            if not decided:
                # Only its owner needs to know which one it is: all that are listed are older than our request.
                intent = self.operation.intent
                self.operation.intent = replace(intent, ignored=intent.ignored | {other.id})
        if entry is not None and entry.version is not None:
            self._memory.known.add(entry.version)
            self._memory.note_snapshot(entry.modified)
            if is_resource(known.owner) and known.owner != self.operation.intent.owner:
                self._memory.reserved.add(entry.version)
                if not known.proved and entry.modified is not None:
                    # A run elsewhere, which has it in its state, could not tell it from one that ends so close.
                    apart = entry.modified + CREATE_COOLDOWN + CLEAR - session.service_clock.now()
                    await session.clock.sleep(apart.total_seconds())

    async def _keep_clear(self) -> None:
        """Wait until the newest known snapshot is clearly older than our request, also for a later run that knows neither."""
        if (newest := self._memory.newest_known) is not None:
            age = self.session.service_clock.now() - newest
            await self.session.clock.sleep((CLEAR - max(age, timedelta(0))).total_seconds())

    async def _adopted(self, *, again: bool) -> list[SnapshotRecord]:
        """Adopt the newest manual snapshot younger than `reuse_within`, if any.

        Args:
            again: whether only a page that is requested now could show one.
        """
        if not self.inputs.reuse_within:
            return []
        self.operation.show("looking for a snapshot to reuse")
        oldest = self.session.service_clock.now() - timedelta(seconds=self.inputs.reuse_within)
        if self.spent:
            # It must have been young when the change asked for it, which may have waited for another run's since.
            oldest -= self.session.clock.utc() - self.operation.began
        oldest = max(oldest, await self._worthless_before() + SECOND)
        if self.spent and (taken := await self._taken_since(oldest)) is not None:
            return [] if await self._restored_since(taken[0]) else [self._reused(taken[1])]
        taken_by_others = set() if self.spent else self._memory.not_reusable
        listings = self.session.listings
        page = await listings.read_page(self.database_id, self.session.clock.monotonic() if again else listings.recent)
        fitting = [
            (entry.modified, entry)
            for entry in page.entries
            if entry.origin == "manual"
            and entry.modified is not None
            and entry.modified >= oldest
            and entry.version not in taken_by_others
        ]
        if not fitting:
            return []
        modified, newest = max(fitting, key=lambda each: each[0])
        if await self._restored_since(modified):
            return []
        return [self._reused(await self._claimed(newest, adopted=True))]

    async def _pass_over_spent(self) -> None:
        """Let no guard resume what is worthless."""
        if self.spent:
            since = await self._worthless_before()
            self.operation.intent = replace(self.operation.intent, resumes_after=since)

    async def _worthless_before(self) -> datetime:
        """What was taken before it would lose data, or bring back what a restore has replaced, as far as the ledger knows."""
        restores = [
            each.ended_at or each.request.posted_at
            for each in await self.session.ledger.attempts()
            if (each.kind, each.database_id) == ("restore", self.database_id)
        ]
        spent = await self.spent() if self.spent else None
        return max([*restores, *([spent] if spent else [])], default=LONG_AGO)

    async def _restored_since(self, taken: datetime) -> bool:
        """Whether somebody has restored the database since, as far as the service tells: for an hour."""
        with suppress(SquareCloudError):
            status = await self.session.client.restore_status(self.database_id, patience=BRIEF)
            ended = (status.finished_at or status.started_at) if status else None
            return status is not None and (status.in_progress or (ended is not None and ended > taken))
        return False

    async def _taken_since(self, oldest: datetime) -> tuple[datetime, SnapshotRecord] | None:
        """The newest snapshot that runs have taken since then: it needs no listing, which could lack it for half an hour."""
        for each in reversed(await self.session.ledger.attempts()):
            ours = each.kind == "snapshot" and each.database_id == self.database_id
            if ours and each.status is Status.FOUND and each.request.posted_at >= oldest:
                record = SnapshotRecord(self.database_id, each.result, available=True).created(each.request.requested)
                return each.request.posted_at, record
        return None

    def _reused(self, record: SnapshotRecord) -> SnapshotRecord:
        """The same record, with a line that lasts."""
        which = taken_text(record, self.session.service_clock.now())
        self.member.note(Text("adopted {which}, instead of taking one ({reuse_within})", which=which))
        return record

    async def _waited_out(self, refusal: SquareCloudError, *, first: bool) -> list[SnapshotRecord]:
        """Wait for the end of what the request was refused for, before it is sent again.

        Returns:
            A snapshot that was adopted meanwhile, so that none is needed any more.
        """
        clock, began, every = self.session.clock, self.session.clock.monotonic(), self.session.settings.poll_every
        if isinstance(refusal, RestoreRunning):
            self.operation.show("waiting for the end of a restore of this database")
            with suppress(SquareCloudError):  # the next request shows whether it is over
                await until_free(self.session, self.operation.show, self._restore_status)
        elif isinstance(refusal, Cooldown | SnapshotRunning) and first and self.inputs.reuse_within:
            # An earlier request of ours, of which this run does not know, may still be running.
            while clock.monotonic() < began + HINTED_POLLS:
                self.member.progress(f"{refusal.code}: checking for an earlier attempt that is still running")
                await clock.sleep(every)
                if adopted := await self._adopted(again=True):
                    return adopted
        if isinstance(refusal, SnapshotRunning):
            self._behind.append(True)
            self.operation.show("waiting for the end of another snapshot of this database")
        if isinstance(refusal, RestoreRunning | SnapshotRunning):
            await clock.sleep(began + every - clock.monotonic())
        return []

    async def _restore_status(self) -> RestoreStatus | None:
        return await self.session.client.restore_status(self.database_id)

    # After the request ---------------------------------------------------------------------------------------------------

    async def _ended(self, finished: Finished | None = None) -> SnapshotRecord | None:
        """Wait until the snapshot is listed; None if it never came, so that another one has to be requested.

        Raises:
            Pending: the service refuses to show it, or two snapshots could be ours.
        """
        session, attempt = self.session, self.operation.attempt
        if attempt is None:
            raise AssertionError  # there is nothing to wait for
        try:
            async with session.lock(attempt.id):
                with suppress(Explained):  # without the ledger only we know of it
                    attempt = self.operation.note(await session.ledger.get(attempt.id) or attempt)
                if attempt.status is Status.FOUND:
                    return await self._of_earlier_run(attempt.result or "")
                if finished is not None:
                    return await self._pinned(attempt, finished)
                return await self._found(attempt, age=self.operation.age)
        except (SquareCloudError, AmbiguousSnapshot) as error:
            if unpinned := await self._unpinned(finished, error.happened):
                return unpinned
            raise self.unresolved(cause=error, undecided=isinstance(error, AmbiguousSnapshot)) from error

    async def _found(self, attempt: Attempt, answer: Finished | None = None, **how: Any) -> SnapshotRecord | None:
        """Wait until a listing shows it, see `listed`; None if it never came."""
        behind = bool(self._behind)
        entry = await listed(self.session, self.member, attempt, excluded=self._excluded, behind=behind, **how)
        return await self._of_entry(attempt, entry, answer) if entry else await self._again(attempt)

    async def _again(self, attempt: Attempt) -> SnapshotRecord | None:
        """Give up what never came: None, so that another one is requested; raises if that is not certain."""
        said = await never_came(self.session, attempt, self._excluded)
        if said:
            raise self.unresolved(said, undecided=True)
        await self.operation.withdraw()
        which = f"the snapshot requested at {requested_text(attempt.request.requested)}"
        self.member.note(f"{which} never came: the service's listing lacks it. Another one is requested")
        return None

    async def _pinned(self, attempt: Attempt, finished: Finished) -> SnapshotRecord | None:
        """Wait until a listing shows what a 200 has started, or as long as that may take if its version is known."""
        if self.spent and (named := self._named(attempt, finished)):
            return await self._resolved(attempt, named)
        now, every = self.session.service_clock.now(), self.session.settings.poll_every
        for first_after, patience in ((0.0, PINNING), (every, math.inf)):
            with anyio.move_on_after(patience):
                known = {"version": finished.version, "finished": now}
                return await self._found(attempt, finished, first_after=first_after, **known)
            if unpinned := await self._unpinned(finished):
                return unpinned
        raise AssertionError  # the last one has no end

    async def _of_entry(
        self, attempt: Attempt, entry: ListedSnapshot, finished: Finished | None = None
    ) -> SnapshotRecord:
        search = Search.of(attempt.request)
        if finished is None and search.is_late(entry):
            self.member.warn(late_text(self.database_id, entry, search))
        record = await self._claimed(
            entry, requested=attempt.request.requested, base_url=finished.url if finished else None
        )
        if self.operation.resumed:
            if attempt.proved:
                self.session.memory.resumed.add(self.operation.intent.owner)
                self.member.note(found_text(record, self.session.service_clock.now()))
            else:
                self.tell_earlier(record, "whose end did not reach the state")
        return await self._resolved(attempt, record)

    async def _resolved(self, attempt: Attempt, record: SnapshotRecord) -> SnapshotRecord:
        version_id = record.version_id or ""
        done = replace(attempt, status=Status.FOUND, result=version_id)
        await self.operation.entered(lambda there: enter_found(self.session, there, version_id), done)
        return record

    async def _of_earlier_run(self, version_id: str) -> SnapshotRecord:
        """The snapshot that an earlier run has taken and found, but whose state lacks it."""
        attempt = self.operation.attempt
        if attempt is None:
            raise AssertionError  # it has found it
        posted = attempt.request.requested
        entry = await self.session.listings.find_version(self.database_id, version_id)
        if entry is not None:
            record = await self._claimed(entry, requested=posted)
        else:
            record = SnapshotRecord(self.database_id, version_id, requested_at=requested_text(posted), available=True)
            record = record.created(posted)
            record = replace(record, available=not record.expired(self.session.service_clock.now()))
            self._claim(version_id)
        if not attempt.proved:
            self.tell_earlier(record, "that may not have saved its state")
        else:
            self.member.note(found_text(record, self.session.service_clock.now()))
        return record

    def tell_earlier(self, record: SnapshotRecord, which: str) -> None:
        """Leave a line about a snapshot of an earlier run, of which the state knows nothing."""
        if self.spent:
            self.member.note(found_text(record, self.session.service_clock.now()))
            return
        age, requested = spoken(self.operation.age), record.requested_at
        taken = f"snapshot {record.id} was taken by an earlier run {which}, {age} ago ({requested}): none is taken now."
        self.member.warn(Text("{taken} {then}", taken=taken, then=Next(Step.TAKE_NEW)))

    def _claim(self, version_id: str) -> None:
        """Remember whose a version is: a Snapshot may adopt that of a guard, since nothing else keeps it."""
        (self._memory.known if self.spent else self._memory.claimed).add(version_id)

    async def _claimed(
        self,
        entry: ListedSnapshot,
        *,
        requested: datetime | None = None,
        base_url: str | None = None,
        adopted: bool = False,
    ) -> SnapshotRecord:
        record = await describe(self.session, self.database_id, entry, base_url=base_url, requested=requested)
        if not (self.spent and adopted):
            self._claim(record.version_id or "")
        self.session.memory.note_requested(record.id, record.requested_at)
        self._memory.note_snapshot(entry.modified)
        self.member.progress(f"found snapshot {record.version_id}")
        return record

    # The end -------------------------------------------------------------------------------------------------------------

    def _named(self, attempt: Attempt, finished: Finished | None) -> SnapshotRecord | None:
        """The snapshot as far as a 200 named it; None without one."""
        if finished is None or finished.version is None:
            return None
        self._claim(finished.version)
        requested = attempt.request.requested
        return SnapshotRecord.of(self.database_id, finished.version, finished.url, requested=requested)

    async def _unpinned(
        self, finished: Finished | None, why: Words = "the service does not list it yet"
    ) -> SnapshotRecord | None:
        """The snapshot whose version a 200 named, though no listing shows it; None without one."""
        attempt = self.operation.attempt
        named = self._named(attempt, finished) if attempt is not None else None
        if attempt is None or named is None:
            return None
        newest = "the download URL of snapshot {id} serves the newest snapshot of the database, whichever that is: {why}. {then}"
        self.member.warn(Text(newest, id=named.id, why=why, then=Next(Step.REFRESH)))
        return await self._resolved(attempt, named)

    def unresolved(self, why: str = "", *, undecided: bool = False, cause: Explained | None = None) -> Pending:
        """The error of an unknown end.

        Args:
            why: why the wait ended; a sentence.
            undecided: whether waiting longer would end in the same way.
            cause: the error that ended the wait, if there was one.
        """
        attempt = self.operation.attempt
        if attempt is None:
            raise AssertionError  # nothing was sent
        request = attempt.request
        requested = requested_text(request.requested)
        record = SnapshotRecord(self.database_id, attempt=request, requested_at=requested)
        what = f"A snapshot of database {self.database_id} was requested at {requested}"
        if request.accepted:
            happened = f"{what} and accepted ({request.answered}), but is not listed yet."
        else:
            happened = (
                f"{what} and the answer was lost ({request.answered}): it may or may not have been started, and is not "
                "listed yet."
            )
        return Pending(record, f"{happened} {why}".rstrip(), undecided=undecided, cause=cause)

    def _refused(self, other: Attempt) -> SnapshotRefused:
        """The error of a snapshot that an earlier run may have taken under another name."""
        when = requested_text(other.request.requested)
        happened = (
            f"a snapshot of database {self.database_id} with the same triggers was requested at {when} for {other.owner}, and no "
            "later run has shown that its state was saved: this may be the same one under another name of the stack"
        )
        return SnapshotRefused(happened, self.not_done, [Next(Step.SHOW_OTHER_SNAPSHOT), Next(Step.TAKE_BY_TRIGGERS)])

    @property
    def not_done(self) -> str:
        """What was not done; a sentence."""
        return f"No snapshot of database {self.database_id} was started."

    @property
    def _memory(self) -> DatabaseMemory:
        return self.session.memory.of(self.database_id)

    @property
    def _excluded(self) -> frozenset[str]:
        """Versions that are of other requests."""
        found = self.operation.claim.found if self.operation.claim else frozenset()
        return self._memory.not_new | found | self._memory.reserved

    @property
    def _answer_by(self) -> datetime:
        return self.session.clock.utc() + timedelta(seconds=POST_READ_TIMEOUT)
