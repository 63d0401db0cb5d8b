"""The command `databases`."""

from __future__ import annotations

from pulumi_snapshots.cli.snapshots.list import note_age
from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import DONE, Invocation
from pulumi_snapshots.cli.terminal.output import age_text, snapshot_fields
from pulumi_snapshots.lookup.account import overview
from pulumi_snapshots.lookup.results import DatabaseInfo

DATABASES = ("DATABASE", "NAME", "ENGINE", "RUNNING", "NEWEST SNAPSHOT", "AGE")


RUNNING = {True: "yes", False: "no", None: "?"}


@command(short_help="List the databases and their newest snapshots.")
async def databases(invocation: Invocation, /) -> int:
    """List the databases of the account, whether each runs, and its newest snapshot.

    Sends three requests, however many databases there are.
    """
    async with invocation.asking() as session:
        found = await overview(session, tell=invocation.progress)
    for why in found.unknown:
        invocation.warn(invocation.wording.told(why))
    note_age(invocation, found.page)
    rows, fields = [], []
    for each in found.seen:
        about, newest = each.database, each.newest
        version = "?" if found.page is None else newest.version_id if newest else "none"
        rows.append((about.id, about.name, about.type, RUNNING[each.running], version, age_text(each.age)))
        described = {name: getattr(about, name, each.running) for name in DatabaseInfo.properties()}
        ages = {"newest_age": each.age, "listing_age": found.page and found.page.age}
        fields.append({**described, "newest_snapshot": newest and snapshot_fields(newest, urls=False), **ages})
    invocation.listed(fields, DATABASES, rows, "no databases")
    return DONE
