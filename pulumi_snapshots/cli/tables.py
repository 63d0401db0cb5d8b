"""Results on standard output: tables for people, JSON for programs. Renders text; writes nothing."""

from __future__ import annotations

import json
import os
from io import StringIO
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pulumi_snapshots.cli.words import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["as_json", "facts", "report", "table", "width_of"]

UNLIMITED = 10_000
"""Columns where nobody's terminal limits them: a line of a pipe is never folded."""

NARROW = 70
"""Columns below which a report has no columns of its own."""


def as_json(content: Any) -> str:
    """For programs; ASCII, whatever the locale."""
    return json.dumps(content, indent=2) + "\n"


def width_of(stream: IO[str]) -> int:
    """How many columns the stream has."""
    try:
        return max(1, os.get_terminal_size(stream.fileno()).columns) if stream.isatty() else UNLIMITED
    except (OSError, ValueError):
        return UNLIMITED


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> str:
    """A table; where it is wider than the terminal, two lines for each row: the first cell, and below it the others."""
    shown = [[printable(cell) for cell in row] for row in rows]
    grid = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in shown:
        grid.add_row(*map(Text, row))
    wide = _console(UNLIMITED)
    if Measurement.get(wide, wide.options, grid).maximum <= width:
        with wide.capture() as captured:
            wide.print(grid)
        return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
    return "".join(f"{first}\n  {'  '.join(filter(None, others))}\n" for first, *others in shown)


def report(rows: Sequence[tuple[str, str, str, str]], width: int) -> str:
    """What was checked: mark, what, what was found, and below it what to do.

    Folded at the terminal's width; on one with hardly any beside the first two, all stands below them instead.

    Args:
        rows: mark, check, found and advice of each.
        width: columns.
    """
    if width < NARROW:
        return "".join(
            f"{mark}  {check}\n" + "".join(f"  {printable(text)}\n" for text in (found, advice) if text)
            for mark, check, found, advice in rows
        )
    grid = Table.grid(padding=(0, 2, 0, 0))
    for mark, check, found, advice in rows:
        text = "\n".join(filter(None, (printable(found), printable(advice))))
        grid.add_row(mark, Text(check), Text(text, overflow="fold"))
    console = _console(width)
    with console.capture() as captured:
        console.print(grid)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def facts(values: Mapping[str, str]) -> str:
    """One thing: a line for each thing that is known of it."""
    longest = max(map(len, values), default=0)
    return "".join(f"{name:{longest}}  {printable(value)}\n" for name, value in values.items() if value)


def _console(width: int) -> Console:
    return Console(file=StringIO(), width=width, color_system=None, legacy_windows=False)
