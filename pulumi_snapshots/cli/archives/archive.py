"""The command `archive`: a snapshot in a file or a bucket, with a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.archive.archive import archive as archive_snapshot
from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.cli.terminal.arguments import (
    checked,
    json_option,
    notify_option,
    snapshot_argument,
    timeout_option,
)
from pulumi_snapshots.cli.terminal.display import display
from pulumi_snapshots.cli.terminal.invocation import DONE, Invocation
from pulumi_snapshots.cli.terminal.output import facts, fields_of, json_text, moment, size_text
from pulumi_snapshots.lookup.prefix import whole_database, whole_version
from pulumi_snapshots.snapshot.read import LATEST, get
from pulumi_snapshots.storage.destination import place_text

OWNER = "squarecloud-snapshots archive"
"""The owner, in manifests, of what this command line archives."""


@click.command(short_help="Copy a snapshot to a path or a bucket, verified.")
@snapshot_argument
@click.argument("destination")
@click.option(
    "--recipient",
    "recipients",
    metavar="KEY",
    multiple=True,
    help="Encrypt it with age for this public key (age1…); may be repeated.",
)
@timeout_option(ArchiveInputs)
@notify_option
@json_option
@click.pass_context
async def archive(context: click.Context, /, *, as_json: bool, recipients: Sequence[str], **typed: Any) -> int:
    """Stream a snapshot to DESTINATION, verified, whole or not at all; DATABASE/latest is the newest.

    DESTINATION is a path or a URI of file://, s3://, gs:// or az://. With a final / it is a folder, which gets
    DATABASE/CREATED-VERSION.zip, or .zip.age if it is encrypted.
    """
    typed["recipients"] = recipients or None
    inputs = checked(context, ArchiveInputs, typed, recipients="--recipient")
    return await transferred(context.obj, inputs, "archived", as_json=as_json, manifest=True)


async def transferred(
    invocation: Invocation, inputs: ArchiveInputs, done: str, *, as_json: bool, manifest: bool = False
) -> int:
    """Copy a snapshot to its destination and show the result; returns the exit code."""
    transfers = invocation.transfers
    invocation.wording = invocation.wording.about(archived=done)
    async with invocation.session() as session:
        with invocation.stopping(session, transfers), display(invocation, transfers=True) as shown:
            database_id = await whole_database(session, inputs.database_id or "", has_snapshots=True)
            version_id = await whole_version(session, database_id, inputs.version_id or "")
            inputs = replace(inputs, database_id=database_id, version_id=version_id)
            if inputs.version_id == LATEST:
                newest = await get(session, f"{inputs.database_id}/{LATEST}")
                inputs = replace(inputs, version_id=newest.version_id or "", download_url=newest.download_url)
                shown.progress(f"the newest snapshot is {newest.id}, of {moment(newest.created_at, invocation.zone)}")
            record = await archive_snapshot(
                session, transfers, inputs, shown, owner=OWNER, meter=shown.meter, manifest=manifest
            )
    if as_json:
        invocation.show(json_text(fields_of(record, ArchiveRecord)))
    else:
        invocation.show(facts({done: place_text(record.uri), "size": size_text(record.size), "sha256": record.sha256}))
    return DONE
