"""The book of guards: which snapshots have guarded what, for going back to one, and for a preview. No state has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

from pulumi_snapshots.clock import parse_rfc3339, rfc3339, to_the_second
from pulumi_snapshots.errors import Explained, Text, Words
from pulumi_snapshots.guard.inputs import ComponentInputs
from pulumi_snapshots.ledger.attempt import Attempt
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.place import AHEAD_HERE, Document
from pulumi_snapshots.lookup.results import SnapshotInfo
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Moment, Record, ResourceSchema, declare
from pulumi_snapshots.run.memory import Listener
from pulumi_snapshots.snapshot.record import SnapshotRecord

T = TypeVar("T")
# The parts of the document: entries, oldest first; what each value of a roll-back was answered with; until when it is used up.
GUARDS, PINS, USED_UP = "guards", "roll-backs", "quota_used_up"
MOST = 200  # entries, see `_kept`; and answers, of which the oldest are forgotten
MOST_CHANGES = 20  # that an entry names
UNKNOWN_HERE = (
    "this guard has noted no snapshot of database {database}. What guards take is noted for 30 days in {where}: if another machine "
    "made the release, go back on that one, or have both use {shared_state}. A Restore takes any listed snapshot by its {version_id}. "
    "If you have gone back already, remove the Restore."
)
NEW_ONE_FIRST = Text(
    "the new one is created before the snapshot, since only the delete of the old one waits for it. If creating it changes data, "
    'as a migration does, give the guard {before}=["create", "update", "delete"]'
)
NEW_ONE = ", which would be a new one"
BEGAN = "When it began to guard, by the service's clock."
CHANGES = "The first changes that have happened, such as `update of Server shop`."
CHANGED = "When something guarded has last happened; absent if nothing has."
NEWER = (
    "{newest} of {at} is newer than {last}, to which this goes back, and no run that is known here has taken it. If another "
    "machine took it before a release, restore that one by its {version_id}."
)


class Guarded(Record, sparse=True):
    """One snapshot of one guard, and what has happened after it; times are by the service's clock."""

    guard: str = declare("The guard, its name with organization, project and stack.")
    snapshot: dict[str, Any] = declare("The snapshot, as the service described it.")
    noted_at: str = declare(BEGAN)
    changes: list[str] = declare(CHANGES)
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
        """When something about it was noted last."""
        return parse_rfc3339(self.changed_at or self.noted_at)

    def info(self, now: datetime) -> SnapshotInfo:
        """The snapshot as a lookup would return it."""
        ends = self.snapshot.get("expires_at")
        return SnapshotInfo.from_outputs(
            {**self.snapshot, "available": ends is None or parse_rfc3339(ends) > now}
        )


class GuardedChanges(Record):
    """A snapshot of a guard, and what has happened after it."""

    noted_at: Moment = declare(BEGAN)
    changes: list[str] = declare(CHANGES)
    version_id: str | None = declare("Its version; absent if guards were off.", default=None)
    changed_at: Moment | None = declare(CHANGED, default=None)


class GuardOutputs(Record):
    """A snapshot of a database before anything else changes, also before deletes.

    However many changes one `pulumi up` makes, it takes one snapshot, before the first of them. A preview, a refresh and an `up`
    without a change take none. If the snapshot cannot be had, the change does not happen. Resources are guarded that the engine
    gets to know after the guard: let them depend on it (`dependsOn`). It needs Pulumi 3.182 or later.
    """

    history: list[GuardedChanges] = declare(
        "Its snapshots of the last 30 days, newest first; at most 20."
    )
    last: SnapshotInfo | None = declare(
        "The snapshot of the database that guarded last before this run, for a Restore; absent if none has.",
        default=None,
    )


GUARD = ResourceSchema("Guard", ComponentInputs, GuardOutputs)


async def consult(ledger: Ledger, use: Callable[[GuardBook], T], *, writes: bool = False) -> T:
    """Use the book in a ledger, which is read once; with `writes`, keep what `use` changes, which may be made again."""
    if writes:
        return await ledger.edit(lambda document: use(GuardBook(ledger, document)))
    return use(GuardBook(ledger, await ledger.read()))


class GuardBook:
    """What the guards of a service have taken, as a ledger's document has it. Their names have organization, project and stack."""

    def __init__(self, ledger: Ledger, document: Document) -> None:
        ledger.clock.assume(document.get(AHEAD_HERE))  # until the service has answered
        self.now = ledger.clock.now()
        self._ledger, self._document = ledger, document
        self._entries = _read(document.get(GUARDS), self.now)

    @cached_property
    def attempts(self) -> list[Attempt]:
        """All requests in the ledger; few questions need them."""
        return [*self._ledger.attempts_in(self._document).values()]

    def note(self, guard: str, record: SnapshotRecord, happened: Sequence[str] = ()) -> None:
        """Note the snapshot that a guard has taken or adopted, and guarded changes that have happened, after which it guards no later run."""
        wanted, entries = (guard, record.database_id, record.version_id), self._entries
        known = [
            n
            for n, each in enumerate(entries)
            if (each.guard, each.database_id, each.version_id) == wanted
        ]
        if known and record.version_id is not None and not happened:
            return
        now = self._moment()
        if not known or not happened:
            known = [len(entries)]
            entries.append(Guarded(guard, record.described, now, []))
        if happened:
            last = entries[known[-1]]
            changes = [
                *dict.fromkeys((*last.changes, *happened))
            ]  # each once, also if it is noted again
            entries[known[-1]] = replace(last, changed_at=now, changes=changes[:MOST_CHANGES])
        self._entries = _kept(entries)
        self._document[GUARDS] = [each.to_outputs() for each in self._entries]

    def note_used_up(self, until: datetime) -> None:
        """Note when the account's daily quota has a free slot again."""
        self._document[USED_UP] = rfc3339(until)

    def _moment(self) -> str:
        """The service's time; until it has answered, as with guards off, not before anything that the ledger has."""
        times = [self.now]
        if self._ledger.clock.offset is None:
            times += [each.touched_at for each in self._entries]
            times += [each.ended_at or each.request.posted_at for each in self.attempts]
        return rfc3339(max(times))

    @property
    def used_up(self) -> datetime | None:
        """Until when the daily quota is used up; None if it is not known to be."""
        ends = self._document.get(USED_UP)
        until = parse_rfc3339(ends) if isinstance(ends, str) else self.now
        return until if until > self.now else None

    def spent(self, database_id: str) -> datetime | None:
        """When something has happened that was guarded by a snapshot of this database; None if nothing has."""
        times = [
            each.touched_at
            for each in self._entries
            if each.changed_at and each.database_id == database_id
        ]
        return max(times, default=None)

    def history(self, guard: str | None = None) -> list[Guarded]:
        """The entries of a guard, or of all, newest first."""
        return [each for each in reversed(self._entries) if guard in {None, each.guard}]

    def last(self, guard: str, database_id: str, pin: str | None = None) -> SnapshotInfo | None:
        """The snapshot of this database that guarded last; a `pin` gets one answer once the book is written, or `Explained`."""
        mine = (
            each
            for each in self.history(guard)
            if each.database_id == database_id and each.version_id
        )
        found = next(mine, None)
        if pin:
            asked, pins = f"{guard} {database_id} {pin}", _read(self._document.get(PINS), self.now)
            if known := next((each for each in pins if each.guard == asked), None):
                return known.info(self.now)
            if found is None:
                raise Explained(
                    Text(UNKNOWN_HERE, database=database_id, where=self._ledger.place.where)
                )
            pins.append(Guarded(asked, found.snapshot, rfc3339(self.now), []))
            self._document[PINS] = [each.to_outputs() for each in pins[-MOST:]]
        return found.info(self.now) if found else None

    def warning(self, last: SnapshotInfo, newest: SnapshotInfo | None) -> Words:
        """A warning of a way back to `last`, if the newest manual snapshot is one that no run knows; empty if all is well."""
        if newest is None or (newest.created_at or "") <= (last.created_at or ""):
            return ""
        known = {each.version_id for each in self._entries} | {
            each.result for each in self.attempts
        }
        return (
            ""
            if newest.version_id in known
            else Text(NEWER, newest=newest.id, at=newest.created_at, last=last.id)
        )

    def outputs(self, guard: str, database_id: str, pin: str | None) -> GuardOutputs:
        """The outputs of a guard that is a component; see `last`."""
        noted = self.history(guard)[:MOST_CHANGES]
        history = [
            GuardedChanges(each.noted_at, each.changes, each.version_id, each.changed_at)
            for each in noted
        ]
        return GuardOutputs(history, self.last(guard, database_id, pin))


def _kept(entries: list[Guarded]) -> list[Guarded]:
    """The newest `MOST` of the entries, the last way back of each guard and database, and the last change of each database."""
    ways = {(each.guard, each.database_id): each for each in entries if each.version_id}
    changed = sorted(
        (each for each in entries if each.changed_at), key=lambda each: each.touched_at
    )
    stay = [
        *entries[-MOST:],
        *ways.values(),
        *{each.database_id: each for each in changed}.values(),
    ]
    return [each for each in entries if any(each is one for one in stay)]


def _read(entries: object, now: datetime) -> list[Guarded]:
    """The entries that can be read, whose snapshots the service may still have. One that no run has written counts as none."""
    read = []
    for each in entries if isinstance(entries, list) else ():
        try:
            entry = Guarded.from_outputs(each)
            checks.database_id()(entry.database_id)
            if entry.version_id is not None:
                entry.info(now)
            if entry.touched_at > now - timedelta(seconds=checks.RETENTION):
                read.append(entry)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            continue
    return read


class Foresight:
    """The guarded changes of one preview, by the database, empty if it is not known yet, and by which changes wait."""

    def __init__(self, database: str, before: tuple[str, ...]) -> None:
        self._of, self._which = (
            f"a snapshot of database {database or 'that is not known yet'}",
            NEW_ONE,
        )
        self._before, self._waiting, self._created = before, set[str](), set[str]()

    def learn(self, book: GuardBook, database_id: str, reuse_within: float) -> None:
        """Learn what the ledger knows, without a request, of the snapshot that the changes would wait for."""
        young = book.now - timedelta(seconds=reuse_within)
        here = [each for each in book.attempts if each.database_id == database_id]
        restored = [
            each.ended_at or each.request.posted_at for each in here if each.kind == "restore"
        ]
        oldest = max([young, book.spent(database_id) or young, *restored])
        if fitting := [
            each for each in here if each.has_snapshot and each.request.posted_at >= oldest
        ]:
            which = f"{database_id}/{fitting[-1].result}, requested at {to_the_second(fitting[-1].request.posted_at)}"
            self._which = f": {which}, would be used again"
        elif book.used_up:
            self._which = (
                f"{NEW_ONE}; the daily quota is used up until about {to_the_second(book.used_up)}"
            )

    def show(self, change: str, urn: str, row: Listener) -> None:
        """Show at a resource what its change waits for."""
        if change == "create":
            self._created.add(urn)
        if change in self._before:
            self._waiting.add(urn)
            row.progress(f"waits for {self._of}")
            if change == "delete" and urn in self._created and "create" not in self._before:
                row.warn(NEW_ONE_FIRST)

    def summary(self) -> Words:
        """All of it in one line; empty if nothing waits."""
        count = len(self._waiting)
        return (
            f"{count} change{'s' * (count > 1)} will wait for {self._of}{self._which}"
            if count
            else ""
        )
