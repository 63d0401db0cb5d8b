"""Create and resume: one request at most, then waiting for exactly the snapshot that it started."""

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import ClassVar

import anyio

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import (
    AnyMessage,
    Hint,
    HintKind,
    LedgerUnavailable,
    Message,
    NotFinished,
    NothingSent,
    ProviderError,
)
from pulumi_snapshots.ledger.attempt import CLEAR, LATEST_OF_LOST, SKEW, Attempt, Status
from pulumi_snapshots.listing.matching import AmbiguousSnapshot, why_not_absent
from pulumi_snapshots.listing.polling import (
    PINNING,
    AwaitedSnapshot,
    ListingWait,
    wait_for_version,
)
from pulumi_snapshots.listing.quota import explain_quota
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.run.memory import MANY, Listener, Member
from pulumi_snapshots.run.operation import Operation, TimeIsUp
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import ONCE, Leaving, PostAnswer
from pulumi_snapshots.service.errors import (
    QuotaUsedUp,
    SnapshotRunning,
    SquareCloudError,
)
from pulumi_snapshots.service.limits import CREATE
from pulumi_snapshots.service.models import Finished, ListedSnapshot
from pulumi_snapshots.snapshot.record import (
    SnapshotInputs,
    SnapshotRecord,
    describe,
    taken_text,
)
from pulumi_snapshots.snapshot.reuse import Candidate, LastChange, Reuse

NOT_FINISHED = Finished()


class Pending(NotFinished[SnapshotRecord]):
    """The snapshot was started, or may have been, and is not known yet. The record must be kept."""

    steps_if_pending: ClassVar[tuple[Hint, ...]] = (
        Hint(HintKind.KEEP_WAITING),
        Hint(HintKind.GIVE_UP),
    )
    steps_if_undecided: ClassVar[tuple[Hint, ...]] = (
        Hint(HintKind.ASK_AGAIN),
        Hint(HintKind.GIVE_UP),
    )


class _GuardPending(Pending):
    """The same of a guard's, which no state keeps."""

    steps_if_pending = (Hint(HintKind.GUARD_RESUMES),)
    steps_if_undecided = (Hint(HintKind.GUARD_RESUMES),)


async def create(  # noqa: PLR0913  what is known of it
    session: Session,
    inputs: SnapshotInputs,
    listener: Listener,
    owner: str | None = None,
    *,
    forced: bool = False,
    needs_url: bool = True,
    not_adopted: str | None = None,
    earlier: SnapshotRecord | None = None,
    once: bool = False,
) -> SnapshotRecord:
    """Take a snapshot and wait until the listing shows it; see `SnapshotOperation`.

    Args:
        session: The session of the process.
        inputs: What is asked for.
        listener: Shows the progress.
        owner: The resource's URN, or the command.
        forced: See `SnapshotOperation`.
        needs_url: See `SnapshotOperation`.
        not_adopted: See `SnapshotOperation`.
        earlier: A pending snapshot of an earlier run, which is waited for with the whole time-out
            again, and requested again if it was never taken. None for a new snapshot.
        once: Whether `earlier` is to be polled once: the result may then be unchanged, and nothing
            is requested.

    Returns:
        The snapshot, complete unless it was polled `once`.

    Raises:
        Pending: If the snapshot was or may have been started, so that the record must be kept.
            After any other error, nothing was started.
    """
    request = earlier.attempt if earlier else None
    if earlier is not None and request is None:
        return earlier
    with session.fleet.joins(listener) as member:
        operation = SnapshotOperation(
            session,
            inputs,
            member,
            owner,
            forced=forced,
            needs_url=needs_url,
            not_adopted=not_adopted,
        )
        if request is not None:
            operation.resume(request)
        if once and earlier is not None:
            return await operation.polled() or earlier
        return await operation.carry_out()


class SnapshotOperation(Operation):
    """The create or the resume of a snapshot, for a guard too.

    Args:
        session: The session of the process.
        inputs: What is asked for.
        member: Shows the progress.
        owner: The resource's URN, the guard, or the command.
        forced: Whether another snapshot is wanted, whatever earlier runs have left.
        needs_url: Whether to wait for its pinned URL, which only a listing has, if an answer has
            named its version.
        last_change: A guard's, see `Reuse`. No resource and no state keeps its snapshot: any
            snapshot will do that is young enough, and was requested after the last change.
        not_adopted: A version that must not be adopted, because the new snapshot replaces it.
        shared_in: A guard's: the run in which a Snapshot may use the snapshot too.
    """

    def __init__(  # noqa: PLR0913  each is a fact of its own
        self,
        session: Session,
        inputs: SnapshotInputs,
        member: Member,
        owner: str | None,
        *,
        forced: bool = False,
        needs_url: bool = True,
        last_change: LastChange | None = None,
        not_adopted: str | None = None,
        shared_in: str | None = None,
    ) -> None:
        wish = session.wish(
            "snapshot",
            owner,
            inputs.database_id,
            triggers=inputs.triggers,
            timeout=inputs.timeout,
            forced=forced,
            reuses=timedelta(seconds=inputs.reuse_within)
            if inputs.reuse_within
            else None,
            shared_in=shared_in,
        )
        not_done = f"No snapshot of database {inputs.database_id} was taken."
        super().__init__(session, member, wish, not_done=not_done)
        self.inputs = inputs
        self.needs_url = needs_url
        self.database_id = inputs.database_id
        self.reuse = Reuse(session, inputs, self, last_change)
        self._is_guard = last_change is not None
        self._replaced = not_adopted
        self._finished = NOT_FINISHED  # what a 200 has told
        # Whether another snapshot of the database held up the request.
        self._is_behind = False

    async def carry_out(self) -> SnapshotRecord:
        """Complete what an earlier run has started, adopt a snapshot, or take one.

        Returns:
            The snapshot, complete; its URL is not pinned, and the user is warned, if the answer
            named the version and no listing showed it in time.

        Raises:
            Pending: A request was or may have been sent, and its snapshot is not known yet.
            SquareCloudError: The service refused the request, and nothing was started.
            LedgerUnavailable: Nothing was sent, since the ledger cannot be used.
        """
        why = ""
        cause: ProviderError | None = None
        try:
            return await self.in_time(self._record())
        except TimeIsUp as time_is_up:
            why = str(time_is_up)
        except (SquareCloudError, AmbiguousSnapshot, LedgerUnavailable) as error:
            if self.attempt is None:  # nothing was started
                raise
            cause = error
        if self._finished.version is not None and not isinstance(
            cause, LedgerUnavailable
        ):
            return await self._complete(self._finished.version, cause=cause)
        is_undecided = isinstance(cause, AmbiguousSnapshot)
        raise self._unresolved(why, undecided=is_undecided, cause=cause) from cause

    async def _record(self) -> SnapshotRecord:
        await self.enter_resumed()
        while True:
            adopted = await self._adopt_or_send()
            if adopted is not None:
                return adopted
            record = await self._found_by_other()
            if record is None:
                async with self.session.locks[self.sent.id]:
                    record = await self._find()
            if record is not None and not await self._has_become_worthless():
                return record

    # Before the request ---------------------------------------------------------------------------

    async def _adopt_or_send(self) -> SnapshotRecord | None:
        """Make sure that a request was sent; returns a snapshot that was adopted instead."""
        is_first = True
        self._finished = NOT_FINISHED
        with self.session.poll_plan.expecting():
            claim = await self.next_claim()
            while claim is not None:
                if claim.role == "in the way":
                    await self.wait_out(claim.attempt, self._settle)
                else:
                    # Each request of a listing can keep the service's page old. After a wait or a
                    # refusal, though, only a new page shows the snapshot that was waited for, or
                    # that of an earlier request of this resource which the run does not know.
                    polls_now = not is_first or self.waits_for is not None
                    is_first = False
                    self.waits_for = None
                    adopted = await self._adopt(polls_now=polls_now)
                    if adopted is not None:
                        return adopted
                    await self._send()
                claim = await self.next_claim()
        return None

    async def _send(self) -> None:
        """Send the request; a refusal that passes is waited out."""
        path = f"POST /databases/{self.database_id}/snapshots"
        try:
            await self.send(CREATE, path, self._post)
        except SquareCloudError as error:
            if isinstance(error, QuotaUsedUp):
                await explain_quota(error, self.database_id, self.session.listings)
            self._is_behind = self._is_behind or isinstance(error, SnapshotRunning)
            await self.try_again(error)

    async def _post(self, leaving: Leaving) -> PostAnswer:
        answer = await self.session.client.start_snapshot(
            self.database_id, leaving=leaving
        )
        self._finished = answer.finished or NOT_FINISHED
        return answer

    async def _settle(self, other: Attempt) -> None:
        """Wait until another request of this database is over, and enter its end for its owner."""
        ledger = self.session.ledger
        claimed = self._versions_of(await ledger.snapshots(self.database_id))
        try:
            entry = await self._listed(other, partial(self.show_other, other), claimed)
        except AmbiguousSnapshot:
            # Only the other request's owner needs to know which snapshot is its own. All that are
            # listed must be clearly older than this operation's request.
            self.ignore(other)
            await self.session.clock.sleep(CLEAR.total_seconds())
            return
        # Without an entry, the request is so old by now that no other one waits for it.
        if isinstance(entry, ListedSnapshot):
            await ledger.end(other, entry.version or "", holds=CLEAR)

    # In place of a request ------------------------------------------------------------------------

    async def _adopt(self, *, polls_now: bool) -> SnapshotRecord | None:
        """Adopt the newest manual snapshot younger than `reuse_within`; None if none will do."""
        if not self.inputs.reuse_within:
            return None
        self.show_step("looking for a snapshot to reuse")
        found = await self.reuse.newest(self._not_adopted, polls_now=polls_now)
        if found is None:
            return None
        if await self.reuse.is_candidate_worthless(found):
            self._note_worthless(found)
            return None
        record = await self._adopted(found.entry)
        which = taken_text(record, self.session.service_clock.now())
        instead = Message(
            "adopted {which} instead of taking a new snapshot ({reuse_within})",
            which=which,
        )
        self.member.note(instead)
        return record

    @property
    def _not_adopted(self) -> set[str]:
        """Versions that must not be adopted.

        These are the replaced version, and the versions that this run's resources have. A guard
        uses any snapshot, no matter who has requested it.
        """
        if self._is_guard:
            return set()
        memory = self.session.memory
        own = set[str]() if self._replaced is None else {self._replaced}
        return memory.versions(self.database_id, memory.taken) | own

    async def _adopted(self, entry: ListedSnapshot) -> SnapshotRecord:
        """The record of an adopted snapshot, which the ledger may know before the listing."""
        if not entry.name and self.needs_url:
            listed, _ = await wait_for_version(
                self.session.poll_plan,
                self.database_id,
                entry.version or "",
                self.member.waits,
                patience=self.inputs.timeout,
            )
            entry = listed or entry
        if entry.name:
            return await self._own_record(entry)
        return await describe(self.session, self.database_id, entry)

    def _note_worthless(self, found: Candidate) -> None:
        why = "changed or restored" if self._is_guard else "restored"
        which = f"{self.database_id}/{found.entry.version}"
        line = f"snapshot {which} is not used again: the database was {why} since"
        if self.session.memory.is_first(line):
            self.member.note(line)

    # After the request ----------------------------------------------------------------------------

    async def polled(self) -> SnapshotRecord | None:
        """Poll once for what an earlier run has requested, no earlier than a wait would.

        Returns:
            The snapshot; None if no page lists it.
        """
        # Without a ledger, each of hundreds would try to enter its result, and hold up the run.
        session = self.session
        others = await self.known_attempts(needed=True)
        attempt = self.sent
        await session.know_time(self.database_id, briefly=True)
        is_answered = (
            attempt.request.answered == "200" or attempt.status is Status.FOUND
        )
        if not is_answered and self.age < session.poll_plan.settings.first_alone:
            return None  # The update polls in time; a preview, which has none, must not poll.
        recent = session.listings.recent
        page = await session.listings.page(
            self.database_id, recent, patience=ONCE, together=True
        )
        entry = self._awaited(attempt, self._versions_of(others)).find_on(page)
        if entry is None:
            return None
        if await self._later_request(attempt, entry) is not None:
            return None  # the wait that follows finds out whose snapshot is listed
        return await self._complete(entry.version or "", entry)

    async def _found_by_other(self) -> SnapshotRecord | None:
        """Use what another operation of this process finds, as soon as that knows the version.

        Returns:
            The snapshot; None if no other operation waits for it.
        """
        attempt = self.sent
        lock = self.session.locks[attempt.id]
        if lock.locked():
            self.show_other(attempt)
        while lock.locked():
            ended = await self.entered_end(attempt)
            if ended is not None:
                self.attempt = ended
                return await self._complete_found(ended)
            await self.session.clock.sleep(self.follows_every)
        return None

    async def _find(self) -> SnapshotRecord | None:
        """Wait until the snapshot of the attempt is listed.

        Returns:
            The snapshot; None if there is something else to wait for, or to request. The snapshot
            is requested again only if it was certainly never taken.
        """
        session = self.session
        others = await self.known_attempts()
        attempt = self.sent
        if attempt.status is Status.FOUND:
            return await self._complete_found(attempt)
        claimed = self._versions_of(others)
        await self._check_named_version(attempt, claimed)
        if self._finished.version is not None:
            # Others need no URL.
            await self.enter_result(self._finished.version, holds=CLEAR)
        if self._finished.version is None or self.needs_url:
            with suppress(NothingSent):
                await session.know_time(self.database_id)
            entry = await self._listed(self.sent, self.show_poll, claimed)
            if isinstance(entry, Attempt):
                self.attempt = entry
                return await self._complete_found(entry)
            if entry is not None:
                return await self._complete(entry.version or "", entry)
        if self._finished.version is not None:
            return await self._complete(self._finished.version)
        why = await self._why_not_absent(attempt, claimed)
        if why is not None:
            raise self._unresolved(why, undecided=True)
        await self._request_again(attempt)
        return None

    async def _check_named_version(
        self, attempt: Attempt, claimed: Collection[str]
    ) -> None:
        """Do not believe an answer that names the version of an older snapshot.

        The request then counts as accepted, and the listing shows its snapshot. An answer
        whose version no page lists yet is believed.
        """
        version = self._finished.version
        if version is None:
            return
        named: ListedSnapshot | None = None
        with suppress(SquareCloudError):
            since = self.session.clock.monotonic()
            page = await self.session.listings.own_page(
                self.database_id, since, patience=ONCE
            )
            named = page.version(version)
        oldest = attempt.request.posted_at - SKEW
        is_older = (
            named is not None and named.modified is not None and named.modified < oldest
        )
        if is_older or version in claimed:
            self._finished = NOT_FINISHED

    async def _complete_found(self, attempt: Attempt) -> SnapshotRecord:
        """Complete from the ledger what an earlier run has found."""
        version = attempt.result or ""
        if not self.needs_url:
            entry = await self.session.listings.find_version(self.database_id, version)
            return await self._complete(version, entry)
        entry, _ = await wait_for_version(
            self.session.poll_plan,
            self.database_id,
            version,
            self.member.waits,
            patience=min(PINNING, self.inputs.timeout),
        )
        return await self._complete(version, entry)

    async def _request_again(self, attempt: Attempt) -> None:
        """Withdraw a request whose snapshot was never taken, unless another run knows more."""
        known = await self.session.ledger.attempts()
        if not await self.withdraw():
            return
        # The snapshots that runs had taken before this request are those that it was to replace.
        for each in known:
            is_earlier = each.request.posted_at < attempt.request.posted_at
            if is_earlier and self.wish.is_mine(each):
                self.ignore(each)
        which = f"the snapshot requested at {to_the_second(attempt.request.requested)}"
        never_taken = f"{which} was never taken: the service's listing lacks it"
        self.member.note(f"{never_taken}. Another snapshot is requested")

    def _versions_of(self, others: Collection[Attempt]) -> set[str]:
        """Versions that are of other requests, or of none."""
        memory = self.session.memory
        in_memory = memory.versions(self.database_id, memory.seen | memory.taken)
        found = {each.result or "" for each in others if each.has_snapshot}
        return in_memory | found

    def _awaited(self, attempt: Attempt, claimed: Collection[str]) -> AwaitedSnapshot:
        """What is known of the snapshot of a request, this operation's or another one's."""
        is_own = attempt is self.attempt
        named = self._finished.version if is_own else None
        return AwaitedSnapshot(
            attempt.request,
            attempt.database_id,
            attempt.result or named,
            claimed,
            is_behind=self._is_behind and is_own,
            is_finished=self._finished is not NOT_FINISHED and is_own,
            is_any=self._is_guard and is_own,
            age=self.age,
        )

    async def _listed(
        self,
        attempt: Attempt,
        waits: Callable[..., None],
        claimed: Collection[str] = (),
    ) -> ListedSnapshot | Attempt | None:
        """Poll until the snapshot of a request is listed.

        Returns:
            Its entry; None if no page lists the snapshot some minutes after it must be listed; or
            the attempt, if another process has entered its end meanwhile.
        """
        claimed = set(claimed)
        while True:
            awaited = self._awaited(attempt, claimed)
            wait = ListingWait(self.session.poll_plan, awaited, waits)
            if awaited.version is not None:
                return await wait.until_listed(PINNING)
            entry = await self._listed_or_ended(attempt, wait)
            if entry is None or isinstance(entry, Attempt) or awaited.is_any:
                return entry
            later = await self._later_request(attempt, entry)
            if later is None:
                return entry
            if later.is_over:
                claimed.add(entry.version or "")
            else:
                self.member.progress(
                    "waiting for a later request, to which the listed snapshot may belong"
                )
                await self.session.clock.sleep(self.session.settings.poll_every)

    async def _listed_or_ended(
        self, attempt: Attempt, wait: ListingWait
    ) -> ListedSnapshot | Attempt | None:
        """Wait for the listing, or until the ledger has the end of an attempt."""
        if len(self.session.fleet.members) >= MANY:
            return await wait.until_listed()  # so many waits would only read the ledger
        found: list[ListedSnapshot | Attempt | None] = []

        async def follow() -> None:
            ended: Attempt | None = None
            while ended is None:
                await self.session.clock.sleep(self.follows_every)
                ended = await self.entered_end(attempt)
            found.append(ended)
            group.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(follow)
                found.append(await wait.until_listed())
                group.cancel_scope.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return found[0]

    async def _later_request(
        self, attempt: Attempt, entry: ListedSnapshot
    ) -> Attempt | None:
        """Another request that an entry may be of, sent when nothing waited for the attempt.

        Returns:
            The request, which is under way or has led to the entry; None if there is none.
        """
        now = self.session.service_clock.now()
        if now < attempt.waited_for_until or entry.modified is None:
            return None
        attempts: list[Attempt] = []
        with suppress(LedgerUnavailable):
            attempts = await self.session.ledger.attempts()
        latest = entry.modified + SKEW
        for each in attempts:
            same_database = (each.kind, each.database_id) == (
                "snapshot",
                attempt.database_id,
            )
            is_later = attempt.request.posted_at < each.request.posted_at <= latest
            is_under_way = not each.is_over and now < each.waited_for_until
            if (
                same_database
                and is_later
                and (is_under_way or each.result == entry.version)
            ):
                return each
        return None

    async def _why_not_absent(
        self, attempt: Attempt, claimed: Collection[str]
    ) -> str | None:
        """Why it is not certain that the service never made the snapshot of a request.

        Returns:
            A sentence; None if that is certain.
        """
        listings = self.session.listings
        page = await listings.own_page(attempt.database_id, listings.recent)
        kept_until = self.session.memory.ends_of(attempt.database_id)
        return why_not_absent(page, attempt.request, claimed, kept_until)

    async def _has_become_worthless(self) -> bool:
        """Whether the snapshot that was waited for must not be used, and another is needed."""
        is_reused = self.is_command and self.is_resumed
        if not self._is_guard and not is_reused:
            return False
        attempt = self.sent
        if self._is_guard and self.reuse.is_too_old(attempt.request.posted_at):
            why = "it was requested too long ago"
        elif await self.reuse.is_worthless(attempt.request.posted_at):
            why = "the database was changed or restored during the wait"
        else:
            return False
        which = f"the snapshot requested at {to_the_second(attempt.request.posted_at)}"
        self.member.note(f"{which} is not used: {why}. Another snapshot is taken")
        self.attempt = None
        self.is_resumed = False
        return True

    # The end --------------------------------------------------------------------------------------

    async def _complete(
        self,
        version: str,
        entry: ListedSnapshot | None = None,
        cause: ProviderError | None = None,
    ) -> SnapshotRecord:
        """The snapshot of the attempt, as far as it is known.

        Args:
            version: Its version.
            entry: What a listing shows of the snapshot; None if no listing shows it.
            cause: Why no listing shows it, if polls failed.
        """
        attempt = self.sent
        unlisted = ListedSnapshot.model_construct(
            name="", version_id=version, url=self._finished.url
        )
        record = await self._own_record(entry or unlisted, requested=attempt)
        self._tell(record, attempt, is_listed=entry is not None, cause=cause)
        if attempt.status is not Status.FOUND:
            self._warn_of_late(attempt, version, entry)
            await self.enter_result(version, holds=CLEAR)
        return record

    async def _own_record(
        self, entry: ListedSnapshot, requested: Attempt | None = None
    ) -> SnapshotRecord:
        """The record of a snapshot, which belongs to this operation's resource from now on.

        A Snapshot may adopt a guard's, since nothing else keeps a guard's snapshot.
        """
        memory = self.session.memory
        record = await describe(
            self.session,
            self.database_id,
            entry,
            base_url=self._finished.url,
            requested=requested.request.requested if requested else None,
        )
        if not self._is_guard:
            memory.note_taken({record.id})
        memory.remember_request(record.id, record.requested_at)
        self.member.progress(f"found snapshot {record.version_id}")
        return record

    def _tell(
        self,
        record: SnapshotRecord,
        attempt: Attempt,
        *,
        is_listed: bool,
        cause: ProviderError | None,
    ) -> None:
        """Leave a line about a snapshot that is not simply a new one."""
        now = self.session.service_clock.now()
        is_of_anybody = self._is_guard or self.is_command
        if self.is_resumed and (self.is_in_state or is_of_anybody):
            self.member.note(
                f"found {taken_text(record, now)}; no new request was sent"
            )
        elif self.is_shared:
            which = taken_text(record, now)
            self.member.note(f"uses {which}, which a guard of this run has requested")
        elif self.is_resumed:
            age = spoken(self.age)
            earlier = "was taken by an earlier run that may not have saved its state"
            when = f"{age} ago ({record.requested_at})"
            taken = f"snapshot {record.id} {earlier}, {when}: none is taken now."
            self.warn(taken, HintKind.TAKE_NEW)
        elif not is_listed and self.needs_url:
            self._warn_of_newest(record, cause)
        elif now - attempt.request.posted_at > timedelta(seconds=self.inputs.timeout):
            age = spoken(attempt.request.age(now))
            slept = "this machine was asleep or stopped meanwhile"
            self.warn(
                f"snapshot {record.id} was requested {age} ago ({record.requested_at}), longer "
                f"than the time-out: {slept}. It does not hold what was written since.",
                HintKind.TAKE_NEW,
            )

    def _warn_of_newest(
        self, record: SnapshotRecord, cause: ProviderError | None
    ) -> None:
        """Warn that the URL of a snapshot that is not listed is not pinned to it."""
        serves = "always serves the newest snapshot of the database"
        why: AnyMessage = (
            cause.happened if cause else "the service does not list it yet"
        )
        newest = f"the download URL of snapshot {record.id} {serves}"
        self.warn(Message("{newest}: {why}.", newest=newest, why=why), HintKind.REFRESH)

    def _warn_of_late(
        self, attempt: Attempt, version: str, entry: ListedSnapshot | None
    ) -> None:
        """Warn of a match whose only reason is that no other snapshot is listed."""
        posted_at = attempt.request.posted_at
        taken_at = entry.modified if entry else None
        is_named = self._finished is not NOT_FINISHED
        if taken_at is None or is_named or taken_at <= posted_at + LATEST_OF_LOST:
            return
        which = f"snapshot {version} of database {self.database_id}"
        matched = f"was matched to the request of {to_the_second(posted_at)}"
        time = to_the_second(taken_at)
        self.member.warn(
            f"{which} {matched}, although its time is {time}: no earlier snapshot is listed"
        )

    def _unresolved(
        self,
        why: str = "",
        *,
        undecided: bool = False,
        cause: ProviderError | None = None,
    ) -> Pending:
        """The error of an unknown end, see `NotFinished`; `why` the wait ended is a sentence."""
        attempt = self.sent
        request = attempt.request
        requested = to_the_second(request.requested)
        record = SnapshotRecord(
            self.database_id, attempt=request, requested_at=requested
        )
        if attempt.result is not None:
            how = f"found as {attempt.result}."
        elif request.accepted:
            how = f"accepted ({request.answered}), but is not listed yet."
        else:
            unknown = "it may or may not have been started, and is not listed yet"
            how = f"{request.unanswered}: {unknown}."
        happened = (
            f"A snapshot of database {self.database_id} was requested at "
            f"{requested} and {how}"
        )
        kind = _GuardPending if self._is_guard else Pending
        return kind(
            record, f"{happened} {why}".rstrip(), undecided=undecided, cause=cause
        )
