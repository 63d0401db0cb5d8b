"""The command `report`: one page that says what backups there were, and what proves them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from pulumi_snapshots.cli.assurance.dossier import Dossier, Fields
from pulumi_snapshots.cli.assurance.health import (
    PERIOD,
    AgeLimits,
    DatabaseHealth,
    Evidence,
    Examination,
    typed_limits,
)
from pulumi_snapshots.cli.assurance.page import report_page
from pulumi_snapshots.cli.assurance.states import read_states, without_zone
from pulumi_snapshots.cli.terminal import arguments
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import OUTPUT_FORMAT
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
        default="30d",
        help="The beginning of the period, such as 90d or 2026-10-01 (UTC); 30d by default.",
    ),
    arguments.archives_option("Look for archives there."),
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
    *,
    since: timedelta | datetime,
    states: Sequence[Path],
    **typed: Any,
) -> None:
    """Write a report of snapshots, archives, drills and restores.

    Markdown, or JSON with --json, on each DATABASE, or all that are known. It says what falls
    short, and what is not known. The exit code is 0 only if nothing falls short and everything
    could be read. It holds no secret and no URL.
    """
    limits = typed_limits(invocation, typed)
    now = invocation.clock.utc()
    begin = since if isinstance(since, datetime) else now - since
    if begin >= now:
        invocation.wrong("--since must be in the past.")
    troubles = list[str]()
    stated = read_states(invocation, states, troubles)
    places = typed["archives"]
    async with invocation.asking(in_log=False) as session:
        examination = Examination(
            invocation, session, limits, places, since, stated, troubles
        )
        evidence, healths = await examination.examine(typed["databases"])
        ended = list[DrillRecord]()
        with examination.reading("the drills in the ledger are not known"):
            ended = await ended_drills(session.ledger)
    made = _Report(session, evidence, healths, ended, has_places=bool(places))
    fields = _without_secrets(made.fields(troubles))
    text = report_page(fields, invocation.out)
    bad = [each for each in fields["databases"] if not each["ok"]]
    invocation.result(fields, text, *(each["id"] for each in bad))
    for problem in fields["problems"]:
        invocation.fail(problem)
    for each in bad:
        invocation.fail(f"database {each['id']}: {', '.join(each['problems'])}.")


@dataclass(frozen=True)
class _Report:
    """What a report is made of.

    Attributes:
        session: The service and the ledger.
        evidence: What is known of all databases.
        found: What is known of each database.
        ended: The drills that the ledger has.
        has_places: Whether places of archives were given.
    """

    session: Session
    evidence: Evidence
    found: Sequence[DatabaseHealth]
    ended: Sequence[DrillRecord]
    has_places: bool

    def fields(self, troubles: Iterable[str]) -> Fields:
        """Return what programs read of the report.

        Args:
            troubles: A sentence for each source that could not be read.
        """
        evidence = self.evidence
        broken = self._broken()
        databases = [
            Dossier(health, self.ended).fields(broken.pop(health.id, ()))
            for health in self.found
        ]
        problems = [*troubles]
        for archive in evidence.shelf:
            if archive.manifest:
                name = f"the manifest of {place_text(archive.uri)}"
                problems += without_zone(name, archive.manifest.to_outputs())
        problems += [f"{each}." for each in broken.get(None, ())]
        if not databases:
            problems.append("no database is known, so nothing is reported.")
        place = self.session.ledger.place
        return {
            "output_format": OUTPUT_FORMAT,
            "tool": f"pulumi-snapshots {version('pulumi-snapshots')}",
            "ok": not problems and all(each["ok"] for each in databases),
            "since": rfc3339(evidence.since),
            "checked_at": rfc3339(evidence.now),
            "ledger": place.where,
            "ledger_shared": place.is_shared,
            **vars(evidence.limits),
            "problems": problems,
            "unknown": [*self._unknown()],
            "databases": databases,
        }

    def _broken(self) -> dict[str | None, list[str]]:
        """Say what is wrong with archives, by database; None for an unknown database."""
        broken = defaultdict[str | None, list[str]](list)
        for each in self.evidence.shelf:
            if each.doubt:
                database_id = each.manifest.database_id if each.manifest else None
                broken[database_id].append(
                    f"the archive {place_text(each.uri)} {each.doubt}"
                )
        return broken

    def _unknown(self) -> Iterator[str]:
        """Say what the report as a whole cannot know."""
        yield "Restores and deletions in Square Cloud's dashboard are in no source."
        evidence = self.evidence
        ends = evidence.now - PERIOD
        if evidence.since < ends - timedelta(minutes=1):
            yield (
                f"Before {to_the_second(ends)}, only archives, drills and states are known: the "
                "service keeps snapshots, and the ledger keeps guarded changes and restores, for "
                "30 days."
            )
        if not self.session.ledger.place.is_shared:
            yield (
                "The ledger is this machine's own: guarded changes, restores and drills of other "
                "machines are not in it."
            )
        yield from self._unknown_drills()
        if not self.has_places:
            yield "No place of archives was given, so archives are not known."
        yield from _unknown_times(self.session)

    def _unknown_drills(self) -> Iterator[str]:
        noted = {each.requested_at for each in self.ended}
        stated = [each.requested_at for _, each in self.evidence.stated_as(DrillRecord)]
        missing = [each for each in stated if each not in noted]
        if missing:
            yield (
                f"{len(missing)} of the drills in states are not in the ledger: it is of another "
                "machine, or younger."
            )
        counts = Counter(each.database_id for each in self.ended)
        if any(counts[each.id] >= MOST_DRILLS for each in self.found):
            yield (
                f"The ledger keeps the last {MOST_DRILLS} drills of a database; there may be more."
            )


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
