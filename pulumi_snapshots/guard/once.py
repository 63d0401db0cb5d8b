"""The one snapshot of a run's guard: all guarded changes wait for it, and none goes past its failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

import anyio

from pulumi_snapshots.errors import Explained, LedgerUnavailable, Next, Step, Text, Words
from pulumi_snapshots.guard.book import GuardBook, consult
from pulumi_snapshots.guard.take import take_or_fall_back
from pulumi_snapshots.progress import Listener, short_id
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.record import SnapshotRecord


class ChangeHeldBack(Explained):
    """A guarded change did not happen, since its guard has no snapshot.

    Args:
        change: what was about to change, such as `update of Server shop`.
        why: what failed.
        then: the next steps, if the failure has none of its own.
    """

    def __init__(self, change: str, why: Words | Explained, then: Iterable[Next] = ()) -> None:
        then = why.then if isinstance(why, Explained) else then
        held = Text("the {change} was held back, since no snapshot guards it: {why}", change=change, why=why)
        super().__init__(held, then=then)


class ChangeNotNoted(Explained):
    """A guarded change has happened, and a later run may take the snapshot from before it for one that guards.

    Args:
        change: what has happened, such as `update of Server shop`.
        why: what failed.
    """

    def __init__(self, change: str, why: Explained) -> None:
        happened = Text("the {change} has happened, but could not be noted: {why}", change=change, why=why)
        super().__init__(happened, then=why.then)


class OncePerRun:
    """The snapshots of one run of a program, by database: all its guards share them."""

    def __init__(self) -> None:
        self._databases: dict[str, _Guarded] = {}

    async def before(  # noqa: PLR0913  what it is about, and where it acts
        self,
        guard: str,
        inputs: SnapshotInputs,
        change: str,
        session: Callable[[], Session],
        listener: Listener,
        *,
        fallback: float | None = None,
    ) -> SnapshotRecord:
        """Return the snapshot that guards a change, once it is there and noted; the first change takes it.

        Args:
            guard: its name in the book.
            inputs: of the snapshot, checked.
            change: what is about to change, such as `update of Server shop`.
            session: opens the service.
            listener: gets the progress, and the line that lasts.
            fallback: how old an earlier snapshot may be, in seconds, if none can be had now; None for none.

        Raises:
            ChangeHeldBack: there is no snapshot, so the change must not happen.
        """
        of = self._databases.setdefault(inputs.database_id, _Guarded())
        if of.lock.locked():
            listener.progress(f"waiting for the snapshot that guards the {change}")
        async with of.lock:
            if of.failed:
                raise ChangeHeldBack(change, f"it failed for the {of.failed}, see there")
            try:
                of.is_off = session().settings.guard == "off"
                first, record = of.record is None, of.record
                if record is None and of.is_off:
                    record = SnapshotRecord(inputs.database_id)
                elif record is None:
                    record = await take_or_fall_back(session(), inputs, fallback, listener)
                of.record = record
                if guard not in of.changes:
                    await of.note(session(), lambda book: book.note(guard, record))
                    of.changes[guard] = []
            except Exception as error:
                # Also for what is no known failure: a change that does not know its snapshot must not happen.
                of.failed = change
                why = error if isinstance(error, Explained) else f"{type(error).__name__}: {error}"
                raise ChangeHeldBack(change, why, [Next(Step.RUN_AGAIN)]) from error
            if of.is_off:
                listener.warn(Text("the {change} has no snapshot, since {guard} is off", change=change))
            elif first:
                way_back = Next(Step.GO_BACK, id=record.id)
                listener.note(
                    Text("guarded by {id}: {change}\n{way_back}", id=record.id, change=change, way_back=way_back)
                )
            if not of.is_off:
                listener.progress(f"guarded: {change}, by {short_id(record.id)}")
            return record

    async def after(self, guard: str, database_id: str, change: str, session: Callable[[], Session]) -> SnapshotRecord:
        """Note that a guarded change has happened, so that its snapshot guards no later run; returns the snapshot.

        Raises:
            ChangeNotNoted: the ledger cannot be written, or no change has asked before.
        """
        of = self._databases.get(database_id)
        if of is None or (record := of.record) is None or guard not in of.changes:
            raise ChangeNotNoted(change, Explained("no snapshot of this run guards it"))
        of.changes[guard].append(change)
        async with of.noting:  # one entry for all that happen meanwhile
            if happened := of.changes[guard]:
                of.changes[guard] = []
                try:
                    await of.note(session(), lambda book: book.note_changes(guard, record, happened))
                except BaseException as error:
                    of.changes[guard][:0] = happened
                    if isinstance(error, Explained):
                        raise ChangeNotNoted(change, error) from error
                    raise
        return record


class _Guarded:
    """The snapshot of one database in one run.

    Attributes:
        lock: held while it is taken. If that change is gone, as when its call is cancelled, the next one completes it.
        record: the snapshot, once it is there.
        failed: the change for which it could not be had; empty if that has not happened.
        changes: by each guard that it is noted for, what has happened and is not noted yet.
        noting: held while that is noted.
        is_off: whether changes need no snapshot; each has a warning, so the ledger may be out of reach.
    """

    def __init__(self) -> None:
        self.lock, self.noting = anyio.Lock(), anyio.Lock()
        self.record: SnapshotRecord | None = None
        self.failed = ""
        self.changes: dict[str, list[str]] = {}
        self.is_off = False

    async def note(self, session: Session, what: Callable[[GuardBook], None]) -> None:
        with suppress(*([LedgerUnavailable] if self.is_off else [])):
            await consult(session.ledger, what, writes=True)


def change_of(urn: str, change: str) -> str:
    """A change in words: `update of Server shop`."""
    _, _, types, name = (urn.split("::", 3) + [""] * 4)[:4]
    kind = types.rpartition("$")[2].rpartition(":")[2]
    return f"{change} of {kind} {name}" if name else f"{change} of {urn}"
