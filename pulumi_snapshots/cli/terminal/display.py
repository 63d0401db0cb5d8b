"""The progress of a command on standard error: one live line or bar on a terminal, plain lines in a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from pulumi_snapshots.archive.source import Meter
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import printable, zoned
from pulumi_snapshots.errors.text import Words

ASKING = "asking the service, in turn with other runs"


class Display:
    """The listener of an operation; see `display`. Without a live line it writes a log."""

    def __init__(self, invocation: Invocation, live: Progress | None, *, logged: bool) -> None:
        self._invocation = invocation
        self._live = live
        self._logged = logged
        self._last: Words = ""

    def progress(self, text: Words) -> None:
        """Show what happens now."""
        if self._live:
            shown = printable(self._invocation.wording.text(text)).replace("\n", " ")
            self._live.update(self._live.task_ids[0], description=shown)
        elif self._logged and text != self._last:
            self._last = text
            self._invocation.say(
                f"{zoned(self._invocation.clock.utc(), self._invocation.zone)}  {self._invocation.wording.text(text)}"
            )

    def note(self, text: Words) -> None:
        """Say good news that stay."""
        self._leave(self._invocation.wording.text(text))

    def warn(self, text: Words) -> None:
        """Say something that the user should know afterwards."""
        self._leave(f"warning: {self._invocation.wording.text(text)}")

    def _leave(self, text: str) -> None:
        if self._live is None:
            self._invocation.say(text)
            return
        with suppress(OSError, ValueError):  # the live line's own console prints above it
            self._live.console.print(Text.from_ansi(self._invocation.coloured(printable(text))), soft_wrap=True)

    @property
    def meter(self) -> Meter | None:
        """Shows the bytes of a transfer; None for a log, which has lines for that."""
        return self._show_bytes if self._live else None

    def _show_bytes(self, received: int, total: int | None) -> None:
        if self._live:
            self._live.update(self._live.task_ids[0], description="transferring", completed=received, total=total)


@contextmanager
def display(invocation: Invocation, *, transfers: bool = False, logged: bool = True) -> Iterator[Display]:
    """Show an operation while the body runs.

    Args:
        invocation: the command's.
        transfers: whether a terminal shows a bar of the bytes.
        logged: whether a log has the progress too; a short question is not worth its lines.
    """
    # By itself, rich would take a variable's word for what is a terminal.
    console = Console(file=invocation.err, force_terminal=invocation.err.isatty())
    live = _live(console, transfers=transfers) if console.is_interactive else None
    if live:
        live.start()
    try:
        yield Display(invocation, live, logged=logged)
    finally:
        if live:
            with suppress(OSError, ValueError):  # the terminal may be gone
                live.stop()


def _live(console: Console, *, transfers: bool) -> Progress:
    # The turning dots, and the one that stands for three, need more than ASCII.
    ascii_only = console.options.ascii_only
    line = Column(ratio=1, no_wrap=True, overflow="crop" if ascii_only else "ellipsis")
    live = Progress(
        SpinnerColumn("line" if ascii_only else "dots"),
        TextColumn("{task.description}", markup=False, table_column=line),
        TimeElapsedColumn(),
        *((BarColumn(24), DownloadColumn(), TransferSpeedColumn()) if transfers else ()),
        console=console,
        transient=True,
        expand=True,
    )
    live.add_task("", total=None)
    return live
