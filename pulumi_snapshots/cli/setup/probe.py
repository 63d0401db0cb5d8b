"""The command `probe`.

What it costs, the typed confirmation, and the report for people and programs.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import click

from pulumi_snapshots.cli.terminal.arguments import (
    DATABASE,
    FILE,
    command,
    database_argument,
)
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.cli.terminal.output import grid
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.probe.report import Report
from pulumi_snapshots.probe.run import ProbeRun, Targets
from pulumi_snapshots.probe.steps import probe as take_steps
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import config_key, variable

RESULT_MARKS = {"confirmed": "ok", "contradicted": "NO", "open": "?"}


@command(
    database_argument,
    click.option(
        "--large",
        type=DATABASE,
        help="Also take a snapshot of this database, which must take over 90 s.",
    ),
    click.option(
        "--restore-onto",
        "scratch",
        type=DATABASE,
        help="Also restore onto this database, which overwrites it.",
    ),
    click.option(
        "-y",
        "--yes",
        "confirmed",
        type=DATABASE,
        multiple=True,
        help="Confirm the use of this database; repeatable.",
    ),
    click.option("--report", "file", type=FILE, help="Where the report goes."),
)
async def probe_command(
    invocation: Invocation, *, file: Path | None, **typed: Any
) -> None:
    """Find out how the real service behaves.

    Takes 2 snapshots of DATABASE from the daily quota, and 6 minutes; 36 if the service keeps
    serving old listings. It asks for the database's id first. The report holds no key and no
    download URL.
    """
    async with invocation.session() as session:
        targets, confirmed = await _targets(invocation, session, typed)
        await _confirm(invocation, targets, confirmed)
        began = invocation.clock.utc().replace(microsecond=0)
        file = file or Path(f"squarecloud-probe-{began:%Y%m%dT%H%M%SZ}.json")
        report = Report(file, rfc3339(began))
        report.write()
        invocation.say(f"The report is written as the run goes: {file}")
        with invocation.working(session):
            ended = await take_steps(
                ProbeRun(session, targets, report, invocation, f"{NAME} probe")
            )
    content = report.content()
    invocation.result(content, _summary(invocation, report, content), str(file))
    left = [f"left at the service: {each}." for each in content["left"].values()]
    invocation.say("\n".join(left) or "nothing is left at the service.")
    if ended is not None:
        invocation.fail(invocation.wording.report(ended))


async def _targets(
    invocation: Invocation, session: Session, typed: Mapping[str, Any]
) -> tuple[Targets, list[str | None]]:
    """Return the typed databases, each another one, and the confirmed ones, with whole ids."""

    async def whole(database: str | None) -> str | None:
        return await invocation.database(session, database) if database else None

    large = await whole(typed["large"])
    scratch = await whole(typed["scratch"])
    targets = Targets(
        await invocation.database(session, typed["database_id"]), large, scratch
    )
    ids = [each for each in targets if each]
    if len(set(ids)) < len(ids):
        invocation.wrong("the databases must differ from each other.")
    return targets, [await whole(each) for each in typed["confirmed"]]


def _summary(invocation: Invocation, report: Report, content: Mapping[str, Any]) -> str:
    """What a report says, for people."""
    rows = [
        (RESULT_MARKS[verdict], name, f"{text}\n{seen}".strip())
        for verdict, name, text, seen in report.rows()
    ]
    verdicts = [each["verdict"] for each in content["facts"].values()]
    counts = ", ".join(
        f"{verdicts.count(verdict)} {verdict}" for verdict in RESULT_MARKS
    )
    text = f"{grid(rows, invocation.out)}\n{counts}.\n"
    setting = "listing_cache"
    learned = content[setting]
    if learned:
        text += f"Set {config_key(setting)} (or {variable(setting)}) to `{learned}`.\n"
    return text


async def _confirm(
    invocation: Invocation, targets: Targets, confirmed: Collection[str | None]
) -> None:
    """Say what the run costs, and let each database's id be typed."""
    requests = (
        30 + 10 * (targets.large is not None) + 20 * (targets.scratch is not None)
    )
    takes = f"This takes {targets.snapshots} snapshots of the daily quota"
    sends = f"sends about {requests} requests"
    lasts = "takes about 6 minutes, or 36 if the service keeps serving old listings"
    invocation.say(f"{takes}, {sends}, and {lasts}.")
    purposes = (
        "take two snapshots of it",
        "take a snapshot of it",
        "OVERWRITE everything that it holds",
    )
    for database_id, purpose in zip(targets, purposes, strict=True):
        if database_id is None:
            continue
        if database_id in confirmed:
            invocation.say(f"{database_id}: confirmed by --yes, to {purpose}.")
        elif not invocation.stdin.isatty():
            invocation.wrong(f"confirm with --yes {database_id} to {purpose}.")
        else:
            question = f"Type the id of database {database_id} to {purpose}:"
            if await invocation.ask(question) != database_id:
                invocation.wrong(
                    "that is not the id of the database. Nothing was sent.", helps=False
                )
