"""The command `status`: whether each database has a snapshot, an archive and a drill that are young enough; for monitoring.

It is green only if that is certain. Ages are counted from the time of each snapshot, never from that of the page that shows
it, and by whichever clock is later, the service's or this machine's.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from pulumi_snapshots.archive.manifest import Manifest
from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.archive.shelf import shelved
from pulumi_snapshots.cli.assurance.guards import changed
from pulumi_snapshots.cli.terminal import arguments
from pulumi_snapshots.cli.terminal.account import Page, databases_of_account, snapshots_of_account
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.cli.terminal.output import GOOD, table
from pulumi_snapshots.cli.terminal.whole_ids import whole_database
from pulumi_snapshots.clock import parse_rfc3339, rfc3339, to_the_second
from pulumi_snapshots.drill.drill import last_drills
from pulumi_snapshots.errors import LedgerUnavailable, ProviderError
from pulumi_snapshots.guard.book import Guarded, consult
from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.listing.listings import CLOCK_ROOM, SERVICE_CACHE
from pulumi_snapshots.properties.catalogue import Duration, Inputs, declare
from pulumi_snapshots.properties.checks import RETENTION, duration, spoken
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import Patience
from pulumi_snapshots.service.errors import NotAllowed
from pulumi_snapshots.snapshot.read import newest as newest_of
from pulumi_snapshots.snapshot.record import ORIGIN
from pulumi_snapshots.state_directory import written_whole
from pulumi_snapshots.storage.destination import Destination, place_text

USUAL = 26 * 3600.0  # seconds: a day, and two hours in which the next snapshot is taken and listed
_of_month = duration(most=RETENTION, because="the service keeps no snapshot longer")
_long = duration(most=10 * 365 * 86400.0)


class Limits(Inputs):
    """How old things may be, in seconds."""

    max_age: Duration = declare(
        "How old the newest snapshot may be; 26h by default.", default=USUAL, read=_of_month
    )
    max_archive_age: Duration | None = declare(
        "How old the newest archive's snapshot may be.", default=None, read=_long
    )
    origin: str | None = declare(
        "Only snapshots of this origin count.", default=None, read=ORIGIN.read, choices=ORIGIN
    )
    max_drill_age: Duration | None = declare(
        "How long ago the last drill may be.", default=None, read=_long
    )


class MetricsUnwritable(ProviderError):
    """The file of the metrics cannot be written. What was found is shown all the same."""


Health = dict[str, Any]  # what is known of one database, as JSON shows it
TIMES = {"snapshot": "snapshot_created_at", "archive": "archive_created_at", "drill": "drilled_at"}
"""What makes a database safe, and when it was made."""
METRICS = {
    "status_success": "Whether everything could be checked; without it the file has no databases.",
    "status_timestamp_seconds": "When it was checked.",
    "status_listing_age_seconds": "How long ago the listing was requested.",
    "status_max_age_seconds": "How old a snapshot may be.",
    "database_ok": "Whether everything is recent enough.",
    "snapshot_timestamp_seconds": "When the newest good snapshot was taken; 0 if there is none.",
    "archive_timestamp_seconds": "When the snapshot in the newest archive was taken; 0 if there is none.",
    "drill_timestamp_seconds": "When the last drill was passed; 0 if there was none.",
}


@arguments.command(
    click.argument("databases", metavar="[DATABASE]...", nargs=-1, type=arguments.DATABASE),
    *arguments.options_of(Limits, "max_age", "origin"),
    click.option(
        "--archives",
        type=arguments.PLACE,
        multiple=True,
        help="Look for archives and drills there.",
    ),
    *arguments.options_of(Limits, "max_archive_age", "max_drill_age"),
    click.option(
        "--metrics",
        type=arguments.FILE,
        help="Also write OpenMetrics, for node_exporter's textfile collector.",
    ),
    arguments.notify_option,
)
async def status(invocation: Invocation, /, *, metrics: Path | None, **typed: Any) -> None:
    """Check that every database has a recent snapshot.

    Checks each DATABASE, or all of the account. For cron and monitoring: the exit code is 0 only if everything is certain; standard
    error says what is wrong, and is empty if all is well. Also prints the command that goes back to the data of a snapshot.
    """
    databases, archives = typed["databases"], typed["archives"]
    limits = arguments.checked(invocation, Limits, typed)
    if not archives and limits.max_archive_age:
        invocation.wrong("--max-archive-age needs --archives.")
    began = invocation.clock.utc()
    values = {"status_success": 0.0, "status_timestamp_seconds": began.timestamp()}
    try:
        async with invocation.asking() as session:
            with suppress(
                NotAllowed
            ):  # whether the service answers, with its own word on an outage, within 15 s
                await session.listings.account(
                    session.clock.monotonic(), patience=Patience((1.0,), within=5.0)
                )
            page, found, ways = await _examined(invocation, session, databases, archives, limits)
    except ProviderError:
        if metrics:
            _write(metrics, values)
        raise
    bad = [health for health in found if health["problems"]]
    drills = (
        archives
        or limits.max_drill_age is not None
        or any(health["drilled_at"] for health in found)
    )
    kinds = ["snapshot", *(["archive"] if archives else []), *(["drill"] if drills else [])]
    rows = []
    for health in found:
        ages = [health[f"{kind}_age"] for kind in kinds]
        said = ["none" if age is None else spoken(age) for age in ages]
        rows.append((GOOD[health["ok"]], health["id"], health["name"], *said))
    shown = (
        table(("", "DATABASE", "NAME", *map(str.upper, kinds)), rows, invocation.out)
        if rows
        else ""
    )
    asked = f"{spoken(page.age)} ago" if page.age >= 1 else "just now"
    old = f"The listing was requested {asked}; the service can serve a page that is {spoken(SERVICE_CACHE)} old.\n"
    about = {
        "checked_at": rfc3339(began),
        "listing_age": page.age,
        "listing_kept": page.kept,
        **vars(limits),
    }
    fields = {"ok": bool(found) and not bad, **about, "databases": found}
    invocation.result(
        fields, shown + "\n".join(["", *ways, old]), *(health["id"] for health in bad)
    )
    for health in bad:
        name = f" ({health['name']})" if health["name"] else ""
        invocation.fail(f"database {health['id']}{name}: {', '.join(health['problems'])}.")
    if not found:
        invocation.fail("the account has no databases, so nothing was checked.")
    if metrics:
        values |= {"status_success": 1.0, "status_listing_age_seconds": page.age}
        _write(metrics, {**values, "status_max_age_seconds": limits.max_age}, found, kinds)


async def _examined(
    invocation: Invocation,
    session: Session,
    typed: Sequence[str],
    archives: Sequence[Destination],
    limits: Limits,
) -> tuple[Page, list[Health], list[str]]:
    """The account's snapshots; what is known of each database that is typed, or of all; and to what a person can go back."""
    wanted = [
        await whole_database(session, each) for each in typed
    ]  # without a word: cron would mail it
    names: dict[str, str | None] | None = None
    try:
        names = {each.id: each.name for each in await databases_of_account(session)}
    except NotAllowed:
        # The listing shows whether the named ones have a snapshot, but never which databases there are.
        if not wanted:
            raise
    page = await snapshots_of_account(session, origin=limits.origin)
    whole: list[tuple[Manifest, str]] = []
    for place in archives:
        invocation.progress(f"listing {place_text(place.uri)}")
        there = await shelved(invocation.transfers, place)
        whole += [(each.manifest, each.uri) for each in there if each.manifest and each.is_good]
    noted, attempts, ways = list[Guarded](), list[Attempt](), list[str]()
    with suppress(LedgerUnavailable):
        noted, attempts = await consult(
            session.ledger, lambda book: (book.history(), book.attempts)
        )
    remembered = await last_drills(session.ledger)
    # By the earlier clock, what is old could seem young.
    now, found = max(session.service_clock.now(), session.clock.utc()), []
    for database_id in dict.fromkeys(wanted or names or ()):
        entries = page.of_each.get(database_id, {}).values()
        of_origin = [each for each in entries if limits.origin in {None, each.origin}]
        newest = await newest_of(session, database_id, of_origin, may_be_empty=False)
        ours = [(about, uri) for about, uri in whole if about.database_id == database_id]
        dated = {about.created_at: uri for about, uri in ours if about.created_at}
        archived = max(dated, key=parse_rfc3339, default=None)
        proofs = filter(None, (*(about.drill for about, _ in ours), remembered.get(database_id)))
        drill = max(proofs, key=lambda each: parse_rfc3339(each.drilled_at), default=None)
        taken = newest.created_at if newest else None
        times = {
            "snapshot": taken,
            "archive": archived,
            "drill": drill.drilled_at if drill else None,
        }
        age = {
            kind: (now - parse_rfc3339(at)).total_seconds() if at else None
            for kind, at in times.items()
        }
        snapshot = f"{limits.origin} snapshot" if limits.origin else "snapshot"
        archive = "archive of a known age" if ours and not dated else "archive"
        problems = [
            "the account has no such database"
            if names is not None and database_id not in names
            else _problem(age["snapshot"], limits.max_age, "newest", snapshot),
            _problem(age["archive"], limits.max_archive_age, "newest", archive),
            _problem(age["drill"], limits.max_drill_age, "last", "drill that passed"),
        ]
        pending = [
            to_the_second(each.request.posted_at)
            for each in attempts
            if (each.kind, each.database_id) == ("snapshot", database_id) and not each.is_over
            if now < each.waited_for_until
            if not taken or parse_rfc3339(taken) < each.request.requested
        ]
        ours_noted = (
            each
            for each in noted
            if each.database_id == database_id and each.id and each.changed_at
        )
        guarded = next(ours_noted, None)
        health = {
            "id": database_id,
            "name": (names or {}).get(database_id),
            "ok": not any(problems),
            "problems": list(filter(None, problems)),
            "before_last_change": guarded and guarded.id,
            "snapshot": newest and newest.id,
            "archive": dated.get(archived or ""),
            "pending_since": max(pending, default=None),
            **{TIMES[kind]: at for kind, at in times.items()},
            **{f"{kind}_age": seconds for kind, seconds in age.items()},
        }
        found.append(health)
        ways += _way_back(invocation, health, guarded, drill)
    return page, found, ways


def _problem(age: float | None, most: float | None, which: str, what: str) -> str:
    """Why something is not certainly as young as it must be; empty if it is. To the second: rounded, it could read as if it were."""
    if most is None:
        return ""
    if age is None:
        return f"no {what}"
    exact = spoken(round(abs(age)), exact=True)
    if age < -CLOCK_ROOM:
        return f"the {which} {what} is {exact} in the future: a clock is wrong"
    return (
        f"the {which} {what} is {exact} old, more than {spoken(round(most), exact=True)}"
        if age > most
        else ""
    )


def _way_back(
    invocation: Invocation, health: Health, guarded: Guarded | None, drill: Drilled | None
) -> Iterator[str]:
    """To what a person can go back, that from before the last change first, and what has proved it."""
    name, newest, pending = (
        health["name"] or health["id"],
        health["snapshot_created_at"],
        health["pending_since"],
    )
    if guarded:
        taken = invocation.moment(guarded.snapshot.get("created_at") or guarded.noted_at)
        yield f"{name}: from before {changed(guarded)}: {taken}"
        yield f"  {NAME} restore {guarded.id}"
    if there := newest or health["archive_created_at"]:
        proof = "no drill has proved a restore"
        if drill:
            took = f", in {spoken(drill.restore_seconds)}" if drill.restore_seconds else ""
            proof = f"a restore was proved on {invocation.moment(drill.drilled_at)}{took}"
        which = "the newest snapshot" if newest else "the snapshot in the newest archive"
        yield f"{name}: {which} was taken on {invocation.moment(there)}; {proof}"
        if not newest:
            yield f"  {place_text(health['archive'])}"
        elif health["snapshot"] != health["before_last_change"]:
            yield f"  {NAME} restore {health['snapshot']}"
    elif not guarded:
        yield f"{name}: there is nothing to go back to{' yet' if pending else ''}"
    if pending:
        yield f"  a snapshot was requested at {invocation.moment(pending)} and is not listed yet"
    yield ""


def _write(
    file: Path, values: Mapping[str, float], found: Sequence[Health] = (), kinds: Sequence[str] = ()
) -> None:
    """Write the metrics as a whole file, so that its reader finds the earlier content or this; raises `MetricsUnwritable`."""
    samples = {name: [("", value)] for name, value in values.items()}
    for health in found:
        name = (health["name"] or "").replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        labels = f'{{database_id="{health["id"]}",name="{name}"}}'
        samples.setdefault("database_ok", []).append((labels, health["ok"]))
        for kind in kinds:
            at = health[TIMES[kind]]  # without one 0, so that an alert on its age fires
            value = parse_rfc3339(at).timestamp() if at else 0.0
            samples.setdefault(f"{kind}_timestamp_seconds", []).append((labels, value))
    lines = []
    for name, each in samples.items():
        lines.append(
            f"# HELP squarecloud_{name} {METRICS[name]}\n# TYPE squarecloud_{name} gauge\n"
        )
        lines += [f"squarecloud_{name}{labels} {value:.15g}\n" for labels, value in each]
    try:
        with written_whole(file) as draft:
            draft.write(("".join(lines) + "# EOF\n").encode())
            # the collector runs as another user, and there is no secret in the file
            os.fchmod(draft.fileno(), 0o644)
    except OSError as error:
        why = f"the metrics were not written to {file}: {error.strerror or error}"
        raise MetricsUnwritable(why, "The file is as it was before.") from error
