"""What the resources and lookups of one process share: memory, sessions, transfers, and the way to stop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pulumi_snapshots.archive.memory import ArchiveMemory
from pulumi_snapshots.attempt.memory import RunMemory
from pulumi_snapshots.locked_file import state_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from pulumi_snapshots.archive.transfers import Transfers
    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.run.settings import Settings

__all__ = ["Shared"]


class Shared:
    """One per process: one connection pool, one gate and one view of the listings for each key; one turn for archives.

    Args:
        announce: told a summary of all snapshots every minute while there are many.

    Attributes:
        memory: of the run.
        archives: what the run knows of its archives.
        background: of the event loop, once it runs; fleets are announced there.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.memory = RunMemory()
        self.archives = ArchiveMemory()
        self.background: TaskGroup | None = None
        self._announce = announce
        self._sessions: dict[Settings, Session] = {}
        self._transfers: Transfers | None = None
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

    @property
    def transfers(self) -> Transfers:
        """What all archives share; in the event loop only."""
        from pulumi_snapshots.archive.transfers import Transfers  # noqa: PLC0415  not for programs

        if self._transfers is None:
            self._transfers = Transfers()
            if self._stopping:
                self._transfers.stop()
        return self._transfers

    def stop(self) -> None:
        """End all waiting, of what begins later too; in the event loop only."""
        self._stopping = True
        for session in self._sessions.values():
            session.stop()
        if self._transfers is not None:
            self._transfers.stop()
