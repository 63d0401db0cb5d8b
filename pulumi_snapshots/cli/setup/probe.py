"""The command `probe`: what it costs, the typed confirmation, and the report for people and programs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import click

from pulumi_snapshots.cli.terminal.arguments import DATABASE, command, database_argument
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, Invocation
from pulumi_snapshots.cli.terminal.output import grid
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.lookup.prefix import is_whole_database
from pulumi_snapshots.probe.report import Report
from pulumi_snapshots.probe.run import Run, Targets
from pulumi_snapshots.probe.steps import probe as take_steps
from pulumi_snapshots.run.settings import config_key, variable

OWNER = "squarecloud-snapshots probe"
"""How the ledger calls such a run."""
REQUESTS = 30
MINUTES = 6


@command(
    database_argument,
    click.option("--large", type=DATABASE, help="Also take a snapshot of this one, which takes over 90 s."),
    click.option("--restore-onto", "scratch", type=DATABASE, help="Also restore onto this one; overwrites it."),
    click.option(
        "-y",
        "--yes",
        "confirmed",
        type=DATABASE,
        multiple=True,
        help="Confirm a database without being asked; once for each.",
    ),
    click.option(
        "--report",
        "file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Where the report goes.",
    ),
    short_help="Find out how the real service behaves.",
)
async def probe(  # noqa: PLR0913  each is an option
    invocation: Invocation,
    /,
    *,
    database_id: str,
    large: str | None,
    scratch: str | None,
    confirmed: Sequence[str],
    file: Path | None,
) -> int:
    """Find out how the real service behaves, with snapshots of DATABASE.

    Takes 2 snapshots of the day's allowance, sends about 30 requests, and takes 6 minutes; 36 if the service keeps
    serving old listings. It asks for the database's id first. The report holds no key and no download URL.
    """
    typed_ids = [each for each in (database_id, large, scratch, *confirmed) if each]
    whole = {each: each for each in typed_ids}
    if not all(map(is_whole_database, typed_ids)):
        async with invocation.session() as session:
            whole = {each: await invocation.database(session, each) for each in typed_ids}
    targets = Targets(whole[database_id], large and whole[large], scratch and whole[scratch])
    if len(set(targets.ids)) < len(targets.ids):
        invocation.wrong("each of the databases must be another one.")
    await _confirm(invocation, targets, {whole[each] for each in confirmed})
    began = invocation.clock.utc().replace(microsecond=0)
    file = file or Path(f"squarecloud-probe-{began:%Y%m%dT%H%M%SZ}.json")
    report = Report(file, rfc3339(began))
    report.write()
    invocation.say(f"The report is written as the run goes: {file}")
    async with invocation.session() as session:
        with invocation.working(session):
            ended = await take_steps(Run(session, targets, report, invocation, OWNER))
    content, marks = report.content(), {"confirmed": "ok", "contradicted": "NO", "open": "?"}
    rows = [(marks[verdict], name, f"{text}\n{seen}".strip()) for verdict, name, text, seen in report.rows()]
    verdicts = [one["verdict"] for one in content["facts"].values()]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in marks)
    learned, setting = content["listing_cache"], "listing_cache"
    how = f"Set {config_key(setting)} (or {variable(setting)}) to `{learned}`.\n" if learned else ""
    invocation.result(content, f"{grid(rows, invocation.out)}\n{counts}.\n{how}", str(file))
    for one in content["left"].values():
        invocation.say(f"left at the service: {one}.")
    if not content["left"]:
        invocation.say("nothing is left at the service.")
    if ended is not None:
        invocation.fail(invocation.wording.report(ended))
        return FAILED
    return DONE


async def _confirm(invocation: Invocation, targets: Targets, confirmed: Collection[str]) -> None:
    """Say what the run costs, and let each database's id be typed."""
    requests = REQUESTS + 10 * (targets.large is not None) + 20 * (targets.scratch is not None)
    invocation.say(
        f"This takes {targets.snapshots} snapshots of the day's allowance, sends about {requests} requests, and takes about "
        f"{MINUTES} minutes, or {MINUTES + 30} if the service keeps serving old listings."
    )
    purposes = {
        targets.database_id: "take two snapshots of it",
        targets.large: "take a snapshot of it",
        targets.scratch: "OVERWRITE everything that it holds",
    }
    for database_id in targets.ids:
        purpose = purposes[database_id]
        if database_id in confirmed:
            invocation.say(f"{database_id}: confirmed by --yes, to {purpose}.")
        elif not invocation.stdin.isatty():
            invocation.wrong(f"confirm with --yes {database_id} to {purpose}.")
        elif await invocation.ask(f"Type the id of database {database_id} to {purpose}:") != database_id:
            invocation.wrong("that is not its id. Nothing was sent.", helps=False)
