"""The book of guards: which snapshot has guarded which changes.

The book lies in the ledger; no state has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from pulumi_snapshots.clock import DATE_RESOLUTION, Clock, parse_rfc3339, rfc3339
from pulumi_snapshots.errors import Message, ProviderError
from pulumi_snapshots.guard.inputs import FIRST_UP, ComponentInputs
from pulumi_snapshots.ledger.attempt import NEVER, SECOND, Attempt, last_restored
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import AHEAD_HERE, QUOTA_USED_UP, Document
from pulumi_snapshots.lookup.results import SnapshotInfo
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import (
    Moment,
    Record,
    ResourceSchema,
    declare,
)
from pulumi_snapshots.snapshot.record import SnapshotRecord

T = TypeVar("T")
GUARDS = "guards"  # the document's key for the entries, oldest first
PINS = "roll-backs"  # the document's key for what each value of a roll-back was answered with
MOST = 200  # entries, see `_kept`; and pins, of which the oldest are forgotten
MOST_CHANGES = 20  # changes that an entry names, at most
KEPT_FOR = timedelta(seconds=checks.RETENTION)
LONGEST_RUN = timedelta(days=1)
"""A pin that was asked for longer ago was asked for by an earlier run: addresses of engines repeat.
"""
UNKNOWN_HERE = (
    "this guard knows no snapshot of database {database}. Guards write down "
    "their snapshots for 30 days in {where}: if another machine made the "
    "release, go back on that machine, or let both use "
    "{shared_state}. A Restore takes any listed snapshot by its {version_id}. "
    "If you have gone back already, remove the Restore."
)
KEPT_BY_RESTORE = "a restore (keep_current)"
"""Stands for the guard of what a restore has overwritten, and requests its snapshot: no state keeps
it."""
BEGAN = "When it began to guard, by the service's clock."
CHANGES_DOC = "The first changes that have happened, such as `update of Server shop`."
CHANGED = "When something guarded has last happened; absent if nothing has."
NEWER = (
    "{newest} of {at} is newer than {last}, which this restores, and no run that is known here "
    "has taken it. If another machine took it before a release, restore that snapshot by its "
    "{version_id}."
)


class Guarded(Record, sparse=True):
    """One snapshot of one guard, and what has happened after it.

    Times are by the service's clock.
    """

    guard: str = declare("The guard, its name with organization, project and stack.")
    snapshot: dict[str, Any] = declare("The snapshot, as the service described it.")
    noted_at: str = declare(BEGAN)
    changes: list[str] = declare(CHANGES_DOC)
    changed_at: str | None = declare(CHANGED, default=None)

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
        """When something about the entry was noted last."""
        return parse_rfc3339(self.changed_at or self.noted_at)


class Pin(Record, sparse=True):
    """The snapshot to which one value of a roll-back leads, until the next incident."""

    guard: str = declare("The guard, its name with organization, project and stack.")
    value: str = declare("The value of the roll-back.")
    snapshot: dict[str, Any] = declare("The snapshot, as the service described it.")
    asked_by: str = declare(
        "The run that has asked for it last; empty without an engine."
    )
    asked_at: str = declare("When that run asked.")

    @property
    def key(self) -> tuple[str, str, str]:
        """The guard, the database and the value."""
        return self.guard, str(self.snapshot["database_id"]), self.value

    @property
    def touched_at(self) -> datetime:
        """When a run asked for the value last."""
        return parse_rfc3339(self.asked_at)

    def is_asked_by(self, run: str, now: datetime) -> bool:
        """Tell whether a run has asked for the value, and not an earlier run with the same address.

        Args:
            run: The run; empty without an engine.
            now: The service's time.
        """
        return self.asked_by == run != "" and abs(now - self.touched_at) < LONGEST_RUN


_FIRST_SEEN: WeakKeyDictionary[
    Ledger, dict[tuple[str, str | None, str | None], float]
] = WeakKeyDictionary()
"""By ledger, when this process first saw which changes, in monotonic seconds."""
Noted = TypeVar("Noted", Guarded, Pin)


class GuardedChanges(Record):
    """A snapshot of a guard, and what has happened after it."""

    noted_at: Moment = declare(BEGAN)
    changes: list[str] = declare(CHANGES_DOC)
    version_id: str | None = declare(
        "Its version; absent if guards were off.", default=None
    )
    changed_at: Moment | None = declare(CHANGED, default=None)


class GuardOutputs(Record):
    """A snapshot of a database before anything else changes, also before deletes.

    However many changes one `pulumi up` makes, it takes one snapshot, before the first of them. A
    preview, a refresh and an `up` without a change take none, except for the first `up` with a new
    guard, whose state does not show yet what the guard guards. If the snapshot cannot be had, the
    change does not happen. Resources are guarded that the engine gets to know after the guard: let
    them depend on it (`dependsOn`). It needs Pulumi 3.238 or later.
    """

    history: list[GuardedChanges] = declare(
        "Its snapshots of the last 30 days, newest first; at most 20."
    )
    last: SnapshotInfo | None = declare(
        "The newest snapshot that has guarded a change before this run, for a "
        "Restore; absent if there is none.",
        default=None,
    )


GUARD = ResourceSchema("Guard", ComponentInputs, GuardOutputs)


async def consult(
    ledger: Ledger,
    use: Callable[[GuardBook], T],
    *,
    writes: bool = False,
) -> T:
    """Use the book in a ledger, which is read once.

    Args:
        ledger: The ledger that has the document.
        use: Gets the book; called again if another run has written meanwhile.
        writes: Whether what `use` changes is kept.

    Returns:
        What `use` returns.

    Raises:
        LedgerUnavailable: The ledger cannot be read, or written.
    """
    if writes:
        return await ledger.edit(lambda document: use(GuardBook(ledger, document)))
    return use(GuardBook(ledger, await ledger.read()))


class GuardBook:
    """What the guards of a service have taken, as a ledger's document has it.

    Guards are named with organization, project and stack. What is older than 30 days, as the
    service keeps snapshots, is not shown; only a run that knows the service's time removes an
    entry, since a machine's own clock may be wrong by weeks.
    """

    def __init__(self, ledger: Ledger, document: Document) -> None:
        ledger.clock.assume(document.get(AHEAD_HERE))  # until the service has answered
        self.now = ledger.clock.now()
        self._ledger = ledger
        self._document = document
        self._stored = _readable(document.get(GUARDS), Guarded)

    @cached_property
    def attempts(self) -> list[Attempt]:
        """All requests in the ledger; few questions need them."""
        return [*self._ledger.attempts_in(self._document).values()]

    @property
    def _entries(self) -> list[Guarded]:
        return self._young(self._stored)

    def _young(self, noted: Sequence[Noted]) -> list[Noted]:
        return [each for each in noted if each.touched_at > self.now - KEPT_FOR]

    def _lasting(self, noted: list[Noted]) -> list[Noted]:
        """Leave out what is over, if the service has told the time."""
        return noted if self._ledger.clock.offset is None else self._young(noted)

    def note(
        self,
        guard: str,
        record: SnapshotRecord,
        happened: Sequence[str] = (),
        *,
        run: str = "",
    ) -> None:
        """Note a guard's snapshot, or guarded changes, after which it guards no later run.

        Args:
            guard: The guard.
            record: The snapshot that the guard has taken or adopted, or the database alone if
                guards are off.
            happened: The changes, such as `update of Server shop`.
            run: The run in which they happened. A value of a roll-back that the run has not asked
                for leads to a newer snapshot from then on.
        """
        # Pins go also before a change has happened: a change that fails half-way is never noted.
        self._drop_pins(guard, record.database_id, run)
        entry = self._entry(guard, record)
        if not happened and record.version_id is None:
            entry = None  # each change without a snapshot has an entry of its own
        if entry is not None and not happened:
            return
        if entry is None:
            entry = Guarded(guard, record.described, self._moment(), [])
            self._stored.append(entry)
        if happened:
            self._add_changes(entry, happened, record.database_id)
        self._stored = _kept(self._lasting(self._stored))
        self._document[GUARDS] = [each.to_outputs() for each in self._stored]

    def _add_changes(
        self,
        entry: Guarded,
        happened: Sequence[str],
        database_id: str,
    ) -> None:
        """Note changes beside the changes that an entry has."""
        if not all(each.startswith(FIRST_UP) for each in happened):
            self._ledger.stop_sharing(self._document, database_id)
        # Each change once, also if it is noted again.
        changes = [*dict.fromkeys((*entry.changes, *happened))][:MOST_CHANGES]
        changed = replace(entry, changed_at=self._moment(), changes=changes)
        self._stored = [changed if each is entry else each for each in self._stored]

    def _entry(self, guard: str, record: SnapshotRecord) -> Guarded | None:
        """The newest entry of a guard with this snapshot."""
        wanted = guard, record.database_id, record.version_id
        for each in reversed(self._stored):
            if (each.guard, each.database_id, each.version_id) == wanted:
                return each
        return None

    def _drop_pins(self, guard: str, database_id: str, run: str) -> None:
        """Drop the pins that this run has not asked for: they were of an earlier incident."""
        pins = _readable(self._document.get(PINS), Pin)
        stay = [
            each
            for each in pins
            if each.key[:2] != (guard, database_id) or each.is_asked_by(run, self.now)
        ]
        if len(stay) < len(pins):
            self._document[PINS] = [each.to_outputs() for each in stay]

    def note_used_up(self, until: datetime) -> None:
        """Note when the account's daily quota has a free slot again.

        Args:
            until: When a slot is free.
        """
        self._document[QUOTA_USED_UP] = rfc3339(until)

    def _moment(self) -> str:
        """The service's time.

        Until the service has answered, as with guards off: no time before what the ledger has.
        """
        times = [self.now]
        if self._ledger.clock.offset is None:
            times += [each.touched_at for each in self._stored]
            times += [each.ended_at or each.request.posted_at for each in self.attempts]
        return rfc3339(max(times))

    @property
    def used_up(self) -> datetime | None:
        """Until when the daily quota is used up; None if the quota is not known to be used up."""
        ends = self._document.get(QUOTA_USED_UP)
        until = parse_rfc3339(ends) if isinstance(ends, str) else self.now
        return until if until > self.now else None

    def spent(self, database_id: str) -> datetime | None:
        """Find when something has last happened that a snapshot of a database guarded.

        Args:
            database_id: The database.

        Returns:
            The time; None if nothing has happened.
        """
        times = [
            self._latest_time(each)
            for each in self._entries
            if each.changed_at and each.database_id == database_id
        ]
        return max(times, default=None)

    def _latest_time(self, entry: Guarded) -> datetime:
        """When the changes of an entry have happened at the latest.

        A machine whose clock is wrong may have noted a time in the future: its changes had
        happened when this process first saw them. A guard would wait for a snapshot from after that
        time otherwise.
        """
        monotonic = Clock.monotonic()
        key = entry.guard, entry.version_id, entry.changed_at
        first_seen = _FIRST_SEEN.setdefault(self._ledger, {}).setdefault(key, monotonic)
        if entry.touched_at <= self.now:
            return entry.touched_at
        # A request that was sent right after the change must count as later, whatever the service's
        # clock says of it.
        unsure = 2 * self._ledger.clock.unsure + DATE_RESOLUTION
        at_latest = self.now - timedelta(seconds=monotonic - first_seen + unsure)
        return max(at_latest, self._requested(entry) + SECOND)

    def _requested(self, entry: Guarded) -> datetime:
        """When the snapshot of an entry was requested, which was before its changes."""
        times = [
            each.request.posted_at
            for each in self.attempts
            if each.has_snapshot and each.result == entry.version_id
        ]
        return max(times, default=NEVER)

    def history(self, guard: str | None = None) -> list[Guarded]:
        """List the entries of a guard, or of all, newest first.

        Args:
            guard: The guard, with organization, project and stack; None for all.

        Returns:
            The entries. A guard's entries include what restores have kept of its databases.
        """
        entries = [*reversed(self._entries)]
        databases = {each.database_id for each in entries if each.guard == guard}
        return [
            each
            for each in entries
            if guard in {None, each.guard}
            or (each.guard == KEPT_BY_RESTORE and each.database_id in databases)
        ]

    def unfinished(self, database_id: str, guards: str) -> Guarded | None:
        """The newest snapshot of a database of whose change nothing is noted since.

        Args:
            database_id: The database.
            guards: The beginning of the guards' names.

        Returns:
            None if there is none, or if something guarded has happened later, or a restore.
        """
        since = max(
            self.spent(database_id) or NEVER,
            last_restored(self.attempts, database_id),
        )
        for each in self.history():
            is_wanted = (
                each.guard.startswith(guards) and each.database_id == database_id
            )
            if is_wanted and each.version_id and each.touched_at > since:
                return each
        return None

    def last(
        self,
        guard: str,
        database_id: str,
        pin: str | None = None,
        *,
        run: str = "",
    ) -> SnapshotInfo | None:
        """The snapshot of a database that guarded last.

        Args:
            guard: The guard.
            database_id: Its database.
            pin: A value of a roll-back, which gets one answer once the book is written, until a run
                that has not asked for it makes guarded changes.
            run: The run that asks.

        Returns:
            None if there is none, and never with a pin.

        Raises:
            ProviderError: There is none, and a pin is given.
        """
        newest = self._newest(guard, database_id)
        if pin:
            pinned = self._pinned(guard, database_id, pin, newest, run)
            return described(pinned, self.now)
        return described(newest, self.now) if newest is not None else None

    def _newest(self, guard: str, database_id: str) -> Guarded | None:
        """The newest entry of a guard and a database with a snapshot."""
        for each in self.history(guard):
            is_wanted = each.guard == guard and each.database_id == database_id
            if is_wanted and each.version_id:
                return each
        return None

    def _pinned(
        self,
        guard: str,
        database_id: str,
        value: str,
        newest: Guarded | None,
        run: str,
    ) -> Pin:
        """The pin of a value, asked for by this run; made of the newest entry if there is none."""
        pins = self._lasting(_readable(self._document.get(PINS), Pin))
        pinned = [each for each in pins if each.key == (guard, database_id, value)]
        if pinned and pinned[0].is_asked_by(run, self.now):
            return pinned[0]
        if pinned:
            snapshot = pinned[0].snapshot
        elif newest is not None:
            snapshot = newest.snapshot
        else:
            where = self._ledger.place.where
            raise ProviderError(
                Message(UNKNOWN_HERE, database=database_id, where=where)
            )
        pin = Pin(guard, value, snapshot, run, rfc3339(self.now))
        others = [each for each in pins if each not in pinned]
        self._document[PINS] = [each.to_outputs() for each in [*others, pin][-MOST:]]
        return pin

    def warning(
        self, last: SnapshotInfo, newest: SnapshotInfo | None
    ) -> Message | None:
        """Warn of a way back if no run knows the newest manual snapshot.

        Args:
            last: The way back.
            newest: The newest manual snapshot that the service lists.

        Returns:
            The warning; None if all is well.
        """
        if newest is None or (newest.created_at or "") <= (last.created_at or ""):
            return None
        versions = {each.version_id for each in self._entries}
        versions |= {each.result for each in self.attempts}
        if newest.version_id in versions:
            return None
        return Message(NEWER, newest=newest.id, at=newest.created_at, last=last.id)

    def outputs(
        self,
        guard: str,
        database_id: str,
        pin: str | None,
        *,
        run: str = "",
    ) -> GuardOutputs:
        """Describe a guard that is a component, for its state; see `last`.

        Args:
            guard: The guard, with organization, project and stack.
            database_id: Its database.
            pin: A value of a roll-back, if one is given.
            run: The run that asks.

        Returns:
            The outputs.
        """
        noted = self.history(guard)[:MOST_CHANGES]
        history = [
            GuardedChanges(
                each.noted_at, each.changes, each.version_id, each.changed_at
            )
            for each in noted
        ]
        return GuardOutputs(history, self.last(guard, database_id, pin, run=run))


def _kept(entries: list[Guarded]) -> list[Guarded]:
    """The newest `MOST` entries, the last ways back, and the last change of each database."""
    ways_back = {
        (each.guard, each.database_id): each for each in entries if each.version_id
    }
    changed = [each for each in entries if each.changed_at]
    changed.sort(key=lambda each: each.touched_at)
    last_changes = {each.database_id: each for each in changed}
    stay = [*entries[-MOST:], *ways_back.values(), *last_changes.values()]
    identities = {id(each) for each in stay}
    return [each for each in entries if id(each) in identities]


def _readable(stored: object, kind: type[Noted]) -> list[Noted]:
    """The entries of a document that can be read; a value that no run has written is left out."""
    entries = []
    for each in stored if isinstance(stored, list) else ():
        with suppress(KeyError, TypeError, ValueError, OverflowError, AttributeError):
            entry = kind.from_outputs(each)
            checks.database_id()(entry.snapshot["database_id"])
            at = entry.touched_at
            if entry.snapshot.get("version_id") is not None:
                described(entry, at)
            entries.append(entry)
    return entries


def described(entry: Guarded | Pin, now: datetime) -> SnapshotInfo:
    """Describe the snapshot of an entry as a lookup would.

    Args:
        entry: The entry.
        now: The service's time.

    Returns:
        The snapshot, with whether it is still kept.
    """
    ends = entry.snapshot.get("expires_at")
    available = ends is None or parse_rfc3339(ends) > now
    return SnapshotInfo.from_outputs({**entry.snapshot, "available": available})
