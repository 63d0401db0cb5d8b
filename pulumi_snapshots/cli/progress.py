"""How a command goes, on standard error: one live line or bar on a terminal, plain lines in a log."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn
from rich.table import Column
from rich.text import Text

from pulumi_snapshots.cli.wording import COMMANDS
from pulumi_snapshots.cli.words import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import ProgressColumn

    from pulumi_snapshots.archive.archive import Meter
    from pulumi_snapshots.cli.place import Place
    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.errors.wording import Wording

__all__ = ["Display", "display"]


class Display(Protocol):
    """An operation's listener, on this machine's terminal or log."""

    meter: Meter | None
    """For transfers; None where lines tell of them."""

    def progress(self, text: Words) -> None:
        """What goes on now."""

    def warn(self, text: Words) -> None:
        """Something that the user should know afterwards."""

    def will_keep(self, *, pending: bool) -> bool:
        """Whether the end of the operation reaches a state: there is none here, so the attempt journal goes on remembering."""


class _Log:
    """Plain lines."""

    meter: Meter | None = None

    def __init__(self, place: Place, wording: Wording, *, progress: bool) -> None:
        self._place = place
        self._wording = wording
        self._progress = progress
        self._last: Words = ""

    def progress(self, text: Words) -> None:
        if self._progress and text != self._last:
            self._last = text
            self._place.log(self._wording.text(text))

    def warn(self, text: Words) -> None:
        self._place.warn(text, self._wording)

    def will_keep(self, *, pending: bool) -> bool:
        return not pending


class _Terminal:
    """One live line, and a bar once bytes come."""

    def __init__(self, console: Console, wording: Wording, *, transfers: bool) -> None:
        self._wording = wording
        # A dot that turns, and the one that stands for three, need more than ASCII.
        spinner, overflow = ("line", "crop") if console.options.ascii_only else ("dots", "ellipsis")
        line = Column(ratio=1, no_wrap=True, overflow=overflow)  # type: ignore[arg-type]  # one of its words
        columns: list[ProgressColumn] = [SpinnerColumn(spinner)]
        columns.append(TextColumn("{task.description}", markup=False, table_column=line))
        if transfers:
            columns += [BarColumn(24), DownloadColumn(), TransferSpeedColumn()]
        self.live = Progress(*columns, console=console, transient=True, expand=True)
        self._task = self.live.add_task("", total=None)
        self.meter: Meter | None = self._meter if transfers else None

    def progress(self, text: Words) -> None:
        self.live.update(self._task, description=printable(self._wording.text(text)).replace("\n", " "))

    def warn(self, text: Words) -> None:
        with suppress(OSError, ValueError):
            # By the live line's own console, which prints above it.
            self.live.console.print(Text(printable(f"warning: {self._wording.text(text)}")), soft_wrap=True)

    def will_keep(self, *, pending: bool) -> bool:
        return not pending

    def _meter(self, received: int, total: int | None) -> None:
        self.live.update(self._task, description="transferring", completed=received, total=total)


@contextmanager
def display(
    place: Place, wording: Wording = COMMANDS, *, transfers: bool = False, logged: bool = True
) -> Iterator[Display]:
    """What shows an operation while the body runs.

    Args:
        place: has standard error.
        wording: says it.
        transfers: whether bytes are to be shown.
        logged: whether a log is told too; a short question is not worth its lines.
    """
    console = Console(file=place.err)
    # Asked of the stream itself: rich also takes a variable's word for it.
    if not place.err.isatty() or console.is_dumb_terminal:
        yield _Log(place, wording, progress=logged)
        return
    terminal = _Terminal(console, wording, transfers=transfers)
    terminal.live.start()
    try:
        yield terminal
    finally:
        with suppress(OSError, ValueError):  # the terminal may be gone
            terminal.live.stop()
