"""The command `runs`: what runs have written down, on all machines that share the ledger."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pulumi_snapshots.cli.terminal.arguments import command
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.cli.terminal.output import grid
from pulumi_snapshots.cli.terminal.pulumi import stack_option
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.wording import FIELDS, request_facts
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.rate_limiter import ACCOUNTS, pacing_of

FORGET = f"if the service's support has lifted it: `{NAME} doctor --forget-block`"


async def under_way(session: Session) -> list[Attempt]:
    """What the ledger has of requests without a known end, or which keep others away.

    Oldest first.
    """
    # A snapshot that was found is held for seconds, and nothing of it is under way.
    there = [
        one
        for one in await session.ledger.attempts()
        if not (one.is_over and one.kind == "snapshot")
    ]
    if there:
        with suppress(
            ProviderError
        ):  # all times are the service's; by this machine's clock they may seem to be over
            await session.know_time(there[0].database_id, briefly=True)
    return [
        one
        for one in there
        if not one.has_known_end or session.service_clock.now() < one.waited_for_until
    ]


async def blocks_in(ledger: Ledger) -> list[tuple[str, datetime]]:
    """Every block in a ledger that lasts: the account's name and its end."""
    now, document = ledger.clock.now().timestamp(), await ledger.read()
    lasting = {
        name: pacing_of(name, document, ledger).current(now).blocks
        for name in document.get(ACCOUNTS, {})
    }
    return [
        (name, datetime.fromtimestamp(at, UTC)) for name in lasting for at in lasting[name].values()
    ]


@command(stack_option)
async def runs(invocation: Invocation, /, *, stack: str | None) -> None:
    """List what is under way or waited for.

    Says by whom, until when, and what you can do. Shows what runs on this machine, or in the shared
    state of all machines, have written down. Sends one request at most.
    """
    async with invocation.session(stack) as session:
        there, is_shared = await under_way(session), session.ledger.place.is_shared
        now = session.service_clock.now()
        found = [request_facts(each, now, is_shared=is_shared) for each in there]
        blocks = await blocks_in(session.ledger)
    for account, until in blocks:
        block = {"what": "block", "until": rfc3339(until), "account": account, "then": FORGET}
        found.append(
            dict.fromkeys(FIELDS) | block | {"state": "the service has blocked the account"}
        )
    if found or invocation.as_json:
        text = "\n".join(_block(each, invocation) for each in found)
        invocation.result(found, text, *(each["database_id"] or "" for each in found))
    else:
        invocation.note(f"nothing is under way, as far as {session.ledger.place.where} shows")


def _block(each: dict[str, Any], invocation: Invocation) -> str:
    """What people read of one run."""
    database, until = each["database_id"], invocation.moment(each["until"])
    limit = f"{until} at the latest: others wait for it until then" if database else until
    shown = each | {"since": invocation.moment(each["since"]), "until": limit, "next": each["then"]}
    names = ("what", "by", "since", "until", "state", "next")
    rows = [(f"  {name}", shown[name]) for name in names if shown[name]]
    return f"{database or 'account ' + each['account']}\n{grid(rows, invocation.out)}"
