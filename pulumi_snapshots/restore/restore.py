"""Restore and resume: one POST at most, then watching it until what the database holds is known."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from pulumi_snapshots.clock import parse_rfc3339, time_text, to_the_second
from pulumi_snapshots.errors import Explained, Next, Step, Text, Unresolved, not_listed
from pulumi_snapshots.ledger.attempt import Attempt, ClaimRefused, Status, is_resource
from pulumi_snapshots.listing.polling import wait_for_version
from pulumi_snapshots.restore.record import (
    RESTORE,
    SUCCESS,
    RestoreInputs,
    RestoreRecord,
    another_snapshot,
)
from pulumi_snapshots.restore.status import NeverSeen, StatusWatch, clear_of_others
from pulumi_snapshots.run.calls import ActCalls, EngineCall, Resource, Unfinished
from pulumi_snapshots.run.memory import Listener, Member
from pulumi_snapshots.run.session import Operation, Session, TimeIsUp
from pulumi_snapshots.service.errors import RestoreFailed, SquareCloudError, is_new
from pulumi_snapshots.service.limits import RESTORE as LANE
from pulumi_snapshots.snapshot.record import short_id, split_id

NOT_RESTORED = "Nothing was restored."
T = TypeVar("T")
UNPROVED = "no later run has shown that its state was saved: this may be the same restore under another name"
UNSHOWN = "this run was not shown that the state has it: an older checkpoint was imported, or the restore is replaced without a refresh"


class RestorePending(Unresolved[RestoreRecord]):
    """The restore was started, or may have been, and its end was not seen. It must be kept."""

    steps_if_pending = (Next(Step.KEEP_WAITING), Next(Step.RESTORE_AGAIN))
    steps_if_undecided = (Next(Step.CHECK_RESTORED), Next(Step.RESTORE_AGAIN))


class RestoreRefused(Explained):
    """A restore that must not be sent."""


async def restore(  # noqa: PLR0913  what is known of it
    session: Session,
    inputs: RestoreInputs,
    listener: Listener,
    owner: str | None = None,
    *,
    fresh: bool = False,
    earlier: RestoreRecord | None = None,
) -> RestoreRecord:
    """Put a snapshot back and wait until that has succeeded and its database runs again; see `Restoring`.

    One of an `earlier` run is only watched, with the whole time-out again; it comes back complete or with its failure. Raises
    `RestorePending` if it was or may have been started, so that the record must be kept, `RestoreFailed` if it was carried out
    and failed; otherwise nothing was started.
    """
    if earlier is not None and (earlier.failure or earlier.attempt is None):
        return earlier
    if earlier is not None:  # the inputs may name another snapshot by now
        restored = {
            name: getattr(earlier, name)
            for name in ("database_id", "version_id", "target_database_id")
        }
        inputs = replace(inputs, **restored)
    restoring = Restoring(session, inputs, Member(session.fleet, listener), owner, fresh=fresh)
    if earlier is not None and earlier.attempt is not None:
        restoring.operation.resume(earlier.attempt)
    record = await restoring.in_time(restoring.carry_out())
    if record.failure and earlier is None:
        raise restoring.failure(record)
    return record


@dataclass(eq=False)
class Restoring:
    """One restore or resume, a drill's too.

    With `fresh` another one is wanted, whatever earlier runs have left. `before` finds out, before a request, whether it must
    not be sent, and gets the snapshot's engine, if that is known. Others must stay away for `holds` after it, as after a
    drill's, which may share its database with others.
    """

    session: Session
    inputs: RestoreInputs
    member: Member
    owner: str | None
    _: KW_ONLY
    fresh: bool = False
    not_done: str = ""
    before: Callable[[str | None], Awaitable[None]] | None = None
    holds: timedelta | None = None
    watch: StatusWatch | None = None  # once a request was sent

    def __post_init__(self) -> None:
        inputs, not_done = (
            self.inputs,
            self.not_done or f"Database {self.inputs.target} was not restored.",
        )
        self.operation = Operation(
            self.session,
            self.member,
            "restore",
            self.owner,
            inputs.target,
            triggers=inputs.triggers,
            not_done=not_done,
            timeout=inputs.timeout,
            fresh=self.fresh,
            source=inputs.snapshot,
        )
        self.taken = parse_rfc3339(inputs.created_at) if inputs.created_at else None

    async def in_time(self, work: Awaitable[T]) -> T:
        """Do the work within the time-out; raises as `restore` does."""
        try:
            return await self.operation.in_time(work)
        except TimeIsUp as why:
            raise self._unresolved(str(why)) from None
        except ClaimRefused as refused:
            raise _refused(refused) from None

    async def carry_out(self) -> RestoreRecord:
        """Restore, unless an earlier run has, and watch until it is over."""
        await self.sent()
        return await self.ended()

    # Before the request --------------------------------------------------------------------------------------------------

    async def sent(self) -> None:
        """Make sure that a request was sent; the user reads of an earlier run's."""
        operation, name = self.operation, None
        while (claim := await operation.next_claim()) is not None:
            if claim.role == "in the way":
                await operation.wait_out(claim.attempt, self._settle)
                continue
            name = name or await self._prepared()
            previous = await clear_of_others(self.session, self.inputs.target, operation.show)
            operation.intent = replace(operation.intent, previous=previous)
            path = f"POST /databases/{self.inputs.target}/snapshots/restore"
            try:
                await operation.send(LANE, path, partial(self._post, name))
            except SquareCloudError as refusal:
                await operation.try_again(refusal)

    async def _post(self, name: str, leave_by: datetime) -> str:
        asked: Any = {"name": name, "version_id": self.inputs.version_id, "leave_by": leave_by}
        answer = await self.session.client.restore_snapshot(self.inputs.target, **asked)
        return "202" if answer.continues else "200"

    async def _settle(self, other: Attempt) -> None:
        """Wait until another restore of this database is over, and enter its end for its owner."""
        watch = StatusWatch(self.session, other, partial(self.operation.show_other, other))
        try:
            restored = await watch.until_over()
        except NeverSeen:  # no run will ever know, so none has to wait for it
            self.operation.ignore(other)
            return
        result = (watch.request.outcome or "") if restored is None else to_the_second(restored)
        await self.session.ledger.ended(other, result, failed=restored is None)

    async def _prepared(self) -> str:
        """Find out whether the request must not be sent; returns the name of the snapshot's storage object."""
        session, inputs, operation = self.session, self.inputs, self.operation
        database_id, version_id = which = inputs.database_id, inputs.version_id
        if database_id == inputs.target and version_id in session.memory.of(database_id).claimed:
            happened = f"snapshot {inputs.snapshot} is new in this same run, so there is nothing to go back to yet"
            raise RestoreRefused(happened, NOT_RESTORED, [Next(Step.TAKE_RESTORE_OUT)])
        name, runtime = inputs.name, inputs.runtime
        if name is None:
            operation.show("looking up the snapshot")
            entry = await session.listings.find_version(*which) or await session.listings.unlisted(
                *which
            )
            if entry is None or not entry.name:
                entry, by = await wait_for_version(
                    session.poll_plan, *which, self.member.waits, patience=inputs.timeout
                )
                if entry is None:
                    happened, then = not_listed(*which, by)
                    raise RestoreRefused(happened, NOT_RESTORED, then)
            name, runtime, self.taken = entry.name, entry.runtime, entry.modified
        if runtime is not None and database_id != inputs.target:
            operation.does("comparing the engines")
            with suppress(SquareCloudError):  # the service compares them too
                target = await session.listings.database(inputs.target, session.clock.monotonic())
                if target.type not in {None, runtime}:
                    happened = f"snapshot {inputs.snapshot} is of a {runtime} database, and database {inputs.target} is {target.type}"
                    raise RestoreRefused(happened, NOT_RESTORED, [Next(Step.USE_SAME_ENGINE)])
        if self.before is not None:
            await self.before(runtime)
        operation.does("checking that the database runs")
        return name

    # After the request ---------------------------------------------------------------------------------------------------

    async def ended(self) -> RestoreRecord:
        """Watch the restore until it is over; raises `RestorePending`, or a refusal with a code that is new, which started nothing."""
        operation = self.operation
        async with self.session.locks[operation.sent.id]:
            await operation.newest()
            attempt = operation.sent
            if attempt.status is Status.FOUND:
                return self._told(
                    replace(self._record(), restored_at=attempt.result, attempt=None), attempt
                )
            refusal = operation.refusal if operation.refusal and is_new(operation.refusal) else None
            watch = self.watch = StatusWatch(self.session, attempt, operation.show, refusal)
            try:
                restored = await watch.until_over()
            except NeverSeen as never:
                raise self._unresolved(undecided=True) from never
            except SquareCloudError as error:
                if error is not watch.refusal:
                    raise self._unresolved(cause=error) from error
                await operation.withdraw()
                error.done = (
                    "Nothing was restored: by the service's status no restore has begun since."
                )
                raise
            operation.attempt = watch.attempt
            record = self._record()
            if restored is None:
                await operation.enter_result(record.failure or "", failed=True)
                return record
            restored_at = to_the_second(restored)
            await operation.enter_result(restored_at, holds=self.holds)
            return self._told(replace(record, restored_at=restored_at, attempt=None), attempt)

    def _told(self, record: RestoreRecord, attempt: Attempt) -> RestoreRecord:
        """Leave a line about the restore, a warning if it is one of an earlier run of which no state may know."""
        is_same = record.snapshot == self.inputs.snapshot
        when = (
            f", taken {time_text(self.taken, self.session.service_clock.now())},"
            if self.taken and is_same
            else ""
        )
        what = f"restored {record.snapshot}{when} onto database {self.inputs.target}"
        earlier = f"{what}, requested at {record.requested_at} by an earlier run"
        if not self.operation.resumed:
            if self.holds is None and is_resource(
                attempt.owner
            ):  # a drill and a command show more at their ends
                self.member.note(what)
        elif attempt.proved:
            self.member.note(f"{earlier}; no new request was sent")
        else:
            unsaved = f"{earlier} that may not have saved its state; no new request was sent."
            self.member.warn(
                Text("{unsaved} {then}", unsaved=unsaved, then=Next(Step.RESTORE_AGAIN))
            )
            if not is_same:
                self.member.warn(another_snapshot(record))
        # Last, since a row shows the last text.
        self.member.progress(
            f"restored {short_id(record.snapshot)}{when} onto {short_id(self.inputs.target)}"
        )
        return record

    # The end -------------------------------------------------------------------------------------------------------------

    def _unresolved(
        self, why: str = "", *, undecided: bool = False, cause: Explained | None = None
    ) -> RestorePending:
        """The error of an unknown end, see `Unresolved`; `why` the wait ended is a sentence."""
        watch = self.watch or StatusWatch(self.session, self.operation.sent, self.operation.show)
        self.operation.attempt = watch.attempt
        record, request, seen = self._record(), watch.request, watch.seen()
        what = _requested(record)
        if request.outcome == SUCCESS:
            happened = f"{what} and succeeded, but the database was not seen running since."
        elif request.accepted:
            happened = f"{what} and accepted, and {seen}: what it holds now is not known."
        else:
            seen = seen[:1].upper() + seen[1:]
            happened = f"{what} and {request.unanswered}: it may or may not have been carried out. {seen}, so what it holds now is not known."
        return RestorePending(
            record, f"{happened} {why}".rstrip(), undecided=undecided, cause=cause
        )

    def failure(self, record: RestoreRecord) -> RestoreFailed:
        """The error of a restore that failed, with the step in which it did."""
        shown = self.watch.shown if self.watch else None
        return failure_of(record, shown.step if shown else None)

    def _record(self) -> RestoreRecord:
        attempt = self.operation.sent
        # An earlier run may have restored another snapshot than the inputs name now.
        database_id, version_id = split_id(attempt.source or self.inputs.snapshot)
        requested = to_the_second(attempt.request.requested)
        return RestoreRecord(
            database_id, version_id, self.inputs.target, requested, attempt=attempt.request
        )


def _refused(refused: ClaimRefused) -> RestoreRefused:
    """The error of a restore that must not be sent, for a user."""
    other, then = (
        refused.attempt,
        [Next(Step.CHECK_DATA), Next(Step.SHOW_OTHER), Next(Step.BY_TRIGGERS)],
    )
    what, onto = f"snapshot {other.source}", f"onto database {other.database_id}"
    if refused.why == "overtaken":
        happened = f"another run of the same resource has requested the restore of {what} {onto} before this run's request could be sent"
        return RestoreRefused(happened, NOT_RESTORED, [Next(Step.RUN_AGAIN)])
    whom, why = f"{other.owner}", UNPROVED
    if refused.why == "done":
        whom, why, then[1] = "this very resource", UNSHOWN, Next(Step.RESTORE_AGAIN)
    at = other.result if other.is_over else to_the_second(other.request.requested)
    return RestoreRefused(
        f"{what} was restored {onto} for {whom} at {at}, and {why}", NOT_RESTORED, then
    )


def failure_of(record: RestoreRecord, step: str | None = None) -> RestoreFailed:
    """The error of a restore that failed; `step` is what the service was doing."""
    return RestoreFailed.reported(
        f"{_requested(record)} and", record.database_id, record.failure or "", step
    )


def _requested(record: RestoreRecord) -> str:
    onto = f"onto database {record.target_database_id}"
    return (
        f"The restore of snapshot {record.snapshot} {onto} was requested at {record.requested_at}"
    )


class RestoreCalls(ActCalls):
    """Create, read, update and delete."""

    ends, act = RestorePending, staticmethod(restore)

    def stays(self, carried: RestoreRecord, inputs: RestoreInputs) -> bool:
        """Whether it was onto the same database, and did not fail."""
        return carried.target_database_id == inputs.target and not carried.failure

    async def read(self, _call: EngineCall, id_: str, state: Mapping[str, Any]) -> Resource:
        """Return what the state holds; no request is sent, since a restore acts once."""
        record = RestoreRecord.from_outputs(state)
        resource = Resource(id_, RESTORE.state(record, state))
        if record.failure:
            raise Unfinished(resource, failure_of(record))
        if record.pending:
            happened = (
                f"What database {record.target_database_id} holds is not known: the end of the restore that was requested "
                f"at {record.requested_at} was not seen"
            )
            raise Unfinished(resource, Explained(happened, then=[Next(Step.KEEP_WAITING)]))
        return resource

    async def delete(self, call: EngineCall, _id: str, state: Mapping[str, Any]) -> None:
        """Forget it: nothing is sent, and the database keeps what it holds."""
        record = RestoreRecord.from_outputs(state)
        kept = f"database {record.target_database_id} keeps what it holds"
        call.listener.note(f"forgotten: the restore of {record.snapshot}; {kept}")

    def resource(
        self, record: RestoreRecord, values: Mapping[str, Any], id_: str | None = None
    ) -> Resource:
        """The resource, also if it failed: what is known of a failure is kept, since the service forgets it."""
        resource = Resource(id_ or record.id, RESTORE.state(record, values))
        if record.failure:
            error = failure_of(record)
            raise Unfinished(resource, error, error.then)
        return resource
