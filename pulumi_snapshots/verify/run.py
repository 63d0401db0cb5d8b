"""One run: its requests, which are paced, recorded and entered in the journal, and the order of its steps."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import anyio

from pulumi_snapshots.api.client import ONCE, Client
from pulumi_snapshots.api.errors import Blocked, KeyRefused, ProxyRefused, QuotaUsedUp, SquareCloudError
from pulumi_snapshots.api.models import Finished, ListedSnapshot
from pulumi_snapshots.api.pacing.rate_limiter import CREATE, Lane
from pulumi_snapshots.api.transport import Heard
from pulumi_snapshots.attempt.attempt import NOT_AWAITED
from pulumi_snapshots.attempt.journal import Entry, Found
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.text import Text, TimeOfDay
from pulumi_snapshots.listing.listings import Page
from pulumi_snapshots.listing.match import LATE, AmbiguousSnapshot, Search, find_ours
from pulumi_snapshots.listing.wait import ListingWait
from pulumi_snapshots.progress import Listener, Member
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.verify.report import Report

T = TypeVar("T")
PACE = 2.2
"""Seconds between two requests, as in the vendor's own suite: 27 a minute."""
EARLY = Lane("early create", starts=True)
"""A create that is sent although its cooldown has not ended, to see it refused; all other limits apply."""
COOLDOWN = 186.0
"""Seconds after which a create of the same database should be accepted: 180 s and some for the way."""
PURPOSE = "verify"
"""Marks the journal's entries of such runs: no resource claims their snapshots."""
KEPT_DAYS = 30
TIMEOUT = 45 * 60.0
"""Seconds that a run waits for one snapshot at most, and for one restore."""
_SAFE_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,60}")


class VerifyStopped(Explained):
    """The run has ended early; what it settled until then is in its report."""


@dataclass
class Shot:
    """One POST of the run.

    Attributes:
        database_id: its database.
        entry: in the journal, while its end is not known.
        sent: when it was sent (monotonic seconds); None if it was not.
        answered: when its answer came.
        first_byte: seconds until its answer began.
        accepted: how it was answered, `200`, `202` or how the answer was lost; empty if it was refused.
        refused: the code of the refusal.
        finished: the content of a 200.
        version: its snapshot, once it is known.
    """

    database_id: str
    entry: Entry | None = None
    sent: float | None = None
    answered: float = 0.0
    first_byte: float = 0.0
    accepted: str = ""
    refused: str = ""
    finished: Finished | None = None
    version: str | None = None


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

    Attributes:
        last: the last answer of the API.
        shots: the POSTs of snapshots of the database, accepted or not.
        base: the first page after the first snapshot, by listing: when it was requested, and whether it showed that one.
    """

    def __init__(self, session: Session, targets: Targets, report: Report, listener: Listener) -> None:
        self.session = session
        self.client: Client = session.client
        self.clock = session.clock
        self.targets = targets
        self.report = report
        self.listener = listener
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
        """Request a snapshot once. It is in the journal and in the report before it leaves.

        Raises:
            VerifyStopped: see `ask`; or another run has requested a snapshot of the database.
        """
        shot = Shot(database_id)
        await self.pace()

        async def leaves() -> None:
            await self._enter(shot, "snapshot")
            self.shots.append(shot)

        try:
            answer = await self.client.start_snapshot(database_id, on_send=leaves, lane=lane)
        except SquareCloudError as error:
            if error.ambiguous and shot.sent is not None:
                await self._answered(shot, error.code or f"lost ({error.status or 'no answer'})")
            else:
                shot.refused = _refusal(error)
                self.refused_at = self.clock.monotonic()
                await self._gone(shot, "snapshot")
                self.stop_at(error)
            return shot
        if isinstance(answer, Finished):
            shot.finished = answer
            self.report.hide_urls({"url": answer.url, "key": answer.key})
        await self._answered(shot, "202" if shot.finished is None else "200")
        if shot.finished is not None and shot.finished.version:
            await self.found(shot, shot.finished.version)
        if lane is EARLY:  # other runs must keep the cooldown of a create that should have been refused
            self.session.rate_limiter.note_earlier_post(database_id, self.clock.monotonic() - (shot.sent or 0.0))
        return shot

    async def restore(self, entry: ListedSnapshot, version_id: str) -> Shot:
        """Request a restore of a snapshot of the database onto the scratch database, once."""
        database_id = self.targets.scratch or ""
        shot = Shot(database_id)
        await self.pace()
        restores = f"{self.targets.database_id}/{version_id}"
        try:
            await self.client.restore_snapshot(
                database_id,
                name=entry.name,
                version_id=version_id,
                on_send=lambda: self._enter(shot, "restore", restores),
            )
        except SquareCloudError as error:
            if error.ambiguous and shot.sent is not None:
                await self._answered(shot, error.code or f"lost ({error.status or 'no answer'})", "restore")
            else:
                shot.refused = _refusal(error)
                await self._gone(shot, "restore")
                self.stop_at(error)
            return shot
        await self._answered(shot, str(self.last.status if self.last else 200), "restore")
        return shot

    async def _enter(self, shot: Shot, what: str, restores: str | None = None) -> None:
        journal, now = self.session.journals[what], self.clock.utc()
        post = Post(
            posted_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            service_clock_offset=self.session.service_clock.offset,
            answered=NOT_AWAITED,
            timeout=TIMEOUT,
        )
        process = journal.process.name
        entry = Entry(None, shot.database_id, PURPOSE, post, process, restores=restores)
        ours = [one for one in await journal.of(shot.database_id) if one.process == process]
        self._left(shot, entry, "was requested, and its answer was not awaited", what)
        self.report.write()
        if await journal.enter(entry, after=ours) is None:
            self.report.left.pop(_key(entry), None)
            raise VerifyStopped(
                f"another run of this machine has requested a {what} of database {shot.database_id} whose end is not known",
                "The run has stopped, and sent no further request.",
                [Next(Step.RUN_AGAIN_LATER)],
            )
        shot.entry, shot.sent = entry, self.clock.monotonic()

    async def _answered(self, shot: Shot, how: str, what: str = "snapshot") -> None:
        shot.accepted, shot.answered = how, self.clock.monotonic()
        shot.first_byte = self.last.first_byte if self.last else 0.0
        if shot.entry is not None:
            offset = self.session.service_clock.offset
            post = replace(shot.entry.post, answered=how, service_clock_offset=offset)
            shot.entry = replace(shot.entry, post=post)
            await self.session.journals[what].update(shot.entry)
            seen = "was accepted" if shot.entry.post.accepted else f"was requested, and its answer was lost ({how})"
            self._left(shot, shot.entry, f"{seen}; its end was not seen", what)

    async def _gone(self, shot: Shot, what: str) -> None:
        if shot.entry is not None:
            await self.session.journals[what].erase(shot.entry)
            self.report.left.pop(_key(shot.entry), None)
            shot.entry = None

    async def found(self, shot: Shot, version_id: str) -> None:
        """Note which snapshot a POST has started, for other runs too."""
        if shot.entry is not None and shot.version is None:
            shot.version = version_id
            found = Found(shot.database_id, version_id, self.clock.utc())
            await self.session.journals["snapshot"].erase(shot.entry, found)
            until = shot.entry.post.posted_at + timedelta(days=KEPT_DAYS)
            self.report.left[_key(shot.entry)] = (
                f"snapshot {shot.database_id}/{version_id}: the service keeps it for {KEPT_DAYS} days, until about "
                f"{to_the_second(until)}, and has no route that deletes it"
            )

    async def note_restored(self, shot: Shot, how: str) -> None:
        """Note the end of the restore."""
        if shot.entry is not None:
            await self.session.journals["restore"].erase(shot.entry)
            self.report.left[_key(shot.entry)] = f"database {shot.database_id} holds what was restored onto it: {how}"

    def _left(self, shot: Shot, entry: Entry, how: str, what: str) -> None:
        at = to_the_second(entry.post.posted_at)
        rest = (
            "it appears in the listing if it was taken, and counts in today's allowance"
            if what == "snapshot"
            else "check what the database holds, and whether it runs"
        )
        self.report.left[_key(entry)] = (
            f"a {what} {'of' if what == 'snapshot' else 'onto'} database {shot.database_id} {how}: requested at {at}; {rest}"
        )

    # Listings --------------------------------------------------------------------------------------------------------

    async def page(self, listing: str) -> Page | None:
        """Request a listing, `own` or `account`, and the database's part of it; None if there is none."""
        database_id, now = self.targets.database_id, self.clock.monotonic()
        page: Page | SquareCloudError | None
        if listing == "own":
            page = await self.ask(lambda: self.session.listings.own_page(database_id, now, patience=ONCE))
        else:
            account = self.session.listings.account_page
            page = await self.ask(lambda: account(database_id, now, patience=ONCE))
            refusal = self.session.listings.account_refusal
            if page is None and refusal is not None:
                self.stop_at(refusal)
        return page if isinstance(page, Page) else None

    def ours(self, page: Page, shot: Shot) -> ListedSnapshot | None:
        """The entry of the snapshot that a POST has started."""
        if shot.version is not None:
            return page.version(shot.version)
        if shot.entry is None:
            return None
        others = {one.version for one in self.shots if one is not shot and one.version}
        with suppress(AmbiguousSnapshot):
            return find_ours(
                page.entries, Search.of(shot.entry.post, self.session.service_clock.offset, excluded=others)
            )
        return None

    async def until_listed(self, shot: Shot) -> ListedSnapshot | None:
        """Wait until a listing shows the snapshot of a POST; None if it does not within the time."""
        if shot.entry is None:
            return None
        others = {one.version for one in self.shots if one is not shot and one.version}
        wait = ListingWait(
            self.session, shot.database_id, shot.entry.post, Member(self.session.fleet, self.listener), others=others
        )
        found: ListedSnapshot | None = None
        with anyio.move_on_after(TIMEOUT):
            try:
                found = await wait.until_listed(settled=self._blocked)
            except (SquareCloudError, AmbiguousSnapshot) as error:
                if isinstance(error, SquareCloudError):
                    self.stop_at(error)
        if self._blocked():
            raise VerifyStopped("the account is blocked", "The run has stopped, and sends nothing more.")
        if found is not None:
            await self.found(shot, found.version or "")
        return found

    def _blocked(self) -> bool:
        return self.session.rate_limiter.blocked

    def service_time(self, at: float) -> datetime:
        """The service's time at a moment (monotonic seconds)."""
        return self.session.service_clock.now() - timedelta(seconds=self.clock.monotonic() - at)


def _refusal(error: SquareCloudError) -> str:
    return error.code or (str(error.status) if error.status else "no connection")


def _key(entry: Entry) -> str:
    return f"{'restore' if entry.restores else 'snapshot'} {to_the_second(entry.post.posted_at)}"


async def clear(session: Session, database_ids: Iterable[str]) -> None:
    """Make sure that no POST on these databases is unresolved, so that its end is not taken for one of the run.

    Raises:
        VerifyStopped: there is one; nothing was sent.
    """
    now = session.clock.utc()
    for what, journal in session.journals.items():
        for entry in [one for one in await journal.all() if one.database_id in set(database_ids)]:
            if entry.finished is not None or entry.run:
                continue
            ours = entry.purpose == PURPOSE
            longest = LATE if ours else entry.post.failed_after
            if timedelta(seconds=entry.post.age(now)) <= longest:
                raise VerifyStopped(
                    f"a {what} of database {entry.database_id} was requested on this machine at "
                    f"{to_the_second(entry.post.posted_at)}, and its end is not known",
                    "Nothing was sent.",
                    [Next(Step.RUN_AGAIN_AFTER, time=f"{entry.post.posted_at + longest:%H:%M:%S} UTC")],
                )
            if ours and not journal.is_under_way(entry):
                await journal.erase(entry)
