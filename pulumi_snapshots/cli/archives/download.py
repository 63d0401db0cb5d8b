"""The command `download`: a snapshot in a file of this machine."""

from __future__ import annotations

from typing import Any

import click

from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.cli.archives.archive import transferred
from pulumi_snapshots.cli.terminal.arguments import checked, json_option, snapshot_argument, timeout_option


@click.command(short_help="Download a snapshot to a file, verified.")
@snapshot_argument
@click.option("--output", "destination", required=True, metavar="FILE", help="The file, or a folder if it ends in /.")
@timeout_option(ArchiveInputs)
@json_option
@click.pass_context
async def download(context: click.Context, /, *, as_json: bool, **typed: Any) -> int:
    """Download a snapshot to a file, verified, whole or not at all; DATABASE/latest is the newest."""
    if typed["destination"] == "-":
        context.fail("--output must be a file, since a download appears only when it is whole.")
    inputs = checked(context, ArchiveInputs, typed, destination="--output")
    if inputs.destination.scheme != "file":
        context.fail("--output must be a file of this machine: `archive` streams to a bucket.")
    return await transferred(context.obj, inputs, "downloaded", as_json=as_json)
