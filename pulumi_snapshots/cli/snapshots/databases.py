"""The command `databases`: the account's databases, whether each runs, and its newest snapshot."""

from __future__ import annotations

from typing import Any

import click

from pulumi_snapshots.cli.terminal.arguments import json_option
from pulumi_snapshots.cli.terminal.display import ASKING, display
from pulumi_snapshots.cli.terminal.invocation import DONE, Invocation
from pulumi_snapshots.cli.terminal.output import age_text, fields_of, json_text, table
from pulumi_snapshots.lookup.account import FRESH, Page, Seen, overview
from pulumi_snapshots.lookup.results import DatabaseInfo
from pulumi_snapshots.snapshot.record import SnapshotRecord

RUNNING = {True: "yes", False: "no", None: "?"}


@click.command(short_help="List the databases and their newest snapshots.")
@json_option
@click.pass_obj
async def databases(invocation: Invocation, *, as_json: bool) -> int:
    """List the databases of the account, whether each runs, and its newest snapshot.

    Sends three requests, however many databases there are.
    """
    async with invocation.session() as session:
        with display(invocation, logged=False) as shown:
            shown.progress(ASKING)
            found = await overview(session, tell=shown.progress)
    for why in found.unknown:
        invocation.warn(invocation.wording.told(why))
    if as_json:
        invocation.show(json_text([_fields(each, found.page) for each in found.seen]))
        return DONE
    if found.page is not None and found.page.kept:
        invocation.say(page_note(found.page))
    if found.seen:
        heads = ("DATABASE", "NAME", "ENGINE", "RUNNING", "NEWEST SNAPSHOT", "AGE")
        invocation.show(table(heads, [_row(each, found.page) for each in found.seen], invocation.out))
    else:
        invocation.say("no databases")
    return DONE


def page_note(page: Page) -> str:
    """Says that a page is an earlier command's."""
    rest = age_text(FRESH - page.age)
    return f"as listed {age_text(page.age)} ago: the account's listing can be requested again in {rest}"


def _row(each: Seen, page: Page | None) -> tuple[str | None, ...]:
    newest = "?" if page is None else each.newest.version_id if each.newest else "none"
    about = each.database
    return about.id, about.name, about.type, RUNNING[each.running], newest, age_text(each.age)


def _fields(each: Seen, page: Page | None) -> dict[str, Any]:
    described = {name: getattr(each.database, name, each.running) for name in DatabaseInfo.properties()}
    newest = None if each.newest is None else {"id": each.newest.id, **fields_of(each.newest, SnapshotRecord)}
    return {**described, "newest_snapshot": newest, "newest_age": each.age, "listing_age": page and page.age}
