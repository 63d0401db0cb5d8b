"""The attempt journal: what a killed run leaves for the next one, so that it finds its POST instead of sending another.

An entry stands from before the POST until the create has answered, and belongs to a process. Knows nothing of how an
attempt is found.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.operations.record import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_snapshots.shared_file import SharedFile

__all__ = ["AttemptJournal", "Entry", "Process", "this_process"]

ENTRIES = "attempts"


@dataclass(frozen=True)
class Entry:
    """One attempt.

    Attributes:
        owner: the resource's name (its URN).
        database_id: whose snapshot.
        purpose: what the snapshot is for, as a digest of the triggers: another purpose wants another snapshot.
        attempt: the POST.
        process: who sent it, see `Process`.
    """

    owner: str | None
    database_id: str
    purpose: str
    attempt: Attempt
    process: str

    def to_file(self) -> dict[str, Any]:
        """As the file keeps it."""
        return {
            "owner": self.owner,
            "database_id": self.database_id,
            "purpose": self.purpose,
            "attempt": self.attempt.to_outputs(),
            "process": self.process,
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
            )
        except (KeyError, TypeError, ValueError):
            return None

    def is_same_create(self, other: Entry) -> bool:
        """Whether both are of one create."""
        return (self.owner, self.database_id, self.process) == (other.owner, other.database_id, other.process)


class AttemptJournal:
    """The entries of one API key.

    Args:
        file: shared with other processes; None keeps nothing.
        process: this one.
    """

    def __init__(self, file: SharedFile | None, process: Process) -> None:
        self._file = file
        self.process = process

    async def write(self, entry: Entry) -> None:
        """Enter an attempt, or renew what is known of it."""
        await self._change(lambda entries: [*(old for old in entries if not old.is_same_create(entry)), entry])

    async def erase(self, entry: Entry) -> None:
        """The create has answered, or another one has taken the attempt over."""
        await self._change(lambda entries: [old for old in entries if not old.is_same_create(entry)])

    async def of_others(self, database_id: str) -> list[Entry]:
        """The attempts of other processes on a database, living or gone, oldest first."""
        found = await self._change(lambda entries: entries)
        others = [one for one in found if one.database_id == database_id and one.process != self.process.name]
        return sorted(others, key=lambda entry: entry.attempt.posted_at)

    def is_abandoned(self, entry: Entry) -> bool:
        """Whether its process is gone, so that nobody else will answer for it."""
        return not self.process.is_running(entry.process)

    async def _change(self, edit: Any) -> list[Entry]:
        if self._file is None:
            return []

        def in_file(content: dict[str, Any]) -> list[Entry]:
            stored = content.get(ENTRIES)
            entries = [Entry.from_file(item) for item in (stored if isinstance(stored, list) else ())]
            kept: list[Entry] = edit([entry for entry in entries if entry is not None])
            content[ENTRIES] = [entry.to_file() for entry in kept]
            return kept

        return await self._file.change(in_file)


@dataclass(frozen=True)
class Process:
    """A process of this machine.

    Attributes:
        name: tells it from every other, also from a later one with the same number.
        is_running: whether the process of a name is running.
    """

    name: str
    is_running: Callable[[str], bool]


def this_process() -> Process:
    """The one that runs this."""
    return Process(_process(os.getpid()), _is_running)


def _process(pid: int) -> str:
    return f"{pid} {_started(pid)}"


def _is_running(process: str) -> bool:
    pid = process.partition(" ")[0]
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True  # somebody else's
    return _process(int(pid)) == process


def _started(pid: int) -> str:
    """When a process started, in the system's own unit; empty where that is not to be had."""
    try:
        # The name before the last ")" may hold anything; field 22 of the line is the start.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
