"""The command `create`: take a snapshot and wait for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.cli.terminal.arguments import (
    checked,
    database_argument,
    json_option,
    notify_option,
    timeout_option,
    urls_option,
)
from pulumi_snapshots.cli.terminal.invocation import DONE, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import facts, json_text, moment, size_text, snapshot_fields
from pulumi_snapshots.cli.terminal.recorded import recorded
from pulumi_snapshots.lookup.prefix import whole_database
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.create import create as create_snapshot
from pulumi_snapshots.snapshot.inputs import SnapshotInputs


@click.command()
@database_argument
@click.option("--reuse-within", metavar="DURATION", help="Take none if a manual snapshot is younger than this.")
@timeout_option(SnapshotInputs)
@click.option(
    "--new", is_flag=True, help="Take another one, even if an earlier run's is unfinished; waits for that one first."
)
@notify_option
@json_option
@urls_option
@click.pass_context
async def create(context: click.Context, /, *, new: bool, as_json: bool, urls: bool, **typed: Any) -> int:
    """Take a snapshot of DATABASE and wait for it.

    Sends one request at most: the next run resumes an interrupted one.
    """
    inputs = checked(context, SnapshotInputs, typed)
    invocation: Invocation = context.obj

    async def prepared(session: Session) -> SnapshotInputs:
        return replace(inputs, database_id=await whole_database(session, inputs.database_id))

    record, code, _ = await recorded(context, create_snapshot, prepared, lambda ready: ready.database_id, new=new)
    if as_json:
        invocation.show(json_text(snapshot_fields(record, urls=urls)))
    elif code == DONE:
        zone = invocation.zone
        times = {"created": moment(record.created_at, zone), "expires": moment(record.expires_at, zone)}
        invocation.show(
            facts({"snapshot": record.id, **times, "size": size_text(record.size), "engine": record.runtime})
        )
        invocation.say(f"hint: `{NAME} download {record.id} --output {record.database_id}.zip` downloads it.")
    return code
