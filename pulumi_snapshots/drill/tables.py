"""The rows of each table of a restored database, compared with those that were there before.

Programs load this module, so it loads no HTTP stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pulumi_snapshots.properties.catalogue import Record, declare
from pulumi_snapshots.properties.checks import Unfit

if TYPE_CHECKING:
    from pulumi_snapshots.databases.tables import TableCount

SHOWN_TABLES = 3
"""Tables that a sentence names."""


def _share(given: object) -> float:
    """Read a share; raises `Unfit`."""
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if is_number and 0 <= given <= 1:  # type: ignore[operator]  # a number by then
        return float(given)  # type: ignore[arg-type]
    raise Unfit("must be a number from 0 to 1, such as 0.9")


def _names(given: object) -> list[str]:
    """Read names of tables; raises `Unfit`."""
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise Unfit("must be a list of names of tables")
    return list(given)


class TableRows(Record, sparse=True):
    """Rows of one table of a restored database."""

    table: str = declare(
        "Its name: `public.orders` in PostgreSQL, `db0/order:*` for keys of Redis with one prefix."
    )
    rows: int | None = declare("How many rows it has; absent if that is not known.", default=None)
    before: int | None = declare(
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
        """The rows that came or went; 0 if that is not known."""
        is_gone = self.rows is None and self.problem == GONE
        if self.before is None or (self.rows is None and not is_gone):
            return 0
        return (self.rows or 0) - self.before

    @property
    def told(self) -> str:
        """Its name in one line, and what came or went: `orders 1,000 → 900 (-10 %)`."""
        before = self.before or 0
        share = f" ({self.difference / before:+.0%})".replace("%", " %") if before else ""
        return f"{one_line(self.table)} {before:,} → {self.rows or 0:,}{share}"


GONE = "is gone"


@dataclass(frozen=True)
class RowsBefore:
    """What the rows of a restored database are compared with.

    Attributes:
        rows: The rows of each table.
        title: What counted them, in words.
    """

    rows: Mapping[str, int]
    title: str


@dataclass(frozen=True)
class Comparison:
    """Rows of tables, and what is wrong with them.

    Attributes:
        tables: Each table, in the order of their names; those that are gone too.
        problems: What is wrong, in sentences; none if the check has passed.
    """

    tables: list[TableRows]
    problems: list[str]

    @property
    def found(self) -> str:
        """What was found, in words."""
        if self.problems:
            more = len(self.problems) - SHOWN_TABLES
            tail = [f"{more} more"] if more > 0 else []
            return "; ".join([*self.problems[:SHOWN_TABLES], *tail])
        rows = sum(each.rows or 0 for each in self.tables)
        estimated = sum(each.is_estimate for each in self.tables)
        how = f" ({estimated} estimated)" if estimated else ""
        return f"tables: {len(self.tables):,}{how}, rows: {rows:,}"


class Tables(Record, sparse=True):
    """The rows of each table of the restored database, compared with those of before.

    They are compared with the last good drill of the same database; else with the source, if the
    drill has a connection to it. Else one row must be there.
    """

    at_least: float = declare(
        "The least share of its rows of before that each table must have.",
        default=0.9,
        read=_share,
    )
    except_: list[str] | None = declare(
        "Tables that are left out, by the names that results have; `*` stands for any characters.",
        default=None,
        read=_names,
    )

    def is_left_out(self, name: str) -> bool:
        """Whether a table of this name is neither counted nor missed."""
        return any(fnmatchcase(name, pattern) for pattern in self.except_ or ())

    def expected(self, before: RowsBefore | None) -> str:
        """What must be there, in words."""
        if before is None:
            return "at least one row"
        return f"at least {self.at_least * 100:g} % of the rows of each table of {before.title}"

    def compare(self, counts: Iterable[TableCount], before: RowsBefore | None) -> Comparison:
        """Compare rows with those of before, if there are any."""
        known = before.rows if before else {}
        every = [self._compared(count, known.get(count.table)) for count in counts]
        there = {each.table for each in every}
        gone = [
            TableRows(name, before=rows, problem=GONE)
            for name, rows in known.items()
            if name not in there and not self.is_left_out(name)
        ]
        # A view that works says nothing about rows.
        shown = [each for each in every if each.rows is not None or each.problem]
        tables = sorted([*shown, *gone], key=lambda each: each.table)
        problems = [f"{one_line(each.table)} {each.problem}" for each in tables if each.problem]
        if not any(each.rows for each in tables):
            problems.insert(0, "no table has a row" if tables else "there are no tables")
        return Comparison(tables, problems)

    def _compared(self, count: TableCount, before: int | None) -> TableRows:
        problem = None
        rows = count.rows
        if count.problem is not None:
            problem = f"cannot be counted: {count.problem}"
        elif before is None:
            pass
        elif rows is None:
            problem = f"is a view, and had {before:,} rows"
        elif rows < before * self.at_least:
            about = "about " if count.is_estimate else ""
            problem = f"has {about}{rows:,} of {before:,} rows"
        return TableRows(
            count.table,
            rows=rows,
            before=before,
            is_estimate=count.is_estimate,
            problem=problem,
        )


def largest_differences(tables: Sequence[TableRows]) -> str:
    """Say which three tables have gained or lost most rows."""
    changed = sorted(
        (each for each in tables if each.difference), key=lambda each: -abs(each.difference)
    )
    if changed:
        return ", ".join(each.told for each in changed[:SHOWN_TABLES])
    is_compared = any(each.before is not None for each in tables)
    return "none" if is_compared else "not known, since nothing was counted before"


def one_line(name: str) -> str:
    """Return a table's name in one line."""
    return name if name.isprintable() else repr(name)[1:-1]
