"""The snapshot of a guard: taken like a Snapshot's, but no resource and no state has it."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import LedgerUnavailable, Next, NothingSent, Step, Text, Unresolved
from pulumi_snapshots.guard.book import consult
from pulumi_snapshots.ledger.attempt import GUARDS
from pulumi_snapshots.progress import Listener
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import (
    Blocked,
    NotSent,
    Outage,
    QuotaUsedUp,
    ServiceFailed,
    SquareCloudError,
    Unavailable,
)
from pulumi_snapshots.snapshot.create import Pending, Taking
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.record import SnapshotRecord

NONE_NOW = (QuotaUsedUp, NotSent, Unavailable, Outage, Blocked, ServiceFailed, NothingSent)
"""The failures after which an earlier snapshot may do: the quota is used up, or the service is down."""


class _NotThere(Unresolved[SnapshotRecord]):
    """The guard's snapshot was started, or may have been, and is not known yet."""

    steps_if_pending = (Next(Step.GUARD_RESUMES),)
    steps_if_undecided = (Next(Step.GUARD_TAKES_ANOTHER),)
    step_if_remembered = Next(Step.GUARD_RESUMES)
    step_if_forgotten = Next(Step.GUARD_TAKES_ANOTHER)


async def take_or_fall_back(
    session: Session, inputs: SnapshotInputs, fallback: float | None, listener: Listener
) -> SnapshotRecord:
    """Take a guard's snapshot; if none can be had now, return the newest one up to this age (seconds), with a warning.

    Raises:
        Explained: as `take`, if there is none so young, or another cause would stay.
    """
    try:
        return await take(session, inputs, listener)
    except NONE_NOW as error:
        if isinstance(error, QuotaUsedUp) and (until := error.frees):
            with suppress(LedgerUnavailable):
                await consult(session.ledger, lambda book: book.note_used_up(until), writes=True)
        if fallback is None:
            raise
        newest = max(await _known(session, inputs.database_id), key=lambda each: each[0], default=None)
        # An interrupt while it was looked for, or before, is no reason to use it.
        if session.stopping or newest is None or newest[0] < session.service_clock.now() - timedelta(seconds=fallback):
            raise
        taken, record = newest
        why = "no new snapshot of database {database} can be had ({error}), so the newest one guards, {id} of {taken}"
        listener.warn(
            Text(
                why,
                database=inputs.database_id,
                error=str(error).rstrip("."),
                id=record.id,
                taken=to_the_second(taken),
            )
        )
        return record


async def _known(session: Session, database_id: str) -> list[tuple[datetime, SnapshotRecord]]:
    """The snapshots of a database, automatic ones too, as far as its listing or the ledger shows them now."""
    times = {}
    with suppress(LedgerUnavailable):
        found = await session.ledger.snapshots(database_id)
        times = {each.result: each.request.posted_at for each in found if each.result}
    with suppress(SquareCloudError):
        page = await session.listings.read_page(database_id, session.listings.recent, patience=BRIEF)
        times |= {each.version: each.modified for each in page.entries if each.version and each.modified}
    return [
        (at, SnapshotRecord(database_id, version, available=True).created(at.replace(microsecond=0)))
        for version, at in times.items()
    ]


async def take(session: Session, inputs: SnapshotInputs, listener: Listener) -> SnapshotRecord:
    """Take a guard's snapshot, complete what a killed run has started, or use one that is young enough.

    Not one from before something guarded has happened, or the database was restored.

    Raises:
        _NotThere: it was or may have been started, and the wait for it ended.
        Explained: as `create` raises them.
    """
    with session.fleet.joins(listener) as member:
        spent = partial(consult, session.ledger, lambda book: book.spent(inputs.database_id))
        taking = Taking(session, inputs, member, f"{GUARDS}:{inputs.database_id}", spent=spent)
        try:
            return await taking.carry_out()
        except Pending as end:
            raise end.about(_NotThere, end.record) from end.__cause__
