"""The command `runs`: what is under way or waited for, on all machines that share the ledger."""

from __future__ import annotations

from contextlib import suppress
from datetime import tzinfo
from typing import Any

from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import DONE, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import block, moment
from pulumi_snapshots.cli.terminal.stack import stack_option
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors import Explained
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.under_way import UnderWay
from pulumi_snapshots.service.rate_limiter import blocks_in

FORGET = f"if the service's support has lifted it: `{NAME} doctor --forget-block`"
FIELDS = ("database_id", "what", "by", "since", "until", "state", "then", "kind", "source", "owner", "account")


async def under_way(session: Session) -> list[UnderWay]:
    """What the ledger has of requests without a known end, or which keep others away; oldest first."""
    # A snapshot that was found is held for seconds, and nothing of it is under way.
    there = [one for one in await session.ledger.attempts() if not (one.is_over and one.kind == "snapshot")]
    if there:
        with suppress(Explained):  # all times are the service's; by this machine's clock they may seem to be over
            await session.know_time(there[0].database_id, briefly=True)
    now, is_shared = session.service_clock.now(), session.ledger.place.is_shared
    return [UnderWay(one, now, is_shared) for one in there if not one.is_over or one.is_in_the_way(now)]


@command(stack_option, short_help="List what is under way or waited for.")
async def runs(invocation: Invocation, /, *, stack: str | None) -> int:
    """List what is under way or waited for: database, what, by whom, since when, until when, and what you can do.

    Shows what runs on this machine, or in the shared state of all machines, have written down. Sends one request at most, for
    the service's time.
    """
    async with invocation.session(stack=stack) as session:
        found = await under_way(session)
        blocks = blocks_in(await session.ledger.read(), session.service_clock.now())
    fields = [_fields(each) for each in found]
    for account, until in blocks:
        state = {"state": "the service has blocked the account", "then": FORGET, "account": account}
        fields.append(dict.fromkeys(FIELDS) | {"what": "block", "until": rfc3339(until), **state})
    if fields or invocation.as_json:
        text = "\n".join(_block(each, invocation.zone) for each in fields)
        invocation.result(fields, text, *(each["database_id"] or "" for each in fields))
    else:
        invocation.remark(f"nothing is under way, as far as {session.ledger.place.where} shows")
    return DONE


def _block(each: dict[str, Any], zone: tzinfo | None) -> str:
    """What people read of one run."""
    database, until = each["database_id"], moment(each["until"], zone)
    shown = {
        "what": each["what"],
        "by": each["by"],
        "since": moment(each["since"], zone),
        "until": f"{until} at the latest: so long others wait for it" if database else until,
        "state": each["state"],
        "next": each["then"],
    }
    return block(database or f"account {each['account']}", shown)


def _fields(each: UnderWay) -> dict[str, Any]:
    times = {"since": rfc3339(each.attempt.request.posted_at), "until": rfc3339(each.until)}
    return {name: times.get(name) or getattr(each if hasattr(each, name) else each.attempt, name) for name in FIELDS}
