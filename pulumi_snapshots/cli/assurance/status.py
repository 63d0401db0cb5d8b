"""The command `status`: whether each database has a snapshot, an archive and a drill that are young enough; for monitoring.

It is green only if that is certain. Ages are counted from the time of each snapshot, never from that of the page that shows
it, and by whichever clock is later, the service's or this machine's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from pulumi_snapshots.archive.manifest import Manifest
from pulumi_snapshots.archive.shelf import shelved
from pulumi_snapshots.cli.assurance.metrics import gauge, seconds_of, write
from pulumi_snapshots.cli.terminal.arguments import checked, json_option, notify_option, place
from pulumi_snapshots.cli.terminal.completing import database_ids
from pulumi_snapshots.cli.terminal.display import ASKING, Display, display
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, age_text, json_text, table
from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.ledger.drilled import Drilled, Drills
from pulumi_snapshots.listing.listings import CLOCK_ROOM, SERVICE_CACHE
from pulumi_snapshots.lookup.account import Page, age_of, databases_of_account, newest_good, snapshots_of_account
from pulumi_snapshots.lookup.inputs import ORIGINS
from pulumi_snapshots.lookup.prefix import whole_database
from pulumi_snapshots.lookup.results import SnapshotInfo
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Duration, Inputs, declare
from pulumi_snapshots.properties.checks import RETENTION
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.properties.unfit import Unfit
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


@dataclass
class Health:
    """What is known of one database.

    Attributes:
        id: its id.
        name: its name; None if that is not known.
        newest: its newest good snapshot.
        age: of that snapshot, in seconds.
        archived: when the snapshot in its newest archive was taken, as RFC 3339.
        archive: the address of that archive.
        archive_age: of that snapshot, in seconds.
        drilled: when the last drill was passed, as RFC 3339.
        drill_age: how long ago that was, in seconds.
        problems: why it is not as it should be; nothing if it is.
    """

    id: str
    name: str | None = None
    newest: SnapshotInfo | None = None
    age: float | None = None
    archived: str | None = None
    archive: str | None = None
    archive_age: float | None = None
    drilled: str | None = None
    drill_age: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def taken(self) -> str | None:
        """When its newest good snapshot was taken, as RFC 3339."""
        return None if self.newest is None else self.newest.created_at

    def demand(self, what: str, age: float | None, most: float, *, which: str = "newest") -> None:
        """Note a problem if something is older than it may be, or if it is not certain that it is not."""
        if age is None:
            self.problems.append(f"no {what}")
        elif age < -CLOCK_ROOM:
            self.problems.append(f"the {which} {what} is {_exact(-age)} in the future: a clock is wrong")
        elif age > most:
            self.problems.append(f"the {which} {what} is {_exact(age)} old, more than {_exact(most)}")


@click.command(short_help="Check that every database has a young snapshot.")
@click.argument("databases", metavar="[DATABASE]...", nargs=-1, shell_complete=database_ids)
@click.option("--max-age", metavar="DURATION", help="How old the newest snapshot may be; 26h by default.")
@click.option("--origin", type=click.Choice(ORIGINS), help="Only snapshots of this origin count.")
@click.option(
    "--archives", metavar="DESTINATION", multiple=True, help="Look for archives and drills there; may be repeated."
)
@click.option("--max-archive-age", metavar="DURATION", help="How old the snapshot in the newest archive may be.")
@click.option("--max-drill-age", metavar="DURATION", help="How long ago the last drill may be.")
@click.option(
    "--metrics",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write OpenMetrics, for node_exporter's textfile collector.",
)
@notify_option
@json_option
@click.pass_context
async def status(  # noqa: PLR0913  each is an option
    context: click.Context,
    /,
    *,
    databases: Sequence[str],
    origin: str | None,
    archives: Sequence[str],
    metrics: Path | None,
    as_json: bool,
    **typed: Any,
) -> int:
    """Check that each DATABASE, or every one of the account, has a young snapshot; for cron and monitoring.

    The exit code is 0 only if that is certain. Standard error says what is wrong, and nothing if all is well.
    """
    invocation: Invocation = context.obj
    limits = checked(context, Limits, typed)
    if not archives and limits.max_archive_age:
        context.fail("--max-archive-age needs --archives.")
    try:
        databases = [checks.database_id("check")(each) for each in databases]
    except Unfit as unfit:
        context.fail(f"DATABASE {unfit}.")
    places = [place(context, "--archives", each) for each in archives]
    began = invocation.clock.utc()
    try:
        async with invocation.session() as session:
            with display(invocation, logged=False) as shown:
                shown.progress(ASKING)
                await _answers(session)
                page, found = await _examined(session, shown, databases, limits, origin)
                about = await _manifests(invocation, shown, places)
                _look_at_archives(about, await Drills(session.ledger).all(), limits, found, _latest_now(session))
    except Explained:
        if metrics:
            write(metrics, _metrics(began, success=False))
        raise
    fine = bool(found) and not any(each.problems for each in found)
    if as_json:
        invocation.show(json_text(_fields(began, limits, page, found, fine=fine)))
    else:
        invocation.show(_table(invocation, page, found, limits, archives=bool(places)))
    for each in found:
        if each.problems:
            name = f" ({each.name})" if each.name else ""
            invocation.fail(f"database {each.id}{name}: {', '.join(each.problems)}.")
    if not found:
        invocation.fail("the account has no databases, so nothing was checked.")
    if metrics:
        write(metrics, [*_metrics(began, success=True), *_of_each(limits, page, found, archives=bool(places))])
    return DONE if fine else FAILED


# What is found -----------------------------------------------------------------------------------------------------------


async def _answers(session: Session) -> None:
    """Find out within 15 s whether the service answers; raises a `SquareCloudError` if it does not."""
    with suppress(NotAllowed):
        await session.databases.account(session.clock.monotonic(), patience=BRISK)


async def _examined(
    session: Session, shown: Display, wanted: Sequence[str], limits: Limits, origin: str | None
) -> tuple[Page, list[Health]]:
    """The account's snapshots, and what they say of each database that is wanted; of all if none is."""
    wanted = [await whole_database(session, each) for each in wanted]
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
            health.newest = await newest_good(session, database_id, entries, origin=origin)
            health.age = None if health.newest is None else age_of(health.newest, now)
            health.demand(f"{origin} snapshot" if origin else "snapshot", health.age, limits.max_age)
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


def _look_at_archives(
    about: Sequence[tuple[str, Manifest]],
    remembered: Mapping[str, Drilled],
    limits: Limits,
    found: Sequence[Health],
    now: datetime,
) -> None:
    """Add what the manifests of archives say of each database, and the drills that the ledger remembers."""
    for health in found:
        ours = [one for one in about if one[1].database_id == health.id]
        dated = [(one.created_at, uri) for uri, one in ours if one.created_at]
        if dated:
            health.archived, health.archive = max(dated, key=lambda one: parse_rfc3339(one[0]))
            health.archive_age = _seconds_since(health.archived, now)
        proofs = [*(one.drill for _, one in ours), remembered.get(health.id)]
        drills = [drill.drilled_at for drill in proofs if drill is not None]
        if drills:
            health.drilled = max(drills, key=parse_rfc3339)
            health.drill_age = _seconds_since(health.drilled, now)
        if limits.max_archive_age is not None:
            health.demand(
                "archive of a known age" if ours and not dated else "archive",
                health.archive_age,
                limits.max_archive_age,
            )
        if limits.max_drill_age is not None:
            health.demand("drill that passed", health.drill_age, limits.max_drill_age, which="last")


def _exact(seconds: float) -> str:
    """A duration to the second, since a rounded age may read as if it were not too much."""
    return spoken(round(seconds), exact=True)


def _seconds_since(moment: str, now: datetime) -> float:
    return (now - parse_rfc3339(moment)).total_seconds()


# How it is shown ---------------------------------------------------------------------------------------------------------


def _shows_drills(limits: Limits, found: Sequence[Health], *, archives: bool) -> bool:
    return archives or limits.max_drill_age is not None or any(each.drilled for each in found)


def _table(invocation: Invocation, page: Page, found: Sequence[Health], limits: Limits, *, archives: bool) -> str:
    drills = _shows_drills(limits, found, archives=archives)
    heads = (
        "",
        "DATABASE",
        "NAME",
        "SNAPSHOT",
        *(("ARCHIVE",) if archives else ()),
        *(("DRILL",) if drills else ()),
        "",
    )
    rows = [
        (
            MARKS["problem" if each.problems else "ok"],
            each.id,
            each.name,
            age_text(each.age) or "none",
            *((age_text(each.archive_age) or "none",) if archives else ()),
            *((age_text(each.drill_age) or "none",) if drills else ()),
            ", ".join(each.problems),
        )
        for each in found
    ]
    old = f"The listing was requested {age_text(page.age)} ago; the service may serve a page that is {age_text(SERVICE_CACHE)} old.\n"
    return (table(heads, rows, invocation.out) if rows else "") + old


def _fields(began: datetime, limits: Limits, page: Page, found: Sequence[Health], *, fine: bool) -> dict[str, Any]:
    return {
        "ok": fine,
        "checked_at": rfc3339(began),
        "listing_age": page.age,
        "listing_kept": page.kept,
        **vars(limits),
        "databases": [
            {
                "id": each.id,
                "name": each.name,
                "ok": not each.problems,
                "problems": each.problems,
                "snapshot": None if each.newest is None else each.newest.id,
                "snapshot_created_at": each.taken,
                "snapshot_age": each.age,
                "archive": each.archive,
                "archive_created_at": each.archived,
                "archive_age": each.archive_age,
                "drilled_at": each.drilled,
                "drill_age": each.drill_age,
            }
            for each in found
        ],
    }


def _metrics(began: datetime, *, success: bool) -> list[str]:
    about = "Whether everything could be checked; without it the file has no databases."
    return [
        gauge("status_success", about, [({}, success)]),
        gauge("status_timestamp_seconds", "When it was checked.", [({}, seconds_of(began))]),
    ]


def _of_each(limits: Limits, page: Page, found: Sequence[Health], *, archives: bool) -> list[str]:
    labels = [{"database_id": each.id, "name": each.name or ""} for each in found]
    times = {
        "snapshot_timestamp_seconds": (
            "When the newest good snapshot was taken; 0 if there is none.",
            [seconds_of(each.taken) for each in found],
        )
    }
    if archives:
        times["archive_timestamp_seconds"] = (
            "When the snapshot in the newest archive was taken; 0 if there is none.",
            [seconds_of(each.archived) for each in found],
        )
    if _shows_drills(limits, found, archives=archives):
        times["drill_timestamp_seconds"] = (
            "When the last drill was passed; 0 if there was none.",
            [seconds_of(each.drilled) for each in found],
        )
    return [
        gauge("status_listing_age_seconds", "How long ago the listing was requested.", [({}, page.age)]),
        gauge("status_max_age_seconds", "How old a snapshot may be.", [({}, limits.max_age)]),
        gauge(
            "database_ok",
            "Whether everything is as young as it must be.",
            [(each, float(not health.problems)) for each, health in zip(labels, found, strict=True)],
        ),
        *(gauge(name, about, zip(labels, values, strict=True)) for name, (about, values) in times.items()),
    ]
