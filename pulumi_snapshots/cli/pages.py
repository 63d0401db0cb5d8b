"""The texts of `explain`: the section about an error, and the last error of this machine.

This module needs no extra.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

from pulumi_snapshots.errors.pages import LAST_ERROR, page_name, pages, sections
from pulumi_snapshots.state_directory import state_directory

QUOTE = re.compile(r"^> .*", re.MULTILINE)
"""A line of an error's text, as its section shows it."""
LAST_ABOUT = ("ListingBlocked", "Throttled", "ChangeHeldBack")
"""Errors with an answer of which others are the usual cause."""


def page_text(name: str) -> str | None:
    """Return the section about an error, in Markdown without links.

    Args:
        name: such as `key-refused` or `KeyRefused`.

    Returns:
        The section; None if there is none.
    """
    wanted = re.sub("[-_ ]", "", name).lower()
    for error, text in sections().items():
        if error.lower() == wanted:
            section = f"# {error}\n{text}"
            return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", section).strip()
    return None


def page_names() -> list[str]:
    """Return the names of all errors that have a section."""
    return sorted(map(page_name, sections()))


def pages_about(code: str) -> list[str]:
    """Return the names of the sections about a code or a status, the likeliest first.

    Args:
        code: such as `KEEP_CALM` or `429`.
    """
    word = re.compile(rf"(?<!\w){re.escape(code.upper().replace('-', '_'))}(?!\w)")
    names = [name for name, text in sections().items() if word.search(text)]
    # The pages begin with what happens most. An error whose text shows the code is about the code;
    # other errors have the code as a cause.
    quoted = {name: "".join(QUOTE.findall(sections()[name])) for name in names}
    names.sort(key=lambda name: (name in LAST_ABOUT, not word.search(quoted[name])))
    return [page_name(name) for name in names]


def names_by_heading() -> dict[str, list[str]]:
    """Return the names of all errors by the heading of their page."""
    return {
        title: [page_name(name) for name in names] for title, names in pages().items()
    }


def summary(name: str) -> str:
    """Return the cause of an error in one line, the beginning of its section.

    Args:
        name: the error's name.
    """
    cause = re.search(
        r"\*\*Cause:\*\* (.*?)(?:[.;:](?:\s|$)|\n\n)", page_text(name) or "", re.DOTALL
    )
    return " ".join(cause[1].replace("`", "").split()) if cause else ""


def last_error(environment: Mapping[str, str]) -> tuple[str, datetime] | None:
    """Return the last error and when it was shown; None if there was none.

    Args:
        environment: the environment of the process.
    """
    file = state_directory(environment) / LAST_ERROR
    with suppress(OSError):
        return file.read_text(encoding="utf-8"), datetime.fromtimestamp(
            file.stat().st_mtime, UTC
        )
    return None
