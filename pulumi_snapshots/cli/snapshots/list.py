"""The command `list`, and what it says of old pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.cli.terminal.arguments import DATABASE, DURATION, checked, command, urls_option
from pulumi_snapshots.cli.terminal.invocation import DONE, Invocation
from pulumi_snapshots.cli.terminal.output import age_text, moment, size_text, snapshot_fields
from pulumi_snapshots.lookup.account import FRESH, OfEach, Page, snapshots_of_account
from pulumi_snapshots.lookup.find import find_snapshots
from pulumi_snapshots.lookup.results import ORIGINS, SnapshotInfo, SnapshotQuery
from pulumi_snapshots.snapshot.record import SnapshotRecord

SNAPSHOTS = ("SNAPSHOT", "CREATED", "SIZE", "ORIGIN", "ENGINE")


@command(
    click.argument("database_id", metavar="[DATABASE]", required=False, type=DATABASE),
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
    async with invocation.asking() as session:
        of_each: OfEach
        page, since = None, session.clock.monotonic()
        if typed["database_id"] is not None:
            one = await invocation.database(session, typed["database_id"])
            query, listings = replace(query, database_id=one), session.complete_listings
            of_each = {one: await listings.of_database(one, since, origin=query.origin, unlisted=True)}
        else:  # a program gets no earlier page, since a list has no room for its age
            page = await snapshots_of_account(
                session, origin=query.origin, may_be_kept=not invocation.as_json, tell=invocation.progress
            )
            of_each = page.of_each
        found = await find_snapshots(session, query, since, of_each)
    note_age(invocation, page)
    note_unlisted(invocation, found)
    rows = []
    for each in found:
        size = size_text(each.size) if each.available else "expired"
        rows.append((each.id, moment(each.created_at, invocation.zone), size, each.origin, each.runtime))
    invocation.listed([snapshot_fields(each, urls=urls) for each in found], SNAPSHOTS, rows, "no snapshots")
    return DONE


def note_age(invocation: Invocation, page: Page | None) -> None:
    """Say if a page is an earlier command's."""
    if page is not None and page.kept:
        rest = age_text(FRESH - page.age)
        invocation.note(f"as listed {age_text(page.age)} ago: the account's listing can be requested again in {rest}")


def note_unlisted(invocation: Invocation, shown: Sequence[SnapshotInfo | SnapshotRecord]) -> None:
    """Say which snapshots are shown as runs have noted them, since the service's page is too old to list them."""
    if unlisted := [each.id for each in shown if each.name is None and each.size is None]:
        more = f" and {len(unlisted) - 1} more" if len(unlisted) > 1 else ""
        invocation.warn(f"the service's page is old and lacks {unlisted[0]}{more}: shown as runs have noted it.")
