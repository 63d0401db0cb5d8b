"""Restore and resume: one POST at most, then polls until what the database holds is known."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from pulumi_snapshots.clock import parse_rfc3339, time_text, to_the_second
from pulumi_snapshots.errors import (
    Hint,
    HintKind,
    LedgerUnavailable,
    NotFinished,
    ProviderError,
    not_listed,
)
from pulumi_snapshots.ledger.attempt import Attempt, Status, is_resource
from pulumi_snapshots.ledger.decision import ClaimRefused
from pulumi_snapshots.ledger.wording import requester
from pulumi_snapshots.listing.polling import wait_for_version
from pulumi_snapshots.properties.catalogue import Values
from pulumi_snapshots.restore.record import (
    RESTORE,
    SUCCESS,
    RestoreInputs,
    RestoreRecord,
    another_snapshot,
    time_out_beyond,
)
from pulumi_snapshots.restore.status import (
    OUTCOME_KEPT,
    NeverSeen,
    StatusWatch,
    began_since,
    clear_of_others,
)
from pulumi_snapshots.restore.undo import keep_current, kept_before, note_overwritten
from pulumi_snapshots.run.calls import (
    ActCalls,
    EngineCall,
    Resource,
    ResourceNotFinished,
)
from pulumi_snapshots.run.memory import Listener, Member
from pulumi_snapshots.run.operation import Operation, TimeIsUp
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF, Leaving, PostAnswer
from pulumi_snapshots.service.errors import RestoreFailed, SquareCloudError, is_new
from pulumi_snapshots.service.limits import RESTORE_LANE as LANE
from pulumi_snapshots.snapshot.record import SnapshotRecord, short_id, split_id

NOT_RESTORED = "Nothing was restored."
NOTHING_SENT = "This run has sent nothing."
"""Of a restore that another run has requested: nothing is said of what that one restores."""
T = TypeVar("T")


class RestorePending(NotFinished[RestoreRecord]):
    """The restore was started, or may have been, and its end was not seen.

    The record must be kept.
    """

    steps_if_pending = (Hint(HintKind.KEEP_WAITING), Hint(HintKind.RESTORE_AGAIN))
    steps_if_undecided = (Hint(HintKind.CHECK_RESTORED), Hint(HintKind.RESTORE_AGAIN))


class RestoreRefused(ProviderError):
    """A restore that must not be sent."""


async def restore(  # noqa: PLR0913  what is known of it
    session: Session,
    inputs: RestoreInputs,
    listener: Listener,
    owner: str | None = None,
    *,
    forced: bool = False,
    earlier: RestoreRecord | None = None,
) -> RestoreRecord:
    """Restore a snapshot and wait until the restore has succeeded and the database runs again.

    Args:
        session: The session of the process.
        inputs: What is asked for.
        listener: Shows the progress.
        owner: The resource's URN, or the command.
        forced: See `RestoreOperation`.
        earlier: A restore of an earlier run, which is only watched, with the whole time-out again.
            None for a new restore.

    Returns:
        The restore, complete; an `earlier` one perhaps with its failure.

    Raises:
        RestorePending: If the restore was or may have been started, so that the record must be
            kept.
        RestoreFailed: If the restore was carried out and failed. After any other error, nothing was
            started.
    """
    if earlier is not None and earlier.attempt is None:  # nothing says what was sent
        return earlier
    if earlier is not None:  # the inputs may name another snapshot by now
        names = ("database_id", "version_id", "target_database_id")
        inputs = replace(inputs, **{name: getattr(earlier, name) for name in names})
    member = Member(session.fleet, listener)
    operation = RestoreOperation(session, inputs, member, owner, forced=forced)
    if earlier is not None and earlier.attempt is not None:
        operation.resume(earlier.attempt)
        operation.previous = earlier.previous
    record = await operation.in_time(operation.carry_out())
    if record.failure and earlier is None:
        raise operation.failure(record)
    return record


class RestoreOperation(Operation):
    """A restore or the resume of one, for a drill too.

    Args:
        session: The session of the process.
        inputs: What is asked for.
        member: Shows the progress.
        owner: The resource's URN, or the command.
        forced: Whether another restore is wanted, whatever earlier runs have left.
        not_done: What was not done if nothing was sent, a sentence; None for the usual sentence.
        before: Called before a request with the snapshot's engine, None if that is not known;
            raises if the request must not be sent. None for no check.
        holds: How long other requests must stay away after the restore, as after a drill's, which
            may share its database with others; None for not at all.

    Attributes:
        watch: The watch over the restore; None until a request was sent.
        previous: The snapshot of what the database held before; None if none is known.
    """

    def __init__(  # noqa: PLR0913  each is a fact of its own
        self,
        session: Session,
        inputs: RestoreInputs,
        member: Member,
        owner: str | None,
        *,
        forced: bool = False,
        not_done: str | None = None,
        before: Callable[[str | None], Awaitable[None]] | None = None,
        holds: timedelta | None = None,
    ) -> None:
        wish = session.wish(
            "restore",
            owner,
            inputs.target,
            triggers=inputs.triggers,
            timeout=inputs.timeout,
            forced=forced,
            source=inputs.snapshot,
        )
        not_done = not_done or f"Database {inputs.target} was not restored."
        super().__init__(session, member, wish, not_done=not_done)
        self.inputs = inputs
        self.target = inputs.target
        self.before = before
        self.holds = holds
        self.watch: StatusWatch | None = None
        self.previous: str | None = None
        self._kept: SnapshotRecord | None = None
        self.taken = parse_rfc3339(inputs.created_at) if inputs.created_at else None
        self._runtime = inputs.runtime  # the snapshot's engine

    async def in_time(self, work: Awaitable[T]) -> T:
        """Do the work within the time-out.

        Args:
            work: The work.

        Returns:
            The result of the work.

        Raises:
            RestorePending: The restore was or may have been started, and its end was not seen.
            RestoreRefused: The ledger refuses to send another request.
            LedgerUnavailable: Nothing was sent, since the ledger cannot be used.
        """
        try:
            return await super().in_time(work)
        except TimeIsUp as why:
            raise self._unresolved(str(why)) from None
        except ClaimRefused as refused:
            raise _refusal(refused, self.session.service_clock.now()) from None
        except LedgerUnavailable as error:
            if self.attempt is None:
                raise
            raise self._unresolved(cause=error) from error

    async def carry_out(self) -> RestoreRecord:
        """Restore, unless an earlier run has, and watch until the restore is over.

        Returns:
            The record, complete or with its failure.

        Raises:
            RestoreRefused: Nothing was sent, and why.
            RestorePending: The end cannot be seen.
            SquareCloudError: The service refused the request, which started nothing.
        """
        await self.enter_resumed()
        await self.ensure_sent()
        return await self.ended()

    # Before the request ---------------------------------------------------------------------------

    async def ensure_sent(self) -> None:
        """Make sure that a request was sent; the user reads of an earlier run's."""
        name: str | None = None
        claim = await self.next_claim()
        while claim is not None:
            if claim.role == "in the way":
                await self.wait_out(claim.attempt, self._settle)
                self.previous = None  # the database holds something else since
            else:
                name = name or await self._prepared()
                await self._keep_current()
                await self._send(name)
            claim = await self.next_claim()

    async def _keep_current(self) -> None:
        """Keep what the database holds, if that is asked for and not done yet."""
        if not self.inputs.keep_current or self.previous is not None:
            return
        self.show_step("taking a snapshot of what the database holds")
        is_own = self.inputs.database_id == self.target
        source_time = self.taken if is_own else None
        with self.taking_longer():
            source = self.inputs.snapshot
            self._kept = await keep_current(
                self.session, self.target, self.member, source, source_time
            )
            self.previous = self._kept.id

    async def _send(self, name: str) -> None:
        """Send the request; a refusal that passes is waited out."""
        # Each time, since the answers may have changed during a wait.
        if self.before is not None:
            await self.before(self._runtime)
        previous = await clear_of_others(self.session, self.target, self.show)
        self.wish = replace(self.wish, previous=previous)
        path = f"POST /databases/{self.target}/snapshots/restore"
        try:
            await self.send(LANE, path, partial(self._post, name))
            if self.attempt is not None and self._kept is not None:
                await note_overwritten(self.session, self._kept, self.inputs.snapshot)
        except SquareCloudError as refusal:
            await self.try_again(refusal)

    async def _post(self, name: str, leaving: Leaving) -> PostAnswer:
        session = self.session
        inputs = self.inputs
        # Right before the request leaves: this machine may have been paused since the decision, in
        # a way that none of its clocks shows.
        began = await began_since(session, self.target, self.wish.previous)
        if began is not None:
            happened = (
                f"another restore of database {self.target} began at {to_the_second(began)}, after "
                f"this run had decided to restore snapshot {inputs.snapshot}"
            )
            then = [Hint(HintKind.CHECK_DATA), Hint(HintKind.RUN_AGAIN)]
            raise RestoreRefused(happened, NOT_RESTORED, then)
        return await session.client.restore_snapshot(
            self.target, name=name, version_id=inputs.version_id, leaving=leaving
        )

    async def _settle(self, other: Attempt) -> None:
        """Wait until another restore of this database is over, and enter its end for its owner."""
        watch = StatusWatch(self.session, other, partial(self.show_other, other))
        try:
            restored = await watch.until_over()
        except NeverSeen:  # no run will ever know its end, so none has to wait for it
            self.ignore(other)
            return
        ledger = self.session.ledger
        if restored is None:
            await ledger.end(watch.attempt, watch.request.outcome or "", failed=True)
        else:
            await ledger.end(watch.attempt, to_the_second(restored))

    async def _prepared(self) -> str:
        """Find out whether the request must not be sent.

        Returns:
            The name of the snapshot's storage object.
        """
        inputs = self.inputs
        memory = self.session.memory
        if inputs.database_id == self.target and inputs.snapshot in memory.taken:
            happened = (
                f"snapshot {inputs.snapshot} is new in this same run, so there is nothing to go "
                "back to yet"
            )
            raise RestoreRefused(
                happened, NOT_RESTORED, [Hint(HintKind.TAKE_RESTORE_OUT)]
            )
        name = inputs.name
        runtime = inputs.runtime
        if name is None:
            name, runtime = await self._looked_up()
        if runtime is not None and inputs.database_id != self.target:
            await self._compare_engines(runtime)
        self._runtime = runtime
        return name

    async def _looked_up(self) -> tuple[str, str | None]:
        """Look up the name of the snapshot's storage object, and its engine."""
        session = self.session
        listings = session.listings
        which = (self.inputs.database_id, self.inputs.version_id)
        self.show("looking up the snapshot")
        entry = await listings.find_version(*which) or await listings.unlisted(*which)
        if entry is None or not entry.name:
            entry, listed_by = await wait_for_version(
                session.poll_plan,
                *which,
                self.member.waits,
                patience=self.inputs.timeout,
            )
            if entry is None:
                happened, then = not_listed(*which, listed_by)
                raise RestoreRefused(happened, NOT_RESTORED, then)
        self.taken = entry.modified
        return entry.name, entry.runtime

    async def _compare_engines(self, runtime: str) -> None:
        """Raise `RestoreRefused` if the target is of another engine, as far as the service says."""
        session = self.session
        self.show_step("comparing the engines")
        database = None
        with suppress(SquareCloudError):  # the service compares them too
            now = session.clock.monotonic()
            database = await session.listings.database(self.target, now)
        if database is None or database.type in {None, runtime}:
            return
        snapshot = f"snapshot {self.inputs.snapshot} is of a {runtime} database"
        happened = f"{snapshot}, and database {self.target} is {database.type}"
        raise RestoreRefused(happened, NOT_RESTORED, [Hint(HintKind.USE_SAME_ENGINE)])

    # After the request ----------------------------------------------------------------------------

    async def ended(self) -> RestoreRecord:
        """Watch the restore until it is over.

        Returns:
            The record, complete or with its failure.

        Raises:
            RestorePending: If its end cannot be seen.
            SquareCloudError: A refusal with a code that is new, which started nothing.
        """
        async with self.session.locks[self.sent.id]:
            attempts = await self.known_attempts()
            attempt = self.sent
            if self.inputs.keep_current and self.previous is None:
                self.previous = kept_before(attempts, attempt)
            if attempt.status is Status.FOUND:
                return self._restored(attempt.result or "")
            if self.is_resumed and attempt.request.outcome is not None:
                return await self._end_by_outcome()
            return await self._watched()

    async def _watched(self) -> RestoreRecord:
        refusal = self.refusal if self.refusal and is_new(self.refusal) else None
        watch = StatusWatch(self.session, self.sent, self.show, refusal)
        self.watch = watch
        try:
            restored = await watch.until_over()
        except NeverSeen as never:
            raise self._unresolved(undecided=True) from never
        except SquareCloudError as error:
            if error is not watch.refusal:
                raise self._unresolved(cause=error) from error
            await self.withdraw()
            error.done = "Nothing was restored: by the service's status no restore has begun since."
            raise
        self.attempt = watch.attempt
        if restored is None:
            return await self._end_failed()
        return await self._end_restored(to_the_second(restored))

    async def _end_by_outcome(self) -> RestoreRecord:
        """End what the service has said to be over, though the database was not seen running."""
        if self.sent.request.outcome != SUCCESS:
            return await self._end_failed()
        session = self.session
        is_running = False
        with suppress(SquareCloudError):
            now = session.clock.monotonic()
            status = await session.listings.database_status(
                self.target, now, patience=BRIEF
            )
            is_running = status.running
        if not is_running:
            self.warn(
                f"the restore of database {self.target} succeeded, and the database was not seen "
                "running since.",
                HintKind.CHECK_HEALTH,
            )
        return await self._end_restored(to_the_second(session.service_clock.now()))

    async def _end_failed(self) -> RestoreRecord:
        """Enter the failure that the request has, and return the record with that failure."""
        await self.enter_result(self.sent.request.outcome or "", failed=True)
        return replace(self._record(), attempt=self.sent.request)

    async def _end_restored(self, restored_at: str) -> RestoreRecord:
        await self.enter_result(restored_at, holds=self.holds)
        return self._restored(restored_at)

    def _restored(self, restored_at: str) -> RestoreRecord:
        """Return the record of a restore that has succeeded, and leave a line about the restore."""
        attempt = self.sent
        record = replace(self._record(), restored_at=restored_at, attempt=None)
        self._tell(record, attempt)
        return record

    def _tell(self, record: RestoreRecord, attempt: Attempt) -> None:
        """Leave a line about the restore, a warning if no state may know of it."""
        is_same = record.snapshot == self.inputs.snapshot
        when = ""
        if self.taken and is_same:
            when = f", taken {time_text(self.taken, self.session.service_clock.now())},"
        what = f"restored {record.snapshot}{when} onto database {self.target}"
        earlier = f"{what}, requested at {record.requested_at} by an earlier run"
        if not self.is_resumed:
            if self.holds is None and is_resource(attempt.owner):
                self.member.note(what)  # a drill and a command show more at their ends
        elif self.is_in_state or self.is_command:
            self.member.note(f"{earlier}; no new request was sent")
        else:
            unsaved = (
                f"{earlier} that may not have saved its state; no new request was sent."
            )
            # The same `--replace` cannot be distinguished from a second try to save its state.
            again = (
                HintKind.RESTORE_BY_TRIGGERS
                if attempt.forced
                else HintKind.RESTORE_AGAIN
            )
            self.warn(unsaved, again)
            if not is_same:
                self.member.warn(another_snapshot(record))
        # Last, since a row shows the last text.
        onto = short_id(self.target)
        self.member.progress(f"restored {short_id(record.snapshot)}{when} onto {onto}")

    # The end --------------------------------------------------------------------------------------

    def _unresolved(
        self,
        why: str = "",
        *,
        undecided: bool = False,
        cause: ProviderError | None = None,
    ) -> RestorePending:
        """The error of an unknown end, see `NotFinished`; `why` the wait ended is a sentence."""
        watch = self.watch or StatusWatch(self.session, self.sent, self.show)
        self.attempt = watch.attempt
        record = self._record()
        request = watch.request
        seen = watch.seen()
        what = _requested(record)
        if request.outcome == SUCCESS:
            happened = (
                f"{what} and succeeded, but the database was not seen running since."
            )
        elif request.accepted:
            happened = (
                f"{what} and accepted, and {seen}: what it holds now is not known."
            )
        else:
            may = f"{what} and {request.unanswered}: it may or may not have been carried out."
            seen = seen[:1].upper() + seen[1:]
            happened = f"{may} {seen}, so what it holds now is not known."
        text = f"{happened} {why}".rstrip()
        # No state keeps a command's: if its outcome is known, there is nothing to wait for.
        is_done = self.is_command and request.outcome is not None
        return RestorePending(record, text, undecided=undecided or is_done, cause=cause)

    def failure(self, record: RestoreRecord) -> RestoreFailed:
        """Make the error of a restore that failed.

        Args:
            record: The restore, with its failure.

        Returns:
            The error, with the step in which the restore failed if a poll of this run has shown it.
        """
        shown = self.watch.shown if self.watch else None
        return failure_of(record, shown.step if shown else None)

    def _record(self) -> RestoreRecord:
        attempt = self.sent
        # An earlier run may have restored another snapshot than the inputs name now.
        database_id, version_id = split_id(attempt.source or self.inputs.snapshot)
        requested = to_the_second(attempt.request.requested)
        return RestoreRecord(
            database_id,
            version_id,
            self.target,
            requested,
            attempt=attempt.request,
            previous=self.previous,
        )


REFUSED = {
    "overtaken": (
        (
            "another run of the same resource has requested the restore of {what} at {at}, before "
            "this run's request could be sent"
        ),
        (HintKind.CHECK_DATA, HintKind.RUN_AGAIN),
    ),
    "unknown": (
        "the restore of {what} was requested at {at} by the same command, and its end was not seen",
        (HintKind.CHECK_DATA, HintKind.RESTORE_AGAIN),
    ),
    "renamed": (
        (
            "the restore of {what} was requested for {who} at {at}: this may be the same restore "
            "under another name"
        ),
        (HintKind.ADD_ALIAS, HintKind.BY_TRIGGERS),
    ),
    "rolled back": (
        (
            "the restore of {what} was requested for this very resource at {at}, and the state "
            "that this run has does not show its last restore: an older state was imported, "
            "or the resource is replaced without a refresh"
        ),
        (HintKind.CHECK_DATA, HintKind.BY_TRIGGERS, HintKind.REPLACE_WITH_REFRESH),
    ),
}
"""What happened and the next steps, by why the ledger refuses a restore; see `ClaimRefused`."""


def _refusal(refused: ClaimRefused, now: datetime) -> RestoreRefused:
    """The error of a restore that must not be sent, for a user.

    Args:
        refused: Why not.
        now: The service's time.
    """
    other = refused.attempt
    happened, steps = REFUSED[refused.why]
    told = happened.format(
        what=f"snapshot {other.source} onto database {other.database_id}",
        at=to_the_second(other.request.requested),
        who=requester(other),
    )
    name = (other.owner or "").rpartition("::")[2]
    then = [Hint(each, name=name) for each in steps]
    age = other.request.age(now)
    if refused.why == "unknown" and age < OUTCOME_KEPT:
        then.insert(0, Hint(HintKind.WATCH_LONGER, longer=time_out_beyond(age)))
    return RestoreRefused(told, NOTHING_SENT, then)


def failure_of(record: RestoreRecord, step: str | None = None) -> RestoreFailed:
    """Make the error of a restore that failed.

    Args:
        record: The restore, with its failure.
        step: What the service was doing when it failed; None if no poll has shown that.

    Returns:
        The error.
    """
    begins = f"{_requested(record)} and"
    return RestoreFailed.reported(
        begins, record.database_id, record.failure or "", step
    )


def _requested(record: RestoreRecord) -> str:
    onto = f"onto database {record.target_database_id}"
    return (
        f"The restore of snapshot {record.snapshot} {onto} was requested at "
        f"{record.requested_at}"
    )


class RestoreCalls(ActCalls):
    """Create, read, update and delete."""

    ends = RestorePending
    acts_again = HintKind.RESTORE_AGAIN
    act = staticmethod(restore)

    def stays(self, carried: RestoreRecord, inputs: RestoreInputs) -> bool:
        """Whether the restore was onto the same database, and did not fail."""
        return carried.target_database_id == inputs.target and not carried.failure

    async def read(self, _call: EngineCall, id_: str, state: Values) -> Resource:
        """Return what the state holds; no request is sent, since a restore acts once.

        Args:
            id_: The id in the state.
            state: The outputs in the state.

        Returns:
            The resource, as it is in the state.

        Raises:
            ResourceNotFinished: The restore has failed, or its end was not seen, so that the next
                `up` deals with it.
        """
        record = RestoreRecord.from_outputs(state)
        resource = Resource(id_, RESTORE.state(record, state))
        if record.failure:
            raise ResourceNotFinished(resource, failure_of(record))
        if record.pending:
            happened = (
                f"What database {record.target_database_id} holds is not known: the end of the "
                "restore that was requested "
                f"at {record.requested_at} was not seen"
            )
            raise ResourceNotFinished(
                resource, ProviderError(happened, then=[Hint(HintKind.KEEP_WAITING)])
            )
        return resource

    async def delete(self, call: EngineCall, _id: str, state: Values) -> None:
        """Forget the restore: nothing is sent, and the database keeps what it holds.

        Args:
            call: The call, whose listener gets a line about the restore.
            state: The outputs in the state.
        """
        record = RestoreRecord.from_outputs(state)
        kept = f"database {record.target_database_id} keeps what it holds"
        call.listener.note(f"forgotten: the restore of {record.snapshot}; {kept}")

    def resource(
        self, record: RestoreRecord, values: Values, id_: str | None = None
    ) -> Resource:
        """Return the resource, also of a restore that failed: the state keeps the failure."""
        resource = Resource(id_ or record.id, RESTORE.state(record, values))
        if record.failure:
            error = failure_of(record)
            raise ResourceNotFinished(resource, error, error.then)
        return resource
