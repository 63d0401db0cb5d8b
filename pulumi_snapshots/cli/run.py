"""From the arguments of a command line to its exit code."""

import inspect
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import anyio
import click
from anyio.abc import TaskStatus

from pulumi_snapshots.cli.commands import commands
from pulumi_snapshots.cli.terminal.child import BY_SIGNAL
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from pulumi_snapshots.errors import Hint, HintKind, ProviderError, is_later
from pulumi_snapshots.errors.debug import shows_traceback
from pulumi_snapshots.errors.pages import keep_last
from pulumi_snapshots.errors.secrets import looks_secret, spells_secret
from pulumi_snapshots.hosts.monitor_message import Event
from pulumi_snapshots.service.errors import AnswerLost, NotSent, Unavailable

# exit codes; the last one is click's, for wrong arguments
DONE = 0
FAILED = 1
WRONG = 2
LATER = 75
"""Nothing was done, and the same succeeds later: `EX_TEMPFAIL` of BSD's `sysexits.h`."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals after which a command ends in order: ^C, a request to end, a closed terminal. Its exit
codes are 130, 143 and 129 then.
"""
OUTAGES = (AnswerLost, NotSent, Unavailable)
RECOVERY = tuple(
    f"{NAME} {command}" for command in ("download", "list", "restore", "show", "status")
)
"""The commands of somebody who has lost data: an archive helps them if the service does not."""


def run(arguments: Sequence[str]) -> NoReturn:
    """Run a command line, and end the process even if threads still wait.

    Args:
        arguments: the arguments, without the program's name.
    """
    closed = Path(os.devnull).open()  # noqa: SIM115  what is not open for writing fails like a closed stream
    sys.stdout = sys.stdout or closed
    sys.stderr = sys.stderr or closed
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # a locale may lack a name's characters
            stream.reconfigure(errors="backslashreplace")
    code = _run(arguments)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    # the interpreter's own end would wait for threads, and print a traceback if a stream is closed
    os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    invocation = Invocation(os.environ)
    try:
        command = parse(arguments, invocation)
    except SystemExit as ended:  # a completion
        return FAILED if ended.code else DONE
    except click.Abort:
        invocation.fail("interrupted before anything was sent.")
        return BY_SIGNAL + signal.SIGINT
    except click.exceptions.NoArgsIsHelpError as error:
        invocation.say(error.format_message())
        return error.exit_code
    except click.ClickException as error:
        return _refuse(invocation, error)
    except OSError as error:
        invocation.fail(
            f"standard output cannot be written: {error.strerror or error}."
        )
        return FAILED
    return anyio.run(finish, invocation, command) if command else DONE


def parse(
    arguments: Sequence[str], invocation: Invocation
) -> Coroutine[Any, Any, None] | None:
    """Parse a command line.

    Args:
        arguments: the arguments, without the program's name.
        invocation: the command's environment and streams.

    Returns:
        The command; None if nothing is left to do, as after `--help`.

    Raises:
        click.ClickException: an argument is wrong.
    """
    invocation.arguments = arguments
    command = commands.main(
        list(arguments), NAME, standalone_mode=False, obj=invocation
    )
    return command if inspect.iscoroutine(command) else None


async def finish(invocation: Invocation, command: Awaitable[None]) -> int:
    """Run a command until its end, or until a signal ends it.

    Args:
        invocation: the command's environment and streams.
        command: the command.

    Returns:
        The exit code.
    """
    code: int | None = None
    job = shlex.join([NAME, *invocation.arguments])  # as it was typed
    async with anyio.create_task_group() as group:
        await group.start(_heed_signals, invocation, group.cancel_scope)
        # A monitor must not hear of the start after the end.
        async with anyio.create_task_group() as beside:
            beside.start_soon(_notify, invocation, job, "started")
            code = await _carry_out(invocation, command)
        group.cancel_scope.cancel()
    if code is None:
        invocation.fail("interrupted before it was done.")
    if invocation.failures and code != WRONG:
        errors = [f"Error: {each}" for each in invocation.failures]
        keep_last("\n".join([invocation.name, *errors]), invocation.environment)
    await _notify(invocation, job, "done" if code == DONE else "failed")
    return _exit_code(invocation, code)


def _exit_code(invocation: Invocation, code: int | None) -> int:
    """Return the exit code: a signal's, a child's, or the command's own; None if it has no end."""
    if invocation.ended_by is not None and code != DONE:
        return BY_SIGNAL + invocation.ended_by
    if code in {FAILED, LATER} and invocation.failure_code:
        return invocation.failure_code
    return FAILED if code is None else code


async def _carry_out(invocation: Invocation, command: Awaitable[None]) -> int:
    """Run a command, and say why it cannot be done; returns the exit code."""
    try:
        await command
    except click.UsageError as error:
        return _refuse(invocation, error)
    except ProviderError as error:
        then: list[Hint] | None = None
        if invocation.name in RECOVERY and _is_outage(error):
            then = [*error.then, Hint(HintKind.USE_ARCHIVE)]
        invocation.fail(invocation.wording.report(error, then))
        if shows_traceback():
            invocation.say(traceback.format_exc())
        return LATER if is_later(error) else FAILED
    return FAILED if invocation.has_failed or invocation.failures else DONE


def _is_outage(error: BaseException | None) -> bool:
    """Whether the error, or the error that led to it, says that the service cannot be used."""
    while error is not None and not isinstance(error, OUTAGES):
        error = error.__cause__
    return error is not None


def _refuse(invocation: Invocation, error: click.ClickException) -> int:
    """Say what is wrong with the arguments; returns the exit code."""
    for each in invocation.arguments:
        if looks_secret(each) and not spells_secret(each):
            invocation.note_typed_id(each)
    text = error.format_message()
    context = getattr(error, "ctx", None)
    if context:
        is_group = isinstance(context.command, click.Group)
        listed = "commands" if is_group else "arguments"
        text += f"\nhint: `{context.command_path} --help` shows all {listed}."
    invocation.fail(text)
    return error.exit_code


async def _notify(invocation: Invocation, job: str, event: Event) -> None:
    """Tell the monitor how the command goes, if there is a monitor."""
    reasons = [*invocation.failures, *invocation.ways_back]
    text = "\n".join(reasons) if event == "failed" else ""
    await invocation.tell_monitor(event, job, f"{invocation.name}: {event}", text)


async def _heed_signals(
    invocation: Invocation,
    scope: anyio.CancelScope,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    # A signal that is ignored, as under nohup or in a background job, stays ignored.
    heeded = [each for each in ENDING if signal.getsignal(each) is not signal.SIG_IGN]
    with anyio.open_signal_receiver(*heeded) as signals:
        task_status.started()
        async for received in signals:
            if invocation.child.hand_on(received):
                continue
            # The end after a second signal does not wait for the operations.
            if invocation.ended_by or not invocation.stoppable:
                scope.cancel()
            invocation.ended_by = invocation.ended_by or received
            for each in invocation.stoppable:
                each.stop()
