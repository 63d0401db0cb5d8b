"""The command `list`, and what it says of old pages."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.cli.terminal.account import (
    FRESH,
    AccountPage,
    snapshots_of_databases,
)
from pulumi_snapshots.cli.terminal.arguments import (
    DATABASE,
    checked,
    command,
    options_of,
    urls_option,
)
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import fields_of, size_text
from pulumi_snapshots.lookup.find import OfEach, find_snapshots
from pulumi_snapshots.lookup.results import SnapshotInfo, SnapshotQuery
from pulumi_snapshots.properties.checks import spoken
from pulumi_snapshots.snapshot.record import SnapshotRecord

SNAPSHOT_HEADS = ("SNAPSHOT", "CREATED", "SIZE", "ORIGIN", "ENGINE")


@command(
    click.argument("database_id", metavar="[DATABASE]", required=False, type=DATABASE),
    *options_of(SnapshotQuery, "origin", "newer_than", "older_than"),
    urls_option,
    name="list",
)
async def list_(invocation: Invocation, *, urls: bool, **typed: Any) -> None:
    """List the snapshots of a database, or of all, newest first.

    DATABASE is an id, its beginning, or a name.
    """
    query = replace(checked(invocation, SnapshotQuery, typed), with_url=urls)
    databases: list[str] = []
    async with invocation.asking() as session:
        since = session.clock.monotonic()
        origin = query.origin
        if typed["database_id"] is not None:
            database_id = await invocation.database(session, typed["database_id"])
            query = replace(query, database_id=database_id)
            databases = [database_id]
        # A program gets no earlier page, since a list has no room for its age, nor do URLs.
        page = await snapshots_of_databases(
            session,
            databases,
            origin=origin,
            may_be_kept=not (invocation.as_json or urls),
        )
        of_each: OfEach = page.of_each
        if databases:
            of_each = {each: of_each.get(each, {}) for each in databases}
        snapshots = await find_snapshots(session, query, since, of_each)
    note_age(invocation, page)
    note_unlisted(invocation, snapshots)
    rows = []
    for each in snapshots:
        size = size_text(each.size) if each.available else "expired"
        rows.append(
            (
                each.id,
                invocation.moment(each.created_at),
                size,
                each.origin,
                each.runtime,
            )
        )
    fields = [fields_of(each.id, each, SnapshotRecord, urls=urls) for each in snapshots]
    invocation.listed(SNAPSHOT_HEADS, rows, fields, "no snapshots")


def note_age(invocation: Invocation, page: AccountPage | None) -> None:
    """Say that a listing is an earlier command's, and how old it is.

    Args:
        invocation: the command.
        page: the listing; None if there is none.
    """
    if page is not None and page.kept:
        invocation.note(
            f"as listed {spoken(page.age)} ago: the account's listing is requested at most "
            f"once in {FRESH:.0f} s"
        )


def note_unlisted(
    invocation: Invocation, shown: Sequence[SnapshotInfo | SnapshotRecord]
) -> None:
    """Say which snapshots are known from runs' notes, because the service's page is too old.

    Args:
        invocation: the command.
        shown: the snapshots that the command shows.
    """
    unlisted = [each.id for each in shown if each.name is None and each.size is None]
    if unlisted:
        more = f" and {len(unlisted) - 1} more" if len(unlisted) > 1 else ""
        noted = "as runs have noted it, with the time of its request"
        invocation.warn(
            f"the service's page is old and lacks {unlisted[0]}{more}: shown {noted}."
        )
