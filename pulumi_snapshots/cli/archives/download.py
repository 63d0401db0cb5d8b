"""The command `download`."""

from typing import Any

import click

from pulumi_snapshots.archive.record import ArchiveInputs
from pulumi_snapshots.cli.archives.archive import copied
from pulumi_snapshots.cli.terminal.arguments import (
    checked,
    command,
    snapshot_argument,
    timeout_option,
)
from pulumi_snapshots.cli.terminal.invocation import Invocation


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
