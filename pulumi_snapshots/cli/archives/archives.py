"""The command `archives`."""

from collections.abc import Sequence

import click

from pulumi_snapshots.archive.shelf import Shelved, shelved
from pulumi_snapshots.cli.terminal.arguments import DATABASE, command, destination_argument
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.cli.terminal.output import GOOD, size_text
from pulumi_snapshots.properties.checks import is_usual_database_id
from pulumi_snapshots.storage.destination import Destination, place_text

HEADS = ("", "ARCHIVE", "CREATED", "SIZE", "ENCRYPTED", "DRILL PASSED", "")


@command(
    destination_argument,
    click.option(
        "--deep", is_flag=True, help="Read every byte and compare its SHA-256, not only the size."
    ),
    click.option(
        "--expect",
        type=DATABASE,
        multiple=True,
        help="Fail unless DATABASE has a good archive; repeatable.",
    ),
)
async def archives(
    invocation: Invocation, /, *, destination: Destination, deep: bool, expect: Sequence[str]
) -> None:
    """List and verify the archives at DESTINATION.

    Reads their manifests, so it needs no private key, and an API key only for names. The exit code is 1 if anything is wrong.
    """
    at = place_text(destination.uri)
    with invocation.working(doing=f"{'reading' if deep else 'listing'} {at}", logged=deep):
        found = await shelved(invocation.transfers, destination, deep=deep)

    def row(each: Shelved) -> tuple[str | None, ...]:
        known: tuple[str | None, ...] = (None,) * 4
        if about := each.manifest:
            drilled = invocation.moment(about.drill.drilled_at if about.drill else None)
            sealed = f"for {len(about.recipients)}" if about.recipients else None
            known = invocation.moment(about.created_at), size_text(about.size), sealed, drilled
        return GOOD[not each.problem], place_text(each.uri), *known, each.problem

    fields = [
        {"uri": each.uri, "manifest": each.manifest, "problem": each.problem} for each in found
    ]
    invocation.listed(HEADS, [row(each) for each in found], fields, "no archives")
    good = {each.manifest.database_id for each in found if each.manifest and not each.problem}
    missing = [one for one in expect if one not in good]
    if not all(map(is_usual_database_id, missing)):  # a name, or a part of an id
        async with invocation.session() as session:
            missing = [
                each
                for one in missing
                if (each := await invocation.database(session, one)) not in good
            ]
    for database_id in missing:
        hint = f"hint: `{NAME} archive {database_id}/latest {at}{'/' * destination.folder}` writes one."
        invocation.fail(f"{at} has no good archive of database {database_id}.\n{hint}")
    if any(each.problem for each in found):
        hint = f"hint: `{NAME} archive DATABASE/VERSION DESTINATION` writes one again, while the service has its snapshot."
        invocation.fail(f"not every archive is as its manifest says.\n{hint}")
