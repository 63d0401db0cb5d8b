"""The one value of a check's result, as a state can hold it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from pulumi_snapshots.clock import rfc3339

T = TypeVar("T")
NOT_TEXT = "its result is not text in UTF-8"
Scalar = str | int | float | bool | None
"""What a check compares."""


class NotOneValue(Exception):
    """A result is not one value; the text says what it is."""


def scalar(value: object) -> Scalar:  # noqa: PLR0911 - one for each kind of value
    """A database's value as text, number, truth value or None.

    A time is text: in UTC as the outputs write it if it has a zone, else as it is. A length of time is in seconds.

    Raises:
        NotOneValue: it is a list, a document, bytes that are no text, or no number.
    """
    if isinstance(value, str | bool | None):
        return value
    if isinstance(value, int):
        return int(value)  # a library's own kind of whole number too
    if isinstance(value, float | Decimal):
        return _number(value)
    if isinstance(value, datetime):
        return rfc3339(value) if value.tzinfo else value.isoformat()
    if isinstance(value, timedelta):
        return _number(value.total_seconds())
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return text(bytes(value))
    raise NotOneValue(f"its result is {_kind(value)}, not one value")


def as_number(value: Scalar) -> float | None:
    """A value as a number, also if it is written as a text; None if it is none."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def text(value: bytes) -> str:
    """Bytes as text.

    Raises:
        NotOneValue: they are not UTF-8.
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise NotOneValue(NOT_TEXT) from None


def only(elements: Sequence[T], what: str) -> T:
    """The only element of a result.

    Args:
        elements: the first ones; two at least if there are more.
        what: what they are, such as "row".

    Raises:
        NotOneValue: there is none, or more than one.
    """
    if len(elements) != 1:
        raise NotOneValue(f"its result has {'more than one' if elements else 'no'} {what}")
    return elements[0]


def only_column(rows: Sequence[Sequence[object]]) -> Scalar:
    """The only column of the only row; see `only`.

    Raises:
        NotOneValue: there is none, or more than one, or it is not one value.
    """
    row = only(rows, "row")
    if len(row) != 1:
        raise NotOneValue(f"its result has {len(row)} columns, not one")
    return scalar(row[0])


def _number(value: float | Decimal) -> int | float:
    if not math.isfinite(value):
        raise NotOneValue("its result is not a finite number")
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else float(value)


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return f"a document with {len(value)} fields"
    if isinstance(value, list | tuple | set):
        return f"a list with {len(value)} elements"
    return f"of the kind {type(value).__name__}"
