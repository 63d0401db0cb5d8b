"""The command `guards`: which snapshots have guarded what, for going back to one."""

from __future__ import annotations

from typing import Any

import click

from pulumi_snapshots.cli.terminal.arguments import json_option
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, Invocation
from pulumi_snapshots.cli.terminal.output import json_text, moment, table
from pulumi_snapshots.guard.book import GuardBook, Guarded, consult

NAMED = 3
"""Changes that a row names."""


@click.command(short_help="List what guards have guarded, newest first.")
@click.argument("guard", required=False)
@json_option
@click.pass_obj
async def guards(invocation: Invocation, *, guard: str | None, as_json: bool) -> int:
    """List the snapshots of the last 30 days that guarded a change, newest first, and what has changed after each.

    GUARD is the end of a guard's name, such as shop or prod/shop. Sends no request: it shows what runs on this machine, or in
    the shared state of all machines, have noted.
    """
    async with invocation.session() as session:
        noted = await consult(session.ledger, GuardBook.history)
    found = [each for each in noted if guard is None or f"/{each.guard}".endswith(f"/{guard}")]
    if noted and not found:
        known = ", ".join(sorted({each.guard for each in noted}))
        invocation.fail(f"no guard {guard!r} has noted anything. Those that have: {known}.")
        return FAILED
    if as_json:
        invocation.show(json_text([_fields(each) for each in found]))
    elif found:
        rows = [
            (each.id or f"{each.database_id}: none", each.guard, moment(each.noted_at, invocation.zone), _changed(each))
            for each in found
        ]
        invocation.show(table(("SNAPSHOT", "GUARD", "GUARDING SINCE", "CHANGED"), rows, invocation.out))
    else:
        invocation.say("no guard has noted anything")
    return DONE


def _fields(each: Guarded) -> dict[str, Any]:
    return {"snapshot": each.id, **{name: getattr(each, name) for name in Guarded.properties() if name != "snapshot"}}


def _changed(each: Guarded) -> str:
    """What has changed, in a few words: a run whose changes have all failed, or were never made, has none."""
    more = f" and {len(each.changes) - NAMED} more" if len(each.changes) > NAMED else ""
    return ", ".join(each.changes[:NAMED]) + more or "nothing: the change failed, or did not happen"
