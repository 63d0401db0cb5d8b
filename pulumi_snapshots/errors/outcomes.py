"""How an operation can end without what it was to bring, besides the service's own errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.text import Text, Words

if TYPE_CHECKING:
    from pulumi_snapshots.errors.next_step import Next

__all__ = ["CannotTell", "NoSuchSnapshot", "NothingSent", "Unresolved", "not_listed"]


class _Record(Protocol):
    """What the state keeps."""

    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_Record)


class Unresolved(Explained, Generic[R]):
    """Something was started, or may have been, and its end is not known. It must be kept.

    Args:
        record: what is known, to be kept under its provisional id.
        happened: what was sent, how it was answered, and why the wait ended; sentences.
        undecided: whether waiting longer would only end the same way.
        cause: the error that ended the wait, if one did; it follows what happened, and its next steps come first.
    """

    resumes: ClassVar[tuple[Next, ...]]
    """Next steps if the next run may see its end."""
    stays: ClassVar[tuple[Next, ...]]
    """Next steps if it is undecided."""
    kept_here: ClassVar[Next]
    """What happens next if the state cannot keep it, but this machine remembers it."""
    not_kept: ClassVar[Next]
    """What happens next if nothing remembers it."""

    def __init__(
        self, record: R, happened: Words = "", *, undecided: bool = False, cause: Explained | None = None
    ) -> None:
        before = cause.then if cause else ()
        if cause:
            happened = (
                Text("{happened} {cause}", happened=happened, cause=cause) if happened else Text("{cause}", cause=cause)
            )
        super().__init__(happened, then=(*before, *(self.stays if undecided else self.resumes)))
        self.record = record
        self.undecided = undecided
        self.__cause__ = cause
        self._before = before

    def unkept(self, *, remembered: bool) -> tuple[Next, ...]:
        """The next steps if there is no way to keep it in the state.

        Args:
            remembered: whether the next run on this machine finds it all the same.
        """
        return (*self._before, self.kept_here if remembered else self.not_kept)


class NothingSent(Explained):
    """The time was over, or it was interrupted, before anything was started; there is nothing to keep."""


class NoSuchSnapshot(Explained):
    """A snapshot that was asked for by its id is not there."""


class CannotTell(Explained):
    """A lookup was answered, but the answer does not decide what was asked."""


def not_listed(database_id: str, version_id: str) -> str:
    """What to say of a snapshot that was asked for and that no listing shows."""
    return (
        f"The service lists no snapshot {version_id} of database {database_id}. It keeps one for 30 days; one that was "
        "taken within the last 30 minutes may not be listed yet"
    )
