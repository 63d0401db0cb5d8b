"""A connection to any engine: what it can be asked, and how answers become one value."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence, Sized
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple, TypeVar
from uuid import UUID

from pulumi_snapshots.clock import rfc3339

T = TypeVar("T")
Scalar = str | int | float | bool | None
"""What a check compares."""


class Refused(Exception):
    """A command gave no value; the text is the reason, which may hold secrets."""


def is_late(error: BaseException | None) -> bool:
    """Tell whether a time-out is among the causes of an error.

    Args:
        error: A library's error; None is no time-out.

    Returns:
        True for a `TimeoutError`, for PostgreSQL's code of a statement that took too long, and for
        an error that either of them has caused.
    """
    if error is None:
        return False
    # PostgreSQL has a code for it.
    if isinstance(error, TimeoutError) or getattr(error, "sqlstate", None) == "57014":
        return True
    # PyMySQL keeps the first error in an attribute only.
    original = getattr(error, "original_exception", None)
    return is_late(original or error.__cause__ or error.__context__)


GIB = 2**30


class Table(NamedTuple):
    """A table, collection, key space or view, as its engine lists it.

    Attributes:
        name: Its name for people: `public.orders`.
        source: How the engine's commands name it.
        size: Its bytes, documents or keys.
        is_view: Whether it has no rows of its own.
        estimate: The rows that the engine believes it has, if the list of tables says so.
    """

    name: str
    source: str
    size: int
    is_view: bool = False
    estimate: int = 0


class BlockingConnection(ABC):
    """A connection that blocks.

    Each class takes the connection string, and the seconds that connecting, and then each command,
    may take.

    Attributes:
        end: Ends the connection.
        is_lost: Whether a command's error means that there is no connection any more.
        counted_up_to: The size of a table up to which its rows are counted, not estimated.
    """

    end: Callable[[], object]
    is_lost: Callable[[Exception], bool]
    counted_up_to: float

    @abstractmethod
    def ask(self, command: str) -> Scalar:
        """Return the one value that a command results in.

        Args:
            command: SQL, a command of MongoDB in JSON, or a command line of Redis.

        Returns:
            The value; see `scalar` for times and lengths of time.

        Raises:
            Refused: The command may write, or its result is not exactly one value.
        """

    @abstractmethod
    def age(self) -> Scalar:
        """Return the seconds for which the server has run.

        If the server does not say, the result is no number, or the library's error is raised.
        """

    @abstractmethod
    def tables(self, until: float) -> list[Table]:
        """List the tables and views that hold a user's data.

        Args:
            until: When the list must be ready, in seconds of this machine's monotonic clock.

        Returns:
            The tables, in no order; tables of the server itself are left out.
        """

    @abstractmethod
    def count(self, table: Table, seconds: float) -> int:
        """Count the rows of a table.

        Args:
            table: One of `tables`, but no view.
            seconds: How long the count may take.

        Returns:
            The exact number of rows, documents or keys.

        Raises:
            Exception: The library's error; `is_late` is true of it if time ran out.
        """

    def estimate(self, table: Table, seconds: float) -> int:  # noqa: ARG002  some need time
        """Return about how many rows a table has.

        Args:
            table: One of `tables`, but no view.
            seconds: How long the estimate may take.

        Returns:
            The engine's own figure from the list of tables, unless the engine has a better way.
        """
        return table.estimate

    @abstractmethod
    def open_view(self, table: Table) -> object:
        """Begin to read a view, without fetching a row, which shows that its query works.

        Args:
            table: One of `tables` that is a view.

        Returns:
            Nothing that counts.

        Raises:
            Exception: The library's error if the view does not work.
        """

    @abstractmethod
    def writes(self) -> object:
        """Return a value that changes once something writes to the database.

        None if the server does not say.
        """

    def close(self) -> None:
        """End the connection, whatever became of it."""
        with suppress(Exception):
            self.end()


def scalar(value: object) -> Scalar:
    """Convert a database's value to a text, number, truth value or None.

    Args:
        value: What the library gave. Bytes are text in UTF-8.

    Returns:
        The value. A time is a text: in UTC as the outputs write it if it has a zone, else as it is.
        A length of time is in seconds.

    Raises:
        Refused: It is none of these, such as a list, or a number that is not finite.
        UnicodeDecodeError: Its bytes are not text in UTF-8.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float | Decimal):
        return _number(value)
    if isinstance(value, date | time | timedelta):
        return _time(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode()
    if isinstance(value, UUID):
        return str(value)
    count = f" with {len(value)} elements" if isinstance(value, Sized) else ""
    raise Refused(f"its result is a {type(value).__name__}{count}, not one value")


def _number(value: float | Decimal) -> int | float:
    """Convert a number, which may be of a library's own kind, to one of Python's.

    A whole decimal is an int.
    """
    if isinstance(value, int):
        return int(value)
    if not math.isfinite(value):
        raise Refused("its result is not a finite number")
    is_whole = isinstance(value, Decimal) and value == value.to_integral_value()
    return int(value) if is_whole else float(value)


def _time(value: date | time | timedelta) -> str | float:
    """Convert a time to a text, and a length of time to seconds."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime) and value.tzinfo:
        return rfc3339(value)
    return value.isoformat()


def only(elements: Sequence[T], what: str) -> T:
    """Return the only element of a result.

    Args:
        elements: The first elements of the result: two of them are enough to see that it has
            several.
        what: The noun for an element, such as `row`.

    Returns:
        The element.

    Raises:
        Refused: There is none, or more than one.
    """
    if len(elements) == 1:
        return elements[0]
    count = "more than one" if elements else "no"
    raise Refused(f"its result has {count} {what}")


def only_column(rows: Sequence[Sequence[object]]) -> Scalar:
    """Return the only column of the only row.

    Args:
        rows: The first rows of a result, at least two of them if it has as many.

    Returns:
        The value, as `scalar` converts it.

    Raises:
        Refused: There is not exactly one row with one column, or its value is none that `scalar`
            takes.
    """
    row = only(rows, "row")
    if len(row) != 1:
        raise Refused(f"its result has {len(row)} columns, not one")
    return scalar(row[0])
