"""The command `download`."""

from collections.abc import Mapping
from typing import Any

import click

from pulumi_snapshots.archive.record import ArchiveInputs
from pulumi_snapshots.cli.archives.archive import copy_snapshot, force_option
from pulumi_snapshots.cli.terminal.arguments import (
    checked,
    command,
    snapshot_argument,
    timeout_option,
)
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.errors.secrets import shown_file


@command(
    snapshot_argument,
    click.option(
        "-o",
        "--output",
        "destination",
        required=True,
        metavar="FILE",
        help="A file, or a folder that ends in /.",
    ),
    force_option,
    timeout_option(ArchiveInputs),
)
async def download(invocation: Invocation, *, force: bool, **typed: Any) -> None:
    """Download a snapshot to a file, verified.

    The file appears whole or not at all. DATABASE/latest is the newest snapshot.
    """
    inputs = checked_output(invocation, typed)
    await copy_snapshot(invocation, inputs, typed, manifest=False, force=force)


def checked_output(invocation: Invocation, typed: Mapping[str, Any]) -> ArchiveInputs:
    """Return the inputs of a download to the file of `--output`.

    Args:
        invocation: the command.
        typed: the arguments as they were typed.

    Raises:
        click.ClickException: an argument is wrong.
    """
    if typed["destination"] == "-":
        invocation.wrong(
            "--output must be a file, since a download appears only when it is whole."
        )
    invocation.wording = invocation.wording.about(destination="--output")
    inputs = checked(invocation, ArchiveInputs, typed)
    if inputs.destination.scheme != "file":
        invocation.wrong(
            "--output must be a file of this machine: `archive` streams to a bucket."
        )
    file = inputs.destination.file
    folder = file if inputs.destination.folder else file.parent
    if not folder.is_dir():
        invocation.wrong(
            f"--output must be in a folder that exists: there is no {shown_file(folder)}."
        )
    return inputs
