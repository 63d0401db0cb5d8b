"""The command `databases`: the account's databases, whether each runs, and its newest snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.display import asking
from pulumi_snapshots.cli.terminal.invocation import DONE, Invocation
from pulumi_snapshots.cli.terminal.output import age_text, fields_of
from pulumi_snapshots.lookup.account import FRESH, Page, Seen, overview
from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo
from pulumi_snapshots.snapshot.record import SnapshotRecord

HEADS = ("DATABASE", "NAME", "ENGINE", "RUNNING", "NEWEST SNAPSHOT", "AGE")
RUNNING = {True: "yes", False: "no", None: "?"}


@command(short_help="List the databases and their newest snapshots.")
async def databases(invocation: Invocation, /) -> int:
    """List the databases of the account, whether each runs, and its newest snapshot.

    Sends three requests, however many databases there are.
    """
    async with asking(invocation) as (session, shown):
        found = await overview(session, tell=shown.progress)
    for why in found.unknown:
        invocation.warn(invocation.wording.told(why))
    note_age(invocation, found.page)
    rows = [_row(each, found.page) for each in found.seen]
    invocation.listed([_fields(each, found.page) for each in found.seen], HEADS, rows, "no databases")
    return DONE


def note_age(invocation: Invocation, page: Page | None) -> None:
    """Say if a page is an earlier command's."""
    if page is not None and page.kept:
        rest = age_text(FRESH - page.age)
        invocation.remark(f"as listed {age_text(page.age)} ago: the account's listing can be requested again in {rest}")


def note_unlisted(invocation: Invocation, shown: Sequence[SnapshotInfo | SnapshotRecord]) -> None:
    """Say which snapshots are shown as runs have noted them, since the service's page is too old to list them."""
    if unlisted := [each.id for each in shown if each.name is None and each.size is None]:
        more = f" and {len(unlisted) - 1} more" if len(unlisted) > 1 else ""
        invocation.warn(f"the service's page is old and lacks {unlisted[0]}{more}: shown as runs have noted it.")


def _row(each: Seen, page: Page | None) -> tuple[str | None, ...]:
    newest = "?" if page is None else each.newest.version_id if each.newest else "none"
    about = each.database
    return about.id, about.name, about.type, RUNNING[each.running], newest, age_text(each.age)


def _fields(each: Seen, page: Page | None) -> dict[str, Any]:
    described = {name: getattr(each.database, name, each.running) for name in DatabaseInfo.properties()}
    newest = None if each.newest is None else {"id": each.newest.id, **fields_of(each.newest, SnapshotRecord)}
    return {**described, "newest_snapshot": newest, "newest_age": each.age, "listing_age": page and page.age}
