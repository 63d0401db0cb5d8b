"""The command `databases`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pulumi_snapshots.cli.snapshots.list import note_age
from pulumi_snapshots.cli.terminal.account import (
    databases_of_account,
    snapshots_of_account,
)
from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import fields_of
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.lookup.results import DatabaseInfo
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import NotAllowed
from pulumi_snapshots.service.models import AccountDatabase
from pulumi_snapshots.snapshot.read import newest as newest_of
from pulumi_snapshots.snapshot.record import SnapshotRecord

DATABASE_HEADS = ("DATABASE", "NAME", "ENGINE", "RUNNING", "NEWEST SNAPSHOT", "AGE")
RUNNING_TEXTS = {True: "yes", False: "no", None: "?"}


@command()
async def databases(invocation: Invocation, /) -> None:
    """List the databases, whether each runs, and its newest snapshot.

    Sends three requests, however many databases there are.
    """
    page = None
    running: Mapping[str, bool] = {}
    newest = dict[str, SnapshotRecord | None]()
    async with invocation.asking() as session:
        # a key that may not list the databases is an error
        every = await databases_of_account(session)
        try:
            running = await session.client.database_statuses(patience=BRIEF) or {}
        except NotAllowed as refused:
            invocation.warn(invocation.wording.error_text(refused))
        try:
            page = await snapshots_of_account(session)
            for each in every:
                entries = page.of_each.get(each.id, {}).values()
                newest[each.id] = await newest_of(
                    session, each.id, entries, may_be_empty=False
                )
        except NotAllowed as refused:
            invocation.warn(invocation.wording.error_text(refused))
        now = session.service_clock.now()
    note_age(invocation, page)
    rows = []
    fields = []
    for each in every:
        is_running = running.get(each.id)
        snapshot = newest.get(each.id)
        age = _age(snapshot, now)
        version = "?" if page is None else _version(snapshot)
        age_text = None if age is None else spoken(age)
        described = (each.id, each.name, each.type, RUNNING_TEXTS[is_running])
        rows.append((*described, version, age_text))
        fields.append(
            {
                **_described(each, is_running=is_running),
                "newest_snapshot": snapshot
                and fields_of(snapshot.id, snapshot, SnapshotRecord),
                "newest_age": age,
                "listing_age": page and page.age,
            }
        )
    invocation.listed(DATABASE_HEADS, rows, fields, "no databases")


def _described(database: AccountDatabase, *, is_running: bool | None) -> dict[str, Any]:
    """Return a database by the names of what a lookup finds."""
    # Only `running` is no attribute of a listed database.
    return {
        name: getattr(database, name, is_running) for name in DatabaseInfo.properties()
    }


def _age(snapshot: SnapshotRecord | None, now: datetime) -> float | None:
    """Count the seconds since a snapshot was taken; None if that is not known."""
    if snapshot is None or not snapshot.created_at:
        return None
    return (now - parse_rfc3339(snapshot.created_at)).total_seconds()


def _version(snapshot: SnapshotRecord | None) -> str | None:
    return snapshot.version_id if snapshot else "none"
