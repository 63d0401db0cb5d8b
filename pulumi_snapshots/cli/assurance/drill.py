"""The command `drill`: prove that a snapshot restores, for people and cron."""

import json
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, Any

import click

from pulumi_snapshots.archive.listed import list_archives
from pulumi_snapshots.archive.manifest import note_drill
from pulumi_snapshots.cli.terminal import arguments
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import GOOD, facts, fields_of, table
from pulumi_snapshots.cli.terminal.wording import TYPED
from pulumi_snapshots.drill.drill import Drilling
from pulumi_snapshots.drill.record import DrillInputs, DrillRecord
from pulumi_snapshots.drill.tables import largest_differences
from pulumi_snapshots.errors.secrets import shown_file
from pulumi_snapshots.properties.checks import LATEST, spoken
from pulumi_snapshots.run.memory import DRILLS_OVERWRITE
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.storage.destination import Destination, place_text

OPERATORS = {TYPED[name]: name for name in ("equals", "at_least", "at_most", "matches")}
"""The expectations of a check, as they are typed."""
TYPED_CHECK = re.compile(
    r"(?P<query>.*\S)\s+(?P<operator>==|>=|<=|=~)\s+(?P<value>\S.*)", re.DOTALL
)
"""Greedy, so that the last operator counts: the query may have others."""

TYPED_TABLES = re.compile(
    r"tables(?:\s*>=\s*(?P<share>\S+))?(?:\s+except\s+(?P<names>.+))?"
)


@arguments.command(
    click.argument(
        "snapshot", metavar="DATABASE[/VERSION]", shell_complete=arguments.database_ids
    ),
    click.option(
        "--scratch",
        "scratch_database_id",
        type=arguments.DATABASE,
        required=True,
        help="The scratch database.",
    ),
    click.option(
        "--password-env",
        "password",
        metavar="NAME",
        help="The variable that holds the scratch database's password.",
    ),
    click.option(
        "--connection-env",
        "connection",
        metavar="NAME",
        help="The variable that holds the scratch database's connection.",
    ),
    click.option(
        "--check",
        "checks",
        metavar="'QUERY OP VALUE'",
        multiple=True,
        help="What to ask the scratch database, and what it must answer; OP is ==, "
        ">=, <= or =~ (matches). Repeatable. `tables [>= SHARE] [except NAME...]` counts "
        "rows, as without checks.",
    ),
    click.option(
        "--source-env",
        "source_connection",
        metavar="NAME",
        help="The variable that holds a read-only connection to DATABASE: its tables are compared "
        "until a drill has passed.",
    ),
    arguments.flag_option(
        "--overwrite-scratch", "Required: the scratch database loses all that it holds."
    ),
    arguments.archives_option("Write a drill that passed into the manifests there."),
    arguments.timeout_option(DrillInputs),
    arguments.again_option,
    arguments.notify_option,
)
async def drill(
    invocation: Invocation, *, snapshot: str, new: bool, **typed: Any
) -> None:
    """Prove that a snapshot restores; without VERSION, the newest one.

    Restores it onto a scratch database of the same engine, whose content is overwritten, and checks
    what came back. The exit code
    is 0 only if all checks passed. Sends one restore at most: the next run resumes an interrupted
    one.

    For example: --check 'select count(*) from orders >= 1000'
    """
    if not typed["overwrite_scratch"]:
        invocation.wrong(f"{DRILLS_OVERWRITE}: add --overwrite-scratch to do it.")
    invocation.note_typed_id(snapshot)
    database_id, _, version_id = snapshot.partition("/")
    given = {**typed, "database_id": database_id, "version_id": version_id or LATEST}
    for name in ("password", "connection", "source_connection"):
        given[name] = typed[name] and arguments.secret_of(
            invocation, TYPED[name], typed[name]
        )
    given["checks"] = _typed_checks(invocation, typed["checks"])
    arguments.checked(invocation, DrillInputs, given)

    async def prepared(session: Session) -> DrillInputs:
        scratch = await invocation.database(session, typed["scratch_database_id"])
        found = await invocation.snapshot(session, database_id, given["version_id"])
        # Whole ids and the engine can be wrong beside each other where what was typed was not.
        whole = {
            **given,
            "scratch_database_id": scratch,
            "database_id": found.database_id,
            "version_id": found.version_id,
            "name": found.name,
            "runtime": found.runtime,
        }
        return arguments.checked(invocation, DrillInputs, whole)

    async def drilled(
        session: Session,
        inputs: DrillInputs,
        *listener_and_owner: Any,
        forced: bool,
    ) -> DrillRecord:
        drilling = Drilling(session, inputs, *listener_and_owner)
        record = await drilling.carry_out(forced=forced)
        for place in typed["archives"]:
            await _note(invocation, place, record)
        return record

    record = await invocation.recorded(snapshot, prepared, drilled, new=new)
    text = facts(_facts_of(record, invocation)) + _results_table(record, invocation.out)
    if record.tables:
        text += f"largest differences: {largest_differences(record.tables)}\n"
    invocation.result(
        fields_of(record.snapshot, record, DrillRecord), text, record.snapshot
    )


def _facts_of(record: DrillRecord, invocation: Invocation) -> dict[str, str | None]:
    """Say what a drill has done, by the names of the facts; None for what is not known."""
    ended = {None: "pending", False: "failed", True: "drilled"}[record.passed]
    took = None
    if record.restore_seconds is not None:
        took = spoken(record.restore_seconds)
    recovery = None
    if record.recovery_seconds is not None:
        recovery = (
            f"{spoken(record.recovery_seconds)} from its request to its last check"
        )
    proof = None
    if record.proved_by is not None:
        proof = ", ".join(record.proved_by) or "nothing but the checks"
    return {
        ended: record.snapshot,
        "onto": record.scratch_database_id,
        "restored": invocation.moment(record.restored_at),
        "took": took,
        "recovery": recovery,
        "proof": proof,
    }


def _typed_checks(
    invocation: Invocation, checks: Iterable[str]
) -> list[dict[str, Any]]:
    """Read the checks that are typed, each as a query, an operator and a value."""
    read: list[dict[str, Any]] = []
    for typed in checks:
        tables = TYPED_TABLES.fullmatch(typed.strip())
        if tables is not None:
            read.append({"tables_": _typed_tables(invocation, tables)})
            continue
        match = TYPED_CHECK.fullmatch(typed.strip())
        if match is None:
            invocation.wrong(
                f"--check {typed!r} must be a query, one of {', '.join(OPERATORS)}, and a value."
            )
        operator = match["operator"]
        value = match["value"] if operator == "=~" else _value(match["value"])
        read.append({"query": match["query"], OPERATORS[operator]: value})
    return read


def _typed_tables(invocation: Invocation, typed: re.Match[str]) -> dict[str, Any]:
    """Read how tables are counted: `tables >= 0.9 except log 'my cache'`."""
    tables: dict[str, Any] = {}
    if typed["share"]:
        tables["at_least"] = _value(typed["share"])
    if typed["names"]:
        try:
            tables["except_"] = shlex.split(typed["names"])
        except ValueError as error:
            invocation.wrong(f"--check {typed[0]!r} cannot be read: {error}.")
    return tables


def _value(typed: str) -> str | float | bool:
    """Read a number, true or false as JSON spells it.

    Else a text, such as the number of a customer, 01234.
    """
    with suppress(ValueError, RecursionError):  # the latter from deeply nested brackets
        value = json.loads(typed, parse_constant=str)
        if isinstance(value, int | float):
            return value
    return typed


async def _note(
    invocation: Invocation, place: Destination, record: DrillRecord
) -> None:
    """Note a drill that has passed in the manifests of the snapshot's archives in a place."""
    if record.proof is None:
        return
    name = place_text(place.uri)
    snapshot = (record.database_id, record.version_id)
    transfers = invocation.transfers
    invocation.progress(f"listing {shown_file(name)}")
    uris = [
        each.uri
        for each in await list_archives(transfers, place)
        if each.manifest and not each.problem and each.manifest.snapshot == snapshot
    ]
    await note_drill(transfers, uris, snapshot, record.proof, invocation)
    if not uris:
        invocation.warn(
            f"{name} has no archive of snapshot {record.snapshot}, so no manifest notes the drill."
        )


def _results_table(record: DrillRecord, out: IO[str]) -> str:
    """Show what each check has found, for people; empty without one."""
    if not record.results:
        return ""
    rows = [
        (
            GOOD[each.passed],
            each.check,
            each.expected,
            each.found or each.reason or "nothing",
        )
        for each in record.results
    ]
    return table(("", "CHECK", "EXPECTED", "FOUND"), rows, out)
