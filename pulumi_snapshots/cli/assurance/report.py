"""The command `report`: one page that says what backups there were, and what proves them."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from pulumi_snapshots.cli.assurance.dossier import Dossier
from pulumi_snapshots.cli.assurance.health import (
    PERIOD,
    AgeLimits,
    Examination,
    Findings,
)
from pulumi_snapshots.cli.assurance.page import report_page
from pulumi_snapshots.cli.assurance.states import StateEntry, read_states, without_zone
from pulumi_snapshots.cli.terminal import arguments
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import OUTPUT_FORMAT, markdown
from pulumi_snapshots.clock import rfc3339, to_the_second
from pulumi_snapshots.drill.history import MOST_DRILLS, ended_drills
from pulumi_snapshots.drill.record import DrillRecord
from pulumi_snapshots.errors.secrets import hide_secrets
from pulumi_snapshots.listing.listings import CLOCK_ROOM
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.storage.destination import place_text

URL = re.compile(r"https?://[^\s'\"|<>]+")
HIDDEN_URL = "(a URL)"


@arguments.command(
    arguments.databases_argument,
    click.option(
        "--since",
        type=arguments.BEGINNING,
        help="The beginning of the period, such as 90d or 2026-10-01 (UTC); 30d by default.",
    ),
    click.option(
        "--archives",
        type=arguments.PLACE,
        multiple=True,
        help="Look for archives there.",
    ),
    click.option(
        "--state",
        "states",
        type=click.Path(dir_okay=False, path_type=Path),
        multiple=True,
        help="A file that `pulumi stack export` has written; repeatable.",
    ),
    *arguments.options_of(
        AgeLimits, "max_age", "origin", "max_archive_age", "max_drill_age"
    ),
)
async def report(
    invocation: Invocation,
    /,
    *,
    since: timedelta | datetime | None,
    states: Sequence[Path],
    **typed: Any,
) -> None:
    """Write a report of snapshots, archives, drills and restores.

    Markdown, or JSON with --json, on each DATABASE, or all that are known. It says what falls
    short, and what is not known. The exit code is 0 only if nothing falls short and everything
    could be read. It holds no secret and no URL.
    """
    limits = arguments.checked(invocation, AgeLimits, typed)
    if not typed["archives"] and limits.max_archive_age:
        invocation.wrong("--max-archive-age needs --archives.")
    now = invocation.clock.utc()
    begin = (
        since
        if isinstance(since, datetime)
        else now - (PERIOD if since is None else since)
    )
    if begin >= now:
        invocation.wrong("--since must be in the past.")
    troubles = list[str]()
    stated = read_states(invocation, states, troubles)
    async with invocation.asking() as session:
        examination = Examination(
            invocation,
            session,
            limits,
            typed["archives"],
            since=begin,
            records=[each.record for each in stated],
            troubles=troubles,
        )
        found = await examination.examine(typed["databases"])
        drills = list[DrillRecord]()
        with examination.reading("the drills in the ledger are not known"):
            drills = await ended_drills(session.ledger)
        fields = _fields(session, examination, found, drills, stated)
    text = markdown(report_page(fields), invocation.out)
    bad = [each for each in fields["databases"] if not each["ok"]]
    invocation.result(fields, text, *(each["id"] for each in bad))
    for problem in fields["problems"]:
        invocation.fail(problem)
    for each in bad:
        invocation.fail(f"database {each['id']}: {', '.join(each['problems'])}.")


def _fields(
    session: Session,
    examination: Examination,
    found: Findings,
    drills: Sequence[DrillRecord],
    stated: Sequence[StateEntry],
) -> dict[str, Any]:
    """Return what programs read of the report, without secrets and URLs."""
    evidence = found.evidence
    manifests = {uri: manifest for manifest, uri in evidence.archives}
    broken = dict[str | None, list[str]]()
    troubles = list[str](examination.troubles or ())
    for archive in found.shelf:
        if archive.doubt:
            of = archive.manifest.database_id if archive.manifest else None
            problem = f"the archive {place_text(archive.uri)} {archive.doubt}"
            broken.setdefault(of, []).append(problem)
        if archive.manifest:
            name = f"the manifest of {place_text(archive.uri)}"
            troubles += without_zone(name, archive.manifest.to_outputs())
    databases = []
    for health in found.databases:
        manifest = manifests.get(health.archive or "")
        dossier = Dossier(health, evidence, manifest, drills, stated)
        databases.append(dossier.fields(broken.pop(health.id, [])))
    troubles += [f"{each}." for each in broken.get(None, ())]
    if not databases:
        troubles.append("no database is known, so nothing is reported.")
    place = session.ledger.place
    fields = {
        "output_format": OUTPUT_FORMAT,
        "tool": f"pulumi-snapshots {version('pulumi-snapshots')}",
        "ok": not troubles and all(each["ok"] for each in databases),
        "since": rfc3339(evidence.since),
        "checked_at": rfc3339(evidence.now),
        "ledger": place.where,
        "ledger_shared": place.is_shared,
        **vars(examination.limits),
        "problems": troubles,
        "unknown": [*_unknown(session, examination, found, drills, stated)],
        "databases": databases,
    }
    clean: dict[str, Any] = _without_secrets(fields)
    return clean


def _unknown(
    session: Session,
    examination: Examination,
    found: Findings,
    drills: Sequence[DrillRecord],
    stated: Sequence[StateEntry],
) -> Iterator[str]:
    """Say what the report as a whole cannot know."""
    evidence = found.evidence
    ends = evidence.now - PERIOD
    if evidence.since < ends - timedelta(minutes=1):
        yield (
            f"Before {to_the_second(ends)}, only archives, drills and states are known: the "
            "service keeps snapshots, and the ledger keeps guarded changes and restores, for 30 "
            "days."
        )
    if not session.ledger.place.is_shared:
        yield (
            "The ledger is this machine's own: guarded changes, restores and drills of other "
            "machines are not in it."
        )
    noted = {each.requested_at for each in drills}
    records = [each.record for each in stated]
    missing = [
        each
        for each in records
        if isinstance(each, DrillRecord) and each.requested_at not in noted
    ]
    if missing:
        yield (
            f"{len(missing)} of the drills in states are not in the ledger: it is of another "
            "machine, or younger."
        )
    if any(_count_of(drills, each.id) >= MOST_DRILLS for each in found.databases):
        yield f"The ledger keeps the last {MOST_DRILLS} drills of a database; there may be more."
    if not examination.places:
        yield "No place of archives was given, so archives are not known."
    yield from _unknown_times(session)


def _count_of(drills: Sequence[DrillRecord], database_id: str) -> int:
    return len([each for each in drills if each.database_id == database_id])


def _unknown_times(session: Session) -> Iterator[str]:
    """Say how far this machine's clock can be trusted."""
    offset = session.service_clock.offset
    if offset is None:
        yield "No answer of the service has confirmed this machine's clock, by which ages count."
    elif abs(offset) > CLOCK_ROOM:
        side = "behind" if offset > 0 else "ahead of"
        yield (
            f"This machine's clock is {spoken(abs(offset))} {side} the service's. Ages count by "
            "the later one of the two."
        )


def _without_secrets(value: Any) -> Any:
    """Return fields without the secrets and URLs that texts of databases and people can hold."""
    if isinstance(value, dict):
        return {name: _without_secrets(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(each) for each in value]
    return URL.sub(HIDDEN_URL, hide_secrets(value)) if isinstance(value, str) else value
