"""The book of guards: which snapshots have guarded what, for a program that goes back to one. No state has it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from pulumi_snapshots.lookup.results import SnapshotInfo
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Record, declare
from pulumi_snapshots.properties.checks import RETENTION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulumi_snapshots.ledger.ledger import Ledger
    from pulumi_snapshots.ledger.place import Document
    from pulumi_snapshots.snapshot.record import SnapshotRecord

GUARDS, PINS = "guards", "roll-backs"
"""The parts of the document: the entries, oldest first, and what each value of a roll-back was answered with."""
MOST = 200
"""Entries, and answers; the oldest ones are forgotten."""
MOST_CHANGES = 20
"""Changes that an entry names."""
UNREADABLE = (KeyError, TypeError, ValueError, OverflowError, AttributeError)
"""The errors of an entry that no run has written like that; it counts as none."""


class Guarded(Record, sparse=True):
    """One snapshot of one guard, and what has happened after it; times are by the service's clock."""

    guard: str = declare("The guard, its name with organization, project and stack.")
    snapshot: dict[str, Any] = declare("The snapshot, as the service described it.")
    noted_at: str = declare("When it began to guard.")
    changes: list[str] = declare("The first changes that have happened, such as `update of Server shop`.")
    changed_at: str | None = declare("When something guarded has last happened; absent if nothing has.", default=None)

    @property
    def database_id(self) -> str:
        """The database."""
        return str(self.snapshot["database_id"])

    @property
    def version_id(self) -> str | None:
        """The snapshot's version; None if guards were off."""
        return self.snapshot.get("version_id")

    @property
    def id(self) -> str | None:
        """The snapshot, as DATABASE_ID/VERSION_ID; None if guards were off."""
        return f"{self.database_id}/{self.version_id}" if self.version_id else None

    @property
    def touched_at(self) -> datetime:
        """When something about it was noted last."""
        return parse_rfc3339(self.changed_at or self.noted_at)

    def info(self, now: datetime) -> SnapshotInfo:
        """The snapshot as a lookup would return it."""
        ends = self.snapshot.get("expires_at")
        return SnapshotInfo.from_outputs({**self.snapshot, "available": ends is None or parse_rfc3339(ends) > now})


class GuardBook:
    """What the guards of a service have taken. Every method raises `LedgerUnavailable` if it cannot be read or written.

    Args:
        ledger: shared with other runs.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def note(self, guard: str, record: SnapshotRecord) -> None:
        """Note the snapshot that a guard has taken or adopted, before anything happens.

        Args:
            guard: its name with organization, project and stack.
            record: the snapshot.
        """
        taken = record.described

        def edit(document: Document) -> None:
            entries, now = self._entries(document), self._ledger.clock.now()
            entry = Guarded(guard, taken, rfc3339(now), [])
            if record.version_id is None or _latest(entries, guard, record) is None:
                document[GUARDS] = [each.to_outputs() for each in (*entries, entry)][-MOST:]

        await self._ledger.edit(edit)

    async def note_changes(self, guard: str, record: SnapshotRecord, changes: list[str]) -> None:
        """Note guarded changes that have happened, so that the snapshot guards no later run."""

        def edit(document: Document) -> None:
            entries, now = self._entries(document), rfc3339(self._ledger.clock.now())
            entry = _latest(entries, guard, record) or Guarded(guard, record.described, now, [])
            named = [*entry.changes, *changes][:MOST_CHANGES]
            changed = replace(entry, changed_at=now, changes=named)
            kept = [changed if each is entry else each for each in entries]
            document[GUARDS] = [each.to_outputs() for each in (kept if entry in entries else [*kept, changed])][-MOST:]

        await self._ledger.edit(edit)

    async def spent(self, database_id: str) -> datetime | None:
        """When something has happened that was guarded by a snapshot of this database; None if nothing has."""
        entries = self._entries(await self._ledger.read())
        times = [each.touched_at for each in entries if each.changed_at and each.database_id == database_id]
        return max(times, default=None)

    async def history(self, guard: str | None = None) -> list[Guarded]:
        """The entries of a guard, or of all, newest first."""
        entries = self._entries(await self._ledger.read())
        return [each for each in reversed(entries) if guard in {None, each.guard}]

    async def last(
        self, guard: str, database_id: str, pin: str | None = None, *, keeps: bool = True
    ) -> SnapshotInfo | None:
        """The snapshot of this database that guarded last, as the service described it then; None if the book has none.

        Args:
            guard: its name with organization, project and stack.
            database_id: the database that it must be of.
            pin: a value of a roll-back, which gets the same answer every time.
            keeps: whether the answer is kept for the pin from now on.
        """
        mine = [each for each in await self.history(guard) if each.database_id == database_id and each.version_id]
        newest, now = (mine[0] if mine else None), self._ledger.clock.now()
        asked = f"{guard} {database_id} {pin}"

        def answer(document: Document) -> Guarded | None:
            pins = document.get(PINS)
            kept = _read(pins if isinstance(pins, list) else [], now)
            known = next((each for each in kept if each.guard == asked), None)
            if known is None and newest is not None and keeps:
                new = Guarded(asked, newest.snapshot, rfc3339(now), [])
                document[PINS] = [each.to_outputs() for each in (*kept, new)][-MOST:]
            return known or newest

        if pin:
            newest = await self._ledger.edit(answer) if keeps else answer(await self._ledger.read())
        return newest.info(now) if newest else None

    async def knows(self, version_id: str) -> bool:
        """Whether runs know of a snapshot: a guard has used it, or one has taken it."""
        document = await self._ledger.read()
        guards = {each.version_id for each in self._entries(document)}
        return version_id in guards | {each.result for each in await self._ledger.attempts()}

    async def guarding(self, database_id: str) -> str | None:
        """The guard of a database; None if the book has none."""
        return next((each.guard for each in await self.history() if each.database_id == database_id), None)

    def _entries(self, document: Document) -> list[Guarded]:
        entries = document.get(GUARDS)
        return _read(entries if isinstance(entries, list) else [], self._ledger.clock.now())


def _latest(entries: list[Guarded], guard: str, record: SnapshotRecord) -> Guarded | None:
    """The entry of a snapshot of this guard."""
    wanted = guard, record.database_id, record.version_id
    found = (each for each in reversed(entries) if (each.guard, each.database_id, each.version_id) == wanted)
    return next(found, None)


def _read(entries: Iterable[Any], now: datetime) -> list[Guarded]:
    """The entries that can be read, whose snapshots the service may still have."""
    read = []
    for each in entries:
        try:
            entry = Guarded.from_outputs(each)
            checks.database_id()(entry.database_id)
            if entry.version_id is not None:
                entry.info(now)
            if entry.touched_at > now - timedelta(seconds=RETENTION):
                read.append(entry)
        except UNREADABLE:
            continue
    return read
