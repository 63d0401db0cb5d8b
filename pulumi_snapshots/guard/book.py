"""The book of guards: which snapshots have guarded what, for a program that goes back to one. No state has it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pulumi_snapshots.clock import parse_rfc3339, rfc3339, to_the_second
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.text import Text
from pulumi_snapshots.guard.inputs import ComponentInputs
from pulumi_snapshots.ledger.attempt import Status
from pulumi_snapshots.ledger.service_clock import AHEAD_HERE
from pulumi_snapshots.lookup.results import SnapshotInfo
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Moment, Record, Thing, declare
from pulumi_snapshots.properties.checks import RETENTION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.guard.foresight import Foresight
    from pulumi_snapshots.ledger.ledger import Ledger
    from pulumi_snapshots.ledger.place import Document
    from pulumi_snapshots.snapshot.record import SnapshotRecord

GUARDS, PINS, USED_UP = "guards", "roll-backs", "quota_used_up"
"""The parts of the document: the entries, oldest first, what each value of a roll-back was answered with, and until when the
daily quota is used up."""
MOST = 200
"""Entries, see `_kept`; and answers, of which the oldest are forgotten."""
MOST_CHANGES = 20
"""Changes that an entry names."""
UNREADABLE = (KeyError, TypeError, ValueError, OverflowError, AttributeError)
"""The errors of an entry that no run has written like that; it counts as none."""


UNKNOWN_HERE = (
    "this guard has noted no snapshot of database {database}. What guards take is noted for 30 days in {where}: if another machine has "
    "made the release, go back on that one, or have both use {shared_state}. A Restore takes any snapshot that the service "
    "lists by its {version_id}. If this way back was taken already, take it out."
)
NEWER = (
    "{newest} of {at} is newer than {last}, to which this goes back, and no run that is known here has taken it. If it is from "
    "before a release on another machine, restore that one by its {version_id}."
)


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


class GuardedChanges(Record):
    """A snapshot of a guard, and what has happened after it."""

    noted_at: Moment = declare("When it began to guard, by the service's clock.")
    changes: list[str] = declare("The first changes that have happened, such as `update of Server shop`.")
    version_id: str | None = declare("Its version; absent if guards were off.", default=None)
    changed_at: Moment | None = declare(
        "When something guarded has last happened; absent if nothing has.", default=None
    )


class GuardOutputs(Record):
    """A snapshot of a database before anything else changes, also before deletes.

    However many changes one `pulumi up` makes, it takes one snapshot, before the first of them. A preview, a refresh and an `up`
    without a change take none. If the snapshot cannot be had, the change does not happen. Resources are guarded that the engine
    gets to know after the guard: let them depend on it (`dependsOn`). It needs Pulumi 3.182 or later.
    """

    history: list[GuardedChanges] = declare("Its snapshots of the last 30 days, newest first; at most 20.")
    last: SnapshotInfo | None = declare(
        "The snapshot of the database that guarded last before this run, for a Restore; absent if none has.",
        default=None,
    )


GUARD = Thing("Guard", ComponentInputs, GuardOutputs)
"""The guard as a component."""


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
        entry = Guarded(guard, record.described, rfc3339(await self._now()), [])

        def edit(document: Document) -> None:
            entries = self._entries(document)
            if record.version_id is None or _latest(entries, guard, record) is None:
                document[GUARDS] = _kept([*entries, entry])

        await self._ledger.edit(edit)

    async def note_changes(self, guard: str, record: SnapshotRecord, changes: list[str]) -> None:
        """Note guarded changes that have happened, so that the snapshot guards no later run."""
        now = rfc3339(await self._now())

        def edit(document: Document) -> None:
            entries = self._entries(document)
            entry = _latest(entries, guard, record) or Guarded(guard, record.described, now, [])
            named = [*entry.changes, *changes][:MOST_CHANGES]
            changed = replace(entry, changed_at=now, changes=named)
            kept = [changed if each is entry else each for each in entries]
            document[GUARDS] = _kept(kept if entry in entries else [*kept, changed])

        await self._ledger.edit(edit)

    async def spent(self, database_id: str) -> datetime | None:
        """When something has happened that was guarded by a snapshot of this database; None if nothing has."""
        entries = self._entries(await self._ledger.read())
        times = [each.touched_at for each in entries if each.changed_at and each.database_id == database_id]
        return max(times, default=None)

    async def foresee(self, foresight: Foresight, database_id: str, reuse_within: float) -> None:
        """Tell a preview what is known, without a request, of the snapshot that its changes would wait for."""
        document = await self._ledger.read()
        now = self._assumed_now(document)
        young = now - timedelta(seconds=reuse_within)
        oldest = max(young, await self.spent(database_id) or young)
        for each in await self._ledger.attempts():
            at = each.request.posted_at
            if each.database_id == database_id and each.kind == "restore":
                oldest, foresight.reused = max(oldest, each.ended_at or at), None
            elif each.database_id == database_id and each.status is Status.FOUND and at >= oldest:
                foresight.reused = f"{database_id}/{each.result} of {to_the_second(at)}"
        if isinstance(ends := document.get(USED_UP), str) and parse_rfc3339(ends) > now:
            foresight.used_up = parse_rfc3339(ends)

    async def note_used_up(self, until: datetime) -> None:
        """Note when the account's daily quota has a free slot again."""

        def edit(document: Document) -> None:
            document[USED_UP] = rfc3339(until)

        await self._ledger.edit(edit)

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

        Raises:
            Explained: a pin is given, and there is none.
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
            if newest is None:
                raise Explained(Text(UNKNOWN_HERE, database=database_id, where=self._ledger.place.where))
        return newest.info(now) if newest else None

    async def warning(self, last: SnapshotInfo, newest: SnapshotInfo | None) -> Words:
        """A warning of a way back to `last`, if the newest manual snapshot is one that no run knows; empty if all is well."""
        if newest is None or (newest.created_at or "") <= (last.created_at or ""):
            return ""
        document = await self._ledger.read()
        known = {each.version_id for each in self._entries(document)}
        if newest.version_id in known | {each.result for each in await self._ledger.attempts()}:
            return ""
        return Text(NEWER, newest=newest.id, at=newest.created_at, last=last.id)

    async def outputs(self, guard: str, database_id: str, pin: str | None, *, keeps: bool) -> GuardOutputs:
        """The outputs of a guard that is a component; see `last`."""
        noted = (await self.history(guard))[:MOST_CHANGES]
        history = [GuardedChanges(each.noted_at, each.changes, each.version_id, each.changed_at) for each in noted]
        return GuardOutputs(history, await self.last(guard, database_id, pin, keeps=keeps))

    async def guarding(self, database_id: str) -> str | None:
        """The guard of a database; None if the book has none."""
        return next((each.guard for each in await self.history() if each.database_id == database_id), None)

    async def _now(self) -> datetime:
        """The service's time; until it has answered, as with guards off, not before anything that the ledger has."""
        if self._ledger.clock.offset is not None:
            return self._ledger.clock.now()
        document = await self._ledger.read()
        noted = [each.touched_at for each in self._entries(document)]
        asked = [each.ended_at or each.request.posted_at for each in await self._ledger.attempts()]
        return max([self._assumed_now(document), *noted, *asked])

    def _assumed_now(self, document: Document) -> datetime:
        """The service's time; until it has answered, by the offset that an earlier run has seen here."""
        self._ledger.clock.assume(document.get(AHEAD_HERE))
        return self._ledger.clock.now()

    def _entries(self, document: Document) -> list[Guarded]:
        entries = document.get(GUARDS)
        return _read(entries if isinstance(entries, list) else [], self._assumed_now(document))


def _kept(entries: list[Guarded]) -> list[dict[str, Any]]:
    """At most `MOST` of the entries, as the document has them: the oldest of whichever guard and database has most go first.

    The last way back of each guard and database stays, and the last change of each database: more of them than `MOST` would
    stay for their 30 days.
    """
    stay: dict[tuple[str, ...], Guarded] = {}
    for each in entries:
        if each.version_id:
            stay[each.guard, each.database_id] = each
    for each in sorted(entries, key=lambda each: each.touched_at):
        if each.changed_at:
            stay[each.database_id,] = each
    while len(entries) > MOST:
        counts = Counter((each.guard, each.database_id) for each in entries)
        spare = [each for each in entries if each not in stay.values()]
        if not spare:
            break
        entries.remove(max(spare, key=lambda each: counts[each.guard, each.database_id]))
    return [each.to_outputs() for each in entries]


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
