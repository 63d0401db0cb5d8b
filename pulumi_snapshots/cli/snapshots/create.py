"""The command `create`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import click

from pulumi_snapshots.cli.terminal.arguments import (
    DURATION,
    checked,
    command,
    database_argument,
    notify_option,
    timeout_option,
    urls_option,
)
from pulumi_snapshots.cli.terminal.invocation import DONE, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import snapshot_facts, snapshot_fields
from pulumi_snapshots.cli.terminal.recorded import recorded
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.create import create as create_snapshot
from pulumi_snapshots.snapshot.inputs import SnapshotInputs


@command(
    database_argument,
    click.option("--reuse-within", type=DURATION, help="Take none if a manual snapshot is younger than this."),
    timeout_option(SnapshotInputs),
    click.option(
        "--new",
        is_flag=True,
        help="Take another snapshot, even if an earlier run's is unfinished; waits for the earlier one first.",
    ),
    notify_option,
    urls_option,
)
async def create(invocation: Invocation, /, *, new: bool, urls: bool, **typed: Any) -> int:
    """Take a snapshot of DATABASE, an id, its beginning or a name, and wait for it.

    Sends at most one request; the next run resumes an interrupted create.
    """
    inputs = checked(invocation, SnapshotInputs, typed)

    async def prepared(session: Session) -> SnapshotInputs:
        return replace(inputs, database_id=await invocation.database(session, typed["database_id"]))

    take = partial(create_snapshot, needs_url=urls)
    record, code, _ = await recorded(invocation, take, prepared, lambda ready: ready.database_id, new=new)
    if code == DONE or invocation.as_json:
        invocation.result(snapshot_fields(record, urls=urls), snapshot_facts(record, invocation.zone), record.id)
    if code == DONE and not invocation.as_json:
        invocation.note(f"hint: `{NAME} download {record.id} --output {record.database_id}.zip` downloads it.")
    return code
