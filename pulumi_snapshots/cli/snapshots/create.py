"""The command `create`."""

from dataclasses import replace
from functools import partial
from typing import Any

import click

from pulumi_snapshots.cli.snapshots.show import show_record
from pulumi_snapshots.cli.terminal import arguments
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.create import create as create_snapshot
from pulumi_snapshots.snapshot.record import SnapshotInputs


@arguments.command(
    arguments.database_argument,
    *arguments.options_of(SnapshotInputs, "reuse_within"),
    arguments.timeout_option(SnapshotInputs),
    click.option(
        "--new",
        is_flag=True,
        help="Take another snapshot once an earlier run's is listed or never came.",
    ),
    arguments.notify_option,
    arguments.urls_option,
)
async def create(invocation: Invocation, /, *, new: bool, urls: bool, **typed: Any) -> None:
    """Take a snapshot and wait for it.

    DATABASE is an id, its beginning, or a name. Sends at most one request; the next run resumes an interrupted create.
    """
    inputs = arguments.checked(invocation, SnapshotInputs, typed)

    async def prepared(session: Session) -> SnapshotInputs:
        return replace(inputs, database_id=await invocation.database(session, typed["database_id"]))

    take = partial(create_snapshot, needs_url=urls)
    record, _ = await invocation.recorded(typed["database_id"], prepared, take, new=new)
    if invocation.as_json or not invocation.failures:
        show_record(invocation, record, urls=urls)
    if not (invocation.as_json or invocation.failures):
        invocation.note(
            f"hint: `{NAME} download {record.id} --output {record.database_id}.zip` downloads it."
        )
