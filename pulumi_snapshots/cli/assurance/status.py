"""The command `status`: whether each database has a snapshot, an archive and a drill that are young enough; for monitoring.

It is green only if that is certain. Ages are counted from the time of each snapshot, never from that of the page that shows
it, and by whichever clock is later, the service's or this machine's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import click

from pulumi_snapshots.archive.manifest import Manifest
from pulumi_snapshots.archive.shelf import shelved
from pulumi_snapshots.cli.assurance.guards import changed
from pulumi_snapshots.cli.terminal.arguments import DATABASE, DURATION, PLACE, checked, command, notify_option
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, age_text, moment, table
from pulumi_snapshots.clock import parse_rfc3339, rfc3339, to_the_second
from pulumi_snapshots.errors import Explained, LedgerUnavailable
from pulumi_snapshots.guard.book import Guarded, consult
from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.ledger.drilled import Drilled, last_drills
from pulumi_snapshots.listing.listings import CLOCK_ROOM, SERVICE_CACHE
from pulumi_snapshots.lookup.account import Page, databases_of_account, newest_good, snapshots_of_account
from pulumi_snapshots.lookup.prefix import whole_database
from pulumi_snapshots.lookup.results import ORIGINS
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Duration, Inputs, declare
from pulumi_snapshots.properties.checks import RETENTION
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRISK
from pulumi_snapshots.service.errors import NotAllowed
from pulumi_snapshots.service.models import AccountDatabase
from pulumi_snapshots.storage.destination import Destination, place_text
from pulumi_snapshots.whole_file import written_whole

USUAL = 26 * 3600.0
"""Seconds: a day, and two hours in which the next snapshot is taken and listed."""
YEARS = 10 * 365 * 86400.0
_long = checks.duration(most=YEARS)


class Limits(Inputs):
    """How old things may be, in seconds."""

    max_age: Duration = declare(
        "The newest snapshot.",
        default=USUAL,
        read=checks.duration(most=RETENTION, because="the service keeps no snapshot longer"),
    )
    max_archive_age: Duration | None = declare("The snapshot in the newest archive.", default=None, read=_long)
    max_drill_age: Duration | None = declare("The last drill.", default=None, read=_long)


class MetricsUnwritable(Explained):
    """The file of the metrics cannot be written. What was found is shown all the same."""


Health = dict[str, Any]
"""What is known of one database, as JSON shows it."""
NOTHING: Mapping[str, Any] = {
    **dict.fromkeys(("snapshot", "snapshot_created_at", "snapshot_age")),
    **dict.fromkeys(("archive", "archive_created_at", "archive_age")),
    **dict.fromkeys(("drilled_at", "drill_age", "before_last_change", "pending_since")),
}
TIMES = {"snapshot": "snapshot_created_at", "archive": "archive_created_at", "drill": "drilled_at"}
"""What makes a database safe, and when it was made."""
METRICS = {
    "status_success": "Whether everything could be checked; without it the file has no databases.",
    "status_timestamp_seconds": "When it was checked.",
    "status_listing_age_seconds": "How long ago the listing was requested.",
    "status_max_age_seconds": "How old a snapshot may be.",
    "database_ok": "Whether everything is as young as it must be.",
    "snapshot_timestamp_seconds": "When the newest good snapshot was taken; 0 if there is none.",
    "archive_timestamp_seconds": "When the snapshot in the newest archive was taken; 0 if there is none.",
    "drill_timestamp_seconds": "When the last drill was passed; 0 if there was none.",
}


@command(
    click.argument("databases", metavar="[DATABASE]...", nargs=-1, type=DATABASE),
    click.option("--max-age", type=DURATION, help="How old the newest snapshot may be; 26h by default."),
    click.option("--origin", type=click.Choice(ORIGINS), help="Only snapshots of this origin count."),
    click.option("--archives", type=PLACE, multiple=True, help="Look for archives and drills there; may be repeated."),
    click.option("--max-archive-age", type=DURATION, help="How old the snapshot in the newest archive may be."),
    click.option("--max-drill-age", type=DURATION, help="How long ago the last drill may be."),
    click.option(
        "--metrics",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Also write OpenMetrics, for node_exporter's textfile collector.",
    ),
    notify_option,
    short_help="Check that every database has a young snapshot.",
)
async def status(
    invocation: Invocation,
    /,
    *,
    databases: Sequence[str],
    origin: str | None,
    archives: Sequence[Destination],
    metrics: Path | None,
    **typed: Any,
) -> int:
    """Check that each DATABASE, or every one of the account, has a young snapshot; for cron and monitoring.

    Also prints the command that goes back to the data of a snapshot. The exit code is 0 only if everything is certain.
    Standard error says what is wrong, and is empty if all is well.
    """
    limits = checked(invocation, Limits, typed)
    if not archives and limits.max_archive_age:
        invocation.wrong("--max-archive-age needs --archives.")
    began = invocation.clock.utc()
    try:
        async with invocation.asking() as session:
            with suppress(NotAllowed):  # within 15 s, whether the service answers
                await session.databases.account(session.clock.monotonic(), patience=BRISK)
            ids = [await whole_database(session, each) for each in databases]  # without a word: cron would mail it
            page, found = await _examined(invocation, session, ids, limits, origin)
            manifests = []
            for each in archives:
                invocation.progress(f"listing {place_text(each.uri)}")
                good = [one for one in await shelved(invocation.transfers, each) if not one.problem]
                manifests += [(one.uri, one.manifest) for one in good if one.manifest]
            ways = await _ways_back(invocation.zone, session, manifests, limits, found)
    except Explained:
        if metrics:
            _write(metrics, {"status_success": 0, "status_timestamp_seconds": began.timestamp()})
        raise
    for health in found:
        health["ok"] = not health["problems"]
    fine = bool(found) and all(health["ok"] for health in found)
    drills = archives or limits.max_drill_age is not None or any(health["drilled_at"] for health in found)
    kinds = ["snapshot", *(["archive"] if archives else []), *(["drill"] if drills else [])]
    bad = [health for health in found if not health["ok"]]
    about = {"checked_at": rfc3339(began), "listing_age": page.age, "listing_kept": page.kept, **vars(limits)}
    old = f"The listing was requested {age_text(page.age)} ago; the service may serve a page that is {age_text(SERVICE_CACHE)} old.\n"
    rows = [
        (
            MARKS["ok" if health["ok"] else "problem"],
            health["id"],
            health["name"],
            *(age_text(health[f"{kind}_age"]) or "none" for kind in kinds),
        )
        for health in found
    ]
    shown = table(("", "DATABASE", "NAME", *map(str.upper, kinds)), rows, invocation.out) if rows else ""
    text = shown + "\n".join(["", *ways, old])
    invocation.result({"ok": fine, **about, "databases": found}, text, *(health["id"] for health in bad))
    for health in bad:
        name = f" ({health['name']})" if health["name"] else ""
        invocation.fail(f"database {health['id']}{name}: {', '.join(health['problems'])}.")
    if not found:
        invocation.fail("the account has no databases, so nothing was checked.")
    if metrics:
        values = {"status_success": 1, "status_timestamp_seconds": began.timestamp()}
        values |= {"status_listing_age_seconds": page.age, "status_max_age_seconds": limits.max_age}
        _write(metrics, values, found, kinds)
    return DONE if fine else FAILED


async def _examined(
    invocation: Invocation, session: Session, wanted: Sequence[str], limits: Limits, origin: str | None
) -> tuple[Page, list[Health]]:
    """The account's snapshots, and what they say of each database that is wanted; of all if none is."""
    known: list[AccountDatabase] | None = None
    try:
        known = await databases_of_account(session)
    except NotAllowed:
        # The listing shows whether the named ones have a snapshot, but never which databases there are.
        if not wanted:
            raise
    page = await snapshots_of_account(session, origin=origin, tell=invocation.progress)
    names = {each.id: each.name for each in known or ()}
    found = []
    for database_id in dict.fromkeys(wanted or names):
        health = {"id": database_id, "name": names.get(database_id), "ok": False, "problems": [], **NOTHING}
        if known is not None and database_id not in names:
            health["problems"].append("the account has no such database")
        else:
            entries = page.of_each.get(database_id, {})
            if newest := await newest_good(session, database_id, entries, origin=origin):
                health["snapshot"] = newest.id
                _date(health, "snapshot", newest.created_at or "", _latest_now(session))
            _demand(health, "snapshot", f"{origin} snapshot" if origin else "snapshot", limits.max_age)
        found.append(health)
    return page, found


def _latest_now(session: Session) -> datetime:
    """The later of the two clocks' times: with the other one, what is old could seem young."""
    return max(session.service_clock.now(), session.clock.utc())


def _date(health: Health, kind: str, at: str, now: datetime) -> None:
    health[TIMES[kind]], health[f"{kind}_age"] = at, (now - parse_rfc3339(at)).total_seconds()


def _demand(health: Health, kind: str, what: str, most: float, *, which: str = "newest") -> None:
    """Note a problem if something is older than it may be, or if it is not certain that it is not."""
    age, problems = health[f"{kind}_age"], health["problems"]
    if age is None:
        problems.append(f"no {what}")
    elif age < -CLOCK_ROOM:
        problems.append(f"the {which} {what} is {_exact(-age)} in the future: a clock is wrong")
    elif age > most:
        problems.append(f"the {which} {what} is {_exact(age)} old, more than {_exact(most)}")


def _exact(seconds: float) -> str:
    """A duration to the second, since a rounded age may read as if it were not too much."""
    return spoken(round(seconds), exact=True)


async def _ways_back(
    zone: tzinfo | None,
    session: Session,
    manifests: Sequence[tuple[str, Manifest]],
    limits: Limits,
    found: Sequence[Health],
) -> list[str]:
    """Add what archives and the ledger have of each database; returns for each to what a person can go back."""
    now, ways = _latest_now(session), []
    noted: list[Guarded] = []
    attempts: list[Attempt] = []
    with suppress(LedgerUnavailable):
        noted, attempts = await consult(session.ledger, lambda book: (book.history(), book.attempts))
    remembered = await last_drills(session.ledger)
    for health in found:
        database_id, newest = health["id"], health["snapshot_created_at"]
        ours = [one for one in manifests if one[1].database_id == database_id]
        dated = {one.created_at: uri for uri, one in ours if one.created_at}
        if dated:
            at = max(dated, key=parse_rfc3339)
            health["archive"] = dated[at]
            _date(health, "archive", at, now)
        proofs = [drill for drill in (*(one.drill for _, one in ours), remembered.get(database_id)) if drill]
        last = max(proofs, key=lambda each: parse_rfc3339(each.drilled_at), default=None)
        if last:
            _date(health, "drill", last.drilled_at, now)
        if limits.max_archive_age is not None:
            what = "archive of a known age" if ours and not dated else "archive"
            _demand(health, "archive", what, limits.max_archive_age)
        if limits.max_drill_age is not None:
            _demand(health, "drill", "drill that passed", limits.max_drill_age, which="last")
        # Requested, and not listed yet.
        posted = [
            to_the_second(each.request.posted_at)
            for each in attempts
            if (each.kind, each.database_id) == ("snapshot", database_id) and not each.is_over
            if now < each.waited_for_until and (not newest or parse_rfc3339(newest) < each.request.requested)
        ]
        health["pending_since"] = max(posted, default=None)
        changes = (each for each in noted if each.database_id == database_id and each.id and each.changed_at)
        ways.append("\n".join([*_way_back(zone, health, next(changes, None), last), ""]))
    return ways


def _way_back(zone: tzinfo | None, health: Health, guarded: Guarded | None, drill: Drilled | None) -> Iterator[str]:
    """To what a person can go back, that from before the last change first, and what has proved it."""
    name, newest, pending = health["name"] or health["id"], health["snapshot_created_at"], health["pending_since"]
    if guarded:
        health["before_last_change"] = guarded.id
        taken = moment(guarded.snapshot.get("created_at") or guarded.noted_at, zone)
        yield f"{name}: from before {changed(guarded)}: {taken}"
        yield f"  {NAME} restore {guarded.id}"
    if there := newest or health["archive_created_at"]:
        proof = "no drill has proved a restore"
        if drill:
            took = f", in {spoken(drill.restore_seconds)}" if drill.restore_seconds else ""
            proof = f"a restore was proved on {moment(drill.drilled_at, zone)}{took}"
        yield f"{name}: the newest {'snapshot' if newest else 'archive'} is of {moment(there, zone)}; {proof}"
        if not newest:
            yield f"  {place_text(health['archive'])}"
        elif health["snapshot"] != health["before_last_change"]:
            yield f"  {NAME} restore {health['snapshot']}"
    elif not guarded:
        yield f"{name}: there is nothing to go back to{' yet' if pending else ''}"
    if pending:
        yield f"  a snapshot was requested at {moment(pending, zone)} and is not listed yet"


def _write(file: Path, values: Mapping[str, float], found: Sequence[Health] = (), kinds: Sequence[str] = ()) -> None:
    """Write the metrics as a whole file: its reader finds the earlier content or this.

    Raises:
        MetricsUnwritable: it cannot be written.
    """
    samples = {name: [("", value)] for name, value in values.items()}
    for health in found:
        name = (health["name"] or "").replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        labels = f'{{database_id="{health["id"]}",name="{name}"}}'
        samples.setdefault("database_ok", []).append((labels, health["ok"]))
        for kind in kinds:
            at = health[TIMES[kind]]
            # 0, so that an alert on its age fires.
            value = parse_rfc3339(at).timestamp() if at else 0.0
            samples.setdefault(f"{kind}_timestamp_seconds", []).append((labels, value))
    lines = []
    for name, each in samples.items():
        lines.append(f"# HELP squarecloud_{name} {METRICS[name]}\n# TYPE squarecloud_{name} gauge\n")
        lines += [f"squarecloud_{name}{labels} {value:.15g}\n" for labels, value in each]
    try:
        with written_whole(file) as draft:
            draft.write(("".join(lines) + "# EOF\n").encode())
            os.fchmod(draft.fileno(), 0o644)  # the collector runs as another user, and there is no secret in the file
    except OSError as error:
        why = f"the metrics were not written to {file}: {error.strerror or error}"
        raise MetricsUnwritable(why, "The file is as it was before.") from error
