"""The progress of a command on standard error: one live line or bar on a terminal, plain lines in a log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

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

from pulumi_snapshots.archive.source import Meter
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import printable, zoned
from pulumi_snapshots.errors import Words
from pulumi_snapshots.run.session import Session

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
        """Say good news that stays."""
        self._invocation.remark(self._invocation.wording.text(text))

    def warn(self, text: Words) -> None:
        """Say something that the user should know afterwards."""
        self._invocation.warn(text)

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
    if invocation.quiet or not console.is_interactive:
        yield Display(invocation, None, logged=logged and not invocation.quiet)
        return
    live = _live(console, transfers=transfers)
    invocation.live = live.console
    live.start()
    try:
        yield Display(invocation, live, logged=logged)
    finally:
        invocation.live = None
        with suppress(OSError, ValueError):  # the terminal may be gone
            live.stop()


@asynccontextmanager
async def asking(invocation: Invocation) -> AsyncIterator[tuple[Session, Display]]:
    """The service for a short question, with a line on a terminal while it is asked."""
    async with invocation.session() as session:
        with display(invocation, logged=False) as shown:
            shown.progress(ASKING)
            yield session, shown


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
