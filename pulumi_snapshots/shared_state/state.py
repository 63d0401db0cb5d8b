"""What the settings say of state that machines share: the place, and the files in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pulumi_snapshots.errors.outcomes import SharedStateUnavailable
from pulumi_snapshots.shared_file import AGAIN_AFTER
from pulumi_snapshots.shared_state.bucket import Bucket
from pulumi_snapshots.shared_state.folder import Folder
from pulumi_snapshots.shared_state.objects import BucketObjects
from pulumi_snapshots.shared_state.place import place_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_snapshots.clock import Clock
    from pulumi_snapshots.shared_file import SharedFile

T = TypeVar("T")


class SharedState(Protocol):
    """A place that all machines of an account reach.

    Attributes:
        where: names it in texts.
        conditional: whether its writes are conditional; otherwise it has locks.
    """

    where: str
    conditional: bool

    @property
    def ahead(self) -> float | None:
        """Seconds that the place's clock is ahead of this machine's; None until it is open."""

    def file(self, name: str) -> SharedFile:
        """One file of it."""

    def now(self) -> float:
        """Seconds since 1970 by the place's clock, once it is open."""

    async def open(self) -> None:
        """Make sure that it can be used; raises `SharedStateUnavailable` if it cannot."""


def shared_state(setting: str, clock: Clock) -> SharedState:
    """The place that a checked setting names. Nothing is read or written yet.

    Args:
        setting: a URI or a path.
        clock: this machine's time.
    """
    place = place_of(setting)
    return Folder(place.file, clock) if place.scheme == "file" else Bucket(BucketObjects(place), clock)


class WithFallback:
    """A `SharedFile` of all machines, in whose place this machine's own is used while it fails.

    Args:
        shared: of all machines.
        own: of this machine; None for none.
        clock: the time.
    """

    damage = ""

    def __init__(self, shared: SharedFile, own: SharedFile | None, clock: Clock) -> None:
        self._shared = shared
        self._own = own
        self._clock = clock
        self._failed_until = 0.0

    @property
    def trouble(self) -> str:
        """Why it has failed; empty if it has not."""
        return self._shared.trouble

    async def ready(self) -> None:
        """Nothing has to be ready: there is always a way."""

    def now(self) -> float:
        """Seconds since 1970 by the clock of the file in use."""
        return self._shared.now() if self._own is None or not self._fails else self._own.now()

    @property
    def _fails(self) -> bool:
        return self._clock.monotonic() < self._failed_until

    async def read(self) -> dict[str, Any]:
        """Read the object."""
        if not self._fails:
            try:
                return await self._shared.read()
            except SharedStateUnavailable:
                self._failed_until = self._clock.monotonic() + AGAIN_AFTER
        return {} if self._own is None else await self._own.read()

    async def change(self, edit: Callable[[dict[str, Any]], T], *, durable: bool = False) -> T:
        """Change the object."""
        if not self._fails:
            try:
                return await self._shared.change(edit, durable=durable)
            except SharedStateUnavailable:
                self._failed_until = self._clock.monotonic() + AGAIN_AFTER
        return edit({}) if self._own is None else await self._own.change(edit, durable=durable)
