"""The command `archive`, and the copying that it shares with `download`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.archive.archive import ArchiveRequest, archive_snapshot
from pulumi_snapshots.archive.manifest import Owner
from pulumi_snapshots.archive.record import ArchiveInputs, ArchiveRecord
from pulumi_snapshots.cli.terminal.arguments import (
    checked,
    command,
    flag_option,
    notify_option,
    snapshot_argument,
    timeout_option,
)
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.cli.terminal.output import fields_of, size_text
from pulumi_snapshots.storage.destination import place_text

COMMAND_OWNER = Owner(f"{NAME} archive", f"{NAME} archive")
"""The owner, in manifests, of what this command line archives."""
force_option = flag_option("--force", "Overwrite a file of this name, whatever it is.")


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
    force_option,
    timeout_option(ArchiveInputs),
    notify_option,
)
async def archive(
    invocation: Invocation,
    *,
    recipients: Sequence[str],
    force: bool,
    **typed: Any,
) -> None:
    """Copy a snapshot to a path or a bucket, verified.

    The copy appears whole or not at all. DESTINATION is a path or a URI of file://, s3://, gs://
    or az://. With a final / it is a folder, which gets DATABASE/CREATED-VERSION.zip, or .zip.age if
    it is encrypted. A file that no manifest explains is not overwritten without --force.
    """
    inputs = checked(
        invocation, ArchiveInputs, {**typed, "recipients": recipients or None}
    )
    await copy_snapshot(invocation, inputs, typed, manifest=True, force=force)


def copied(*, manifest: bool) -> str:
    """Return the word for what was done, as in "was archived".

    Args:
        manifest: Whether a manifest is written beside the copy.
    """
    return "archived" if manifest else "downloaded"


async def copy_snapshot(
    invocation: Invocation,
    inputs: ArchiveInputs,
    typed: Mapping[str, Any],
    *,
    manifest: bool,
    force: bool,
) -> None:
    """Copy a snapshot to its destination, and show the result.

    Args:
        invocation: the command.
        inputs: the destination, and how to copy.
        typed: with the snapshot's `database_id` and `version_id`.
        manifest: whether a manifest is written beside the copy.
        force: whether to overwrite a file that no manifest explains.
    """
    transfers = invocation.transfers
    done = copied(manifest=manifest)
    invocation.wording = invocation.wording.about(archived=done)
    async with invocation.session() as session:
        with invocation.working(session, transfers):
            snapshot = await invocation.snapshot(
                session, typed["database_id"], typed["version_id"]
            )
            inputs = replace(
                inputs,
                database_id=snapshot.database_id,
                version_id=snapshot.version_id or "",
                download_url=snapshot.download_url,
            )
            request = ArchiveRequest(
                session,
                transfers,
                inputs,
                invocation,
                owner=COMMAND_OWNER,
                manifest=manifest,
                force=force,
            )
            record = await archive_snapshot(request)
    place = place_text(record.uri)
    facts = {done: place, "size": size_text(record.size), "sha256": record.sha256}
    invocation.result(fields_of(snapshot.id, record, ArchiveRecord), facts, place)
