"""The command `forget`."""

import click

from pulumi_snapshots.archive.record import TIER_LIMIT, Keep
from pulumi_snapshots.archive.shelf import forget as forget_archives
from pulumi_snapshots.cli.archives.archive import OWNER
from pulumi_snapshots.cli.terminal.arguments import command, destination_argument
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import GOOD
from pulumi_snapshots.storage.destination import Destination, place_text


@command(
    destination_argument,
    *(
        click.option(
            f"--keep-{name}", name, metavar="N", type=click.IntRange(1, TIER_LIMIT), help=each.doc
        )
        for name, each in Keep.properties().items()
    ),
    click.option("--dry-run", is_flag=True, help="Only show what would be removed."),
)
async def forget(
    invocation: Invocation, /, *, destination: Destination, dry_run: bool, **tiers: int | None
) -> bool:
    """Remove the archives at DESTINATION that no tier keeps.

    The tiers are those of restic's `forget`, and count for each database. It removes only what `squarecloud-snapshots archive` has
    written, never the newest one of a database, a pinned one, or the last one that a drill has restored.
    """
    if not any(tiers.values()):
        invocation.wrong(
            "Give at least one of " + ", ".join(f"--keep-{name}" for name in tiers) + "."
        )
    with invocation.working(doing=f"listing {place_text(destination.uri)}"):
        found = await forget_archives(
            invocation.transfers, destination, Keep(**tiers), OWNER, dry_run=dry_run
        )
    gone = "would be removed" if dry_run else "removed"
    rows, fields = [], []
    for each in found:
        about, why = each.archive.manifest, invocation.wording.text(each.why)
        created = invocation.moment(about.created_at if about else None)
        rows.append(
            (
                GOOD[not each.failed],
                place_text(each.archive.uri),
                created,
                gone if each.goes else "kept",
                why,
            )
        )
        fields.append({"uri": each.archive.uri, "removed": each.goes, "why": why})
    heads = ("", "ARCHIVE", "CREATED", "ACTION", "REASON")
    invocation.listed(heads, rows, {"dry_run": dry_run, "archives": fields}, "no archives")
    return any(each.failed for each in found)
