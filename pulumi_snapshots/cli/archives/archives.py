"""The command `archives`: list archives and verify them by their manifests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

import click

from pulumi_snapshots.archive.shelf import Shelved, shelved
from pulumi_snapshots.cli.terminal.arguments import command, database_option, place
from pulumi_snapshots.cli.terminal.display import display
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, moment, size_text
from pulumi_snapshots.lookup.prefix import is_whole_database
from pulumi_snapshots.storage.destination import place_text

HEADS = ("", "ARCHIVE", "CREATED", "SIZE", "ENCRYPTED", "DRILL PASSED", "")


@command(
    click.argument("destination"),
    click.option(
        "--deep", is_flag=True, help="Read every byte and compare its SHA-256; otherwise the size is compared."
    ),
    database_option("--expect", multiple=True, help="Fail unless DATABASE has a good archive there; may be repeated."),
    short_help="List and verify the archives at DESTINATION.",
)
async def archives(invocation: Invocation, /, *, destination: str, deep: bool, expect: Sequence[str]) -> int:
    """List and verify the archives at DESTINATION by their manifests; needs no private key, and an API key only for names.

    The exit code is 1 if anything is wrong with an archive.
    """
    at = place(invocation, "DESTINATION", destination)
    with display(invocation, logged=deep) as shown:
        shown.progress(f"{'reading' if deep else 'listing'} {place_text(at.uri)}")
        found = await shelved(invocation.transfers, at, deep=deep)
    fields = [{"uri": each.uri, "manifest": each.manifest, "problem": each.problem} for each in found]
    invocation.listed(fields, HEADS, [_row(each, invocation.zone) for each in found], "no archives")
    good = {each.manifest.database_id for each in found if each.manifest and not each.problem}
    noted = {each.manifest.database_id or "" for each in found if each.manifest}
    missing = [each for each in await _whole(invocation, expect, noted) if each not in good]
    for each in missing:
        invocation.fail(f"{place_text(at.uri)} has no good archive of database {each}.")
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


def _row(each: Shelved, zone: tzinfo | None) -> tuple[str | None, ...]:
    about, at = each.manifest, place_text(each.uri)
    if about is None:
        return MARKS["problem" if each.problem else "ok"], at, None, None, None, None, each.problem
    sealed = f"for {len(about.recipients)}" if about.recipients else None
    drilled = moment(about.drill.drilled_at, zone) if about.drill else None
    times = moment(about.created_at, zone), size_text(about.size)
    return MARKS["problem" if each.problem else "ok"], at, *times, sealed, drilled, each.problem
