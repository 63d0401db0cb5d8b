"""The command `guards`."""

import click

from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.guard.book import GuardBook, Guarded, consult
from pulumi_snapshots.run.settings import Settings

NAMED = 3  # changes that a row of `guards` names


@command(click.argument("guard", required=False))
async def guards(invocation: Invocation, /, *, guard: str | None) -> None:
    """List the snapshots that guards took in the last 30 days.

    Newest first, with what has changed after each. GUARD is the end of a guard's name, such as shop or prod/shop. Sends no
    request and needs no API key: it shows what runs on this machine, or in the shared state of all machines, have noted.
    """
    ledger = invocation.make_ledger(Settings.read({}, invocation.environment), invocation.clock)
    noted = await consult(ledger, GuardBook.history)
    found = [each for each in noted if guard is None or f"/{each.guard}".endswith(f"/{guard}")]
    if noted and not found:
        known = ", ".join(sorted({each.guard for each in noted}))
        invocation.fail(
            f"no guard {guard!r} has guarded a change in the last 30 days. Those that have: {known}."
        )
        return
    names = Guarded.properties()
    fields = [
        {name: getattr(each, name) for name in names} | {"snapshot": each.id} for each in found
    ]
    rows = [
        (
            each.id or f"{each.database_id}: none",
            each.guard,
            invocation.moment(each.noted_at),
            changed(each),
        )
        for each in found
    ]
    heads = ("SNAPSHOT", "GUARD", "GUARDING SINCE", "CHANGED")
    invocation.listed(heads, rows, fields, "no guard has guarded a change in the last 30 days")


def changed(each: Guarded) -> str:
    """What has changed, in a few words: a run whose changes have all failed, or were never made, has none."""
    more = f" and {len(each.changes) - NAMED} more" if len(each.changes) > NAMED else ""
    return ", ".join(each.changes[:NAMED]) + more or "nothing: the change failed, or did not happen"
