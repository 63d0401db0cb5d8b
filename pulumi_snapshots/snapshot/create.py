"""Create and resume: one POST at most, then waiting for exactly the snapshot that it started."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import anyio

from pulumi_snapshots.api.errors import Cooldown, QuotaUsedUp, RestoreRunning, SnapshotRunning, SquareCloudError
from pulumi_snapshots.api.models import Finished, ListedSnapshot, RestoreStatus
from pulumi_snapshots.api.pacing.limits import SNAPSHOT_PER_DATABASE
from pulumi_snapshots.attempt.attempt import Attempt
from pulumi_snapshots.attempt.journal import Entry
from pulumi_snapshots.attempt.memory import UnresolvedPost
from pulumi_snapshots.attempt.owner import UNKNOWN_ASKER, Asker
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import NothingSent, Unresolved
from pulumi_snapshots.errors.text import Text
from pulumi_snapshots.listing.absence import proves_failure
from pulumi_snapshots.listing.match import (
    CREATE_COOLDOWN,
    LATE,
    SKEW,
    SKEW_UNKNOWN_CLOCK,
    AmbiguousSnapshot,
    Search,
    find_ours,
    late_text,
    may_be_ours,
)
from pulumi_snapshots.listing.wait import PINNING, ListingWait
from pulumi_snapshots.progress import Listener, Member
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.other_restores import until_free
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.describe import describe, found_text, taken_text
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.record import SnapshotRecord, requested_text

CLEAR = SKEW + timedelta(seconds=1)
"""How long a POST waits after a snapshot of the same database: longer than the skew that finding it allows."""
HINTED_POLLS = SNAPSHOT_PER_DATABASE
"""Seconds of polling after a first KEEP_CALM: our own earlier attempt may still be running."""


class Pending(Unresolved[SnapshotRecord]):
    """The snapshot was started, or may have been, and is not known yet. It must be kept."""

    resumes = (Next(Step.KEEP_WAITING), Next(Step.GIVE_UP))
    stays = (Next(Step.ASK_AGAIN), Next(Step.GIVE_UP))
    kept_here = Next(Step.SNAPSHOT_KEPT_HERE)
    not_kept = Next(Step.SNAPSHOT_NOT_KEPT)


async def create(
    session: Session, inputs: SnapshotInputs, listener: Listener, asker: Asker = UNKNOWN_ASKER
) -> SnapshotRecord:
    """Take a snapshot and wait until the listing shows exactly it.

    Args:
        session: the service.
        inputs: checked.
        listener: gets the progress.
        asker: who asks for it.

    Raises:
        Pending: the snapshot was or may have been started, and the wait for it ended; keep the record.
        NothingSent: it timed out or was interrupted before a request was sent.
        SquareCloudError: the service refused; nothing was started.
    """
    with session.fleet.joins(listener) as member:
        return await SnapshotAttempt(session, inputs, member, asker).to_its_end()


async def resume(
    session: Session, record: SnapshotRecord, inputs: SnapshotInputs, listener: Listener, *, owner: str | None = None
) -> SnapshotRecord:
    """Keep waiting for a pending snapshot, with the whole time-out again; never sends a POST.

    Raises:
        Pending: it is still not there, or the service refuses to show the listing; keep the record.
    """
    if record.attempt is None or not record.pending:
        return record
    with session.fleet.joins(listener) as member:
        attempt = SnapshotAttempt(session, inputs, member, Asker(owner))
        async with attempt.running(record.attempt):
            await attempt.settle_overdue()
            return await attempt.wait()


class SnapshotAttempt(Attempt):
    """One create or resume."""

    what: ClassVar[str] = "snapshot"
    passing: ClassVar[tuple[type[SquareCloudError], ...]] = (Cooldown, RestoreRunning, SnapshotRunning)
    outcome: SnapshotRecord
    """The result of an early end, if `completes_early`."""

    def __init__(self, session: Session, inputs: SnapshotInputs, member: Member, asker: Asker) -> None:
        super().__init__(session, inputs.database_id, member, asker, purpose=inputs.purpose, timeout=inputs.timeout)
        self._session = session
        self._reuse = timedelta(seconds=inputs.reuse_within)
        self._memory = session.memory.of(inputs.database_id)
        self._finished: Finished | None = None
        self._finished_at: datetime | None = None
        self._others: set[str] = set()
        self._orphans: set[str] = set()
        self._hinted = False
        self._behind = False
        self._adopted: SnapshotRecord | None = None
        self._known: UnresolvedPost | None = None

    async def to_its_end(self) -> SnapshotRecord:
        """Take a snapshot, adopt one, or complete what an earlier run has started; see `create`."""
        async with self.running():
            await self.settle_overdue()
            return (None if self.resumed else await self.take()) or await self.wait()
        return self.outcome  # the time is over, and a 200 had named the version

    # What it is for ------------------------------------------------------------------------------------------------------

    needs_url: ClassVar[bool] = True
    """Whether it waits for the pinned URL after a 200 has named the version."""

    def may_adopt(self, version_id: str, modified: datetime) -> bool:
        """Whether `reuse_within` may adopt a manual snapshot of this time, by the service's clock."""
        taken = self._memory.not_reusable | (self._others - self._orphans)
        return modified >= self._session.service_clock.now() - self._reuse and version_id not in taken

    def claim(self, version_id: str) -> None:
        """Note that the resource has this snapshot, so that no other one takes it for its own."""
        self._memory.claimed.add(version_id)

    # The journal and the run's memory ------------------------------------------------------------------------------------

    def note_other(self, entry: Entry) -> None:
        """Remember another attempt on this database."""
        if entry.finished is not None:
            self._memory.known.add(entry.finished)
            return
        if self.age_of(entry.post) > entry.post.failed_after.total_seconds():
            return  # its snapshot is not to come any more
        # No resource will claim what an earlier run of this one left. Another resource's next run claims its own.
        orphaned = not entry.in_state and entry.owner in {None, self.owner}
        self._memory.note_post(UnresolvedPost(entry.owner, entry.post, orphaned=orphaned))

    def on_entered(self, found: frozenset[str]) -> None:
        """Exclude what others have found by now: it is not the snapshot of this POST."""
        self._memory.known |= found

    def set_post(self, post: Post | None) -> None:
        """Remember the POST for the whole run, so that no other resource takes its snapshot."""
        super().set_post(post)
        if self._known is not None:
            self._memory.resolve(self._known)
        self._known = None if post is None else UnresolvedPost(self.owner, post)
        if self._known is not None:
            self._memory.note_post(self._known)

    # Before the POST -----------------------------------------------------------------------------------------------------

    async def take(self) -> SnapshotRecord | None:
        """Adopt a snapshot and return its record, or send the POST.

        Raises:
            SquareCloudError: the service refused; nothing was started.
        """
        if record := await self._come_after_all():
            return record
        await self._settle_earlier_attempts()
        if record := await self.adopt():
            return record
        with self._session.poll_plan.expecting_post():
            self.step = "queued"
            if (newest := self._memory.newest_in_state) is not None:
                age = (self._session.service_clock.now() - newest).total_seconds()
                self._session.rate_limiter.note_earlier_post(self.database_id, age)
            await self._keep_clear()
            try:
                await self.send(self._start, self._waits_out)
            except QuotaUsedUp as error:
                await self._session.quota_hint.explain(error, self.database_id)
                raise
        return self._adopted

    async def prepare_again(self) -> bool:
        """Another run was faster: adopt its snapshot, or keep it apart from ours."""
        await self._settle_earlier_attempts()
        self._adopted = await self.adopt(again=True)
        await self._keep_clear()
        return self._adopted is not None

    async def _settle_earlier_attempts(self) -> None:
        """Wait until no earlier attempt on this database could be mistaken for ours.

        Another resource's accepted one is waited for until it is found or has failed. One of this resource itself was given
        up when this create was asked for, so it gets no longer than a snapshot takes, as does one whose answer was lost.
        """
        for known in tuple(self._memory.unresolved):
            given_up = known.owner is None or known.owner == self.owner
            # The age of a POST from the future is not known: this machine's clock was ahead then.
            given_up |= known.post.posted_at > self._session.clock.utc() + SKEW_UNKNOWN_CLOCK
            longest_ever = known.post.failed_after.total_seconds()
            longest = known.post.failed_after if known.post.accepted and not given_up else LATE
            patience = (longest + CLEAR).total_seconds() - self.age_of(known.post)
            self.show_step("waiting for an earlier snapshot of this database")
            try:
                with anyio.move_on_after(max(0.0, patience)) as waited:
                    await self._settle(known)
                if waited.cancelled_caught and known.post.accepted and self.age_of(known.post) < longest_ever:
                    self.rival = Search.of(known.post, self._session.service_clock.offset).posted
            except AmbiguousSnapshot as either:
                # Both were started before ours.
                self._others.update(entry.version or "" for entry in either.candidates)
            self._memory.resolve(known)
            if known.orphaned:
                await self._session.journals["snapshot"].erase_post(self.database_id, known.post)

    async def _settle(self, known: UnresolvedPost) -> None:
        wait = ListingWait(self._session, self.database_id, known.post, self.member, others=self._others)
        entry = await wait.until_listed(first_after=0.0, settled=lambda: known not in self._memory.unresolved)
        if entry is not None:
            self._others.add(entry.version or "")
            (self._orphans if known.orphaned else self._memory.reserved).add(entry.version or "")
            self._memory.note_snapshot(entry.modified)
            if known.owner not in {None, self.owner} and entry.modified is not None:
                # It stays pending until its own resource finds it, and could not tell it from one that ends so close.
                apart = entry.modified + CREATE_COOLDOWN + CLEAR - self._session.service_clock.now()
                self.show_step("waiting: the previous snapshot of this database is not resolved yet")
                await self._session.clock.sleep(apart.total_seconds())

    async def _come_after_all(self) -> SnapshotRecord | None:
        """The snapshot that this one was to replace since it never came, if the service lists it now.

        Raises:
            AmbiguousSnapshot: two entries could be it.
            NothingSent: the listing does not prove any more that it never came.
        """
        failed = self._memory.failed.pop(self.owner, None)
        if failed is None:
            return None
        self.show_step("polling again for the snapshot that never came")
        page = await self._session.listings.own_page(self.database_id, self._session.clock.monotonic())
        search = Search.of(failed, self._session.service_clock.offset, excluded=self._memory.not_new)
        entry = find_ours(page.entries, search, page.listing.service_time)
        if entry is not None:
            record = await self._claimed(entry, requested=failed.requested)
            self.member.note(found_text(record, self._session.service_clock.now()))
            return record
        if not proves_failure(page, search, failed, self._memory):
            raise NothingSent(
                f"{self.not_done} The service's listing does not prove any more that the one requested at "
                f"{requested_text(failed.requested)} never came",
                then=[Next(Step.RUN_AGAIN), Next(Step.GIVE_UP)],
            )
        return None

    async def settle_overdue(self) -> None:
        """End what an earlier run has sent so long ago that its snapshot would be listed by now.

        One that the state has is for a read to prove; what only the journal has is given up here.

        Raises:
            Pending: an entry may be ours, and waiting will not tell.
        """
        if not self.resumed or self.finished is not None or self.age <= self.sent.failed_after.total_seconds():
            return
        self.show_step("looking for the snapshot of an earlier run")
        page = await self._session.listings.own_page(self.database_id, self._session.listings.recent)
        search = self._listing_wait().search()
        try:
            if find_ours(page.entries, search, page.listing.service_time) is not None:
                return
        except AmbiguousSnapshot as either:
            raise self.unresolved_error(cause=either, undecided=True) from either
        if others := may_be_ours(page.entries, search):
            listed = ", ".join(
                f"{one.version} ({to_the_second(one.modified) if one.modified else 'no time'})" for one in others
            )
            raise self.unresolved_error(
                f"The service lists what may be it, or somebody else's: {listed}.", undecided=True
            )
        if not self.in_state and proves_failure(page, search, self.sent, self._memory):
            await self.give_up_resumed()

    async def adopt(self, *, again: bool = False) -> SnapshotRecord | None:
        """The newest manual snapshot younger than `reuse_within`, if any; `again` if only a newer page could show one."""
        if not self._reuse:
            return None
        self.show_step("looking for a snapshot to reuse")
        listings = self._session.listings
        page = await listings.read_page(self.database_id, self._session.clock.monotonic() if again else listings.recent)
        fitting = [
            (entry.modified, entry)
            for entry in page.entries
            if entry.origin == "manual"
            and entry.modified is not None
            and self.may_adopt(entry.version or "", entry.modified)
        ]
        if not fitting:
            return None
        return self.note_adopted(await self._claimed(max(fitting, key=lambda candidate: candidate[0])[1]))

    def note_adopted(self, record: SnapshotRecord) -> SnapshotRecord:
        """The same record, with a line that lasts."""
        which = taken_text(record, self._session.service_clock.now())
        self.member.note(Text("adopted {which}, instead of taking one ({reuse_within})", which=which))
        return record

    # The POST ------------------------------------------------------------------------------------------------------------

    async def _start(self, on_send: Callable[[], Awaitable[None]]) -> str:
        answer = await self._session.client.start_snapshot(self.database_id, on_send=on_send, on_wait=self.member.waits)
        if not isinstance(answer, Finished):
            return "202"
        self._finished, self._finished_at = answer, self._session.service_clock.now()
        return "200"

    async def _waits_out(self, refusal: SquareCloudError) -> bool:
        """Wait for the end of what the POST was refused for, before it is sent again.

        Returns:
            Whether a snapshot was adopted meanwhile, so that none is needed any more.
        """
        clock, began = self._session.clock, self._session.clock.monotonic()
        if isinstance(refusal, RestoreRunning):
            self.show_step("waiting for the end of a restore of this database")
            with suppress(SquareCloudError):  # the next POST shows whether it is over
                await until_free(self._session, self.show_step, self._restore)
        else:
            self._behind = isinstance(refusal, SnapshotRunning)
            if await self._adopts_hinted(refusal):
                return True
            if not self._behind:
                return False
            self.show_step("waiting for the end of another snapshot of this database")
        await clock.sleep(began + self._session.poll_every - clock.monotonic())
        return False

    async def _restore(self) -> RestoreStatus | None:
        return await self._session.client.restore_status(self.database_id)

    async def _adopts_hinted(self, refusal: SquareCloudError) -> bool:
        """On the first refusal, wait for the snapshot of an earlier attempt of ours that may still be running."""
        if self._hinted or not self._reuse or not isinstance(refusal, (Cooldown, SnapshotRunning)):
            return False
        self._hinted = True
        ends = self._session.clock.monotonic() + HINTED_POLLS
        while self._adopted is None and self._session.clock.monotonic() < ends:
            self.member.progress(f"{refusal.code}: checking for an earlier attempt that is still running")
            await self._session.clock.sleep(self._session.poll_every)
            self._adopted = await self.adopt(again=True)
        return self._adopted is not None

    async def _keep_clear(self) -> None:
        """Wait until the newest known snapshot is clearly older than our POST, also for a later run that knows neither."""
        if (newest := self._memory.newest_known) is not None:
            age = self._session.service_clock.now() - newest
            # It may seem to be in the future, if the service's clock is not known.
            await self._session.clock.sleep((CLEAR - max(age, timedelta(0))).total_seconds())

    async def answered(self, how: str) -> None:
        """Note how the POST was answered. A 200 is saved with the next wait, since its snapshot is likely listed at once.

        A run that is killed before that leaves a lost answer, and a snapshot that is whole already is still found.
        """
        self.update(answered=how)
        if how != "200":
            await self.save()

    # After the POST ------------------------------------------------------------------------------------------------------

    async def wait(self) -> SnapshotRecord:
        """Wait until a listing shows the snapshot of our POST.

        Raises:
            Pending: the service refuses to show it, or two snapshots could be ours.
        """
        if self.finished is not None:
            return await self._of_earlier_run(self.finished)
        wait = self._listing_wait()
        try:
            if self._finished is not None:
                return await self._until_pinned(wait)
            return await self._until_found(wait, age=self.age)
        except (SquareCloudError, AmbiguousSnapshot) as error:
            if unlisted := self._unlisted(error):
                return unlisted
            raise self.unresolved_error(cause=error, undecided=isinstance(error, AmbiguousSnapshot)) from error

    async def _until_pinned(self, wait: ListingWait) -> SnapshotRecord:
        """Wait until a listing shows what a 200 has started, or as long as that may take if its version is known."""
        if not self.needs_url and (named := self._named()):
            return named
        with anyio.move_on_after(PINNING):
            return await self._until_found(wait, first_after=0.0)
        if unlisted := self._unlisted():
            return unlisted
        return await self._until_found(wait, first_after=self._session.poll_every)

    async def _until_found(self, wait: ListingWait, **when: Any) -> SnapshotRecord:
        entry = await wait.until_listed(**when)
        if entry is None:
            raise AssertionError  # no other operation settles ours
        search = wait.search()
        if search.is_late(entry):
            self.member.warn(late_text(self.database_id, entry, search))
        record = await self._claimed(entry, requested=self.sent.requested)
        self.tell_earlier(record, "whose end did not reach the state")
        if self.in_state:
            self._session.memory.resumed.add(self.owner)
            self.member.note(found_text(record, self._session.service_clock.now()))
        self.resolved(record.version_id or "", record.version_id)
        return record

    async def _of_earlier_run(self, version_id: str) -> SnapshotRecord:
        """The snapshot that an earlier run has taken and found, but whose state lacks it."""
        posted = self.sent.requested
        listed = await self._session.listings.find_version(self.database_id, version_id)
        if listed is not None:
            record = await self._claimed(listed, requested=posted)
        else:
            # The time of creation is the request's, unless the state had it.
            record = SnapshotRecord(self.database_id, version_id, requested_at=requested_text(posted), available=True)
            record = record.described_as(self.outputs)
            record = record if record.created_at else record.created(posted)
            record = replace(record, available=not record.expired(self._session.service_clock.now()))
            self.claim(version_id)
        if not self.carried:
            self.tell_earlier(record, "whose state was not saved")
        self.resolved(version_id)
        return record

    def tell_earlier(self, record: SnapshotRecord, which: str) -> None:
        """Leave a line if the snapshot is that of an earlier run, of which the state knows nothing."""
        if self.resumed and not self.in_state:
            age = spoken(self.age)
            taken = f"snapshot {record.id} was taken by an earlier run {which}, {age} ago ({record.requested_at}): none is taken now."
            self.member.warn(Text("{taken} {then}", taken=taken, then=Next(Step.TAKE_NEW)))

    async def _claimed(self, entry: ListedSnapshot, *, requested: datetime | None = None) -> SnapshotRecord:
        base_url = self._finished.url if self._finished else None
        record = await describe(self._session, self.database_id, entry, base_url=base_url, requested=requested)
        self.claim(record.version_id or "")
        self._session.memory.note_requested(record.id, record.requested_at)
        self._memory.note_snapshot(entry.modified)
        self.member.progress(f"found snapshot {record.version_id}")
        return record

    def _listing_wait(self) -> ListingWait:
        return ListingWait(
            self._session,
            self.database_id,
            self._here or self.sent,
            self.member,
            version=self._finished.version if self._finished else None,
            finished_at=self._finished_at,
            others=self._others,
            behind=self._behind,
            before_sleep=self.save,
        )

    # The end -------------------------------------------------------------------------------------------------------------

    def completes_early(self) -> bool:
        """Whether a 200 has named the version, so that the snapshot is known though no listing shows it yet."""
        unlisted = self._unlisted()
        if unlisted is not None:
            self.outcome = unlisted
        return unlisted is not None

    def _unlisted(self, error: Explained | None = None) -> SnapshotRecord | None:
        """The snapshot whose version a 200 named, though no listing shows it; None without one."""
        record = self._named()
        if record is None:
            return None
        why = "the service does not list it yet" if error is None else error.happened
        newest = "the download URL of snapshot {id} serves the newest snapshot of the database, whichever that is: {why}. {then}"
        self.member.warn(Text(newest, id=record.id, why=why, then=Next(Step.REFRESH)))
        return record

    def _named(self) -> SnapshotRecord | None:
        """The snapshot as far as a 200 named it; None without one."""
        if self._finished is None or self._finished.version is None:
            return None
        version_id = self._finished.version
        record = SnapshotRecord.of(self.database_id, version_id, self._finished.url, requested=self.sent.requested)
        self.claim(version_id)
        self.resolved(version_id, version_id)
        return record

    def unresolved_error(
        self, why: str = "", *, undecided: bool = False, cause: Explained | None = None
    ) -> Unresolved[SnapshotRecord]:
        """The error of an unknown end."""
        requested = requested_text(self.sent.requested)
        record = SnapshotRecord(self.database_id, attempt=self.sent, requested_at=requested)
        what = f"A snapshot of database {self.database_id} was requested at {requested}"
        if self.sent.accepted:
            happened = f"{what} and accepted ({self.sent.answered}), but is not listed yet."
        else:
            happened = (
                f"{what} and the answer was lost ({self.sent.answered}): it may or may not have been started, and is not "
                "listed yet."
            )
        return Pending(record, f"{happened} {why}".rstrip(), undecided=undecided, cause=cause)

    @property
    def not_done(self) -> str:
        """What was not done."""
        return f"No snapshot of database {self.database_id} was started."
