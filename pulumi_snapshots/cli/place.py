"""What surrounds a command: environment, streams, the session, and the way to end it. Tests give others."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.cli.wording import COMMANDS
from pulumi_snapshots.cli.words import printable
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.locked_file import state_directory
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import Settings

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.errors.wording import Wording
    from pulumi_snapshots.stopping import Stoppable

__all__ = ["OutputClosed", "Place"]

T = TypeVar("T")


class OutputClosed(Explained):
    """The result could not be written to standard output. What the command was to do is done."""


class Place:
    """One run of a command.

    Args:
        environment: with the API key and the other settings.
        out: where results go, and nothing else.
        err: where progress, warnings and errors go.
        clock: the time.
        open_session: the service; over the network unless a test gives another.
        transfers: for downloads; a test's own.
        in_thread: runs a blocking call; in a worker thread unless a test gives another.

    Attributes:
        signal: the first that asked it to stop; None while none has.
    """

    def __init__(  # noqa: PLR0913  what a test replaces
        self,
        environment: Mapping[str, str],
        out: IO[str] | None = None,
        err: IO[str] | None = None,
        *,
        clock: Clock | None = None,
        open_session: Callable[[Settings], Session] | None = None,
        transfers: Transfers | None = None,
        in_thread: Callable[..., Awaitable[Any]] | None = None,
    ) -> None:
        self.environment = environment
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.clock = clock or Clock()
        self.signal: signal.Signals | None = None
        self._open_session = open_session or self._session
        self._transfers = transfers
        self._in_thread = in_thread or anyio.to_thread.run_sync
        self._stops: list[Callable[[], None]] = []

    # Writing -------------------------------------------------------------------------------------------------------------

    def show(self, text: str) -> None:
        """Write a result, at once and whole.

        Raises:
            OutputClosed: nobody takes it.
        """
        try:
            self.out.write(text)
            self.out.flush()
        except OSError as error:
            why = error.strerror or str(error)
            raise OutputClosed(f"not all of the result was written to standard output: {why}") from error

    def say(self, text: str) -> None:
        """Write a line for people; where nobody reads them any more the work goes on."""
        with suppress(OSError, ValueError):
            self.err.write(printable(text) + "\n")
            self.err.flush()

    def log(self, text: str) -> None:
        """Write a line of a log."""
        self.say(f"{self.clock.utc():%H:%M:%S} UTC  {text}")

    def warn(self, text: Words, wording: Wording = COMMANDS) -> None:
        """Write what the user should know afterwards."""
        self.say(f"warning: {wording.text(text)}")

    def fail(self, text: str) -> None:
        """Write why it failed."""
        self.say(f"Error: {text}")

    # The service ---------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """The service, with the key of the environment.

        Raises:
            SettingsError: a setting is missing or cannot be used.
        """
        session = self._open_session(Settings.read({}, self.environment))
        try:
            yield session
            if note := session.take_note():
                self.warn(note)
        finally:
            with anyio.CancelScope(shield=True):
                await session.close()

    def _session(self, settings: Settings) -> Session:
        return Session(settings, clock=self.clock, state=state_directory(self.environment))

    @property
    def transfers(self) -> Transfers:
        """What downloads share."""
        if self._transfers is None:
            self._transfers = Transfers(clock=self.clock)
        return self._transfers

    async def blocking(self, call: Callable[..., T], *args: Any) -> T:
        """Run a blocking call apart from the event loop."""
        result: T = await self._in_thread(call, *args)
        return result

    # Ending --------------------------------------------------------------------------------------------------------------

    @contextmanager
    def ending(self, *stoppable: Stoppable) -> Iterator[None]:
        """While the body runs, a signal stops these; without any it cancels the body."""
        with anyio.CancelScope() as scope:
            stops = [one.stop for one in stoppable] or [scope.cancel]
            self._stops += stops
            try:
                yield
            finally:
                for stop in stops:
                    self._stops.remove(stop)

    def stop(self, received: signal.Signals) -> bool:
        """End what is under way.

        Returns:
            Whether it is to end by itself: not at the second signal, and not where nothing can be stopped.
        """
        first, self.signal = self.signal is None, self.signal or received
        if not first:
            return False
        stops = list(self._stops)
        for stop in stops:
            stop()
        return bool(stops)
