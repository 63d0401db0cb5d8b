"""What one run knows of its archives: create is told nothing of what it replaces, and delete nothing of what replaced it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_snapshots.archive.record import ArchiveRecord

__all__ = ["ArchiveMemory"]


class ArchiveMemory:
    """Shared by every archive of a process, by owner (the resource's URN); without an owner nothing is remembered."""

    def __init__(self) -> None:
        self._current: dict[str, tuple[ArchiveRecord, int | None]] = {}

    def has(self, owner: str | None, record: ArchiveRecord, keep_last: int | None) -> None:
        """The owner's archive is this one now: seen in the state by a diff, or written by this run."""
        if owner is not None:
            self._current[owner] = record, keep_last

    def previous(self, owner: str | None) -> ArchiveRecord | None:
        """What the owner has archived before; for the create of a replacement."""
        record, _ = self._current.get(owner or "", (None, None))
        return record

    def successor(self, owner: str | None, record: ArchiveRecord) -> tuple[ArchiveRecord | None, int | None]:
        """The archive that has replaced this one, and its `keep_last`; for the delete of what was replaced."""
        current, keep_last = self._current.get(owner or "", (None, None))
        return (None, None) if current is None or current.object == record.object else (current, keep_last)
