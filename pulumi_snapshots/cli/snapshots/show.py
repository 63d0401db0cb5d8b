"""The commands `show` and `url`: one snapshot, and the URL that downloads it."""

from __future__ import annotations

from typing import Any

from pulumi_snapshots.cli.snapshots.databases import note_unlisted
from pulumi_snapshots.cli.terminal.arguments import command, snapshot_argument, urls_option
from pulumi_snapshots.cli.terminal.display import asking
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import moment, snapshot_facts, snapshot_fields
from pulumi_snapshots.snapshot.describe import is_pinned
from pulumi_snapshots.snapshot.read import get
from pulumi_snapshots.snapshot.record import SnapshotRecord


@command(snapshot_argument, urls_option, short_help="Show one snapshot.")
async def show(invocation: Invocation, /, *, urls: bool, **typed: Any) -> int:
    """Show a snapshot: its times, size, engine and origin. DATABASE/latest is the newest."""
    record = await _looked_up(invocation, typed)
    invocation.result(snapshot_fields(record, urls=urls), snapshot_facts(record, invocation.zone), record.id)
    return DONE


@command(snapshot_argument, short_help="Print the URL that downloads a snapshot.")
async def url(invocation: Invocation, /, **typed: Any) -> int:
    """Print the URL that downloads this snapshot and no other. Anyone with the URL can read the data until it expires."""
    record = await _looked_up(invocation, typed)
    if record.download_url is None or not is_pinned(record.download_url, record.version_id or ""):
        invocation.fail(
            f"the service lists no URL of its own for {record.id}.\nhint: `{NAME} download {record.id} --output FILE` gets it."
        )
        return FAILED
    fields = {"download_url": record.download_url, "download_url_expires_at": record.download_url_expires_at}
    invocation.result(fields, f"{record.download_url}\n", record.download_url)
    if record.download_url_expires_at:
        invocation.remark(f"It expires at {moment(record.download_url_expires_at, invocation.zone)}.")
    return DONE


async def _looked_up(invocation: Invocation, typed: dict[str, Any]) -> SnapshotRecord:
    async with asking(invocation) as (session, _):
        whole = "/".join(await invocation.snapshot(session, **typed))
        record = await get(session, whole, unlisted=True)
    note_unlisted(invocation, [record])
    return record
