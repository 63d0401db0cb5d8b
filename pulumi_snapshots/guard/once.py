"""The one snapshot of a run's guard: all guarded changes wait for it, and none goes past its failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import anyio

from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.text import Text, Words
from pulumi_snapshots.guard.attempt import GuardAttempt
from pulumi_snapshots.guard.inputs import TakenSnapshot, TakeQuery
from pulumi_snapshots.progress import Listener
from pulumi_snapshots.run.calls import Call
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


class OncePerRun:
    """The snapshots of one run of a program, by guard and database."""

    def __init__(self) -> None:
        self._guards: dict[tuple[str, str], _Guard] = {}

    async def before(
        self, guard: str, inputs: SnapshotInputs, change: str, session: Callable[[], Session], listener: Listener
    ) -> SnapshotRecord:
        """Return the snapshot that guards a change, once it is there; the first change takes it.

        Args:
            guard: its name.
            inputs: of the snapshot, checked.
            change: what is about to change, such as `update of Server shop`.
            session: opens the service.
            listener: gets the progress, and the line that lasts.

        Raises:
            ChangeHeldBack: there is no snapshot, so the change must not happen.
        """
        of = self._guards.setdefault((guard, inputs.database_id), _Guard())
        if of.lock.locked():
            listener.progress(f"waiting for the snapshot that guards the {change}")
        async with of.lock:
            if of.failed:
                raise ChangeHeldBack(change, f"it failed for the {of.failed}, see there")
            if of.record is not None:
                listener.progress(f"guarded by {of.record.id}: {change}")
                return of.record
            try:
                of.record = await _take(session(), inputs, listener)
            except Exception as error:
                # Also for what is no known failure: a change that does not know its snapshot must not happen.
                of.failed = change
                why = error if isinstance(error, Explained) else f"{type(error).__name__}: {error}"
                raise ChangeHeldBack(change, why, [Next(Step.RUN_AGAIN)]) from error
            listener.note(f"guarded by {of.record.id}: {change}")
            return of.record


class _Guard:
    """One guard's snapshot of one database in one run.

    Attributes:
        lock: held while it is taken. If that change is gone, as when its call is cancelled, the next one completes it.
        record: the snapshot, once it is there.
        failed: the change for which it could not be had; empty if that has not happened.
    """

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.record: SnapshotRecord | None = None
        self.failed = ""


async def _take(session: Session, inputs: SnapshotInputs, listener: Listener) -> SnapshotRecord:
    with session.fleet.joins(listener) as member:
        return await GuardAttempt(session, inputs, member).to_its_end()


async def take(values: Mapping[str, Any], call: Call) -> TakenSnapshot:
    """What the function answers, for arguments that have no problem; a process serves one run.

    Raises:
        ChangeHeldBack: there is no snapshot.
    """
    query = TakeQuery.of(values)
    change = query.change or (change_of(query.urn, "change") if query.urn else "change")
    call.shared.memory.note_kept(query.database_id, f"Guard {query.name!r}")
    record = await call.shared.of(OncePerRun).before(query.name, query.snapshot, change, call.session, call.listener)
    return TakenSnapshot(record.database_id, record.version_id or "", record.created_at)


def change_of(urn: str, change: str) -> str:
    """A change in words: `update of Server shop`."""
    _, _, types, name = (urn.split("::", 3) + [""] * 4)[:4]
    kind = types.rpartition("$")[2].rpartition(":")[2]
    return f"{change} of {kind} {name}" if name else f"{change} of {urn}"
