"""The command `forget`, which removes archives that its tiers do not keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pulumi_snapshots.archive.retention import TIER_LIMIT, Keep
from pulumi_snapshots.archive.shelf import carry_out, verdicts
from pulumi_snapshots.cli.archives.archive import OWNER
from pulumi_snapshots.cli.terminal.arguments import json_option, place
from pulumi_snapshots.cli.terminal.display import display
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, json_text, moment, table
from pulumi_snapshots.storage.destination import place_text


def _tiers(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command one option for each tier."""
    for name, each in reversed(list(Keep.properties().items())):
        command = click.option(f"--keep-{name}", name, metavar="N", type=click.IntRange(1, TIER_LIMIT), help=each.doc)(
            command
        )
    return command


@click.command(short_help="Remove archives that a rule does not keep.")
@click.argument("destination")
@_tiers
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@json_option
@click.pass_context
async def forget(
    context: click.Context, /, *, destination: str, dry_run: bool, as_json: bool, **tiers: int | None
) -> int:
    """Remove the archives at DESTINATION that no tier keeps, for each database; by the rules of restic's `forget`.

    It removes only what `squarecloud-snapshots archive` has written, never the newest one of a database, a pinned one, or
    the last one that a drill has restored.
    """
    if not any(tiers.values()):
        context.fail("Give at least one of " + ", ".join(f"--keep-{name}" for name in tiers) + ".")
    at, keep = place(context, "DESTINATION", destination), Keep(**tiers)
    invocation: Invocation = context.obj
    transfers = invocation.transfers
    with display(invocation) as shown:
        shown.progress(f"listing {place_text(at.uri)}")
        found = await verdicts(transfers, at, keep, OWNER)
        if not dry_run:
            found = [await carry_out(transfers, each, OWNER) if each.goes else each for each in found]
    gone = "would be removed" if dry_run else "removed"
    rows = [
        (
            MARKS["problem" if each.failed else "ok"],
            place_text(each.archive.uri),
            moment(each.archive.manifest.created_at, invocation.zone) if each.archive.manifest else None,
            gone if each.goes else "kept",
            invocation.wording.text(each.why),
        )
        for each in found
    ]
    if as_json:
        words = invocation.wording.text
        fields = [{"uri": one.archive.uri, "removed": one.goes, "why": words(one.why)} for one in found]
        invocation.show(json_text({"dry_run": dry_run, "archives": fields}))
    elif rows:
        invocation.show(table(("", "ARCHIVE", "CREATED", "ACTION", "REASON"), rows, invocation.out))
    else:
        invocation.say("no archives")
    return FAILED if any(each.failed for each in found) else DONE
