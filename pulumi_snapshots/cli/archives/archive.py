"""The command `archive`, and the copying that it shares with `download`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.archive.archive import archive as archive_snapshot
from pulumi_snapshots.archive.record import ArchiveInputs, ArchiveRecord
from pulumi_snapshots.cli.terminal.arguments import (
    checked,
    command,
    notify_option,
    snapshot_argument,
    timeout_option,
)
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.cli.terminal.output import fields_of, size_text
from pulumi_snapshots.storage.destination import place_text

OWNER = f"{NAME} archive"  # the owner, in manifests, of what this command line archives


@command(
    snapshot_argument,
    click.argument("destination"),
    click.option(
        "--recipient",
        "recipients",
        metavar="KEY",
        multiple=True,
        help="Encrypt for this age1… key; repeatable.",
    ),
    timeout_option(ArchiveInputs),
    notify_option,
)
async def archive(invocation: Invocation, /, *, recipients: Sequence[str], **typed: Any) -> None:
    """Copy a snapshot to a path or a bucket, verified.

    The copy appears whole or not at all. DESTINATION is a path or a URI of file://, s3://, gs:// or az://. With a final / it
    is a folder, which gets DATABASE/CREATED-VERSION.zip, or .zip.age if it is encrypted.
    """
    inputs = checked(invocation, ArchiveInputs, {**typed, "recipients": recipients or None})
    await copied(invocation, inputs, typed, "archived", manifest=True)


async def copied(
    invocation: Invocation,
    inputs: ArchiveInputs,
    typed: dict[str, Any],
    done: str,
    *,
    manifest: bool = False,
) -> None:
    """Copy the snapshot that is typed to its destination, and show the result."""
    transfers, invocation.wording = invocation.transfers, invocation.wording.about(archived=done)
    async with invocation.session() as session:
        with invocation.working(session, transfers):
            found = await invocation.snapshot(session, typed["database_id"], typed["version_id"])
            names = ("database_id", "version_id", "download_url")
            inputs = replace(inputs, **{name: getattr(found, name) for name in names})
            record = await archive_snapshot(
                session, transfers, inputs, invocation, owner=OWNER, manifest=manifest
            )
    at = place_text(record.uri)
    facts = {done: at, "size": size_text(record.size), "sha256": record.sha256}
    invocation.result(fields_of(found.id, record, ArchiveRecord), facts, at)
