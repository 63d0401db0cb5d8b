"""The command `create`."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import click

from pulumi_snapshots.archive.record import ArchiveInputs
from pulumi_snapshots.cli.archives.archive import copied, copy_snapshot, force_option
from pulumi_snapshots.cli.archives.download import checked_output
from pulumi_snapshots.cli.snapshots.show import show_record
from pulumi_snapshots.cli.terminal import arguments
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.properties.checks import HOUR, LATEST
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.create import create as create_snapshot
from pulumi_snapshots.snapshot.record import SnapshotInputs, SnapshotRecord


@arguments.command(
    arguments.database_argument,
    *arguments.options_of(SnapshotInputs, "reuse_within"),
    arguments.timeout_option(SnapshotInputs),
    click.option(
        "-o",
        "--output",
        metavar="FILE",
        help="Also download the snapshot to a file, or into a folder that ends in /.",
    ),
    click.option(
        "--archive",
        metavar="DESTINATION",
        help="Also archive the snapshot to a path, s3://, gs:// or az://.",
    ),
    force_option,
    arguments.notify_option,
    arguments.urls_option,
)
async def create_command(
    invocation: Invocation,
    *,
    urls: bool,
    output: str | None,
    archive: str | None,
    force: bool,
    **typed: Any,
) -> None:
    """Take a snapshot and wait for it.

    DATABASE is an id, its beginning, or a name. Sends at most one request, and prints only what was
    requested after the command was typed, unless you add --reuse-within: then a snapshot of that
    time will do, and one that is under way is waited for, no matter who has requested it. With
    --output or --archive it ends when the copy is whole.
    """
    inputs = arguments.checked(invocation, SnapshotInputs, typed)
    copy = _checked_copy(invocation, typed["database_id"], output, archive)
    if force and copy is None:
        invocation.wrong("--force needs --output or --archive.")

    async def prepared(session: Session) -> SnapshotInputs:
        return replace(
            inputs, database_id=await invocation.database(session, typed["database_id"])
        )

    take = partial(create_snapshot, needs_url=urls)
    record = await invocation.recorded(
        typed["database_id"], prepared, take, to_wait=_arguments_to_wait
    )
    if copy is not None and not invocation.failures:
        await _copy(invocation, record, copy, manifest=archive is not None, force=force)
    elif invocation.as_json:
        show_record(invocation, record, urls=urls)
    elif not invocation.failures:
        show_record(invocation, record, urls=urls)
        download = f"{NAME} download {record.id} --output {record.database_id}.zip"
        invocation.note(f"hint: `{download}` downloads it.")


def _checked_copy(
    invocation: Invocation,
    database_id: str,
    output: str | None,
    archive: str | None,
) -> ArchiveInputs | None:
    """Where the snapshot is copied to; None if it is not. Raises click's errors."""
    if output is not None and archive is not None:
        invocation.wrong("--output and --archive exclude each other.")
    source = {"database_id": database_id, "version_id": LATEST}
    if output is not None:
        return checked_output(invocation, {**source, "destination": output})
    if archive is None:
        return None
    invocation.wording = invocation.wording.about(destination="--archive")
    return arguments.checked(
        invocation, ArchiveInputs, {**source, "destination": archive}
    )


async def _copy(
    invocation: Invocation,
    record: SnapshotRecord,
    copy: ArchiveInputs,
    *,
    manifest: bool,
    force: bool,
) -> None:
    """Copy the snapshot; if that fails, say by which command the copying can be repeated."""
    source = {"database_id": record.database_id, "version_id": record.version_id}
    try:
        await copy_snapshot(invocation, copy, source, manifest=manifest, force=force)
    except ProviderError:
        again = f"{NAME} download {record.id} --output FILE"
        if manifest:
            again = f"{NAME} archive {record.id} DESTINATION"
        done = copied(manifest=manifest)
        invocation.warn(
            f"snapshot {record.id} was taken and not {done}; `{again}` repeats that."
        )
        raise


def _arguments_to_wait(
    _typed: Sequence[str], record: SnapshotRecord, age: float
) -> list[str]:
    """The arguments of the command that waits for a snapshot, requested `age` seconds ago."""
    hours = math.floor(age / HOUR) + 1
    return ["create", record.database_id, "--reuse-within", f"{hours}h"]
