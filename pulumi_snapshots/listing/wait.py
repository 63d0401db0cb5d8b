"""Waiting until a listing shows the snapshot of a POST: polls, matches and progress. Sends no POST."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import anyio

from pulumi_snapshots.api.errors import SquareCloudError
from pulumi_snapshots.api.models import ListedSnapshot
from pulumi_snapshots.api.pacing.rate_limiter import BLOCKED, RateLimiter
from pulumi_snapshots.api.service_clock import ServiceClock
from pulumi_snapshots.attempt.memory import RunMemory
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.clock import Clock, is_nonsense, rfc3339
from pulumi_snapshots.errors.text import Text, TimeOfDay
from pulumi_snapshots.listing.complete import CompleteListings
from pulumi_snapshots.listing.listings import SERVICE_CACHE, Listings
from pulumi_snapshots.listing.match import Search, find_ours
from pulumi_snapshots.listing.poll_plan import Poll, PolledSnapshot, PollPlan
from pulumi_snapshots.progress import Member


class WaitContext(Protocol):
    """The parts of a session that a wait needs."""

    clock: Clock
    memory: RunMemory
    poll_plan: PollPlan
    rate_limiter: RateLimiter
    service_clock: ServiceClock


PINNING = 5 * 60.0
"""Seconds in which a listing should show a complete snapshot with its pinned URL."""


class FindContext(WaitContext, Protocol):
    """The parts of a session that finding a version needs."""

    listings: Listings
    complete_listings: CompleteListings


async def _nothing() -> None:
    pass


@dataclass
class ListingWait:
    """The wait for the snapshot of one POST.

    Attributes:
        run: the session.
        database_id: the snapshot's database.
        post: the POST.
        member: gets the progress.
        version: the version, if a 200 named it.
        finished_at: when a 200 came, by the service's clock; the snapshot was complete by then.
        others: versions of other POSTs.
        behind: whether another snapshot ended right before the POST, see `Search.of`.
        before_sleep: called before each sleep, in which the run may be killed.
        failure: of the last poll; None if it succeeded.
        outdated: whether a listing lacks a snapshot that a 200 has named, so that the page is an old one.
        until: when every listing must show it, if that is known; for the progress.
    """

    run: WaitContext
    database_id: str
    post: Post
    member: Member
    version: str | None = None
    finished_at: datetime | None = None
    others: set[str] = field(default_factory=set)
    behind: bool = False
    before_sleep: Callable[[], Awaitable[None]] = _nothing
    failure: SquareCloudError | None = None
    outdated: bool = False
    until: datetime | None = None

    def search(self) -> Search:
        """The search, with the facts known by now."""
        excluded = self.run.memory.of(self.database_id).not_new | self.others
        offset = self.run.service_clock.offset
        return Search.of(self.post, offset, finished=self.finished_at, excluded=excluded, behind=self.behind)

    async def until_listed(
        self,
        *,
        age: float = 0.0,
        first_after: float | None = None,
        settled: Callable[[], bool] = lambda: False,
        shown_by: float = math.inf,
    ) -> ListedSnapshot | None:
        """Poll until a listing shows the snapshot.

        Args:
            age: seconds that earlier runs have waited.
            first_after: seconds until the first poll, if the snapshot should be listed by then.
            settled: called before each poll; the wait ends if it returns true.
            shown_by: when every page must show it (monotonic seconds), if that is known; the wait ends if the database's own
                page lacks it some minutes later.

        Returns:
            The entry; None only if `settled` or `shown_by` ended the wait.

        Raises:
            AmbiguousSnapshot: two entries could be the snapshot.
            SquareCloudError: a poll was refused, and will be refused again.
        """
        clock, plan = self.run.clock, self.run.poll_plan
        shown: Poll | None = None
        needed = shown_by, shown_by + PINNING
        with plan.including(
            self.database_id, age=age, first_after=first_after, accepted=self.post.accepted, needed=needed
        ) as polled:
            while not settled():
                for page in plan.unread_pages(polled):
                    entry = (
                        page.version(self.version)
                        if self.version
                        else find_ours(page.entries, self.search(), page.listing.service_time)
                    )
                    if entry is not None:
                        return entry
                if polled.read[0] >= shown_by + PINNING:
                    return None
                plan.note_miss(polled)
                poll = plan.next_poll(polled)
                if poll.at > clock.monotonic():
                    if poll != shown:
                        self._show(poll, polled)
                        shown = poll
                    await self.before_sleep()
                    await plan.sleep_until(poll.at)
                    continue
                if self.run.rate_limiter.blocked:
                    limiter = self.run.rate_limiter
                    self.member.waits(BLOCKED, until=limiter.blocked_until, why=self._state())
                try:
                    await plan.poll(polled, poll)
                except SquareCloudError as error:
                    self.failure = error
                    self.member.waits(self._state())
                else:
                    self.failure = None
                    self.outdated = self.version is not None
        return None

    def _show(self, poll: Poll, polled: PolledSnapshot) -> None:
        clock = self.run.clock
        at = clock.utc() + timedelta(seconds=poll.at - clock.monotonic())
        # A resumed wait began with its POST.
        since = (
            clock.utc() - timedelta(seconds=clock.monotonic() - polled.answered)
            if polled.answered < polled.began
            else None
        )
        check = Text("; next check {at}", at=TimeOfDay(at))
        self.member.waits(
            self._state(), check, until=self.until, phase="listing", since=None if self.failure else since
        )

    def _state(self) -> str:
        """How it stands; raises the failure of the last poll unless that may pass."""
        failed = failed_poll(self.failure) if self.failure else ""
        if not self.post.accepted:
            return f"answer lost ({self.post.answered}){failed}"
        if self.post.answered == "202":
            return f"accepted{failed}"
        return f"{'listing is old' if self.outdated else 'answered'}{failed}"


async def find_version(  # noqa: PLR0913  what is known of it
    run: FindContext,
    database_id: str,
    version_id: str,
    member: Member,
    *,
    patience: float,
    created: datetime | None = None,
) -> tuple[ListedSnapshot | None, datetime | None]:
    """Find the entry of a snapshot, and wait for it if the listings are too old to show it.

    Args:
        run: the session.
        database_id: the snapshot's database.
        version_id: its version.
        member: gets the progress.
        patience: seconds of the wait; if every listing shows it only later than that, it is not waited for.
        created: when it was taken, by the service's clock, if that is known.

    Returns:
        The entry, or None; and when every listing must show one that was not waited for, UTC, if that is known.

    Raises:
        SquareCloudError: a request was refused, and will be refused again; or the wait has ended while requests failed.
    """
    entry = await run.listings.find_version(database_id, version_id)
    if entry is not None:
        return entry, None
    if created is not None:
        created = None if is_nonsense(created) else created - timedelta(seconds=run.service_clock.offset or 0.0)
    listed_by = await run.complete_listings.listed_by(database_id, version_id, created)
    left = math.inf if listed_by is None else (listed_by - run.clock.utc()).total_seconds()
    if listed_by is None or left >= patience:
        return None, listed_by
    post = Post.resolved(rfc3339(listed_by - timedelta(seconds=SERVICE_CACHE)))
    wait = ListingWait(run, database_id, post, member, version=version_id, outdated=True, until=listed_by)
    with anyio.move_on_after(patience):
        return await wait.until_listed(first_after=run.poll_plan.every, shown_by=run.clock.monotonic() + left), None
    if wait.failure is not None:
        raise wait.failure
    return None, listed_by


def failed_poll(error: SquareCloudError) -> str:
    """The addition to the progress after a poll that failed in a way that may pass; otherwise raises `error` itself."""
    if not error.passing:
        raise error
    return f", last check failed ({error.code or error.status or 'no answer'})"
