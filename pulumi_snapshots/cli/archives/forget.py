"""The command `forget`, which removes archives that its tiers do not keep."""

from __future__ import annotations

import click

from pulumi_snapshots.archive.inputs import TIER_LIMIT, Keep
from pulumi_snapshots.archive.shelf import forget as forget_archives
from pulumi_snapshots.cli.archives.download import OWNER
from pulumi_snapshots.cli.terminal.arguments import command, place
from pulumi_snapshots.cli.terminal.display import display
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, moment
from pulumi_snapshots.storage.destination import place_text

HEADS = ("", "ARCHIVE", "CREATED", "ACTION", "REASON")


@command(
    click.argument("destination"),
    *(
        click.option(f"--keep-{name}", name, metavar="N", type=click.IntRange(1, TIER_LIMIT), help=each.doc)
        for name, each in Keep.properties().items()
    ),
    click.option("--dry-run", is_flag=True, help="Only show what would be removed."),
    short_help="Remove archives that a rule does not keep.",
)
async def forget(invocation: Invocation, /, *, destination: str, dry_run: bool, **tiers: int | None) -> int:
    """Remove the archives at DESTINATION that no tier keeps, for each database; by the rules of restic's `forget`.

    It removes only what `squarecloud-snapshots archive` has written, never the newest one of a database, a pinned one, or
    the last one that a drill has restored.
    """
    if not any(tiers.values()):
        invocation.wrong("Give at least one of " + ", ".join(f"--keep-{name}" for name in tiers) + ".")
    at, keep = place(invocation, "DESTINATION", destination), Keep(**tiers)
    words = invocation.wording.text
    with display(invocation) as shown:
        shown.progress(f"listing {place_text(at.uri)}")
        found = await forget_archives(invocation.transfers, at, keep, OWNER, dry_run=dry_run)
    gone = "would be removed" if dry_run else "removed"
    rows = [
        (
            MARKS["problem" if each.failed else "ok"],
            place_text(each.archive.uri),
            moment(each.archive.manifest.created_at, invocation.zone) if each.archive.manifest else None,
            gone if each.goes else "kept",
            words(each.why),
        )
        for each in found
    ]
    fields = [{"uri": one.archive.uri, "removed": one.goes, "why": words(one.why)} for one in found]
    invocation.listed({"dry_run": dry_run, "archives": fields}, HEADS, rows, "no archives")
    return FAILED if any(each.failed for each in found) else DONE
