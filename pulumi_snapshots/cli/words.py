"""Text that a terminal may be given."""

from __future__ import annotations

import unicodedata
from datetime import UTC

from pulumi_snapshots.clock import parse_rfc3339

__all__ = ["moment", "printable"]


def printable(text: str) -> str:
    """A text without what would steer the terminal that shows it; the service's words are anybody's."""
    return "".join(character if _is_harmless(character) else _escaped(character) for character in text)


def _is_harmless(character: str) -> bool:
    # Category C: control and format characters, halves of a surrogate pair, what is not assigned.
    return character == "\n" or not unicodedata.category(character).startswith("C")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def moment(text: str | None) -> str:
    """A time of the outputs, in whole seconds: `2026-11-24 23:00:00`."""
    return "" if text is None else f"{parse_rfc3339(text).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
