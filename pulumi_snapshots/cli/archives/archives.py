"""The command `archives`."""

from collections.abc import Sequence

import click

from pulumi_snapshots.archive.listed import ListedArchive, list_archives
from pulumi_snapshots.cli.terminal.arguments import (
    DATABASE,
    command,
    destination_argument,
    flag_option,
)
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.cli.terminal.output import GOOD, size_text
from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from pulumi_snapshots.errors.secrets import shown_file
from pulumi_snapshots.properties.checks import is_usual_database_id
from pulumi_snapshots.storage.destination import Destination, place_text

ARCHIVES_HEADS = (
    "",
    "ARCHIVE",
    "CREATED",
    "SIZE",
    "ENCRYPTED",
    "DRILL PASSED",
    "",
)


@command(
    destination_argument,
    flag_option(
        "--deep", "Read every byte and compare its SHA-256, not only the size."
    ),
    click.option(
        "--expect",
        type=DATABASE,
        multiple=True,
        help="Fail unless DATABASE has a good archive; repeatable.",
    ),
)
async def archives(
    invocation: Invocation,
    *,
    destination: Destination,
    deep: bool,
    expect: Sequence[str],
) -> None:
    """List and verify the archives at DESTINATION.

    Reads their manifests, so it needs no private key, and an API key only for names. The exit code
    is 1 if anything is wrong, or the content of an archive is not proved.
    """
    place = place_text(destination.uri)
    doing = f"{'reading' if deep else 'listing'} {shown_file(place)}"
    with invocation.working(doing=doing, logged=deep):
        shelf = await list_archives(invocation.transfers, destination, deep=deep)
    # as `list` does; the sort keeps the names' order
    shelf.sort(key=_created_at, reverse=True)
    fields = [
        {"uri": each.uri, "manifest": each.manifest, "problem": each.doubt}
        for each in shelf
    ]
    rows = [_row(invocation, each) for each in shelf]
    invocation.listed(ARCHIVES_HEADS, rows, fields, "no archives")
    for database_id in await _missing(invocation, shelf, expect):
        folder = f"{place}/" if destination.folder else place
        hint = f"hint: `{NAME} archive {database_id}/latest {folder}` writes an archive there."
        invocation.fail(
            f"{place} has no good archive of database {database_id}.\n{hint}"
        )
    if any(each.problem for each in shelf):
        invocation.fail(
            "some archives differ from their manifests.\n"
            f"hint: `{NAME} archive DATABASE/VERSION DESTINATION` archives a snapshot "
            "again, while the service has it."
        )
    elif not all(each.is_good for each in shelf):
        invocation.fail(
            "some archives are not proved: their content could not be checked.\n"
            "hint: check each by hand while the service still has its snapshot."
        )


def _created_at(archive: ListedArchive) -> str:
    """When the snapshot of an archive was taken, as it sorts; empty if that is not known."""
    created = archive.manifest.created_at if archive.manifest else None
    return rfc3339(parse_rfc3339(created)) if created else ""


def _row(invocation: Invocation, archive: ListedArchive) -> tuple[str | None, ...]:
    """Show one archive."""
    mark = GOOD[archive.is_good]
    name = place_text(archive.uri)
    manifest = archive.manifest
    if manifest is None:
        return mark, name, None, None, None, None, archive.doubt
    recipients = manifest.recipients
    return (
        mark,
        name,
        invocation.moment(manifest.created_at),
        size_text(manifest.size),
        f"for {len(recipients)}" if recipients else None,
        invocation.moment(manifest.drill.drilled_at if manifest.drill else None),
        archive.doubt,
    )


async def _missing(
    invocation: Invocation, shelf: Sequence[ListedArchive], expected: Sequence[str]
) -> list[str]:
    """List the expected databases that have no good archive, by their ids.

    The service is asked only for what may be a name, or a part of an id.
    """
    good = {
        each.manifest.database_id for each in shelf if each.manifest and each.is_good
    }
    missing = [each for each in expected if each not in good]
    if all(map(is_usual_database_id, missing)):
        return missing
    async with invocation.session() as session:
        ids = [await invocation.database(session, each) for each in missing]
    return [each for each in ids if each not in good]
