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
    DATABASE,
    PLACE,
    again_option,
    checked,
    command,
    notify_option,
    secret_of,
    timeout_option,
)
from pulumi_snapshots.cli.terminal.completing import database_ids
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, facts, fields_of, moment, table
from pulumi_snapshots.cli.terminal.recorded import recorded
from pulumi_snapshots.drill.check import CheckResult
from pulumi_snapshots.drill.drill import Drilling
from pulumi_snapshots.drill.inputs import DrillInputs
from pulumi_snapshots.drill.record import DrillRecord
from pulumi_snapshots.ledger.drilled import Drilled
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.memory import DRILLS_OVERWRITE
from pulumi_snapshots.run.session import Session
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


@command(
    click.argument("snapshot", metavar="DATABASE[/VERSION]", shell_complete=database_ids),
    click.option(
        "--scratch",
        "scratch_database_id",
        type=DATABASE,
        required=True,
        help="The database of the same engine to restore onto, for drills only.",
    ),
    click.option(
        "--password-env",
        "password",
        metavar="NAME",
        help="The environment variable that holds its password, as the service shows it.",
    ),
    click.option(
        "--connection-env",
        "connection",
        metavar="NAME",
        help="In place of a password: the environment variable that holds how to connect to it.",
    ),
    click.option(
        "--check",
        "checks",
        metavar="'QUERY OP VALUE'",
        multiple=True,
        required=True,
        help="What it is asked, and what it must answer; OP is ==, >=, <= or =~ (matches). May be repeated.",
    ),
    click.option(
        "--overwrite-scratch", is_flag=True, help="Required: the scratch database loses everything that it holds."
    ),
    click.option(
        "--archives",
        type=PLACE,
        multiple=True,
        help="Note a drill that passes in the manifests of this snapshot's archives there; may be repeated.",
    ),
    timeout_option(DrillInputs),
    again_option,
    notify_option,
    short_help="Prove that a snapshot restores.",
)
async def drill(
    invocation: Invocation, /, *, snapshot: str, archives: Sequence[Destination], new: bool, **typed: Any
) -> int:
    """Restore a snapshot onto a scratch database and check what came back; without VERSION, the newest one.

    Everything that the scratch database holds is overwritten. The exit code is 0 only if all checks passed. Sends one
    restore at most: the next run resumes an interrupted one.

    For example: --check 'select count(*) from orders >= 1000'
    """
    if not typed["overwrite_scratch"]:
        invocation.wrong(f"{DRILLS_OVERWRITE}: add --overwrite-scratch to do it.")
    variables = {name: typed.pop(name) for name in ("password", "connection")}
    database_id, _, version_id = snapshot.partition("/")
    given = {
        **typed,
        "database_id": database_id,
        "version_id": version_id or LATEST,
        **{name: secret_of(invocation, SPELLED[name], variable) for name, variable in variables.items() if variable},
        "checks": [typed_check(invocation, each) for each in typed["checks"]],
    }
    inputs = checked(invocation, DrillInputs, given, **SPELLED)

    async def prepared(session: Session) -> DrillInputs:
        scratch = await invocation.database(session, typed["scratch_database_id"])
        whole = await invocation.snapshot(session, database_id, inputs.version_id)
        if scratch == whole[0]:
            invocation.wrong(f"--scratch must be another database than the snapshot's own: {DRILLS_OVERWRITE}.")
        ready = replace(inputs, database_id=whole[0], version_id=whole[1], scratch_database_id=scratch)
        if whole[1] != LATEST:
            return ready
        newest = await get(session, "/".join(whole))
        return replace(ready, version_id=newest.version_id or "", name=newest.name, runtime=newest.runtime)

    def again(ready: DrillInputs) -> str:
        options = [("--scratch", ready.scratch_database_id)]
        options += [(SPELLED[name], variable) for name, variable in variables.items()]
        options += [("--check", each) for each in typed["checks"]]
        options += [("--archives", place_text(each.uri) + "/" * each.folder) for each in archives]
        options += [("--timeout", typed["timeout"])]
        words = [word for option, value in options if value for word in (option, value)]
        return shlex.join([ready.snapshot, *words, "--overwrite-scratch"])

    async def drilled(session: Session, ready: DrillInputs, *whose: Any, fresh: bool) -> DrillRecord:
        record = await Drilling(session, ready, *whose).carry_out(fresh=fresh)
        if record.drilled is not None:
            await _note(invocation, archives, record, record.drilled)
        return record

    record, code, _ = await recorded(invocation, drilled, prepared, again, new=new)
    about = {
        "drilled" if record.passed else "failed" if record.passed is False else "pending": record.snapshot,
        "onto": record.scratch_database_id,
        "restored": moment(record.restored_at, invocation.zone),
        "took": None if record.restore_seconds is None else spoken(record.restore_seconds),
        "proof": None if record.proved_by is None else ", ".join(record.proved_by) or "nothing but the checks",
    }
    text = facts(about) + results_table(record.results or (), invocation.out)
    invocation.result(fields_of(record, DrillRecord), text, record.snapshot)
    return code


def typed_check(invocation: Invocation, typed: str) -> dict[str, Any]:
    """A check as it is typed: a query, an operator and a value."""
    found = CHECK.fullmatch(typed.strip())
    if found is None:
        invocation.wrong(f"--check {typed!r} must be a query, one of {', '.join(OPERATORS)}, and a value.")
    operator, value = found["operator"], found["value"]
    return {"query": found["query"], OPERATORS[operator]: value if operator == "=~" else _value(value)}


def _value(typed: str) -> str | float | bool:
    """A number, true or false if it is written like one; else a text, such as the number of a customer, 01234."""
    if typed in {"true", "false"}:
        return typed == "true"
    if NUMBER.fullmatch(typed) is None:
        return typed
    return int(typed) if typed.lstrip("-").isdecimal() else float(typed)


async def _note(invocation: Invocation, archives: Sequence[Destination], record: DrillRecord, drilled: Drilled) -> None:
    """Note a drill that has passed in the manifests of the snapshot's archives."""
    wanted, transfers = (record.database_id, record.version_id), invocation.transfers
    for at in archives:
        invocation.progress(f"listing {place_text(at.uri)}")
        good = [each for each in await shelved(transfers, at) if each.manifest and not each.problem]
        uris = [each.uri for each in good if each.manifest and each.manifest.snapshot == wanted]
        if not await note_drill(transfers, uris, wanted, drilled, invocation) and not uris:
            invocation.warn(
                f"{place_text(at.uri)} has no archive of snapshot {record.snapshot}, so no manifest notes the drill."
            )


def results_table(results: Sequence[CheckResult], out: IO[str]) -> str:
    """What each check has found, for people; empty without one."""
    rows = [
        (MARKS["ok" if each.passed else "problem"], each.check, each.expected, each.found or each.reason or "nothing")
        for each in results
    ]
    return table(("", "CHECK", "EXPECTED", "FOUND"), rows, out) if rows else ""
