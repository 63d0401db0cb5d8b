"""A rehearsal of what shared state is for: a run is killed after its request, and another machine takes over. Sends nothing."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path

from pulumi_snapshots.cli.setup.toolchain import Result
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.errors.wording import Wording
from pulumi_snapshots.ledger.attempt import Claim, Intent, Role
from pulumi_snapshots.ledger.bucket import Bucket
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import config_key, variable

NAME = "rehearsal"
"""Of the document in which it takes place, beside the ledger."""
LONGEST = timedelta(minutes=10)


async def rehearse(session: Session, words: Wording) -> Result:
    """Let two machines claim the request of one resource, and a third one that of another, all for one database."""
    place = session.ledger.place
    if not (place.is_shared and isinstance(place, Bucket | SqliteFile)):
        found = "no second machine sees what this one has requested"
        return "problem", found, f"Set {config_key('shared_state')} or {variable('shared_state')}."
    began, database_id = session.clock.monotonic(), secrets.token_hex(16)
    killed, second, third = (Ledger(place.beside(NAME), session.service_clock) for _ in range(3))

    async def claims(ledger: Ledger, resource: str) -> Claim:
        now = session.service_clock.now()
        intent = Intent("snapshot", f"{NAME}::dev::{resource}", database_id, "v1", LONGEST.total_seconds(), now)
        return await ledger.edit(lambda document: ledger.decided(document, intent))

    try:
        first = await claims(killed, "one")
        taken_over, waits = await claims(second, "one"), await claims(third, "another")
        await second.withdraw(first.attempt)
    except LedgerUnavailable as error:
        return "problem", words.report(error), ""
    finally:
        if isinstance(place, SqliteFile):
            Path(place.beside(NAME).where).unlink(missing_ok=True)  # noqa: ASYNC240  of a command that does nothing else
    roles = [first.role, taken_over.role, waits.role]
    if roles != [Role.NEW, Role.RESUMED, Role.IN_THE_WAY] or taken_over.attempt.id != first.attempt.id:
        return (
            "problem",
            f"a second machine would have sent another request: {', '.join(roles)}",
            "Report this as a bug.",
        )
    took = spoken(session.clock.monotonic() - began)
    found = "a second machine resumed what a killed run had requested, and sent nothing; a third one, of another resource, waited"
    return "ok", f"{found} ({took})", ""
