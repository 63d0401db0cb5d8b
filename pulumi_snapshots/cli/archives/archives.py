"""The command `archives`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pulumi_snapshots.archive.manifest import Manifest
from pulumi_snapshots.archive.shelf import shelved
from pulumi_snapshots.cli.terminal.arguments import DATABASE, PLACE, command
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, moment, size_text
from pulumi_snapshots.lookup.prefix import is_whole_database
from pulumi_snapshots.storage.destination import Destination, place_text

SHELVED = ("", "ARCHIVE", "CREATED", "SIZE", "ENCRYPTED", "DRILL PASSED", "")


@command(
    click.argument("destination", type=PLACE),
    click.option(
        "--deep", is_flag=True, help="Read every byte and compare its SHA-256; otherwise the size is compared."
    ),
    click.option(
        "--expect", type=DATABASE, multiple=True, help="Fail unless DATABASE has a good archive there; may be repeated."
    ),
    short_help="List and verify the archives at DESTINATION.",
)
async def archives(invocation: Invocation, /, *, destination: Destination, deep: bool, expect: Sequence[str]) -> int:
    """List and verify the archives at DESTINATION by their manifests; needs no private key, and an API key only for names.

    The exit code is 1 if anything is wrong with an archive.
    """
    at = place_text(destination.uri)
    with invocation.working(logged=deep):
        invocation.progress(f"{'reading' if deep else 'listing'} {at}")
        found = await shelved(invocation.transfers, destination, deep=deep)

    def row(uri: str, about: Manifest | None, problem: str) -> tuple[str | None, ...]:
        known: tuple[str | None, ...] = (None,) * 4
        if about:
            drilled = moment(about.drill.drilled_at if about.drill else None, invocation.zone)
            sealed = f"for {len(about.recipients)}" if about.recipients else None
            known = moment(about.created_at, invocation.zone), size_text(about.size), sealed, drilled
        return MARKS["problem" if problem else "ok"], place_text(uri), *known, problem

    rows = [row(each.uri, each.manifest, each.problem) for each in found]
    fields = [{"uri": each.uri, "manifest": each.manifest, "problem": each.problem} for each in found]
    invocation.listed(fields, SHELVED, rows, "no archives")
    good = {each.manifest.database_id for each in found if each.manifest and not each.problem}
    noted = {each.manifest.database_id or "" for each in found if each.manifest}
    missing = [each for each in await _whole(invocation, expect, noted) if each not in good]
    for each in missing:
        invocation.fail(f"{at} has no good archive of database {each}.")
    if any(each.problem for each in found):
        invocation.fail(
            "not every archive is as its manifest says.\n"
            f"hint: `{NAME} archive DATABASE/VERSION DESTINATION` writes one again, as long as the service has its snapshot."
        )
        return FAILED
    return FAILED if missing else DONE


async def _whole(invocation: Invocation, expect: Sequence[str], noted: set[str]) -> list[str]:
    """The ids of the databases that were typed; only a name, or a part of an id, needs the service."""
    if all(each in noted or is_whole_database(each) for each in expect):
        return [*expect]
    async with invocation.session() as session:
        return [each if each in noted else await invocation.database(session, each) for each in expect]
