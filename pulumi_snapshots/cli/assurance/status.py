"""The command `status`: whether each database has a snapshot, an archive and a drill that are young enough; for monitoring.

It is green only if that is certain. Ages are counted from the time of each snapshot, never from that of the page that shows
it, and by whichever clock is later, the service's or this machine's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, NamedTuple

import click

from pulumi_snapshots.archive.manifest import Manifest
from pulumi_snapshots.archive.shelf import shelved
from pulumi_snapshots.cli.assurance.guards import changed
from pulumi_snapshots.cli.assurance.metrics import gauge, seconds_of, write
from pulumi_snapshots.cli.terminal.arguments import DURATION, check_database, checked, command, notify_option, place
from pulumi_snapshots.cli.terminal.completing import database_ids
from pulumi_snapshots.cli.terminal.display import Display, asking
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, age_text, moment, table, zoned
from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from pulumi_snapshots.errors import Explained, LedgerUnavailable
from pulumi_snapshots.guard.book import Guarded, consult
from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.ledger.drilled import last_drills
from pulumi_snapshots.listing.listings import CLOCK_ROOM, SERVICE_CACHE
from pulumi_snapshots.lookup.account import Page, age_of, databases_of_account, newest_good, snapshots_of_account
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


KINDS = {
    "snapshot": "When the newest good snapshot was taken; 0 if there is none.",
    "archive": "When the snapshot in the newest archive was taken; 0 if there is none.",
    "drill": "When the last drill was passed; 0 if there was none.",
}
"""What makes a database safe, and the description of its metric."""


class Latest(NamedTuple):
    """The latest of its kind: what it is, its time as RFC 3339, and its age in seconds; None if there is none."""

    what: str | None = None
    at: str | None = None
    age: float | None = None


@dataclass
class Health:
    """What is known of one database.

    Attributes:
        id: its id.
        name: its name; None if that is not known.
        latest: its latest snapshot, archive and drill, as far as they are known.
        problems: why it is not as it should be; nothing if it is.
        took: seconds of the restore in the last drill; None if that is not known.
        guarded: the last snapshot after which something changed that it had guarded; None without one.
        pending: when a snapshot was requested that is not listed yet; None without one.
    """

    id: str
    name: str | None = None
    latest: dict[str, Latest] = field(default_factory=lambda: dict.fromkeys(KINDS, Latest()))
    problems: list[str] = field(default_factory=list)
    took: float | None = None
    guarded: Guarded | None = None
    pending: datetime | None = None

    def demand(self, kind: str, what: str, most: float, *, which: str = "newest") -> None:
        """Note a problem if something is older than it may be, or if it is not certain that it is not."""
        age = self.latest[kind].age
        if age is None:
            self.problems.append(f"no {what}")
        elif age < -CLOCK_ROOM:
            self.problems.append(f"the {which} {what} is {_exact(-age)} in the future: a clock is wrong")
        elif age > most:
            self.problems.append(f"the {which} {what} is {_exact(age)} old, more than {_exact(most)}")


@command(
    click.argument("databases", metavar="[DATABASE]...", nargs=-1, shell_complete=database_ids),
    click.option("--max-age", type=DURATION, help="How old the newest snapshot may be; 26h by default."),
    click.option("--origin", type=click.Choice(ORIGINS), help="Only snapshots of this origin count."),
    click.option(
        "--archives", metavar="DESTINATION", multiple=True, help="Look for archives and drills there; may be repeated."
    ),
    click.option("--max-archive-age", type=DURATION, help="How old the snapshot in the newest archive may be."),
    click.option("--max-drill-age", type=DURATION, help="How long ago the last drill may be."),
    click.option(
        "--metrics",
        metavar="FILE",
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
    archives: Sequence[str],
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
    for typed_id in databases:
        check_database(invocation, "DATABASE", typed_id, "check")
    places = [place(invocation, "--archives", each) for each in archives]
    began = invocation.clock.utc()
    try:
        async with asking(invocation) as (session, shown):
            with suppress(NotAllowed):  # within 15 s, whether the service answers
                await session.databases.account(session.clock.monotonic(), patience=BRISK)
            ids = [await whole_database(session, each) for each in databases]  # without a word: cron would mail it
            page, found = await _examined(session, shown, ids, limits, origin)
            about = await _manifests(invocation, shown, places)
            await _look_at_ledger(session, found)
            await _look_at_proofs(session, about, limits, found)
    except Explained:
        if metrics:
            write(metrics, _metrics(began, success=False))
        raise
    fine = bool(found) and not any(each.problems for each in found)
    drills = places or limits.max_drill_age is not None or any(each.latest["drill"].at for each in found)
    kinds = ["snapshot", *(["archive"] if places else []), *(["drill"] if drills else [])]
    fields = {
        "ok": fine,
        "checked_at": rfc3339(began),
        "listing_age": page.age,
        "listing_kept": page.kept,
        **vars(limits),
        "databases": [_fields(each) for each in found],
    }
    bad = [each for each in found if each.problems]
    invocation.result(fields, _text(invocation, page, found, kinds), *(each.id for each in bad))
    for each in bad:
        name = f" ({each.name})" if each.name else ""
        invocation.fail(f"database {each.id}{name}: {', '.join(each.problems)}.")
    if not found:
        invocation.fail("the account has no databases, so nothing was checked.")
    if metrics:
        write(metrics, [*_metrics(began, success=True), *_of_each(limits, page, found, kinds)])
    return DONE if fine else FAILED


# What is found -----------------------------------------------------------------------------------------------------------


async def _examined(
    session: Session, shown: Display, wanted: Sequence[str], limits: Limits, origin: str | None
) -> tuple[Page, list[Health]]:
    """The account's snapshots, and what they say of each database that is wanted; of all if none is."""
    try:
        known: list[AccountDatabase] | None = await databases_of_account(session)
    except NotAllowed:
        # The listing shows whether the named ones have a snapshot, but never which databases there are.
        if not wanted:
            raise
        known = None
    page = await snapshots_of_account(session, origin=origin, tell=shown.progress)
    names = {each.id: each.name for each in known or ()}
    now = _latest_now(session)
    found = []
    for database_id in dict.fromkeys(wanted or names):
        health = Health(database_id, names.get(database_id))
        if known is not None and database_id not in names:
            health.problems.append("the account has no such database")
        else:
            entries = page.of_each.get(database_id, {})
            if newest := await newest_good(session, database_id, entries, origin=origin):
                health.latest["snapshot"] = Latest(newest.id, newest.created_at, age_of(newest, now))
            health.demand("snapshot", f"{origin} snapshot" if origin else "snapshot", limits.max_age)
        found.append(health)
    return page, found


def _latest_now(session: Session) -> datetime:
    """The later of the two clocks' times: with the other one, what is old could seem young."""
    return max(session.service_clock.now(), session.clock.utc())


async def _manifests(
    invocation: Invocation, shown: Display, places: Sequence[Destination]
) -> list[tuple[str, Manifest]]:
    """The address and the manifest of each archive at these destinations that is whole."""
    about: list[tuple[str, Manifest]] = []
    for each in places:
        shown.progress(f"listing {place_text(each.uri)}")
        found = await shelved(invocation.transfers, each)
        about += [(one.uri, one.manifest) for one in found if one.manifest is not None and not one.problem]
    return about


async def _look_at_ledger(session: Session, found: Sequence[Health]) -> None:
    """Add what guards have guarded, and what was requested and is not listed yet, as far as the ledger can be read."""
    guarded: list[Guarded] = []
    attempts: list[Attempt] = []
    with suppress(LedgerUnavailable):
        noted, attempts = await consult(session.ledger, lambda book: (book.history(), book.attempts))
        guarded = [each for each in noted if each.id and each.changed_at]
        attempts = [each for each in attempts if each.kind == "snapshot" and not each.is_over]
    now = _latest_now(session)
    for health in found:
        health.guarded = next((each for each in guarded if each.database_id == health.id), None)
        newest = health.latest["snapshot"].at
        after = parse_rfc3339(newest) if newest else None
        posted = [
            each.request.posted_at
            for each in attempts
            if each.database_id == health.id and now < each.waited_for_until
            if after is None or after < each.request.requested
        ]
        health.pending = max(posted, default=None)


async def _look_at_proofs(
    session: Session, about: Sequence[tuple[str, Manifest]], limits: Limits, found: Sequence[Health]
) -> None:
    """Add what the manifests of archives say of each database, and the drills that the ledger remembers."""
    now, remembered = _latest_now(session), await last_drills(session.ledger)

    def latest(times: Mapping[str, str | None]) -> Latest:
        at = max(times, key=parse_rfc3339)
        return Latest(times[at], at, (now - parse_rfc3339(at)).total_seconds())

    for health in found:
        ours = [one for one in about if one[1].database_id == health.id]
        dated = {one.created_at: uri for uri, one in ours if one.created_at}
        if dated:
            health.latest["archive"] = latest(dated)
        proofs = [*(one.drill for _, one in ours), remembered.get(health.id)]
        drills = {drill.drilled_at: drill for drill in proofs if drill is not None}
        if drills:
            health.latest["drill"] = latest(dict.fromkeys(drills))
            health.took = drills[health.latest["drill"].at or ""].restore_seconds
        if limits.max_archive_age is not None:
            what = "archive of a known age" if ours and not dated else "archive"
            health.demand("archive", what, limits.max_archive_age)
        if limits.max_drill_age is not None:
            health.demand("drill", "drill that passed", limits.max_drill_age, which="last")


def _exact(seconds: float) -> str:
    """A duration to the second, since a rounded age may read as if it were not too much."""
    return spoken(round(seconds), exact=True)


# How it is shown ---------------------------------------------------------------------------------------------------------


def _text(invocation: Invocation, page: Page, found: Sequence[Health], kinds: Sequence[str]) -> str:
    heads = ("", "DATABASE", "NAME", *map(str.upper, kinds))
    rows = [
        (
            MARKS["problem" if each.problems else "ok"],
            each.id,
            each.name,
            *(age_text(each.latest[kind].age) or "none" for kind in kinds),
        )
        for each in found
    ]
    old = f"The listing was requested {age_text(page.age)} ago; the service may serve a page that is {age_text(SERVICE_CACHE)} old.\n"
    ways = [_way_back(each, invocation.zone) for each in found]
    return (table(heads, rows, invocation.out) if rows else "") + "\n".join(["", *ways, old])


def _way_back(each: Health, zone: tzinfo | None) -> str:
    """To which snapshots or archive a person can go back, that from before the last change first, and what has proved it."""
    name, drill, guarded = each.name or each.id, each.latest["drill"], each.guarded
    lines = []
    if guarded:
        taken = moment(guarded.snapshot.get("created_at") or guarded.noted_at, zone)
        lines += [f"{name}: from before {changed(guarded)}: {taken}", f"  {NAME} restore {guarded.id}"]
    kind = next((kind for kind in ("snapshot", "archive") if each.latest[kind].at), None)
    if kind is None and not guarded:
        lines.append(f"{name}: there is nothing to go back to{' yet' if each.pending else ''}")
    elif kind is not None:
        there, took = each.latest[kind], f", in {spoken(each.took)}" if each.took else ""
        proof = (
            f"a restore was proved on {moment(drill.at, zone)}{took}" if drill.at else "no drill has proved a restore"
        )
        lines.append(f"{name}: the newest {kind} is of {moment(there.at, zone)}; {proof}")
        if guarded is None or there.what != guarded.id:
            lines.append(
                f"  {NAME} restore {there.what}" if kind == "snapshot" else f"  {place_text(there.what or '')}"
            )
    if each.pending:
        lines.append(f"  a snapshot was requested at {zoned(each.pending, zone)} and is not listed yet")
    return "\n".join(lines) + "\n"


def _fields(each: Health) -> dict[str, Any]:
    about: dict[str, Any] = {"id": each.id, "name": each.name, "ok": not each.problems, "problems": each.problems}
    for kind in ("snapshot", "archive"):
        about[kind], about[f"{kind}_created_at"], about[f"{kind}_age"] = each.latest[kind]
    _, about["drilled_at"], about["drill_age"] = each.latest["drill"]
    pending = each.pending and rfc3339(each.pending.replace(microsecond=0))
    return {**about, "before_last_change": each.guarded and each.guarded.id, "pending_since": pending}


def _metrics(began: datetime, *, success: bool) -> list[str]:
    about = "Whether everything could be checked; without it the file has no databases."
    return [
        gauge("status_success", about, [({}, success)]),
        gauge("status_timestamp_seconds", "When it was checked.", [({}, seconds_of(began))]),
    ]


def _of_each(limits: Limits, page: Page, found: Sequence[Health], kinds: Sequence[str]) -> list[str]:
    labels = [{"database_id": each.id, "name": each.name or ""} for each in found]
    times = {kind: [seconds_of(each.latest[kind].at) for each in found] for kind in kinds}
    fine = [float(not each.problems) for each in found]
    return [
        gauge("status_listing_age_seconds", "How long ago the listing was requested.", [({}, page.age)]),
        gauge("status_max_age_seconds", "How old a snapshot may be.", [({}, limits.max_age)]),
        gauge("database_ok", "Whether everything is as young as it must be.", zip(labels, fine, strict=True)),
        *(gauge(f"{kind}_timestamp_seconds", KINDS[kind], zip(labels, times[kind], strict=True)) for kind in kinds),
    ]
