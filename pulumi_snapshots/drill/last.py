"""The last good drill of each database, as the ledger and the state remember it."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.drill.check import CheckResult
from pulumi_snapshots.drill.record import DrillRecord, GoodDrill, counted_tables
from pulumi_snapshots.drill.tables import RowsBefore, TableRows
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import Document

LAST = "drills"
"""The ledger's key for the last drills that have passed, by database."""
COUNTED = "counted"
"""The key in such a drill for the last drill that has counted tables."""


async def note_last_drill(
    ledger: Ledger, database_id: str, drilled: Drilled, good: GoodDrill | None = None
) -> None:
    """Remember a drill that has passed, unless the ledger has a later one, by a right clock.

    The note may be lost, since it is no proof.

    Args:
        ledger: The ledger.
        database_id: The database whose snapshot was drilled.
        drilled: The drill.
        good: The same drill with its results, with whose rows the next drill is compared.
    """
    counted = _rows_only(good) if good else {}
    now = rfc3339(ledger.clock.now())

    def change(document: Document) -> None:
        by_database = document.setdefault(LAST, {})
        last = by_database.get(database_id, {})
        drilled_at = last.get("drilled_at", "")
        if drilled_at <= drilled.drilled_at or drilled_at > now:
            earlier = {COUNTED: last[COUNTED]} if COUNTED in last else {}
            by_database[database_id] = {**drilled.to_outputs(), **earlier, **counted}

    with suppress(LedgerUnavailable):
        await ledger.edit(change)


async def last_drills(ledger: Ledger) -> dict[str, Drilled]:
    """Read the last drill of each database that has passed.

    Args:
        ledger: The ledger, which remembers the drills.

    Returns:
        The drills by the ids of their databases; none if the ledger cannot be read.
    """
    with suppress(LedgerUnavailable):
        stored = (await ledger.read()).get(LAST, {})
        return {
            database_id: Drilled.from_outputs(each)
            for database_id, each in stored.items()
        }
    return {}


def _rows_only(good: GoodDrill) -> dict[str, Any]:
    """Return what the ledger remembers of the tables that a drill has counted."""
    tables = [
        TableRows(each.table, rows=each.rows, before=each.before)
        for each in counted_tables(good.results)
    ]
    if not tables:
        return {}
    result = CheckResult("tables", passed=True, expected="", tables=tables)
    return {COUNTED: replace(good, results=[result]).to_outputs()}


async def rows_before(
    ledger: Ledger, last_good: GoodDrill | None, record: DrillRecord
) -> RowsBefore | None:
    """Find the rows that the last good drill of the same database has counted.

    Args:
        ledger: The ledger, which knows the drills of other runs and stacks.
        last_good: The last good drill in the state.
        record: The drill whose rows are compared.

    Returns:
        The rows of the newer of the two drills that the ledger and the state know; None if no drill
        has counted them.

    Raises:
        LedgerUnavailable: The ledger cannot be read.
    """
    last = (await ledger.read()).get(LAST, {}).get(record.database_id, {})
    noted = last.get(COUNTED)
    candidates = [GoodDrill.from_outputs(noted)] if noted else []
    if last_good is not None:
        candidates.append(last_good)
    # By a wrong clock, a drill can seem later than this one.
    candidates.sort(key=lambda good: (not _is_later(good, record), good.drilled_at))
    for good in reversed(candidates):
        rows = _rows_of(good, record)
        if rows and good.database_id == record.database_id:
            return RowsBefore(rows, _title(good, record))
    return None


def _rows_of(good: GoodDrill, record: DrillRecord) -> dict[str, int]:
    """Return the rows that a drill is compared with.

    If the checks of one restore run again, they compare with the same rows as the first time.
    """
    is_same = (good.version_id, good.drilled_at) == (
        record.version_id,
        record.restored_at,
    )
    rows = {
        each.table: each.before if is_same else each.rows
        for each in counted_tables(good.results)
    }
    return {name: number for name, number in rows.items() if number is not None}


def _is_later(good: GoodDrill, record: DrillRecord) -> bool:
    """Tell whether a drill is later than the one whose rows are compared."""
    return record.restored_at is not None and good.drilled_at > record.restored_at


def _title(good: GoodDrill, record: DrillRecord) -> str:
    """Name the drill that rows are compared with."""
    title = f"the last good drill, of version {good.version_id} at {good.drilled_at}"
    if _is_later(good, record):
        reason = "another has passed since, or a clock was wrong"
        return f"{title} (which is later than this drill: {reason})"
    return title
