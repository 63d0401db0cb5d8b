"""The objects that all resources and lookups of a process share: the memory, and a session for each key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from pulumi_snapshots.attempt.memory import RunMemory
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.late import late
from pulumi_snapshots.locked_file import state_directory
from pulumi_snapshots.run.journals import Journals, journals_here, journals_of, process_of, shared_state_of
from pulumi_snapshots.stopping import Stoppable

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from pulumi_snapshots.attempt.journal import AttemptJournal
    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.run.settings import Settings
    from pulumi_snapshots.shared_state.state import SharedState

T = TypeVar("T")


class Shared:
    """The shared objects of a process; there is one of this class in a process.

    Args:
        announce: see `Fleet`.
        cuts_rows: see `Fleet`.

    Attributes:
        memory: the memory of the run.
        background: the task group for the summaries, once the event loop runs.
    """

    def __init__(self, announce: Callable[[str], None], *, cuts_rows: bool = False) -> None:
        self.memory = RunMemory()
        self.background: TaskGroup | None = None
        self._announce = announce
        self._cuts_rows = cuts_rows
        self._sessions: dict[Settings, Session] = {}
        self._journals: dict[tuple[str, str | None], Journals] = {}
        self._states: dict[str | None, SharedState | None] = {}
        self._keyless: dict[str, list[AttemptJournal]] = {}
        self._clock = Clock()
        self._others: dict[type, Any] = {}
        self._stopping = False

    def session(self, settings: Settings) -> Session:
        """Get the session for these settings, which have an API key; only in the event loop."""
        session = self._sessions.get(settings)
        if session is None:
            key = settings.fingerprint()
            beside = next((each for other, each in self._sessions.items() if other.fingerprint() == key), None)
            session = self._sessions[settings] = late("run.session:Session")(
                settings,
                self.memory,
                clock=self._clock,
                state=state_directory(os.environ),
                journals=self.journals(settings),
                shared=self._shared_state(settings),
                beside=beside,
                announce=self._announce,
                cuts_rows=self._cuts_rows,
            )
            if self.background is not None:
                self.background.start_soon(session.fleet.keep_announcing)
            if self._stopping:
                session.stop()
        return session

    def journals(self, settings: Settings) -> Journals:
        """Get the journals for these settings, which have an API key; from any thread, all get the same."""
        key = settings.fingerprint(), settings.shared_state
        if key not in self._journals:
            folder, state = state_directory(os.environ), self._shared_state(settings)
            self._journals.setdefault(key, journals_of(settings, self._clock, folder, process_of(state), state))
        return self._journals[key]

    def _shared_state(self, settings: Settings) -> SharedState | None:
        if settings.shared_state not in self._states:
            self._states.setdefault(settings.shared_state, shared_state_of(settings, self._clock))
        return self._states[settings.shared_state]

    def journals_of_all_keys(self, settings: Settings, what: str) -> list[AttemptJournal]:
        """Get the journals of every key, for settings without one; `what` as in `Journals`; from any thread.

        What the machines of an account share is the same for all keys; otherwise those that were used on this machine.
        """
        if what not in self._keyless:
            folder, state = state_directory(os.environ), self._shared_state(settings)
            found = journals_of(settings, self._clock, folder, process_of(state), state) if state else {}
            here = [] if state else journals_here(what, self._clock, folder, process_of(None))
            self._keyless.setdefault(what, [found[what]] if what in found else here)
        return self._keyless[what]

    def of(self, kind: type[T]) -> T:
        """Get the object of a class, made without arguments at its first use; only in the event loop."""
        if kind not in self._others:
            self._others[kind] = kind()
            if self._stopping:
                self.stop()
        made: T = self._others[kind]
        return made

    def stop(self) -> None:
        """End all waits, including those that begin later; only in the event loop."""
        self._stopping = True
        for each in (*self._sessions.values(), *self._others.values()):
            if isinstance(each, Stoppable):
                each.stop()
