"""The attempt journal: a file of unresolved POSTs, with which the next run finds the POST of a killed run.

An entry exists from before the POST is sent until its result is known. It belongs to a process until the operation ends as
pending. From then on the stack's state holds the POST, and the entry is for other stacks only. The journal also keeps the
versions that were found lately: a later POST of another stack did not start them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.attempt.process import Process
from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from pulumi_snapshots.locked_file import LockedFile

T = TypeVar("T")
ENTRIES = "attempts"
FOUND = "found"
FOUND_KEPT = timedelta(hours=2)
"""How long a found version is kept. An older one cannot be mistaken for the snapshot of any unresolved POST."""
UNREADABLE = (KeyError, TypeError, ValueError, OverflowError)
"""The errors of an unreadable item of the file; the item is ignored, since it must not stop a run."""


@dataclass(frozen=True)
class Entry:
    """One unresolved POST.

    Attributes:
        owner: the resource's URN; None if unknown.
        database_id: the database that the POST was sent for.
        purpose: a digest of the triggers; with other triggers the resource needs another POST.
        post: the POST.
        process: the process that sent it, see `Process`.
        in_state: whether the stack's state holds it as pending, so that the resource resumes it from there.
        restores: for a restore, the snapshot as DATABASE_ID/VERSION_ID; None for a snapshot.
    """

    owner: str | None
    database_id: str
    purpose: str
    post: Post
    process: str
    in_state: bool = False
    restores: str | None = None

    def to_file(self) -> dict[str, Any]:
        """The form in the file."""
        others = {name: value for name, value in vars(self).items() if name != "post"}
        return {**others, "attempt": self.post.to_outputs()}

    @classmethod
    def from_file(cls, content: Any) -> Entry:
        """Read the form in the file; raises one of `UNREADABLE` if it cannot be read."""
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
        """Whether both entries are of the same POST."""
        ours, theirs = ((one.owner, one.database_id, one.post.posted_at) for one in (self, other))
        return ours == theirs


@dataclass(frozen=True)
class Found:
    """A version that a create or a refresh found.

    Attributes:
        database_id: the snapshot's database.
        version_id: the service's version id.
        at: when it was found, by this machine's clock.
    """

    database_id: str
    version_id: str
    at: datetime

    def to_file(self) -> dict[str, str]:
        """The form in the file."""
        return {**vars(self), "at": rfc3339(self.at)}

    @classmethod
    def from_file(cls, content: Any) -> Found:
        """Read the form in the file; raises one of `UNREADABLE` if it cannot be read."""
        return cls(str(content["database_id"]), str(content["version_id"]), parse_rfc3339(content["at"]))


class AttemptJournal:
    """The journal of one API key, in a file that is shared with other processes; without a file it keeps nothing."""

    def __init__(self, file: LockedFile | None, process: Process) -> None:
        self._file = file
        self.process = process

    # Reads -------------------------------------------------------------------------------------------------------------

    async def of(self, database_id: str) -> list[Entry]:
        """Read the entries of a database, oldest first."""
        return [entry for entry in await self.all() if entry.database_id == database_id]

    async def all(self) -> list[Entry]:
        """Read the entries of all databases, oldest first."""
        return [] if self._file is None else _entries(await self._file.read())

    async def recently_found(self) -> list[Found]:
        """Read the versions that runs on this machine found lately, of all databases."""
        return [] if self._file is None else _read(await self._file.read(), FOUND, Found.from_file)

    def is_under_way(self, entry: Entry) -> bool:
        """Whether another running process is working on an entry."""
        return not entry.in_state and entry.process != self.process.name and self.process.is_running(entry.process)

    # Writes, each under the file's lock -----------------------------------------------------------------------------------

    async def enter(self, entry: Entry, *, after: Collection[Entry], supersedes: bool = False) -> frozenset[str] | None:
        """Add an entry right before its POST is sent, unless another entry of the database forbids that.

        Args:
            entry: the entry.
            after: entries of the database that the caller knows; any other one forbids the POST.
            supersedes: whether to remove the owner's earlier entries, of all databases.

        Returns:
            The versions of the database that other runs found lately; None if the entry was not added.
        """

        def edit(content: dict[str, Any]) -> frozenset[str] | None:
            entries = _entries(content)
            others = [old for old in entries if old.database_id == entry.database_id]
            if any(self.is_under_way(old) or not any(map(old.is_same_post, after)) for old in others):
                return None
            if supersedes and entry.owner is not None:
                entries = [old for old in entries if old.owner != entry.owner or self.is_under_way(old)]
            _put(content, [*entries, entry])
            found = _read(content, FOUND, Found.from_file)
            return frozenset(one.version_id for one in found if one.database_id == entry.database_id)

        return await self._change(edit, frozenset())

    async def update(self, entry: Entry) -> bool:
        """Replace the entry of a POST; false, without a change, if another process is working on one of its database."""

        def edit(content: dict[str, Any]) -> bool:
            others = [old for old in _entries(content) if not old.is_same_post(entry)]
            if any(self.is_under_way(old) for old in others if old.database_id == entry.database_id):
                return False
            _put(content, [*others, entry])
            return True

        return await self._change(edit, default=True)

    async def erase(self, entry: Entry, found: Found | None = None) -> None:
        """Remove the entry of a POST whose result is known, and note the snapshot that it started, if it did."""

        def edit(content: dict[str, Any]) -> None:
            _put(content, [old for old in _entries(content) if not old.is_same_post(entry)])
            if found is not None:
                # In the same change, so that other runs never see a POST that is neither unresolved nor found.
                lately = [one for one in _read(content, FOUND, Found.from_file) if found.at - one.at < FOUND_KEPT]
                content[FOUND] = [one.to_file() for one in (*lately, found)]

        await self._change(edit, None)

    async def erase_post(self, owner: str | None, database_id: str, post: Post, found: Found | None = None) -> None:
        """Remove the entry of a POST that this run has from the state."""
        await self.erase(Entry(owner, database_id, "", post, self.process.name), found)

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
