"""Create and resume: one POST at most, then waiting for exactly the snapshot that it started."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.api.errors import Cooldown, QuotaUsedUp, SquareCloudError
from pulumi_snapshots.api.models import Finished
from pulumi_snapshots.attempt.posting import Posting
from pulumi_snapshots.attempt.trace import HeldBack, SnapshotTrace
from pulumi_snapshots.errors.outcomes import sentence
from pulumi_snapshots.listing.listings import READS_SHARE
from pulumi_snapshots.listing.match import CREATE_COOLDOWN, LATE, SKEW, AmbiguousSnapshot, failed_after, late_text
from pulumi_snapshots.listing.wait import Watch, age_of
from pulumi_snapshots.snapshot.describe import describe, describe_unlisted, requested_text
from pulumi_snapshots.snapshot.outcomes import Pending
from pulumi_snapshots.snapshot.record import SnapshotRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from pulumi_snapshots.api.models import ListedSnapshot
    from pulumi_snapshots.attempt.memory import KnownAttempt
    from pulumi_snapshots.progress import Listener, Member
    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.snapshot.inputs import SnapshotInputs

__all__ = ["create", "resume"]

PINNING = 5 * 60.0
"""Seconds after a 200 in which the listing should show the snapshot with its pinned URL."""
CLEAR = SKEW + timedelta(seconds=1)
"""How long a POST waits after a snapshot of the same database: longer than the skew that finding it allows."""
HINTED_LOOKS = 180.0
"""Seconds of looking after a first KEEP_CALM: it may be our own earlier attempt that is still running."""


async def create(
    session: Session,
    inputs: SnapshotInputs,
    listener: Listener,
    *,
    owner: str | None = None,
    anew: bool = False,
) -> SnapshotRecord:
    """Take a snapshot and wait until the listing shows exactly it.

    Args:
        session: the service.
        inputs: checked.
        listener: hears how it goes.
        owner: the resource's name, as a user would give it to `--replace`.
        anew: whether it gives up on what a killed run has left of this very create, instead of waiting for that.

    Returns:
        The record, complete.

    Raises:
        Pending: the snapshot was or may have been started, and the wait for it ended; keep the record.
        NothingSent: the time was over, or it was interrupted, before a request was sent.
        SquareCloudError: the service refused; nothing was started.
    """
    with session.fleet.joins(listener) as member:
        job = _Job(session, inputs, member, owner, anew=anew)
        try:
            with session.until(inputs.timeout):
                # Two snapshots at once could not be told apart.
                async with job.posting.alone(session.alone_on(inputs.database_id)):
                    if not await job.posting.takes_over():
                        await job.settle_earlier_attempts()
                        if record := await job.adopt():
                            return record
                        with session.looking.post_to_come():
                            record = await job.post()
                        if record is not None:
                            return record
                    return await job.wait()
            return job.cut_short()
        finally:
            await job.posting.has_answered()


async def resume(
    session: Session,
    record: SnapshotRecord,
    inputs: SnapshotInputs,
    listener: Listener,
    *,
    owner: str | None = None,
) -> SnapshotRecord:
    """Go on waiting for a pending snapshot; never sends a POST.

    Args:
        session: the service.
        record: as the state keeps it.
        inputs: checked; the wait has its time-out anew.
        listener: hears how it goes.
        owner: the resource's name.

    Returns:
        The record, complete; `record` itself where it already was.

    Raises:
        Pending: still not there, or the service refuses to show the listing; keep the record.
    """
    if record.attempt is None or not record.pending:
        return record
    with session.fleet.joins(listener) as member:
        job = _Job(session, inputs, member, owner)
        job.posting.resumes(record.attempt)
        try:
            with session.until(inputs.timeout):
                # Not alone: it starts nothing, and must not wait for another one that may never be found.
                return await job.wait()
            return job.cut_short()
        finally:
            await job.posting.has_answered()


@dataclass
class _Job:
    """One create or resume: what it has sent so far decides how it may end."""

    session: Session
    inputs: SnapshotInputs
    member: Member
    owner: str | None
    anew: bool = False
    finished: Finished | None = None
    finished_at: datetime | None = None
    others: set[str] = field(default_factory=set)
    orphans: set[str] = field(default_factory=set)
    hinted: bool = False
    adopted: SnapshotRecord | None = None

    def __post_init__(self) -> None:
        self.database_id = self.inputs.database_id
        self.trace = SnapshotTrace(self.session, self.inputs, self.owner, anew=self.anew)
        self.posting = Posting(self.session, self.trace, self.member, what="snapshot", timeout=self.inputs.timeout)

    # Before the POST -------------------------------------------------------------------------------------------------

    async def settle_earlier_attempts(self) -> None:
        """Wait until no earlier attempt on this database could be taken for ours.

        An attempt of this resource itself was given up by whoever asked for this create, and one whose answer was lost
        is looked for no longer than a snapshot takes; another resource's accepted one is waited for until it is found
        or has failed.
        """
        memory = self.session.memory
        for known in memory.attempts(self.database_id):
            given_up = known.owner is None or known.owner == self.owner
            longest = failed_after(known.attempt) if known.attempt.accepted and not given_up else LATE
            patience = (longest + CLEAR).total_seconds() - age_of(self.session, known.attempt)
            self.posting.does("waiting for an earlier attempt on this database to show up")
            try:
                with anyio.move_on_after(max(0.0, patience)):
                    await self._settle(known)
            except AmbiguousSnapshot as either:
                # Whichever it is, both were started before ours.
                self.others.update(entry.version or "" for entry in either.candidates)
            memory.resolve(self.database_id, known)
            if known.orphaned:
                await self.session.journal.forget(known.owner, self.database_id, known.attempt)

    async def _settle(self, known: KnownAttempt) -> None:
        memory = self.session.memory
        watch = Watch(self.session, self.database_id, known.attempt, self.member, others=self.others)
        entry = await watch.until_listed(
            first_after=0.0, settled=lambda: known not in memory.attempts(self.database_id)
        )
        if entry is not None:
            self.others.add(entry.version or "")
            if known.orphaned:
                self.orphans.add(entry.version or "")
            else:
                memory.reserve(self.database_id, entry.version or "")
            memory.appeared(self.database_id, entry.modified)
            if known.owner not in {None, self.owner} and entry.modified is not None:
                # It stays pending until its own resource has it, and two that end so close could not be told apart.
                apart = entry.modified + CREATE_COOLDOWN + CLEAR - self.session.client.service_clock.now()
                self.posting.does("waiting until it can be told apart from the snapshot before it")
                await self.session.clock.sleep(apart.total_seconds())

    async def adopt(self, *, again: bool = False) -> SnapshotRecord | None:
        """The newest manual snapshot younger than `reuse_within`, if that is wanted and there is one.

        Args:
            again: whether it was asked for before, so that only a newer page tells more.
        """
        if not self.inputs.reuse_within:
            return None
        self.posting.does("looking for a snapshot to reuse")
        since = self.session.clock.monotonic() - (0.0 if again else READS_SHARE)
        page = await self.session.looks.shared(self.database_id, since)
        youngest = self.session.client.service_clock.now() - timedelta(seconds=self.inputs.reuse_within)
        taken = self.session.memory.not_reusable(self.database_id) | (self.others - self.orphans)
        fitting = [
            (entry.modified, entry)
            for entry in page.entries
            if entry.origin == "manual"
            and entry.modified is not None
            and entry.modified >= youngest
            and entry.version not in taken
        ]
        if not fitting:
            return None
        return await self._claimed(max(fitting, key=lambda candidate: candidate[0])[1])

    # The POST --------------------------------------------------------------------------------------------------------

    async def post(self) -> SnapshotRecord | None:
        """Send the POST, again only if it certainly started nothing.

        Returns:
            A record only where the back-off found a snapshot to reuse, so that none was sent.
        """
        self.posting.step = "waiting for its turn"
        self._note_known_posts()
        await self._keep_clear()
        while True:
            try:
                await self.posting.send(self._start, stop_before_again=self._adopts_hinted)
            except HeldBack:
                if await self.posting.takes_over():
                    return None
                await self.settle_earlier_attempts()
                await self._keep_clear()
            except QuotaUsedUp as error:
                error.hint = await self.session.quota_hint.text(self.session, self.database_id)
                raise
            else:
                return self.adopted

    async def _start(self, on_send: Callable[[], Awaitable[None]]) -> str:
        answer = await self.session.client.start_snapshot(self.database_id, on_send=on_send, tell=self.member.waits)
        if not isinstance(answer, Finished):
            return "202"
        self.finished, self.finished_at = answer, self.session.client.service_clock.now()
        return "200"

    async def _adopts_hinted(self, refusal: SquareCloudError) -> bool:
        """KEEP_CALM on the first POST: look whether an earlier attempt of ours was still running."""
        if self.hinted or not self.inputs.reuse_within or not isinstance(refusal, Cooldown):
            return False
        self.hinted = True
        ends = self.session.clock.monotonic() + HINTED_LOOKS
        while self.adopted is None and self.session.clock.monotonic() < ends:
            self.member.progress("KEEP_CALM: looking whether an earlier attempt is still running")
            await self.session.clock.sleep(self.session.settings.look_every)
            self.adopted = await self.adopt(again=True)
        return self.adopted is not None

    def _note_known_posts(self) -> None:
        newest = self.session.memory.newest_creation(self.database_id)
        if newest is not None:
            age = (self.session.client.service_clock.now() - newest).total_seconds()
            self.session.gate.note_earlier_post(self.database_id, age)

    async def _keep_clear(self) -> None:
        """Let the newest snapshot that we know lie clearly before our POST.

        One that ended within the skew before it would count as after it, for a later run that does not know whose it is.
        """
        newest = self.session.memory.newest_appearance(self.database_id)
        if newest is not None:
            age = self.session.client.service_clock.now() - newest
            # Where the service's clock is not known it may seem to lie in the future; it never does.
            await self.session.clock.sleep((CLEAR - max(age, timedelta(0))).total_seconds())

    # After the POST --------------------------------------------------------------------------------------------------

    async def wait(self) -> SnapshotRecord:
        """Wait until a listing shows the snapshot of our POST."""
        watch = self._watch()
        try:
            if self.finished is not None:
                with anyio.move_on_after(PINNING):
                    return await self._found(watch, first_after=0.0)
                if watch.version is not None:
                    return self._unlisted(watch.version)
                return await self._found(watch, first_after=self.session.settings.look_every)
            return await self._found(watch, age=self.posting.age)
        except (SquareCloudError, AmbiguousSnapshot) as error:
            if watch.version is not None:
                return self._unlisted(watch.version, str(error).rstrip("."))
            undecided = isinstance(error, AmbiguousSnapshot)
            raise Pending(self._record(), f"{self._sent_text()} {sentence(error)}", undecided=undecided) from error

    async def _found(self, watch: Watch, *, age: float = 0.0, first_after: float | None = None) -> SnapshotRecord:
        entry = await watch.until_listed(age=age, first_after=first_after)
        if entry is None:
            raise AssertionError  # nobody else settles ours
        search = watch.search()
        if search.is_late(entry):
            self.member.warn(late_text(self.database_id, entry, search))
        record = await self._claimed(entry, requested=search.posted)
        self.trace.found(record.version_id or "")
        return record

    async def _claimed(self, entry: ListedSnapshot, *, requested: datetime | None = None) -> SnapshotRecord:
        base_url = self.finished.url if self.finished else None
        record = await describe(self.session, self.database_id, entry, base_url=base_url, requested=requested)
        self.session.memory.claim(self.database_id, record.version_id or "")
        self.session.memory.appeared(self.database_id, entry.modified)
        self.member.progress(f"found snapshot {record.version_id}")
        return record

    def _unlisted(self, version_id: str, why: str = "the service does not list it yet") -> SnapshotRecord:
        """The snapshot is there and its version known, but no listing shows it."""
        if self.finished is None:
            raise AssertionError  # only a 200 comes here
        self.member.warn(
            f"the download URL of snapshot {self.database_id}/{version_id} serves the newest snapshot of the database, "
            f"whichever that is, until `pulumi refresh` finds this one in the listing and pins it: {why}"
        )
        requested = self._watch().search().posted
        self.session.memory.claim(self.database_id, version_id)
        self.trace.found(version_id)
        return describe_unlisted(self.database_id, version_id, self.finished, requested)

    # The end ---------------------------------------------------------------------------------------------------------

    def cut_short(self) -> SnapshotRecord:
        """The time is over or the run was interrupted: what was sent decides.

        Raises:
            Pending: a POST may have started a snapshot.
            NothingSent: none was.
        """
        if self.finished is not None and self.finished.version is not None:
            return self._unlisted(self.finished.version)
        if self.trace.attempt is not None:
            raise Pending(self._record(), f"{self._sent_text()} {self.posting.ended()}.")
        raise self.posting.nothing_sent(f"No snapshot of database {self.database_id} was started.")

    def _watch(self) -> Watch:
        return Watch(
            self.session,
            self.database_id,
            self.posting.attempt,
            self.member,
            version=self.finished.version if self.finished else None,
            finished_at=self.finished_at,
            others=self.others,
        )

    def _requested(self) -> str:
        return requested_text(self._watch().search().posted)

    def _record(self) -> SnapshotRecord:
        return SnapshotRecord(self.database_id, attempt=self.posting.attempt, requested_at=self._requested())

    def _sent_text(self) -> str:
        attempt = self.posting.attempt
        what = f"A snapshot of database {self.database_id} was requested at {self._requested()}"
        if attempt.accepted:
            return f"{what} and accepted ({attempt.answered}), but is not listed yet."
        return (
            f"{what} and the answer was lost ({attempt.answered}): it may or may not have been "
            "started, and is not listed yet."
        )
