"""The command `show`."""

from __future__ import annotations

from typing import Any

from pulumi_snapshots.cli.snapshots.list import note_unlisted
from pulumi_snapshots.cli.terminal.arguments import command, snapshot_argument, urls_option
from pulumi_snapshots.cli.terminal.invocation import DONE, Invocation
from pulumi_snapshots.cli.terminal.output import snapshot_facts, snapshot_fields
from pulumi_snapshots.snapshot.read import get
from pulumi_snapshots.snapshot.record import SnapshotRecord


@command(snapshot_argument, urls_option, short_help="Show one snapshot.")
async def show(invocation: Invocation, /, *, urls: bool, **typed: Any) -> int:
    """Show a snapshot: its times, size, engine and origin. DATABASE/latest is the newest."""
    record = await looked_up(invocation, typed)
    invocation.result(snapshot_fields(record, urls=urls), snapshot_facts(record, invocation.zone), record.id)
    return DONE


async def looked_up(invocation: Invocation, typed: dict[str, Any]) -> SnapshotRecord:
    """Look up the snapshot that was typed."""
    async with invocation.asking() as session:
        whole = "/".join(await invocation.snapshot(session, **typed))
        record = await get(session, whole, unlisted=True)
    note_unlisted(invocation, [record])
    return record
