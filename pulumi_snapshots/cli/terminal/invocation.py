"""One run of a command: its environment, its streams, its session, the signals that end it, and its exit code."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

import anyio
import anyio.to_thread
import click
from anyio.abc import TaskStatus
from rich.console import Console
from rich.text import Text

from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.cli.terminal.output import json_text, printable, table, zoned
from pulumi_snapshots.cli.terminal.stack import configuration_of
from pulumi_snapshots.cli.terminal.wording import COMMANDS
from pulumi_snapshots.clock import Clock, Stoppable
from pulumi_snapshots.engine.errors import debugging
from pulumi_snapshots.errors import Explained, Words
from pulumi_snapshots.errors.pages import keep_last
from pulumi_snapshots.lookup.prefix import whole_database, whole_version
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import Settings
from pulumi_snapshots.run.shared import ledger_of
from pulumi_snapshots.service.monitor import Monitor

T = TypeVar("T")
NAME = "squarecloud-snapshots"
COMPLETE = "_SQUARECLOUD_SNAPSHOTS_COMPLETE"
"""The variable by which a shell asks for completions."""
DONE, FAILED, WRONG = 0, 1, 2
"""Exit codes; the last one is click's, for wrong arguments."""
BY_SIGNAL = 128
"""Shells add this to the number of the signal that ended a command: 130, 143 and 129 after those below."""
COLOURS = {"Error:": "red", "warning:": "yellow", "hint:": "cyan", "more:": "cyan"}
"""Of the words that begin a line."""
LABEL = re.compile(rf"^(?:{'|'.join(COLOURS)})", re.MULTILINE)
INTERRUPTED = BY_SIGNAL + signal.SIGINT
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals after which a command ends in order: ^C, a request to end, a closed terminal."""

LONGEST_ANSWER = 4096
"""Characters of a line that a user types; as many as a terminal takes."""


class OutputClosed(Explained):
    """The result could not be written to standard output. What the command was to do is done."""


@dataclass(eq=False)
class Invocation:
    """One run of a command.

    Attributes:
        environment: with the API key and the other settings.
        out: for results, and nothing else.
        err: for progress, warnings and errors.
        stdin: for what a command asks for.
        clock: the time.
        open_session: opens the service; over the network unless a test gives another.
        transfers: for downloads.
        in_thread: runs a blocking call; in a worker thread unless a test gives another.
        zone: of the times that people read; that of this machine if None.
        as_json: whether the result is for programs.
        quiet: whether the result is ids or paths alone, without progress.
        context: of the command, once it runs.
        live: prints above a live line; None without one.
        notifies: the URL of a monitor that hears how it goes, and the name of the command; None without one.
        wording: words what users read; a command adds its own facts.
    """

    environment: Mapping[str, str]
    out: IO[str] = field(default_factory=lambda: sys.stdout)
    err: IO[str] = field(default_factory=lambda: sys.stderr)
    stdin: IO[str] = field(default_factory=lambda: sys.stdin)
    clock: Clock = field(default_factory=Clock)
    open_session: Callable[[Settings], Session] | None = None
    transfers: Transfers = field(default_factory=lambda: Transfers(clock=Clock()))
    in_thread: Callable[..., Awaitable[Any]] = anyio.to_thread.run_sync
    zone: tzinfo | None = None
    as_json: bool = False
    quiet: bool = False
    context: click.Context | None = None
    live: Console | None = None
    notifies: tuple[str, str] | None = None
    _failures: list[str] = field(default_factory=list)
    _others: dict[type, Any] = field(default_factory=dict)
    _signal: signal.Signals | None = None
    _stoppable: tuple[Stoppable, ...] = ()

    def __post_init__(self) -> None:
        self.wording = COMMANDS.in_zone(lambda moment: zoned(moment, self.zone))

    @property
    def name(self) -> str:
        """The command as it is typed, without its arguments: the owner of what it requests."""
        return self.context.command_path if self.context else NAME

    @property
    def root(self) -> click.Command:
        """All commands."""
        return self.context.find_root().command if self.context else click.Command(NAME)

    def of(self, kind: type[T]) -> T:
        """The object of a class, made without arguments at its first use, such as what a test replaces."""
        made: T = self._others.setdefault(kind, kind())
        return made

    def show(self, text: str) -> None:
        """Write a result, at once and whole.

        Raises:
            OutputClosed: it could not be written.
        """
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
            self.remark(none)
            return
        first = next(number for number, head in enumerate(heads) if head)
        brief = (row[first] or "" for row in rows)
        self.result(fields, table(heads, rows, self.out) if rows else "", *brief)

    def say(self, text: str) -> None:
        """Write to standard error; if that is closed, the work continues."""
        text = self.coloured(printable(text))
        with suppress(OSError, ValueError):
            if self.live:
                self.live.print(Text.from_ansi(text), soft_wrap=True)
                return
            self.err.write(f"{text}\n")
            self.err.flush()

    def remark(self, text: str) -> None:
        """Say what is good to know, unless the command is quiet."""
        if not self.quiet:
            self.say(text)

    async def ask(self, question: str) -> str:
        """Ask the user to type a line; empty if none can be read. A signal ends the command meanwhile."""
        self.say(question)
        with suppress(OSError, ValueError):  # a stream without a descriptor, as in a test, is read at once
            await anyio.wait_readable(self.stdin.fileno())
        return self.stdin.readline(LONGEST_ANSWER).strip()

    def coloured(self, text: str) -> str:
        """The text with its labels in colour, if standard error is a terminal and `NO_COLOR` is not set."""
        dumb = self.environment.get("NO_COLOR") or self.environment.get("TERM") == "dumb"
        if dumb or not self.err.isatty():
            return text
        return LABEL.sub(lambda label: click.style(label[0], COLOURS[label[0]], bold=True), text)

    def warn(self, text: Words) -> None:
        """Say something that the user should know afterwards."""
        self.say(f"warning: {self.wording.text(text)}")

    def fail(self, text: str) -> None:
        """Say why the command failed."""
        self._failures.append(text)
        self.say(f"Error: {text}")

    def wrong(self, text: str, *, helps: bool = True) -> NoReturn:
        """Refuse what is typed; raises a `click.UsageError`. `helps` if the help of the command says what is right."""
        raise click.UsageError(text, self.context if helps else None)

    def refuse(self, error: click.ClickException) -> int:
        """Say what is wrong with the arguments; returns the exit code."""
        context = getattr(error, "ctx", None)
        more = f"\nhint: `{context.command_path} --help` shows all arguments." if context else ""
        self.fail(error.format_message() + more)
        return error.exit_code

    @asynccontextmanager
    async def session(self, *, warns: bool = True, stack: str | None = None) -> AsyncIterator[Session]:
        """The service, with the settings of a stack, or else of the environment; `warns` if the ledger cannot be used.

        Raises:
            StackUnreadable: the stack's configuration cannot be read.
            SettingsError: a setting is missing or cannot be used.
        """
        config = await self.in_thread(configuration_of, stack, self.environment) if stack else {}
        settings = Settings.read(config, self.environment)
        session = (self.open_session or self._session)(settings)
        try:
            yield session
            if warns and (note := session.take_note()):
                self.warn(note)
        finally:
            with anyio.CancelScope(shield=True):
                await session.close()

    async def database(self, session: Session, typed: str, *, has_snapshots: bool = False) -> str:
        """The id of the database that was typed; see `whole_database`. The id of one that was named is shown."""
        whole = await whole_database(session, typed, has_snapshots=has_snapshots)
        if not whole.startswith(typed):
            self.remark(f"{typed} is database {whole}")
        return whole

    async def snapshot(self, session: Session, database_id: str, version_id: str) -> tuple[str, str]:
        """The ids of the snapshot that was typed; see `whole_version`."""
        whole = await self.database(session, database_id, has_snapshots=True)
        return whole, await whole_version(session, whole, version_id)

    def _session(self, settings: Settings) -> Session:
        ledger = ledger_of(settings, self.clock)
        return Session(settings, ledger, clock=self.clock, state=settings.state_directory())

    @contextmanager
    def stopping(self, *stoppable: Stoppable) -> Iterator[None]:
        """While the body runs, the first signal stops these, and the body comes to its own end."""
        self._stoppable = stoppable
        try:
            yield
        finally:
            self._stoppable = ()

    async def finish(self, command: Awaitable[int]) -> int:
        """Run a command until it or a signal ends it; returns the exit code."""
        code: int | None = None
        async with anyio.create_task_group() as group:
            await group.start(self._heed_signals, group.cancel_scope)
            async with (
                anyio.create_task_group() as beside
            ):  # its end comes first: a monitor must not hear of it after the end
                beside.start_soon(self._notify, "started")
                code = await self._told(command)
            group.cancel_scope.cancel()
        if code is None:
            self.fail("interrupted before it was done.")
        if self._failures and code != WRONG:
            keep_last("\n".join([self.name, *(f"Error: {each}" for each in self._failures)]), self.environment)
        await self._notify("done" if code == DONE else "failed")
        if self._signal is not None and code != DONE:
            return BY_SIGNAL + self._signal
        return FAILED if code is None else code

    async def _notify(self, event: str) -> None:
        """Tell the monitor, if there is one; a monitor that does not hear it only causes a warning, without its URL."""
        if self.notifies is None:
            return
        url, command = self.notifies
        title, text = f"{command}: {event}", "\n".join(self._failures) if event == "failed" else ""
        if why := await self.of(Monitor).tell(self.clock, url, event, title, text):
            self.warn(f"the URL of --notify did not hear that this {event}: {why}.")

    async def _told(self, command: Awaitable[int]) -> int:
        try:
            return await command
        except click.UsageError as error:
            return self.refuse(error)
        except Explained as error:
            self.fail(self.wording.report(error))
            if debugging():
                self.say(traceback.format_exc())
            return FAILED

    async def _heed_signals(self, scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        # A signal that is ignored, as under nohup or in a background job, stays ignored.
        heeded = [one for one in ENDING if signal.getsignal(one) is not signal.SIG_IGN]
        with anyio.open_signal_receiver(*heeded) as signals:
            task_status.started()
            async for received in signals:
                if self._signal or not self._stoppable:  # a second signal does not wait
                    scope.cancel()
                self._signal = self._signal or received
                for each in self._stoppable:
                    each.stop()


@contextmanager
def streams() -> Iterator[None]:
    """Make standard output and error safe to use, whatever the locale, and even if they are closed."""
    with Path(os.devnull).open() as closed:  # what is not open for writing fails like a closed stream
        sys.stdout, sys.stderr = sys.stdout or closed, sys.stderr or closed
        both = (sys.stdout, sys.stderr)
        for stream in both:
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a locale may lack a name's characters
        try:
            yield
        finally:
            for stream in both:
                try:
                    stream.flush()
                except OSError:
                    # Else the interpreter flushes again at its end, and prints a traceback.
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
