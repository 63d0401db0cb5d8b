"""Runs commands against the emulated service on a virtual clock: no process, no socket, no real time."""

from __future__ import annotations

import functools
import inspect
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import partial
from io import StringIO
from pathlib import Path
from typing import IO, Any

import anyio
import click
import httpx

from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.cli.run import _refuse, finish, parse
from pulumi_snapshots.cli.terminal.child import ChildCommand
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.clock import Clock, ServiceClock
from pulumi_snapshots.hosts.monitor import Monitor
from pulumi_snapshots.ledger.bucket import place_of
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import Place
from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import Settings
from tests.archive.scene import at_once
from tests.support.virtual import run_virtual
from tests.support.world import World, world


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def done(self) -> Ended:
        assert self.code == 0, self.err
        return self

    def failed(self, *says: str, code: int = 1) -> Ended:
        """It has ended with this code, and standard error has each of these texts."""
        assert self.code == code, self.err
        assert [each for each in says if each not in self.err] == [], self.err
        return self


class Terminal(StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class PlayedCommand(ChildCommand):
    """A command that `guard` runs, as a test plays it: by its words, for some time, with an exit code."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = 0.0
        self.code = 0
        self.ends: Callable[[], object] = lambda: None
        """What happens at its end."""
        self.ran: list[tuple[list[str], dict[str, str], datetime]] = []
        """The words of each that was run, its environment, and when."""
        self.got: list[signal.Signals] = []
        """The signals that it has got, all of which it ignores."""
        self._running = False

    async def run(self, words: Sequence[str], environment: Mapping[str, str]) -> int:
        self.ran.append(([*words], dict(environment), self.clock.utc()))
        self._running = True
        try:
            await self.clock.sleep(self.seconds)
        finally:
            self._running = False
        self.ends()
        return self.code

    def hand_on(self, received: signal.Signals) -> bool:
        if self._running:
            self.got.append(received)
        return self._running


@dataclass
class Desk:
    """One machine, whose runs share what is in `state`."""

    w: World
    state: Path
    environment: dict[str, str] = field(default_factory=dict)
    in_thread: Callable[..., Awaitable[Any]] = at_once
    zone: tzinfo = UTC
    """Of the person at the desk."""
    place: Callable[[], Place] | None = None
    """Where the ledger lies, for each run again; as the environment says, or else in `state`, unless given."""
    monitors: httpx.AsyncBaseTransport | None = None

    def __post_init__(self) -> None:
        # Downloads are refused over http, except from this machine.
        self.w.emulator.base_url = "https://emulator.test"
        self.child = PlayedCommand(self.w.clock)
        self.environment = {
            "SQUARECLOUD_API_KEY": self.w.emulator.settings.api_key,
            "SQUARECLOUD_API_URL": self.w.emulator.api_url,
            "SQUARECLOUD_SNAPSHOTS_URL": self.w.emulator.snapshots_url,
            "SQUARECLOUD_STATE_DIR": str(self.state),
            **self.environment,
        }

    def invocation(
        self, out: StringIO, err: StringIO, typed: IO[str] | None = None
    ) -> Invocation:
        session = partial(Session, http=self.w.transport)
        return Invocation(
            self.environment,
            out,
            err,
            stdin=typed or StringIO(),
            clock=self.w.clock,
            make_session=session,
            make_ledger=lambda settings, clock: Ledger(
                self._place(settings), ServiceClock(clock)
            ),
            transfers=Transfers(
                clock=self.w.clock, http=self.w.transport, in_thread=at_once
            ),
            monitor=Monitor(self.monitors),
            in_thread=self.in_thread,
            child=self.child,
            zone=self.zone,
        )

    def _place(self, settings: Settings) -> Place:
        if self.place is not None:
            return self.place()
        place = place_of(
            settings.shared_state, self.state, settings.service(), self.w.clock
        )
        for each in (
            place,
            *vars(place).values(),
        ):  # a shared place has the machine's own beside it
            if isinstance(each, SqliteFile):
                vars(each)["_in_threads"] = (
                    False  # a virtual clock does not wait for threads
                )
        return place

    async def types(
        self,
        *arguments: str,
        out: StringIO | None = None,
        err: StringIO | None = None,
        typed: IO[str] | None = None,
    ) -> Ended:
        """Type a command and wait for its end; `typed` is what it can read."""
        out = out or StringIO()
        err = err or StringIO()
        invocation = self.invocation(out, err, typed)
        try:
            command = parse(arguments, invocation)
        except click.ClickException as error:
            return Ended(_refuse(invocation, error), out.getvalue(), err.getvalue())
        assert command is not None
        code = await finish(invocation, command)
        return Ended(code, out.getvalue(), err.getvalue())

    async def interrupted(
        self, after: float, *arguments: str, by: signal.Signals = signal.SIGINT
    ) -> Ended:
        """Type a command, and send it a signal after so many seconds."""
        return await self.w.meanwhile(
            after, partial(signal.raise_signal, by), self.types(*arguments)
        )

    @asynccontextmanager
    async def killed(self, *arguments: str) -> AsyncIterator[None]:
        """Type a command, whose process is killed at the end of the body."""
        async with anyio.create_task_group() as process:
            process.start_soon(partial(self.types, *arguments))
            yield
            process.cancel_scope.cancel()


def at_desk(
    **service: Any,
) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Decorate a test of one machine, which gets its `desk` and the world `w` beside its fixtures, on a virtual clock."""

    def of(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        wanted = inspect.signature(test).parameters

        @functools.wraps(test)
        def run(tmp_path: Path, **given: Any) -> None:
            async def body() -> None:
                async with world(**service) as w:
                    own = {
                        "w": w,
                        "desk": Desk(w, tmp_path / "state"),
                        "tmp_path": tmp_path,
                    }
                    await test(
                        **{name: own[name] for name in own.keys() & wanted}, **given
                    )

            run_virtual(body)

        kept = [
            each
            for name, each in wanted.items()
            if name not in {"w", "desk", "tmp_path"}
        ]
        own = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        run.__signature__ = inspect.Signature([own, *kept])  # type: ignore[attr-defined]
        return run

    return of
