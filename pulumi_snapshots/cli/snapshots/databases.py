"""The command `databases`."""

from __future__ import annotations

from collections.abc import Mapping

from pulumi_snapshots.cli.snapshots.list import note_age
from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import DONE, Invocation
from pulumi_snapshots.cli.terminal.output import age_text, snapshot_fields
from pulumi_snapshots.lookup.account import (
    age_of,
    databases_of_account,
    newest_good,
    running_databases,
    snapshots_of_account,
)
from pulumi_snapshots.lookup.results import DatabaseInfo
from pulumi_snapshots.service.errors import NotAllowed

DATABASES = ("DATABASE", "NAME", "ENGINE", "RUNNING", "NEWEST SNAPSHOT", "AGE")


RUNNING = {True: "yes", False: "no", None: "?"}


@command(short_help="List the databases and their newest snapshots.")
async def databases(invocation: Invocation, /) -> int:
    """List the databases of the account, whether each runs, and its newest snapshot.

    Sends three requests, however many databases there are.
    """
    running: Mapping[str, bool] = {}
    page, newest = None, {}
    async with invocation.asking() as session:
        every = await databases_of_account(session)  # a key that may not list them is an error
        try:
            running = await running_databases(session, every)
        except NotAllowed as refused:
            invocation.warn(invocation.wording.told(refused))
        try:
            page = await snapshots_of_account(session, tell=invocation.progress)
            newest = {each.id: await newest_good(session, each.id, page.of_each.get(each.id, {})) for each in every}
        except NotAllowed as refused:
            invocation.warn(invocation.wording.told(refused))
        now = session.service_clock.now()
    note_age(invocation, page)
    rows, fields = [], []
    for about in every:
        runs, best = running.get(about.id), newest.get(about.id)
        age = None if best is None else age_of(best, now)
        version = "?" if page is None else best.version_id if best else "none"
        rows.append((about.id, about.name, about.type, RUNNING[runs], version, age_text(age)))
        described = {name: getattr(about, name, runs) for name in DatabaseInfo.properties()}
        ages = {"newest_age": age, "listing_age": page and page.age}
        fields.append({**described, "newest_snapshot": best and snapshot_fields(best, urls=False), **ages})
    invocation.listed(fields, DATABASES, rows, "no databases")
    return DONE
