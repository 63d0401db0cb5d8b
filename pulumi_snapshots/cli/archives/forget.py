"""The command `forget`."""

from __future__ import annotations

import click

from pulumi_snapshots.archive.inputs import TIER_LIMIT, Keep
from pulumi_snapshots.archive.shelf import forget as forget_archives
from pulumi_snapshots.cli.archives.archive import OWNER
from pulumi_snapshots.cli.terminal.arguments import PLACE, command
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, moment
from pulumi_snapshots.storage.destination import Destination, place_text

FORGOTTEN = ("", "ARCHIVE", "CREATED", "ACTION", "REASON")


@command(
    click.argument("destination", type=PLACE),
    *(
        click.option(f"--keep-{name}", name, metavar="N", type=click.IntRange(1, TIER_LIMIT), help=each.doc)
        for name, each in Keep.properties().items()
    ),
    click.option("--dry-run", is_flag=True, help="Only show what would be removed."),
    short_help="Remove archives that a rule does not keep.",
)
async def forget(invocation: Invocation, /, *, destination: Destination, dry_run: bool, **tiers: int | None) -> int:
    """Remove the archives at DESTINATION that no tier keeps, for each database; by the rules of restic's `forget`.

    It removes only what `squarecloud-snapshots archive` has written, never the newest one of a database, a pinned one, or
    the last one that a drill has restored.
    """
    if not any(tiers.values()):
        invocation.wrong("Give at least one of " + ", ".join(f"--keep-{name}" for name in tiers) + ".")
    words = invocation.wording.text
    with invocation.working():
        invocation.progress(f"listing {place_text(destination.uri)}")
        found = await forget_archives(invocation.transfers, destination, Keep(**tiers), OWNER, dry_run=dry_run)
    gone = "would be removed" if dry_run else "removed"
    rows, fields = [], []
    for each in found:
        about, why = each.archive.manifest, words(each.why)
        created = moment(about.created_at, invocation.zone) if about else None
        mark, action = MARKS["problem" if each.failed else "ok"], gone if each.goes else "kept"
        rows.append((mark, place_text(each.archive.uri), created, action, why))
        fields.append({"uri": each.archive.uri, "removed": each.goes, "why": why})
    invocation.listed({"dry_run": dry_run, "archives": fields}, FORGOTTEN, rows, "no archives")
    return FAILED if any(each.failed for each in found) else DONE
