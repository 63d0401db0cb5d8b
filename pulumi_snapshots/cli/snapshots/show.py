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
async def show(invocation: Invocation, /, *, urls: bool, **typed: Any) -> None:
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


def show_record(invocation: Invocation, one: SnapshotRecord, *, urls: bool) -> None:
    """Show all that is known of a snapshot.

    Args:
        invocation: the command.
        one: the snapshot.
        urls: whether to show its download URL.
    """
    expires = invocation.moment(one.expires_at)
    times = {
        "requested": invocation.moment(one.requested_at),
        "created": invocation.moment(one.created_at),
        "expires": expires,
    }
    if one.size is None and expires:
        # No listing has shown it, so its time is that of its request.
        times = {"requested": times["created"], "expires": f"after {expires}"}
    kind = {"size": size_text(one.size), "engine": one.runtime, "origin": one.origin}
    fields = fields_of(one.id, one, SnapshotRecord, urls=urls)
    invocation.result(fields, {"snapshot": one.id, **times, **kind}, one.id)
