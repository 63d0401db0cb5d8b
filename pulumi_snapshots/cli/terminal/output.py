"""Text for terminals and programs: tables and facts for people, fields for JSON. Writes nothing."""

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
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
UNLIMITED = 10_000  # columns of a stream that is no terminal: lines of a pipe are never folded
READABLE = 100  # columns of prose at most
MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM", "unknown": "?"}
GOOD = {True: MARKS["ok"], False: MARKS["problem"]}


def printable(text: str) -> str:
    """The text with control characters escaped, since they would steer the terminal."""
    # Category C: control and format characters, halves of a surrogate pair, unassigned ones.
    return "".join(
        each.encode("unicode_escape").decode()
        if unicodedata.category(each)[0] == "C" and each != "\n"
        else each
        for each in text
    )


def zoned(moment: datetime, zone: tzinfo | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time in the user's zone, which it names; in that of this machine if `zone` is None."""
    return f"{moment.astimezone(zone):{form} %Z}"


def named(database: AccountDatabase, id_: str) -> str:
    """Name a database for people: its name, if it has one, and its id."""
    return f"{database.name} ({id_})" if database.name else id_


def size_text(count: int | None) -> str | None:
    """A number of bytes, if it is known."""
    return None if count is None else bytes_text(count)


def fields_of(
    snapshot: str | None, thing: object, record: type[Record], *, urls: bool = False
) -> dict[str, Any]:
    """The fields of a resource for programs.

    Its snapshot's id, and the outputs that its record declares; secrets only with `urls`.
    """
    shown = (
        each
        for each in record.properties().values()
        if not each.internal and (urls or not each.secret)
    )
    return {"id": snapshot, **{each.name: getattr(thing, each.name) for each in shown}}


def width_of(stream: IO[str]) -> int:
    """The columns of the stream's terminal."""
    try:
        return (
            max(1, os.get_terminal_size(stream.fileno()).columns) if stream.isatty() else UNLIMITED
        )
    except (OSError, ValueError):
        return UNLIMITED


def grid(rows: Iterable[Sequence[str]], stream: IO[str] | None = None) -> str:
    """Rows of cells, of which only the last is folded, at the width of a stream."""
    cells = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        if not cells.columns:
            for _ in row[1:]:
                cells.add_column(no_wrap=True)
        cells.add_row(*(Text(printable(each), overflow="fold") for each in row))
    width = width_of(stream) if stream else UNLIMITED
    console = Console(file=StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(cells)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def facts(values: Mapping[str, str | None]) -> str:
    """A line for each value that is known, beside its name."""
    return grid((name, value) for name, value in values.items() if value)


def table(columns: Sequence[str], rows: Iterable[Sequence[str | None]], stream: IO[str]) -> str:
    """A table.

    If the stream is too narrow for it, two lines for each row, since an id must not be cut.
    """
    shown = [[printable(cell or "") for cell in row] for row in rows]
    wide = grid([columns, *shown])
    if max(map(cell_len, wide.splitlines())) <= width_of(stream):
        return wide
    first = (
        next(number for number, head in enumerate(columns) if head) + 1
    )  # a mark, and what it is about
    return "".join(
        f"{'  '.join(row[:first])}\n  {'  '.join(filter(None, row[first:]))}\n" for row in shown
    )


def markdown(text: str, stream: IO[str]) -> str:
    """Markdown as a terminal shows it, folded at its width; as it is for anything else."""
    if not stream.isatty():
        return f"{text}\n"
    console = Console(file=StringIO(), width=min(width_of(stream), READABLE), force_terminal=True)
    with console.capture() as captured:
        console.print(Markdown(re.sub(r"^# (.*)", r"**\1**", text)))
    return captured.get()
