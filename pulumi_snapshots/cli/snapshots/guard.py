"""The command `guard`."""

import shutil
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import click
from click.shell_completion import CompletionItem

from pulumi_snapshots.cli.snapshots.restore import restore_command
from pulumi_snapshots.cli.terminal import arguments
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.errors import AnyMessage, Hint, HintKind, Message, ProviderError
from pulumi_snapshots.guard.book import consult
from pulumi_snapshots.guard.inputs import GuardInputs
from pulumi_snapshots.guard.once import GuardedChange, OncePerRun
from pulumi_snapshots.run.memory import Listener
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import without_key
from pulumi_snapshots.snapshot.record import short_id

NOT_RUN = 125
"""The exit code if the command was not run, as of `env`, `timeout` and `docker run`."""
COMMAND_GUARD_PREFIX = "command guard/"
"""How the names of these guards begin in the book; the command's name follows."""
SNAPSHOTS_VARIABLE = "SQUARECLOUD_GUARDED_BY"
"""The variable by which the command knows its snapshots, with spaces between them."""
DASHES = "--"
OFF = (
    "the {change} has no snapshot, since {guard} is off; it is not in the list of `guards`, since "
    "database {typed} is not known: {why}"
)
UNFINISHED = (
    "an earlier run of {command} did not begin, failed, was cut off, or is still under way; {id} "
    "of {time} is from before it\n{way_back}"
)


class _BeforeCommand(click.Command):
    """A command whose arguments end at `--`; what follows is somebody else's command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words after `--`."""
        if DASHES in args:
            at = args.index(DASHES)
            ctx.meta[DASHES] = args[at + 1 :]
            args = args[:at]
        return super().parse_args(ctx, args)


def _completed(
    context: click.Context, parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    if DASHES in context.meta:
        return [CompletionItem(typed, type="file")]
    return arguments.database_ids(context, parameter, typed)


@arguments.command(
    click.argument(
        "databases",
        metavar="DATABASE... -- COMMAND [ARG]...",
        type=arguments.DATABASE,
        nargs=-1,
        required=True,
        shell_complete=_completed,
    ),
    *arguments.options_of(GuardInputs, "reuse_within", "fallback", "timeout"),
    arguments.flag_option(
        "--restore-on-failure",
        "If the command fails, restore the snapshots, over everything that the databases "
        "hold. Needs --yes.",
    ),
    arguments.flag_option("--yes", "Agree to --restore-on-failure.", "-y"),
    arguments.flag_option("--keep-key", "Leave the API key in COMMAND's environment."),
    arguments.notify_option,
    name="guard",
    has_result=False,
    kind=_BeforeCommand,
)
async def guard_command(
    invocation: Invocation,
    *,
    databases: Sequence[str],
    restore_on_failure: bool,
    yes: bool,
    keep_key: bool,
    **typed: Any,
) -> None:
    """Take a snapshot, then run a command, such as a migration.

    Takes a snapshot of each DATABASE, or uses a snapshot that was taken at most --reuse-within ago
    and after the last guarded change. Without a snapshot, COMMAND is not run, and the exit code is
    125. COMMAND has this terminal, gets ^C and other signals, and its exit code is passed on. If it
    fails, the last lines say how to go back.
    """
    words = _checked_words(invocation)
    if restore_on_failure and not yes:
        invocation.wrong(
            "--restore-on-failure overwrites what the databases hold: add --yes."
        )
    wanted = {
        each: arguments.checked(invocation, GuardInputs, {**typed, "database_id": each})
        for each in databases
    }
    invocation.failure_code = NOT_RUN
    async with invocation.session() as session:
        guarding = _Guarding(invocation, session, words)
        with invocation.working(session):
            await guarding.take_snapshots(wanted)
        invocation.has_failed = await guarding.run(keep_key=keep_key)
    if invocation.has_failed and restore_on_failure:
        for each in guarding.snapshots:
            await _restore(invocation, each)


def _checked_words(invocation: Invocation) -> list[str]:
    """The command after `--`, which exists. Raises click's errors."""
    words: list[str] = (
        invocation.context.meta.get(DASHES, []) if invocation.context else []
    )
    if not words:
        invocation.wrong("the command to run is missing: -- COMMAND [ARG]...")
    if shutil.which(words[0], path=invocation.environment.get("PATH")) is None:
        name, is_assignment, _ = words[0].partition("=")  # the value can be a password
        advice = "sh -c 'LINE' runs a line of the shell"
        if is_assignment:
            advice = "env NAME=VALUE COMMAND sets a variable"
        invocation.wrong(f"there is no command {name!r} that can be run; {advice}.")
    return words


class _Row:
    """Shows which of several databases the progress is of."""

    def __init__(self, invocation: Invocation, database_id: str) -> None:
        self.note = invocation.note
        self.warn = invocation.warn
        self.remind = invocation.remind
        self._invocation = invocation
        self._database = database_id

    def progress(self, text: AnyMessage) -> None:
        """Show what happens now."""
        self._invocation.progress(Message("{of}: {text}", of=self._database, text=text))


class _Guarding:
    """A command that is run once there are snapshots of its databases.

    Attributes:
        snapshots: The snapshots, as DATABASE_ID/VERSION_ID; none if guards are off.
    """

    def __init__(
        self, invocation: Invocation, session: Session, words: Sequence[str]
    ) -> None:
        name = Path(words[0]).name  # never its arguments, which can hold secrets
        self.snapshots: list[str] = []
        self._invocation = invocation
        self._session = session
        self._words = words
        self._guard = f"{COMMAND_GUARD_PREFIX}{name}"
        self._change = f"run of {name}"
        self._is_off = session.settings.guard == "off"
        self._once = OncePerRun()
        self._inputs: dict[str, GuardInputs] = {}
        self._held: list[ProviderError] = []
        invocation.wording = invocation.wording.about(command=invocation.name)

    async def take_snapshots(self, wanted: Mapping[str, GuardInputs]) -> None:
        """Have a snapshot of each database, at the same time.

        Args:
            wanted: The inputs of each, by what was typed for the database.

        Raises:
            ProviderError: One of them cannot be had, or the wait was interrupted.
        """
        for typed, inputs in wanted.items():
            database_id = await self._whole_id(typed)
            if database_id is not None:
                self._inputs[database_id] = replace(inputs, database_id=database_id)
        if not self._is_off:
            await self._show_unfinished()
        async with anyio.create_task_group() as group:
            for inputs in self._inputs.values():
                group.start_soon(self._take, inputs)
        if self._session.stopping and not self._held:
            self._held.append(ProviderError(f"interrupted before the {self._change}"))
        for error in self._held[:-1]:
            self._invocation.fail(self._invocation.wording.report(error))
        if self._held:
            raise self._held[-1]

    async def _whole_id(self, typed: str) -> str | None:
        """The database's id; None if it cannot be found out, and guards are off."""
        try:
            return await self._invocation.database(self._session, typed)
        except ProviderError as error:
            if not self._is_off:
                raise
            off = Message(OFF, change=self._change, typed=typed, why=error.happened)
            self._invocation.warn(off)
            return None

    async def _show_unfinished(self) -> None:
        """Say which earlier snapshots guard commands whose end is not noted."""
        book = await consult(self._session.ledger, lambda book: book)
        for database_id in self._inputs:
            earlier = book.unfinished(database_id, COMMAND_GUARD_PREFIX)
            if earlier is None or earlier.id is None:
                continue
            unfinished = Message(
                UNFINISHED,
                command=earlier.guard.removeprefix(COMMAND_GUARD_PREFIX),
                id=earlier.id,
                time=self._invocation.moment(earlier.noted_at),
                way_back=Hint(HintKind.GO_BACK, id=short_id(earlier.id)),
            )
            self._invocation.note(unfinished)

    async def _take(self, inputs: GuardInputs) -> None:
        """Have one snapshot; without it there is no need to wait for the others."""
        row: Listener = self._invocation
        if len(self._inputs) > 1:
            row = _Row(self._invocation, inputs.database_id)
        try:
            record = await self._once.before(self._guarded(inputs, row))
        except ProviderError as error:
            self._held.append(error)
            self._session.stop()
            return
        if record.version_id is not None:
            self.snapshots.append(record.id)

    async def run(self, *, keep_key: bool) -> bool:
        """Run the command, and note it, or say how to go back.

        Args:
            keep_key: Whether the command gets the API key.

        Returns:
            Whether it has failed.

        Raises:
            ChangeNotNoted: It was run, and could not be noted.
            ProviderError: It could not be started.
        """
        invocation = self._invocation
        environment = {**invocation.environment}
        if not keep_key:
            environment = without_key(environment)
        environment[SNAPSHOTS_VARIABLE] = " ".join(self.snapshots)
        try:
            code = await invocation.child.run(self._words, environment)
        except OSError as error:
            happened = f"the {self._change} could not begin: {error.strerror or error}"
            raise ProviderError(happened, "Nothing was run.") from error
        invocation.failure_code = code
        # The first ^C from now on does not cut off what is noted.
        with invocation.working(self._session):
            for inputs in self._inputs.values():
                if code:
                    row = _Row(invocation, inputs.database_id)
                    row.note = self._show_way_back
                    self._once.show_failure(inputs, self._change, row)
                else:
                    await self._once.after(self._guarded(inputs, invocation))
        return code != 0

    def _show_way_back(self, text: AnyMessage) -> None:
        self._invocation.note(text)
        self._invocation.ways_back.append(self._invocation.wording.text(text))

    def _guarded(self, inputs: GuardInputs, row: Listener) -> GuardedChange:
        return GuardedChange(
            self._guard, inputs, self._change, lambda: self._session, row
        )


async def _restore(invocation: Invocation, snapshot: str) -> None:
    """Restore a snapshot as the command `restore` does."""
    typed = [snapshot, "--yes"]
    invocation.arguments = ["restore", *typed]
    invocation.out = invocation.err  # the command's own output is all that there is
    parent = invocation.context.parent if invocation.context else None
    with restore_command.make_context("restore", typed, parent=parent) as context:
        work: Awaitable[None] = restore_command.invoke(context)
    try:
        await work
    except ProviderError as error:
        # Typed again, the whole command would run what has just failed.
        again = {HintKind.RUN_AGAIN, HintKind.RUN_AGAIN_LONGER}
        steps = [each for each in error.then if each.step not in again]
        if len(steps) < len(error.then):
            go_back = Hint(HintKind.GO_BACK, id=short_id(snapshot))
            error.then = (go_back, *steps)
        raise
