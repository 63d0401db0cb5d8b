"""What asking a database gives: one value or an error, neither with the connection string. Programs load it, without a library."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, TypeVar
from uuid import UUID

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors import Explained, Next, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pulumi_snapshots.databases.dumps import Loading

T = TypeVar("T")
NOT_TEXT = "its result is not text in UTF-8"
Scalar = str | int | float | bool | None
"""What a check compares."""
NOISE = re.compile(r" \(configured timeouts|, Timeout: |, full error: ")
"""Where the useful part of what MongoDB's library says ends."""


class DatabaseUnreachable(Explained):
    """No connection, and `why`, which is `lasting` as with a wrong password. That proves nothing about the data."""

    def __init__(
        self, title: str, why: str, then: Iterable[Next] = (Next(Step.CHECK_CONNECTION),), *, lasting: bool = False
    ) -> None:
        happened = f"The {title} database of the connection cannot be reached: {why}"
        super().__init__(happened, "No check has asked it anything.", then)
        self.why, self.lasting = why, lasting


class CheckNotRun(Explained):
    """A check's command gave no value to compare, and `why`, such as `relation "orders" does not exist`."""

    def __init__(self, why: str) -> None:
        happened = f"The check's command gave no value: {why}"
        super().__init__(happened, "Nothing was compared.", [Next(Step.CORRECT_CHECK)])
        self.why = why


class Refused(Exception):
    """A command gave no value; the text is the reason, for `database` alone, since it may hold secrets."""


class Lost(Exception):
    """There is no connection, or no more; the text as of `Refused`."""


class Session(ABC):
    """A connection that blocks, made of its string and the seconds that connecting, and then each command, may take.

    All but `load` may raise `Refused`, `Lost`, `TimeoutError`, and any error of its library.
    """

    counts: ClassVar[str]
    """The command by which `holds` counts."""
    ages: ClassVar[tuple[str, ...]] = ()
    """The commands that say for how many seconds the server has run, each for a server that refuses the one before."""
    end: Callable[[], object]
    """Ends the connection."""

    @abstractmethod
    def ask(self, command: str) -> Scalar:
        """The one value that a command results in."""

    def holds(self) -> int:
        """How many tables, collections or keys the database has."""
        return int(self.ask(self.counts) or 0)

    def age(self) -> float | None:
        """Seconds for which the server has run; None, or an error, if it does not say."""
        for command in self.ages:
            with suppress(Refused):
                return as_number(self.ask(command))
        return None

    def close(self) -> None:
        """End the connection, whatever became of it."""
        with suppress(Exception):
            self.end()

    @staticmethod
    @abstractmethod
    def empty(dsn: str) -> None:
        """Remove everything that the database holds."""

    @staticmethod
    @abstractmethod
    async def load(loading: Loading) -> None:
        """Load a dump; see `database.load`."""


def said(error: BaseException) -> str:
    """What a library's error says, without codes and what its other arguments are."""
    return NOISE.split(str(error.args[-1]))[0] if error.args else type(error).__name__


def scalar(value: object) -> Scalar:  # noqa: C901, PLR0911  one for each kind of value
    """A database's value as text, number, truth value or None; raises `Refused` if it is none of these.

    A time is text: in UTC as the outputs write it if it has a zone, else as it is. A length of time is in seconds.
    """
    match value:
        case str() | bool() | None:
            return value
        case int():
            return int(value)  # a library's own kind of whole number too
        case float() | Decimal():
            if not math.isfinite(value):
                raise Refused("its result is not a finite number")
            is_whole = isinstance(value, Decimal) and value == value.to_integral_value()
            return int(value) if is_whole else float(value)
        case timedelta():
            return value.total_seconds()
        case datetime() if value.tzinfo:
            return rfc3339(value)
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            try:
                return bytes(value).decode()
            except UnicodeDecodeError:
                raise Refused(NOT_TEXT) from None
    kind = f"of the kind {type(value).__name__}"
    if isinstance(value, dict | list | tuple | set):
        kind = f"a {'document' if isinstance(value, dict) else 'list'} with {len(value)} elements"
    raise Refused(f"its result is {kind}, not one value")


def as_number(value: Scalar) -> float | None:
    """A value as a number, also if it is written as a text; None if it is none."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def only(elements: Sequence[T], what: str) -> T:
    """The only element of a result, of which the first ones are given; raises `Refused` if there is none, or more than one."""
    if len(elements) != 1:
        raise Refused(f"its result has {'more than one' if elements else 'no'} {what}")
    return elements[0]


def only_column(rows: Sequence[Sequence[object]]) -> Scalar:
    """The only column of the only row; see `only`."""
    row = only(rows, "row")
    if len(row) != 1:
        raise Refused(f"its result has {len(row)} columns, not one")
    return scalar(row[0])
