"""What the resources and lookups of one process share: memory, a session for each key, and the way to stop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from pulumi_snapshots.attempt.memory import RunMemory
from pulumi_snapshots.locked_file import state_directory
from pulumi_snapshots.stopping import Stoppable

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.run.settings import Settings

__all__ = ["Shared"]

T = TypeVar("T")


class Shared:
    """One per process: one connection pool, one rate limiter and one view of the listings for each key.

    Args:
        announce: told a summary of all snapshots every minute while there are many.

    Attributes:
        memory: of the run.
        background: of the event loop, once it runs; fleets are announced there.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.memory = RunMemory()
        self.background: TaskGroup | None = None
        self._announce = announce
        self._sessions: dict[Settings, Session] = {}
        self._others: dict[type, Any] = {}
        self._stopping = False

    def session(self, settings: Settings) -> Session:
        """The session of this key; in the event loop only.

        Raises:
            MissingKey: the settings hold none.
        """
        # Loaded here, so that a run in which nothing is asked never loads the HTTP stack.
        from pulumi_snapshots.run.session import Session  # noqa: PLC0415

        session = self._sessions.get(settings)
        if session is None:
            session = self._sessions[settings] = Session(
                settings, self.memory, state=state_directory(os.environ), announce=self._announce
            )
            if self.background is not None:
                self.background.start_soon(session.fleet.keep_announcing)
            if self._stopping:
                session.stop()
        return session

    def of(self, kind: type[T]) -> T:
        """What the resources of one kind share besides: made at its first use, in the event loop, and stopped with the run.

        Args:
            kind: its class, which takes no arguments.
        """
        if kind not in self._others:
            self._others[kind] = kind()
            if self._stopping:
                self.stop()
        made: T = self._others[kind]
        return made

    def stop(self) -> None:
        """End all waiting, of what begins later too; in the event loop only."""
        self._stopping = True
        for each in (*self._sessions.values(), *self._others.values()):
            if isinstance(each, Stoppable):
                each.stop()
