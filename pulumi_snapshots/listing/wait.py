"""Waiting until a listing shows a snapshot: polls, matches and progress. Sends no POST."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import anyio

from pulumi_snapshots.listing.complete import CompleteListings
from pulumi_snapshots.listing.listings import Page
from pulumi_snapshots.listing.match import Search, find_ours
from pulumi_snapshots.listing.poll_plan import EXPIRED, Pending, Poll, PollPlan
from pulumi_snapshots.progress import Member
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.service.models import ListedSnapshot, Listing
from pulumi_snapshots.service.rate_limiter import BLOCKED

PINNING = 5 * 60.0
"""Seconds in which a listing should show a complete snapshot with its pinned URL."""


@dataclass
class ListingWait:
    """The wait for one snapshot.

    Attributes:
        plan: plans the polls.
        database_id: the snapshot's database.
        waits: shows the progress, see `Member.waits`.
        answered: how its POST was answered: `200`, `202`, or how the answer was lost.
        accepted: whether the service has accepted the POST.
        search: the search by time; None if the version is known.
        version: the version, if it is known.
        until: when every listing must show it, if that is known; for the progress.
        outdated: whether a listing lacks a snapshot whose version is known, so that the page is an old one.
        failure: of the last poll; None if it succeeded.
    """

    plan: PollPlan
    database_id: str
    waits: Callable[..., None]
    answered: str
    accepted: bool
    search: Search | None = None
    version: str | None = None
    until: datetime | None = None
    outdated: bool = False
    failure: SquareCloudError | None = None

    async def until_listed(
        self, *, age: float = 0.0, first_after: float | None = None, shown_by: float = math.inf
    ) -> ListedSnapshot | None:
        """Poll until a listing shows the snapshot; None only if `shown_by` ended the wait.

        Args:
            age: seconds that earlier runs have waited.
            first_after: seconds until the first poll, if the snapshot should be listed by then.
            shown_by: when every page must show it (monotonic seconds), if that is known; the wait ends if the database's own
                page lacks it some minutes later.

        Raises:
            AmbiguousSnapshot: two entries could be the snapshot.
            SquareCloudError: a poll was refused, and will be refused again.
        """
        plan, listings = self.plan, self.plan.listings
        began = plan.clock.monotonic()
        first_at = None if first_after is None else began + first_after
        pending = Pending(began, began - age, first_at)
        # A snapshot whose answer was lost is most likely a quick one; the service answers a slow one after 90 s.
        own_is_old = first_after is not None or listings.may_be_old(self.database_id, pending.answered)
        pending.in_turn = own_is_old or not self.accepted
        searched: list[Listing] = []
        shown = None
        with plan.expecting(pending):
            while True:
                own, account = listings.known_pages(self.database_id)
                new = [page for page in (own, account) if page and page.listing.sent_at >= began]
                for page in new:
                    if page.listing not in searched and (entry := self._find(page)) is not None:
                        return entry
                searched = [page.listing for page in new]
                if own is not None and own.listing.sent_at >= max(shown_by + PINNING, began):
                    return None
                now, poll = plan.clock.monotonic(), plan.next_poll(pending)
                if poll.at <= now:
                    await self._poll(pending, poll)
                    continue
                if poll != shown:
                    next_check = plan.clock.utc() + timedelta(seconds=poll.at - now)
                    why, state = self._last_check(), self._state
                    self.waits(state, until=self.until, next_check=next_check, why=why, phase="listing")
                    shown = poll
                with anyio.move_on_after(poll.at - now):
                    await listings.changed.wait()

    def _find(self, page: Page) -> ListedSnapshot | None:
        if self.version is not None or self.search is None:
            return page.version(self.version or "")
        return find_ours(page.entries, self.search)

    async def _poll(self, pending: Pending, poll: Poll) -> None:
        plan, listings, now = self.plan, self.plan.listings, self.plan.clock.monotonic()
        if (until := listings.client.blocked_until) is not None:
            self.waits(BLOCKED, until=until, why=self._state)
        since = max(pending.began, now - plan.every / 4)  # a page that was fetched for another snapshot is good enough
        self.failure = None
        try:
            if poll.account:
                plan.account_tried = now  # at once, so that only one of all snapshots sends the request
                await listings.account_listing(since)
            else:
                await listings.own_page(self.database_id, since)
                if now >= pending.own_since + EXPIRED:
                    pending.own_since = now
            self.outdated = self.version is not None
        except SquareCloudError as error:
            self.failure = error
            self._last_check()
        if poll.account:
            plan.account_tried = plan.clock.monotonic()
        else:
            pending.own_tried = plan.clock.monotonic()

    @property
    def _state(self) -> str:
        if self.accepted:
            return "accepted" if self.answered == "202" else "listing is old" if self.outdated else "answered"
        return "answer lost"

    def _last_check(self) -> str:
        """Why the last poll failed, and how the answer was lost; raises a failure that will not pass."""
        lost = "" if self.accepted else self.answered
        failed = failed_poll(self.failure) if self.failure else ""
        return ", ".join(filter(None, (lost, failed)))


async def find_version(  # noqa: PLR0913  what is known of it
    complete: CompleteListings,
    plan: PollPlan,
    database_id: str,
    version_id: str,
    member: Member,
    *,
    patience: float,
    created: datetime | None = None,
) -> tuple[ListedSnapshot | None, datetime | None]:
    """Find the entry of a snapshot, and wait for it if the listings are too old to show it.

    Args:
        complete: knows what runs have found lately.
        plan: plans and sends the polls.
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
    entry = await plan.listings.find_version(database_id, version_id)
    if entry is not None:
        return entry, None
    listed_by = await complete.listed_by(database_id, version_id, created)
    left = math.inf if listed_by is None else (listed_by - plan.clock.utc()).total_seconds()
    if left >= patience:
        return None, listed_by
    known: dict[str, Any] = {"version": version_id, "until": listed_by, "outdated": True}
    wait = ListingWait(plan, database_id, member.waits, "200", accepted=True, **known)
    with anyio.move_on_after(patience):
        shown_by = plan.clock.monotonic() + left
        return await wait.until_listed(first_after=plan.every, shown_by=shown_by), None
    if wait.failure is not None:
        raise wait.failure
    return None, listed_by


def failed_poll(error: SquareCloudError) -> str:
    """The addition to the progress after a poll that failed in a way that may pass; otherwise raises `error` itself."""
    if not error.passing:
        raise error
    return f"last check failed ({error.code or error.status or 'no answer'})"
