"""The command `decrypt`."""

from pathlib import Path

import click

from pulumi_snapshots.cli.terminal.arguments import PLACE, command
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import size_text
from pulumi_snapshots.storage.destination import Destination, place_text
from pulumi_snapshots.storage.encryption import NotDecrypted, identities, opened


@command(
    click.argument("archive", type=PLACE),
    click.option(
        "--identity",
        required=True,
        metavar="FILE",
        help="The private key's file, as age-keygen writes it.",
    ),
    click.option(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        type=PLACE,
        help="Where the zip is written.",
    ),
)
async def decrypt(
    invocation: Invocation, /, *, archive: Destination, identity: str, output: Destination
) -> None:
    """Decrypt ARCHIVE to a zip, whole or not at all. ARCHIVE is a path or a URI."""
    if archive.folder or output.folder or output.scheme != "file":
        invocation.wrong("ARCHIVE must be one object, and --output a file of this machine.")
    name, at, transfers = place_text(archive.uri), place_text(output.uri), invocation.transfers
    files = [archive.file, output.file] if archive.scheme == "file" else []
    if files and all(each.exists() for each in files) and files[0].samefile(files[1]):
        raise NotDecrypted(
            f"{name} is itself the file to write, and the only encrypted one: choose another file"
        )
    keys, (here, there) = identities(Path(identity)), map(transfers.store, (archive, output))
    with invocation.working(transfers, doing=f"decrypting {name}"):
        size, digest = await transfers.blocking(
            lambda: opened(
                here.read(), there.write, keys, name=name, stopping=lambda: transfers.stopping
            )
        )
    facts = {"decrypted": at, "size": size_text(size), "sha256": digest}
    invocation.result({"uri": output.uri, "size": size, "sha256": digest}, facts, at)
