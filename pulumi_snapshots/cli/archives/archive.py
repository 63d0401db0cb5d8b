"""The command `archive`, and the copying that it shares with `download`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.archive.archive import archive as archive_snapshot
from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.cli.terminal.arguments import checked, command, notify_option, snapshot_argument, timeout_option
from pulumi_snapshots.cli.terminal.invocation import DONE, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import facts, fields_of, moment, size_text
from pulumi_snapshots.snapshot.read import LATEST, get
from pulumi_snapshots.storage.destination import place_text

OWNER = f"{NAME} archive"
"""The owner, in manifests, of what this command line archives."""


@command(
    snapshot_argument,
    click.argument("destination"),
    click.option(
        "--recipient",
        "recipients",
        metavar="KEY",
        multiple=True,
        help="Encrypt it with age for this public key (age1…); may be repeated.",
    ),
    timeout_option(ArchiveInputs),
    notify_option,
    short_help="Copy a snapshot to a path or a bucket, verified.",
)
async def archive(invocation: Invocation, /, *, recipients: Sequence[str], **typed: Any) -> int:
    """Stream a snapshot to DESTINATION, verified, whole or not at all; DATABASE/latest is the newest.

    DESTINATION is a path or a URI of file://, s3://, gs:// or az://. With a final / it is a folder, which gets
    DATABASE/CREATED-VERSION.zip, or .zip.age if it is encrypted.
    """
    inputs = checked(invocation, ArchiveInputs, {**typed, "recipients": recipients or None}, recipients="--recipient")
    return await transferred(invocation, inputs, typed, "archived", manifest=True)


async def transferred(
    invocation: Invocation, inputs: ArchiveInputs, typed: dict[str, Any], done: str, *, manifest: bool = False
) -> int:
    """Copy the snapshot that is typed to its destination and show the result; returns the exit code."""
    transfers = invocation.transfers
    invocation.wording = invocation.wording.about(archived=done)
    async with invocation.session() as session:
        with invocation.working(session, transfers):
            database_id, version_id = await invocation.snapshot(session, typed["database_id"], typed["version_id"])
            inputs = replace(inputs, database_id=database_id, version_id=version_id)
            if version_id == LATEST:
                newest = await get(session, f"{database_id}/{LATEST}", unlisted=True)
                inputs = replace(inputs, version_id=newest.version_id or "", download_url=newest.download_url)
                created = moment(newest.created_at, invocation.zone)
                invocation.progress(f"the newest snapshot is {newest.id}, of {created}")
            record = await archive_snapshot(session, transfers, inputs, invocation, owner=OWNER, manifest=manifest)
    at = place_text(record.uri)
    text = facts({done: at, "size": size_text(record.size), "sha256": record.sha256})
    invocation.result(fields_of(record, ArchiveRecord), text, at)
    return DONE
