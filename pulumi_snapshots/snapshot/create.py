"""Create and resume: one request at most, then waiting for exactly the snapshot that it started."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import anyio

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Explained, Next, Step, Text, TimeOfDay, Unresolved, Words
from pulumi_snapshots.ledger.attempt import CLEAR, SECOND, Attempt, ClaimRefused, Status, is_resource
from pulumi_snapshots.listing.match import (
    CREATE_COOLDOWN,
    AmbiguousSnapshot,
    Search,
    late_text,
    may_be_ours,
    proves_failure,
)
from pulumi_snapshots.listing.wait import PINNING, ListingWait
from pulumi_snapshots.progress import Listener, Member
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.memory import DatabaseMemory
from pulumi_snapshots.run.once import Operation, TimeIsUp, until_free
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF, POST_READ_TIMEOUT
from pulumi_snapshots.service.errors import (
    Cooldown,
    NotSent,
    QuotaUsedUp,
    RestoreRunning,
    SnapshotRunning,
    SquareCloudError,
)
from pulumi_snapshots.service.limits import CREATE, SNAPSHOT_PER_DATABASE
from pulumi_snapshots.service.models import Finished, ListedSnapshot
from pulumi_snapshots.snapshot.describe import describe, found_text, taken_text
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.record import SnapshotRecord, requested_text

HINTED_POLLS = SNAPSHOT_PER_DATABASE
"""Seconds of polling after a first KEEP_CALM: our own earlier attempt may still be running."""
LONG_AGO = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
LONG_AHEAD = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
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
        hinted: whether a refusal was taken for a hint at an earlier request.
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
        self.needs_url = needs_url and not spent
        self.finished: Finished | None = None
        self.behind = self.hinted = False
        # An older one would lose what was written since.
        oldest = timedelta(seconds=max(inputs.timeout, inputs.reuse_within)) if spent else None
        self.operation = Operation.begin(
            session,
            member,
            "snapshot",
            owner,
            inputs.database_id,
            not_done=f"No snapshot of database {inputs.database_id} was taken.",
            triggers=inputs.triggers,
            timeout=inputs.timeout,
            fresh=fresh,
            oldest=oldest,
        )

    @property
    def database_id(self) -> str:
        """The database."""
        return self.inputs.database_id

    async def carry_out(self) -> SnapshotRecord:
        """Complete what an earlier run has started, adopt a snapshot, or take one; see `create`."""
        try:
            return await self.operation.in_time(self._record())
        except TimeIsUp as why:
            if unpinned := await self._unpinned():
                return unpinned
            raise self.unresolved(str(why)) from None
        except ClaimRefused as refused:
            raise self._refused(refused.attempt) from None

    async def _record(self) -> SnapshotRecord:
        if self.spent:  # no guard resumes what is worthless
            attempts = await self.session.ledger.attempts()
            since = await self._worthless_before(attempts)
            left = [
                each.request.posted_at
                for each in attempts
                if (each.kind, each.database_id) == ("snapshot", self.database_id) and each.request.posted_at > since
            ]
            # A restore by another client is in no ledger, and the service shows it for an hour.
            if left:
                with suppress(SquareCloudError):
                    restored = await self._last_restored()
                    since = max(since, min(restored or since, self.session.service_clock.now()))
            self.operation.intent = replace(self.operation.intent, resumes_after=since)
        while True:
            if (adopted := await self._adopted_or_sent()) is not None:
                return adopted
            if (record := await self._ended()) is not None and not await self._was_overtaken():
                return record

    async def _was_overtaken(self) -> bool:
        """Whether a guard's snapshot has become worthless while it was waited for, so that another one is needed."""
        if not self.spent:
            return False
        posted, attempts = self.operation.sent.request.posted_at, await self.session.ledger.attempts()
        if await self._worthless_before(attempts) <= posted and not await self._restored_since(posted):
            return False
        requested = requested_text(posted.replace(microsecond=0))
        which = f"the snapshot requested at {requested} does not guard"
        self.member.note(f"{which}: the database was changed or restored while it was waited for. Another one is taken")
        now = self.session.service_clock.now()
        self.operation.intent = replace(self.operation.intent, resumes_after=now)
        self.operation.attempt, self.operation.resumed = None, False
        return True

    # Before the request --------------------------------------------------------------------------------------------------

    async def _adopted_or_sent(self) -> SnapshotRecord | None:
        """Make sure that a request was sent; returns a snapshot that was adopted instead."""
        operation, limiter = self.operation, self.session.rate_limiter
        self.finished, is_first = None, True
        with self.session.poll_plan.expecting():
            if (newest := self._memory.newest_in_state) is not None:
                age = (self.session.service_clock.now() - newest).total_seconds()
                limiter.note_earlier_post(self.database_id, age)
            while await operation.to_send(self._settle):
                waited, operation.waited = operation.waited, False
                # A listing that is requested too often stays an old one.
                if (is_first or waited) and (adopted := await self._adopted(again=waited)):
                    return adopted
                is_first = False
                await self._keep_clear()
                try:
                    path = f"POST /databases/{self.database_id}/snapshots"
                    self.finished = await operation.send(CREATE, path, self._post)
                except QuotaUsedUp as error:
                    await self.session.quota_hint.explain(error, self.database_id)
                    raise
                except PASSING as refusal:
                    if adopted := await self._waited_out(refusal):
                        return adopted
                    await operation.try_again(refusal)
        return None

    async def _post(self, leave_by: datetime) -> tuple[str, Finished | None]:
        by = TimeOfDay(self.session.clock.utc() + timedelta(seconds=POST_READ_TIMEOUT))
        self.member.progress(Text("sent; answer by {by}", by=by), phase="answer")
        answer = await self.session.client.start_snapshot(self.database_id, leave_by=leave_by)
        return ("200", answer) if isinstance(answer, Finished) else ("202", None)

    async def _settle(self, other: Attempt, waits: Callable[..., None]) -> bool:
        """Wait until another request of this database cannot be mistaken for ours, see `Operation.to_send`."""
        session = self.session
        try:
            entry = await self._listed(other, waits, ())
        except AmbiguousSnapshot as ambiguous:
            for each in ambiguous.candidates:
                self._memory.remember_snapshot(each.modified)
            return False  # only its owner needs to know which one it is: all that are listed are older than our request
        if entry is None:
            if await self._doubt(other, ()):
                return False
            await session.ledger.withdraw(other)
            return True
        version, holds = entry.version or "", CLEAR
        if is_resource(other.owner) and other.owner != self.operation.intent.owner:
            self._memory.claimed.add(version)  # it will find that
            if not other.proved and entry.modified is not None:
                # A run elsewhere, which has it in its state, could not tell it from one that ends so close.
                holds = max(CLEAR, entry.modified + CREATE_COOLDOWN + CLEAR - session.service_clock.now())
        self._memory.known.add(version)
        self._memory.remember_snapshot(entry.modified)
        await session.ledger.found(other, version, holds=holds)
        return True

    async def _keep_clear(self) -> None:
        """Wait until the newest known snapshot is clearly older than our request, also for a later run that knows neither."""
        if (newest := self._memory.newest_known) is not None:
            age = self.session.service_clock.now() - newest
            await self.session.clock.sleep((CLEAR - max(age, timedelta(0))).total_seconds())

    async def _waited_out(self, refusal: SquareCloudError) -> SnapshotRecord | None:
        """Wait for the end of what the request was refused for; returns a snapshot that was adopted meanwhile."""
        clock, began, every = self.session.clock, self.session.clock.monotonic(), self.session.settings.poll_every
        if isinstance(refusal, RestoreRunning):
            self.operation.show("waiting for the end of a restore of this database")
            with suppress(SquareCloudError):  # the next request shows whether it is over
                poll = partial(self.session.client.restore_status, self.database_id)
                await until_free(self.session, self.operation.show, poll)
        elif isinstance(refusal, Cooldown | SnapshotRunning) and self.inputs.reuse_within and not self.hinted:
            # An earlier request of ours, of which this run does not know, may still be running.
            self.hinted = True
            while clock.monotonic() < began + HINTED_POLLS:
                self.member.progress(f"{refusal.code}: checking for an earlier attempt that is still running")
                await clock.sleep(every)
                if adopted := await self._adopted(again=True):
                    return adopted
        if isinstance(refusal, SnapshotRunning):
            self.behind = True
            self.operation.show("waiting for the end of another snapshot of this database")
        if isinstance(refusal, RestoreRunning | SnapshotRunning):
            await clock.sleep(began + every - clock.monotonic())
        return None

    # In place of a request -----------------------------------------------------------------------------------------------

    async def _adopted(self, *, again: bool) -> SnapshotRecord | None:
        """Adopt the newest manual snapshot younger than `reuse_within`, if any.

        Args:
            again: whether only a page that is requested now could show one.
        """
        if not self.inputs.reuse_within:
            return None
        self.operation.show("looking for a snapshot to reuse")
        young = self.session.service_clock.now() - timedelta(seconds=self.inputs.reuse_within)
        if self.spent:
            # It must have been young when the change asked for it, which may have waited for another run's since.
            young -= self.session.clock.utc() - self.operation.began
        worthless = await self._worthless_before(await self.session.ledger.attempts()) + SECOND
        # What runs have taken needs no listing, which could lack it for half an hour.
        found = await self.session.ledger.snapshots(self.database_id) if self.spent else []
        if found and found[-1].request.posted_at >= max(young, worthless):
            request, version = found[-1].request, found[-1].result
            if await self._restored_since(request.posted_at, unless_known=True):
                return None
            record = SnapshotRecord(self.database_id, version, available=True).created(request.requested)
        else:
            # A run that is alone does not know what other machines have changed since they took theirs.
            is_alone, known = self.spent and not self.session.ledger.place.is_shared, {each.result for each in found}
            if is_alone and not found:
                return None
            since = self.session.clock.monotonic() if again else self.session.listings.recent
            page = await self.session.listings.read_page(self.database_id, since)
            others = set() if self.spent else self._memory.not_reusable
            fitting = [
                (each.modified, each)
                for each in page.entries
                if each.origin == "manual" and each.modified and each.modified >= young and each.version not in others
                if not is_alone or each.version in known
            ]
            modified, entry = max(fitting, key=lambda each: each[0], default=(None, None))
            if modified is None or entry is None:
                return None
            # The listing may show when it was finished, the ledger when it was requested.
            known_at = {
                each.result: each.request.posted_at for each in await self.session.ledger.snapshots(self.database_id)
            }
            taken = known_at.get(entry.version, modified)
            if taken < worthless or await self._restored_since(taken, unless_known=bool(self.spent)):
                why = "changed or restored" if self.spent else "restored"
                line = f"snapshot {self.database_id}/{entry.version} is not used again: the database was {why} since"
                if self.session.memory.is_first(line):
                    self.member.note(line)
                return None
            record = await self._described(entry, adopted=True)
        which = taken_text(record, self.session.service_clock.now())
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
        """Whether somebody has restored the database since, as far as the service tells: for an hour.

        Args:
            taken: when the snapshot was taken.
            unless_known: the answer if the service does not tell.
        """
        with suppress(SquareCloudError):
            restored = await self._last_restored()
            return restored is not None and restored > taken
        return unless_known

    async def _last_restored(self) -> datetime | None:
        """When the last restore of the last hour ended, as the service tells; in the future for one that is under way."""
        status = await self.session.client.restore_status(self.database_id, patience=BRIEF)
        if status is not None and status.in_progress:
            return LONG_AHEAD
        return (status.finished_at or status.started_at) if status else None

    # After the request ---------------------------------------------------------------------------------------------------

    async def _ended(self) -> SnapshotRecord | None:
        """Wait until the snapshot is listed; None if it never came, so that another one has to be requested.

        Raises:
            Pending: the service refuses to show it, or two snapshots could be ours.
        """
        operation = self.operation
        try:
            async with self.session.lock(operation.sent.id):
                attempt = await operation.newest()
                if attempt.status is Status.FOUND:
                    return await self._of_earlier_run(attempt)
                if self.finished is not None:
                    return await self._pinned(attempt, self.finished)
                return await self._found(attempt, age=operation.age)
        except (SquareCloudError, AmbiguousSnapshot) as error:
            if unpinned := await self._unpinned(error.happened):
                return unpinned
            raise self.unresolved(cause=error, undecided=isinstance(error, AmbiguousSnapshot)) from error

    async def _pinned(self, attempt: Attempt, finished: Finished) -> SnapshotRecord | None:
        """Wait until a listing shows what a 200 has started, or as long as that may take if its version is known."""
        if not self.needs_url and (named := self._named()):
            if not self.spent:
                self.member.progress(f"found snapshot {named.version_id}")
            return await self._resolved(named)
        known: dict[str, Any] = {"version": finished.version, "finished": self.session.service_clock.now()}
        with anyio.move_on_after(PINNING):
            return await self._found(attempt, first_after=0.0, **known)
        if unpinned := await self._unpinned():
            return unpinned
        return await self._found(attempt, first_after=self.session.settings.poll_every, **known)

    async def _found(self, attempt: Attempt, **how: Any) -> SnapshotRecord | None:
        """Wait until a listing shows it, see `_listed`; None if it never came, which must be certain."""
        excluded = self._memory.not_new | self.operation.found
        entry = await self._listed(attempt, self.member.waits, excluded, **how)
        if entry is not None:
            return await self._of_entry(attempt, entry)
        if doubt := await self._doubt(attempt, excluded):
            raise self.unresolved(doubt, undecided=True)
        newest = await self.operation.newest()
        if newest.status is Status.FOUND:
            return await self._of_earlier_run(newest)
        if newest.request.answered != attempt.request.answered:  # a run elsewhere has entered the answer meanwhile
            return await self._found(newest, **how)
        await self.operation.withdraw()
        which = f"the snapshot requested at {requested_text(attempt.request.requested)}"
        self.member.note(f"{which} never came: the service's listing lacks it. Another one is requested")
        return None

    async def _listed(  # noqa: PLR0913  what is known of it
        self,
        attempt: Attempt,
        waits: Callable[..., None],
        excluded: Collection[str],
        *,
        age: float = 0.0,
        first_after: float | None = None,
        version: str | None = None,
        finished: datetime | None = None,
    ) -> ListedSnapshot | None:
        """Poll until the snapshot of a request is listed; None if it is not some minutes after it must be.

        Args:
            attempt: the request.
            waits: shows the progress, see `Member.waits`.
            excluded: versions of other requests.
            age: seconds that earlier runs have waited.
            first_after: seconds until the first poll, if the snapshot should be listed by then.
            version: its version, if a 200 named it.
            finished: when a 200 came, by the service's clock.

        Raises:
            AmbiguousSnapshot: two entries could be the snapshot.
            SquareCloudError: a poll was refused, and will be refused again.
        """
        session, request = self.session, attempt.request
        behind = self.behind and attempt is self.operation.attempt
        search = Search.of(request, finished=finished, excluded=excluded, behind=behind)
        over = (search.over - session.service_clock.now()).total_seconds()
        wait = ListingWait(
            session.poll_plan, attempt.database_id, waits, request.answered, request.accepted, search, version
        )
        return await wait.until_listed(age=age, first_after=first_after, shown_by=session.clock.monotonic() + over)

    async def _doubt(self, attempt: Attempt, excluded: Collection[str]) -> str:
        """Why it is not certain that the service never made the snapshot of a request, whose time is over; empty if it is."""
        page = await self.session.listings.own_page(attempt.database_id, self.session.listings.recent)
        search = Search.of(attempt.request, excluded=excluded)
        if proves_failure(page, search, self.session.memory.of(attempt.database_id).due):
            return ""
        listed_ones = ", ".join(
            f"{one.version} ({to_the_second(one.modified) if one.modified else 'no time'})"
            for one in may_be_ours(page.entries, search)
        )
        if listed_ones:
            return f"The service lists what may be it, or somebody else's: {listed_ones}."
        return "The service's listing is not whole, so it does not prove that the snapshot never came."

    # The snapshot --------------------------------------------------------------------------------------------------------

    async def _of_entry(self, attempt: Attempt, entry: ListedSnapshot) -> SnapshotRecord:
        search = Search.of(attempt.request)
        if self.finished is None and search.is_late(entry):
            self.member.warn(late_text(self.database_id, entry, search))
        record = await self._described(entry, requested=attempt.request.requested)
        if self.operation.resumed:
            self._tell_earlier(attempt, record)
        return await self._resolved(record)

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

    async def _described(
        self, entry: ListedSnapshot, *, requested: datetime | None = None, adopted: bool = False
    ) -> SnapshotRecord:
        """The record of a listed snapshot, which is ours from now on."""
        url = self.finished.url if self.finished else None
        record = await describe(self.session, self.database_id, entry, base_url=url, requested=requested)
        if not (self.spent and adopted):
            self._claim(record.version_id or "")
        self.session.memory.remember_request(record.id, record.requested_at)
        self._memory.remember_snapshot(entry.modified)
        self.member.progress(f"found snapshot {record.version_id}")
        return record

    def _claim(self, version_id: str) -> None:
        """Remember whose a version is: a Snapshot may adopt that of a guard, since nothing else keeps it."""
        (self._memory.known if self.spent else self._memory.claimed).add(version_id)

    async def _resolved(self, record: SnapshotRecord) -> SnapshotRecord:
        """Enter what was found."""
        await self.operation.enter_result(record.version_id or "", holds=CLEAR)
        return record

    def _named(self) -> SnapshotRecord | None:
        """The snapshot as far as a 200 named it; None without one."""
        finished, attempt = self.finished, self.operation.attempt
        if attempt is None or finished is None or finished.version is None:
            return None
        self._claim(finished.version)
        requested = attempt.request.requested
        return SnapshotRecord.of(self.database_id, finished.version, finished.url, requested=requested)

    # The end -------------------------------------------------------------------------------------------------------------

    async def _unpinned(self, why: Words = "the service does not list it yet") -> SnapshotRecord | None:
        """The snapshot whose version a 200 named, though no listing shows it; None without one."""
        if (named := self._named()) is None:
            return None
        newest = "the download URL of snapshot {id} serves the newest snapshot of the database, whichever that is: {why}. {then}"
        if self.needs_url:
            self.member.warn(Text(newest, id=named.id, why=why, then=Next(Step.REFRESH)))
        return await self._resolved(named)

    def unresolved(self, why: str = "", *, undecided: bool = False, cause: Explained | None = None) -> Pending:
        """The error of an unknown end.

        Args:
            why: why the wait ended; a sentence.
            undecided: whether waiting longer would end in the same way.
            cause: the error that ended the wait, if there was one.
        """
        request = self.operation.sent.request
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
        return SnapshotRefused(
            happened, self.operation.not_done, [Next(Step.SHOW_OTHER_SNAPSHOT), Next(Step.TAKE_BY_TRIGGERS)]
        )

    @property
    def _memory(self) -> DatabaseMemory:
        return self.session.memory.of(self.database_id)
