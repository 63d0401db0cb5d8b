"""Create and resume: one request at most, then waiting for exactly the snapshot that it started."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import anyio

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import (
    Explained,
    LedgerUnavailable,
    Next,
    NothingSent,
    Step,
    Text,
    Unresolved,
    Words,
)
from pulumi_snapshots.ledger.attempt import CLEAR, SECOND, Attempt, ClaimRefused, Status, is_resource
from pulumi_snapshots.listing.match import AmbiguousSnapshot, Search, late_text, may_be_ours, proves_failure
from pulumi_snapshots.listing.wait import PINNING, ListingWait
from pulumi_snapshots.progress import Listener, Member
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.once import Operation, TimeIsUp, until_free
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import (
    Cooldown,
    NotSent,
    QuotaUsedUp,
    RestoreRunning,
    SnapshotRunning,
    SquareCloudError,
)
from pulumi_snapshots.service.limits import CREATE
from pulumi_snapshots.service.models import Finished, ListedSnapshot
from pulumi_snapshots.snapshot.describe import describe, found_text, taken_text
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.record import SnapshotRecord

LONG_AGO = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
Spent = Callable[[], Awaitable[datetime | None]]
PASSING = (Cooldown, NotSent, RestoreRunning, SnapshotRunning)
"""The failures after which the same request may succeed later."""


class Pending(Unresolved[SnapshotRecord]):
    """The snapshot was started, or may have been, and is not known yet. It must be kept."""

    steps_if_pending = (Next(Step.KEEP_WAITING), Next(Step.GIVE_UP))
    steps_if_undecided = (Next(Step.ASK_AGAIN), Next(Step.GIVE_UP))
    step_if_remembered = Next(Step.SNAPSHOT_KEPT_HERE)
    step_if_forgotten = Next(Step.SNAPSHOT_NOT_KEPT)


class SnapshotRefused(Explained):
    """A snapshot that must not be requested."""


async def create(  # noqa: PLR0913  what is known of it
    session: Session,
    inputs: SnapshotInputs,
    listener: Listener,
    owner: str | None = None,
    *,
    fresh: bool = False,
    needs_url: bool = True,
) -> SnapshotRecord:
    """Take a snapshot and wait until the listing shows exactly it.

    Args:
        session: the service.
        inputs: checked.
        listener: gets the progress.
        owner: the resource's URN, or the command; None if unknown.
        fresh: whether another one is wanted, whatever earlier runs have left.
        needs_url: whether to wait for its pinned URL, which only a listing has, if an answer has named its version.

    Raises:
        Pending: the snapshot was or may have been started, and the wait for it ended; keep the record.
        NothingSent: it timed out or was interrupted before a request was sent.
        SnapshotRefused: it may have been taken already.
        LedgerUnavailable: what is sent could not be written down before it leaves.
        SquareCloudError: the service refused; nothing was started.
    """
    with session.fleet.joins(listener) as member:
        return await Taking(session, inputs, member, owner, fresh=fresh, needs_url=needs_url).carry_out()


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
        taking = Taking(session, inputs, member, owner)
        taking.operation.resume(record.attempt)
        return await taking.carry_out()


class Taking:
    """One create or resume, a guard's too.

    Args:
        session: the service.
        inputs: checked.
        member: gets the progress.
        owner: the resource's URN, the command or the guard; None if unknown.
        fresh: see `create`.
        needs_url: see `create`; no guard needs it.
        spent: of a guard's: when something guarded has last happened. No resource and no state keeps it: any snapshot will do
            that is young enough, and was requested after that.

    Attributes:
        operation: what it is doing, and the attempt that it acts on.
        finished: what a 200 has told.
        behind: whether another snapshot of the database held it up.
    """

    def __init__(  # noqa: PLR0913  what is known of it
        self,
        session: Session,
        inputs: SnapshotInputs,
        member: Member,
        owner: str | None,
        *,
        fresh: bool = False,
        needs_url: bool = True,
        spent: Spent | None = None,
    ) -> None:
        self.session, self.inputs, self.member, self.spent = session, inputs, member, spent
        self.database_id, self.memory = inputs.database_id, session.memory.of(inputs.database_id)
        self.needs_url = needs_url and not spent
        self.finished: Finished | None = None
        self.behind = False
        self.operation = Operation(
            session,
            member,
            "snapshot",
            owner,
            inputs.database_id,
            not_done=f"No snapshot of database {inputs.database_id} was taken.",
            triggers=inputs.triggers,
            timeout=inputs.timeout,
            fresh=fresh,
            # A guard's that is older would lose what was written since.
            oldest=timedelta(seconds=max(inputs.timeout, inputs.reuse_within)) if spent else None,
        )

    async def carry_out(self) -> SnapshotRecord:
        """Complete what an earlier run has started, adopt a snapshot, or take one; see `create`."""
        try:
            return await self.operation.in_time(self._record())
        except TimeIsUp as why:
            if named := await self._named():
                return named
            raise self.unresolved(str(why)) from None
        except ClaimRefused as refused:
            raise self._refused(refused.attempt) from None

    async def _record(self) -> SnapshotRecord:
        while True:
            if (adopted := await self._adopted_or_sent()) is not None:
                return adopted
            if (record := await self._ended()) is not None and not await self._was_overtaken():
                return record

    # Before the request --------------------------------------------------------------------------------------------------

    async def _adopted_or_sent(self) -> SnapshotRecord | None:
        """Make sure that a request was sent; returns a snapshot that was adopted instead."""
        operation, refusal, is_first = self.operation, None, True
        self.finished = None
        with self.session.poll_plan.expecting():
            while await operation.to_send(self._settle):
                # A listing that is requested too often stays an old one. But what was waited for may do, or what has caused a
                # refusal: an earlier request of ours, of which this run does not know.
                again, operation.waits_for = operation.waits_for is not None or refusal is not None, None
                if (is_first or again) and (adopted := await self._adopted(again=again)):
                    return adopted
                is_first = False
                if (newest := self.memory.newest_known) is not None:
                    # It must be clearly older than our request, also for a later run that knows neither.
                    age = self.session.service_clock.now() - newest
                    await self.session.clock.sleep((CLEAR - max(age, timedelta(0))).total_seconds())
                try:
                    path = f"POST /databases/{self.database_id}/snapshots"
                    async with operation.sending(CREATE, path) as leave_by:
                        if leave_by is not None:
                            self.finished = await self.session.client.start_snapshot(
                                self.database_id, leave_by=leave_by
                            )
                            operation.how = "200" if self.finished else "202"
                except QuotaUsedUp as error:
                    await self.session.quota_hint.explain(error, self.database_id)
                    raise
                except PASSING as error:
                    refusal = error
                    await self._wait_out(error)
                    await operation.try_again(error)
        return None

    async def _settle(self, other: Attempt, waits: Callable[..., None]) -> bool:
        """Wait until another request of this database cannot be mistaken for ours, see `Operation.to_send`."""
        ledger = self.session.ledger
        try:
            entry = await self._listed(other, waits, ())
        except AmbiguousSnapshot as ambiguous:
            for each in ambiguous.candidates:
                self.memory.remember_snapshot(each.modified)
            return False  # only its owner needs to know which one it is: all that are listed are older than our request
        if entry is None:
            if await self._doubt(other, ()):
                return False
            await ledger.withdraw(other)
            return True
        version = entry.version or ""
        if is_resource(other.owner) and other.owner != self.operation.intent.owner:
            self.memory.claimed.add(version)  # it will find that
        self.memory.known.add(version)
        self.memory.remember_snapshot(entry.modified)
        await ledger.ended(other, version, holds=CLEAR)
        return True

    async def _wait_out(self, refusal: SquareCloudError) -> None:
        """Wait for the end of what the request was refused for."""
        session, show = self.session, self.operation.show
        if isinstance(refusal, RestoreRunning):
            show("waiting for the end of a restore of this database")
            with suppress(SquareCloudError):  # the next request shows whether it is over
                await until_free(session, show, partial(session.client.restore_status, self.database_id))
        elif isinstance(refusal, SnapshotRunning):
            self.behind = True
            show("waiting for the end of another snapshot of this database")
            await session.clock.sleep(session.settings.poll_every)

    # In place of a request -----------------------------------------------------------------------------------------------

    async def _adopted(self, *, again: bool) -> SnapshotRecord | None:
        """Adopt the newest manual snapshot younger than `reuse_within`, if any; `again`: only a page that is requested now shows it.

        A guard's must have been young when the change asked for it, which may have waited since, and needs no listing if a run
        has taken it; a run that is alone does not know what other machines have changed since they took theirs.
        """
        if not self.inputs.reuse_within:
            return None
        self.operation.does("looking for a snapshot to reuse")
        session, memory, database_id = self.session, self.memory, self.database_id
        young = session.service_clock.now() - timedelta(seconds=self.inputs.reuse_within)
        attempts = await session.ledger.attempts()
        ours = [each for each in attempts if each.has_snapshot and each.database_id == database_id]
        # The listing may show when it was finished, the ledger when it was requested.
        posted = {each.result: each.request.posted_at for each in ours}
        fitting: list[tuple[datetime, SnapshotRecord | ListedSnapshot]] = []
        if self.spent:
            young -= session.clock.utc() - self.operation.began
            oldest = session.service_clock.now() - (self.operation.intent.oldest or timedelta(0))
            for each in ours:
                # However long it took: the change that it was for began only then, and may be tried again. But the next run may
                # have found just now what a killed one has requested long ago.
                if (each.ended_at or each.request.posted_at) >= young and each.request.posted_at >= oldest:
                    record = SnapshotRecord(database_id, each.result, available=True)
                    fitting.append((each.request.posted_at, record.created(each.request.requested)))
        if not fitting and (not self.spent or session.ledger.place.is_shared):
            page = await session.listings.read_page(
                database_id, session.clock.monotonic() if again else session.listings.recent
            )
            others = set() if self.spent else memory.replaced | memory.claimed
            fitting = [
                (posted.get(each.version, each.modified), each)
                for each in page.entries
                if each.origin == "manual" and each.modified and each.modified >= young and each.version not in others
            ]
        if not fitting:
            return None
        taken, found = max(fitting, key=lambda each: each[0])
        is_worthless = taken < await self._worthless_before(attempts) + SECOND
        if is_worthless or await self._restored_since(taken, unless_known=bool(self.spent)):
            why = "changed or restored" if self.spent else "restored"
            version = found.version_id if isinstance(found, SnapshotRecord) else found.version
            line = f"snapshot {database_id}/{version} is not used again: the database was {why} since"
            if session.memory.is_first(line):
                self.member.note(line)
            return None
        record = found if isinstance(found, SnapshotRecord) else await self._described(found)
        which = taken_text(record, session.service_clock.now())
        self.member.note(Text("adopted {which}, instead of taking one ({reuse_within})", which=which))
        return record

    async def _worthless_before(self, attempts: list[Attempt]) -> datetime:
        """What was taken before it would lose data, or bring back what a restore has replaced, as far as the ledger knows."""
        restores = [
            each.ended_at or each.request.posted_at
            for each in attempts
            if (each.kind, each.database_id) == ("restore", self.database_id)
        ]
        spent = await self.spent() if self.spent else None
        return max([*restores, *([spent] if spent else [])], default=LONG_AGO)

    async def _restored_since(self, taken: datetime, *, unless_known: bool = False) -> bool:
        """Whether somebody has restored the database since, as the service tells for an hour; `unless_known` if it does not."""
        with suppress(SquareCloudError):
            status = await self.session.client.restore_status(self.database_id, patience=BRIEF)
            restored = (status.finished_at or status.started_at) if status else None
            return status is not None and (status.in_progress or (restored is not None and restored > taken))
        return unless_known

    # After the request ---------------------------------------------------------------------------------------------------

    async def _ended(self) -> SnapshotRecord | None:
        """Wait until the snapshot is listed; None if it never came, so that another one has to be requested."""
        try:
            async with self.session.lock(self.operation.sent.id):
                return await self._found()
        except (SquareCloudError, AmbiguousSnapshot) as error:
            if named := await self._named(error.happened):
                return named
            raise self.unresolved(cause=error, undecided=isinstance(error, AmbiguousSnapshot)) from error

    async def _found(self) -> SnapshotRecord | None:
        """The snapshot of the attempt; None if it never came, which must be certain."""
        session, operation, finished = self.session, self.operation, self.finished
        attempt = await operation.newest()
        if attempt.status is Status.FOUND:
            return await self._of_earlier_run(attempt)
        version = finished.version if finished else None
        if version and not self.needs_url:
            return await self._named()
        excluded = self.memory.known | self.memory.claimed
        with suppress(NothingSent, LedgerUnavailable):
            await session.know_time(self.database_id)
            excluded |= {each.result or "" for each in await session.ledger.snapshots(self.database_id)}
        with anyio.move_on_after(PINNING if version else None) as pinning:
            entry = await self._listed(attempt, self.member.waits, excluded, finished=finished, age=operation.age)
        if pinning.cancelled_caught:
            return await self._named()
        if entry is not None:
            return await self._of_entry(attempt, entry)
        if doubt := await self._doubt(attempt, excluded):
            raise self.unresolved(doubt, undecided=True)
        newest = await operation.newest()
        if newest.status is Status.FOUND or newest.request.answered != attempt.request.answered:
            return await self._found()  # by a run elsewhere
        await operation.withdraw()
        # What runs had taken before it is what it was to replace.
        operation.intent = replace(operation.intent, fresh=True)
        which = f"the snapshot requested at {to_the_second(attempt.request.requested)}"
        self.member.note(f"{which} never came: the service's listing lacks it. Another one is requested")
        return None

    async def _listed(
        self,
        attempt: Attempt,
        waits: Callable[..., None],
        excluded: Collection[str],
        *,
        finished: Finished | None = None,
        age: float = 0.0,
    ) -> ListedSnapshot | None:
        """Poll until the snapshot of a request is listed; None if it is not some minutes after it must be.

        What a 200 has told came just now; `age` is how many seconds earlier runs have waited.
        """
        session, request, now = self.session, attempt.request, self.session.service_clock.now()
        behind = self.behind and attempt is self.operation.attempt
        search = Search.of(request, finished=now if finished else None, excluded=excluded, behind=behind)
        shown_by = session.clock.monotonic() + (search.over - now).total_seconds()
        version = finished.version if finished else None
        about = attempt.database_id, waits, request.answered, request.accepted, search, version
        wait = ListingWait(session.poll_plan, *about)
        return await wait.until_listed(age=age, first_after=0.0 if finished else None, shown_by=shown_by)

    async def _doubt(self, attempt: Attempt, excluded: Collection[str]) -> str:
        """Why it is not certain that the service never made the snapshot of a request, whose time is over; empty if it is."""
        page = await self.session.listings.own_page(attempt.database_id, self.session.listings.recent)
        search = Search.of(attempt.request, excluded=excluded)
        if proves_failure(page, search, self.memory.due):
            return ""
        listed_ones = ", ".join(
            f"{one.version} ({to_the_second(one.modified) if one.modified else 'no time'})"
            for one in may_be_ours(page.entries, search)
        )
        if listed_ones:
            return f"The service lists what may be it, or somebody else's: {listed_ones}."
        return "The service's listing is not whole, so it does not prove that the snapshot never came."

    async def _was_overtaken(self) -> bool:
        """Whether a guard's snapshot has become worthless while it was waited for, so that another one is needed."""
        if not self.spent:
            return False
        posted, attempts = self.operation.sent.request.posted_at, await self.session.ledger.attempts()
        if await self._worthless_before(attempts) <= posted and not await self._restored_since(posted):
            return False
        which = f"the snapshot requested at {to_the_second(posted)} does not guard"
        self.member.note(f"{which}: the database was changed or restored while it was waited for. Another one is taken")
        self.operation.attempt, self.operation.resumed = None, False
        return True

    # The snapshot --------------------------------------------------------------------------------------------------------

    async def _of_entry(self, attempt: Attempt, entry: ListedSnapshot) -> SnapshotRecord:
        search = Search.of(attempt.request)
        if self.finished is None and search.is_late(entry):
            self.member.warn(late_text(self.database_id, entry, search))
        record = await self._described(entry, requested=attempt.request.requested)
        if self.operation.resumed:
            self._tell_earlier(attempt, record)
        await self.operation.enter_result(record.version_id or "", holds=CLEAR)
        return record

    async def _of_earlier_run(self, attempt: Attempt) -> SnapshotRecord:
        """The snapshot that an earlier run has taken and found, but whose state lacks it."""
        version, requested = attempt.result or "", attempt.request.requested
        entry = await self.session.listings.find_version(self.database_id, version)
        if entry is not None:
            record = await self._described(entry, requested=requested)
        else:
            record = SnapshotRecord.of(self.database_id, version, None, requested=requested)
            record = replace(record, available=not record.expired(self.session.service_clock.now()))
            self._claim(version)
        self._tell_earlier(attempt, record)
        return record

    def _tell_earlier(self, attempt: Attempt, record: SnapshotRecord) -> None:
        """Leave a line about the snapshot of an earlier run, of which a state may know nothing."""
        if attempt.proved:
            self.session.memory.resumed.add(self.operation.intent.owner)
        if attempt.proved or self.spent:
            self.member.note(found_text(record, self.session.service_clock.now()))
            return
        age, earlier = spoken(self.operation.age), "was taken by an earlier run that may not have saved its state"
        taken = f"snapshot {record.id} {earlier}, {age} ago ({record.requested_at}): none is taken now."
        self.member.warn(Text("{taken} {then}", taken=taken, then=Next(Step.TAKE_NEW)))

    async def _described(self, entry: ListedSnapshot, *, requested: datetime | None = None) -> SnapshotRecord:
        """The record of a listed snapshot, which is ours from now on."""
        url = self.finished.url if self.finished else None
        record = await describe(self.session, self.database_id, entry, base_url=url, requested=requested)
        self._claim(record.version_id or "")
        self.session.memory.remember_request(record.id, record.requested_at)
        self.memory.remember_snapshot(entry.modified)
        self.member.progress(f"found snapshot {record.version_id}")
        return record

    def _claim(self, version_id: str) -> None:
        """Remember whose a version is: a Snapshot may adopt that of a guard, since nothing else keeps it."""
        (self.memory.known if self.spent else self.memory.claimed).add(version_id)

    async def _named(self, why: Words = "the service does not list it yet") -> SnapshotRecord | None:
        """The snapshot whose version a 200 named, as far as it told, since no listing shows it; None without one."""
        finished, attempt = self.finished, self.operation.attempt
        if attempt is None or finished is None or finished.version is None:
            return None
        self._claim(finished.version)
        record = SnapshotRecord.of(
            self.database_id, finished.version, finished.url, requested=attempt.request.requested
        )
        if self.needs_url:
            newest = "the download URL of snapshot {id} serves the newest snapshot of the database, whichever that is: {why}. {then}"
            self.member.warn(Text(newest, id=record.id, why=why, then=Next(Step.REFRESH)))
        elif not self.spent:
            self.member.progress(f"found snapshot {record.version_id}")
        await self.operation.enter_result(finished.version, holds=CLEAR)
        return record

    # The end -------------------------------------------------------------------------------------------------------------

    def unresolved(self, why: str = "", *, undecided: bool = False, cause: Explained | None = None) -> Pending:
        """The error of an unknown end, see `Unresolved`; `why` the wait ended is a sentence."""
        request = self.operation.sent.request
        requested = to_the_second(request.requested)
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
        when = to_the_second(other.request.requested)
        happened = (
            f"a snapshot of database {self.database_id} with the same triggers was requested at {when} for {other.owner}, and no "
            "later run has shown that its state was saved: this may be the same one under another name of the stack"
        )
        return SnapshotRefused(
            happened, self.operation.not_done, [Next(Step.SHOW_OTHER_SNAPSHOT), Next(Step.TAKE_BY_TRIGGERS)]
        )
