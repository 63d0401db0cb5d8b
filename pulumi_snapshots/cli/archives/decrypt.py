"""The command `decrypt`: the zip of an encrypted archive."""

from __future__ import annotations

from pathlib import Path

import click

from pulumi_snapshots.cli.terminal.arguments import json_option, place
from pulumi_snapshots.cli.terminal.display import display
from pulumi_snapshots.cli.terminal.invocation import DONE, Invocation
from pulumi_snapshots.cli.terminal.output import facts, json_text, size_text
from pulumi_snapshots.storage.destination import place_text
from pulumi_snapshots.storage.encryption import identities, opened


@click.command(short_help="Decrypt ARCHIVE to a zip.")
@click.argument("archive", metavar="ARCHIVE")
@click.option("--identity", required=True, metavar="FILE", help="The private key's file, as age-keygen writes it.")
@click.option("--output", required=True, metavar="FILE", help="Where the zip is written.")
@json_option
@click.pass_context
async def decrypt(context: click.Context, /, *, archive: str, identity: str, output: str, as_json: bool) -> int:
    """Decrypt ARCHIVE, a path or a URI, to a zip: whole or not at all."""
    source, target = place(context, "ARCHIVE", archive), place(context, "--output", output)
    if source.folder or target.folder or target.scheme != "file":
        context.fail("ARCHIVE must be one object, and --output a file of this machine.")
    invocation: Invocation = context.obj
    keys = identities(Path(identity))
    transfers = invocation.transfers
    with invocation.stopping(transfers), display(invocation) as shown:
        shown.progress(f"decrypting {place_text(source.uri)}")
        seen, digest = await transfers.blocking(
            lambda: opened(
                transfers.store(source),
                transfers.store(target),
                keys,
                name=place_text(source.uri),
                stopping=lambda: transfers.stopping,
            )
        )
    if as_json:
        invocation.show(json_text({"uri": target.uri, "size": seen.size, "sha256": digest}))
    else:
        invocation.show(facts({"decrypted": place_text(target.uri), "size": size_text(seen.size), "sha256": digest}))
    return DONE
