"""The command `decrypt`: the zip of an encrypted archive."""

from __future__ import annotations

from pathlib import Path

import click

from pulumi_snapshots.cli.terminal.arguments import command, place
from pulumi_snapshots.cli.terminal.display import display
from pulumi_snapshots.cli.terminal.invocation import DONE, Invocation
from pulumi_snapshots.cli.terminal.output import facts, size_text
from pulumi_snapshots.storage.destination import place_text
from pulumi_snapshots.storage.encryption import NotDecrypted, identities, opened


@command(
    click.argument("archive", metavar="ARCHIVE"),
    click.option("--identity", required=True, metavar="FILE", help="The private key's file, as age-keygen writes it."),
    click.option("-o", "--output", required=True, metavar="FILE", help="Where the zip is written."),
    short_help="Decrypt ARCHIVE to a zip.",
)
async def decrypt(invocation: Invocation, /, *, archive: str, identity: str, output: str) -> int:
    """Decrypt ARCHIVE, a path or a URI, to a zip: whole or not at all."""
    source, target = place(invocation, "ARCHIVE", archive), place(invocation, "--output", output)
    if source.folder or target.folder or target.scheme != "file":
        invocation.wrong("ARCHIVE must be one object, and --output a file of this machine.")
    if source.scheme == "file" and target.file.exists() and source.file.exists() and source.file.samefile(target.file):
        name = place_text(source.uri)
        raise NotDecrypted(f"{name} is itself the file to write, and the only encrypted one: choose another file")
    keys = identities(Path(identity))
    transfers = invocation.transfers
    with invocation.stopping(transfers), display(invocation) as shown:
        shown.progress(f"decrypting {place_text(source.uri)}")
        size, digest = await transfers.blocking(
            lambda: opened(
                transfers.store(source),
                transfers.store(target),
                keys,
                name=place_text(source.uri),
                stopping=lambda: transfers.stopping,
            )
        )
    at = place_text(target.uri)
    text = facts({"decrypted": at, "size": size_text(size), "sha256": digest})
    invocation.result({"uri": target.uri, "size": size, "sha256": digest}, text, at)
    return DONE
