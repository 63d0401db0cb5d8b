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


def scalar(value: object) -> Scalar:  # noqa: C901, PLR0911  one for each kind of value
    """A database's value as text, number, truth value or None.

    A time is text: in UTC as the outputs write it if it has a zone, else as it is. A length of time is in seconds.

    Raises:
        NotOneValue: it is a list, a document, bytes that are no text, or no number.
    """
    match value:
        case str() | bool() | None:
            return value
        case int():
            return int(value)  # a library's own kind of whole number too
        case float() | Decimal():
            if not math.isfinite(value):
                raise NotOneValue("its result is not a finite number")
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
                raise NotOneValue(NOT_TEXT) from None
    size = f" with {len(value)} " if isinstance(value, dict | list | tuple | set) else ""
    kind = f"a document{size}fields" if isinstance(value, dict) else f"a list{size}elements"
    raise NotOneValue(f"its result is {kind if size else f'of the kind {type(value).__name__}'}, not one value")


def as_number(value: Scalar) -> float | None:
    """A value as a number, also if it is written as a text; None if it is none."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


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
    """The only column of the only row; see `only`."""
    row = only(rows, "row")
    if len(row) != 1:
        raise NotOneValue(f"its result has {len(row)} columns, not one")
    return scalar(row[0])
