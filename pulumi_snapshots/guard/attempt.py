"""The snapshot of a guard: taken like a Snapshot's, but no resource and no state has it."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import ClassVar

from pulumi_snapshots.api.client import BRIEF
from pulumi_snapshots.api.errors import SquareCloudError
from pulumi_snapshots.attempt.journal import Entry
from pulumi_snapshots.attempt.owner import Asker
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import Unresolved
from pulumi_snapshots.listing.match import SKEW_UNKNOWN_CLOCK
from pulumi_snapshots.progress import Member
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.create import SnapshotAttempt
from pulumi_snapshots.snapshot.describe import found_text
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.record import SnapshotRecord

OWNER = "guard"
"""Of every guard's POST, with the database: whichever guard of it comes next completes what a killed run has started."""


class _NotThere(Unresolved[SnapshotRecord]):
    """The guard's snapshot was started, or may have been, and is not known yet."""

    resumes = (Next(Step.GUARD_RESUMES),)
    stays = (Next(Step.GUARD_TAKES_ANOTHER),)
    kept_here = Next(Step.GUARD_RESUMES)
    not_kept = Next(Step.GUARD_TAKES_ANOTHER)


class GuardAttempt(SnapshotAttempt):
    """One guard's POST, or what is used instead."""

    for_resource: ClassVar[bool] = False
    needs_url: ClassVar[bool] = False

    def __init__(self, session: Session, inputs: SnapshotInputs, member: Member) -> None:
        super().__init__(session, inputs, member, Asker(f"{OWNER}:{inputs.database_id}"))
        self._clock = session.clock
        self._service_clock = session.service_clock
        self._client = session.client
        self._asked_at = session.clock.monotonic()
        self._within = inputs.reuse_within
        self._taken: Entry | None = None
        self._database = session.memory.of(inputs.database_id)

    async def take_over(self) -> bool:
        """Judge what earlier runs have sent by the service's clock: this machine's may have been set since.

        Any answer shows that clock. A listing's would be served for half an hour, without the snapshot that may be taken next.
        """
        if self._service_clock.offset is None and await self._journal.of(self.database_id):
            with suppress(SquareCloudError):
                await self._client.restore_status(self.database_id, patience=BRIEF)
        return await super().take_over()

    def may_adopt(self, version_id: str, modified: datetime) -> bool:  # noqa: ARG002  any will do, also a resource's
        """Whether it was young when the change asked for it, which may have waited for another run's snapshot since."""
        return modified >= self._service_clock.now() - timedelta(seconds=self._oldest)

    @property
    def _oldest(self) -> float:
        """The age of the oldest snapshot that will do, in seconds."""
        return self._within + self._clock.monotonic() - self._asked_at

    def note_other(self, entry: Entry) -> None:
        """Remember a snapshot that was taken lately, by an earlier run's guard or by a resource, such as one of the same run.

        If the service has not answered, its clock is not known: this machine's may have been set back since, and show any age.
        """
        super().note_other(entry)
        is_judged = self._service_clock.offset is not None and entry.finished is not None and not entry.run
        if is_judged and self._within and self.age_of(entry.post) <= self._oldest:
            self._taken = entry

    async def adopt(self, *, again: bool = False) -> SnapshotRecord | None:
        """What was taken lately needs no listing, which could lack it and be served for half an hour."""
        if self._taken is None or self._taken.finished is None:
            return await super().adopt(again=again)
        record = SnapshotRecord(self.database_id, self._taken.finished, available=True)
        return self.note_adopted(record.created(self._taken.post.requested))

    def may_resume(self, entry: Entry) -> bool:
        """Whether the run that sent it would still wait for it. An older snapshot would lose what was written since.

        One from the future was sent by a clock that was ahead. If no answer has shown by how much, its age is not known, and no
        snapshot can be matched to it.
        """
        post = entry.post
        if post.service_clock_offset is None and post.posted_at > self._clock.utc() + SKEW_UNKNOWN_CLOCK:
            return False
        return entry.finished is None and self.age_of(post) <= max(post.timeout, self._within)

    def claim(self, version_id: str) -> None:
        """Note that this POST started it. A Snapshot may adopt it, too: nothing else keeps it."""
        if self.post is not None:
            self._database.known.add(version_id)

    def tell_earlier(self, record: SnapshotRecord, which: str) -> None:  # noqa: ARG002  there is no state to name
        """Leave a line if an earlier run has requested it."""
        if self.resumed:
            self.member.note(found_text(record, self._service_clock.now()))

    def unresolved_error(
        self, why: str = "", *, undecided: bool = False, cause: Explained | None = None
    ) -> Unresolved[SnapshotRecord]:
        """The error of an unknown end, with what the next run does."""
        pending = super().unresolved_error(why)
        return _NotThere(pending.record, pending.happened, undecided=undecided, cause=cause)
