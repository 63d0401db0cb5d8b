"""The last passed drill of each database, as the ledger has it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.properties.catalogue import Moment, Record, declare

if TYPE_CHECKING:
    from pulumi_snapshots.ledger.ledger import Ledger

DRILLS = "drills"
"""The part of the ledger with them."""


class Drilled(Record):
    """What a drill has proved: this snapshot was restored, and its checks passed."""

    drilled_at: Moment = declare("When.")
    restore_seconds: float | None = declare("How long the restore took; absent if that is not known.", default=None)


async def note_last_drill(ledger: Ledger, database_id: str, drilled: Drilled) -> None:
    """Remember a drill that has passed, unless a later one is known. It may be lost: it is no proof."""

    def edit(document: dict[str, Any]) -> None:
        known = document.setdefault(DRILLS, {})
        if known.get(database_id, {}).get("drilled_at", "") <= drilled.drilled_at:
            known[database_id] = drilled.to_outputs()

    with suppress(LedgerUnavailable):
        await ledger.edit(edit)


async def last_drills(ledger: Ledger) -> dict[str, Drilled]:
    """The last drill of each database by its id; none if the ledger cannot be read."""
    with suppress(LedgerUnavailable):
        stored = (await ledger.read()).get(DRILLS, {})
        return {database_id: Drilled.from_outputs(each) for database_id, each in stored.items()}
    return {}
