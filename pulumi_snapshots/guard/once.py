"""The one snapshot of a run's guard, for which all guarded changes wait."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import anyio

from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.errors import (
    AnyMessage,
    Hint,
    HintKind,
    LedgerUnavailable,
    Message,
    NothingSent,
    ProviderError,
)
from pulumi_snapshots.guard.book import consult
from pulumi_snapshots.guard.inputs import GuardInputs
from pulumi_snapshots.ledger.attempt import GUARD_OWNER
from pulumi_snapshots.run.calls import EngineCall
from pulumi_snapshots.run.failures import telling_of_failure
from pulumi_snapshots.run.memory import Listener
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import (
    Blocked,
    NotSent,
    Outage,
    QuotaUsedUp,
    ServiceFailed,
    SnapshotFailed,
    SquareCloudError,
    Unavailable,
)
from pulumi_snapshots.snapshot.create import SnapshotOperation
from pulumi_snapshots.snapshot.record import SnapshotRecord, short_id

NONE_NOW = (
    QuotaUsedUp,
    NotSent,
    Unavailable,
    Outage,
    Blocked,
    ServiceFailed,
    NothingSent,
)
"""The failures after which an earlier snapshot may do: the quota is used up, or the service is
down."""
FALLEN_BACK = (
    "no new snapshot of database {database} can be taken ({error}), so the newest "
    "snapshot guards: {id} of {taken}"
)


class ChangeHeldBack(ProviderError):
    """A guarded change did not happen, since its guard has no snapshot, and why."""

    def __init__(self, change: str, why: AnyMessage | ProviderError) -> None:
        held = Message(
            "the {change} was held back, since no snapshot guards it: {why}",
            change=change,
            why=why,
        )
        then = why.then if isinstance(why, ProviderError) else [HintKind.RUN_AGAIN]
        # A database that cannot be captured may need this very change.
        if isinstance(why, (*NONE_NOW, SnapshotFailed)):
            then = [*then, HintKind.TURN_GUARDS_OFF]
        super().__init__(held, then=then)


class ChangeNotNoted(ProviderError):
    """A guarded change has happened, and a later run may trust the snapshot from before."""

    def __init__(self, change: str, why: ProviderError) -> None:
        happened = Message(
            "the {change} has happened, but could not be noted: {why}",
            change=change,
            why=why,
        )
        super().__init__(happened, then=why.then)


@dataclass(frozen=True)
class GuardedChange:
    """A change that a guard guards.

    Attributes:
        guard: The guard, with organization, project and stack.
        inputs: Its inputs.
        what: The change, such as `update of Server shop`.
        session: Gets the session.
        listener: The row of what changes.
    """

    guard: str
    inputs: GuardInputs
    what: str
    session: Callable[[], Session]
    listener: Listener


@dataclass(eq=False)
class _SnapshotOfRun:
    """The snapshot of one database in one run, and the guarded changes after it."""

    # Held while the snapshot is taken; after a cancelled change the next change of the run reuses
    # the request.
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    noting: anyio.Lock = field(default_factory=anyio.Lock)
    # when the first change asked, by a clock that counts sleep
    asked_at: datetime | None = None
    record: SnapshotRecord | None = None
    failed: str | None = None  # the change for which no snapshot could be had
    # by guard, what has happened and is not noted yet
    changes: dict[str, list[str]] = field(default_factory=dict)
    # changes need no snapshot; each has a warning, so the ledger may be out of reach
    is_off: bool = False


class OncePerRun:
    """The snapshots of one run of a program, by database: all its guards share them.

    `run` names the run as the programs and plugins of the same engine do; without a name, the
    session's is used.

    Attributes:
        whole: The guards that hear of each change after their snapshot. A Snapshot of the same run
            may use what they request, as long as none has happened.
    """

    def __init__(self, run: str = "") -> None:
        self._run = run
        self.whole = set[str]()
        self._databases = defaultdict[str, _SnapshotOfRun](_SnapshotOfRun)

    async def carry_out(
        self,
        act: str,
        change: GuardedChange,
        call: EngineCall,
        report: Callable[[ProviderError], str],
    ) -> None:
        """Call a method of this object, at a call of the engine; a monitor hears of a failure.

        Args:
            act: The method: `before`, `after` or `before_all`.
            change: The change.
            call: The call.
            report: Words an error.
        """
        when = "after" if act == "after" else "before"
        job = f"Guard {change.guard}, {when} a change"
        await telling_of_failure(call, job, report, partial(getattr(self, act), change))

    async def before(self, change: GuardedChange) -> SnapshotRecord:
        """Have the snapshot that guards a change, and note it; the first change takes a snapshot.

        Args:
            change: What is about to change.

        Returns:
            The snapshot; without a version if guards are off.

        Raises:
            ChangeHeldBack: There is no snapshot, so the change must not happen.
        """
        what = change.what
        listener = change.listener
        shared = self._databases[change.inputs.database_id]
        if shared.lock.locked():
            listener.progress(f"waiting for the snapshot that guards the {what}")
        async with shared.lock:
            if shared.failed is not None:
                raise ChangeHeldBack(
                    what, f"it failed for the {shared.failed}, see there"
                )
            is_first = shared.record is None
            try:
                record = await self._guarding(shared, change)
            except Exception as error:
                # Also for an error that is no known failure: a change that does not know its
                # snapshot must not happen.
                shared.failed = what
                if isinstance(error, ProviderError):
                    raise ChangeHeldBack(what, error) from error
                reason = f"{type(error).__name__}: {error}"
                raise ChangeHeldBack(what, reason) from error
            if shared.is_off:
                off = "the {change} has no snapshot, since {guard} is off"
                listener.warn(Message(off, change=what))
                return record
            if is_first:
                listener.note(_with_way_back("guarded by {id}: {change}", record, what))
            else:
                listener.progress(f"guarded: {what}, by {short_id(record.id)}")
            return record

    async def _guarding(
        self, shared: _SnapshotOfRun, change: GuardedChange
    ) -> SnapshotRecord:
        """The run's snapshot, taken for the first change, and noted for each guard."""
        guard = change.guard
        inputs = change.inputs
        session = change.session()
        shared.is_off = session.settings.guard == "off"
        if shared.record is None and shared.is_off:
            shared.record = SnapshotRecord(inputs.database_id)
        elif shared.record is None:
            # Changes that are noted by now have happened before the snapshot, whatever times were
            # noted for them.
            await consult(session.ledger, lambda book: book.spent(inputs.database_id))
            now = session.clock.utc()
            shared.asked_at = shared.asked_at or now
            run = self._run or session.memory.run
            shared.record = await take(
                session,
                inputs,
                change.listener,
                asked_for=now - shared.asked_at,
                shared_in=run if guard in self.whole else None,
            )
        if guard not in shared.changes:
            await self._note(shared, session, guard, shared.record)
            shared.changes[guard] = []
        return shared.record

    async def after(self, change: GuardedChange) -> SnapshotRecord:
        """Note that a guarded change has happened, after which its snapshot guards no later run.

        Args:
            change: What has changed.

        Returns:
            The snapshot that has guarded it.

        Raises:
            ChangeNotNoted: The ledger cannot be written, or this run knows no snapshot.
        """
        guard = change.guard
        shared = self._databases[change.inputs.database_id]
        record = shared.record
        if record is None or guard not in shared.changes:
            raise ChangeNotNoted(
                change.what, ProviderError("no snapshot of this run guards it")
            )
        shared.changes[guard].append(change.what)
        async with shared.noting:  # one entry for all changes that happen meanwhile
            happened = [*shared.changes[guard]]
            if happened:
                try:
                    await self._note(shared, change.session(), guard, record, happened)
                except ProviderError as error:
                    raise ChangeNotNoted(change.what, error) from error
                del shared.changes[guard][: len(happened)]
        return record

    async def before_all(self, change: GuardedChange) -> SnapshotRecord:
        """Have the snapshot before changes of which no hook tells.

        As `before`, and noted as if they had happened.

        Args:
            change: Stands for all of them.

        Returns:
            The snapshot; without a version if guards are off.
        """
        record = await self.before(change)
        try:
            await self.after(change)
        except ChangeNotNoted as error:
            raise ChangeHeldBack(change.what, error) from error
        return record

    def show_failure(
        self, inputs: GuardInputs, change: str, listener: Listener
    ) -> None:
        """Leave the way back at a guarded change that has failed half-way.

        Nothing happens if no snapshot guards the change.

        Args:
            inputs: The guard's inputs.
            change: The change, such as `update of Server shop`.
            listener: The row of what has failed.
        """
        record = self._databases[inputs.database_id].record
        if record is not None and record.version_id is not None:
            listener.note(
                _with_way_back("{change} has failed, guarded by {id}", record, change)
            )

    async def _note(
        self,
        shared: _SnapshotOfRun,
        session: Session,
        guard: str,
        record: SnapshotRecord,
        happened: Iterable[str] = (),
    ) -> None:
        run = self._run or session.memory.run
        with suppress(LedgerUnavailable) if shared.is_off else nullcontext():
            await consult(
                session.ledger,
                lambda book: book.note(guard, record, [*happened], run=run),
                writes=True,
            )


def _with_way_back(template: str, record: SnapshotRecord, change: str) -> Message:
    way_back = Hint(HintKind.GO_BACK, id=short_id(record.id))
    return Message(
        f"{template}\n{{way_back}}",
        id=record.id,
        change=change,
        way_back=way_back,
    )


async def take(
    session: Session,
    inputs: GuardInputs,
    listener: Listener,
    *,
    asked_for: timedelta = timedelta(0),
    shared_in: str | None = None,
) -> SnapshotRecord:
    """Take a guard's snapshot, or use one that is young enough, or that `fallback` allows.

    Args:
        session: The session of the process.
        inputs: The guard's inputs.
        listener: The row of what is about to change.
        asked_for: For how long the run has asked for a snapshot: a snapshot that the run has
            requested since will do, also if the requesting call was cut off.
        shared_in: The run in which a Snapshot may use the snapshot too; None if no Snapshot may.

    Returns:
        The snapshot.

    Raises:
        ProviderError: There is none.
    """
    database_id = inputs.database_id
    of_this_run = min(asked_for.total_seconds(), inputs.timeout)
    wanted = replace(
        inputs.snapshot, reuse_within=max(inputs.reuse_within, of_this_run)
    )
    last_change = partial(consult, session.ledger, lambda book: book.spent(database_id))
    try:
        with session.fleet.joins(listener) as member:
            taking = SnapshotOperation(
                session,
                wanted,
                member,
                f"{GUARD_OWNER}:{database_id}",
                needs_url=False,
                last_change=last_change,
                shared_in=shared_in,
            )
            return await taking.carry_out()
    except NONE_NOW as error:
        until = error.frees if isinstance(error, QuotaUsedUp) else None
        if until is not None:
            with suppress(LedgerUnavailable):
                await consult(
                    session.ledger,
                    lambda book: book.note_used_up(until),
                    writes=True,
                )
        if inputs.fallback is None:
            raise
        newest = await _newest_known(session, database_id)
        oldest = session.service_clock.now() - timedelta(seconds=inputs.fallback)
        # An interrupt during this search, or before, is no reason to use an older snapshot.
        if session.stopping or newest is None or newest.taken_at < oldest:
            raise
        return _fallen_back(newest, database_id, error, listener)


class _Taken(NamedTuple):
    taken_at: datetime
    version: str


async def _newest_known(session: Session, database_id: str) -> _Taken | None:
    """The newest snapshot that the listing or the ledger shows now, also an automatic one."""
    snapshots: list[_Taken] = []
    with suppress(LedgerUnavailable):
        attempts = await session.ledger.snapshots(database_id)
        snapshots += [
            _Taken(each.request.posted_at, each.result)
            for each in attempts
            if each.result
        ]
    with suppress(SquareCloudError):
        page = await session.listings.page(
            database_id, session.listings.recent, patience=BRIEF
        )
        snapshots += [
            _Taken(each.modified, each.version)
            for each in page.entries
            if each.version and each.modified
        ]
    return max(snapshots, default=None)


def _fallen_back(
    newest: _Taken,
    database_id: str,
    error: ProviderError,
    listener: Listener,
) -> SnapshotRecord:
    """The record of the snapshot that guards in place of a new one, with a warning."""
    record = SnapshotRecord(database_id, newest.version, available=True)
    record = record.created(newest.taken_at.replace(microsecond=0))
    warning = Message(
        FALLEN_BACK,
        id=record.id,
        database=database_id,
        error=str(error).rstrip("."),
        taken=to_the_second(newest.taken_at),
    )
    listener.warn(warning)
    return record
