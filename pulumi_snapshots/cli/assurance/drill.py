"""The command `drill`: prove that a snapshot restores, for people and cron."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import IO, Any

import click

from pulumi_snapshots.archive.manifest import note_drill
from pulumi_snapshots.archive.shelf import shelved
from pulumi_snapshots.cli.terminal.arguments import (
    checked,
    json_option,
    notify_option,
    place,
    secret_of,
    timeout_option,
)
from pulumi_snapshots.cli.terminal.completing import database_ids
from pulumi_snapshots.cli.terminal.display import Display
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, facts, fields_of, json_text, moment, table
from pulumi_snapshots.cli.terminal.recorded import recorded
from pulumi_snapshots.drill.asking import Door
from pulumi_snapshots.drill.check import CheckResult
from pulumi_snapshots.drill.drill import drill as run_drill
from pulumi_snapshots.drill.inputs import DrillInputs
from pulumi_snapshots.drill.record import DrillRecord
from pulumi_snapshots.lookup.prefix import whole_database, whole_version
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.uses import DRILLS_OVERWRITE
from pulumi_snapshots.snapshot.read import LATEST, get
from pulumi_snapshots.storage.destination import Destination, place_text

OPERATORS = {"==": "equals", ">=": "at_least", "<=": "at_most", "=~": "matches"}
CHECK = re.compile(r"(?P<query>.*\S)\s+(?P<operator>==|>=|<=|=~)\s+(?P<value>\S.*)", re.DOTALL)
"""Greedy, so that the last operator counts: the query may have others."""
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
SPELLED = {
    "scratch_database_id": "--scratch",
    "password": "--password-env",
    "connection": "--connection-env",
    "checks": "--check",
    "query": "query",
    **{name: operator for operator, name in OPERATORS.items()},
}


@click.command(short_help="Prove that a snapshot restores.")
@click.argument("snapshot", metavar="DATABASE[/VERSION]", shell_complete=database_ids)
@click.option(
    "--scratch",
    "scratch_database_id",
    metavar="DATABASE",
    required=True,
    shell_complete=database_ids,
    help="The database of the same engine to restore onto, for drills only.",
)
@click.option(
    "--password-env", metavar="NAME", help="The environment variable that holds its password, as the service shows it."
)
@click.option(
    "--connection-env",
    metavar="NAME",
    help="In place of a password: the environment variable that holds how to connect to it.",
)
@click.option(
    "--check",
    "checks",
    metavar="'QUERY OP VALUE'",
    multiple=True,
    required=True,
    help="What it is asked, and what it must answer; OP is ==, >=, <= or =~ (matches). May be repeated.",
)
@click.option(
    "--overwrite-scratch", is_flag=True, help="Required: the scratch database loses everything that it holds."
)
@click.option(
    "--archives",
    metavar="DESTINATION",
    multiple=True,
    help="Note a drill that passes in the manifests of this snapshot's archives there; may be repeated.",
)
@timeout_option(DrillInputs)
@click.option("--new", is_flag=True, help="Restore again, even if an earlier run's restore of it is unfinished.")
@notify_option
@json_option
@click.pass_context
async def drill(  # noqa: PLR0913  each is an option
    context: click.Context,
    /,
    *,
    snapshot: str,
    password_env: str | None,
    connection_env: str | None,
    checks: Sequence[str],
    archives: Sequence[str],
    new: bool,
    as_json: bool,
    **typed: Any,
) -> int:
    """Restore a snapshot onto a scratch database and check what came back; without VERSION, the newest one.

    Everything that the scratch database holds is overwritten. The exit code is 0 only if all checks passed. Sends one
    restore at most: the next run resumes an interrupted one.

    For example: --check 'select count(*) from orders >= 1000'
    """
    invocation: Invocation = context.obj
    if not typed["overwrite_scratch"]:
        context.fail(f"{DRILLS_OVERWRITE}: add --overwrite-scratch to do it.")
    variables = [
        (option, name, input_)
        for option, name, input_ in (
            ("--password-env", password_env, "password"),
            ("--connection-env", connection_env, "connection"),
        )
        if name
    ]
    database_id, _, version_id = snapshot.partition("/")
    given = {
        **typed,
        "database_id": database_id,
        "version_id": version_id or LATEST,
        **{input_: secret_of(context, option, name) for option, name, input_ in variables},
        "checks": [typed_check(context, each) for each in checks],
    }
    inputs = checked(context, DrillInputs, given, **SPELLED)
    places = [place(context, "--archives", each) for each in archives]
    secrets = [(option, name) for option, name, _ in variables]

    async def prepared(session: Session) -> DrillInputs:
        return await _whole(context, session, inputs)

    def again(ready: DrillInputs) -> str:
        return _again(ready, secrets, checks, archives, typed["timeout"])

    async def drilled(session: Session, ready: DrillInputs, shown: Display, owner: str, *, fresh: bool) -> DrillRecord:
        record = await run_drill(session, ready, shown, owner, fresh=fresh, opens=invocation.of(Door).opens)
        await _note(invocation, shown, places, record)
        return record

    record, code, _ = await recorded(context, drilled, prepared, again, new=new)
    if as_json:
        invocation.show(json_text(fields_of(record, DrillRecord)))
    else:
        _show(invocation, record)
    return code


def typed_check(context: click.Context, typed: str) -> dict[str, Any]:
    """A check as it is typed: a query, an operator and a value."""
    found = CHECK.fullmatch(typed.strip())
    if found is None:
        context.fail(f"--check {typed!r} must be a query, one of {', '.join(OPERATORS)}, and a value.")
    operator, value = found["operator"], found["value"]
    return {"query": found["query"], OPERATORS[operator]: value if operator == "=~" else _value(value)}


def _value(typed: str) -> str | float | bool:
    """A number, true or false if it is written like one; else a text, such as the number of a customer, 01234."""
    if typed in {"true", "false"}:
        return typed == "true"
    if NUMBER.fullmatch(typed) is None:
        return typed
    return int(typed) if typed.lstrip("-").isdecimal() else float(typed)


async def _whole(context: click.Context, session: Session, inputs: DrillInputs) -> DrillInputs:
    """The inputs with whole ids."""
    scratch = await whole_database(session, inputs.scratch_database_id)
    database_id = await whole_database(session, inputs.database_id, has_snapshots=True)
    if scratch == database_id:
        context.fail(f"--scratch must be another database than the snapshot's own: {DRILLS_OVERWRITE}.")
    inputs = replace(inputs, database_id=database_id, scratch_database_id=scratch)
    if inputs.version_id != LATEST:
        return replace(inputs, version_id=await whole_version(session, database_id, inputs.version_id))
    newest = await get(session, f"{database_id}/{LATEST}")
    return replace(inputs, version_id=newest.version_id or "", name=newest.name, runtime=newest.runtime)


def _again(
    inputs: DrillInputs,
    secrets: Sequence[tuple[str, str]],
    checks: Sequence[str],
    archives: Sequence[str],
    timeout: str | None,
) -> str:
    """The arguments that resume or repeat it."""
    options = [("--scratch", inputs.scratch_database_id), *secrets]
    options += [("--check", each) for each in checks]
    options += [("--archives", each) for each in archives]
    options += [("--timeout", timeout)] if timeout else []
    return shlex.join([inputs.snapshot, *(word for option in options for word in option), "--overwrite-scratch"])


async def _note(invocation: Invocation, shown: Display, places: Sequence[Destination], record: DrillRecord) -> None:
    """Note a drill that has passed in the manifests of the snapshot's archives."""
    if (drilled := record.drilled) is None:
        return
    wanted = (record.database_id, record.version_id)
    for at in places:
        shown.progress(f"listing {place_text(at.uri)}")
        uris = [
            each.uri
            for each in await shelved(invocation.transfers, at)
            if each.manifest and not each.problem and (each.manifest.database_id, each.manifest.version_id) == wanted
        ]
        if not await note_drill(invocation.transfers, uris, drilled, shown) and not uris:
            shown.warn(
                f"{place_text(at.uri)} has no archive of snapshot {record.snapshot}, so no manifest notes the drill."
            )


def _show(invocation: Invocation, record: DrillRecord) -> None:
    took = None if record.restore_seconds is None else spoken(record.restore_seconds)
    about = {
        "drilled" if record.passed else "failed" if record.passed is False else "pending": record.snapshot,
        "onto": record.scratch_database_id,
        "restored": moment(record.restored_at, invocation.zone),
        "took": took,
        "proof": None if record.proved_by is None else ", ".join(record.proved_by) or "nothing but the checks",
    }
    invocation.show(facts(about) + results_table(record.results or (), invocation.out))


def results_table(results: Sequence[CheckResult], out: IO[str]) -> str:
    """What each check has found, for people; empty without one."""
    rows = [
        (MARKS["ok" if each.passed else "problem"], each.check, each.expected, each.found or each.reason or "nothing")
        for each in results
    ]
    return table(("", "CHECK", "EXPECTED", "FOUND"), rows, out) if rows else ""
