"""From the arguments of a command line to its exit code."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import anyio
import click

from pulumi_snapshots.cli.commands import commands
from pulumi_snapshots.cli.terminal.invocation import (
    BY_SIGNAL,
    COMPLETE,
    DONE,
    FAILED,
    INTERRUPTED,
    NAME,
    Invocation,
    streams,
)


def parse(arguments: Sequence[str], invocation: Invocation) -> Coroutine[Any, Any, int] | None:
    """The command that is typed; None if nothing is left to do, as after `--help`.

    Raises:
        click.ClickException: the arguments are wrong.
    """
    command = commands.main(list(arguments), NAME, standalone_mode=False, obj=invocation)
    return command if inspect.iscoroutine(command) else None


def _complete(arguments: Sequence[str], invocation: Invocation) -> NoReturn:
    """Print what the shell has asked for, and end at once: a request that hangs in the system must not hold up the shell."""
    code: object = FAILED
    try:
        parse(arguments, invocation)
    except SystemExit as ended:
        code = ended.code
    _leave(DONE if code == DONE else FAILED)


def _leave(code: int) -> NoReturn:
    """End at once, whatever threads still wait for."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code."""
    with streams():
        invocation = Invocation(os.environ)
        if os.environ.get(COMPLETE):
            _complete(arguments, invocation)
        try:
            command = parse(arguments, invocation)
        except click.Abort:
            invocation.fail("interrupted before anything was sent.")
            return INTERRUPTED
        except click.exceptions.NoArgsIsHelpError as error:
            invocation.say(error.format_message())
            return error.exit_code
        except click.ClickException as error:
            return invocation.refuse(error)
        except OSError as error:
            invocation.fail(f"standard output cannot be written: {error.strerror or error}.")
            return FAILED
        code = anyio.run(invocation.finish, command) if command else DONE
        if code > BY_SIGNAL:
            _leave(code)
        return code
