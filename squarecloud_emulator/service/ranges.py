"""The numbers that the emulator takes: with larger ones its time would end, or its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 10 * 366 * 86400
"""Seconds, 10 years: longer than any test waits, and far from the last date that Python has."""
LARGEST = 2**30
"""Bytes of one body or zip, which is held in memory: 1 GiB."""
MOST = 10**9
"""What is counted or is in MB."""
_SHOWN = 40
"""Characters of a wrong number that an error repeats."""

SECONDS = (0, LONGEST)
COUNT = (0, MOST)
SIZE = (0, LARGEST)


def refuse_outside(name: str, value: float | None, within: tuple[float, float]) -> None:
    """Refuse a number that is out of its range.

    Args:
        name: What the number is called where a user gives it.
        value: The number; None, which stands for another default, is right.
        within: The least and the largest right number.

    Raises:
        ValueError: The number is out of its range, or is none.
    """
    least, most = within
    if value is None or least <= value <= most:
        return
    shown = str(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    raise ValueError(f"{name} must be {least} to {most}, not {shown}")


def refuse_any_outside(one: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse attributes of an object that are out of their ranges.

    Args:
        one: The object.
        ranges: By the attribute's name, its least and its largest right number.

    Raises:
        ValueError: The first attribute that is wrong.
    """
    for name, within in ranges.items():
        refuse_outside(name, getattr(one, name), within)
