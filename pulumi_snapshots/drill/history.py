"""How drills have ended, as the ledger remembers them for reports."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.drill.record import DrillRecord
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import Document

HISTORY = "drill_history"
"""The ledger's key for the ends of drills, by the snapshot's database, oldest first."""
MOST_DRILLS = 15
"""Drills of one database: those of a quarter, one each week, and two more."""
KEPT_DRILLS = timedelta(days=400)
RESULT_FIELDS = ("check", "passed", "expected", "found", "reason")
"""The properties of a check's result that are kept; the rows of thousands of tables are not."""


async def note_ended(ledger: Ledger, record: DrillRecord) -> None:
    """Remember how a drill has ended.

    If its checks have run before, the newer results stay; a drill that has failed and then passed
    stays as both. The note may be lost: the state, or the exit code, has the result too.

    Args:
        ledger: The ledger.
        record: The drill.
    """
    noted = replace(record, last_good=None, attempt=None).to_outputs()
    entry = {name: value for name, value in noted.items() if value is not None}
    ended = _identity(entry)
    entry["results"] = [
        {name: result[name] for name in RESULT_FIELDS if name in result}
        for result in entry.get("results", ())
    ]

    def change(document: Document) -> None:
        oldest = ledger.clock.now() - KEPT_DRILLS
        by_database = document.setdefault(HISTORY, {})
        earlier = [
            each
            for each in by_database.get(record.database_id, ())
            if _identity(each) != ended and parse_rfc3339(each["requested_at"]) > oldest
        ]
        by_database[record.database_id] = [*earlier, entry][-MOST_DRILLS:]

    with suppress(LedgerUnavailable):
        await ledger.edit(change)


def _identity(entry: dict[str, Any]) -> list[Any]:
    """Return what distinguishes two ends of drills of one database."""
    return [
        entry.get(name) for name in ("requested_at", "scratch_database_id", "passed")
    ]


async def ended_drills(ledger: Ledger) -> list[DrillRecord]:
    """Read the drills that the ledger remembers.

    Args:
        ledger: The ledger.

    Returns:
        The drills, of each database the oldest first.

    Raises:
        LedgerUnavailable: The ledger cannot be read.
    """
    by_database = (await ledger.read()).get(HISTORY, {})
    return [
        DrillRecord.from_outputs(each)
        for of_one in by_database.values()
        for each in of_one
    ]
