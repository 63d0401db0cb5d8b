"""The command `guards`."""

import click

from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.guard.book import GuardBook, Guarded, consult
from pulumi_snapshots.run.settings import Settings

NAMED_CHANGES = 3
"""Changes that a row of `guards` names."""


@command(click.argument("guard", default=""))
async def guards(invocation: Invocation, *, guard: str) -> None:
    """List the snapshots that guards took in the last 30 days.

    Newest first, with what has changed after each. GUARD is the end of a guard's name, such as shop
    or prod/shop. Sends no request and needs no API key: it shows what runs on this machine, or in
    the shared state of all machines, have noted.
    """
    ledger = invocation.make_ledger(
        Settings.read({}, invocation.environment), invocation.clock
    )
    noted = await consult(ledger, GuardBook.history)
    ending = f"/{guard}" if guard else ""
    entries = [each for each in noted if f"/{each.guard}".endswith(ending)]
    if noted and not entries:
        invocation.note_typed_id(guard)
        known = ", ".join(sorted({each.guard for each in noted}))
        unknown = f"no guard {guard!r} has guarded a change in the last 30 days"
        invocation.fail(f"{unknown}. Those that have: {known}.")
        return
    fields = [{**vars(each), "snapshot": each.id} for each in entries]
    rows = [
        (
            each.id or f"{each.database_id}: none",
            each.guard,
            invocation.moment(each.noted_at),
            changes_text(each),
        )
        for each in entries
    ]
    heads = ("SNAPSHOT", "GUARD", "GUARDING SINCE", "CHANGED")
    invocation.listed(
        heads, rows, fields, "no guard has guarded a change in the last 30 days"
    )


def changes_text(guarded: Guarded) -> str:
    """Return the names of the changes that a snapshot has guarded, or why there are none.

    Without one, the run's changes have all failed, or were never made.

    Args:
        guarded: the snapshot.
    """
    changes = guarded.changes
    if not changes:
        return "nothing: the change failed, or did not happen"
    more = (
        f" and {len(changes) - NAMED_CHANGES} more"
        if len(changes) > NAMED_CHANGES
        else ""
    )
    return ", ".join(changes[:NAMED_CHANGES]) + more
