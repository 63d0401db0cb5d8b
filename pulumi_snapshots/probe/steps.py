"""The steps of a run in their order, and what each step shows about the facts."""

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import anyio

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors import HintKind, ProviderError
from pulumi_snapshots.listing.listings import SERVICE_CACHE
from pulumi_snapshots.listing.quota import daily_quota
from pulumi_snapshots.probe.report import VERDICTS
from pulumi_snapshots.probe.run import (
    COOLDOWN,
    EARLY,
    LISTINGS,
    OK,
    PROCESSING_TIME,
    ListingName,
    ProbeRun,
    ProbeStopped,
    Shot,
)
from pulumi_snapshots.properties.checks import (
    DAY,
    HOUR,
    database_of,
    expiry_of,
    is_usual_database_id,
    version_of,
)
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.service.limits import RESTORE_LANE
from pulumi_snapshots.service.models import Account, ListedSnapshot

PARTIAL = 206
SERVED = {OK, PARTIAL}
FORBIDDEN = 403
"""Statuses."""
# seconds between a snapshot's start and end from which on its time is clearly one of the two
TELLING = 6.0
EARLY_AFTER = 170.0  # seconds after the first create at which one must be refused
RESTORE_POLL = 10.0
"""Seconds between two polls of a restore."""
RESTORE_LIMIT = 15 * 60.0
"""Seconds for which a restore is polled at most."""
SOFT_DEADLINE = 95.0  # seconds after which a 202 should come, documented as about 90
ABOUT = 15.0
"""Seconds by which "about" may differ."""
LATEST_OF_202 = 180.0
"""Seconds after a 202 in which the snapshot should be done, documented as about 2 minutes."""
VERSION_HEADER = "x-amz-version-id"

_PLAN = re.compile(r"free|(hobby|standard|pro|enterprise)-\d+")
_VERSION = re.compile(r"[A-Za-z0-9+/=._-]{24,96}")
_ENDED = {"success", "error"}
_STATES = {"none", "queued", "running", *_ENDED}
_ENTRY = {"name", "size", "modified", "key", "version_id", "url", "runtime", "origin"}
_LISTED_DATABASE = {"id", "name", "ram", "type", "cluster", "created_at"}
_DATABASE = {*_LISTED_DATABASE, "owner", "port"}


async def probe(run: ProbeRun) -> ProviderError | None:
    """Run the steps, and write the report as they proceed.

    Args:
        run: the run.

    Returns:
        Why the run ended early; None if it did not.
    """
    ended: ProviderError | None = None
    try:
        with run.session.until(6 * HOUR) as limit:
            await _take(run)
        if limit.cancelled_caught:
            step = f" in the step `{run.report.step}`"
            ended = ProbeStopped(
                f"the run was interrupted{step}", "It sends nothing more."
            )
    except ProviderError as error:
        ended = error
    run.report.end(str(ended or ""))
    run.write()
    return ended


async def _take(run: ProbeRun) -> None:
    run.begin("reads")
    await _reads(run)
    first = await _first(run)
    entry: ListedSnapshot | None = None
    if first.is_done:
        run.begin("the listings and the download URLs")
        entry = await _listings(run)
    second = await _early(run)
    if not first.is_done:
        run.begin("the listings, once the first snapshot is there")
        entry = await _listings(run)
    if second is None:
        run.begin("the second create")
        second = await _second(run)
    if second is None:
        await _options(run, entry)
    else:
        kept = await _after_second(run, second)
        await _options(run, entry)
        await _after_31_minutes(run, second, kept)
    run.report.step = ""


async def _first(run: ProbeRun) -> Shot:
    """Take the first snapshot.

    Raises:
        ProbeStopped: The service refused it, so there is nothing to learn from.
    """
    run.begin("the first create")
    first = await run.send(run.database_id)
    if first.refused:
        done = (
            "The report says what it may have started."
            if first.left
            else "Nothing was started."
        )
        raise ProbeStopped(f"the first create was refused with {first.refused}", done)
    _judge_answer(run, first)
    return first


async def _after_second(run: ProbeRun, second: Shot) -> list[ListingName]:
    """Look at the listings and the first URL again; returns the listings that serve an old page."""
    run.begin("the listings after the second")
    kept = await _cache(run, second)
    run.begin("the first download URL again")
    await _unpinned(run, second)
    return kept


async def _options(run: ProbeRun, entry: ListedSnapshot | None) -> None:
    """Take the steps that a user may leave out."""
    if run.targets.large is not None:
        run.begin("a large database")
        await _large(run, run.targets.large)
    if run.targets.scratch is not None and entry is not None:
        run.begin("a restore")
        await _restore(run, run.targets.scratch, entry)


async def _after_31_minutes(
    run: ProbeRun,
    second: Shot,
    kept: Sequence[ListingName],
) -> None:
    """Request the kept pages once they must be over."""
    if not kept:
        return
    run.begin("the listings after 31 minutes")
    requested = [run.base[each][0] for each in kept]
    at = max(requested) + SERVICE_CACHE + 60.0
    await run.sleep_until(at, "waiting to request the kept pages again")
    for listing in kept:
        _, entry = await run.find(listing, second)
        seen = f"by the {listing} page, after 31 minutes"
        run.judge("cache-30-min", entry is not None, seen)


# Reads --------------------------------------------------------------------------------------------


def _shape(
    run: ProbeRun,
    fact: str,
    fields: set[str],
    *objects: Any,
) -> None:
    """Judge whether objects have these fields."""
    lacks = set[str]()
    for each in objects:
        lacks |= fields - each.keys() if isinstance(each, dict) else fields
    seen = f"lacks {', '.join(sorted(lacks))}" if lacks else ""
    run.judge(fact, not lacks, seen)


def _is_time(value: object) -> bool:
    """Whether a value is a time of this century in Unix milliseconds.

    In seconds, the same times are far below.
    """
    return isinstance(value, int | float) and 1.5e12 < value < 4e12  # noqa: PLR2004  years


async def _reads(run: ProbeRun) -> None:
    """Read what a run can read without a snapshot."""
    client = run.client
    database_id = run.database_id
    account = await run.ask(client.account)
    if isinstance(account, Account):
        _judge_account(run, account)
    elif account.passing:  # a service that does not answer a read is not sent a create
        raise ProbeStopped(
            account.happened, "Nothing was started.", account.then
        ) from account
    database = await run.ask(client.database, database_id)
    if not isinstance(database, SquareCloudError):
        _shape(run, "database", _DATABASE, run.response)
    await run.ask(client.database_status, database_id)
    if run.status == OK:
        status = run.response_object
        running = status.get("running")
        run.judge("status", isinstance(running, bool))
        if running is True:
            run.judge("uptime", _is_time(status.get("uptime")))
    await _restore_status(run, database_id)


def _judge_account(run: ProbeRun, account: Account) -> None:
    """Judge what the account shows.

    Raises:
        ProbeStopped: The run would take all snapshots of the day.
    """
    _shape(run, "account", {"user", "databases"}, run.response)
    databases = run.response.get("databases") or ()
    _shape(run, "account", _LISTED_DATABASE, *databases)
    wanted = run.targets.snapshots
    memory = account.plan_memory
    quota = math.inf if memory is None else daily_quota(memory)
    if quota <= wanted:
        allows = f"the plan allows {quota} snapshots in 24 hours, and this run takes {wanted}"
        happened = f"{allows}: none would be left"
        raise ProbeStopped(happened, "Nothing was started.", [HintKind.USE_LARGER_PLAN])
    plan = f"{account.plan}"
    run.judge("plan-name", _PLAN.fullmatch(plan) is not None, plan)
    _judge_plan_end(run, account.plan_ends)
    usual = [is_usual_database_id(each.id) for each in account.databases]
    seen = f"{usual.count(False)} of {len(usual)} have another form"
    run.judge("database-id", all(usual), seen)


def _judge_plan_end(run: ProbeRun, ends: datetime | None) -> None:
    """Judge the end of the plan: a key that works has a plan, so a time that is over is no end."""
    duration: Any = None
    with suppress(LookupError, TypeError):
        duration = run.response_object["user"]["plan"]["duration"]
    if ends is not None:
        is_future = ends > run.service_now
        run.judge("plan-end", is_future, rfc3339(ends))
    elif duration is None:
        run.judge("plan-end", None, "the plan has none")
    else:
        run.judge("plan-end", true=False, seen="it is no time")


async def _restore_status(run: ProbeRun, database_id: str) -> dict[str, Any]:
    """Read how the last restore stands; empty if that is not known."""
    answer = await run.ask(run.client.restore_status, database_id)
    if run.status != OK:
        # The client takes a missing route, and a key that may not use it, for no answer.
        is_missing = answer is None and run.status != FORBIDDEN
        run.judge("restore-status", False if is_missing else None, f"{run.status}")
        return {}
    status = run.response_object
    state = status.get("state")
    has_state = isinstance(state, str)
    run.judge("restore-status", has_state)
    if has_state:
        run.judge("restore-states", state in _STATES)
    for name in ("started_at", "finished_at"):
        if status.get(name):
            run.judge("restore-times", _is_time(status[name]))
    return status


# The first snapshot -------------------------------------------------------------------------------


async def _early(run: ProbeRun) -> Shot | None:
    """Create before the cooldown has ended, which must be refused.

    Returns the create if it was accepted, as the run's second one; else None.
    """
    at = run.first.sent + EARLY_AFTER
    if run.now > at + TELLING:
        return None
    run.begin("a create 170 s after the first")
    await run.sleep_until(at, "waiting to try a create that must be refused")
    shot = await run.send(run.database_id, EARLY)
    # A refusal for another reason may come before that of the cooldown.
    seen = f"answered with {shot.answer}"
    if shot.accepted:
        run.judge("cooldown-lasts", true=False, seen=seen)
        return shot
    run.judge("cooldown-lasts", shot.is_too_early or None, seen)
    return None


def _judge_answer(run: ProbeRun, shot: Shot) -> None:
    judge = run.judge
    took = shot.took
    if shot.is_processing:
        is_about = abs(shot.first_byte - SOFT_DEADLINE) <= ABOUT
        judge("create-202", is_about, took)
    finished = shot.finished
    if finished is None:
        judge("create-answer", None, took)
        return
    url = finished.url
    has_both = bool(url and finished.key)
    judge("create-answer", has_both, took)
    judge("key-version", finished.version is not None)
    if url:
        judge("unpinned", version_of(url) is None)
        expires = expiry_of(url) or run.service_now
        days = (expires - run.service_now) / timedelta(days=1)
        judge("url-days", abs(days - 30) * DAY < HOUR, f"{days:.1f} days")


# The listings and the download URLs ---------------------------------------------------------------


async def _listings(run: ProbeRun) -> ListedSnapshot | None:
    """Request both listings once the first snapshot is done, and its URLs.

    Returns the snapshot's entry; None if no listing shows it.
    """
    if not run.first.is_done:
        entry = await run.until_listed(run.first)
        if entry is None:
            return None
        _judge_late(run, run.first, entry)
    entries = [await _first_page(run, each) for each in LISTINGS]
    found = next(filter(None, entries), None)
    if found is not None:
        await _urls(run, found.url)
    return found


async def _first_page(run: ProbeRun, listing: ListingName) -> ListedSnapshot | None:
    """Request a listing once the first snapshot is done; returns the snapshot's entry."""
    at = run.now
    page, entry = await run.find(listing, run.first)
    if page is None:
        return None
    run.base[listing] = at, entry is not None
    if listing == "own" and run.first.is_done:
        # Another client may have requested a page without the snapshot before.
        run.judge("listed", bool(entry) or None)
    if entry is not None:
        _judge_entry(run, entry, page.listing.entries, listing)
    return entry


async def _urls(run: ProbeRun, url: str | None) -> None:
    """Request the first bytes, and the head, of a pinned URL."""
    part = await run.look("GET", url)
    if part is not None:
        run.judge("range", part.status == PARTIAL, f"{part.status}")
        if part.status in SERVED:
            headers = part.headers
            run.judge("version-header", VERSION_HEADER in headers)
            run.judge("entity-tag", headers.get("etag", "").startswith('"'))
    head = await run.look("HEAD", url)
    if head is not None:
        run.judge("head", head.status == FORBIDDEN, f"{head.status}")


def _judge_entry(
    run: ProbeRun,
    entry: ListedSnapshot,
    entries: Sequence[ListedSnapshot],
    listing: ListingName,
) -> None:
    judge = run.judge
    database_id = run.database_id
    version = entry.version
    url = entry.url or ""
    # The entry as it came in the last answer.
    raw = [each for each in run.response or () if each.get("version_id") == version]
    _shape(run, "entry", _ENTRY, raw[0] if raw else None)
    if listing == "account":
        judge("account-entry", database_of(url) == database_id)
    with_type = f"{database_id}_{entry.runtime}"
    forms = {
        database_id: "id",
        with_type: "id_type",
        f"{with_type}_{entry.origin}": "id_type_origin",
    }
    judge("name", entry.name in forms, forms.get(entry.name, "another form"))
    judge("origin", entry.origin == "manual")
    judge("version-id", _VERSION.fullmatch(version or "") is not None)
    in_key = version_of(f"?{entry.key or ''}")
    judge("pinned", version_of(url) == in_key == version)
    _judge_order(run, entries)
    _judge_modified(run, run.first, entry)


def _judge_order(run: ProbeRun, entries: Sequence[ListedSnapshot]) -> None:
    times = [each.modified for each in entries if each.modified]
    is_sorted = times == sorted(times, reverse=True)
    run.judge("newest-first", is_sorted, f"{len(times)} entries")


def _judge_modified(
    run: ProbeRun,
    shot: Shot,
    entry: ListedSnapshot,
) -> None:
    if entry.modified is None:
        return
    since_request = run.seconds_after(shot.sent, entry.modified)
    since_answer = run.seconds_after(shot.answered, entry.modified)
    seen = f"{since_request:.0f} s after the request, {since_answer:.0f} s after the answer"
    if shot.is_processing:
        is_end: bool | None = since_request > TELLING / 2
    elif since_request - since_answer >= TELLING:
        is_end = abs(since_answer) < abs(since_request)
    else:
        is_end = None
    run.judge("modified-end", is_end, seen)


def _judge_late(
    run: ProbeRun,
    shot: Shot,
    entry: ListedSnapshot,
) -> None:
    waited = run.now - shot.answered
    done = waited
    if entry.modified is not None:
        # If `modified` is the end, it says more than the poll that has found the snapshot.
        ended = run.seconds_after(shot.answered, entry.modified)
        done = ended if ended > 0 else waited
    is_punctual: bool | None = done <= LATEST_OF_202
    if not is_punctual and done == waited:
        is_punctual = None  # it may have been done long before the poll
    seen = f"done {done:.0f} s after the 202, found after {waited:.0f} s"
    run.judge("listed-late", is_punctual, seen)
    _judge_modified(run, shot, entry)


# The second snapshot ------------------------------------------------------------------------------


async def _second(run: ProbeRun) -> Shot | None:
    """Create once the cooldown has ended; None if that is refused."""
    at = run.first.sent + COOLDOWN
    await run.sleep_until(at, "waiting for the end of the cooldown")
    since = run.first.sent + 160.0
    is_between = any(each.refused and each.answered > since for each in run.shots)
    is_punctual = run.now < at + TELLING and is_between
    shot = await run.send(run.database_id)
    if shot.is_too_early:
        if is_punctual:
            seen = "refused 186 s after the first, with a refusal in between"
            run.judge("refusal-restarts", true=True, seen=seen)
        shot = await _second_again(run, shot)
    elif shot.accepted:
        seen = f"accepted {shot.sent - run.first.sent:.0f} s after the first"
        run.judge("cooldown-ends", true=True, seen=seen)
        if is_punctual:
            seen = f"{seen}, with a refusal in between"
            run.judge("refusal-restarts", true=False, seen=seen)
    if shot.refused:
        run.judge("cooldown-ends", None, f"refused with {shot.refused}")
        return None
    _judge_answer(run, shot)
    return shot


async def _second_again(run: ProbeRun, refused: Shot) -> Shot:
    """Create once the cooldown has ended that the refusal may have started."""
    at = refused.answered + COOLDOWN
    await run.sleep_until(at, "waiting 186 s from the last refusal")
    shot = await run.send(run.database_id)
    run.judge("cooldown-ends", None, f"{shot.answer} 186 s after the last refusal")
    return shot


async def _cache(run: ProbeRun, second: Shot) -> list[ListingName]:
    """Find out whether the second snapshot ends the caching of the pages that showed the first.

    Returns the listings whose pages are kept.
    """
    ended = await _ended_pages(run, second)
    for listing in run.base:
        _judge_cache(run, second, listing, is_ended=listing in ended)
    run.write()  # what another client may have caused is open again
    facts = run.report.facts
    return [
        listing
        for listing in run.base
        if facts[f"{listing}-cache-ends"]["verdict"] == VERDICTS[False]
    ]


async def _ended_pages(run: ProbeRun, second: Shot) -> set[ListingName]:
    """Request the listings within a minute of the second snapshot's end.

    Returns the listings that show it.
    """
    begin = run.now if second.is_done else second.answered + PROCESSING_TIME
    ended: set[ListingName] = set()
    for offset in (0, 25, 60) if run.base else ():
        await run.sleep_until(begin + offset, "waiting to request the listings again")
        for listing in set(run.base) - ended:
            _, entry = await run.find(listing, second)
            if entry is not None:
                ended.add(listing)
    return ended


def _judge_cache(
    run: ProbeRun,
    second: Shot,
    listing: ListingName,
    *,
    is_ended: bool,
) -> None:
    fact = f"{listing}-cache-ends"
    at, is_fresh = run.base[listing]
    if at >= second.sent:
        run.judge(fact, None, "no page was requested between the two snapshots")
    elif is_ended:
        # A page that shows the first snapshot is not older than its end.
        is_young = is_fresh and run.now < run.first.sent + SERVICE_CACHE
        seen = "shown within a minute" if is_young else "the page before was an old one"
        run.judge(fact, is_young or None, seen)
    elif second.is_done or second.version is not None:
        # A 200 says that it was done by then; otherwise the other listing has said so.
        run.judge(fact, true=False, seen="not shown a minute after it was done")


async def _unpinned(run: ProbeRun, second: Shot) -> None:
    """Request the first URL without a version, now that there is a newer snapshot.

    Only a header names the version.
    """
    if run.first.finished is None:
        return
    answer = await run.look("GET", run.first.finished.url)
    if answer is None or answer.status not in SERVED:
        return
    version = answer.headers.get(VERSION_HEADER)
    if version and version in {run.first.version, second.version}:
        run.judge("newest", version == second.version, "by its version")


# Options ------------------------------------------------------------------------------------------


async def _large(run: ProbeRun, database_id: str) -> None:
    """Take a snapshot that should be answered with 202."""
    shot = await run.send(database_id)
    if shot.is_processing:
        _judge_answer(run, shot)
    elif shot.refused:
        run.judge("create-202", None, f"refused with {shot.refused}")
    else:
        done = f"done after {shot.first_byte:.1f} s: a larger database tells more"
        run.judge("create-202", None, done)
    if shot.accepted and shot.version is None:
        entry = await run.until_listed(shot)
        if entry is not None and shot.is_processing:
            _judge_late(run, shot, entry)


@dataclass
class _Watched:
    """What polls have shown of a restore."""

    shot: Shot
    down: list[bool] = field(default_factory=list)
    """By poll, whether the database was down."""
    starts: list[float] = field(default_factory=list)
    """When the database was started, Unix seconds."""
    status: dict[str, Any] = field(default_factory=dict)
    """The last status of the restore; empty if it is not known."""

    @property
    def state(self) -> str | None:
        """The restore's state; None if it is not known."""
        return self.status.get("state")

    @property
    def finished(self) -> float | None:
        """When the restore ended, Unix seconds; None if it is not known."""
        at = self.status.get("finished_at")
        return at / 1000 if isinstance(at, int | float) else None


async def _restore(
    run: ProbeRun,
    scratch: str,
    entry: ListedSnapshot,
) -> None:
    """Restore the first snapshot onto another database, and poll until that is over."""
    shot = run.shot(scratch, entry)
    watched = _Watched(shot)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(run.fire, shot, RESTORE_LANE)
            await _watch(run, scratch, watched)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    if shot.refused:
        run.judge("restore-answer", None, f"refused with {shot.refused}")
        return
    _judge_restore(run, watched)
    state = watched.state
    if state in _ENDED:
        failed = state == "error"
        ended_at = rfc3339(run.service_now.replace(microsecond=0))
        result = "error" if failed else ended_at
        await shot.operation.enter_result(result, failed=failed)
        shot.how = f"has ended with {state}"


async def _watch(
    run: ProbeRun,
    scratch: str,
    watched: _Watched,
) -> None:
    """Poll a restore and its database until it is over, for 15 minutes at most."""
    ends = run.now + RESTORE_LIMIT
    while not _is_restored(run, watched) and run.now < ends:
        await run.clock.sleep(RESTORE_POLL)
        status = await run.ask(run.client.database_status, scratch)
        if not isinstance(status, SquareCloudError):
            watched.down.append(not status.running)
            if status.uptime:
                watched.starts.append(status.uptime.timestamp())
        watched.status = await _restore_status(run, scratch)


def _judge_restore(run: ProbeRun, watched: _Watched) -> None:
    shot = watched.shot
    is_answered = shot.is_done or shot.is_processing
    run.judge("restore-answer", is_answered or None, shot.took)
    posted = run.service_time(shot.sent).timestamp()
    # The database may have been down between two polls only.
    is_restarted: bool | None = None
    seen = "it has no `uptime`"
    if watched.starts:
        is_restarted = watched.starts[-1] > posted
        seen = "by its `uptime`"
    run.judge("restore-restarts", is_restarted, seen)
    down = watched.down
    seen = f"down in {sum(down)} of {len(down)} polls"
    run.judge("restore-down", any(down) or is_restarted, seen)
    if watched.finished is not None:
        seconds = watched.finished - posted
        seen = f"the end came {seconds:.0f} s after the request"
        run.judge("restore-waits", shot.first_byte >= seconds - 2, seen)


def _is_restored(run: ProbeRun, watched: _Watched) -> bool:
    """Whether a restore has ended, by its status, or by that of its database."""
    shot = watched.shot
    if shot.refused:
        return True
    if not shot.accepted:
        return False
    if not watched.status:
        return any(watched.down) and not watched.down[-1]
    # The service shows the end of an earlier restore for an hour.
    since = run.service_time(shot.sent).timestamp() - TELLING
    is_earlier = watched.finished is not None and watched.finished < since
    return watched.state in _ENDED and not is_earlier
