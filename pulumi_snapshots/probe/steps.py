"""The steps of a run in their order: what each does, and what it makes of the facts."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next
from pulumi_snapshots.errors.next_step import Step as After
from pulumi_snapshots.listing.listings import SERVICE_CACHE, Page
from pulumi_snapshots.listing.quota import allowance_of, counted
from pulumi_snapshots.probe.run import COOLDOWN, EARLY, PROCESSING_TIME, Run, Shot, VerifyStopped, clear
from pulumi_snapshots.service.client import ONCE
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.service.models import Account, ListedSnapshot
from pulumi_snapshots.service.signed_url import database_of, expiry_of, version_of
from pulumi_snapshots.service.transport import Heard

OK, ACCEPTED, PARTIAL, REFUSED = 200, 202, 206, 403
DAY_30 = 30 * 86400.0
HOUR = 3600.0
TELLING = 6.0
"""Seconds between a snapshot's start and end from which on its time is clearly one of the two."""
SERIES = (0.0, 25.0, 60.0)
"""Seconds after the second snapshot at which the listings are requested."""
SOFT_DEADLINE = (80.0, 110.0)
"""Seconds between which a 202 should come, documented as about 90."""
LATE_AFTER_202 = 180.0
"""Seconds after a 202 within which "about 2 minutes" is true."""
LONGEST = 6 * HOUR
"""Seconds after which a run ends whatever it waits for."""
EXPIRY = SERVICE_CACHE + 60.0
TAIL = (5.0, 60.0, 100.0, 150.0, 200.0)
"""Seconds after a restore at which a create is tried, until one is accepted."""
TAIL_LASTS = (110.0, 135.0)
"""Seconds between which "about 2 minutes" ends."""
RESTORE_POLL = 10.0
RESTORE_LIMIT = 15 * 60.0
MILLISECONDS = (1.5e12, 4e12)
"""Unix milliseconds of this century; the same times in seconds are far below."""

_PLAN = re.compile(r"free|(hobby|standard|pro|enterprise)-\d+")
_ID = re.compile(r"[a-f0-9]{32}")
_VERSION = re.compile(r"[A-Za-z0-9+/=._-]{24,96}")
_STATES = {"none", "queued", "running", "success", "error"}
ENTRY = {"name", "size", "modified", "key", "version_id", "url", "runtime", "origin"}
DATABASE = {"id", "name", "owner", "cluster", "ram", "type", "port", "created_at"}
LISTED_DATABASE = {"id", "name", "ram", "type", "cluster", "created_at"}


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: shown in progress and report.
        act: does it.
        wanted: whether the run's targets ask for it.
    """

    name: str
    act: Callable[[Run], Awaitable[None]]
    wanted: Callable[[Run], bool] = lambda _: True


def _lacking(fields: set[str], content: Any) -> str:
    """The fields that an object lacks; all if it is none."""
    there = content.keys() if isinstance(content, dict) else set()
    return ", ".join(sorted(fields - set(there)))


def _response(run: Run) -> Any:
    content = run.content
    return content.get("response") if isinstance(content, dict) else None


# Reads ---------------------------------------------------------------------------------------------------------------


async def _reads(run: Run) -> None:
    judge, database_id = run.report.judge, run.targets.database_id
    account = await run.ask(lambda: run.client.account(patience=ONCE))
    if isinstance(account, Account):
        content = _response(run)
        databases = content.get("databases") if isinstance(content, dict) else None
        listed = databases if isinstance(databases, list) else []
        lacks = _lacking({"user", "databases"}, content) or next(
            filter(None, (_lacking(LISTED_DATABASE, it) for it in listed)), ""
        )
        judge(
            "account",
            true=not lacks and account.plan_memory is not None,
            seen=f"lacks {lacks}" if lacks else "as documented",
        )
        judge("plan-name", true=bool(_PLAN.fullmatch(account.plan or "")), seen=f"{account.plan}")
        odd = sum(not _ID.fullmatch(one.id) for one in account.databases)
        judge("database-id", true=not odd, seen=f"{odd} of {len(account.databases)} have another form")
        run.allowance = allowance_of(account.plan_memory) if account.plan_memory else None
    elif isinstance(account, SquareCloudError):
        if account.passing:  # a service that does not answer a read is not sent a create
            raise VerifyStopped(account.happened, "Nothing was started.", account.then) from account
        judge("account", true=None, seen=f"refused: {account.code or account.status}")
    if run.allowance is not None and run.allowance <= run.targets.snapshots:
        raise VerifyStopped(
            f"the plan allows {run.allowance} snapshots in 24 hours, and this run takes {run.targets.snapshots}: none would be left",
            "Nothing was started.",
            [Next(After.USE_LARGER_PLAN)],
        )
    answer = await run.ask(lambda: run.client.database(database_id, patience=ONCE))
    if not isinstance(answer, SquareCloudError):
        lacks = _lacking(DATABASE, _response(run))
        judge("database", true=not lacks, seen=f"lacks {lacks}" if lacks else "as documented")
    await run.ask(lambda: run.client.database_status(database_id, patience=ONCE))
    if run.last is not None and run.last.status == OK:
        content = _response(run)
        known = content if isinstance(content, dict) else {}
        judge("status", true=isinstance(known.get("running"), bool), seen="")
        if known.get("running") is True:
            judge("uptime", true=_is_time(known.get("uptime")), seen="" if "uptime" in known else "there is none")
    await _restore_status(run, database_id)


async def _restore_status(run: Run, database_id: str) -> dict[str, Any] | None:
    judge = run.report.judge
    answer = await run.ask(lambda: run.client.restore_status(database_id, patience=ONCE))
    status = run.report.answers[-1]["status"] if run.report.answers else None
    if answer is None and status == REFUSED:
        judge("restore-status", true=None, seen="this key may not read it")
        return None
    if answer is None:
        judge("restore-status", true=False, seen=f"{status}: there is no such route")
        return None
    if isinstance(answer, SquareCloudError) and status != OK:
        judge("restore-status", true=None, seen=f"{answer.status} {answer.code or ''}".strip())
        return None
    content = _response(run)
    known: dict[str, Any] = content if isinstance(content, dict) else {}
    state = known.get("state")
    judge(
        "restore-status", true=isinstance(state, str), seen="as documented" if isinstance(state, str) else "no `state`"
    )
    if isinstance(state, str):
        fits = state in _STATES
        judge("restore-states", true=fits, seen="" if fits else "another state")
    times = [known.get(name) for name in ("started_at", "finished_at")]
    given = [at for at in times if at is not None]
    if given:
        fits = all(map(_is_time, given))
        judge("restore-times", true=fits, seen="" if fits else "another unit or form")
    return known


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and MILLISECONDS[0] < value < MILLISECONDS[1]


# The first snapshot --------------------------------------------------------------------------------------------------


async def _first(run: Run) -> None:
    """The first create, without a listing before it, and one 3 s later that must be refused."""
    database_id = run.targets.database_id
    failure: list[Explained] = []
    early: list[Shot] = []

    async def first() -> None:
        try:
            run.first = await run.post(database_id)
        except Explained as error:  # a task group would wrap it
            failure.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        while not run.shots and not run.first and not failure:
            await run.clock.sleep(0.1)
        await run.clock.sleep(3.0)
        if not failure and not (run.first and run.first.refused):
            try:
                early.append(await run.post(database_id, EARLY))
            except Explained as error:
                failure.append(error)
    if failure:
        raise failure[0]
    shot = run.first
    if shot is None or shot.refused:
        why = shot.refused if shot else "not sent"
        certainly = not run.report.left and (shot is None or shot.certainly)
        done = "Nothing was started." if certainly else "The report says what it may have started."
        raise VerifyStopped(f"the first create was refused with {why}", done)
    if early:
        _judge_early(run, "cooldown", early[0])
    _judge_answer(run, shot)


def _judge_early(run: Run, fact: str, shot: Shot) -> None:
    """Judge a create that should have been refused; one that was accepted is the second of the run."""
    if shot.refused:
        # Another refusal may come before that of the cooldown.
        run.report.judge(fact, true=True if shot.refused == "KEEP_CALM" else None, seen=f"refused with {shot.refused}")
    else:
        run.report.judge(fact, true=False, seen=f"accepted ({shot.accepted})")
        run.second = run.second or shot


def _judge_answer(run: Run, shot: Shot) -> None:
    judge, took = run.report.judge, f"{shot.first_byte:.1f} s"
    whole = shot.answered - (shot.sent or 0.0)
    if shot.accepted in {"200", "202"}:
        seen = f"first byte after {took}, whole after {whole:.1f} s"
        judge("first-byte", true=shot.first_byte > whole / 2 if whole >= TELLING else None, seen=seen)
    if shot.accepted == "202":
        _judge_202(run, shot)
    if shot.finished is None or shot.accepted != "200":
        judge("create-answer", true=None, seen=f"{shot.accepted} after {took}")
        return
    url, key = shot.finished.url, shot.finished.key
    judge("create-answer", true=bool(url and key), seen=f"200 after {took}")
    judge(
        "key-version",
        true=shot.finished.version is not None,
        seen="has a version" if shot.finished.version else "has none",
    )
    if url:
        judge("unpinned", true=version_of(url) is None, seen="names none" if version_of(url) is None else "names one")
        expires = expiry_of(url)
        away = (expires - run.session.service_clock.now()).total_seconds() if expires else 0.0
        judge("url-days", true=abs(away - DAY_30) < HOUR, seen=f"{away / 86400:.1f} days")


def _judge_202(run: Run, shot: Shot) -> None:
    low, high = SOFT_DEADLINE
    run.report.judge("create-202", true=low <= shot.first_byte <= high, seen=f"202 after {shot.first_byte:.1f} s")


# The listings and the download URLs ----------------------------------------------------------------------------------


async def _listed(run: Run) -> None:
    """Both listings once the first snapshot is done, and what their entries look like."""
    shot = run.first
    if shot is None or run.base:
        return
    if shot.accepted != "200":
        entry = await run.until_listed(shot)
        if entry is None:
            run.report.judge("listed-late", true=None, seen="not listed within 45 minutes")
            return
        _judge_late(run, shot, entry)
    for listing in ("own", "account"):
        at = run.clock.monotonic()
        page = await run.page(listing)
        if page is None:
            continue
        entry = run.ours(page, shot)
        run.base[listing] = (at, entry is not None)
        if listing == "own" and shot.accepted == "200":
            # A page without it may be one that another client has requested before.
            run.report.judge(
                "listed", true=True if entry else None, seen="listed" if entry else "not on the first page"
            )
        if entry is not None:
            await run.found(shot, entry.version or "")
            _judge_entry(run, shot, entry, page, listing)
            run.entry = run.entry or entry
    await _urls(run)


def _judge_entry(run: Run, shot: Shot, entry: ListedSnapshot, page: Page, listing: str) -> None:
    judge, database_id = run.report.judge, run.targets.database_id
    items = _response(run)
    raw = next((it for it in items or () if isinstance(it, dict) and it.get("version_id") == entry.version), None)
    lacks = _lacking(ENTRY, raw)
    judge("entry", true=not lacks, seen=f"lacks {lacks}" if lacks else "as documented")
    if listing == "account":
        judge("account-entry", true=bool(entry.url) and database_of(entry.url or "") == database_id, seen="")
    forms = {
        database_id: "id",
        f"{database_id}_{entry.runtime}": "id_type",
        f"{database_id}_{entry.runtime}_{entry.origin}": "id_type_origin",
    }
    form = forms.get(entry.name)
    judge("name", true=form is not None, seen=form or "another form")
    judge("origin", true=entry.origin == "manual", seen="manual" if entry.origin == "manual" else "another one")
    judge("version-id", true=bool(_VERSION.fullmatch(entry.version or "")), seen="")
    pinned = [version_of(entry.url or ""), version_of(f"?{entry.key or ''}")]
    judge("pinned", true=all(one == entry.version for one in pinned), seen="")
    times = [one.modified for one in page.listing.entries if one.modified]
    judge("newest-first", true=times == sorted(times, reverse=True), seen=f"{len(times)} entries")
    _judge_modified(run, shot, entry)


def _judge_modified(run: Run, shot: Shot, entry: ListedSnapshot) -> None:
    if entry.modified is None or shot.sent is None:
        return
    began = (entry.modified - run.service_time(shot.sent)).total_seconds()
    ended = (entry.modified - run.service_time(shot.answered)).total_seconds()
    seen = f"{began:.0f} s after the request, {ended:.0f} s after the answer"
    tells = shot.accepted == "202" or began - ended >= TELLING
    late = began > TELLING / 2 if shot.accepted == "202" else abs(ended) < abs(began)
    run.report.judge("modified-end", true=late if tells else None, seen=seen if tells else f"too quick to tell: {seen}")


def _judge_late(run: Run, shot: Shot, entry: ListedSnapshot) -> None:
    found = run.clock.monotonic() - shot.answered
    done = found
    if entry.modified is not None:
        # If `modified` is the end, it tells more than the poll that has found it.
        ended = (entry.modified - run.service_time(shot.answered)).total_seconds()
        done = ended if ended > 0 else found
    fits = True if done <= LATE_AFTER_202 else None if done == found else False
    seen = f"done {done:.0f} s after the 202, found after {found:.0f} s"
    run.report.judge("listed-late", true=fits, seen=seen)
    _judge_modified(run, shot, entry)


async def _look(run: Run, method: str, url: str) -> Heard | None:
    run.report.hide_urls({"url": url})
    answer = await run.ask(lambda: run.client.look_at(method, url))
    if isinstance(answer, SquareCloudError):
        return None
    run.report.heard(answer, None)
    return answer


async def _urls(run: Run) -> None:
    """A range of the pinned URL and of the one without a version, and a HEAD."""
    judge, url = run.report.judge, run.entry.url if run.entry else None
    if url:
        part = await _look(run, "GET", url)
        if part is not None:
            judge("range", true=part.status == PARTIAL, seen=f"{part.status}")
            if part.status in {OK, PARTIAL}:
                has = "x-amz-version-id" in part.headers
                judge("version-header", true=has, seen="sent" if has else "not sent")
                strong = part.headers.get("etag", "").startswith('"')
                judge("entity-tag", true=strong, seen="sent" if strong else "not sent, or a weak one")
        head = await _look(run, "HEAD", url)
        if head is not None:
            judge("head", true=head.status == REFUSED, seen=f"{head.status}")
    if run.first and run.first.finished and run.first.finished.url:
        run.unpinned = await _look(run, "GET", run.first.finished.url)


# The cooldown and the second snapshot --------------------------------------------------------------------------------


async def _refusal(run: Run) -> None:
    first = run.first
    if first is None or first.sent is None or run.second is not None:
        return
    at = first.sent + 170.0
    if run.clock.monotonic() > at + TELLING:
        return
    await run.sleep_until(at, "waiting to try a create that must be refused")
    _judge_early(run, "cooldown-lasts", await run.post(run.targets.database_id, EARLY))


async def _second(run: Run) -> None:
    judge, first = run.report.judge, run.first
    if first is None or first.sent is None or run.second is not None:
        return
    page = run.session.listings.known_pages(run.targets.database_id)[1]
    taken = len(counted(page.listing, run.session.service_clock.now())) if page else 1
    if run.allowance is not None and run.allowance - taken < run.targets.snapshots:
        raise VerifyStopped(
            f"{taken} of the {run.allowance} snapshots of 24 hours are used, so this run would leave none",
            "The run has stopped, and takes no other one.",
        )
    await run.sleep_until(first.sent + COOLDOWN, "waiting for the end of the cooldown")
    punctual = run.clock.monotonic() < first.sent + COOLDOWN + TELLING and run.refused_at > first.sent + 160.0
    shot = await run.post(run.targets.database_id)
    if shot.refused == "KEEP_CALM":
        if punctual:
            judge("refusal-restarts", true=True, seen="refused 186 s after the accepted one, with a refusal in between")
        await run.sleep_until(run.refused_at + COOLDOWN, "waiting 186 s from the last refusal")
        shot = await run.post(run.targets.database_id)
        judge("cooldown-ends", true=None, seen=f"{shot.refused or shot.accepted} 186 s after the last refusal")
    elif punctual and shot.accepted:
        judge("refusal-restarts", true=False, seen="accepted 186 s after the first, with a refusal in between")
        judge("cooldown-ends", true=True, seen="accepted")
    elif shot.accepted:
        judge("cooldown-ends", true=True, seen=f"accepted {(shot.sent or 0) - first.sent:.0f} s after the first")
    if shot.refused:
        judge("cooldown-ends", true=None, seen=f"refused with {shot.refused}")
        return
    run.second = shot
    _judge_answer(run, shot)


async def _cache(run: Run) -> None:
    """Whether the second snapshot ends the caching of the pages that showed the first."""
    judge, shot = run.report.judge, run.second
    if shot is None or not run.base:
        return
    begin = max(shot.answered, run.clock.monotonic()) if shot.accepted == "200" else shot.answered + PROCESSING_TIME
    ends: dict[str, bool] = {}
    for offset in SERIES:
        await run.sleep_until(begin + offset, "waiting to request the listings again")
        for listing in [one for one in run.base if one not in ends]:
            if await _shows(run, listing, shot):
                ends[listing] = True
    # A 200 says that it was done by then; otherwise the other listing may say so.
    done = shot.accepted == "200" or shot.version is not None
    for listing, (at, fresh) in run.base.items():
        fact = f"{listing}-cache-ends"
        if shot.sent is None or at >= shot.sent:
            judge(fact, true=None, seen="no page was requested between the two snapshots")
        elif ends.get(listing):
            # A page that shows the first snapshot is not older than its end.
            young = fresh and run.first is not None and run.clock.monotonic() - (run.first.sent or 0.0) < SERVICE_CACHE
            why = "shown within a minute" if young else "the page before was an old one"
            judge(fact, true=True if young else None, seen=why)
        elif done:
            judge(fact, true=False, seen="not shown a minute after it was done")
    run.ends = {listing: run.report.facts[f"{listing}-cache-ends"].verdict for listing in run.base}


async def _shows(run: Run, listing: str, shot: Shot) -> bool:
    page = await run.page(listing)
    entry = run.ours(page, shot) if page else None
    if entry is not None:
        await run.found(shot, entry.version or "")
    return entry is not None


async def _unpinned(run: Run) -> None:
    """The first URL without a version, now that there is a newer snapshot."""
    first, second, before = run.first, run.second, run.unpinned
    if not (first and first.finished and first.finished.url and second) or before is None:
        return
    now = await _look(run, "GET", first.finished.url)
    if now is None or now.status not in {OK, PARTIAL}:
        return
    version = now.headers.get("x-amz-version-id")
    if version in {first.version, second.version} and version is not None:
        run.report.judge("newest", true=version == second.version, seen="by its version")
        return
    told = [name for name in ("etag", "last-modified", "content-range") if name in before.headers]
    differs = any(before.headers[name] != now.headers.get(name) for name in told)
    if second.accepted == "200" and told:
        # Two snapshots of data that has not changed may be alike but for their times.
        same = False if "last-modified" in told else None
        run.report.judge("newest", true=True if differs else same, seen=f"by {', '.join(told)}")


async def _expiry(run: Run) -> None:
    """Pages that lacked the second snapshot, once they are 31 minutes old."""
    shot, judge = run.second, run.report.judge
    lacking = [listing for listing, verdict in run.ends.items() if verdict == "contradicted"]
    if shot is None or not lacking:
        return
    await run.sleep_until(
        max(run.base[listing][0] for listing in lacking) + EXPIRY, "the pages are kept: waiting to request them again"
    )
    for listing in lacking:
        shown = await _shows(run, listing, shot)
        judge(
            "cache-30-min", true=shown, seen="shown after 31 minutes" if shown else f"the {listing} page still lacks it"
        )


# Options -------------------------------------------------------------------------------------------------------------


async def _large(run: Run) -> None:
    shot = await run.post(run.targets.large or "")
    if shot.refused:
        run.report.judge("create-202", true=None, seen=f"refused with {shot.refused}")
        return
    if shot.accepted == "200":
        run.report.judge(
            "create-202", true=None, seen=f"done after {shot.first_byte:.1f} s: a larger database tells more"
        )
    elif shot.accepted == "202":
        _judge_202(run, shot)
    if shot.version is None:
        entry = await run.until_listed(shot)
        if entry is not None and shot.accepted == "202":
            _judge_late(run, shot, entry)


@dataclass
class _RestoreWatch:
    """A restore and what was seen of it while it ran."""

    run: Run
    entry: ListedSnapshot
    version_id: str
    shot: Shot | None = None
    failure: Explained | None = None
    down: list[bool] = field(default_factory=list)
    state: dict[str, Any] | None = None
    started: list[float] = field(default_factory=list)

    async def until_over(self) -> Shot:
        """Request it, and poll until it is over.

        Raises:
            Explained: the run must stop.
        """
        ends = self.run.clock.monotonic() + RESTORE_LIMIT
        async with anyio.create_task_group() as group:
            group.start_soon(self._guarded, self._request)
            await self.run.clock.sleep(RESTORE_POLL / 2)
            while not (self.failure or self._is_over()) and self.run.clock.monotonic() < ends:
                await self._guarded(self._poll)
                if not (self.failure or self._is_over()):
                    await self.run.clock.sleep(RESTORE_POLL)
        if self.failure is not None or self.shot is None:
            raise self.failure or VerifyStopped("the restore was not answered")
        return self.shot

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Explained as error:  # a task group would wrap it
            self.failure = error

    async def _request(self) -> None:
        self.shot = await self.run.restore(self.entry, self.version_id)

    async def _poll(self) -> None:
        run, scratch = self.run, self.run.targets.scratch or ""
        status = await run.ask(lambda: run.client.database_status(scratch, patience=ONCE))
        if not isinstance(status, SquareCloudError):
            self.down.append(not status.running)
            if status.uptime is not None:
                self.started.append(status.uptime.timestamp())
        self.state = await _restore_status(run, scratch)

    def _is_over(self) -> bool:
        if self.shot is None or self.shot.refused:
            return self.shot is not None
        if self.state:
            finished, sent = self.state.get("finished_at"), self.run.service_time(self.shot.sent or 0.0)
            # The outcome of an earlier restore is shown for an hour.
            earlier = isinstance(finished, int | float) and finished / 1000 < sent.timestamp() - TELLING
            return self.state.get("state") in {"success", "error"} and not earlier
        return True in self.down and not self.down[-1]


async def _restore(run: Run) -> None:
    judge = run.report.judge
    if run.entry is None or run.entry.version is None:
        judge("restore-answer", true=None, seen="no snapshot to restore was listed")
        return
    watch = _RestoreWatch(run, run.entry, run.entry.version)
    shot = await watch.until_over()
    if shot.refused:
        judge("restore-answer", true=None, seen=f"refused with {shot.refused}")
        return
    took = f"{shot.accepted} after {shot.first_byte:.1f} s"
    judge("restore-answer", true=True if shot.accepted in {"200", "202"} else None, seen=took)
    down, state = watch.down, watch.state or {}
    # It may have been down between two polls only.
    posted = run.service_time(shot.sent or 0.0).timestamp()
    again = watch.started[-1] > posted if watch.started else None
    judge("restore-restarts", true=again, seen="by its `uptime`" if watch.started else "it has no `uptime`")
    judge("restore-down", true=True if any(down) else again, seen=f"down in {sum(down)} of {len(down)} polls")
    finished, ended = state.get("finished_at"), state.get("state")
    if isinstance(finished, int | float) and shot.sent is not None:
        until = finished / 1000 - run.service_time(shot.sent).timestamp()
        judge("restore-waits", true=shot.first_byte >= until - 2, seen=f"the end came {until:.0f} s after the request")
    if ended in {"success", "error"}:
        await run.note_restored(shot, ended)
    if ended == "success":
        await _tail(run, run.targets.scratch or "", shot, finished)


async def _tail(run: Run, scratch: str, restore: Shot, finished: object) -> None:
    """Creates after the restore, until one is accepted."""
    over = run.clock.monotonic()
    ended = run.service_time(over).timestamp()
    before = max(0.0, ended - finished / 1000) if isinstance(finished, int | float) else 0.0
    took, last = over - before - (restore.sent or 0.0), 0.0
    refused: list[str] = []
    for offset in TAIL:
        await run.sleep_until(over + offset, "waiting to try a create after the restore")
        shot = await run.post(scratch, EARLY)
        if shot.refused == "RESTORE_IN_PROGRESS":
            run.report.judge("restore-running", true=shot.status == REFUSED, seen=f"{shot.status}")
            last = offset + before
        elif not shot.refused:
            seen = f"accepted {offset + before:.0f} s after its end and {offset + before + took:.0f} s after its POST"
            fits = True if "RESTORE_IN_PROGRESS" in refused else None if refused else False
            run.report.judge("restore-tail", true=fits, seen=f"{seen}, {len(refused)} refused before")
            by_end, by_post = (
                last + since <= TAIL_LASTS[1] and offset + before + since >= TAIL_LASTS[0] for since in (0.0, took)
            )
            tells = fits and by_end != by_post and took >= TELLING
            run.report.judge("tail-from-end", true=by_end if tells else None, seen=seen)
            return
        refused.append(shot.refused)
    tail = refused.count("RESTORE_IN_PROGRESS")
    run.report.judge(
        "restore-tail", true=None, seen=f"{tail} of {len(refused)} refused, none accepted within {TAIL[-1]:.0f} s"
    )


async def _scopes(run: Run) -> None:
    """What a key with fewer scopes may read; it never sends a POST."""
    client, judge, database_id = (
        run.client.with_key(run.targets.scoped_key or ""),
        run.report.judge,
        run.targets.database_id,
    )
    client.on_answer(run.heard)
    allowed: dict[str, bool | None] = {}
    requests: dict[str, Callable[[], Awaitable[Any]]] = {
        "account": lambda: client.account(patience=ONCE),
        "database": lambda: client.database(database_id, patience=ONCE),
        "status": lambda: client.database_status(database_id, patience=ONCE),
        "own": lambda: client.list_snapshots(database_id, patience=ONCE),
        "all": lambda: client.list_account(patience=ONCE),
        "restore status": lambda: client.restore_status(database_id, patience=ONCE),
    }
    try:
        for name, request in requests.items():
            answer = await run.ask(request)
            status = run.last.status if run.last else None
            lacks = status == REFUSED and (answer is None or getattr(answer, "code", "") == "MISSING_SCOPE")
            allowed[name] = False if lacks else None if answer is None or isinstance(answer, SquareCloudError) else True
    finally:
        with anyio.CancelScope(shield=True):
            await client.close()
    told = {
        name: {True: "allowed", False: "lacks a scope", None: "refused for another reason"}[one]
        for name, one in allowed.items()
    }
    for fact, one, other in (("scope-databases", "database", "status"), ("scope-snapshots", "own", "all")):
        both = {allowed[one], allowed[other]}
        # That a key may do both says nothing of how many scopes they need.
        same = True if both == {False} else None if None in both or len(both) == 1 else False
        judge(fact, true=same, seen=f"{one} {told[one]}, {other} {told[other]}")
    others = [allowed[name] for name in ("database", "status", "own", "all")]
    apart = allowed["account"] is False and all(others)
    judge("scope-account", true=True if apart else None, seen=f"/users/me {told['account']}")
    limited = False in allowed.values()
    judge("scope-restore-status", true=allowed["restore status"] if limited else None, seen=told["restore status"])


DOUBTFUL = (
    "cooldown",
    "cooldown-lasts",
    "refusal-restarts",
    "modified-end",
    "listed-late",
    "own-cache-ends",
    "account-cache-ends",
)
"""Facts about which a snapshot of another client, taken meanwhile, can deceive."""


def _doubt(run: Run) -> None:
    """Open what others may have caused; and say what to set, if both listings say the same."""
    if strangers := run.strangers:
        for fact in DOUBTFUL:
            run.report.reopen(
                fact, f"{strangers} of the listed snapshots are of another client, and were taken meanwhile"
            )
    verdicts = {run.report.facts[f"{listing}-cache-ends"].verdict for listing in run.base}
    learned = {"confirmed": "ended-by-snapshot", "contradicted": "kept"}
    run.report.listing_cache = learned.get(verdicts.pop(), "") if len(verdicts) == 1 else ""


STEPS = (
    Step("reads", _reads),
    Step("the first create, and one 3 s after it", _first),
    Step(
        "the listings and the download URLs",
        _listed,
        lambda run: run.first is not None and run.first.accepted == "200",
    ),
    Step("a create 170 s after the first", _refusal),
    Step(
        "the listings, once the first snapshot is there",
        _listed,
        lambda run: run.first is not None and run.first.accepted != "200",
    ),
    Step("the second create", _second),
    Step("the listings after the second", _cache),
    Step("the first download URL again", _unpinned),
    Step("a large database", _large, lambda run: run.targets.large is not None),
    Step("a restore", _restore, lambda run: run.targets.scratch is not None),
    Step("a key with fewer scopes", _scopes, lambda run: run.targets.scoped_key is not None),
    Step("the listings after 31 minutes", _expiry, lambda run: "contradicted" in run.ends.values()),
)


async def probe(run: Run) -> Explained | None:
    """Take the steps, and write the report as they go; returns why the run ended early, or None.

    The report says what is left at the service, however the run ends.
    """
    report = run.report
    ended: Explained | None = None
    try:
        with run.session.until(LONGEST) as limit:
            await clear(run.session, run.targets.ids)
            await _take(run)
        if limit.cancelled_caught:
            step = f" in the step `{report.step}`"
            ended = VerifyStopped(f"the run was interrupted{step}", "It sends nothing more.")
    except Explained as error:
        ended = error
    report.end("stopped" if ended else "done", str(ended) if ended else "")
    report.write()
    return ended


async def _take(run: Run) -> None:
    for number, step in enumerate(STEPS, 1):
        if step.wanted(run):
            run.report.step = step.name
            run.report.write()
            run.listener.progress(f"step {number} of {len(STEPS)}: {step.name}")
            await step.act(run)
            _doubt(run)
    run.report.step = ""
