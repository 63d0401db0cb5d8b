"""The objects that all resources and lookups of a process share: the memory, a ledger for each service, a session for each key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pulumi_snapshots.clock import Clock, ServiceClock, Stoppable
from pulumi_snapshots.late import late
from pulumi_snapshots.ledger.bucket import place_of
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.run.memory import RunMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from pulumi_snapshots.run.session import Session
    from pulumi_snapshots.run.settings import Settings

T = TypeVar("T")


class Shared:
    """The shared objects of a process; there is one of this class in a process.

    `announce` is that of a `Fleet`, `run` that of `RunMemory`; `background` is the task group for the summaries, once the event
    loop runs.
    """

    def __init__(self, announce: Callable[[str], None], run: str = "") -> None:
        self.memory = RunMemory(run)
        self.background: TaskGroup | None = None
        self._announce = announce
        self._ledgers: dict[tuple[str, str | None, str | None], Ledger] = {}
        self._clock = Clock()
        self._made: dict[Any, Any] = {}
        self._stopping = False

    def session(self, settings: Settings) -> Session:
        """Get the session for these settings, which have an API key; only in the event loop."""

        def make() -> Session:
            rest = {"clock": self._clock, "state": settings.state_directory(), "announce": self._announce}
            session: Session = late("run.session:Session")(settings, self.ledger(settings), self.memory, **rest)
            if self.background is not None:
                self.background.start_soon(session.fleet.keep_announcing)
            return session

        return self._one(settings, make)

    def ledger(self, settings: Settings) -> Ledger:
        """Get the ledger for these settings, which need no key; from any thread, all get the same."""
        key = settings.api_url, settings.shared_state, settings.state_dir
        if key not in self._ledgers:
            self._ledgers.setdefault(key, ledger_of(settings, self._clock))
        return self._ledgers[key]

    def of(self, kind: type[T]) -> T:
        """Get the object of a class, made without arguments at its first use; only in the event loop."""
        return self._one(kind, kind)

    def _one(self, key: Any, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
            if self._stopping:
                self.stop()
        made: T = self._made[key]
        return made

    def stop(self) -> None:
        """End all waits, including those that begin later; only in the event loop."""
        self._stopping = True
        for each in self._made.values():
            if isinstance(each, Stoppable):
                each.stop()


def ledger_of(settings: Settings, clock: Clock) -> Ledger:
    """The ledger of the service that settings name; nothing is read or written yet."""
    place = place_of(settings.shared_state, settings.state_directory(), settings.service(), clock)
    return Ledger(place, ServiceClock(clock))
