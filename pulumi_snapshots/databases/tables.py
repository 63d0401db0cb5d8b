"""Count the rows of each table of a database, within a time: exactly, or as its engine estimates.

What a table is differs: a collection in MongoDB, the keys with one prefix in Redis.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pulumi_snapshots.clock import system_monotonic
from pulumi_snapshots.databases.connection import (
    BlockingConnection,
    Refused,
    Table,
    is_late,
)

MOST_TABLES = 10_000
"""Tables of one database: the rows of each stand in the state."""
EXACT_SHARE = 0.6
"""The part of the time in which rows are counted; the rest is for estimates."""
NO_TIME = "no time was left"


@dataclass(frozen=True)
class TableCount:
    """Rows of one table.

    Attributes:
        table: The name, as `Table` has it.
        rows: How many rows it has; None for a view, or if that is not known.
        is_estimate: Whether the engine has estimated the rows.
        problem: Why they could not be counted, in the database's words; None if they could.
    """

    table: str
    rows: int | None
    is_estimate: bool = False
    problem: str | None = None


def count_tables(
    connection: BlockingConnection,
    seconds: float,
    is_left_out: Callable[[str], bool],
    explain: Callable[[Exception], str],
    *,
    refuse_writes: bool,
) -> list[TableCount]:
    """Count the rows of all tables, the smallest first; views are only opened.

    Rows are counted exactly in the first 60 % of the time, and estimated in the rest.

    Args:
        connection: A connection that nothing else uses.
        seconds: How long the counting may take.
        is_left_out: Whether a table of this name is not counted.
        explain: Says what a library's error means, without secrets.
        refuse_writes: Whether nothing may write to the database meanwhile.

    Returns:
        Each table with its rows, or with the reason why they are not known.

    Raises:
        Refused: There are more than `MOST_TABLES` tables, or something has written to the database.
    """
    end = system_monotonic() + seconds
    exact_end = end - seconds * (1 - EXACT_SHARE)
    writes = connection.writes()
    listed = connection.tables(exact_end)
    tables = [table for table in listed if not is_left_out(table.name)]
    if len(tables) > MOST_TABLES:
        raise Refused(f"there are more than {MOST_TABLES:,} tables: leave some out")
    tables.sort(key=lambda table: table.size)
    counts = [
        _count_table(connection, table, explain, exact_end, end) for table in tables
    ]
    if refuse_writes and connection.writes() != writes:
        raise Refused(
            "something else wrote to the database while its tables were counted, so they do not "
            "show what was restored"
        )
    return counts


def _count_table(
    connection: BlockingConnection,
    table: Table,
    explain: Callable[[Exception], str],
    exact_end: float,
    end: float,
) -> TableCount:
    """Count the rows of one table, or say why that cannot be done.

    Args:
        connection: The connection.
        table: The table.
        explain: See `count_tables`.
        exact_end: Until when the rows may be counted, by this machine's monotonic clock.
        end: Until when they may be estimated.
    """
    try:
        if table.is_view:
            connection.open_view(table)
            return TableCount(table.name, None)
        rows = _exact_count(connection, table, exact_end)
        if rows is not None:
            return TableCount(table.name, rows)
        seconds = end - system_monotonic()
        if seconds <= 0:
            return TableCount(table.name, None, problem=NO_TIME)
        rows = connection.estimate(table, seconds)
        return TableCount(table.name, rows, is_estimate=True)
    except Exception as error:
        if connection.is_lost(error):
            raise
        problem = NO_TIME if is_late(error) else explain(error)
        return TableCount(table.name, None, problem=problem)


def _exact_count(
    connection: BlockingConnection, table: Table, end: float
) -> int | None:
    """Count the rows of a table; None if it is too large, or if time runs out."""
    seconds = end - system_monotonic()
    if table.size > connection.counted_up_to or seconds <= 0:
        return None
    try:
        return connection.count(table, seconds)
    except Exception as error:
        if is_late(error) and not connection.is_lost(error):
            return None
        raise
