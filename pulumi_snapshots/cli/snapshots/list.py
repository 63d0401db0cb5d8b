"""The command `list`: the snapshots of a database or of the account."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.cli.snapshots.databases import page_note
from pulumi_snapshots.cli.terminal.arguments import checked, json_option, urls_option
from pulumi_snapshots.cli.terminal.completing import database_ids
from pulumi_snapshots.cli.terminal.display import ASKING, display
from pulumi_snapshots.cli.terminal.invocation import DONE, Invocation
from pulumi_snapshots.cli.terminal.output import json_text, moment, size_text, snapshot_fields, table
from pulumi_snapshots.lookup.account import snapshots_of_account
from pulumi_snapshots.lookup.find import find_snapshots
from pulumi_snapshots.lookup.inputs import ORIGINS, SnapshotQuery
from pulumi_snapshots.lookup.prefix import whole_database


@click.command("list", short_help="List the snapshots, newest first.")
@click.argument("database_id", metavar="[DATABASE]", required=False, shell_complete=database_ids)
@click.option("--origin", type=click.Choice(ORIGINS), help="Only snapshots of this origin.")
@click.option("--newer-than", metavar="DURATION", help="Only snapshots younger than this, as 90s, 12h or 7d.")
@click.option("--older-than", metavar="DURATION", help="Only snapshots older than this.")
@json_option
@urls_option
@click.pass_context
async def list_(context: click.Context, /, *, as_json: bool, urls: bool, **typed: Any) -> int:
    """List the snapshots of DATABASE, or of the whole account, newest first."""
    query = replace(checked(context, SnapshotQuery, typed), with_url=urls)
    invocation: Invocation = context.obj
    async with invocation.session() as session:
        with display(invocation, logged=False) as shown:
            shown.progress(ASKING)
            page = None
            if query.database_id is not None:
                query = replace(query, database_id=await whole_database(session, query.database_id))
            else:  # a program gets no earlier page, since a list has no room for its age
                page = await snapshots_of_account(
                    session, origin=query.origin, may_be_kept=not as_json, tell=shown.progress
                )
            found = await find_snapshots(session, query, session.clock.monotonic(), page.of_each if page else None)
    if page is not None and page.kept:
        invocation.say(page_note(page))
    if as_json:
        invocation.show(json_text([snapshot_fields(one, urls=urls) for one in found]))
    elif found:
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
        invocation.show(table(("SNAPSHOT", "CREATED", "SIZE", "ORIGIN", "ENGINE"), rows, invocation.out))
    else:
        invocation.say("no snapshots")
    return DONE
