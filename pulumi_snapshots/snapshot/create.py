"""Create and resume: one request at most, then waiting for exactly the snapshot that it started."""

import math
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Explained, Next, NothingSent, Step, Text, Unresolved, Words
from pulumi_snapshots.ledger.attempt import (
    CLEAR,
    NEVER,
    SECOND,
    Attempt,
    ClaimRefused,
    Status,
    is_resource,
)
from pulumi_snapshots.listing.listings import entry_of
from pulumi_snapshots.listing.polling import (
    LATE,
    PINNING,
    AmbiguousSnapshot,
    AwaitedSnapshot,
    doubt,
    wait_until_listed,
)
from pulumi_snapshots.listing.quota import explain_quota
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.run.memory import Listener, Member
from pulumi_snapshots.run.session import Operation, Session, TimeIsUp
from pulumi_snapshots.service.client import BRIEF, ONCE
from pulumi_snapshots.service.errors import QuotaUsedUp, SnapshotRunning, SquareCloudError
from pulumi_snapshots.service.limits import CREATE
from pulumi_snapshots.service.models import Finished, ListedSnapshot
from pulumi_snapshots.snapshot.record import SnapshotInputs, SnapshotRecord, describe, taken_text

NOT_FINISHED = Finished()


class Pending(Unresolved[SnapshotRecord]):
    """The snapshot was started, or may have been, and is not known yet. It must be kept."""

    steps_if_pending: ClassVar[tuple[Next, ...]] = (Next(Step.KEEP_WAITING), Next(Step.GIVE_UP))
    steps_if_undecided: ClassVar[tuple[Next, ...]] = (Next(Step.ASK_AGAIN), Next(Step.GIVE_UP))


class _GuardPending(Pending):
    """The same of a guard's, which no state keeps."""

    steps_if_pending = steps_if_undecided = (Next(Step.GUARD_RESUMES),)


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
    earlier: SnapshotRecord | None = None,
    once: bool = False,
) -> SnapshotRecord:
    """Take a snapshot and wait until the listing shows exactly it; see `Taking`.

    A pending one of an `earlier` run is waited for, with the whole time-out again; one that never came is requested again. If it
    is to be polled `once`, it may come back as it was, and nothing is requested.
    Raises `Pending` if it was or may have been started, so that the record must be kept; otherwise nothing was started.
    """
    request = earlier.attempt if earlier else None
    if earlier is not None and request is None:
        return earlier
    with session.fleet.joins(listener) as member:
        taking = Taking(session, inputs, member, owner, fresh=fresh, needs_url=needs_url)
        if request is not None:
            taking.operation.resume(request)
        if once and earlier is not None:
            return await taking.polled() or earlier
        return await taking.carry_out()


@dataclass(eq=False)
class Taking:
    """One create or resume, a guard's too.

    With `fresh` another one is wanted, whatever earlier runs have left; `needs_url` waits for its pinned URL, which only a
    listing has, if an answer has named its version; no guard does. `spent` is a guard's: when something guarded has last
    happened. No resource and no state keeps its snapshot: any will do that is young enough, and was requested after that.
    """

    session: Session
    inputs: SnapshotInputs
    member: Member
    owner: str | None
    _: KW_ONLY
    fresh: bool = False
    needs_url: bool = True
    spent: Callable[[], Awaitable[datetime | None]] | None = None
    finished: Finished = NOT_FINISHED  # what a 200 has told
    behind: bool = False  # whether another snapshot of the database held it up

    def __post_init__(self) -> None:
        inputs, self.database_id = self.inputs, self.inputs.database_id
        self.memory = self.session.memory.of(self.database_id)
        self.operation = Operation(
            self.session,
            self.member,
            "snapshot",
            self.owner,
            self.database_id,
            not_done=f"No snapshot of database {self.database_id} was taken.",
            triggers=inputs.triggers,
            timeout=inputs.timeout,
            fresh=self.fresh,
            # A guard's that is older would lose what was written since.
            oldest=timedelta(seconds=max(inputs.timeout, inputs.reuse_within))
            if self.spent
            else None,
        )

    async def carry_out(self) -> SnapshotRecord:
        """Complete what an earlier run has started, adopt a snapshot, or take one; see `create`."""
        why, cause = "", None
        try:
            return await self.operation.in_time(self._record())
        except ClaimRefused as refused:
            when = to_the_second(refused.attempt.request.requested)
            happened = (
                f"a snapshot of database {self.database_id} with the same triggers was requested at {when} for "
                f"{refused.attempt.owner}, and no later run has shown that its state was saved: this may be the same one under "
                "another name of the stack"
            )
            raise SnapshotRefused(
                happened, self.operation.not_done, [Step.SHOW_OTHER, Step.BY_TRIGGERS]
            ) from None
        except TimeIsUp as time_is_up:
            why = str(time_is_up)
        except (SquareCloudError, AmbiguousSnapshot) as error:
            if self.operation.attempt is None:  # nothing was started
                raise
            cause = error
        if self.finished.version is not None:
            return await self._ended(self.finished.version, cause=cause)
        raise self._unresolved(
            why, undecided=isinstance(cause, AmbiguousSnapshot), cause=cause
        ) from cause

    async def _record(self) -> SnapshotRecord:
        while True:
            if (adopted := await self._adopted_or_sent()) is not None:
                return adopted
            async with self.session.locks[self.operation.sent.id]:
                record = await self._found()
            if record is not None and not await self._was_overtaken():
                return record

    # Before the request --------------------------------------------------------------------------------------------------

    async def _adopted_or_sent(self) -> SnapshotRecord | None:
        """Make sure that a request was sent; returns a snapshot that was adopted instead."""
        session, operation, is_first = self.session, self.operation, True
        self.finished = NOT_FINISHED
        with session.poll_plan.expecting():
            while (claim := await operation.next_claim()) is not None:
                if claim.role == "in the way":
                    await operation.wait_out(claim.attempt, self._settle)
                    continue
                # A listing that is requested too often stays an old one. But what was waited for may do, or what has caused a
                # refusal: an earlier request of ours, of which this run does not know.
                again = not is_first or operation.waits_for is not None
                is_first, operation.waits_for = False, None
                if adopted := await self._adopted(again=again):
                    return adopted
                try:
                    await operation.send(
                        CREATE, f"POST /databases/{self.database_id}/snapshots", self._post
                    )
                except SquareCloudError as error:
                    if isinstance(error, QuotaUsedUp):
                        await explain_quota(error, self.database_id, session.listings)
                    self.behind |= isinstance(error, SnapshotRunning)
                    await operation.try_again(error)
        return None

    async def _post(self, leave_by: datetime) -> str:
        answer = await self.session.client.start_snapshot(self.database_id, leave_by=leave_by)
        self.finished = answer.finished or NOT_FINISHED
        return "202" if answer.continues else "200"

    async def _settle(self, other: Attempt) -> None:
        """Wait until another request of this database cannot be mistaken for ours, and enter its end for its owner."""
        operation, ledger = self.operation, self.session.ledger
        try:
            entry = await self._listed(other, partial(operation.show_other, other))
        except AmbiguousSnapshot:
            # Only its owner needs to know which one it is; all that are listed must be clearly older than our request.
            operation.ignore(other)
            await self.session.clock.sleep(CLEAR.total_seconds())
            return
        if entry is not None:
            version = entry.version or ""
            if is_resource(other.owner) and other.owner != operation.intent.owner:
                self.memory.claimed.add(version)  # it will find that
            self.memory.known.add(version)
            await ledger.ended(other, version, holds=CLEAR)
        elif await self._doubt(other):
            operation.ignore(other)
        else:
            await ledger.withdraw(other)

    # In place of a request -----------------------------------------------------------------------------------------------

    async def _adopted(self, *, again: bool) -> SnapshotRecord | None:
        """Adopt the newest manual snapshot younger than `reuse_within`, if any; `again`: only a page that is requested now shows it.

        A guard's must have been young when the change asked for it, which may have waited since, and needs no listing if a run
        has taken it; a run that is alone does not know what other machines have changed since they took theirs.
        """
        if not self.inputs.reuse_within:
            return None
        self.operation.does("looking for a snapshot to reuse")
        session, now = self.session, self.session.service_clock.now()
        young = now - timedelta(seconds=self.inputs.reuse_within)
        attempts = await session.ledger.attempts()
        ours = [
            each for each in attempts if each.has_snapshot and each.database_id == self.database_id
        ]
        others = set() if self.spent else self.memory.replaced | self.memory.claimed
        fitting: list[tuple[datetime, ListedSnapshot]] = []
        if self.spent:
            young -= session.clock.utc() - self.operation.began
            oldest = now - (self.operation.intent.oldest or timedelta(0))
            # However long it took: the change that it was for began only then, and may be tried again. But the next run may
            # have found just now what a killed one has requested long ago.
            fitting = [
                (each.request.posted_at, entry_of(each))
                for each in ours
                if (each.ended_at or each.request.posted_at) >= young
                and each.request.posted_at >= oldest
            ]
        if not fitting and (not self.spent or session.ledger.place.is_shared):
            since = session.clock.monotonic() if again else session.listings.recent
            page = await session.listings.page(self.database_id, since, together=True)
            # The listing may show when it was finished, the ledger when it was requested.
            posted = {each.result: each.request.posted_at for each in ours}
            fitting = [
                (posted.get(each.version, each.modified), each)
                for each in page.entries
                if each.origin == "manual"
                and each.modified
                and each.modified >= young
                and each.version not in others
            ]
        if not fitting:
            return None
        taken, entry = max(fitting, key=lambda each: each[0])
        if await self._is_worthless(attempts, taken - SECOND, unless_known=bool(self.spent)):
            why = "changed or restored" if self.spent else "restored"
            line = f"snapshot {self.database_id}/{entry.version} is not used again: the database was {why} since"
            if session.memory.is_first(line):
                self.member.note(line)
            return None
        # What the ledger has may be of another resource, which completes from it.
        record = await (
            self._ours(entry) if entry.name else describe(session, self.database_id, entry)
        )
        which = taken_text(record, session.service_clock.now())
        self.member.note(
            Text("adopted {which}, instead of taking one ({reuse_within})", which=which)
        )
        return record

    async def _is_worthless(
        self, attempts: list[Attempt], taken: datetime, *, unless_known: bool = False
    ) -> bool:
        """Whether what was taken then would lose data, or bring back what a restore has replaced.

        The ledger knows the restores of runs, the service the last one for an hour; `unless_known` counts if it does not tell.
        """
        restores = [
            each
            for each in attempts
            if (each.kind, each.database_id) == ("restore", self.database_id)
        ]
        spent = (await self.spent() if self.spent else None) or NEVER
        if max([spent, *(each.ended_at or each.request.posted_at for each in restores)]) > taken:
            return True
        with suppress(SquareCloudError):
            status = await self.session.client.restore_status(self.database_id, patience=BRIEF)
            restored = (status.finished_at or status.started_at) if status else None
            return status is not None and (
                status.in_progress or (restored is not None and restored > taken)
            )
        return unless_known

    # After the request ---------------------------------------------------------------------------------------------------

    async def polled(self) -> SnapshotRecord | None:
        """Poll once for what an earlier run has requested, no earlier than a wait would; None if it is not listed."""
        # Without a ledger, each of hundreds would try to enter its result, and hold up the run.
        session, others, attempt = (
            self.session,
            await self.operation.newest(needed=True),
            self.operation.sent,
        )
        await session.know_time(self.database_id, briefly=True)
        is_early = (
            attempt.request.answered != "200" and self.operation.age < session.poll_plan.first_alone
        )
        if is_early and attempt.status is not Status.FOUND:
            return None  # also in a preview: the wait that follows polls at its time
        page = await session.listings.page(
            self.database_id, session.listings.recent, patience=ONCE, together=True
        )
        entry = self._awaited(attempt, self._excluded(others)).find_on(page)
        return await self._ended(entry.version or "", entry) if entry else None

    async def _found(self) -> SnapshotRecord | None:
        """Wait until the snapshot of the attempt is listed; None if there is something else to wait for, or to request.

        It is requested again only if it certainly never came.
        """
        session, operation = self.session, self.operation
        others, attempt = await operation.newest(), operation.sent
        if attempt.status is Status.FOUND:
            found = attempt.result or ""
            return await self._ended(
                found, await session.listings.find_version(self.database_id, found)
            )
        version, excluded = self.finished.version, self._excluded(others)
        if version is None or self.needs_url:
            with suppress(NothingSent):
                await session.know_time(self.database_id)
            if entry := await self._listed(attempt, self.member.waits, excluded):
                return await self._ended(entry.version or "", entry)
        if version is not None:
            return await self._ended(version)
        if doubt := await self._doubt(attempt, excluded):
            raise self._unresolved(doubt, undecided=True)
        known = (
            await session.ledger.attempts()
        )  # or nothing is requested: what runs had taken before would do
        now = next((each for each in known if each.id == attempt.id), attempt)
        if now.status is Status.FOUND or now.request.answered != attempt.request.answered:
            return None  # a run elsewhere knows more of it
        await operation.withdraw()
        # What runs had taken before it is what it was to replace.
        before = (
            each.names for each in known if each.request.posted_at < attempt.request.posted_at
        )
        operation.intent = replace(
            operation.intent, carried=operation.intent.carried.union(*before)
        )
        which = f"the snapshot requested at {to_the_second(attempt.request.requested)}"
        self.member.note(
            f"{which} never came: the service's listing lacks it. Another one is requested"
        )
        return None

    def _excluded(self, others: list[Attempt]) -> set[str]:
        """Versions that are of other requests, or of none."""
        return {
            *self.memory.known,
            *self.memory.claimed,
            *(each.result or "" for each in others if each.has_snapshot),
        }

    def _awaited(self, attempt: Attempt, claimed: Collection[str]) -> AwaitedSnapshot:
        """What is known of the snapshot of a request."""
        return AwaitedSnapshot(
            attempt.request,
            attempt.database_id,
            attempt.result or self.finished.version,
            claimed,
            is_behind=self.behind and attempt is self.operation.attempt,
            is_finished=self.finished is not NOT_FINISHED,
            age=self.operation.age,
        )

    async def _listed(
        self, attempt: Attempt, waits: Callable[..., None], excluded: Collection[str] = ()
    ) -> ListedSnapshot | None:
        """Poll until the snapshot of a request is listed; None if it is not some minutes after it must be."""
        return await wait_until_listed(
            self.session.poll_plan,
            self._awaited(attempt, excluded),
            waits,
            patience=PINNING if self.finished.version else math.inf,
        )

    async def _doubt(self, attempt: Attempt, excluded: Collection[str] = ()) -> str:
        """Why it is not certain that the service never made the snapshot of a request, whose time is over; empty if it is."""
        page = await self.session.listings.own_page(
            attempt.database_id, self.session.listings.recent
        )
        return doubt(page, attempt.request, excluded, self.memory.due)

    async def _was_overtaken(self) -> bool:
        """Whether a guard's snapshot has become worthless while it was waited for, so that another one is needed."""
        posted = self.operation.sent.request.posted_at
        if not (
            self.spent and await self._is_worthless(await self.session.ledger.attempts(), posted)
        ):
            return False
        which = f"the snapshot requested at {to_the_second(posted)} does not guard"
        self.member.note(
            f"{which}: the database was changed or restored while it was waited for. Another one is taken"
        )
        self.operation.attempt, self.operation.resumed = None, False
        return True

    # The end -------------------------------------------------------------------------------------------------------------

    async def _ended(
        self, version: str, entry: ListedSnapshot | None = None, cause: Explained | None = None
    ) -> SnapshotRecord:
        """The snapshot of the attempt, as far as it is known if no listing shows it; `cause` if polls failed."""
        operation, member, attempt = self.operation, self.member, self.operation.sent
        unlisted = ListedSnapshot.model_construct(
            name="", version_id=version, url=self.finished.url
        )
        record = await self._ours(entry or unlisted, attempt.request.requested)
        if operation.resumed and (attempt.proved or self.spent):
            member.note(
                f"found {taken_text(record, self.session.service_clock.now())}; no new request was sent"
            )
        elif operation.resumed:
            age, earlier = (
                spoken(operation.age),
                "was taken by an earlier run that may not have saved its state",
            )
            taken = f"snapshot {record.id} {earlier}, {age} ago ({record.requested_at}): none is taken now."
            member.warn(Text("{taken} {then}", taken=taken, then=Next(Step.TAKE_NEW)))
        elif entry is None and self.needs_url:
            newest = "the download URL of snapshot {id} serves the newest snapshot of the database, whichever that is: {why}. {then}"
            why: Words = cause.happened if cause else "the service does not list it yet"
            member.warn(Text(newest, id=record.id, why=why, then=Next(Step.REFRESH)))
        if attempt.status is not Status.FOUND:
            posted, at = attempt.request.posted_at, entry.modified if entry else None
            if at and at > posted + LATE and self.finished is NOT_FINISHED:
                which = f"snapshot {version} of database {self.database_id} was matched to the request of {to_the_second(posted)}"
                member.warn(
                    f"{which}, although its time is {to_the_second(at)}: no earlier one is listed"
                )
            await operation.enter_result(version, holds=CLEAR)
        return record

    async def _ours(
        self, entry: ListedSnapshot, requested: datetime | None = None
    ) -> SnapshotRecord:
        """The record of a snapshot, which is ours from now on; a Snapshot may adopt a guard's, since nothing else keeps that."""
        record = await describe(
            self.session, self.database_id, entry, base_url=self.finished.url, requested=requested
        )
        (self.memory.known if self.spent else self.memory.claimed).add(record.version_id or "")
        self.session.memory.remember_request(record.id, record.requested_at)
        self.member.progress(f"found snapshot {record.version_id}")
        return record

    def _unresolved(
        self, why: str = "", *, undecided: bool = False, cause: Explained | None = None
    ) -> Pending:
        """The error of an unknown end, see `Unresolved`; `why` the wait ended is a sentence."""
        request = self.operation.sent.request
        requested = to_the_second(request.requested)
        record = SnapshotRecord(self.database_id, attempt=request, requested_at=requested)
        how = f"accepted ({request.answered}), but is not listed yet."
        if not request.accepted:
            how = (
                f"{request.unanswered}: it may or may not have been started, and is not listed yet."
            )
        happened = f"A snapshot of database {self.database_id} was requested at {requested} and {how} {why}".rstrip()
        kind = _GuardPending if self.spent else Pending
        return kind(record, happened, undecided=undecided, cause=cause)
