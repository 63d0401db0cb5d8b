"""One run of a command: its environment and streams, and what it shows."""

import json
import math
import shlex
import sys
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from functools import partial
from typing import IO, Any, NoReturn
from urllib.parse import quote

import anyio
import anyio.to_thread
import click
from rich.console import Console
from rich.status import Status
from rich.text import Text

from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.cli.terminal.child import ChildCommand
from pulumi_snapshots.cli.terminal.output import (
    facts,
    first_named,
    grid,
    printable,
    table,
    zoned,
)
from pulumi_snapshots.cli.terminal.pulumi import configuration_of
from pulumi_snapshots.cli.terminal.whole_ids import whole_database, whole_version
from pulumi_snapshots.cli.terminal.wording import COMMAND_MESSAGES
from pulumi_snapshots.clock import Clock, Stoppable, parse_rfc3339
from pulumi_snapshots.drill.drill import DrillFailed
from pulumi_snapshots.errors import AnyMessage, Message, NotFinished, ProviderError
from pulumi_snapshots.errors.secrets import hide_secrets, shown_id
from pulumi_snapshots.hosts.monitor import Monitor, TroubleMonitor
from pulumi_snapshots.hosts.monitor_message import CHATS, Event, kind_of_monitor
from pulumi_snapshots.properties.checks import LATEST
from pulumi_snapshots.restore.record import time_out_beyond
from pulumi_snapshots.run.calls import ledger_of
from pulumi_snapshots.run.notices import UNHEARD
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import Settings
from pulumi_snapshots.snapshot.read import get
from pulumi_snapshots.snapshot.record import SnapshotRecord
from pulumi_snapshots.state_directory import state_directory

NAME = "squarecloud-snapshots"
COMPLETE = "_SQUARECLOUD_SNAPSHOTS_COMPLETE"  # the variable by which a shell asks for completions
ASKING = "asking the service"
# seconds of a wait from which on a log shows its reason
FELT = 3.0
# seconds that a user has at least to type a command that a message names
TO_TYPE = 60.0
# characters of a line that a user types; as many as a terminal takes
LONGEST_ANSWER = 4096
Form = str | Mapping[str, str | None] | Sequence[Sequence[str]]
"""What people read of a result: a text, facts by their names, or rows."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on without a reader; by itself, rich would end the process."""


class OutputClosed(ProviderError):
    """The result could not be written to standard output. The command's work is done."""


def arguments_to_watch(
    typed_again: Sequence[str], record: Any, age: float
) -> Sequence[str]:
    """Return the arguments of the command that watches a restore.

    Args:
        typed_again: The arguments of the command that has requested the restore. They also watch
            the restore until its time-out.
        record: The restore.
        age: The seconds since its request.
    """
    if age + TO_TYPE < record.attempt.timeout:
        return typed_again
    others = [each for each in typed_again if not each.startswith("--timeout=")]
    if "--timeout" in others:
        at = others.index("--timeout")
        del others[at : at + 2]
    return [*others, "--timeout", time_out_beyond(age)]


ArgumentsToWait = Callable[[Sequence[str], Any, float], Sequence[str]]
"""The arguments of the command that waits for an operation, such as `arguments_to_watch`."""


@dataclass(eq=False)
class Invocation:
    """One run of a command, which shows the progress of the operations that it starts."""

    environment: Mapping[str, str]
    # for results, and nothing else
    out: IO[str] = field(default_factory=lambda: sys.stdout)
    err: IO[str] = field(default_factory=lambda: sys.stderr)
    stdin: IO[str] = field(default_factory=lambda: sys.stdin)
    clock: Clock = field(default_factory=Clock)
    make_session: Callable[..., Session] = Session
    make_ledger: Callable[[Settings, Clock], Any] = ledger_of
    transfers: Transfers = field(default_factory=lambda: Transfers(clock=Clock()))
    monitor: Monitor = field(default_factory=Monitor)
    in_thread: Callable[..., Awaitable[Any]] = anyio.to_thread.run_sync
    child: ChildCommand = field(default_factory=ChildCommand)
    # the zone of the times that people read; None for this machine's
    zone: tzinfo | None = None
    # what was typed, without the program's name
    arguments: Sequence[str] = ()
    as_json: bool = False
    quiet: bool = False
    context: click.Context | None = None
    # the URL of the monitor that hears how the command goes
    notifies: str | None = None
    # whether the command has failed in a way that its result shows
    has_failed: bool = False
    # why the command has failed, as standard error shows it
    failures: list[str] = field(default_factory=list)
    # how to go back, of which the monitor hears too
    ways_back: list[str] = field(default_factory=list)
    # what was typed for ids and may be a secret instead
    typed_ids: set[str] = field(default_factory=set)
    # what the first signal stops
    stoppable: tuple[Stoppable, ...] = ()
    # the signal that ends the command
    ended_by: int | None = None
    # the exit code if the command fails; None for the usual one
    failure_code: int | None = None
    # the database and the version of the snapshot that was looked up
    _looked_up: tuple[str, str] | None = None
    _live: Status | None = None
    _logged: bool = False
    _last_progress: AnyMessage = ""

    def __post_init__(self) -> None:
        # By itself, rich would take a variable's word for what is a terminal.
        self._console = _Console(
            file=self.err, force_terminal=self.err.isatty(), _environ=self.environment
        )
        self.wording = replace(
            COMMAND_MESSAGES, time=lambda moment: zoned(moment, self.zone, "%H:%M:%S")
        )

    @property
    def name(self) -> str:
        """The command as it is typed, without its arguments, which owns the command's requests."""
        return self.context.command_path if self.context else NAME

    def moment(self, rfc3339: str | None) -> str | None:
        """Format a time to the second in the user's zone, with the zone's name.

        Args:
            rfc3339: the time; None if it is not known.

        Returns:
            The text, such as `2026-11-24 23:00:00 CET`; None if it is not known.
        """
        return None if rfc3339 is None else zoned(parse_rfc3339(rfc3339), self.zone)

    # Results --------------------------------------------------------------------------------------

    def show(self, text: str) -> None:
        """Write a result, at once and whole.

        Args:
            text: the result.

        Raises:
            OutputClosed: standard output cannot be written.
        """
        try:
            self.out.write(text)
            self.out.flush()
        except OSError as error:
            why = error.strerror or str(error)
            raise OutputClosed(
                f"not all of the result was written to standard output: {why}"
            ) from error

    def result(self, fields: Any, form: Form, *brief: str) -> None:
        """Write the result, at once and whole.

        Args:
            fields: The values for programs, as JSON.
            form: The text for people.
            *brief: The lines that --quiet leaves.

        Raises:
            OutputClosed: Standard output cannot be written.
        """
        if self.as_json:  # in ASCII, which every locale can print
            dumped = json.dumps(
                fields, indent=2, default=lambda each: each.to_outputs()
            )
            text = f"{dumped}\n"
        elif self.quiet:
            text = "".join(f"{each}\n" for each in brief)
        elif isinstance(form, str):
            text = form
        else:
            text = facts(form) if isinstance(form, Mapping) else grid(form, self.out)
        self.show(text)

    def listed(
        self,
        heads: Sequence[str],
        rows: Sequence[Sequence[str | None]],
        fields: Any,
        none: str,
    ) -> None:
        """Write a list as `result` does, or say that the list is empty.

        The first column with a heading is the brief one.

        Args:
            heads: the headings of the columns.
            rows: the cells; None for an empty one.
            fields: the values for programs, as JSON.
            none: the text for an empty list.
        """
        if not rows and not self.as_json:
            self.note(none)
            return
        first = first_named(heads)
        text = table(heads, rows, self.out) if rows else ""
        self.result(fields, text, *(row[first] or "" for row in rows))

    # Standard error -------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Write to standard error; if the stream is closed, the work continues.

        Args:
            text: the text.
        """
        with suppress(OSError, ValueError):
            self._console.print(Text(printable(hide_secrets(text))), soft_wrap=True)

    def note(self, text: AnyMessage) -> None:
        """Show good news, unless the command is quiet.

        Args:
            text: the text.
        """
        if not self.quiet:
            self.say(self.wording.text(text))

    def warn(self, text: AnyMessage) -> None:
        """Show a warning.

        Args:
            text: the text.
        """
        self.say(f"warning: {self.wording.text(text)}")

    def remind(self, text: AnyMessage) -> None:
        """Say nothing more of a wait: its line has room on a terminal, and stays in a log.

        Args:
            text: The text.
        """

    def fail(self, text: str) -> None:
        """Show why the command fails, and make its exit code 1.

        Args:
            text: the text.
        """
        text = hide_secrets(self._with_shortened_ids(text))
        self.failures.append(text)
        self.say(f"Error: {text}")

    def note_typed_id(self, typed: str) -> None:
        """Note what was typed for an id: errors show its first characters if it can be a secret.

        Args:
            typed: the text that was typed.
        """
        self.typed_ids |= {
            part for part in typed.split("/") if part and shown_id(part) != part
        }

    def _with_shortened_ids(self, text: str) -> str:
        for each in sorted(self.typed_ids, key=len, reverse=True):
            for spelled in (each, quote(each, safe=""), repr(each)[1:-1]):
                text = text.replace(spelled, shown_id(each))
        return text

    def wrong(self, text: str, *, helps: bool = True) -> NoReturn:
        """Refuse an argument.

        Args:
            text: the reason.
            helps: whether the help of the command says what is right.

        Raises:
            click.UsageError: always.
        """
        raise click.UsageError(text, self.context if helps else None)

    async def ask(self, question: str) -> str:
        """Ask the user to type a line.

        A signal ends the command meanwhile.

        Args:
            question: the question.

        Returns:
            The line; empty if none can be read.
        """
        self.say(question)
        # A stream without a descriptor, as in a test, is read at once.
        with suppress(OSError, ValueError):
            await anyio.wait_readable(self.stdin.fileno())
        return self.stdin.readline(LONGEST_ANSWER).strip()

    # Progress -------------------------------------------------------------------------------------

    @contextmanager
    def working(
        self, *stoppable: Stoppable, doing: str = "", logged: bool = True
    ) -> Iterator[None]:
        """Show progress while the body runs: a live line on a terminal, log lines elsewhere.

        The first signal stops the operations, and the body comes to its own end.

        Args:
            *stoppable: the operations that a signal stops.
            doing: the first text.
            logged: whether there are log lines; not for a short question.

        Yields:
            Nothing.
        """
        self.stoppable = stoppable
        self._logged = logged and not self.quiet
        live = None
        if self._console.is_interactive and not self.quiet:
            # other spinners need more than ASCII
            live = Status("", console=self._console, spinner="line")
        self._live = live
        try:
            if live:
                live.start()
            if doing:
                self.progress(doing)
            yield
        finally:
            self._live = None
            self.stoppable = ()
            with suppress(OSError, ValueError):  # the terminal may be gone
                if live:
                    live.stop()

    def progress(self, text: AnyMessage) -> None:
        """Show a text as the present progress.

        Args:
            text: the text.
        """
        shown = hide_secrets(self.wording.text(text))
        if self._live:
            self._live.update(
                Text(printable(shown).replace("\n", " "), no_wrap=True, overflow="crop")
            )
        elif self._logged and text != self._last_progress:
            self._last_progress = text
            self.say(f"{zoned(self.clock.utc(), self.zone, '%H:%M:%S')}  {shown}")

    @contextmanager
    def showing_waits(self, session: Session, *, in_log: bool = True) -> Iterator[None]:
        """Show why requests of the body wait, unless an operation shows that itself.

        Args:
            session: The session of the process.
            in_log: Whether a wait that is felt leaves a line in a log; not for what cron runs,
                which would mail the line.

        Yields:
            Nothing.
        """
        session.rate_limiter.on_read_wait = partial(self._show_wait, in_log=in_log)
        try:
            yield
        finally:
            session.rate_limiter.on_read_wait = None

    def _show_wait(self, until: datetime, why: str, *, in_log: bool) -> None:
        """Show why a request waits."""
        now = self.clock.utc()
        text = Message("waiting until {until}: {why}", until=until, why=why)
        if self._live:
            self.progress(text)
        elif in_log and not self.quiet and (until - now).total_seconds() >= FELT:
            shown = self.wording.text(text)
            if shown != self._last_progress:
                self._last_progress = shown
                self.say(f"{zoned(now, self.zone, '%H:%M:%S')}  {shown}")

    # The monitor ----------------------------------------------------------------------------------

    async def tell_monitor(
        self,
        event: Event,
        job: str,
        title: str,
        text: str = "",
    ) -> None:
        """Tell the monitor of an event, if there is a monitor; a chat of each trouble once.

        A monitor that does not hear it only causes a warning, without its URL.

        Args:
            event: What has happened to the job.
            job: Names the job among all of this user.
            title: One line.
            text: Further text.
        """
        url = self.notifies
        if url is None:
            return
        if event == "warned" or kind_of_monitor(url) in CHATS:
            folder = state_directory(self.environment)
            once = TroubleMonitor(url, folder, self.clock, self.monitor)
            why = await once.tell(event, job, title, text)
        else:
            why = await self.monitor.tell(self.clock, url, event, title, text)
        if why:
            self.warn(Message(UNHEARD, notify="--notify", why=why))

    # The service ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def session(self, stack: str | None = None) -> AsyncIterator[Session]:
        """Open the session with the settings of a stack, or else of the environment.

        Warns if the ledger cannot be used.

        Args:
            stack: the stack; None for the environment.

        Yields:
            The session.
        """
        config = {}
        if stack:
            config = await self.in_thread(configuration_of, stack, self.environment)
        settings = Settings.read(config, self.environment)
        session = self.make_session(
            replace(settings, notify=self.notifies or settings.notify),
            self.make_ledger(settings, self.clock),
            clock=self.clock,
        )
        session.monitor = self.monitor
        try:
            yield session
            note = session.take_note()
            if note:
                self.warn(note)
        finally:
            self._trust_listed_id(session)
            with anyio.CancelScope(shield=True):
                await session.close()

    @asynccontextmanager
    async def asking(self, *, in_log: bool = True) -> AsyncIterator[Session]:
        """Open the session for a short question, with a line on a terminal meanwhile.

        Args:
            in_log: See `showing_waits`.

        Yields:
            The session.
        """
        async with self.session() as session:
            with self.working_on_question(session, in_log=in_log):
                yield session

    @contextmanager
    def working_on_question(
        self, session: Session, *, in_log: bool = True
    ) -> Iterator[None]:
        """Show on a terminal that the service is asked, or what the question waits for.

        Args:
            session: The session of the process.
            in_log: See `showing_waits`.

        Yields:
            Nothing.
        """
        with (
            self.showing_waits(session, in_log=in_log),
            self.working(doing=ASKING, logged=False),
        ):
            yield

    def _trust_listed_id(self, session: Session) -> None:
        """Let errors show a version that a listing has: it is no secret, however random."""
        if self._looked_up is None:
            return
        database_id, version = self._looked_up
        pages = session.listings.known_pages(database_id, -math.inf)
        if any(page.version(version) for page in pages):
            self.typed_ids.discard(version)

    async def database(self, session: Session, typed: str) -> str:
        """Return the whole id of the database that was typed; see `whole_database`.

        If the database's name was typed, the id is shown.

        Args:
            session: the session of the process.
            typed: the database as it was typed.
        """
        whole = await whole_database(session, typed, self.note)
        if not whole.startswith(typed):
            self.note(f"{typed} is database {whole}")
        return whole

    async def snapshot(
        self,
        session: Session,
        database_id: str,
        version_id: str,
        *,
        shown: bool = False,
    ) -> SnapshotRecord:
        """Return the snapshot that was typed; see `whole_version`.

        Only the newest snapshot is looked up, or a snapshot that is to be `shown`.

        Args:
            session: the session of the process.
            database_id: the database's whole id.
            version_id: the version as it was typed.
            shown: whether the command shows the snapshot.
        """
        whole = await self.database(session, database_id)
        version = await whole_version(session, whole, version_id)
        self._looked_up = whole, version
        if version != LATEST and not shown:
            return SnapshotRecord(whole, version_id=version)
        record = await get(session, f"{whole}/{version}", unlisted=True)
        if version == LATEST:
            self.progress(
                f"the newest snapshot is {record.id}, taken on {self.moment(record.created_at)}"
            )
        return record

    async def recorded(
        self,
        typed: str,
        prepared: Callable[[Session], Awaitable[Any]],
        operation: Callable[..., Awaitable[Any]],
        *,
        new: bool = False,
        to_wait: ArgumentsToWait = arguments_to_watch,
    ) -> Any:
        """Run an operation that the ledger remembers, and name the command that waits for it later.

        The command fails if the operation's end is not known.

        Args:
            typed: The database or snapshot as it was typed.
            prepared: Returns the inputs, with whole ids in place of `typed`.
            operation: Runs the operation.
            new: Whether to start another operation, whatever is remembered.
            to_wait: Returns the arguments of the command that waits for the operation.

        Returns:
            The operation's record.
        """
        try:
            async with self.session() as session:
                with self.showing_waits(session):
                    inputs = await prepared(session)
                machines = "this machine"
                if session.ledger.place.is_shared:
                    machines = "any machine with this shared state"
                if new:
                    # A run of the same command waits for this run's request; `--new` would send
                    # another request.
                    machines += ", without `--new`,"
                self.wording = self.wording.about(machines=machines)
                typed_again = self._typed_again(typed, inputs)
                self._name_command(typed_again)
                try:
                    with self.working(session):
                        return await operation(
                            session, inputs, self, self.name, forced=new
                        )
                except NotFinished as pending:
                    # What was requested with the typed ids shows that they are ids.
                    self.typed_ids.clear()
                    record = pending.record
                    if record.attempt is not None and record.requested_at is not None:
                        requested = parse_rfc3339(record.requested_at)
                        age = (session.service_clock.now() - requested).total_seconds()
                        self._name_command(to_wait(typed_again, record, age))
                    raise
        except (NotFinished, DrillFailed) as pending:
            self.fail(self.wording.report(pending))
            return pending.record

    def _name_command(self, arguments: Sequence[str]) -> None:
        """Let next steps name this command."""
        self.wording = self.wording.about(command=shlex.join([NAME, *arguments]))

    def _typed_again(self, typed: str, inputs: Any) -> list[str]:
        """What was typed, with whole ids, and without what asks for another operation."""
        whole = {typed: getattr(inputs, "snapshot", inputs.database_id)}
        hidden = ("--new", "--notify", self.notifies, f"--notify={self.notifies}")
        return [whole.get(each, each) for each in self.arguments if each not in hidden]
