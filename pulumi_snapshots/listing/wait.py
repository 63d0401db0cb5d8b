"""Polling the listings until they show the snapshot of one POST: what to look for, and telling how it goes. Sends no POST."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from pulumi_snapshots.api.errors import SquareCloudError
from pulumi_snapshots.api.rate_limiter import BLOCKED
from pulumi_snapshots.listing.match import Search, find_ours

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from pulumi_snapshots.api.models import ListedSnapshot
    from pulumi_snapshots.api.rate_limiter import RateLimiter
    from pulumi_snapshots.api.service_clock import ServiceClock
    from pulumi_snapshots.attempt.memory import RunMemory
    from pulumi_snapshots.attempt.post import Post
    from pulumi_snapshots.clock import Clock
    from pulumi_snapshots.listing.poll_plan import Poll, PollPlan, Waiting
    from pulumi_snapshots.progress import Member

__all__ = ["ListingWait", "Polling", "failed_poll"]


class Polling(Protocol):
    """What a wait needs of its run."""

    clock: Clock
    memory: RunMemory
    poll_plan: PollPlan
    rate_limiter: RateLimiter
    service_clock: ServiceClock


async def _nothing() -> None:
    pass


@dataclass
class ListingWait:
    """One POST whose snapshot is waited for.

    Attributes:
        run: what surrounds it.
        database_id: the snapshot's database.
        post: the POST.
        member: hears when the next poll is.
        version: the version, if a 200 named it.
        finished_at: service time of a 200; the snapshot was whole by then.
        others: versions that are known to be of other attempts.
        before_sleep: called before each longer wait, in which the run may be killed.
        failed: what is to be told of the last poll, if it failed.
    """

    run: Polling
    database_id: str
    post: Post
    member: Member
    version: str | None = None
    finished_at: datetime | None = None
    others: set[str] = field(default_factory=set)
    before_sleep: Callable[[], Awaitable[None]] = _nothing
    failed: str = ""

    def search(self) -> Search:
        """What to look for, with what is known by now."""
        excluded = self.run.memory.of(self.database_id).not_new | self.others
        return Search.of(self.post, self.run.service_clock.offset, finished=self.finished_at, excluded=excluded)

    async def until_listed(
        self, *, age: float = 0.0, first_after: float | None = None, settled: Callable[[], bool] = lambda: False
    ) -> ListedSnapshot | None:
        """Poll until a listing shows the snapshot.

        Args:
            age: seconds of waiting that lie behind it, in an earlier run.
            first_after: seconds until the first poll, if the snapshot should be there by then.
            settled: asked before each poll, whether it is of no more interest.

        Returns:
            The entry; None only if it was settled otherwise.

        Raises:
            AmbiguousSnapshot: two entries could be it.
            SquareCloudError: a poll was refused in a way that does not pass.
        """
        clock, plan = self.run.clock, self.run.poll_plan
        told: Poll | None = None
        with plan.waits(self.database_id, age=age, first_after=first_after) as waiting:
            while not settled():
                for page in plan.unseen(waiting):
                    entry = page.version(self.version) if self.version else find_ours(page.entries, self.search())
                    if entry is not None:
                        return entry
                plan.missed(waiting)
                poll = plan.next_poll(waiting)
                if poll.at > clock.monotonic():
                    if poll != told:
                        self._tell(waiting, poll)
                        told = poll
                    await self.before_sleep()
                    await plan.sleep_until(poll.at)
                    continue
                if self.run.rate_limiter.blocked:
                    self.member.waits(f"{self._state()}; {BLOCKED}")
                try:
                    await plan.poll(waiting, poll)
                except SquareCloudError as error:
                    self.failed = failed_poll(error)
                    self.member.waits(self._state())
                else:
                    self.failed = ""
        return None

    def _tell(self, waiting: Waiting, poll: Poll) -> None:
        clock = self.run.clock
        at = clock.utc() + timedelta(seconds=poll.at - clock.monotonic())
        self.member.waits(self._state(), f"poll {waiting.tries + 1} at {at:%H:%M:%S} UTC", phase="listing")

    def _state(self) -> str:
        if self.post.accepted:
            return f"accepted, not listed yet{self.failed}"
        return f"answer lost ({self.post.answered}), looking for it{self.failed}"


def failed_poll(error: SquareCloudError) -> str:
    """What a row adds after a poll that may succeed a little later.

    Raises:
        SquareCloudError: `error` itself, if it does not pass.
    """
    if not error.passing:
        raise error
    return f"; the last poll failed ({error.code or error.status or 'no answer'})"
