"""The command `decrypt`."""

from collections.abc import Iterator
from pathlib import Path

import click

from pulumi_snapshots.cli.archives.archive import force_option
from pulumi_snapshots.cli.terminal.arguments import PLACE, command
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import size_text
from pulumi_snapshots.errors.secrets import shown_file
from pulumi_snapshots.storage.destination import Destination, place_text
from pulumi_snapshots.storage.encryption import NotDecrypted, decrypt_object, identities
from pulumi_snapshots.storage.store import Buffer


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
    force_option,
)
async def decrypt(
    invocation: Invocation,
    *,
    archive: Destination,
    identity: str,
    output: Destination,
    force: bool,
) -> None:
    """Decrypt ARCHIVE to a zip, whole or not at all. ARCHIVE is a path or a URI."""
    if archive.folder or output.folder or output.scheme != "file":
        invocation.wrong(
            "ARCHIVE must be one object, and --output a file of this machine."
        )
    name = place_text(archive.uri)
    place = place_text(output.uri)
    transfers = invocation.transfers
    _refuse_to_overwrite(archive, output, force=force)
    keys = identities(Path(identity))

    def until_it_appears(blocks: Iterator[Buffer]) -> Iterator[Buffer]:
        yield from blocks
        _refuse_to_overwrite(archive, output, force=force)

    with invocation.working(transfers, doing=f"decrypting {shown_file(name)}"):
        size, digest = await transfers.blocking(
            lambda: decrypt_object(
                transfers.store(archive).read(),
                lambda blocks: transfers.store(output).write(until_it_appears(blocks)),
                keys,
                name=name,
                stopping=lambda: transfers.stopping,
            )
        )
    fields = {"uri": output.uri, "size": size, "sha256": digest}
    facts = {"decrypted": place, "size": size_text(size), "sha256": digest}
    invocation.result(fields, facts, place)


def _refuse_to_overwrite(
    archive: Destination, output: Destination, *, force: bool
) -> None:
    """Refuse to write over the archive itself, or without `force` over any other file.

    Raises:
        NotDecrypted: the file must not be written.
    """
    file = output.file
    if not file.exists():
        return
    is_local = archive.scheme == "file" and archive.file.exists()
    if is_local and archive.file.samefile(file):
        raise NotDecrypted(
            f"{archive.file} is itself the file to write, and the only encrypted one: "
            "choose another file"
        )
    if not force:
        raise NotDecrypted(
            f"{file} is there already: choose another file, or add --force to overwrite it"
        )
