"""The snapshot of what a database holds before a restore overwrites it: the way to undo that."""

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta

from pulumi_snapshots.errors import (
    CannotTell,
    Hint,
    HintKind,
    LedgerUnavailable,
    Message,
    NotFinished,
    ProviderError,
)
from pulumi_snapshots.guard.book import KEPT_BY_RESTORE, consult
from pulumi_snapshots.ledger.attempt import NEVER, SECOND, Attempt
from pulumi_snapshots.properties.checks import digest_of
from pulumi_snapshots.run.memory import Member
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.record import SnapshotInputs, SnapshotRecord, short_id

TRIGGERS = ["what a restore overwrites"]
REPEATED_WITHIN = timedelta(minutes=10)
"""How old the snapshot of a restore that was not carried out may be, to be used by the next try."""


class NotKept(ProviderError):
    """A restore that was not sent, since the data that it would overwrite could not be kept."""

    def __init__(self, database_id: str, why: ProviderError) -> None:
        happened = Message(
            "Database {of} was not restored, since no snapshot keeps what it holds now: {why}",
            of=database_id,
            why=why,
        )
        is_pending = isinstance(why, NotFinished)
        then = [Hint(HintKind.RUN_AGAIN)] if is_pending else [*why.then]
        super().__init__(happened, then=[*then, Hint(HintKind.RESTORE_UNKEPT)])


def keeps_overwritten(attempt: Attempt, database_id: str) -> bool:
    """Tell whether a request was sent to keep what a restore of a database overwrites.

    Args:
        attempt: The attempt of the request.
        database_id: The database.
    """
    about = (attempt.kind, attempt.database_id, attempt.purpose)
    return about == ("snapshot", database_id, digest_of(TRIGGERS))


async def keep_current(
    session: Session,
    database_id: str,
    member: Member,
    source: str,
    source_time: datetime | None,
) -> SnapshotRecord:
    """Take a snapshot of what a database holds, or use that of a restore that was not sent.

    Args:
        session: The session of the process.
        database_id: The database that is to be overwritten.
        member: Shows the progress.
        source: The snapshot that is to be restored, as DATABASE_ID/VERSION_ID.
        source_time: When that was taken, if it is of the same database: only a later one can hold
            more. None if it is of another one.

    Returns:
        The snapshot.

    Raises:
        NotKept: There is no snapshot, so that nothing must be restored.
    """
    try:
        reuses = await _reusable_age(session, database_id, source_time)
        inputs = SnapshotInputs(database_id, triggers=[*TRIGGERS], reuse_within=reuses)
        record = await create(session, inputs, member, KEPT_BY_RESTORE, needs_url=False)
        # Another client has taken a snapshot within a moment of this one.
        if record.id == source:
            raise CannotTell(
                f"the newest snapshot is {source}, which is to be restored"
            )
    except ProviderError as error:
        raise NotKept(database_id, error) from error
    member.note(
        Message(
            "kept what database {of} holds now. {undo}",
            of=database_id,
            undo=undo(record.id),
        )
    )
    return record


async def note_overwritten(session: Session, kept: SnapshotRecord, source: str) -> None:
    """Note in the guards' book that a snapshot has what a restore overwrites: it is a way back.

    Args:
        session: The session of the process.
        kept: The snapshot.
        source: The snapshot that is restored, as DATABASE_ID/VERSION_ID.
    """
    happened = [f"restore of {short_id(source)}"]
    run = session.memory.run
    with suppress(LedgerUnavailable):
        await consult(
            session.ledger,
            lambda book: book.note(KEPT_BY_RESTORE, kept, happened, run=run),
            writes=True,
        )


def undo(previous: str) -> Hint:
    """Name the step that undoes a restore.

    Args:
        previous: The snapshot of what the restore has overwritten, as DATABASE_ID/VERSION_ID.

    Returns:
        The step.
    """
    return Hint(HintKind.UNDO_RESTORE, id=previous)


async def _reusable_age(
    session: Session, database_id: str, source_time: datetime | None
) -> float:
    """How many seconds old a snapshot may be that will do; 0 if there can be none."""
    changed_at = await consult(session.ledger, lambda book: book.spent(database_id))
    after = max(changed_at or NEVER, source_time or NEVER)
    now = session.service_clock.now()
    for each in await session.ledger.attempts():
        posted_at = each.request.posted_at
        is_young = max(after, now - REPEATED_WITHIN) < posted_at
        if keeps_overwritten(each, database_id) and is_young:
            return (now - posted_at + SECOND).total_seconds()
    return 0.0


def kept_before(attempts: Collection[Attempt], restore: Attempt) -> str | None:
    """Find the snapshot that an earlier run took before it sent a restore.

    Args:
        attempts: All that the ledger has.
        restore: The restore.

    Returns:
        The snapshot, as DATABASE_ID/VERSION_ID; None if there is none.
    """
    database_id = restore.database_id
    before = [
        each for each in attempts if each.request.posted_at < restore.request.posted_at
    ]
    of_database = [each for each in before if each.database_id == database_id]
    of_database.sort(key=lambda each: each.request.posted_at, reverse=True)
    for each in of_database:
        if each.kind == "restore":
            return None
        if keeps_overwritten(each, database_id) and each.has_snapshot:
            return f"{database_id}/{each.result}"
    return None
