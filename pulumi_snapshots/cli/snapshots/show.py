"""The command `show`."""

from typing import Any

from pulumi_snapshots.cli.snapshots.list import note_unlisted
from pulumi_snapshots.cli.terminal.arguments import (
    command,
    snapshot_argument,
    urls_option,
)
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import fields_of, size_text
from pulumi_snapshots.snapshot.record import SnapshotRecord


@command(snapshot_argument, urls_option)
async def show(invocation: Invocation, *, urls: bool, **typed: Any) -> None:
    """Show a snapshot: its times, size, engine and origin. DATABASE/latest is the newest."""
    show_record(invocation, await looked_up(invocation, typed), urls=urls)


async def looked_up(invocation: Invocation, typed: dict[str, Any]) -> SnapshotRecord:
    """Look up the snapshot that was typed.

    Args:
        invocation: the command.
        typed: the database and the version, as they were typed.

    Returns:
        The snapshot.
    """
    async with invocation.asking() as session:
        record = await invocation.snapshot(session, **typed, shown=True)
    note_unlisted(invocation, [record])
    return record


def show_record(invocation: Invocation, record: SnapshotRecord, *, urls: bool) -> None:
    """Show all that is known of a snapshot.

    Args:
        invocation: the command.
        record: the snapshot.
        urls: whether to show its download URL.
    """
    facts = {
        "snapshot": record.id,
        "requested": invocation.moment(record.requested_at),
        "created": invocation.moment(record.created_at),
        "expires": invocation.moment(record.expires_at),
        "size": size_text(record.size),
        "engine": record.runtime,
        "origin": record.origin,
    }
    if record.size is None and facts["expires"]:
        # No listing has shown the snapshot, so its time is that of its request.
        facts["requested"] = facts.pop("created")
        facts["expires"] = f"after {facts['expires']}"
    fields = fields_of(record.id, record, SnapshotRecord, urls=urls)
    invocation.result(fields, facts, record.id)
