"""The texts of `operations` as the command line says them, and text that a terminal may be given."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.run.settings import SOURCES

__all__ = ["PHRASES", "for_people", "moment", "printable"]

PHRASES = {
    "with `pulumi config set --secret squarecloud:apiKey` or in SQUARECLOUD_API_KEY": "in SQUARECLOUD_API_KEY",
    "`Snapshot.get` opens a snapshot whose version is known.": "`squarecloud-snapshots download` takes one whose version is known.",
    "`Snapshot.get` opens either of them": "`squarecloud-snapshots download` takes either of them",
    "until `pulumi refresh` finds this one in the listing and pins it": "until the service lists this one",
    "which a `pulumi up` on this machine has found": "which a run on this machine has found",
    "Give database_id:": "Name the database:",
    "Give database_id,": "Name the database,",
    "Check database_id,": "Check the database's id,",
}
"""What is said to who writes a Pulumi program, and what to who types a command."""
OWN_REPLACE = re.compile(r"`pulumi up --replace '(squarecloud-snapshots \w+)'`")
"""How a command is told to act again, where `operations` takes it for a resource."""


def for_people(text: str) -> str:
    """A text of `operations`, in the words of the command line: here settings come from the environment."""
    for phrase, instead in PHRASES.items():
        text = text.replace(phrase, instead)
    text = OWN_REPLACE.sub(r"`\1` with `--new`", text)
    for config_key, variable in SOURCES.values():
        text = text.replace(config_key, variable)
    return text


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
