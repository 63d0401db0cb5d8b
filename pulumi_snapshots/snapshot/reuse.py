"""Adoption: which snapshot may be used instead of a new one, and when a snapshot is worthless."""

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from pulumi_snapshots.ledger.attempt import NEVER, SECOND, Attempt, last_restored
from pulumi_snapshots.listing.listings import entry_of
from pulumi_snapshots.run.operation import Operation
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.service.models import ListedSnapshot
from pulumi_snapshots.snapshot.record import SnapshotInputs

LastChange = Callable[[], Awaitable[datetime | None]]
"""Returns when something that a guard guards has last happened, None if nothing has."""


@dataclass(frozen=True)
class Candidate:
    """A snapshot that is young enough to be adopted.

    Attributes:
        taken_at: When the snapshot was requested, or else its time in the listing.
        entry: What is known of the snapshot; without a name if only the ledger knows it.
    """

    taken_at: datetime
    entry: ListedSnapshot


@dataclass(frozen=True)
class Reuse:
    """The snapshots that may be adopted in place of a request.

    Attributes:
        session: The session of the process.
        inputs: What is asked for; `reuse_within` counts from when the operation began.
        operation: The operation.
        last_change: A guard's: a snapshot from before the last guarded change guards nothing.
            None for anything else than a guard.
    """

    session: Session
    inputs: SnapshotInputs
    operation: Operation
    last_change: LastChange | None = None

    async def newest(
        self, excluded: Collection[str], *, polls_now: bool
    ) -> Candidate | None:
        """Find the newest manual snapshot that is young enough.

        Args:
            excluded: Versions that must not be adopted.
            polls_now: Whether only a page that is requested now can show it.

        Returns:
            The snapshot; None if there is none.
        """
        requested = [
            each
            for each in await self.session.ledger.snapshots(self.inputs.database_id)
            if each.result not in excluded
        ]
        candidates = [
            Candidate(each.request.posted_at, entry_of(each))
            for each in requested
            if self._is_young(each)
        ]
        if self._needs_listing(candidates):
            candidates += await self._listed(requested, excluded, polls_now=polls_now)
        newest = max(candidates, key=lambda each: each.taken_at, default=None)
        if newest is None or (self.is_guard and self.is_too_old(newest.taken_at)):
            return None
        return newest

    @property
    def is_guard(self) -> bool:
        """Whether a guard asks, which may use any snapshot from after the last change."""
        return self.last_change is not None

    @property
    def _oldest(self) -> datetime:
        """From when on a snapshot is young enough: as asked, which may be a while ago."""
        now = self.session.service_clock.now()
        return (
            now - self.operation.elapsed - timedelta(seconds=self.inputs.reuse_within)
        )

    def _needs_listing(self, candidates: Collection[Candidate]) -> bool:
        """Whether the listing can show more than the ledger.

        A guard needs no listing if a run has taken a snapshot. A run without shared state does not
        know what other machines have changed since they took their snapshots.
        """
        if not self.is_guard:
            return True
        return self.session.ledger.place.is_shared and not candidates

    def _is_young(self, attempt: Attempt) -> bool:
        if not self.is_guard:
            return attempt.request.posted_at >= self._oldest
        # However long a guard waited: the change that its snapshot was for began only then, and may
        # be tried again. But the next run may have found just now what was requested long ago, see
        # `is_too_old`.
        ended_at = attempt.ended_at or attempt.request.posted_at
        return ended_at >= self._oldest

    def is_too_old(self, posted_at: datetime) -> bool:
        """Tell whether a guard must not use what was requested then: the data may have changed.

        Args:
            posted_at: When the snapshot was requested, by the service's clock.

        Returns:
            True once both the time-out and `reuse_within` have elapsed since.
        """
        longest = timedelta(seconds=max(self.inputs.timeout, self.inputs.reuse_within))
        return posted_at < self.session.service_clock.now() - longest

    async def _listed(
        self, requested: list[Attempt], excluded: Collection[str], *, polls_now: bool
    ) -> list[Candidate]:
        """The manual snapshots of the listing that are young enough.

        The listing shows when a snapshot was finished, the ledger when it was requested.
        """
        session = self.session
        since = session.clock.monotonic() if polls_now else session.listings.recent
        page = await session.listings.page(
            self.inputs.database_id, since, together=True
        )
        posted = {each.result: each.request.posted_at for each in requested}
        oldest = self._oldest
        return [
            Candidate(posted.get(each.version, each.modified), each)
            for each in page.entries
            if each.origin == "manual"
            and each.modified is not None
            and posted.get(each.version, each.modified) >= oldest
            and each.version not in excluded
        ]

    async def is_worthless(
        self, taken_at: datetime, *, if_unknown: bool = False
    ) -> bool:
        """Tell whether a snapshot would lose data, or bring back what a restore has replaced.

        Args:
            taken_at: When the snapshot was requested, or its time in the listing.
            if_unknown: The answer if the service does not say whether the database was restored
                since.

        Returns:
            True if the database was changed or restored after that time, or is being restored now.
        """
        if await self._last_known_change() > taken_at:
            return True
        database_id = self.inputs.database_id
        with suppress(SquareCloudError):
            status = await self.session.client.restore_status(
                database_id, patience=BRIEF
            )
            if status is None:
                return False
            # Of restores that no run has requested, the service shows the last one for an hour.
            restored_at = status.finished_at or status.started_at or NEVER
            return status.in_progress or restored_at > taken_at
        return if_unknown

    async def _last_known_change(self) -> datetime:
        """When runs have last changed or restored the database; long ago if they have not."""
        last = NEVER
        if self.last_change is not None:
            last = await self.last_change() or NEVER
        attempts = await self.session.ledger.attempts()
        return max(last, last_restored(attempts, self.inputs.database_id))

    async def is_candidate_worthless(self, candidate: Candidate) -> bool:
        """Tell whether a candidate is worthless, by times that are exact to a second.

        A guard uses no snapshot if the service does not say whether the database was restored
        since.

        Args:
            candidate: A result of `newest`.

        Returns:
            See `is_worthless`.
        """
        return await self.is_worthless(
            candidate.taken_at - SECOND, if_unknown=self.is_guard
        )
