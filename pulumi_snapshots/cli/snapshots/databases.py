"""The command `databases`."""

from collections.abc import Mapping

from pulumi_snapshots.cli.snapshots.list import note_age
from pulumi_snapshots.cli.terminal.account import databases_of_account, snapshots_of_account
from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import fields_of
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.lookup.results import DatabaseInfo
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import NotAllowed
from pulumi_snapshots.snapshot.read import newest as newest_of
from pulumi_snapshots.snapshot.record import SnapshotRecord

DATABASE_HEADS = ("DATABASE", "NAME", "ENGINE", "RUNNING", "NEWEST SNAPSHOT", "AGE")
RUNNING_TEXTS = {True: "yes", False: "no", None: "?"}


@command()
async def databases(invocation: Invocation, /) -> None:
    """List the databases, whether each runs, and its newest snapshot.

    Sends three requests, however many databases there are.
    """
    running: Mapping[str, bool] = {}
    page, newest = None, dict[str, SnapshotRecord | None]()
    async with invocation.asking() as session:
        every = await databases_of_account(session)  # a key that may not list them is an error
        try:
            running = await session.client.database_statuses(patience=BRIEF) or {}
        except NotAllowed as refused:
            invocation.warn(invocation.wording.told(refused))
        try:
            page = await snapshots_of_account(session)
            for each in every:
                entries = page.of_each.get(each.id, {}).values()
                newest[each.id] = await newest_of(session, each.id, entries, may_be_empty=False)
        except NotAllowed as refused:
            invocation.warn(invocation.wording.told(refused))
        now = session.service_clock.now()
    note_age(invocation, page)
    rows, fields = [], []
    for about in every:
        runs, best = running.get(about.id), newest.get(about.id)
        age = (
            (now - parse_rfc3339(best.created_at)).total_seconds()
            if best and best.created_at
            else None
        )
        version = "?" if page is None else best.version_id if best else "none"
        old = None if age is None else spoken(age)
        rows.append((about.id, about.name, about.type, RUNNING_TEXTS[runs], version, old))
        described = {name: getattr(about, name, runs) for name in DatabaseInfo.properties()}
        ages = {"newest_age": age, "listing_age": page and page.age}
        fields.append(
            {
                **described,
                "newest_snapshot": best and fields_of(best.id, best, SnapshotRecord),
                **ages,
            }
        )
    invocation.listed(DATABASE_HEADS, rows, fields, "no databases")
