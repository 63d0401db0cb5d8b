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
from pulumi_snapshots.service.pacing import ACCOUNTS, pacing_of

FORGET = f"if the service's support has lifted it: `{NAME} doctor --forget-block`"


async def under_way(session: Session) -> list[Attempt]:
    """Return the requests in the ledger without a known end, or that keep others away.

    Oldest first.

    Args:
        session: the session of the process.
    """
    attempts = await session.ledger.attempts()
    # A snapshot that was found is held for seconds, and nothing of it is under way.
    held = [each for each in attempts if not (each.is_over and each.kind == "snapshot")]
    if held:
        # All times are the service's; by this machine's clock they may seem to be over.
        with suppress(ProviderError):
            await session.know_time(held[0].database_id, briefly=True)
    now = session.service_clock.now()
    return [
        each for each in held if not each.has_known_end or now < each.waited_for_until
    ]


async def blocks_in(ledger: Ledger) -> list[tuple[str, datetime]]:
    """Every block in a ledger that lasts: the account's name and its end."""
    now = ledger.clock.now().timestamp()
    document = await ledger.read()
    blocked = []
    for account in document.get(ACCOUNTS, {}):
        blocks = pacing_of(account, document, ledger).current(now).blocks
        blocked += [
            (account, datetime.fromtimestamp(until, UTC)) for until in blocks.values()
        ]
    return blocked


@command(stack_option)
async def runs(invocation: Invocation, *, stack: str | None) -> None:
    """List what is under way or waited for.

    Says by whom, until when, and what you can do. Shows what runs on this machine, or in the shared
    state of all machines, have written down. Sends one request at most.
    """
    async with invocation.session(stack) as session:
        attempts = await under_way(session)
        now = session.service_clock.now()
        is_shared = session.ledger.place.is_shared
        found = [request_facts(each, now, is_shared=is_shared) for each in attempts]
        blocks = await blocks_in(session.ledger)
    for account, until in blocks:
        block = {
            "what": "block",
            "until": rfc3339(until),
            "account": account,
            "state": "the service has blocked the account",
            "then": FORGET,
        }
        found.append(dict.fromkeys(FIELDS) | block)
    if found or invocation.as_json:
        text = "\n".join(_block(each, invocation) for each in found)
        invocation.result(found, text, *(each["database_id"] or "" for each in found))
    else:
        invocation.note(
            f"nothing is under way, as far as {session.ledger.place.where} shows"
        )


def _block(facts: dict[str, Any], invocation: Invocation) -> str:
    """Return what people read of one run."""
    database_id = facts["database_id"]
    until = invocation.moment(facts["until"])
    if database_id:
        until = f"{until} at the latest: others wait for it until then"
    shown = {
        "what": facts["what"],
        "by": facts["by"],
        "since": invocation.moment(facts["since"]),
        "until": until,
        "state": facts["state"],
        "next": facts["then"],
    }
    rows = [(f"  {name}", text) for name, text in shown.items() if text]
    heading = database_id or f"account {facts['account']}"
    return f"{heading}\n{grid(rows, invocation.out)}"
