"""The last drill of each database that has passed, as the ledger and the state remember it."""

from contextlib import suppress
from typing import Any

from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.drill.record import DrillRecord, GoodDrill, counted_tables
from pulumi_snapshots.drill.tables import RowsBefore
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import Document

LAST = "drills"
"""The ledger's key for the last drills that have passed, by database."""
COUNTED = "counted"
"""The key in such a drill for the last one of them that has counted tables."""


async def note_last_drill(
    ledger: Ledger, database_id: str, drilled: Drilled, good: GoodDrill | None = None
) -> None:
    """Remember a drill that has passed, unless a later one is known.

    It may be lost: it is no proof.

    Args:
        ledger: The ledger.
        database_id: The database whose snapshot was drilled.
        drilled: The drill.
        good: The same with its results, whose rows the next drill is compared with.
    """
    tables = counted_tables(good.results) if good else []
    counted: dict[str, Any] = {}
    if good and tables:
        rows = {each.table: each.rows for each in tables}
        counted = {
            COUNTED: {
                "version_id": good.version_id,
                "drilled_at": good.drilled_at,
                "rows": rows,
            }
        }

    def change(document: Document) -> None:
        known = document.setdefault(LAST, {})
        last = known.get(database_id, {})
        if last.get("drilled_at", "") <= drilled.drilled_at:
            earlier = {COUNTED: last[COUNTED]} if COUNTED in last else {}
            known[database_id] = {**drilled.to_outputs(), **earlier, **counted}

    with suppress(LedgerUnavailable):
        await ledger.edit(change)


async def last_drills(ledger: Ledger) -> dict[str, Drilled]:
    """Return the last drill of each database by its id; none if the ledger cannot be read."""
    with suppress(LedgerUnavailable):
        stored = (await ledger.read()).get(LAST, {})
        return {database_id: Drilled.from_outputs(each) for database_id, each in stored.items()}
    return {}


async def rows_before(
    ledger: Ledger, last_good: GoodDrill | None, record: DrillRecord
) -> RowsBefore | None:
    """Find the rows that the last good drill of the same database has counted.

    Args:
        ledger: The ledger, which is asked if the state does not know them.
        last_good: The last good drill in the state.
        record: The drill whose rows are compared.

    Returns:
        The rows; None if no drill has counted them.
    """
    if last_good is not None and last_good.database_id == record.database_id:
        is_same = (last_good.version_id, last_good.drilled_at) == (
            record.version_id,
            record.restored_at,
        )
        # The checks of a restore that run again are compared with what they were compared with.
        rows = {
            each.table: each.before if is_same else each.rows
            for each in counted_tables(last_good.results)
        }
        known = {name: number for name, number in rows.items() if number is not None}
        if known:
            return RowsBefore(known, _title(last_good.version_id, last_good.drilled_at, record))
    with suppress(LedgerUnavailable):
        stored = (await ledger.read()).get(LAST, {}).get(record.database_id, {})
        counted = stored.get(COUNTED)
        if counted and counted["drilled_at"] != record.restored_at:
            title = _title(counted["version_id"], counted["drilled_at"], record)
            return RowsBefore(counted["rows"], title)
    return None


def _title(version_id: str, drilled_at: str, record: DrillRecord) -> str:
    """Name the drill that rows are compared with."""
    title = f"the last good drill, of version {version_id} at {drilled_at}"
    if record.restored_at is not None and drilled_at > record.restored_at:
        return f"{title} (which is later than this drill: a clock was wrong)"
    return title
