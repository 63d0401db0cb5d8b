"""How an operation can fail, besides the service's own errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.text import Text, Words

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


NOTHING_LOADED = "Nothing was loaded."
"""What was done with an archive that is not what it must be."""


class _Record(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_Record)
U = TypeVar("U", bound="Unresolved[Any]")


class Unresolved(Explained, Generic[R]):
    """Something was started, or may have been, and its end is not known. It must be kept.

    Args:
        record: what is known, to be kept under its provisional id.
        happened: what was sent, how it was answered, and why the wait ended; sentences.
        undecided: whether waiting longer would end the same way.
        cause: the error that ended the wait, if any; it follows what happened, and its next steps come first.

    Attributes:
        told: `happened`, without the cause.
    """

    steps_if_pending: ClassVar[tuple[Next, ...]]
    """Next steps if the next run may see its end."""
    steps_if_undecided: ClassVar[tuple[Next, ...]]
    """Next steps if it is undecided."""
    step_if_remembered: ClassVar[Next]
    """What happens next if the state cannot keep it, but this machine remembers it."""
    step_if_forgotten: ClassVar[Next]
    """What happens next if nothing remembers it."""

    def __init__(
        self, record: R, happened: Words = "", *, undecided: bool = False, cause: Explained | None = None
    ) -> None:
        self.told = happened
        if cause:
            template = "{happened} {cause}" if happened else "{cause}"
            happened = Text(template, happened=happened, cause=cause)
        self._before = cause.then if cause else ()
        super().__init__(
            happened, then=(*self._before, *(self.steps_if_undecided if undecided else self.steps_if_pending))
        )
        self.record = record
        self.undecided = undecided
        self.__cause__ = cause

    def about(self, kind: type[U], record: Any) -> U:
        """Make the same error of another kind, about another record."""
        cause = self.__cause__ if isinstance(self.__cause__, Explained) else None
        return kind(record, self.told, undecided=self.undecided, cause=cause)

    def steps_if_not_saved(self, *, remembered: bool, everywhere: bool = False) -> tuple[Next, ...]:
        """The next steps if the state cannot keep it.

        Args:
            remembered: whether the next run on this machine still finds it.
            everywhere: whether the next run on any machine does then.
        """
        if remembered and everywhere:
            return (*self._before, *self.steps_if_pending)
        return (*self._before, self.step_if_remembered if remembered else self.step_if_forgotten)


class NothingSent(Explained):
    """It timed out or was interrupted before anything was started; there is nothing to keep."""


class LedgerUnavailable(Explained):
    """The ledger, in which what is sent must be written down first, cannot be read or written.

    Args:
        where: the place.
        why: in a few words.
        then: the next steps, if they are other ones than for every such place.
        is_shared: whether several machines share the place.
    """

    def __init__(self, where: str, why: str, then: Iterable[Next] = (), *, is_shared: bool = False) -> None:
        self._made_of = (where, why, tuple(then), is_shared)
        name = "{shared_state}" if is_shared else "The ledger of this machine"
        of_bucket = Step.CHECK_SHARED_STATE if "://" in where else Step.CHECK_SHARED_FOLDER
        other = of_bucket if is_shared else Step.USE_OTHER_STATE_DIRECTORY
        super().__init__(
            Text(name + " cannot be used: {where}: {why}", where=where, why=why),
            "Nothing was started: what is sent must be written down there first.",
            self._made_of[2] or (Next(other), Next(Step.RUN_AGAIN)),
        )
        self.trouble = f"{where}: {why}"

    def again(self) -> LedgerUnavailable:
        """Make the same error for another caller, since one that several raise would collect the causes of all."""
        where, why, then, is_shared = self._made_of
        other = LedgerUnavailable(where, why, then, is_shared=is_shared)
        other.__cause__ = self.__cause__
        return other


class NoSuchSnapshot(Explained):
    """A snapshot that was asked for by its id is not there."""


class CannotTell(Explained):
    """The service's answer leaves open what was looked up."""


def not_listed(database_id: str, version_id: str, listed_by: datetime | None = None) -> tuple[str, list[Next]]:
    """What an error says of a snapshot that no listing shows, and its next steps.

    Args:
        database_id: the snapshot's database.
        version_id: its version.
        listed_by: when every listing must show it, UTC; None if it may be gone, or never have been there.
    """
    happened = f"The service lists no snapshot {version_id} of database {database_id}"
    if listed_by is None:
        kept = "It keeps one for 30 days; one that was taken within the last 30 minutes may not be listed yet"
        return f"{happened}. {kept}", [Next(Step.CHECK_ID)]
    old = "it serves a page for up to 30 minutes, and this snapshot is younger"
    return f"{happened} yet: {old}", [Next(Step.RUN_AGAIN_AFTER, time=f"{listed_by:%H:%M:%S} UTC")]
