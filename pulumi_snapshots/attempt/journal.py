"""The attempt journal: what a killed run leaves for the next one, so that it finds its POST instead of sending another.

An entry stands from before the POST until its end is known. While its operation lasts it belongs to a process; once that
has answered "pending", the stack's state has it, and the entry is there for other stacks only. The versions that were
found lately stand beside the entries: the next POST of another stack did not start them. How an attempt is found is
decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.clock import parse_rfc3339, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from pulumi_snapshots.attempt.process import Process
    from pulumi_snapshots.locked_file import LockedFile

__all__ = ["AttemptJournal", "Entry", "Found"]

T = TypeVar("T")
ENTRIES = "attempts"
FOUND = "found"
FOUND_KEPT = timedelta(hours=2)
"""How long a found version is kept: an older one was taken before every POST that it could be mistaken for."""
UNREADABLE = (KeyError, TypeError, ValueError, OverflowError)
"""What an item of the file that cannot be read ends in; it must not stop a run."""


@dataclass(frozen=True)
class Entry:
    """One attempt.

    Attributes:
        owner: the resource's URN; None if unknown.
        database_id: the database that the POST was sent for.
        purpose: a digest of the triggers: another purpose needs another snapshot, or another restore.
        post: the POST.
        process: the process that sent it, see `Process`.
        in_state: whether the stack's state has it as pending, so that its owner resumes it from there.
        restores: the snapshot that a restore puts back, as DATABASE_ID/VERSION_ID; None for a snapshot.
    """

    owner: str | None
    database_id: str
    purpose: str
    post: Post
    process: str
    in_state: bool = False
    restores: str | None = None

    def to_file(self) -> dict[str, Any]:
        """As the file keeps it."""
        return {
            "owner": self.owner,
            "database_id": self.database_id,
            "purpose": self.purpose,
            "attempt": self.post.to_outputs(),
            "process": self.process,
            "in_state": self.in_state,
            "restores": self.restores,
        }

    @classmethod
    def from_file(cls, content: Any) -> Entry:
        """From the file.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it cannot be read.
        """
        return cls(
            owner=content["owner"],
            database_id=str(content["database_id"]),
            purpose=str(content["purpose"]),
            post=Post.from_outputs(content["attempt"]),
            process=str(content["process"]),
            in_state=bool(content.get("in_state")),
            restores=content.get("restores"),
        )

    def is_same_post(self, other: Entry) -> bool:
        """Whether both are of one POST."""
        ours, theirs = ((one.owner, one.database_id, one.post.posted_at) for one in (self, other))
        return ours == theirs


@dataclass(frozen=True)
class Found:
    """A version that a create or a refresh has found.

    Attributes:
        database_id: the snapshot's database.
        version_id: the service's.
        at: when it was found, by this machine's clock.
    """

    database_id: str
    version_id: str
    at: datetime

    def to_file(self) -> dict[str, str]:
        """As the file keeps it."""
        return {**vars(self), "at": rfc3339(self.at)}

    @classmethod
    def from_file(cls, content: Any) -> Found:
        """From the file.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it cannot be read.
        """
        return cls(str(content["database_id"]), str(content["version_id"]), parse_rfc3339(content["at"]))


class AttemptJournal:
    """The entries of one API key.

    Args:
        file: shared with other processes; None keeps nothing.
        process: this one.
    """

    def __init__(self, file: LockedFile | None, process: Process) -> None:
        self._file = file
        self.process = process

    # Reading: never writes ---------------------------------------------------------------------------------------------

    async def of(self, database_id: str) -> list[Entry]:
        """The attempts on a database, oldest first."""
        return [entry for entry in await self.all() if entry.database_id == database_id]

    async def all(self) -> list[Entry]:
        """The attempts on every database, oldest first."""
        return [] if self._file is None else _entries(await self._file.read())

    async def found(self) -> list[Found]:
        """What the runs of this machine have found lately, on every database."""
        return [] if self._file is None else _read(await self._file.read(), FOUND, Found.from_file)

    def is_under_way(self, entry: Entry) -> bool:
        """Whether another living process still works on it."""
        return not entry.in_state and entry.process != self.process.name and self.process.is_running(entry.process)

    # Writing: one locked change each -----------------------------------------------------------------------------------

    async def enter(self, entry: Entry, *, after: Collection[Entry], supersedes: bool = False) -> frozenset[str] | None:
        """Write an attempt down before its POST leaves, unless another one on its database comes first.

        Args:
            entry: the attempt.
            after: attempts on this database that its operation has dealt with; any other comes first.
            supersedes: whether the owner's earlier entries, on whatever database, are of no more interest.

        Returns:
            The versions of this database that other runs have found lately; None if another attempt comes first, so that
            nothing was entered.
        """

        def edit(content: dict[str, Any]) -> frozenset[str] | None:
            entries = _entries(content)
            others = [old for old in entries if old.database_id == entry.database_id]
            if any(self.is_under_way(old) or not any(map(old.is_same_post, after)) for old in others):
                return None
            kept = [old for old in entries if not (supersedes and self._is_superseded(old, entry))]
            _put(content, [*kept, entry])
            found = _read(content, FOUND, Found.from_file)
            return frozenset(one.version_id for one in found if one.database_id == entry.database_id)

        return await self._change(edit, frozenset())

    async def renew(self, entry: Entry) -> bool:
        """Write down what is known by now of an attempt that was entered.

        Returns:
            False if it belongs to another living process, or one has another attempt on this database under way.
        """

        def edit(content: dict[str, Any]) -> bool:
            entries = _entries(content)
            if any(self.is_under_way(old) for old in entries if old.database_id == entry.database_id):
                return False
            _put(content, [*(old for old in entries if not old.is_same_post(entry)), entry])
            return True

        return await self._change(edit, default=True)

    async def erase(self, entry: Entry, found: Found | None = None) -> None:
        """The end of an attempt is known.

        Args:
            entry: the attempt.
            found: its snapshot, if that is its end.
        """

        def edit(content: dict[str, Any]) -> None:
            _put(content, [old for old in _entries(content) if not old.is_same_post(entry)])
            if found is not None:
                # In one change: an attempt is either under way or found.
                lately = [one for one in _read(content, FOUND, Found.from_file) if found.at - one.at < FOUND_KEPT]
                content[FOUND] = [one.to_file() for one in (*lately, found)]

        await self._change(edit, None)

    async def forget(self, owner: str | None, database_id: str, post: Post, found: Found | None = None) -> None:
        """The end of an attempt is known to a run that has it from the state."""
        await self.erase(Entry(owner, database_id, "", post, self.process.name), found)

    def _is_superseded(self, old: Entry, entry: Entry) -> bool:
        return entry.owner is not None and old.owner == entry.owner and not self.is_under_way(old)

    async def _change(self, edit: Callable[[dict[str, Any]], T], default: T) -> T:
        return default if self._file is None else await self._file.change(edit)


def _entries(content: dict[str, Any]) -> list[Entry]:
    return sorted(_read(content, ENTRIES, Entry.from_file), key=lambda entry: entry.post.posted_at)


def _put(content: dict[str, Any], entries: list[Entry]) -> None:
    content[ENTRIES] = [entry.to_file() for entry in entries]


def _read(content: dict[str, Any], part: str, from_file: Callable[[Any], T]) -> list[T]:
    stored = content.get(part)
    items = []
    for item in stored if isinstance(stored, list) else ():
        try:
            items.append(from_file(item))
        except UNREADABLE:
            continue
    return items
