"""Commands of the command line on a computer of a story, with its ledger, in virtual time and without a process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from io import StringIO
from typing import Any

import click

from pulumi_snapshots.cli.run import finish, parse
from pulumi_snapshots.cli.snapshots.guard import SNAPSHOTS_VARIABLE
from pulumi_snapshots.cli.terminal.child import ChildCommand
from pulumi_snapshots.cli.terminal.invocation import NAME, Invocation
from squarecloud_emulator import JournalEntry
from tests.support.inside import Computer, Provider

CHANGES = ("--", "true")
"""How a guarded command is typed: `true` is there on each machine, and is not run."""
OWN_OPTIONS = ("--json", "--quiet")
"""The options of each command of a story that has a result."""


def with_options(arguments: Sequence[str], *options: str) -> list[str]:
    """A command with more options, which come before the words of a guarded one."""
    typed = [*arguments]
    end = typed.index(CHANGES[0]) if CHANGES[0] in typed else len(typed)
    return [*typed[:end], *options, *typed[end:]]


@dataclass(eq=False)
class GuardedChange(ChildCommand):
    """Stands for the command that `guard` runs, and changes what its databases hold."""

    seconds: float  # how long it takes
    ends_with: int  # its exit code
    begins: Callable[[list[str]], None]  # is told the snapshots that guard it
    has_ended: bool = False

    async def run(self, _words: Sequence[str], environment: Mapping[str, str]) -> int:
        self.begins(environment[SNAPSHOTS_VARIABLE].split())
        await asyncio.sleep(self.seconds)
        self.has_ended = True
        return self.ends_with


@dataclass(eq=False)
class Command:
    """One command that a user types on a computer, as its own process."""

    computer: Computer
    settings: dict[str, str]  # of the environment
    arguments: Sequence[str]  # without the program's name
    child: ChildCommand = field(default_factory=ChildCommand)
    code: int | None = None  # its exit code; None if it was killed
    out: StringIO = field(default_factory=StringIO)
    err: StringIO = field(default_factory=StringIO)

    def __post_init__(self) -> None:
        self._process = Provider(self.computer, {})
        shared = self._process.shared
        self._invocation = Invocation(
            # no folder of this machine is used
            {"HOME": "nowhere", **self.settings},
            self.out,
            self.err,
            stdin=StringIO(),
            clock=self._process.clock,
            make_session=lambda settings, *_, **__: shared.session(settings),
            make_ledger=lambda settings, _: shared.ledger(settings),
            child=self.child,
            zone=UTC,
        )

    @property
    def typed(self) -> str:
        """The command as it is typed."""
        return " ".join((NAME, *self.arguments))

    @property
    def record(self) -> dict[str, Any]:
        """What it has printed, with `--json`."""
        printed: dict[str, Any] = json.loads(self.out.getvalue() or "{}")
        return printed

    @property
    def posts(self) -> list[JournalEntry]:
        """What it has sent and the service has accepted."""
        sent = self._process.shared.wire.requests("")
        return [entry for entry in sent if entry.accepted]

    async def run(self) -> None:
        """Run it to its end."""
        try:
            command = parse([*self.arguments], self._invocation)
        except click.ClickException as error:
            raise AssertionError(f"{self.typed}: {error.format_message()}") from error
        assert command is not None
        try:
            self.code = await finish(self._invocation, command)
        finally:
            command.close()  # if it was killed before its first step

    def interrupt(self) -> None:
        """Press ^C."""
        for each in self._invocation.stoppable:
            each.stop()

    async def run_until(self, how: str, seconds: float) -> None:
        """Run it until it is interrupted (`^C`) or killed after so many seconds."""
        task = asyncio.ensure_future(self.run())
        await asyncio.wait([task], timeout=seconds)
        if not task.done() and how != "^C":
            self._process.kill()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return
        if not task.done():
            self.interrupt()
        await task
