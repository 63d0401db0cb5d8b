"""The command `url`."""

from typing import Any

from pulumi_snapshots.cli.snapshots.show import looked_up
from pulumi_snapshots.cli.terminal.arguments import command, snapshot_argument
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.snapshot.record import is_pinned


@command(snapshot_argument)
async def url(invocation: Invocation, **typed: Any) -> None:
    """Print the URL that downloads this snapshot and no other.

    Anyone with the URL can read the data until it expires.
    """
    record = await looked_up(invocation, typed)
    download_url = record.download_url
    if download_url is None or not is_pinned(download_url, record.version_id or ""):
        hint = f"hint: `{NAME} download {record.id} --output FILE` gets it."
        invocation.fail(f"the service lists no URL of its own for {record.id}.\n{hint}")
        return
    expires = record.download_url_expires_at
    fields = {
        "id": record.id,
        "download_url": download_url,
        "download_url_expires_at": expires,
    }
    invocation.result(fields, f"{download_url}\n", download_url)
    if expires:
        invocation.note(f"The URL expires at {invocation.moment(expires)}.")
