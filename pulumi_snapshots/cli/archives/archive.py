"""The commands `archive`, `download` and `decrypt`, which each write one copy."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pulumi_snapshots.archive.archive import archive as archive_snapshot
from pulumi_snapshots.archive.record import ArchiveInputs, ArchiveRecord
from pulumi_snapshots.cli.terminal.arguments import (
    PLACE,
    checked,
    command,
    notify_option,
    snapshot_argument,
    timeout_option,
)
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.cli.terminal.output import fields_of, size_text
from pulumi_snapshots.storage.destination import Destination, place_text
from pulumi_snapshots.storage.encryption import NotDecrypted, identities, opened

OWNER = f"{NAME} archive"  # the owner, in manifests, of what this command line archives


@command(
    snapshot_argument,
    click.argument("destination"),
    click.option(
        "--recipient", "recipients", metavar="KEY", multiple=True, help="Encrypt for this age1… key; repeatable."
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
    invocation: Invocation, inputs: ArchiveInputs, typed: dict[str, Any], done: str, *, manifest: bool = False
) -> None:
    """Copy the snapshot that is typed to its destination, and show the result."""
    transfers, invocation.wording = invocation.transfers, invocation.wording.about(archived=done)
    async with invocation.session() as session:
        with invocation.working(session, transfers):
            found = await invocation.snapshot(session, typed["database_id"], typed["version_id"])
            names = ("database_id", "version_id", "download_url")
            inputs = replace(inputs, **{name: getattr(found, name) for name in names})
            record = await archive_snapshot(session, transfers, inputs, invocation, owner=OWNER, manifest=manifest)
    at = place_text(record.uri)
    facts = {done: at, "size": size_text(record.size), "sha256": record.sha256}
    invocation.result(fields_of(found.id, record, ArchiveRecord), facts, at)


@command(
    snapshot_argument,
    click.option(
        "-o", "--output", "destination", required=True, metavar="FILE", help="A file, or a folder that ends in /."
    ),
    timeout_option(ArchiveInputs),
)
async def download(invocation: Invocation, /, **typed: Any) -> None:
    """Download a snapshot to a file, verified. The file appears whole or not at all. DATABASE/latest is the newest."""
    if typed["destination"] == "-":
        invocation.wrong("--output must be a file, since a download appears only when it is whole.")
    invocation.wording = invocation.wording.about(destination="--output")
    inputs = checked(invocation, ArchiveInputs, typed)
    if inputs.destination.scheme != "file":
        invocation.wrong("--output must be a file of this machine: `archive` streams to a bucket.")
    file = inputs.destination.file
    if not (folder := file if inputs.destination.folder else file.parent).is_dir():
        invocation.wrong(f"--output must be in a folder that exists: there is no {folder}.")
    await copied(invocation, inputs, typed, "downloaded")


@command(
    click.argument("archive", type=PLACE),
    click.option("--identity", required=True, metavar="FILE", help="The private key's file, as age-keygen writes it."),
    click.option("-o", "--output", required=True, metavar="FILE", type=PLACE, help="Where the zip is written."),
)
async def decrypt(invocation: Invocation, /, *, archive: Destination, identity: str, output: Destination) -> None:
    """Decrypt ARCHIVE to a zip, whole or not at all. ARCHIVE is a path or a URI."""
    if archive.folder or output.folder or output.scheme != "file":
        invocation.wrong("ARCHIVE must be one object, and --output a file of this machine.")
    name, at, transfers = place_text(archive.uri), place_text(output.uri), invocation.transfers
    files = [archive.file, output.file] if archive.scheme == "file" else []
    if files and all(each.exists() for each in files) and files[0].samefile(files[1]):
        raise NotDecrypted(f"{name} is itself the file to write, and the only encrypted one: choose another file")
    keys, (here, there) = identities(Path(identity)), map(transfers.store, (archive, output))
    with invocation.working(transfers, doing=f"decrypting {name}"):
        size, digest = await transfers.blocking(
            lambda: opened(here.read(), there.write, keys, name=name, stopping=lambda: transfers.stopping)
        )
    facts = {"decrypted": at, "size": size_text(size), "sha256": digest}
    invocation.result({"uri": output.uri, "size": size, "sha256": digest}, facts, at)
