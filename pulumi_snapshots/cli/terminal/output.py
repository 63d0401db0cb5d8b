"""Text for terminals and programs: tables and facts for people, fields for JSON. Writes nothing."""

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from io import StringIO
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from pulumi_snapshots.archive.source import bytes_text
from pulumi_snapshots.properties.catalogue import Record
from pulumi_snapshots.service.models import AccountDatabase

OUTPUT_FORMAT = 1
"""The version of what scripts rely on: the documents of `--json`, exit codes, names of metrics.

`docs/contracts.md` says what it promises, and when it rises.
"""
# columns of a stream that is no terminal: lines of a pipe are never folded
UNLIMITED = 10_000
READABLE = 100  # columns of prose at most
MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM", "unknown": "?"}
GOOD = {True: MARKS["ok"], False: MARKS["problem"]}


def printable(text: str) -> str:
    """Return a text with its control characters escaped, because they would steer the terminal.

    Args:
        text: the text.
    """
    # Category C: control and format characters, halves of a surrogate pair, unassigned ones.
    return "".join(
        each.encode("unicode_escape").decode()
        if unicodedata.category(each)[0] == "C" and each != "\n"
        else each
        for each in text
    )


def zoned(
    moment: datetime, zone: tzinfo | None, form: str = "%Y-%m-%d %H:%M:%S"
) -> str:
    """Format a time in a zone, with the zone's name.

    Args:
        moment: the time.
        zone: the user's zone; None for this machine's.
        form: as for `strftime`.

    Returns:
        The text.
    """
    return f"{moment.astimezone(zone):{form} %Z}"


def named(database: AccountDatabase, id_: str) -> str:
    """Name a database for people: its name, if it has one, and its id.

    Args:
        database: the database.
        id_: its id.

    Returns:
        The text.
    """
    return f"{database.name} ({id_})" if database.name else id_


def joined(*texts: str | None) -> str:
    """Return the texts that are known, joined by commas.

    Args:
        *texts: The texts; None for what is not known.
    """
    return ", ".join(filter(None, texts))


def size_text(count: int | None) -> str | None:
    """Format a number of bytes.

    Args:
        count: the bytes; None if they are not known.

    Returns:
        The text; None if the bytes are not known.
    """
    return None if count is None else bytes_text(count)


def fields_of(
    snapshot: str | None,
    thing: object,
    record: type[Record],
    *,
    urls: bool = False,
) -> dict[str, Any]:
    """Return the fields of a resource for programs.

    They are its snapshot's id, and the outputs that its record declares.

    Args:
        snapshot: the snapshot's id; None without one.
        thing: the resource.
        record: the class that declares the outputs.
        urls: whether to include secrets.
    """
    fields = {
        name: getattr(thing, name)
        for name, each in record.properties().items()
        if not each.internal and (urls or not each.secret)
    }
    return {"id": snapshot, **fields}


def width_of(stream: IO[str]) -> int:
    """Return the columns of a stream's terminal.

    Args:
        stream: the stream.
    """
    with suppress(OSError, ValueError):
        if stream.isatty():
            return max(1, os.get_terminal_size(stream.fileno()).columns)
    return UNLIMITED


def first_named(columns: Sequence[str]) -> int:
    """Return the number of the first column with a heading: a mark, which has none, can precede it.

    Args:
        columns: the headings.
    """
    return 0 if columns[0] else 1


def grid(rows: Iterable[Sequence[str]], stream: IO[str] | None = None) -> str:
    """Format rows of cells, of which only the last is folded.

    Args:
        rows: the cells; each row has as many.
        stream: the stream, for its width; None for no folding.

    Returns:
        The text.
    """
    cells = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        if not cells.columns:
            for _ in row[1:]:
                cells.add_column(no_wrap=True)
        cells.add_row(*(Text(printable(each), overflow="fold") for each in row))
    width = width_of(stream) if stream else UNLIMITED
    shown = _rendered(cells, width=width, color_system=None, legacy_windows=False)
    return "".join(f"{line.rstrip()}\n" for line in shown.splitlines())


def _rendered(content: Table | Markdown, **options: Any) -> str:
    console = Console(file=StringIO(), **options)
    with console.capture() as captured:
        console.print(content)
    return captured.get()


def facts(values: Mapping[str, str | None]) -> str:
    """Format one line for each known value, beside its name.

    Args:
        values: the values by their names; None if a value is not known.

    Returns:
        The text.
    """
    return grid((name, value) for name, value in values.items() if value)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str | None]], stream: IO[str]
) -> str:
    """Format a table.

    If the stream is too narrow for the table, each row takes two lines, since an id must not be
    cut. The second line names its columns.

    Args:
        columns: the headings.
        rows: the cells; None for an empty one.
        stream: the stream, for its width.

    Returns:
        The text.
    """
    shown = [[printable(cell or "") for cell in row] for row in rows]
    wide = grid([columns, *shown])
    if max(map(cell_len, wide.splitlines())) <= width_of(stream):
        return wide
    first = first_named(columns) + 1
    rest = [head.lower() for head in columns[first:]]
    return "".join(
        f"{'  '.join(row[:first])}\n  {_named(rest, row[first:])}\n" for row in shown
    )


def _named(heads: Sequence[str], cells: Sequence[str]) -> str:
    """The cells that hold something, each after its heading."""
    named = zip(heads, cells, strict=True)
    return "  ".join(f"{head} {cell}" for head, cell in named if cell)


def markdown(text: str, stream: IO[str]) -> str:
    """Format Markdown for a terminal, folded at its width; any other stream gets it unchanged.

    Args:
        text: the Markdown.
        stream: the stream.

    Returns:
        The text.
    """
    if not stream.isatty():
        return f"{text}\n"
    width = min(width_of(stream), READABLE)
    content = Markdown(re.sub(r"^# (.*)", r"**\1**", text))
    return _rendered(content, width=width, force_terminal=True)
