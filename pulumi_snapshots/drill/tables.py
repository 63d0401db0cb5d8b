"""The rows of each table of a restored database, compared with the rows that were there before.

Programs load this module, so it loads no HTTP stack.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pulumi_snapshots.properties.catalogue import Record, Rows, declare
from pulumi_snapshots.properties.checks import Unfit, is_number

if TYPE_CHECKING:
    from pulumi_snapshots.databases.tables import TableCount

NOT_COMPARED = "at least one row"
"""What is expected of tables that are compared with nothing."""
WHOLE = re.compile(r"db\d+")
"""The name of a logical database of Redis; a `/` and a prefix follow if it is counted in parts."""
SHOWN_TABLES = 3
"""Tables that a sentence names."""


def _share(given: object) -> float:
    """Read a share; raises `Unfit`."""
    if is_number(given) and 0 <= given <= 1:
        return given
    raise Unfit("must be a number from 0 to 1, such as 0.9")


def _names(given: object) -> list[str]:
    """Read names of tables; raises `Unfit`."""
    if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
        return list(given)
    raise Unfit("must be a list of names of tables")


class RowsBefore(NamedTuple):
    """What the rows of a restored database are compared with.

    Attributes:
        rows: The rows of each table.
        title: What counted them, in words.
    """

    rows: Mapping[str, int]
    title: str


class TableRows(Record, sparse=True):
    """Rows of one table of a restored database."""

    table: str = declare(
        "Its name: `public.orders` in PostgreSQL, `db0/order:*` for keys of Redis with one prefix."
    )
    rows: Rows | None = declare(
        "How many rows it has, 0 if it is gone; absent if that is not known.",
        default=None,
    )
    before: Rows | None = declare(
        "The rows that it is compared with; absent if there are none.", default=None
    )
    is_estimate: bool = declare(
        "Whether the engine has estimated the rows, since the table is too large to count.",
        default=False,
    )
    problem: str | None = declare(
        "Why the check has not passed because of it; absent otherwise.", default=None
    )

    @property
    def difference(self) -> int:
        """How many rows came or went, negative for a loss; 0 if the difference is not known."""
        if self.rows is None or self.before is None:
            return 0
        return self.rows - self.before

    @property
    def change(self) -> str:
        """The rows before and now: `orders 1,000 → 900 (-10 %)`."""
        percent = f" ({self.difference / self.before:+.0%})" if self.before else ""
        rows = f"{self.before or 0:,} → {self.rows or 0:,}{percent.replace('%', ' %')}"
        return f"{shown_name(self.table)} {rows}"


class Tables(Record, sparse=True):
    """The rows of each table of the restored database, compared with earlier ones.

    The rows are compared with the last good drill of the same database, or else with the source, if
    the drill has a connection to it. Without either, one row in the whole database is enough.
    """

    at_least: float = declare(
        "The smallest share of its earlier rows that each table must still have.",
        default=0.9,
        read=_share,
    )
    except_: list[str] | None = declare(
        "Tables to leave out, by the names that the results show; `*` stands for any characters.",
        default=None,
        read=_names,
    )

    def is_left_out(self, name: str) -> bool:
        """Tell whether a table of this name is neither counted nor missed.

        Args:
            name: The name, as results have it.

        Returns:
            True if one of the patterns of `except_` matches the whole name, in upper and lower
            case.
        """
        patterns = [map(re.escape, each.split("*")) for each in self.except_ or ()]
        return any(re.fullmatch(".*".join(each), name, re.DOTALL) for each in patterns)

    def expected(self, before: RowsBefore | None) -> str:
        """Say what must be there.

        Args:
            before: The rows to compare with; None if there are none.

        Returns:
            The words, for a result: one row in all is enough if there are no rows to compare with.
        """
        if before is None:
            return NOT_COMPARED
        return f"at least {self.at_least * 100:g} % of the rows of each table of {before.title}"

    def compare(
        self, counts: Iterable[TableCount], before: RowsBefore | None
    ) -> list[TableRows]:
        """Compare the rows of each table with the rows before, if these are known.

        Args:
            counts: The rows of the restored database's tables.
            before: The rows to compare with; None if there are none.

        Returns:
            Each table, in the order of their names; also tables that are gone, and views that fail.
        """
        missing = dict(before.rows) if before else {}
        # With exceptions, a whole could hide keys that are left out.
        if not self.except_:
            counts, missing = _in_same_parts([*counts], missing)
        compared = [
            self._compared(count, missing.pop(count.table, None)) for count in counts
        ]
        # A view that works says nothing about rows.
        tables = [each for each in compared if each.rows is not None or each.problem]
        tables += [
            TableRows(name, rows=0, before=rows, problem="is gone")
            for name, rows in missing.items()
            if not self.is_left_out(name)
        ]
        return sorted(tables, key=lambda each: each.table)

    def _compared(self, count: TableCount, before: int | None) -> TableRows:
        """Compare the rows of one table."""
        rows = count.rows
        problem = None
        if count.problem is not None:
            problem = f"cannot be counted: {count.problem}"
        elif before is not None and rows is None:
            problem = f"is a view, and had {before:,} rows"
        elif before is not None and rows is not None and rows < before * self.at_least:
            roughly = "about " if count.is_estimate else ""
            problem = f"has {roughly}{rows:,} of {before:,} rows"
        return TableRows(
            count.table,
            rows=rows,
            before=before,
            is_estimate=count.is_estimate,
            problem=problem,
        )


def _in_same_parts(
    counts: Sequence[TableCount], rows: Mapping[str, int]
) -> tuple[Sequence[TableCount], dict[str, int]]:
    """Count a logical database of Redis as a whole on both sides if one of them has done so.

    The server's keys may have too many prefixes at one time, and fewer at another.
    """
    names = {each.table for each in counts}
    wholes = {each for each in names ^ rows.keys() if WHOLE.fullmatch(each)}

    def part_of(name: str) -> str:
        whole = name.partition("/")[0]
        return whole if whole in wholes else name

    before = Counter[str]()
    for name, number in rows.items():
        before[part_of(name)] += number
    merged: dict[str, TableCount] = {}
    for each in counts:
        name = part_of(each.table)
        earlier = merged.get(name)
        rows_of_part = each.rows
        if earlier is not None:
            rows_of_part = (each.rows or 0) + (earlier.rows or 0)
        merged[name] = replace(each, table=name, rows=rows_of_part)
    return [*merged.values()], dict(before)


def problems_of(tables: Sequence[TableRows]) -> list[str]:
    """Say what is wrong with the tables of a restored database.

    Args:
        tables: The tables, compared.

    Returns:
        A clause for each problem, which names its table; none if every table is as it must be. If
        no table has a row, the first clause says it.
    """
    problems = [
        f"{shown_name(each.table)} {each.problem}" for each in tables if each.problem
    ]
    if any(each.rows for each in tables):
        return problems
    return ["no table has a row", *problems]


def totals_of(tables: Sequence[TableRows]) -> str:
    """Say how many tables and rows there are.

    Args:
        tables: The tables, compared.

    Returns:
        The totals, such as `tables: 12 (1 estimated, 2 new), rows: 34,567`. Tables are new if the
        others are compared with earlier rows.
    """
    rows = sum(each.rows or 0 for each in tables)
    estimated = sum(each.is_estimate for each in tables)
    compared = sum(each.before is not None for each in tables)
    new = len(tables) - compared if compared else 0
    parts = [f"{estimated:,} estimated"] if estimated else []
    if new:
        parts.append(f"{new:,} new")
    how = f" ({', '.join(parts)})" if parts else ""
    return f"tables: {len(tables):,}{how}, rows: {rows:,}"


def largest_differences(tables: Sequence[TableRows]) -> str:
    """Say which three tables have gained or lost most rows.

    Args:
        tables: The tables, compared.

    Returns:
        The changes, the largest first; `none`, or that they are not known, if there is none to
        name.
    """
    changed = [each for each in tables if each.difference]
    changed.sort(key=lambda each: -abs(each.difference))
    if changed:
        return ", ".join(each.change for each in changed[:SHOWN_TABLES])
    is_compared = any(each.before is not None for each in tables)
    return "none" if is_compared else "not known, since nothing was counted before"


def shown_name(name: str) -> str:
    """Return a table's name in one line.

    Args:
        name: The name.

    Returns:
        The name, with escapes for characters that cannot be printed, such as a line break.
    """
    return name if name.isprintable() else repr(name)[1:-1]
