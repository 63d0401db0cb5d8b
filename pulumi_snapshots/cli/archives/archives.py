"""The command `archives`: list archives and verify them by their manifests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import tzinfo

import click

from pulumi_snapshots.archive.shelf import Shelved, shelved
from pulumi_snapshots.cli.terminal.arguments import json_option, place
from pulumi_snapshots.cli.terminal.completing import database_ids
from pulumi_snapshots.cli.terminal.display import display
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED
from pulumi_snapshots.cli.terminal.output import MARKS, json_text, moment, size_text, table
from pulumi_snapshots.storage.destination import place_text


@click.command(short_help="List and verify the archives at DESTINATION.")
@click.argument("destination")
@click.option("--deep", is_flag=True, help="Read every byte and compare its SHA-256; otherwise the size is compared.")
@click.option(
    "--expect",
    metavar="DATABASE",
    multiple=True,
    shell_complete=database_ids,
    help="Fail unless DATABASE has a good archive there; may be repeated.",
)
@json_option
@click.pass_context
async def archives(
    context: click.Context, /, *, destination: str, deep: bool, expect: Sequence[str], as_json: bool
) -> int:
    """List and verify the archives at DESTINATION by their manifests; needs no API key and no private key.

    The exit code is 1 if anything is wrong with one.
    """
    at, invocation = place(context, "DESTINATION", destination), context.obj
    with display(invocation, logged=deep) as shown:
        shown.progress(f"{'reading' if deep else 'listing'} {place_text(at.uri)}")
        found = await shelved(invocation.transfers, at, deep=deep)
    if as_json:
        invocation.show(json_text([{**asdict(each), "manifest": each.manifest} for each in found]))
    elif found:
        heads = ("", "ARCHIVE", "CREATED", "SIZE", "ENCRYPTED", "DRILL PASSED", "")
        invocation.show(table(heads, [_shelved_row(each, invocation.zone) for each in found], invocation.out))
    else:
        invocation.say("no archives")
    good = {each.manifest.database_id for each in found if each.manifest and not each.problem}
    missing = [each for each in expect if each not in good]
    for each in missing:
        invocation.fail(f"{place_text(at.uri)} has no good archive of database {each}.")
    if not any(each.problem for each in found):
        return FAILED if missing else DONE
    invocation.fail(
        "not every archive is as its manifest says.\n"
        "hint: `squarecloud-snapshots archive DATABASE/VERSION DESTINATION` writes one again, as long as the service has "
        "its snapshot."
    )
    return FAILED


def _shelved_row(each: Shelved, zone: tzinfo | None) -> tuple[str | None, ...]:
    about = each.manifest
    sealed = f"for {len(about.recipients)}" if about and about.recipients else None
    created, size = (moment(about.created_at, zone), size_text(about.size)) if about else (None, None)
    drilled = moment(about.drill.drilled_at, zone) if about and about.drill else None
    return (
        MARKS["problem" if each.problem else "ok"],
        place_text(each.uri),
        created,
        size,
        sealed,
        drilled,
        each.problem,
    )
