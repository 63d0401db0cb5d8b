"""The command `forget`."""

import click

from pulumi_snapshots.archive.record import TIER_LIMIT, Keep
from pulumi_snapshots.archive.removal import Verdict, forget_archives
from pulumi_snapshots.cli.archives.archive import COMMAND_OWNER
from pulumi_snapshots.cli.terminal.arguments import (
    command,
    destination_argument,
    flag_option,
)
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import GOOD
from pulumi_snapshots.errors.secrets import shown_file
from pulumi_snapshots.storage.destination import Destination, place_text

FORGET_HEADS = ("", "ARCHIVE", "CREATED", "ACTION", "REASON")


@command(
    destination_argument,
    *(
        click.option(
            f"--keep-{name}",
            name,
            metavar="N",
            type=click.IntRange(1, TIER_LIMIT),
            help=each.doc,
        )
        for name, each in Keep.properties().items()
    ),
    flag_option("--dry-run", "Only show what would be removed."),
)
async def forget(
    invocation: Invocation,
    *,
    destination: Destination,
    dry_run: bool,
    **tiers: int | None,
) -> None:
    """Remove the archives at DESTINATION that no tier keeps.

    The tiers are those of restic's `forget`, and count for each database. It removes only what
    `squarecloud-snapshots archive` has written, never the newest one of a database, a pinned one,
    or the last one that a drill has restored.
    """
    if not any(tiers.values()):
        options = ", ".join(f"--keep-{name}" for name in tiers)
        invocation.wrong(f"Give at least one of {options}.")
    place = place_text(destination.uri)
    with invocation.working(doing=f"listing {shown_file(place)}"):
        verdicts = await forget_archives(
            invocation.transfers,
            destination,
            Keep(**tiers),
            COMMAND_OWNER.id,
            dry_run=dry_run,
        )
    gone = "would be removed" if dry_run else "removed"
    rows = [_row(invocation, each, gone) for each in verdicts]
    fields = [
        {"uri": each.archive.uri, "removed": each.goes, "why": row[-1]}
        for each, row in zip(verdicts, rows, strict=True)
    ]
    document = {"dry_run": dry_run, "archives": fields}
    invocation.listed(FORGET_HEADS, rows, document, "no archives")
    invocation.has_failed = any(each.failed for each in verdicts)


def _row(invocation: Invocation, verdict: Verdict, gone: str) -> tuple[str | None, ...]:
    """Show one verdict; `gone` is what happens to an archive that goes."""
    manifest = verdict.archive.manifest
    return (
        GOOD[not verdict.failed],
        place_text(verdict.archive.uri),
        invocation.moment(manifest.created_at if manifest else None),
        gone if verdict.goes else "kept",
        invocation.wording.text(verdict.why or ""),
    )
