"""The steps of a run in their order: what each does, and what it makes of the facts."""

import re
from collections.abc import Sequence
from typing import Any

import anyio

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors import Explained, Step
from pulumi_snapshots.listing.listings import SERVICE_CACHE
from pulumi_snapshots.listing.quota import allowance_of
from pulumi_snapshots.probe.report import VERDICTS
from pulumi_snapshots.probe.run import (
    COOLDOWN,
    EARLY,
    LISTINGS,
    OK,
    PROCESSING_TIME,
    ListingName,
    ProbeStopped,
    Run,
    Shot,
)
from pulumi_snapshots.properties.checks import (
    database_of,
    expiry_of,
    is_usual_database_id,
    version_of,
)
from pulumi_snapshots.service.errors import SquareCloudError
from pulumi_snapshots.service.limits import RESTORE
from pulumi_snapshots.service.models import Account, ListedSnapshot

PARTIAL, REFUSED = 206, 403
HOUR = 3600.0
DAY = 24 * HOUR
TELLING = 6.0  # seconds between a snapshot's start and end from which on its time is clearly one of the two
EARLY_AFTER = 170.0  # seconds after the first create at which one must be refused
RESTORE_POLL, RESTORE_LIMIT = 10.0, 15 * 60.0
SOFT_DEADLINE = 95.0  # seconds after which a 202 should come, documented as about 90
VERSION_HEADER = "x-amz-version-id"

_PLAN = re.compile(r"free|(hobby|standard|pro|enterprise)-\d+")
_VERSION = re.compile(r"[A-Za-z0-9+/=._-]{24,96}")
_STATES = {"none", "queued", "running", "success", "error"}
_ENTRY = {"name", "size", "modified", "key", "version_id", "url", "runtime", "origin"}
_LISTED_DATABASE = {"id", "name", "ram", "type", "cluster", "created_at"}
_DATABASE = {*_LISTED_DATABASE, "owner", "port"}


async def probe(run: Run) -> Explained | None:
    """Take the steps, and write the report as they proceed; returns why the run ended early, or None."""
    ended: Explained | None = None
    try:
        with run.session.until(6 * HOUR) as limit:
            await _take(run)
        if limit.cancelled_caught:
            step = f" in the step `{run.report.step}`"
            ended = ProbeStopped(f"the run was interrupted{step}", "It sends nothing more.")
    except Explained as error:
        ended = error
    run.report.end(str(ended or ""))
    run.write()
    return ended


async def _take(run: Run) -> None:
    run.begin("reads")
    await _reads(run)
    run.begin("the first create")
    first = await run.send(run.targets.database_id)
    if first.refused:
        done = "The report says what it may have started." if first.left else "Nothing was started."
        raise ProbeStopped(f"the first create was refused with {first.refused}", done)
    _judge_answer(run, first)
    entry, is_done = None, first.accepted == "200"
    if is_done:
        run.begin("the listings and the download URLs")
        entry = await _listings(run, first)
    second = await _early(run, first)
    if not is_done:
        run.begin("the listings, once the first snapshot is there")
        entry = await _listings(run, first)
    if second is None:
        run.begin("the second create")
        second = await _second(run, first)
    kept: list[ListingName] = []
    if second is not None:
        run.begin("the listings after the second")
        kept = await _cache(run, first, second)
        run.begin("the first download URL again")
        await _unpinned(run, first, second)
    if run.targets.large is not None:
        run.begin("a large database")
        await _large(run, run.targets.large)
    if run.targets.scratch is not None and entry is not None:
        run.begin("a restore")
        await _restore(run, run.targets.scratch, entry)
    if second is not None and kept:
        run.begin("the listings after 31 minutes")
        at = max(run.base[each][0] for each in kept) + SERVICE_CACHE + 60.0
        await run.sleep_until(at, "waiting to request the kept pages again")
        for listing in kept:
            shown = (await run.find(listing, second))[1] is not None
            run.judge("cache-30-min", shown, f"by the {listing} page, after 31 minutes")
    run.report.step = ""


# Reads ---------------------------------------------------------------------------------------------------------------


def _shape(run: Run, fact: str, fields: set[str], *objects: Any) -> None:
    """Judge whether objects have these fields."""
    lacks = {
        field
        for each in objects
        for field in fields
        if not isinstance(each, dict) or field not in each
    }
    run.judge(fact, not lacks, f"lacks {', '.join(sorted(lacks))}" if lacks else "")


def _is_time(value: object) -> bool:
    """Whether it is in Unix milliseconds of this century; the same times in seconds are far below."""
    return isinstance(value, int | float) and 1.5e12 < value < 4e12  # noqa: PLR2004


def _object(run: Run) -> dict[str, Any]:
    """The last answer's object; empty if it is none."""
    return run.response if isinstance(run.response, dict) else {}


async def _reads(run: Run) -> None:
    """Read what a run can read without a snapshot."""
    client, judge, database_id, wanted = (
        run.client,
        run.judge,
        run.targets.database_id,
        run.targets.snapshots,
    )
    account = await run.ask(client.account)
    if isinstance(account, Account):
        _shape(run, "account", {"user", "databases"}, run.response)
        _shape(run, "account", _LISTED_DATABASE, *(run.response.get("databases") or ()))
        if (
            account.plan_memory is not None
            and (allowance := allowance_of(account.plan_memory)) <= wanted
        ):
            allows = (
                f"the plan allows {allowance} snapshots in 24 hours, and this run takes {wanted}"
            )
            raise ProbeStopped(
                f"{allows}: none would be left", "Nothing was started.", [Step.USE_LARGER_PLAN]
            )
        judge("plan-name", bool(_PLAN.fullmatch(account.plan or "")), f"{account.plan}")
        odd = sum(not is_usual_database_id(one.id) for one in account.databases)
        judge("database-id", not odd, f"{odd} of {len(account.databases)} have another form")
    elif account.passing:  # a service that does not answer a read is not sent a create
        raise ProbeStopped(account.happened, "Nothing was started.", account.then) from account
    if not isinstance(await run.ask(client.database, database_id), SquareCloudError):
        _shape(run, "database", _DATABASE, run.response)
    await run.ask(client.database_status, database_id)
    if run.last is not None and run.last.status == OK:
        running = _object(run).get("running")
        judge("status", isinstance(running, bool))
        if running is True:
            judge("uptime", _is_time(_object(run).get("uptime")))
    await _restore_status(run, database_id)


async def _restore_status(run: Run, database_id: str) -> dict[str, Any]:
    """Read how the last restore stands; empty if that is not known."""
    answer, judge = await run.ask(run.client.restore_status, database_id), run.judge
    status = run.last.status if run.last else None
    if status != OK:
        # The client takes a missing route, and a key that may not use it, for no answer.
        judge(
            "restore-status", False if answer is None and status != REFUSED else None, f"{status}"
        )
        return {}
    known = _object(run)
    state, given = (
        known.get("state"),
        [known[name] for name in ("started_at", "finished_at") if known.get(name)],
    )
    judge("restore-status", isinstance(state, str))
    judge("restore-states", state in _STATES if isinstance(state, str) else None)
    judge("restore-times", all(map(_is_time, given)) if given else None)
    return known


# The first snapshot --------------------------------------------------------------------------------------------------


async def _early(run: Run, first: Shot) -> Shot | None:
    """Create before the cooldown has ended, which must be refused; if it was accepted, it is the second one."""
    if run.clock.monotonic() > first.sent + EARLY_AFTER + TELLING:
        return None
    run.begin("a create 170 s after the first")
    await run.sleep_until(first.sent + EARLY_AFTER, "waiting to try a create that must be refused")
    shot = await run.send(run.targets.database_id, EARLY)
    # Another refusal may come before that of the cooldown.
    fits = False if shot.accepted else shot.refused == "KEEP_CALM" or None
    run.judge("cooldown-lasts", fits, f"answered with {shot.accepted or shot.refused}")
    return shot if shot.accepted else None


def _judge_answer(run: Run, shot: Shot) -> None:
    judge, took = run.judge, f"{shot.accepted} after {shot.first_byte:.1f} s"
    if shot.accepted == "202":
        judge("create-202", abs(shot.first_byte - SOFT_DEADLINE) <= 15, took)  # noqa: PLR2004  "about"
    if shot.finished is None:
        judge("create-answer", None, took)
        return
    url, version = shot.finished.url, shot.finished.version
    judge("create-answer", bool(url and shot.finished.key), took)
    judge("key-version", version is not None)
    if url:
        judge("unpinned", version_of(url) is None)
        expires, now = expiry_of(url), run.session.service_clock.now()
        away = (expires - now).total_seconds() if expires else 0.0
        judge("url-days", abs(away - 30 * DAY) < HOUR, f"{away / DAY:.1f} days")


# The listings and the download URLs ----------------------------------------------------------------------------------


async def _listings(run: Run, first: Shot) -> ListedSnapshot | None:
    """Request both listings once the first snapshot is done, and its URLs; returns its entry."""
    judge, found = run.judge, None
    if first.accepted != "200":
        entry = await run.until_listed(first)
        if entry is None:
            return None
        _judge_late(run, first, entry)
    for listing in LISTINGS:
        at = run.clock.monotonic()
        page, entry = await run.find(listing, first)
        if page is None:
            continue
        run.base[listing] = at, entry is not None
        if listing == "own" and first.accepted == "200":
            # A page without it may be one that another client has requested before.
            judge("listed", bool(entry) or None)
        if entry is not None:
            _judge_entry(run, first, entry, page.listing.entries, listing)
            found = found or entry
    url = found.url if found else None
    if (part := await run.look("GET", url)) is not None:
        judge("range", part.status == PARTIAL, f"{part.status}")
        if part.status in {OK, PARTIAL}:
            judge("version-header", VERSION_HEADER in part.headers)
            judge("entity-tag", part.headers.get("etag", "").startswith('"'))
    if (head := await run.look("HEAD", url)) is not None:
        judge("head", head.status == REFUSED, f"{head.status}")
    return found


def _judge_entry(
    run: Run,
    shot: Shot,
    entry: ListedSnapshot,
    entries: Sequence[ListedSnapshot],
    listing: ListingName,
) -> None:
    judge, database_id = run.judge, run.targets.database_id
    _shape(
        run,
        "entry",
        _ENTRY,
        next((it for it in run.response or () if it.get("version_id") == entry.version), None),
    )
    if listing == "account":
        judge("account-entry", database_of(entry.url or "") == database_id)
    typed = f"{database_id}_{entry.runtime}"
    forms = {database_id: "id", typed: "id_type", f"{typed}_{entry.origin}": "id_type_origin"}
    judge("name", entry.name in forms, forms.get(entry.name, "another form"))
    judge("origin", entry.origin == "manual")
    judge("version-id", bool(_VERSION.fullmatch(entry.version or "")))
    judge(
        "pinned",
        {version_of(entry.url or ""), version_of(f"?{entry.key or ''}")} == {entry.version},
    )
    times = [one.modified for one in entries if one.modified]
    judge("newest-first", times == sorted(times, reverse=True), f"{len(times)} entries")
    _judge_modified(run, shot, entry)


def _judge_modified(run: Run, shot: Shot, entry: ListedSnapshot) -> None:
    if entry.modified is not None:
        began, ended = (
            (entry.modified - run.service_time(at)).total_seconds()
            for at in (shot.sent, shot.answered)
        )
        is_end = began > TELLING / 2 if shot.accepted == "202" else abs(ended) < abs(began)
        clear = shot.accepted == "202" or began - ended >= TELLING
        seen = f"{began:.0f} s after the request, {ended:.0f} s after the answer"
        run.judge("modified-end", is_end if clear else None, seen)


def _judge_late(run: Run, shot: Shot, entry: ListedSnapshot) -> None:
    done = found = run.clock.monotonic() - shot.answered
    if entry.modified is not None:
        # If `modified` is the end, it tells more than the poll that has found it.
        ended = (entry.modified - run.service_time(shot.answered)).total_seconds()
        done = ended if ended > 0 else found
    fits = True if done <= 180 else None if done == found else False  # noqa: PLR2004  "about 2 minutes"
    run.judge("listed-late", fits, f"done {done:.0f} s after the 202, found after {found:.0f} s")
    _judge_modified(run, shot, entry)


# The second snapshot -------------------------------------------------------------------------------------------------


async def _second(run: Run, first: Shot) -> Shot | None:
    """Create once the cooldown has ended; None if that is refused."""
    judge, at = run.judge, first.sent + COOLDOWN
    await run.sleep_until(at, "waiting for the end of the cooldown")
    refused_at = max(shot.answered if shot.refused else 0.0 for shot in run.shots)
    punctual = run.clock.monotonic() < at + TELLING and refused_at > first.sent + 160.0
    shot = await run.send(run.targets.database_id)
    if shot.refused == "KEEP_CALM":
        if punctual:
            judge(
                "refusal-restarts",
                true=True,
                seen="refused 186 s after the first, with a refusal in between",
            )
        await run.sleep_until(shot.answered + COOLDOWN, "waiting 186 s from the last refusal")
        shot = await run.send(run.targets.database_id)
        judge(
            "cooldown-ends", None, f"{shot.refused or shot.accepted} 186 s after the last refusal"
        )
    elif shot.accepted:
        seen = f"accepted {shot.sent - first.sent:.0f} s after the first"
        judge("cooldown-ends", true=True, seen=seen)
        if punctual:
            judge("refusal-restarts", true=False, seen=f"{seen}, with a refusal in between")
    if shot.refused:
        judge("cooldown-ends", None, f"refused with {shot.refused}")
        return None
    _judge_answer(run, shot)
    return shot


async def _cache(run: Run, first: Shot, second: Shot) -> list[ListingName]:
    """Find out whether the second snapshot ends the caching of the pages that showed the first; returns those kept."""
    begin = run.clock.monotonic() if second.accepted == "200" else second.answered + PROCESSING_TIME
    ended: set[ListingName] = set()
    for offset in (0, 25, 60) if run.base else ():
        await run.sleep_until(begin + offset, "waiting to request the listings again")
        for listing in set(run.base) - ended:
            if (await run.find(listing, second))[1] is not None:
                ended.add(listing)
    for listing, (at, fresh) in run.base.items():
        fact = f"{listing}-cache-ends"
        if at >= second.sent:
            run.judge(fact, None, "no page was requested between the two snapshots")
        elif listing in ended:
            # A page that shows the first snapshot is not older than its end.
            young = fresh and run.clock.monotonic() - first.sent < SERVICE_CACHE
            run.judge(
                fact,
                young or None,
                "shown within a minute" if young else "the page before was an old one",
            )
        elif second.accepted == "200" or second.version is not None:
            # A 200 says that it was done by then; otherwise the other listing has said so.
            run.judge(fact, true=False, seen="not shown a minute after it was done")
    run.write()  # what another client may have caused is open again
    return [
        listing
        for listing in run.base
        if run.report.facts[f"{listing}-cache-ends"]["verdict"] == VERDICTS[False]
    ]


async def _unpinned(run: Run, first: Shot, second: Shot) -> None:
    """Request the first URL without a version, now that there is a newer snapshot; only a header names the version."""
    now = await run.look("GET", first.finished.url if first.finished else None)
    version = now.headers.get(VERSION_HEADER) if now and now.status in {OK, PARTIAL} else None
    if version and version in {first.version, second.version}:
        run.judge("newest", version == second.version, "by its version")


# Options -------------------------------------------------------------------------------------------------------------


async def _large(run: Run, database_id: str) -> None:
    """Take a snapshot that should be answered with 202."""
    shot = await run.send(database_id)
    if shot.accepted == "202":
        _judge_answer(run, shot)
    else:
        done = f"done after {shot.first_byte:.1f} s: a larger database tells more"
        run.judge("create-202", None, f"refused with {shot.refused}" if shot.refused else done)
    if shot.accepted and shot.version is None:
        entry = await run.until_listed(shot)
        if entry is not None and shot.accepted == "202":
            _judge_late(run, shot, entry)


async def _restore(run: Run, scratch: str, entry: ListedSnapshot) -> None:
    """Restore the first snapshot onto another database, and poll until that is over."""
    judge, client = run.judge, run.client
    shot, ends = run.shot(scratch, entry), run.clock.monotonic() + RESTORE_LIMIT
    down, starts, known = list[bool](), list[float](), dict[str, Any]()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(run.fire, shot, RESTORE)
            while not _is_restored(run, shot, known, down) and run.clock.monotonic() < ends:
                await run.clock.sleep(RESTORE_POLL)
                status = await run.ask(client.database_status, scratch)
                if not isinstance(status, SquareCloudError):
                    down.append(not status.running)
                    starts += [status.uptime.timestamp()] if status.uptime else []
                known = await _restore_status(run, scratch)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    if shot.refused:
        judge("restore-answer", None, f"refused with {shot.refused}")
        return
    judge(
        "restore-answer",
        shot.accepted in {"200", "202"} or None,
        f"{shot.accepted} after {shot.first_byte:.1f} s",
    )
    posted, finished, state = (
        run.service_time(shot.sent).timestamp(),
        known.get("finished_at"),
        known.get("state"),
    )
    # It may have been down between two polls only.
    again = starts[-1] > posted if starts else None
    judge("restore-restarts", again, "by its `uptime`" if starts else "it has no `uptime`")
    judge("restore-down", any(down) or again, f"down in {sum(down)} of {len(down)} polls")
    if isinstance(finished, int | float):
        took = finished / 1000 - posted
        judge(
            "restore-waits",
            shot.first_byte >= took - 2,
            f"the end came {took:.0f} s after the request",
        )
    if state in {"success", "error"}:
        at = rfc3339(run.session.service_clock.now().replace(microsecond=0))
        await shot.operation.enter_result(
            at if state == "success" else state, failed=state == "error"
        )
        shot.how = f"has ended with {state}"


def _is_restored(run: Run, shot: Shot, known: dict[str, Any], down: list[bool]) -> bool:
    """Whether a restore has ended, by its status, or by that of its database."""
    if not shot.accepted or not known:
        return bool(shot.refused or (shot.accepted and True in down and not down[-1]))
    # The end of an earlier restore is shown for an hour.
    finished, since = known.get("finished_at"), run.service_time(shot.sent).timestamp() - TELLING
    earlier = isinstance(finished, int | float) and finished / 1000 < since
    return known.get("state") in {"success", "error"} and not earlier
