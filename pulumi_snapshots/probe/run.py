"""One run: its requests, which are paced, recorded and claimed in the ledger."""

import json
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import cycle
from typing import Any, Literal, NamedTuple, TypeVar

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import Hint, HintKind, Message, ProviderError
from pulumi_snapshots.hosts.download import look_at
from pulumi_snapshots.ledger.attempt import Attempt, Request
from pulumi_snapshots.ledger.decision import ClaimRefused
from pulumi_snapshots.listing.listings import Page
from pulumi_snapshots.listing.matching import AmbiguousSnapshot, find_match
from pulumi_snapshots.probe.report import OPEN, VERDICTS, Report
from pulumi_snapshots.properties.checks import problem_of_url
from pulumi_snapshots.run.memory import Listener, Member
from pulumi_snapshots.run.operation import Operation
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import ONCE, Answer, Leaving, PostAnswer
from pulumi_snapshots.service.errors import (
    Blocked,
    KeyRefused,
    ProxyRefused,
    QuotaUsedUp,
    SquareCloudError,
    is_new,
)
from pulumi_snapshots.service.limits import CREATE, Lane
from pulumi_snapshots.service.models import Finished, ListedSnapshot

T = TypeVar("T")
ListingName = Literal["own", "account"]
LISTINGS: tuple[ListingName, ...] = ("own", "account")
PACE = 2.2  # seconds between two requests, as in the vendor's own suite: 27 a minute
EARLY = Lane("early create", starts=True)
"""A create that is sent although its cooldown has not ended, to see it refused; all other limits
apply.
"""
EARLY_REFUSAL = "KEEP_CALM"
"""The code of a refusal before the cooldown has ended."""
COOLDOWN = 186.0
"""Seconds after which a create of the same database should be accepted: 180 s and some for the
way.
"""
PROBES_KEPT_FOR = timedelta(days=30)
# seconds that a run waits for one snapshot at most, and for one restore
TIMEOUT = 45 * 60.0
PROCESSING_TIME = 120.0
"""Seconds after a 202 until the snapshot is typically there."""
LISTS_EVERY = 60.0
"""Seconds between two listings while a run waits for a snapshot."""
OK = 200
DOUBTFUL = (
    "cooldown-lasts",
    "refusal-restarts",
    "modified-end",
    "listed-late",
    "own-cache-ends",
    "account-cache-ends",
)
"""Facts about which a snapshot of another client, taken meanwhile, can deceive."""


class ProbeStopped(ProviderError):
    """The run has ended early; what it settled until then is in its report."""


@dataclass(eq=False)
class Shot:
    """One POST of the run, a create unless it restores an `entry`.

    Attributes:
        operation: The operation of the POST.
        entry: The listed snapshot that is restored; None for a create.
        sent: When the POST was sent, in monotonic seconds.
        request: What the ledger has of the POST once it is sent; None again if it has certainly
            started nothing.
        answered: When the POST was answered, in monotonic seconds.
        first_byte: The seconds until the answer began.
        accepted: `200`, `202` or how the answer was lost; empty if the POST was refused.
        refusal: The refusal; None if the POST was not refused.
        finished: What the answer says of the snapshot.
        version: The version of the snapshot, once it is known.
        how: How the operation ended if it has, in words that follow "was requested and".
    """

    operation: Operation
    entry: ListedSnapshot | None = None
    sent: float = 0.0
    request: Request | None = None
    answered: float = 0.0
    first_byte: float = 0.0
    accepted: str = ""
    refusal: SquareCloudError | None = None
    finished: Finished | None = None
    version: str | None = None
    how: str = ""

    @property
    def database_id(self) -> str:
        """The database of which the POST wants a snapshot, or that it overwrites."""
        return self.operation.wish.database_id

    @property
    def is_done(self) -> bool:
        """Whether the operation was done when the POST was answered."""
        return self.accepted == "200"

    @property
    def is_processing(self) -> bool:
        """Whether the operation was under way when the POST was answered."""
        return self.accepted == "202"

    @property
    def refused(self) -> str:
        """The status and code of the refusal; empty if the POST was not refused."""
        if self.refusal is None:
            return ""
        return self.refusal.answer or "no connection"

    @property
    def is_too_early(self) -> bool:
        """Whether the POST was refused because the cooldown had not ended."""
        return self.refusal is not None and self.refusal.code == EARLY_REFUSAL

    @property
    def answer(self) -> str:
        """How the POST was answered, or the status and code of the refusal."""
        return self.refused or self.accepted

    @property
    def took(self) -> str:
        """How the POST was accepted, and after which time, as a clause."""
        return f"{self.accepted} after {self.first_byte:.1f} s"

    @property
    def left(self) -> dict[str, str]:
        """What the POST leaves at the service: a sentence by the POST's name, or nothing."""
        if self.request is None:
            return {}
        at = to_the_second(self.request.posted_at)
        name = f"{self.operation.wish.kind} {at}"
        if self.version is not None:
            until = to_the_second(self.request.posted_at + PROBES_KEPT_FOR)
            return {
                name: f"snapshot {self.database_id}/{self.version}: the service keeps it until "
                f"about {until}, and has no route that deletes it"
            }
        what = "snapshot of"
        advice = (
            "it appears in the listing if it was taken, and counts in the daily quota"
        )
        if self.entry is not None:
            what = "restore onto"
            advice = "check what the database holds, and whether it runs"
        how = self.how or self.request.unanswered
        if self.request.accepted and not self.how:
            how = "accepted, but its end was not seen"
        return {
            name: f"a {what} database {self.database_id} was requested at {at} and {how}; {advice}"
        }


class Targets(NamedTuple):
    """The databases that the run acts on; None for each that is not wanted."""

    database_id: str
    large: str | None = None
    scratch: str | None = None

    @property
    def snapshots(self) -> int:
        """How many of the day's snapshots the run takes."""
        return 2 + (self.large is not None)


@dataclass(eq=False)
class ProbeRun:
    """The run, as its steps see it.

    Attributes:
        session: The session of the process.
        targets: The databases that the run acts on.
        report: What the run settles.
        listener: Hears of the progress.
        owner: The owner of the requests in the ledger.
        last: The last answer of a read.
        posted: The last answer of a POST.
        response: What the last answer of a read says; None unless the read succeeded.
        shots: The POSTs, in their order.
        base: By listing, when the first page after the first snapshot was requested, in monotonic
            seconds, and whether it showed that snapshot.
        seen: By version, when each snapshot of the database was taken that a listing has shown.
    """

    session: Session
    targets: Targets
    report: Report
    listener: Listener
    owner: str
    last: Answer | None = None
    posted: Answer | None = None
    response: Any = None
    shots: list[Shot] = field(default_factory=list)
    base: dict[ListingName, tuple[float, bool]] = field(default_factory=dict)
    seen: dict[str, datetime | None] = field(default_factory=dict)
    _asked: float = -PACE

    def __post_init__(self) -> None:
        self.database_id = self.targets.database_id
        self.client = self.session.client
        self.clock = self.session.clock
        self.judge = self.report.judge
        self.report.hide(self.session.settings.required_key().value)
        self.client.on_answer = self.heard

    @property
    def first(self) -> Shot:
        """The first create, once it is prepared."""
        return self.shots[0]

    @property
    def now(self) -> float:
        """This moment, in monotonic seconds."""
        return self.clock.monotonic()

    @property
    def service_now(self) -> datetime:
        """The service's time."""
        return self.session.service_clock.now()

    @property
    def status(self) -> int | None:
        """The status of the last read; None without an answer."""
        return self.last.status if self.last else None

    @property
    def response_object(self) -> dict[str, Any]:
        """What the last read says; empty if it is no object."""
        return self.response if isinstance(self.response, dict) else {}

    def write(self) -> None:
        """Write the report as it stands, without what another client may have caused.

        Raises:
            ReportUnwritable: The file cannot be written.
        """
        report = self.report
        report.left = {
            name: sentence
            for shot in self.shots
            for name, sentence in shot.left.items()
        }
        strangers = self._count_strangers()
        if strangers > 0:
            self._doubt(strangers)
        report.listing_cache = self._listing_cache()
        report.write()

    def _count_strangers(self) -> int:
        """Count the snapshots that another client took meanwhile, or shortly before the first."""
        own = [
            shot
            for shot in self.shots
            if shot.accepted and shot.database_id == self.database_id
        ]
        if not own:
            return 0
        since = self.service_time(own[0].sent - COOLDOWN)
        versions = [shot.version for shot in own]
        others = [at for version, at in self.seen.items() if version not in versions]
        recent = sum(at is None or at >= since for at in others)
        return recent - versions.count(None)

    def _doubt(self, strangers: int) -> None:
        """Take back what another client's snapshots may have caused."""
        why = f"{strangers} of the listed snapshots are of another client, and were taken meanwhile"
        for name in DOUBTFUL:
            fact = self.report.facts[name]
            if fact["verdict"] != OPEN:
                fact |= {"verdict": OPEN, "seen": why}

    def _listing_cache(self) -> str:
        """The value of the setting that the facts show; empty if they differ."""
        facts = self.report.facts
        verdicts = {facts[f"{listing}-cache-ends"]["verdict"] for listing in self.base}
        if verdicts == {VERDICTS[True]}:
            return "ended-by-snapshot"
        return "kept" if verdicts == {VERDICTS[False]} else ""

    def begin(self, step: str) -> None:
        """Note the step that begins.

        Args:
            step: the step's name.
        """
        self.report.step = step
        self.write()
        self.listener.progress(step)

    def service_time(self, at: float) -> datetime:
        """Return the service's time at a moment.

        Args:
            at: the moment, in monotonic seconds.
        """
        return self.service_now - timedelta(seconds=self.now - at)

    def seconds_after(self, at: float, moment: datetime) -> float:
        """Return how many seconds a time of the service is after a moment of this machine.

        Args:
            at: the moment, in monotonic seconds.
            moment: the service's time.
        """
        return (moment - self.service_time(at)).total_seconds()

    # Requests -------------------------------------------------------------------------------------

    def heard(self, answer: Answer) -> None:
        """Record an answer, and judge what is true of every answer.

        Args:
            answer: the answer.
        """
        content: Any = None
        with suppress(ValueError, RecursionError):
            content = json.loads(
                answer.content or b"", object_hook=self.report.hide_urls
            )
        is_object = isinstance(content, dict)
        body: dict[str, Any] = content if is_object else {}
        code = body.get("code")
        self.report.heard(answer, code if isinstance(code, str) else None)
        name = f"{answer.status} for {answer.method} {answer.path}"
        self.judge("json", is_object, "" if is_object else f"{name} was no JSON")
        if is_object:
            self._judge_form(answer, body, name)
        has_header = "retry-after" in answer.headers
        seen = f"{name} had one" if has_header else ""
        self.judge("no-retry-after", not has_header, seen)
        if answer.method == "POST":
            self.posted = answer
            return
        self.last = answer
        self.response = body.get("response") if answer.status == OK else None

    def _judge_form(
        self,
        answer: Answer,
        body: dict[str, Any],
        name: str,
    ) -> None:
        """Judge the form of an answer's JSON object; `name` names the answer."""
        status = body.get("status")
        if answer.status == OK:
            has_form = status == "success" and "response" in body
            self.judge("envelope", has_form, name)
        else:
            has_form = status == "error" and isinstance(body.get("code"), str)
            self.judge("refusal", has_form, name)

    async def _pace(self) -> None:
        now = self.now
        self._asked = max(now, self._asked + PACE)
        await self.clock.sleep(self._asked - now)

    async def ask(
        self,
        request: Callable[..., Awaitable[T]],
        *arguments: object,
    ) -> T | SquareCloudError:
        """Send a read once.

        Args:
            request: sends the read.
            *arguments: the arguments of `request`.

        Returns:
            The answer, or the service's refusal.

        Raises:
            ProbeStopped: The key is refused, or something is blocked.
        """
        await self._pace()
        try:
            return await request(*arguments, patience=ONCE)
        except SquareCloudError as error:
            self.stop_at(error)
            return error
        finally:
            self.write()

    async def look(self, method: str, url: str | None) -> Answer | None:
        """Request the first bytes of a download URL.

        Args:
            method: GET or HEAD.
            url: the URL, which is a secret; None sends nothing.

        Returns:
            The answer; None if there is none.
        """
        if url is None or problem_of_url(url):
            return None
        self.report.hide_urls({"url": url})
        await self._pace()
        answer = await look_at(method, url, self.clock, self.client.http)
        if answer is not None:
            self.report.heard(answer, None)
        return answer

    def stop_at(self, error: SquareCloudError) -> None:
        """Stop the run at a refused key, a block or a used-up quota.

        Args:
            error: the refusal.

        Raises:
            ProbeStopped: The refusal ends the run.
        """
        if isinstance(error, KeyRefused | Blocked | ProxyRefused | QuotaUsedUp):
            done = "The run has stopped, and sends nothing more."
            raise ProbeStopped(error.happened, done, error.then) from error

    async def sleep_until(self, at: float, why: str) -> None:
        """Wait until a moment.

        Args:
            at: the moment, in monotonic seconds.
            why: the reason, for the progress.
        """
        left = at - self.now
        if left > 0:
            until = self.clock.utc() + timedelta(seconds=left)
            self.listener.progress(Message("{why}, until {at}", why=why, at=until))
            await self.clock.sleep(left)

    async def send(self, database_id: str, lane: Lane = CREATE) -> Shot:
        """Request a snapshot of a database; see `fire`.

        Args:
            database_id: the database.
            lane: the limits that count for the request.

        Returns:
            The request, with its answer.
        """
        return await self.fire(self.shot(database_id), lane)

    def shot(self, database_id: str, entry: ListedSnapshot | None = None) -> Shot:
        """Prepare a snapshot of a database, or the restore of an entry onto it.

        Args:
            database_id: the database.
            entry: the entry to restore; None for a snapshot.

        Returns:
            The request, not sent yet.
        """
        wish = self.session.wish(
            "snapshot" if entry is None else "restore",
            self.owner,
            database_id,
            triggers=[secrets.token_hex(8)],  # no later run is to resume it
            timeout=TIMEOUT,
            forced=True,
            source=f"{self.database_id}/{entry.version}" if entry else None,
        )
        member = Member(self.session.fleet, self.listener)
        operation = Operation(self.session, member, wish)
        for earlier in self.shots:
            if earlier.operation.attempt is not None:
                operation.ignore(earlier.operation.attempt)
        shot = Shot(operation, entry)
        self.shots.append(shot)
        return shot

    async def fire(self, shot: Shot, lane: Lane) -> Shot:
        """Send a POST once. The ledger and the report have the POST before it is sent.

        Args:
            shot: the POST.
            lane: the limits that count for the request.

        Returns:
            The POST, with its answer.

        Raises:
            ProbeStopped: The key is refused, or something is blocked.
        """
        operation = shot.operation
        await self._pace()
        try:
            await self._claim_and_send(shot, lane)
        except ClaimRefused as error:
            raise _in_the_way(error.attempt) from None
        except SquareCloudError as error:
            shot.answered = self.now
            shot.refusal = error
            if is_new(error):
                shot.how = f"refused with {shot.refused}, which is new, so it may have been started"
            else:
                shot.request = None
            self.stop_at(error)
            return shot
        shot.request = operation.sent.request
        shot.answered = self.now
        shot.first_byte = self.posted.first_byte if self.posted else 0.0
        shot.accepted = shot.request.answered
        await self._found(shot, shot.finished.version if shot.finished else None)
        return shot

    async def _claim_and_send(self, shot: Shot, lane: Lane) -> None:
        operation = shot.operation

        async def settle(other: Attempt) -> None:
            if self.service_now < other.waited_for_until:
                raise _in_the_way(other)
            operation.ignore(other)

        route = "snapshots" if shot.entry is None else "snapshots/restore"
        while (claim := await operation.next_claim()) is not None:
            if claim.role == "in the way":
                await operation.wait_out(claim.attempt, settle)
                continue
            path = f"POST /databases/{shot.database_id}/{route}"
            await operation.send(lane, path, partial(self._post, shot))
        if operation.refusal is not None and is_new(operation.refusal):
            raise operation.refusal  # a refusal is what the run is about

    async def _post(self, shot: Shot, leaving: Leaving) -> PostAnswer:
        shot.sent = self.now
        shot.request = shot.operation.sent.request
        self.write()
        if shot.entry is None:
            taken = await self.client.start_snapshot(shot.database_id, leaving=leaving)
            shot.finished = taken.finished
            return taken
        return await self.client.restore_snapshot(
            shot.database_id,
            name=shot.entry.name,
            version_id=shot.entry.version or "",
            leaving=leaving,
        )

    async def _found(self, shot: Shot, version_id: str | None) -> None:
        """Note which snapshot a POST has started, for other runs too."""
        if version_id is not None and shot.version is None:
            shot.version = version_id
            await shot.operation.enter_result(version_id)

    # Listings -------------------------------------------------------------------------------------

    async def find(
        self, listing: ListingName, shot: Shot
    ) -> tuple[Page | None, ListedSnapshot | None]:
        """Request a listing.

        Args:
            listing: Which of the two.
            shot: The POST whose snapshot is looked for.

        Returns:
            The part of the listing that is of the POST's database, and the entry of the snapshot
            that the POST has started; each None if there is none.

        Raises:
            ProbeStopped: The key is refused, or something is blocked.
        """
        listings = self.session.listings
        database_id = shot.database_id
        request: Any = listings.own_page if listing == "own" else listings.account_page
        page = await self.ask(request, database_id, self.now)
        if page is None and listings.account_refusal is not None:
            self.stop_at(listings.account_refusal)
        if not isinstance(page, Page):
            return None, None
        if database_id == self.database_id:
            self.seen |= {each.version or "": each.modified for each in page.entries}
        entry = self._entry_in(page, shot)
        await self._found(shot, entry.version if entry else None)
        return page, entry

    def _entry_in(self, page: Page, shot: Shot) -> ListedSnapshot | None:
        """The entry of the snapshot that a POST has started."""
        if shot.version is not None:
            return page.version(shot.version)
        if shot.request is not None:
            others = {
                each.version for each in self.shots if each is not shot and each.version
            }
            with suppress(AmbiguousSnapshot):
                return find_match(page.entries, shot.request, others)
        return None

    async def until_listed(self, shot: Shot) -> ListedSnapshot | None:
        """Wait until a listing shows the snapshot of a POST.

        The service's 2 minutes count from its answer. The listings are requested in turn, so that a
        cached page of one does not hold up the other.

        Args:
            shot: the POST.

        Returns:
            The entry; None if no listing shows it in time.
        """
        names = cycle(LISTINGS)
        at = shot.answered + PROCESSING_TIME
        while at <= shot.answered + TIMEOUT:
            await self.sleep_until(at, "waiting for the snapshot")
            _, entry = await self.find(next(names), shot)
            if entry is not None:
                return entry
            at = self.now + LISTS_EVERY
        return None


def _in_the_way(other: Attempt) -> ProbeStopped:
    at = to_the_second(other.request.posted_at)
    until = f"{other.waited_for_until:%H:%M:%S} UTC"
    happened = (
        f"a {other.kind} of database {other.database_id} was requested at {at}, and its end is "
        "not known"
    )
    done = "The run has stopped, and sent no further request."
    return ProbeStopped(happened, done, [Hint(HintKind.RUN_AGAIN_AFTER, time=until)])
