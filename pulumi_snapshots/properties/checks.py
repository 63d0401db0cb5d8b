"""Checks that several resources share, without a request. Standard library only: programs load it."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from pulumi_snapshots.properties.durations import duration_text, parse_duration, shown

__all__ = [
    "RETENTION",
    "UNKNOWN",
    "Problem",
    "database_id_problem",
    "digest_of",
    "is_usual_database_id",
    "text_problem",
    "timeout_problem",
    "triggers_problem",
    "version_id_problem",
]


RETENTION = 30 * 86400.0
"""Seconds that the service keeps a snapshot."""


TRIGGERS_LIMIT = 2**20
"""Characters of JSON. What is pending is handed to the engine in a message's trailer, of which it takes 16 MiB at most."""


TIMEOUT_LIMIT = 7 * 86400.0
"""Seconds; far beyond any snapshot, restore or transfer, so a larger time-out is a mistake in the unit."""


_USUAL_ID = re.compile(r"[a-f0-9]{32}")


class _Unknown:
    """The value of an input that a preview does not know yet."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True)
class Problem:
    """A bad input: on which property, and what would be right."""

    property: str
    reason: str


def digest_of(triggers: object) -> str:
    """A digest of the triggers, to tell whether they are the same; they themselves may be secret."""
    if not triggers:
        return ""
    text = json.dumps(triggers, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_usual_database_id(database_id: str) -> bool:
    """Whether it has the shape that the service documents (32 hex digits); others were seen in its examples."""
    return _USUAL_ID.fullmatch(database_id) is not None


def database_id_problem(value: object, *, purpose: str = "take a snapshot of") -> str | None:
    """Why it is no id of a database; None where it may be one, or is `UNKNOWN`.

    Args:
        value: the input.
        purpose: what the database is needed for, as "the id of the database to …".
    """
    if value is UNKNOWN:
        return None
    if value is None:
        return f"is required: the id of the database to {purpose}"
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}"
    if value == "":
        return f"must not be empty: it is the id of the database to {purpose}"
    # It becomes one segment of a path, so nothing that would make it another path may be in it.
    # Also in disguise: what a server that folds Unicode would read as one of them.
    folded = unicodedata.normalize("NFKC", value)
    if folded in {".", ".."} or any(_is_unsafe(character) for character in value + folded):
        return r"must be a bare id, without slashes, backslashes, ?, #, %, white space or control characters"
    return None


def triggers_problem(value: object) -> str | None:
    """Why these are no triggers."""
    if value is None or value is UNKNOWN:
        return None
    if not isinstance(value, list | tuple):
        return f"must be a list, not {type(value).__name__}"
    size = len(json.dumps(value, default=str))
    if size > TRIGGERS_LIMIT:
        return f"must be 1 MiB at most, as JSON, not {size / 2**20:.0f}: give a digest of what it is taken for"
    return None


def version_id_problem(value: object) -> str | None:
    """Why it is no version id that was given; whether one is missing is another question."""
    if value is None or value is UNKNOWN:
        return None
    fits = isinstance(value, str) and value and value.isprintable() and " " not in value
    return None if fits else f"must be a snapshot's version id, not {shown(value)}"


def text_problem(value: object) -> str | None:
    """Why it is no text that was given; whether one is missing is another question."""
    fits = value is None or value is UNKNOWN or isinstance(value, str)
    return None if fits else f"must be a string, not {type(value).__name__}"


def timeout_problem(value: object) -> str | None:
    """Why it is no time-out."""
    if value is None or value is UNKNOWN:
        return None
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        return str(error)
    if seconds == 0:
        return "must be longer than zero"
    return None if seconds <= TIMEOUT_LIMIT else f"must be at most {duration_text(TIMEOUT_LIMIT)}, not {shown(value)}"


def _is_unsafe(character: str) -> bool:
    return character in "/\\?#%" or character.isspace() or unicodedata.category(character).startswith("C")
