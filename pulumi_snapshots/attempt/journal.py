"""The attempt journal: what a killed run leaves for the next one, so that it finds its POST instead of sending another.

An entry stands from before the POST until its snapshot is known. While its create lasts it belongs to a process; once
that has answered "pending", the stack's state has it, and the entry is there for other stacks only. The versions that were
found lately stand beside the entries: the next POST of another stack did not start them. Knows nothing of how an attempt
is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.attempt.record import Attempt
from pulumi_snapshots.clock import parse_rfc3339, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pulumi_snapshots.attempt.process import Process
    from pulumi_snapshots.locked_file import SharedFile

__all__ = [
    "AttemptJournal",
    "Entry",
    "Found",
]

ENTRIES = "attempts"
FOUND = "found"
FOUND_KEPT = timedelta(hours=2)
"""How long a found version is kept: one that is older is before every POST that could be taken for its own."""


@dataclass(frozen=True)
class Entry:
    """One attempt.

    Attributes:
        owner: the resource's name (its URN).
        database_id: whom it was sent to.
        purpose: what it is for, as a digest of the triggers: another purpose wants another snapshot, or another restore.
        attempt: the POST.
        process: who sent it, see `Process`.
        in_state: whether the stack's state has it as pending, so that its owner resumes it from there.
        restores: the snapshot that it puts back, as DATABASE_ID/VERSION_ID; None where it takes one.
    """

    owner: str | None
    database_id: str
    purpose: str
    attempt: Attempt
    process: str
    in_state: bool = False
    restores: str | None = None

    def to_file(self) -> dict[str, Any]:
        """As the file keeps it."""
        return {
            "owner": self.owner,
            "database_id": self.database_id,
            "purpose": self.purpose,
            "attempt": self.attempt.to_outputs(),
            "process": self.process,
            "in_state": self.in_state,
            "restores": self.restores,
        }

    @classmethod
    def from_file(cls, content: Any) -> Entry | None:
        """From the file; None where it cannot be read, since a damaged entry must not stop a run."""
        try:
            return cls(
                owner=content["owner"],
                database_id=str(content["database_id"]),
                purpose=str(content["purpose"]),
                attempt=Attempt.from_outputs(content["attempt"]),
                process=str(content["process"]),
                in_state=bool(content.get("in_state")),
                restores=content.get("restores"),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    def is_same_attempt(self, other: Entry) -> bool:
        """Whether both are of one POST."""
        ours, theirs = ((one.owner, one.database_id, one.attempt.posted_at) for one in (self, other))
        return ours == theirs


@dataclass(frozen=True)
class Found:
    """A version that a create has found.

    Attributes:
        database_id: whose snapshot.
        version_id: the service's.
        at: when it was found, by this machine's clock.
    """

    database_id: str
    version_id: str
    at: datetime

    def to_file(self) -> dict[str, str]:
        """As the file keeps it."""
        return {"database_id": self.database_id, "version_id": self.version_id, "at": rfc3339(self.at)}

    @classmethod
    def from_file(cls, content: Any) -> Found | None:
        """From the file; None where it cannot be read."""
        try:
            return cls(str(content["database_id"]), str(content["version_id"]), parse_rfc3339(content["at"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            return None


class AttemptJournal:
    """The entries of one API key.

    Args:
        file: shared with other processes; None keeps nothing.
        process: this one.
    """

    def __init__(self, file: SharedFile | None, process: Process) -> None:
        self._file = file
        self.process = process

    async def write(self, entry: Entry, *, after: Collection[Entry] | None = None) -> bool:
        """Enter an attempt, or renew what is known of it; one of another process that is under way comes first.

        Args:
            entry: the attempt.
            after: attempts on this database that its create has dealt with: any other comes first too. None where its
                POST has left already.

        Returns:
            Whether it was entered: False where another attempt on this database comes first.
        """
        entered = True

        def comes_first(other: Entry) -> bool:
            return self.is_under_way(other) or (
                after is not None and not any(other.is_same_attempt(known) for known in after)
            )

        def edit(entries: list[Entry]) -> list[Entry]:
            nonlocal entered
            others = [old for old in entries if not old.is_same_attempt(entry)]
            entered = not any(comes_first(old) for old in others if old.database_id == entry.database_id)
            return [*others, entry] if entered else entries

        await self._change(edit)
        return entered

    async def erase(self, entry: Entry, found: Found | None = None) -> None:
        """Its end is known.

        Args:
            entry: the attempt.
            found: its snapshot, where that is its end.
        """
        await self._change(lambda entries: [old for old in entries if not old.is_same_attempt(entry)], found)

    async def supersede(self, entry: Entry) -> None:
        """What the same resource has sent before, to whatever database, is of no more interest to it."""
        await self._change(
            lambda entries: [
                old
                for old in entries
                if entry.owner is None
                or old.owner != entry.owner
                or old.is_same_attempt(entry)
                or self.is_under_way(old)
            ]
        )

    async def forget(self, owner: str | None, database_id: str, attempt: Attempt, found: Found | None = None) -> None:
        """The end of an attempt is known to who has it in the state."""
        await self.erase(Entry(owner, database_id, "", attempt, self.process.name), found)

    async def found(self, database_id: str) -> list[str]:
        """The versions of a database that creates of this machine have found lately."""
        return [one.version_id for one in await self.all_found() if one.database_id == database_id]

    async def all_found(self) -> list[Found]:
        """What creates of this machine have found lately, of every database."""
        return [] if self._file is None else await self._file.change(_found_in)

    async def of(self, database_id: str) -> list[Entry]:
        """The attempts on a database, oldest first."""
        return [entry for entry in await self.all() if entry.database_id == database_id]

    async def all(self) -> list[Entry]:
        """The attempts on every database, oldest first."""
        return sorted(await self._change(lambda entries: entries), key=lambda entry: entry.attempt.posted_at)

    def is_under_way(self, entry: Entry) -> bool:
        """Whether a create of another living process will answer for it."""
        return not entry.in_state and entry.process != self.process.name and self.process.is_running(entry.process)

    async def _change(self, edit: Callable[[list[Entry]], list[Entry]], found: Found | None = None) -> list[Entry]:
        if self._file is None:
            return []

        def in_file(content: dict[str, Any]) -> list[Entry]:
            stored = content.get(ENTRIES)
            entries = [Entry.from_file(item) for item in (stored if isinstance(stored, list) else ())]
            kept: list[Entry] = edit([entry for entry in entries if entry is not None])
            content[ENTRIES] = [entry.to_file() for entry in kept]
            if found is not None:
                # In one change: an attempt is either under way or found.
                lately = [one for one in _found_in(content) if found.at - one.at < FOUND_KEPT]
                content[FOUND] = [one.to_file() for one in (*lately, found)]
            return kept

        return await self._file.change(in_file)


def _found_in(content: dict[str, Any]) -> list[Found]:
    stored = content.get(FOUND)
    found = [Found.from_file(item) for item in (stored if isinstance(stored, list) else ())]
    return [one for one in found if one is not None]
