"""The command `list`: the snapshots of a database or of the account."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.cli.snapshots.databases import note_age, note_unlisted
from pulumi_snapshots.cli.terminal.arguments import DURATION, checked, command, urls_option
from pulumi_snapshots.cli.terminal.completing import database_ids
from pulumi_snapshots.cli.terminal.display import asking
from pulumi_snapshots.cli.terminal.invocation import DONE, Invocation
from pulumi_snapshots.cli.terminal.output import moment, size_text, snapshot_fields
from pulumi_snapshots.lookup.account import snapshots_of_account
from pulumi_snapshots.lookup.find import OfEach, find_snapshots
from pulumi_snapshots.lookup.results import ORIGINS, SnapshotQuery

HEADS = ("SNAPSHOT", "CREATED", "SIZE", "ORIGIN", "ENGINE")


@command(
    click.argument("database_id", metavar="[DATABASE]", required=False, shell_complete=database_ids),
    click.option("--origin", type=click.Choice(ORIGINS), help="Only snapshots of this origin."),
    click.option("--newer-than", type=DURATION, help="Only snapshots younger than this, as 90s, 12h or 7d."),
    click.option("--older-than", type=DURATION, help="Only snapshots older than this."),
    urls_option,
    name="list",
    short_help="List the snapshots, newest first.",
)
async def list_(invocation: Invocation, /, *, urls: bool, **typed: Any) -> int:
    """List the snapshots of DATABASE, or of the whole account, newest first.

    DATABASE is an id, its beginning, or a name.
    """
    query = replace(checked(invocation, SnapshotQuery, typed), with_url=urls)
    async with asking(invocation) as (session, shown):
        of_each: OfEach
        page, since = None, session.clock.monotonic()
        if typed["database_id"] is not None:
            one = await invocation.database(session, typed["database_id"])
            query, listings = replace(query, database_id=one), session.complete_listings
            of_each = {one: await listings.of_database(one, since, origin=query.origin, unlisted=True)}
        else:  # a program gets no earlier page, since a list has no room for its age
            page = await snapshots_of_account(
                session, origin=query.origin, may_be_kept=not invocation.as_json, tell=shown.progress
            )
            of_each = page.of_each
        found = await find_snapshots(session, query, since, of_each)
    note_age(invocation, page)
    note_unlisted(invocation, found)
    rows = [
        (
            one.id,
            moment(one.created_at, invocation.zone),
            size_text(one.size) if one.available else "expired",
            one.origin,
            one.runtime,
        )
        for one in found
    ]
    invocation.listed([snapshot_fields(one, urls=urls) for one in found], HEADS, rows, "no snapshots")
    return DONE
