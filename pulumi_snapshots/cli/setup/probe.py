"""The command `probe`: what it costs, the typed confirmation, and the report for people and programs."""

from __future__ import annotations

import json
from collections.abc import Collection, Coroutine, Sequence
from pathlib import Path
from typing import Any

import click

from pulumi_snapshots.cli.terminal.completing import database_ids
from pulumi_snapshots.cli.terminal.display import display
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, Invocation
from pulumi_snapshots.cli.terminal.output import report as rows_of
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.lookup.prefix import is_part_of_database, whole_database
from pulumi_snapshots.probe.report import Report
from pulumi_snapshots.probe.run import Run, Targets
from pulumi_snapshots.probe.steps import probe as take_steps
from pulumi_snapshots.properties.checks import database_id as checked_id
from pulumi_snapshots.properties.unfit import Unfit
from pulumi_snapshots.run.settings import config_key, variable

OWNER = "squarecloud-snapshots probe"
"""How the ledger calls such a run."""
REQUESTS = 30
MINUTES = 6


def _id(_context: click.Context, _parameter: click.Parameter, typed: str | None) -> str | None:
    try:
        return None if typed is None else checked_id("probe")(typed)
    except Unfit as unfit:
        raise click.BadParameter(f"{unfit}.") from None


@click.command(short_help="Find out how the real service behaves.")
@click.argument("database_id", metavar="DATABASE", callback=_id, shell_complete=database_ids)
@click.option(
    "--large",
    metavar="DATABASE",
    callback=_id,
    shell_complete=database_ids,
    help="Also take a snapshot of this one, which takes over 90 s.",
)
@click.option(
    "--restore-onto",
    "scratch",
    metavar="DATABASE",
    callback=_id,
    shell_complete=database_ids,
    help="Also restore onto this one; overwrites it.",
)
@click.option(
    "--yes",
    "confirmed",
    metavar="DATABASE",
    multiple=True,
    help="Confirm a database without being asked; once for each.",
)
@click.option(
    "--report", "file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Where the report goes."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def probe(  # noqa: PLR0913  each is an option
    context: click.Context,
    /,
    *,
    database_id: str,
    large: str | None,
    scratch: str | None,
    confirmed: Sequence[str],
    file: Path | None,
    as_json: bool,
) -> Coroutine[Any, Any, int]:
    """Find out how the real service behaves, with snapshots of DATABASE.

    Takes 2 snapshots of the day's allowance, sends about 30 requests, and takes 6 minutes; 36 if the service keeps
    serving old listings. It asks for the database's id first. The report holds no key and no download URL.
    """
    return _probe(context, Targets(database_id, large, scratch), confirmed, file, as_json=as_json)


async def _whole(invocation: Invocation, targets: Targets, confirmed: Sequence[str]) -> tuple[Targets, set[str]]:
    """The targets and the confirmed databases with whole ids; no request if they are whole already."""
    typed = [*targets.ids, *confirmed]
    whole = {each: each for each in typed}
    if any(map(is_part_of_database, typed)):
        async with invocation.session() as session:
            whole = {each: await whole_database(session, each) for each in typed}
    ready = Targets(
        whole[targets.database_id],
        targets.large and whole[targets.large],
        targets.scratch and whole[targets.scratch],
    )
    return ready, {whole[each] for each in confirmed}


async def _confirm(
    context: click.Context, invocation: Invocation, targets: Targets, confirmed: Collection[str]
) -> None:
    """Say what the run costs, and let each database's id be typed."""
    invocation.say(
        f"This takes {targets.snapshots} snapshots of the day's allowance, sends about {_requests(targets)} requests, and takes about "
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
            continue
        if not invocation.stdin.isatty():
            context.fail(f"confirm with --yes {database_id} to {purpose}.")
        if await invocation.ask(f"Type the id of database {database_id} to {purpose}:") != database_id:
            context.fail("that is not its id. Nothing was sent.")


def _requests(targets: Targets) -> int:
    return REQUESTS + 10 * (targets.large is not None) + 20 * (targets.scratch is not None)


async def _probe(
    context: click.Context, typed: Targets, yes: Sequence[str], file: Path | None, *, as_json: bool
) -> int:
    invocation: Invocation = context.obj
    targets, confirmed = await _whole(invocation, typed, yes)
    if len(set(targets.ids)) < len(targets.ids):
        context.fail("each of the databases must be another one.")
    await _confirm(context, invocation, targets, confirmed)
    began = invocation.clock.utc().replace(microsecond=0)
    file = file or Path(f"squarecloud-probe-{began:%Y%m%dT%H%M%SZ}.json")
    report = Report(file, rfc3339(began))
    report.write()
    invocation.say(f"The report is written as the run goes: {file}")
    async with invocation.session() as session:
        with invocation.stopping(session), display(invocation) as shown:
            ended = await take_steps(Run(session, targets, report, shown, OWNER))
    content = report.content()
    if as_json:
        invocation.show(json.dumps(content, indent=2) + "\n")
    else:
        marks = {"confirmed": "ok", "contradicted": "NO", "open": "?"}
        rows = [(marks[verdict], name, sentence, seen) for verdict, name, sentence, seen in report.rows()]
        invocation.show(rows_of(rows, invocation.out) + _summary(content))
    for one in content["left"].values():
        invocation.say(f"left at the service: {one}.")
    if not content["left"]:
        invocation.say("nothing is left at the service.")
    if ended is not None:
        invocation.fail(invocation.wording.report(ended))
        return FAILED
    return DONE


def _summary(content: dict[str, Any]) -> str:
    verdicts = [one["verdict"] for one in content["facts"].values()]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("confirmed", "contradicted", "open"))
    learned = content["listing_cache"]
    how = f"Set {config_key('listing_cache')} (or {variable('listing_cache')}) to `{learned}`.\n" if learned else ""
    return f"\n{counts}.\n{how}"
