"""The book of guards: which snapshot guarded last, for a program that restores it. No state has it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from pulumi_snapshots.lookup.results import SnapshotInfo
from pulumi_snapshots.properties.checks import RETENTION

if TYPE_CHECKING:
    from pulumi_snapshots.shared_file import SharedFile
    from pulumi_snapshots.snapshot.record import SnapshotRecord

GUARDS = "guards"
UNREADABLE = (KeyError, TypeError, ValueError, OverflowError, AttributeError)
"""The errors of an item that no run has written like that; it counts as none."""


class GuardBook:
    """What the guards of a service have taken last.

    Args:
        file: shared with other processes, or with other machines.
    """

    def __init__(self, file: SharedFile) -> None:
        self._file = file

    async def note(self, guard: str, record: SnapshotRecord) -> None:
        """Note the snapshot that a guard has taken or adopted.

        Args:
            guard: names it with its project and stack.
            record: the snapshot.

        Raises:
            SharedStateUnavailable: several machines share the book, and it cannot be written.
        """
        taken = {"database_id": record.database_id, "version_id": record.version_id, **record.described}

        def edit(content: dict[str, Any]) -> None:
            now = datetime.fromtimestamp(self._file.now(), UTC)
            kept = {name: item for name, item in _items(content).items() if not _is_over(item, now)}
            content[GUARDS] = {**kept, guard: {**taken, "noted_at": rfc3339(now)}}

        await self._file.ready()
        await self._file.change(edit)

    async def last(self, guard: str) -> SnapshotInfo | None:
        """Return the snapshot that guarded last, as the service described it then; None if the book has none.

        Raises:
            SharedStateUnavailable: several machines share the book, and it cannot be read.
        """
        await self._file.ready()
        item, now = _items(await self._file.read()).get(guard), datetime.fromtimestamp(self._file.now(), UTC)
        if item is None or _is_over(item, now):
            return None
        ends = item.get("expires_at")
        available = ends is None or parse_rfc3339(ends) > now
        return SnapshotInfo.from_outputs({**item, "available": available})

    async def guarding(self, database_id: str) -> str | None:
        """Return the guard of a database by its name with project and stack; None if the book has none.

        Raises:
            SharedStateUnavailable: several machines share the book, and it cannot be read.
        """
        await self._file.ready()
        items, now = _items(await self._file.read()), datetime.fromtimestamp(self._file.now(), UTC)
        ours = (name for name, item in items.items() if not _is_over(item, now) and item["database_id"] == database_id)
        return next(ours, None)


def _items(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    items = content.get(GUARDS)
    return items if isinstance(items, dict) else {}


def _is_over(item: Any, now: datetime) -> bool:
    """Whether the service has no such snapshot any more, or the item cannot be read."""
    try:
        SnapshotInfo.from_outputs({**item, "available": True})
        return parse_rfc3339(item["noted_at"]) < now - timedelta(seconds=RETENTION)
    except UNREADABLE:
        return True
