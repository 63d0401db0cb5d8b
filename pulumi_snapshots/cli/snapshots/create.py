"""The command `create`."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

from pulumi_snapshots.cli.snapshots.show import show_record
from pulumi_snapshots.cli.terminal import arguments
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.properties.checks import HOUR
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.create import create as create_snapshot
from pulumi_snapshots.snapshot.record import SnapshotInputs, SnapshotRecord


@arguments.command(
    arguments.database_argument,
    *arguments.options_of(SnapshotInputs, "reuse_within"),
    arguments.timeout_option(SnapshotInputs),
    arguments.notify_option,
    arguments.urls_option,
)
async def create_command(invocation: Invocation, /, *, urls: bool, **typed: Any) -> None:
    """Take a snapshot and wait for it.

    DATABASE is an id, its beginning, or a name. Sends at most one request, and prints only what was
    requested after the command was typed, unless you add --reuse-within: then a snapshot of that
    time will do, and one that is under way is waited for, no matter who has requested it.
    """
    inputs = arguments.checked(invocation, SnapshotInputs, typed)

    async def prepared(session: Session) -> SnapshotInputs:
        return replace(inputs, database_id=await invocation.database(session, typed["database_id"]))

    take = partial(create_snapshot, needs_url=urls)
    record = await invocation.recorded(typed["database_id"], prepared, take, again=_waiting)
    if invocation.as_json or not invocation.failures:
        show_record(invocation, record, urls=urls)
    if not (invocation.as_json or invocation.failures):
        download = f"{NAME} download {record.id} --output {record.database_id}.zip"
        invocation.note(f"hint: `{download}` downloads it.")


def _waiting(record: SnapshotRecord, age: float) -> list[str]:
    """The arguments of the command that waits for what was requested so many seconds ago."""
    hours = math.floor(age / HOUR) + 1
    return ["create", record.database_id, "--reuse-within", f"{hours}h"]
