"""Watching the listings for the snapshot of one POST: what to look for, and telling how it goes. Sends no POST."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from pulumi_snapshots.api.errors import SquareCloudError
from pulumi_snapshots.listing.match import Search, find_ours

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pulumi_snapshots.api.models import ListedSnapshot
    from pulumi_snapshots.attempt.record import Attempt
    from pulumi_snapshots.listing.poll_plan import Look, Wait
    from pulumi_snapshots.progress import Member
    from pulumi_snapshots.run.session import Session

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
        failed: what is to be told of the last look, where it failed.
    """

    session: Session
    database_id: str
    attempt: Attempt
    member: Member
    version: str | None = None
    finished_at: datetime | None = None
    others: set[str] = field(default_factory=set)
    failed: str = ""

    def search(self) -> Search:
        """What to look for, with what is known by now."""
        excluded = self.session.memory.not_new(self.database_id) | self.others
        return Search.of(
            self.attempt, self.session.client.service_clock.offset, finished=self.finished_at, excluded=excluded
        )

    async def until_listed(
        self, *, age: float = 0.0, first_after: float | None = None, settled: Callable[[], bool] = lambda: False
    ) -> ListedSnapshot | None:
        """Look until a listing shows the snapshot.

        Args:
            age: seconds of waiting that lie behind it, in an earlier run.
            first_after: seconds until the first look, where the snapshot should be there by then.
            settled: asked before each look, whether it is of no more interest.

        Returns:
            The entry; None only where it was settled otherwise.

        Raises:
            AmbiguousSnapshot: two entries could be it.
            SquareCloudError: a look was refused in a way that does not pass.
        """
        clock, looking = self.session.clock, self.session.looking
        told: Look | None = None
        with looking.waits(self.database_id, age=age, first_after=first_after) as wait:
            while not settled():
                for page in looking.unseen(wait):
                    entry = page.version(self.version) if self.version else find_ours(page.entries, self.search())
                    if entry is not None:
                        return entry
                looking.missed(wait)
                look = looking.next(wait)
                if look.at > clock.monotonic():
                    if look != told:
                        self._tell(wait, look)
                        told = look
                    await looking.sleep_until(look.at)
                    continue
                if self.session.gate.blocked:
                    self.member.waits(f"{self._state()}; waiting for the end of the account's block")
                try:
                    await looking.look(wait, look)
                except SquareCloudError as error:
                    if not error.passing:
                        raise
                    self.failed = f"; the last look failed ({error.code or error.status or 'no answer'})"
                    self.member.waits(self._state())
                else:
                    self.failed = ""
        return None

    def _tell(self, wait: Wait, look: Look) -> None:
        clock = self.session.clock
        at = clock.utc() + timedelta(seconds=look.at - clock.monotonic())
        self.member.waits(self._state(), f"look {wait.tries + 1} at {at:%H:%M:%S} UTC", phase="listing")

    def _state(self) -> str:
        if self.attempt.accepted:
            return f"accepted, not listed yet{self.failed}"
        return f"answer lost ({self.attempt.answered}), looking for it{self.failed}"
