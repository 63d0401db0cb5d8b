"""Watching the listings for the snapshot of one POST: when to look, and what to look for. Sends no POST."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from pulumi_snapshots.api.errors import SquareCloudError
from pulumi_snapshots.operations.find import Search, find_ours

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pulumi_snapshots.api.models import ListedSnapshot
    from pulumi_snapshots.operations.fleet import Member
    from pulumi_snapshots.operations.record import Attempt
    from pulumi_snapshots.operations.session import Session

__all__ = ["Watch", "age_of"]


def age_of(session: Session, attempt: Attempt) -> float:
    """Seconds since its POST; none where another machine's clock puts it into the future."""
    return max(0.0, (session.clock.utc() - attempt.posted_at).total_seconds())


@dataclass
class Watch:
    """One POST whose snapshot is looked for.

    Attributes:
        session: the service.
        database_id: whose snapshot.
        attempt: the POST.
        member: hears when the next look is.
        version: the version, where a 200 named it.
        finished_at: service time of a 200; the snapshot was whole by then.
        others: versions that are known to be of other attempts.
    """

    session: Session
    database_id: str
    attempt: Attempt
    member: Member
    version: str | None = None
    finished_at: datetime | None = None
    others: set[str] = field(default_factory=set)

    def search(self) -> Search:
        """What to look for, with what is known by now."""
        excluded = self.session.memory.not_new(self.database_id) | self.others
        return Search.of(
            self.attempt, self.session.client.service_clock.offset, finished=self.finished_at, excluded=excluded
        )

    async def until_listed(
        self, *, first_after: float, settled: Callable[[], bool] = lambda: False
    ) -> ListedSnapshot | None:
        """Look until a listing shows the snapshot.

        Args:
            first_after: seconds until the first look.
            settled: asked before each look, whether it is of no more interest.

        Returns:
            The entry; None only where it was settled otherwise.

        Raises:
            AmbiguousSnapshot: two entries could be it.
            SquareCloudError: a look was refused in a way that does not pass.
        """
        clock, every = self.session.clock, self.session.settings.look_every
        begun = clock.monotonic()
        pause = first_after
        number = 0
        while True:
            number += 1
            if pause:
                at = clock.utc() + timedelta(seconds=pause)
                text = f"{self._state()}; look {number} at {at:%H:%M:%S} UTC"
                if number == 1:
                    self.member.enters("listing", text)
                else:
                    self.member.routine(text)
                await clock.sleep(pause)
            if settled():
                return None
            if self.session.gate.blocked:
                self.member.progress(f"{self._state()}; waiting for the end of the account's block")
            try:
                # What another watch has fetched meanwhile is as good.
                since = max(begun, clock.monotonic() - every / 2)
                page = await self.session.looks.pending(self.database_id, number, since)
            except SquareCloudError as error:
                if not error.passing:
                    raise
                self.member.routine(f"look {number} failed ({error.code or error.status or 'no answer'})")
            else:
                entry = page.version(self.version) if self.version else find_ours(page.entries, self.search())
                if entry is not None:
                    return entry
            pause = every

    def first_look_after(self, *, resumed: bool) -> float:
        """Seconds until the first look: a page that is asked for too early may be frozen without our snapshot.

        Args:
            resumed: whether the answer came in an earlier run, so that a part of the time has passed.
        """
        after = self.session.settings.first_look_after
        if self.session.looks.sees_new_at_once:
            after = min(after, self.session.settings.look_every)
        return max(0.0, after - age_of(self.session, self.attempt)) if resumed else after

    def _state(self) -> str:
        if self.attempt.accepted:
            return "accepted, not listed yet"
        return f"answer lost ({self.attempt.answered}), looking for it"
