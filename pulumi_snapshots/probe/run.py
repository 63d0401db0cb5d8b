"""One run: its requests, which are paced, recorded and claimed in the ledger, and the order of its steps."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any, TypeVar

from pulumi_snapshots.clock import rfc3339, to_the_second
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.text import Text, TimeOfDay
from pulumi_snapshots.ledger.attempt import Attempt, ClaimRefused, Kind
from pulumi_snapshots.listing.listings import Page
from pulumi_snapshots.listing.match import AmbiguousSnapshot, Search, find_ours
from pulumi_snapshots.probe.report import Report
from pulumi_snapshots.progress import Listener, Member
from pulumi_snapshots.run.once import Operation, Post
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import ONCE, Client
from pulumi_snapshots.service.errors import Blocked, KeyRefused, ProxyRefused, QuotaUsedUp, SquareCloudError, is_new
from pulumi_snapshots.service.limits import CREATE, RESTORE, Lane
from pulumi_snapshots.service.models import Finished, ListedSnapshot
from pulumi_snapshots.service.transport import Heard

T = TypeVar("T")
PACE = 2.2
"""Seconds between two requests, as in the vendor's own suite: 27 a minute."""
EARLY = Lane("early create", starts=True)
"""A create that is sent although its cooldown has not ended, to see it refused; all other limits apply."""
COOLDOWN = 186.0
"""Seconds after which a create of the same database should be accepted: 180 s and some for the way."""
KEPT_DAYS = 30
TIMEOUT = 45 * 60.0
"""Seconds that a run waits for one snapshot at most, and for one restore."""
PROCESSING_TIME = 120.0
"""Seconds after a 202 until the snapshot is typically there."""
LISTS_EVERY = 60.0
"""Seconds between two listings while a run waits for a snapshot."""
UNANSWERED = "was requested, and its answer was not awaited"
_SAFE_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,60}")


class VerifyStopped(Explained):
    """The run has ended early; what it settled until then is in its report."""


@dataclass(eq=False)
class Shot:
    """One POST of the run.

    Attributes:
        operation: what sends it, and its attempt in the ledger, unless it was refused.
        sent: when it was sent (monotonic seconds); None if it was not.
        answered: when its answer came.
        first_byte: seconds until its answer began.
        accepted: how it was answered, `200`, `202` or how the answer was lost; empty if it was refused.
        refused: the code of the refusal.
        status: the status of the refusal.
        certainly: whether the refusal is one of which it is certain that nothing was started.
        finished: the content of a 200.
        version: its snapshot, once it is known.
        left: names what it leaves at the service, in the report.
    """

    operation: Operation
    sent: float | None = None
    answered: float = 0.0
    first_byte: float = 0.0
    accepted: str = ""
    refused: str = ""
    status: int | None = None
    certainly: bool = False
    finished: Finished | None = None
    version: str | None = None
    left: str = ""

    @property
    def database_id(self) -> str:
        """Its database."""
        return self.operation.intent.database_id

    @property
    def attempt(self) -> Attempt | None:
        """What the ledger has of it; None if it was refused."""
        return self.operation.attempt


@dataclass
class Targets:
    """What the run acts on: the database, and those of its options; None for each that is not wanted."""

    database_id: str
    large: str | None = None
    scratch: str | None = None
    scoped_key: str | None = None

    @property
    def snapshots(self) -> int:
        """How many of the day's snapshots the run takes."""
        return 2 + (self.large is not None) + (self.scratch is not None)

    @property
    def ids(self) -> list[str]:
        """The databases that it acts on."""
        return [one for one in (self.database_id, self.large, self.scratch) if one]


class Run:
    """The run, as its steps see it.

    Args:
        session: the service.
        targets: what it acts on.
        report: learns from it.
        listener: gets the progress.
        owner: the command, for the ledger.

    Attributes:
        last: the last answer of the API.
        shots: the POSTs of snapshots of the database, accepted or not.
        base: the first page after the first snapshot, by listing: when it was requested, and whether it showed that one.
        seen: when each snapshot of the database was taken that a listing has shown, by version.
    """

    def __init__(self, session: Session, targets: Targets, report: Report, listener: Listener, owner: str) -> None:
        self.session = session
        self.client: Client = session.client
        self.clock = session.clock
        self.targets = targets
        self.report = report
        self.listener = listener
        self.owner = owner
        self.last: Heard | None = None
        self.shots: list[Shot] = []
        self.first: Shot | None = None
        self.second: Shot | None = None
        self.entry: ListedSnapshot | None = None
        self.base: dict[str, tuple[float, bool]] = {}
        self.unpinned: Heard | None = None
        self.ends: dict[str, str] = {}
        self.allowance: int | None = None
        self.refused_at = 0.0
        self.seen: dict[str, datetime | None] = {}
        self._asked = -PACE
        report.hide(session.settings.required_key().value, targets.scoped_key)
        for name, one in (("LARGE", targets.large), ("SCRATCH", targets.scratch), ("DATABASE", targets.database_id)):
            if one:
                report.name(one, name)
        self.client.on_answer(self.heard)

    # Requests --------------------------------------------------------------------------------------------------------

    def heard(self, answer: Heard) -> None:
        """Record an answer, and judge what is true of every answer."""
        self.last = answer
        content = self.content
        body = content if isinstance(content, dict) else {}
        self.report.hide_urls(content)
        code = body.get("code")
        self.report.heard(answer, code if isinstance(code, str) and _SAFE_CODE.fullmatch(code) else None)
        judge, status = self.report.judge, answer.status
        what = f"{status} for {answer.method} {self.report.answers[-1]['request'].partition(' ')[2]}"
        judge("json", true=bool(body), seen="" if body else f"{what} was no JSON")
        if body:
            if status == 200:  # noqa: PLR2004  the plain success
                judge("envelope", true=body.get("status") == "success" and "response" in body, seen=what)
            else:
                judge("refusal", true=body.get("status") == "error" and isinstance(code, str), seen=what)
        has = "retry-after" in answer.headers
        judge("no-retry-after", true=not has, seen=f"{what} had one" if has else "")

    @property
    def content(self) -> Any:
        """The last answer's JSON; None if it is none."""
        with suppress(ValueError, RecursionError):
            return json.loads((self.last.content if self.last else None) or b"")
        return None

    async def pace(self) -> None:
        """Wait until the next request may be sent."""
        at = max(self.clock.monotonic(), self._asked + PACE)
        self._asked = at
        await self.clock.sleep(at - self.clock.monotonic())

    async def ask(self, request: Callable[[], Awaitable[T]]) -> T | SquareCloudError:
        """Send a request once; its answer, or how it was refused.

        Raises:
            VerifyStopped: the key is refused, or something is blocked.
        """
        await self.pace()
        try:
            answer: T | SquareCloudError = await request()
        except SquareCloudError as error:
            self.stop_at(error)
            answer = error
        self.report.write()
        return answer

    def stop_at(self, error: SquareCloudError) -> None:
        """Stop the run at a refused key, a block or a used-up allowance."""
        if isinstance(error, KeyRefused | Blocked | ProxyRefused | QuotaUsedUp):
            raise VerifyStopped(
                f"{error.happened}", "The run has stopped, and sends nothing more.", error.then
            ) from error

    async def sleep_until(self, at: float, why: str) -> None:
        """Wait until then (monotonic seconds)."""
        left = at - self.clock.monotonic()
        if left > 0:
            at_time = TimeOfDay(self.clock.utc() + timedelta(seconds=left))
            self.listener.progress(Text("{why}, until {at}", why=why, at=at_time))
            await self.clock.sleep(left)

    # POSTs -----------------------------------------------------------------------------------------------------------

    async def post(self, database_id: str, lane: Lane = CREATE) -> Shot:
        """Request a snapshot once. It is in the ledger and in the report before it leaves.

        Raises:
            VerifyStopped: see `ask`; or the end of another request for the database is not known.
            LedgerUnavailable: it could not be written down, so nothing was sent.
        """
        shot = self._shot("snapshot", database_id)

        async def post(leaves: Callable[[], None]) -> tuple[str, Finished | None]:
            if shot not in self.shots:
                self.shots.append(shot)
            answer = await self.client.start_snapshot(database_id, leaves=leaves)
            if isinstance(answer, Finished):
                self.report.hide_urls({"url": answer.url, "key": answer.key})
                return "200", answer
            return "202", None

        shot.finished = await self._sent(shot, lane, f"POST /databases/{database_id}/snapshots", post)
        if shot.finished is not None and shot.finished.version:
            await self.found(shot, shot.finished.version)
        if lane is EARLY and shot.accepted:
            # Other runs must keep the cooldown of a create that should have been refused.
            self.session.rate_limiter.note_earlier_post(database_id, self.clock.monotonic() - (shot.sent or 0.0))
        return shot

    async def restore(self, entry: ListedSnapshot, version_id: str) -> Shot:
        """Request a restore of a snapshot of the database onto the scratch database, once. Raises as `post` does."""
        database_id = self.targets.scratch or ""
        shot = self._shot("restore", database_id, f"{self.targets.database_id}/{version_id}")

        async def post(leaves: Callable[[], None]) -> tuple[str, None]:
            continues = await self.client.restore_snapshot(
                database_id, name=entry.name, version_id=version_id, leaves=leaves
            )
            return "202" if continues else "200", None

        await self._sent(shot, RESTORE, f"POST /databases/{database_id}/snapshots/restore", post)
        return shot

    def _shot(self, kind: Kind, database_id: str, source: str | None = None) -> Shot:
        ours = frozenset(shot.attempt.id for shot in self.shots if shot.attempt)
        operation = Operation.begin(
            self.session,
            Member(self.session.fleet, self.listener),
            kind,
            self.owner,
            database_id,
            purpose=secrets.token_hex(8),  # no later run is to resume it
            timeout=TIMEOUT,
            source=source,
            ignored=ours,
        )
        return Shot(operation)

    async def _sent(self, shot: Shot, lane: Lane, path: str, post: Post[T]) -> T | None:
        """Claim a POST and send it, unless another request is in its way; returns its answer, None without one."""

        async def noted(leaves: Callable[[], None]) -> tuple[str, T]:
            shot.sent = self.clock.monotonic()
            self._left(shot, UNANSWERED)
            self.report.write()
            return await post(leaves)

        async def settle(other: Attempt, _waits: Callable[..., None]) -> bool:
            if self.session.service_clock.now() < _unclear_until(other):
                raise _in_the_way(other)
            return False

        operation, answer = shot.operation, None
        await self.pace()
        try:
            while await operation.to_send(settle):
                answer = await operation.send(lane, path, noted)
            if operation.refusal is not None and is_new(operation.refusal):
                raise operation.refusal  # a refusal is what the run is about
        except ClaimRefused as error:
            raise _in_the_way(error.attempt) from None
        except SquareCloudError as error:
            shot.refused, shot.status, self.refused_at = _refusal(error), error.status, self.clock.monotonic()
            shot.certainly = not is_new(error)
            if shot.certainly:
                self.report.left.pop(shot.left, None)
            else:
                told = f"was refused with {shot.refused}, which is new, so it may have been started"
                self.report.left[shot.left] = self.report.left[shot.left].replace(UNANSWERED, told)
            self.stop_at(error)
            return None
        shot.answered = self.clock.monotonic()
        shot.first_byte = self.last.first_byte if self.last else 0.0
        if shot.attempt is not None:
            request = shot.attempt.request
            shot.accepted = request.answered
            self._left(
                shot,
                "was accepted; its end was not seen"
                if request.accepted
                else f"was requested, and its answer was lost ({request.answered}); its end was not seen",
            )
        return answer

    async def found(self, shot: Shot, version_id: str) -> None:
        """Note which snapshot a POST has started, for other runs too."""
        if shot.attempt is None or shot.version is not None:
            return
        shot.version = version_id
        await shot.operation.enter_result(version_id)
        until = shot.attempt.request.posted_at + timedelta(days=KEPT_DAYS)
        self.report.left[shot.left] = (
            f"snapshot {shot.database_id}/{version_id}: the service keeps it for {KEPT_DAYS} days, until about "
            f"{to_the_second(until)}, and has no route that deletes it"
        )

    async def note_restored(self, shot: Shot, state: str) -> None:
        """Note the end of the restore, which the service's status shows as `success` or `error`."""
        if shot.attempt is None:
            return
        at = rfc3339(self.session.service_clock.now().replace(microsecond=0))
        failed = state != "success"
        await shot.operation.enter_result(state if failed else at, failed=failed)
        how = f"the service says {state}"
        self.report.left[shot.left] = f"database {shot.database_id} holds what was restored onto it: {how}"

    def _left(self, shot: Shot, how: str) -> None:
        attempt = shot.attempt
        if attempt is None:
            return
        self.report.left.pop(shot.left, None)
        shot.left = f"{attempt.kind} {to_the_second(attempt.request.posted_at)}"
        is_snapshot = attempt.kind == "snapshot"
        rest = (
            "it appears in the listing if it was taken, and counts in today's allowance"
            if is_snapshot
            else "check what the database holds, and whether it runs"
        )
        self.report.left[shot.left] = (
            f"a {attempt.kind} {'of' if is_snapshot else 'onto'} database {shot.database_id} {how}: requested at "
            f"{to_the_second(attempt.request.posted_at)}; {rest}"
        )

    # Listings --------------------------------------------------------------------------------------------------------

    async def page(self, listing: str, database_id: str | None = None) -> Page | None:
        """Request a listing, `own` or `account`, and the part of it of the database, or of another; None if there is none."""
        database_id, now = database_id or self.targets.database_id, self.clock.monotonic()
        page: Page | SquareCloudError | None
        if listing == "own":
            page = await self.ask(lambda: self.session.listings.own_page(database_id, now, patience=ONCE))
        else:
            account = self.session.listings.account_page
            page = await self.ask(lambda: account(database_id, now, patience=ONCE))
            refusal = self.session.listings.account_refusal
            if page is None and refusal is not None:
                self.stop_at(refusal)
        if not isinstance(page, Page):
            return None
        if database_id == self.targets.database_id:
            self.seen |= {one.version or "": one.modified for one in page.entries}
        return page

    @property
    def strangers(self) -> int:
        """How many snapshots of the database others have taken while the run went on, or so shortly before that it matters."""
        accepted = [shot for shot in self.shots if shot.accepted and shot.database_id == self.targets.database_id]
        if not accepted:
            return 0
        since = self.service_time(min(shot.sent or 0.0 for shot in accepted)) - timedelta(seconds=COOLDOWN)
        known = {shot.version for shot in accepted if shot.version}
        new = [one for one, at in self.seen.items() if one not in known and (at is None or at >= since)]
        return max(0, len(new) - sum(shot.version is None for shot in accepted))

    def ours(self, page: Page, shot: Shot) -> ListedSnapshot | None:
        """The entry of the snapshot that a POST has started."""
        if shot.version is not None:
            return page.version(shot.version)
        if shot.attempt is None:
            return None
        with suppress(AmbiguousSnapshot):
            return find_ours(page.entries, Search.of(shot.attempt.request, excluded=self._of_others(shot)))
        return None

    def _of_others(self, shot: Shot) -> set[str]:
        return {one.version for one in self.shots if one is not shot and one.version}

    async def until_listed(self, shot: Shot) -> ListedSnapshot | None:
        """Wait until a listing shows the snapshot of a POST; None if it does not within the time.

        The service's 2 minutes count from its answer. The listings are requested in turn: a kept page of one holds up no other.

        Raises:
            VerifyStopped: see `ask`.
        """
        at, until = shot.answered + PROCESSING_TIME, shot.answered + TIMEOUT
        for listing in cycle(("own", "account")):
            if at > until:
                break
            await self.sleep_until(at, "waiting for the snapshot")
            page = await self.page(listing, shot.database_id)
            if page is not None and (entry := self.ours(page, shot)) is not None:
                await self.found(shot, entry.version or "")
                return entry
            at = self.clock.monotonic() + LISTS_EVERY
        return None

    def service_time(self, at: float) -> datetime:
        """The service's time at a moment (monotonic seconds)."""
        return self.session.service_clock.now() - timedelta(seconds=self.clock.monotonic() - at)


def _refusal(error: SquareCloudError) -> str:
    return error.code or (str(error.status) if error.status else "no connection")


def _unclear_until(other: Attempt) -> datetime:
    """Until when the end of another request could be mistaken for that of a later one."""
    until, over = other.in_the_way_until, other.request.posted_at + other.request.longest
    if until is None:
        return over
    return until if other.is_over else min(until, over)


def _in_the_way(
    other: Attempt,
    done: str = "The run has stopped, and sent no further request.",
    then: Next = Next(Step.RUN_AGAIN_LATER),  # noqa: B008  it is frozen
) -> VerifyStopped:
    at = to_the_second(other.request.posted_at)
    happened = f"a {other.kind} of database {other.database_id} was requested at {at}, and its end is not known"
    return VerifyStopped(happened, done, [then])


async def clear(session: Session, database_ids: Iterable[str]) -> None:
    """Make sure that no request for these databases is unresolved, so that its end is not taken for one of the run.

    Raises:
        VerifyStopped: there is one; nothing was sent.
        LedgerUnavailable: nothing can be sent.
    """
    now, wanted = session.service_clock.now(), set(database_ids)
    for each in await session.ledger.attempts():
        if each.database_id in wanted and each.is_in_the_way(now) and now < (until := _unclear_until(each)):
            raise _in_the_way(each, "Nothing was sent.", Next(Step.RUN_AGAIN_AFTER, time=f"{until:%H:%M:%S} UTC"))
