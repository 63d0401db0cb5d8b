"""The commands `show` and `url`, which look up one snapshot."""

from typing import Any

from pulumi_snapshots.cli.snapshots.list import note_unlisted
from pulumi_snapshots.cli.terminal.arguments import command, snapshot_argument, urls_option
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.cli.terminal.output import fields_of, size_text
from pulumi_snapshots.snapshot.record import SnapshotRecord, is_pinned


@command(snapshot_argument, urls_option)
async def show(invocation: Invocation, /, *, urls: bool, **typed: Any) -> None:
    """Show a snapshot: its times, size, engine and origin. DATABASE/latest is the newest."""
    show_record(invocation, await looked_up(invocation, typed), urls=urls)


async def looked_up(invocation: Invocation, typed: dict[str, Any]) -> SnapshotRecord:
    """Look up the snapshot that was typed."""
    async with invocation.asking() as session:
        record = await invocation.snapshot(session, **typed, shown=True)
    note_unlisted(invocation, [record])
    return record


def show_record(invocation: Invocation, one: SnapshotRecord, *, urls: bool) -> None:
    """Write what there is to know of a snapshot."""
    times = {"created": invocation.moment(one.created_at), "expires": invocation.moment(one.expires_at)}
    kind = {"size": size_text(one.size), "engine": one.runtime, "origin": one.origin}
    fields = fields_of(one.id, one, SnapshotRecord, urls=urls)
    invocation.result(fields, {"snapshot": one.id, **times, **kind}, one.id)


@command(snapshot_argument)
async def url(invocation: Invocation, /, **typed: Any) -> None:
    """Print the URL that downloads this snapshot and no other. Anyone with the URL can read the data until it expires."""
    record = await looked_up(invocation, typed)
    if record.download_url is None or not is_pinned(record.download_url, record.version_id or ""):
        hint = f"hint: `{NAME} download {record.id} --output FILE` gets it."
        invocation.fail(f"the service lists no URL of its own for {record.id}.\n{hint}")
        return
    fields = {name: getattr(record, name) for name in ("id", "download_url", "download_url_expires_at")}
    invocation.result(fields, f"{record.download_url}\n", record.download_url)
    if record.download_url_expires_at:
        invocation.note(f"The URL expires at {invocation.moment(record.download_url_expires_at)}.")
