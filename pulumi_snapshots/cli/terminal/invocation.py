"""One run of a command: its environment, its streams, its session, and what it shows of its progress."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import IO, Any, NoReturn

import anyio
import anyio.to_thread
import click
from rich.console import Console
from rich.status import Status
from rich.text import Text

from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.cli.terminal.output import json_text, printable, table, zoned
from pulumi_snapshots.cli.terminal.pulumi import configuration_of
from pulumi_snapshots.cli.terminal.wording import COMMANDS
from pulumi_snapshots.clock import Clock, Stoppable
from pulumi_snapshots.errors import Explained, Words
from pulumi_snapshots.lookup.prefix import whole_database, whole_version
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import Settings
from pulumi_snapshots.run.shared import ledger_of
from pulumi_snapshots.service.monitor import Monitor

NAME = "squarecloud-snapshots"
COMPLETE = "_SQUARECLOUD_SNAPSHOTS_COMPLETE"
"""The variable by which a shell asks for completions."""
DONE, FAILED, WRONG = 0, 1, 2
"""Exit codes; the last one is click's, for wrong arguments."""
COLOURS = {"Error:": "red", "warning:": "yellow", "hint:": "cyan", "more:": "cyan"}
"""Of the words that begin a line."""
LABEL = re.compile(rf"^(?:{'|'.join(COLOURS)})", re.MULTILINE)
ASKING = "asking the service, in turn with other runs"
LONGEST_ANSWER = 4096
"""Characters of a line that a user types; as many as a terminal takes."""


class OutputClosed(Explained):
    """The result could not be written to standard output. What the command was to do is done."""


def _open(settings: Settings, clock: Clock) -> Session:
    return Session(settings, ledger_of(settings, clock), clock=clock, state=settings.state_directory())


@dataclass(eq=False)
class Invocation:
    """One run of a command, which listens to the operations that it starts.

    Attributes:
        out: for results, and nothing else.
        err: for progress, warnings and errors.
        zone: of the times that people read; that of this machine if None.
        as_json: whether the result is for programs.
        quiet: whether the result is ids or paths alone, without progress.
        context: of the command, once it runs.
        notifies: the URL of a monitor that hears how it goes; None without one.
        failures: why the command failed.
        stoppable: what the first signal stops.
        ended_by: the signal that ends the command.
        wording: words what users read; a command adds its own facts.
    """

    environment: Mapping[str, str]
    out: IO[str] = field(default_factory=lambda: sys.stdout)
    err: IO[str] = field(default_factory=lambda: sys.stderr)
    stdin: IO[str] = field(default_factory=lambda: sys.stdin)
    clock: Clock = field(default_factory=Clock)
    open_session: Callable[[Settings, Clock], Session] = _open
    transfers: Transfers = field(default_factory=lambda: Transfers(clock=Clock()))
    monitor: Monitor = field(default_factory=Monitor)
    in_thread: Callable[..., Awaitable[Any]] = anyio.to_thread.run_sync
    zone: tzinfo | None = None
    as_json: bool = False
    quiet: bool = False
    context: click.Context | None = None
    notifies: str | None = None
    failures: list[str] = field(default_factory=list)
    stoppable: tuple[Stoppable, ...] = ()
    ended_by: int | None = None
    _live: Status | None = None
    _logged: bool = False
    _last: Words = ""

    def __post_init__(self) -> None:
        self.wording = COMMANDS.in_zone(lambda moment: zoned(moment, self.zone))

    @property
    def name(self) -> str:
        """The command as it is typed, without its arguments: the owner of what it requests."""
        return self.context.command_path if self.context else NAME

    # Results -------------------------------------------------------------------------------------------------------------

    def show(self, text: str) -> None:
        """Write a result, at once and whole; raises `OutputClosed` if it cannot be written."""
        try:
            self.out.write(text)
            self.out.flush()
        except OSError as error:
            why = error.strerror or str(error)
            raise OutputClosed(f"not all of the result was written to standard output: {why}") from error

    def result(self, fields: Any, text: str, *brief: str) -> None:
        """Write the result: JSON of the fields for programs, the brief lines with --quiet, or else the text for people."""
        quiet = "".join(f"{each}\n" for each in brief)
        self.show(json_text(fields) if self.as_json else quiet if self.quiet else text)

    def listed(self, fields: Any, heads: Sequence[str], rows: Sequence[Sequence[str | None]], none: str) -> None:
        """Write a list as `result` does, or say that there is none; the first column with a heading is the brief one."""
        if not rows and not self.as_json:
            self.note(none)
            return
        first = next(number for number, head in enumerate(heads) if head)
        brief = (row[first] or "" for row in rows)
        self.result(fields, table(heads, rows, self.out), *brief)

    # Standard error ------------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Write to standard error; if that is closed, the work continues."""
        text = printable(text)
        plain = self.environment.get("NO_COLOR") or self.environment.get("TERM") == "dumb"
        if self.err.isatty() and not plain:
            text = LABEL.sub(lambda label: click.style(label[0], COLOURS[label[0]], bold=True), text)
        with suppress(OSError, ValueError):
            if self._live:
                self._live.console.print(Text.from_ansi(text), soft_wrap=True)
                return
            self.err.write(f"{text}\n")
            self.err.flush()

    def note(self, text: Words) -> None:
        """Say what is good to know, unless the command is quiet."""
        if not self.quiet:
            self.say(self.wording.text(text))

    def warn(self, text: Words) -> None:
        """Say something that the user should know afterwards."""
        self.say(f"warning: {self.wording.text(text)}")

    def fail(self, text: str) -> None:
        """Say why the command failed."""
        self.failures.append(text)
        self.say(f"Error: {text}")

    def wrong(self, text: str, *, helps: bool = True) -> NoReturn:
        """Refuse what is typed; raises a `click.UsageError`. `helps` if the help of the command says what is right."""
        raise click.UsageError(text, self.context if helps else None)

    async def ask(self, question: str) -> str:
        """Ask the user to type a line; empty if none can be read. A signal ends the command meanwhile."""
        self.say(question)
        with suppress(OSError, ValueError):  # a stream without a descriptor, as in a test, is read at once
            await anyio.wait_readable(self.stdin.fileno())
        return self.stdin.readline(LONGEST_ANSWER).strip()

    # Progress ------------------------------------------------------------------------------------------------------------

    @contextmanager
    def working(self, *stoppable: Stoppable, logged: bool = True) -> Iterator[None]:
        """Show the progress while the body runs: one live line on a terminal, lines of a log elsewhere.

        The first signal stops what is `stoppable`, and the body comes to its own end. A short question is not `logged`.
        """
        # By itself, rich would take a variable's word for what is a terminal.
        console = Console(file=self.err, force_terminal=self.err.isatty())
        self.stoppable, self._logged = stoppable, logged and not self.quiet
        try:
            if console.is_interactive and not self.quiet:
                self._live = Status("", console=console, spinner="line")  # others need more than ASCII
                self._live.start()
            yield
        finally:
            live, self._live, self.stoppable = self._live, None, ()
            with suppress(OSError, ValueError):  # the terminal may be gone
                if live:
                    live.stop()

    def progress(self, text: Words) -> None:
        """Show what happens now."""
        shown = self.wording.text(text)
        if self._live:
            self._live.update(Text(printable(shown).replace("\n", " "), no_wrap=True, overflow="crop"))
        elif self._logged and text != self._last:
            self._last = text
            self.say(f"{zoned(self.clock.utc(), self.zone)}  {shown}")

    # The service ---------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def session(self, stack: str | None = None) -> AsyncIterator[Session]:
        """The service, with the settings of a stack, or else of the environment; warns if the ledger cannot be used."""
        config = await self.in_thread(configuration_of, stack, self.environment) if stack else {}
        session = self.open_session(Settings.read(config, self.environment), self.clock)
        try:
            yield session
            if note := session.take_note():
                self.warn(note)
        finally:
            with anyio.CancelScope(shield=True):
                await session.close()

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Session]:
        """The service for a short question, with a line on a terminal while it is asked."""
        async with self.session() as session:
            with self.working(logged=False):
                self.progress(ASKING)
                yield session

    async def database(self, session: Session, typed: str, *, has_snapshots: bool = False) -> str:
        """The id of the database that was typed; see `whole_database`. The id of one that was named is shown."""
        whole = await whole_database(session, typed, has_snapshots=has_snapshots)
        if not whole.startswith(typed):
            self.note(f"{typed} is database {whole}")
        return whole

    async def snapshot(self, session: Session, database_id: str, version_id: str) -> tuple[str, str]:
        """The ids of the snapshot that was typed; see `whole_version`."""
        whole = await self.database(session, database_id, has_snapshots=True)
        return whole, await whole_version(session, whole, version_id)
