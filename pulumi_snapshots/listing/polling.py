"""Polling until a listing shows the snapshot of a POST: when, at which listing, and which it is. Numbers are monotonic seconds.

The service may serve a page for 30 minutes. So a first poll of a page costs half an hour if it comes too early, and only its
delay if it comes late; polling a page again costs only the request. Each database has a page, and the account has one, which
shows what the others missed; the service caches each of them apart.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio

from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.listing.listings import READS_SHARE, SERVICE_CACHE, Listings, Page
from pulumi_snapshots.listing.matching import (
    LATE,
    NOT_WHOLE,
    AmbiguousMatch,
    AmbiguousSnapshot,
    Matched,
    NotListedYet,
    ProvenAbsent,
    Undecidable,
    explain_unclaimed,
    find_match,
    match_request,
)
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.service.limits import ACCOUNT_LISTING, CREATE
from pulumi_snapshots.service.models import ListedSnapshot, Listing
from pulumi_snapshots.service.rate_limiter import BLOCKED

__all__ = ["LATE", "AmbiguousSnapshot"]

NEVER = -math.inf
PINNING = 5 * 60.0
"""Seconds in which a listing should show a complete snapshot with its pinned URL."""
EXPIRED = SERVICE_CACHE + 5.0
"""Seconds after which a page is certainly new, with 5 s for its transfer."""


@dataclass(eq=False)
class Pending:
    """A pending snapshot and the polls of its database's own page."""

    began: float  # when this run began to poll
    answered: float  # when the wait for it began, in this run or an earlier one
    is_finished: bool  # whether it should be listed; then it is polled by itself, whatever is known of others
    in_turn: bool  # whether both pages are polled in turn, since the own one is likely old, or the snapshot a quick one
    own_tried: float = NEVER  # when the last poll ended
    own_since: float = NEVER  # when the page was last certainly a new one


class PollPlan:
    """Plans the polls of a process: the first one `first_after` seconds from an answer, and then one `every` so many.

    `ends` says whether a new snapshot ends the caching of a page; None if that is not known.
    """

    def __init__(
        self, listings: Listings, *, first_after: float, every: float, ends: bool | None = None
    ) -> None:
        self.listings, self.clock = listings, listings.clock
        self.first_after, self.every = first_after, every
        self.first_alone = min(first_after, every) if ends else first_after
        # when the last poll of the account's page ended, or the current one began
        self.account_tried = NEVER
        self._ends = ends
        self._most = 0
        self._all: list[Pending | None] = []  # None for a POST that is to come

    @contextmanager
    def expecting(self, pending: Pending | None = None) -> Iterator[None]:
        """Count a pending snapshot while the body waits for it; without one, a POST while the body queues and sends it."""
        self._all.append(pending)
        try:
            self._changed()
            yield
        finally:
            self._all.remove(pending)
            self._changed()

    def _changed(self) -> None:
        """Count how many snapshots there were at once, since there was none."""
        together = sum(each is None or not each.is_finished for each in self._all)
        self._most = max(self._most, together) if together else 0
        self.listings.announce_change()

    def next_poll(self, mine: Pending) -> tuple[float, bool]:
        """When the next poll for a snapshot that no page shows yet is due, and whether it is one of the account's page."""
        group = [each for each in self._all if each is not None and not each.is_finished]
        is_alone = mine.is_finished or self._most == 1
        posts, enough = self._all.count(None), self.first_after + self.every
        # Resources wait for slots of the engine if the limit between two POSTs does not explain why some are to come. Each
        # snapshot that is found lets one begin.
        is_short = posts > 0 and self._most * CREATE.per_account < enough
        is_helped = self.listings.account_refusal is None
        may_be_old = self.clock.monotonic() < self.listings.account_requested_at + EXPIRED

        if mine.own_tried > NEVER:
            own = self._own_again(mine, 1 if is_alone else len(group) * (4 if is_helped else 1))
        elif is_alone:
            own = mine.answered + self.first_alone * (not mine.is_finished)
        else:  # late while that delays nothing, or while there is no second chance
            is_late = not self._ends and (may_be_old or (posts and not is_short))
            own = mine.answered + self.first_after + self.every * is_late

        missed = [each.answered for each in group if each.own_tried > NEVER]
        if may_be_old and self._ends is False:
            account = self.listings.account_requested_at + EXPIRED
        elif is_alone and (may_be_old or mine.in_turn):
            account = mine.own_tried + self.every if mine.own_tried > NEVER else math.inf
        elif may_be_old or (self._ends and not is_alone):  # nothing is lost by a poll
            account = min(each.began for each in group) + self.every
        elif posts or is_alone:  # it must show the first one ...
            account = min(missed, default=math.inf) + (enough if is_short else 3 * self.first_after)
        else:  # ... or all that are left
            account = max(missed) + enough if len(missed) == len(group) else math.inf
        # The service answers 3 such polls a minute, to all machines of the account together.
        account = max(
            account, self.account_tried + ACCOUNT_LISTING.per_account * (2 if is_short else 3)
        )
        # One request for all is better than one for this snapshot a little sooner.
        is_better = is_helped and account <= own + self.every / 4
        return (account, True) if is_better else (own, False)

    async def poll(
        self, database_id: str, mine: Pending, *, account: bool
    ) -> SquareCloudError | None:
        """Poll for a snapshot; returns a failure that may pass. A page that was fetched for another one a moment ago is good enough."""
        now, failure = self.clock.monotonic(), None
        since = max(mine.began, now - self.every / 4)
        if account:
            self.account_tried = now  # at once, so that only one of all snapshots sends the request
        try:
            await (
                self.listings.account_listing(since)
                if account
                else self.listings.own_page(database_id, since)
            )
        except SquareCloudError as error:
            if not error.passing:
                raise
            failure = error
        if account:
            self.account_tried = self.clock.monotonic()
        else:
            mine.own_tried = self.clock.monotonic()
            if failure is None and now >= mine.own_since + EXPIRED:
                mine.own_since = now
        return failure

    def _own_again(self, mine: Pending, pages: int) -> float:
        """When a page is polled again: at growing intervals if there are several, since the account's page serves all."""
        again = mine.own_since + EXPIRED
        if self._ends is not False or mine.is_finished:
            growing = max(self.every, mine.own_tried - mine.own_since)
            again = min(again, mine.own_tried + min(growing, self.every * pages))
        return max(again, mine.own_tried + self.every, self.account_tried + self.every)


async def until_listed(  # noqa: PLR0913  what is known of it
    plan: PollPlan,
    request: Request,
    database_id: str,
    find: Callable[[Page], ListedSnapshot | None],
    waits: Callable[..., None],
    *,
    age: float,
    is_finished: bool,
    patience: float,
) -> ListedSnapshot | None:
    """Poll until a listing shows the entry that `find` finds; None if none does in time. Raises the refusal of a poll, also of the last.

    Earlier runs have waited `age` seconds. It should be listed at once if it `is_finished`. The wait ends if the own page lacks it
    minutes after every page must show it.
    """
    listings, clock, began = plan.listings, plan.clock, plan.clock.monotonic()
    lost = "" if request.accepted else request.answered
    # A snapshot whose answer was lost is most likely a quick one; the service answers a slow one after 90 s.
    in_turn = is_finished or bool(lost) or listings.may_be_old(database_id, began - age)
    last = (
        request.posted_at + request.longest - listings.client.service_clock.now()
    ).total_seconds() + PINNING
    pending = Pending(began, began - age, is_finished, in_turn)
    state = {"200": "answered", "202": "accepted"}.get(request.answered, "answer lost")
    searched: list[Listing] = []
    shown, failure = None, None
    with plan.expecting(pending), anyio.move_on_after(patience):
        while True:
            pages = listings.known_pages(database_id, began)
            for page in pages:
                if page.listing not in searched and (entry := find(page)) is not None:
                    return entry
                if page.listing.is_own and page.listing.sent_at >= began + last:
                    return None
            searched = [page.listing for page in pages]
            at, of_account = poll = plan.next_poll(pending)
            left = at - clock.monotonic()
            if left > 0:
                if poll != shown:
                    why = ", ".join(filter(None, (lost, failed_poll(failure) if failure else "")))
                    next_check, shown = clock.utc() + timedelta(seconds=left), poll
                    waits(state, next_check=next_check, why=why)
                with anyio.move_on_after(left):
                    await listings.changed.wait()
                continue
            if (block := listings.client.limiter.blocked_until) is not None:
                waits(BLOCKED, until=block, why=state)
            failure = await plan.poll(database_id, pending, account=of_account)
    if failure is not None:
        raise failure
    return None


async def wait_for_version(  # noqa: PLR0913  what is known of it
    plan: PollPlan,
    database_id: str,
    version_id: str,
    waits: Callable[..., None],
    *,
    patience: float,
    created: datetime | None = None,
) -> tuple[ListedSnapshot | None, datetime | None]:
    """Find the entry of a snapshot, once the listings are new enough; or None and its `Listings.listed_by`, if that takes more than `patience`."""
    listings, clock = plan.listings, plan.clock
    last = clock.monotonic() + patience - READS_SHARE
    listed_by: datetime | None = None
    while True:
        failed = ""
        try:
            if (entry := await listings.find_version(database_id, version_id)) is not None:
                return entry, None
            listed_by = await listings.listed_by(database_id, version_id, created)
            if listed_by is None or (listed_by - clock.utc()).total_seconds() >= patience:
                return None, listed_by
        except SquareCloudError as error:
            if listed_by is None or clock.monotonic() > last:
                raise
            failed = failed_poll(error)
        waits(
            "listing is old",
            until=listed_by,
            next_check=clock.utc() + timedelta(seconds=READS_SHARE),
            why=failed,
        )
        await clock.sleep(READS_SHARE)


def failed_poll(error: SquareCloudError) -> str:
    """The addition to the progress after a poll that failed in a way that may pass; otherwise raises `error` itself."""
    if not error.passing:
        raise error
    return f"last check failed ({error.code or error.status or 'no answer'})"


# What callers still use in place of `match_request` --------------------------------------------------


def earliest(
    entries: Iterable[ListedSnapshot],
    request: Request,
    excluded: Collection[str] = (),
    *,
    behind: bool = False,
) -> ListedSnapshot | None:
    """Find the snapshot of a request, see `find_match`."""
    return find_match(entries, request, excluded, is_behind=behind)


def doubt(
    page: Page, request: Request, excluded: Collection[str], due: Mapping[str, datetime]
) -> str:
    """Say why a page does not prove that a request whose time is over has no snapshot.

    Args:
        page: The own page of the database.
        request: The request.
        excluded: Versions of other requests.
        due: Versions that the page must list, each with the end of its 30 days.

    Returns:
        A sentence for an error message; empty if it is proven.
    """
    match match_request(page, request, excluded, kept_until=due):
        case ProvenAbsent():
            return ""
        case Undecidable(why):
            return why
        case NotListedYet():
            return NOT_WHOLE
        case Matched(entry):
            return explain_unclaimed([entry])
        case AmbiguousMatch(candidates):
            return explain_unclaimed(candidates)
