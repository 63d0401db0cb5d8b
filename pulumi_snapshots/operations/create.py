"""Create and resume: one POST at most, then waiting for exactly the snapshot that it started."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.api.errors import Cooldown, NotSent, QuotaUsedUp, SquareCloudError, UnreadableAnswer
from pulumi_snapshots.api.models import Finished
from pulumi_snapshots.operations.describe import describe, describe_unlisted, requested_text
from pulumi_snapshots.operations.durations import duration_text
from pulumi_snapshots.operations.find import LATE, SKEW, AmbiguousSnapshot, Search, failed_after, find_ours, late_text
from pulumi_snapshots.operations.journal import Entry
from pulumi_snapshots.operations.memory import KnownAttempt
from pulumi_snapshots.operations.outcomes import NothingSent, Pending
from pulumi_snapshots.operations.quota import quota_hint
from pulumi_snapshots.operations.record import Attempt, SnapshotRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from pulumi_snapshots.api.models import ListedSnapshot
    from pulumi_snapshots.operations.inputs import SnapshotInputs
    from pulumi_snapshots.operations.session import Listener, Session

__all__ = ["create", "resume"]

PINNING = 5 * 60.0
"""Seconds after a 200 in which the listing should show the snapshot with its pinned URL."""
BACK_OFF = (5.0, 10.0, 20.0, 40.0, 80.0)
"""Seconds between refused POSTs: the account's cooldown is 5 s ..."""
BACK_OFF_LAST = 180.0
"""... and a database's is 180 s, so waiting longer gains nothing."""
JITTER = 0.1
"""Share of a pause that chance adds, so that clients which were refused together do not come back together."""
UNREACHABLE_TRIES = 3
CLEAR = SKEW + timedelta(seconds=1)
"""How long a POST waits after a snapshot of the same database: longer than the skew that finding it allows."""
HINTED_LOOKS = 180.0
"""Seconds of looking after a first KEEP_CALM: it may be our own earlier attempt that is still running."""
NOT_AWAITED = "not awaited"
"""How a POST was answered whose answer we did not stay for."""


async def create(
    session: Session, inputs: SnapshotInputs, listener: Listener, *, owner: str | None = None
) -> SnapshotRecord:
    """Take a snapshot and wait until the listing shows exactly it.

    Args:
        session: the service.
        inputs: checked.
        listener: hears how it goes.
        owner: the resource's name, as a user would give it to `--replace`.

    Returns:
        The record, complete.

    Raises:
        Pending: the snapshot was or may have been started, and the wait for it ended; keep the record.
        NothingSent: the time was over, or it was interrupted, before a request was sent.
        SquareCloudError: the service refused; nothing was started.
    """
    job = _Job(session, inputs, listener, owner)
    try:
        with session.until(inputs.timeout):
            async with job.alone():
                if await job.take_over():
                    return await job.wait()
                await job.settle_earlier_attempts()
                return await job.adopt() or await job.post() or await job.wait()
        return job.cut_short()
    finally:
        await job.leave_journal()


async def resume(
    session: Session,
    record: SnapshotRecord,
    inputs: SnapshotInputs,
    listener: Listener,
    *,
    owner: str | None = None,
) -> SnapshotRecord:
    """Go on waiting for a pending snapshot; never sends a POST.

    Args:
        session: the service.
        record: as the state keeps it.
        inputs: checked; the wait has its time-out anew.
        listener: hears how it goes.
        owner: the resource's name.

    Returns:
        The record, complete; `record` itself where it already was.

    Raises:
        Pending: still not there, or the service refuses to show the listing; keep the record.
    """
    if record.attempt is None or not record.pending:
        return record
    job = _Job(session, inputs, listener, owner, KnownAttempt(owner, record.attempt), resumed=True)
    with session.until(inputs.timeout):
        # Not alone: it starts nothing, and must not wait for another one that may never be found.
        return await job.wait()
    return job.cut_short()


@dataclass
class _Job:
    """One create or resume: what it has sent so far decides how it may end."""

    session: Session
    inputs: SnapshotInputs
    listener: Listener
    owner: str | None
    sent: KnownAttempt | None = None
    finished: Finished | None = None
    finished_at: datetime | None = None
    refused: SquareCloudError | None = None
    others: set[str] = field(default_factory=set)
    hinted: bool = False
    step: str = ""
    entry: Entry | None = None
    resumed: bool = False

    def _does(self, step: str) -> None:
        self.step = step
        self.listener.progress(step)

    def alone(self) -> anyio.Lock:
        """Keeps other jobs off this database: two snapshots at once could not be told apart."""
        lock = self.session.alone_on(self.inputs.database_id)
        if lock.locked():
            self._does("waiting for another snapshot of this database")
        return lock

    # The attempt journal ---------------------------------------------------------------------------------------------

    async def take_over(self) -> bool:
        """Whether an earlier run was killed in this very create, so that its POST is the one to wait for."""
        journal, memory, database_id = self.session.journal, self.session.memory, self.inputs.database_id
        await self._let_others_answer()
        for entry in await journal.of_others(database_id):
            known = KnownAttempt(entry.owner, entry.attempt)
            if timedelta(seconds=self._age(entry.attempt)) > failed_after(entry.attempt):
                await journal.erase(entry)
            elif self.owner is not None and entry.owner == self.owner and entry.purpose == self.inputs.purpose:
                self.resumed = True
                self._remember(known)
                self.entry = replace(entry, process=journal.process.name)
                await journal.write(self.entry)
                await journal.erase(entry)
                return True
            elif known not in memory.attempts(database_id):
                memory.begin(database_id, known)
        return False

    async def _let_others_answer(self) -> None:
        """Wait for the creates of other living processes on this database."""
        journal = self.session.journal
        while any(not journal.is_abandoned(one) for one in await journal.of_others(self.inputs.database_id)):
            self._does("waiting for another run's snapshot of this database")
            await self.session.clock.sleep(self.session.settings.look_every)

    async def _enter_journal(self, attempt: Attempt) -> None:
        """Before the POST leaves, and whenever more is known of it."""
        journal = self.session.journal
        self.entry = Entry(self.owner, self.inputs.database_id, self.inputs.purpose, attempt, journal.process.name)
        await journal.write(self.entry)

    async def leave_journal(self) -> None:
        """The create has answered, however it ended: what must be kept is in the state now."""
        if self.entry is not None:
            with anyio.CancelScope(shield=True):
                await self.session.journal.erase(self.entry)
        if note := self.session.take_note():
            self.listener.warn(note)

    # Before the POST -------------------------------------------------------------------------------------------------

    async def settle_earlier_attempts(self) -> None:
        """Wait until no earlier attempt on this database could be taken for ours.

        An attempt of this resource itself was given up by whoever asked for this create, and one whose answer was lost
        is looked for no longer than a snapshot takes; another resource's accepted one is waited for until it is found
        or has failed.
        """
        memory = self.session.memory
        for known in memory.attempts(self.inputs.database_id):
            given_up = known.owner is None or known.owner == self.owner
            longest = failed_after(known.attempt) if known.attempt.accepted and not given_up else LATE
            patience = (longest + CLEAR).total_seconds() - self._age(known.attempt)
            self._does("waiting for an earlier attempt on this database to show up")
            try:
                with anyio.move_on_after(max(0.0, patience)):
                    entry = await self._until_listed(known.attempt, first_after=0.0, of_another=known)
                    if entry is not None:
                        self.others.add(entry.version or "")
                        memory.appeared(self.inputs.database_id, entry.modified)
            except AmbiguousSnapshot as either:
                # Whichever it is, both were started before ours.
                self.others.update(entry.version or "" for entry in either.candidates)
            memory.resolve(self.inputs.database_id, known)

    async def adopt(self) -> SnapshotRecord | None:
        """The newest manual snapshot younger than `reuse_within`, if that is wanted and there is one."""
        if not self.inputs.reuse_within:
            return None
        self._does("looking for a snapshot to reuse")
        memory, database_id = self.session.memory, self.inputs.database_id
        page = await self.session.looks.database(database_id, self.session.clock.monotonic())
        youngest = self.session.client.service_clock.now() - timedelta(seconds=self.inputs.reuse_within)
        taken = memory.not_reusable(database_id) | self.others
        fitting = [
            (entry.modified, entry)
            for entry in page.entries
            if entry.origin == "manual"
            and entry.modified is not None
            and entry.modified >= youngest
            and entry.version not in taken
        ]
        if not fitting:
            return None
        return await self._claimed(max(fitting, key=lambda candidate: candidate[0])[1])

    # The POST --------------------------------------------------------------------------------------------------------

    async def post(self) -> SnapshotRecord | None:
        """Send the POST, again only if it certainly started nothing.

        Returns:
            A record only where the back-off found a snapshot to reuse, so that none was sent.
        """
        self._does("waiting for its turn")
        self._note_known_posts()
        await self._keep_clear()
        back_off = self._back_off()
        unreachable = 0
        while True:
            try:
                answer = await self.session.client.start_snapshot(
                    self.inputs.database_id, on_send=self._leaves, tell=self.listener.progress
                )
            except SquareCloudError as error:
                if error.ambiguous:
                    await self._answered(_how_lost(error))
                    return None
                await self._started_nothing(error)
                if isinstance(error, QuotaUsedUp) and not error.unsent:
                    error.hint = await quota_hint(self.session, self.inputs.database_id)
                unreachable += isinstance(error, NotSent)
                if not isinstance(error, Cooldown | NotSent) or unreachable == UNREACHABLE_TRIES:
                    raise
                if isinstance(error, Cooldown) and (record := await self._adopt_hinted()):
                    return record
                pause = next(back_off)
                self.step = "waiting to try again"
                why = error.code or "not reached"
            else:
                self.finished = answer if isinstance(answer, Finished) else None
                await self._answered("200" if self.finished else "202")
                return None
            self.listener.progress(f"{why}: nothing was started, trying again in {pause:.0f} s")
            await self.session.clock.sleep(pause)

    async def _adopt_hinted(self) -> SnapshotRecord | None:
        """KEEP_CALM on the first POST: look whether an earlier attempt of ours was still running."""
        if self.hinted or not self.inputs.reuse_within:
            return None
        self.hinted = True
        ends = self.session.clock.monotonic() + HINTED_LOOKS
        while self.session.clock.monotonic() < ends:
            self.listener.progress("KEEP_CALM: looking whether an earlier attempt is still running")
            await self.session.clock.sleep(self.session.settings.look_every)
            if record := await self.adopt():
                return record
        return None

    def _note_known_posts(self) -> None:
        database_id = self.inputs.database_id
        newest = self.session.memory.newest_creation(database_id)
        if newest is not None:
            age = (self.session.client.service_clock.now() - newest).total_seconds()
            self.session.gate.note_earlier_post(database_id, age)

    async def _keep_clear(self) -> None:
        """Let the newest snapshot that we know lie clearly before our POST.

        One that ended within the skew before it would count as after it, for a later run that does not know whose it is.
        """
        newest = self.session.memory.newest_appearance(self.inputs.database_id)
        if newest is not None:
            age = self.session.client.service_clock.now() - newest
            # Where the service's clock is not known it may seem to lie in the future; it never does.
            await self.session.clock.sleep((CLEAR - max(age, timedelta(0))).total_seconds())

    async def _leaves(self) -> None:
        """From here on the snapshot may be under way."""
        self.listener.progress("sent, waiting for the answer (up to 2 minutes)")
        attempt = Attempt(
            posted_at=self.session.clock.utc(),
            service_clock_offset=self.session.client.service_clock.offset,
            answered=NOT_AWAITED,
            timeout=self.inputs.timeout,
        )
        await self._enter_journal(attempt)
        self._remember(KnownAttempt(self.owner, attempt))

    async def _answered(self, how: str) -> None:
        if self.sent is None:
            raise AssertionError  # only what has left is answered
        offset = self.session.client.service_clock.offset
        attempt = self.sent.attempt
        known = attempt.service_clock_offset if offset is None else offset
        self.finished_at = self.session.client.service_clock.now() if self.finished else None
        attempt = replace(attempt, answered=how, service_clock_offset=known)
        self._remember(replace(self.sent, attempt=attempt))
        await self._enter_journal(attempt)

    async def _started_nothing(self, error: SquareCloudError) -> None:
        self.refused = error
        self._remember(None)
        if self.entry is not None:
            await self.session.journal.erase(self.entry)
            self.entry = None

    def _remember(self, sent: KnownAttempt | None) -> None:
        """Keep the run's memory of our attempt in step with ours."""
        memory, database_id = self.session.memory, self.inputs.database_id
        if self.sent is not None:
            memory.resolve(database_id, self.sent)
        self.sent = sent
        if sent is not None:
            memory.begin(database_id, sent)

    def _back_off(self) -> Iterator[float]:
        for pause in BACK_OFF:
            yield pause * (1 + JITTER * self.session.chance.random())
        while True:
            yield BACK_OFF_LAST * (1 + JITTER * self.session.chance.random())

    # After the POST --------------------------------------------------------------------------------------------------

    async def wait(self) -> SnapshotRecord:
        """Wait until a listing shows the snapshot of our POST."""
        if self.sent is None:
            raise AssertionError  # only what was sent is waited for
        attempt = self.sent.attempt
        try:
            if self.finished is not None:
                with anyio.move_on_after(PINNING):
                    return await self._found(await self._until_listed(attempt, first_after=0.0))
                if self.finished.version is not None:
                    return self._unlisted(self.finished.version)
            return await self._found(await self._until_listed(attempt, first_after=self._first_look(attempt)))
        except (SquareCloudError, AmbiguousSnapshot) as error:
            if self.finished is not None and self.finished.version is not None:
                return self._unlisted(self.finished.version, str(error).rstrip("."))
            raise Pending(self._record(), f"{self._sent_text()} {_sentence(error)}") from None

    async def _until_listed(
        self, attempt: Attempt, *, first_after: float, of_another: KnownAttempt | None = None
    ) -> ListedSnapshot | None:
        """Look until a listing shows the snapshot of `attempt`; ends only with it, or with a look that is refused.

        Returns:
            The entry; None only where the attempt is another's, who has found or given up its snapshot meanwhile.
        """
        clock, looks, every = self.session.clock, self.session.looks, self.session.settings.look_every
        begun = clock.monotonic()
        pause = first_after
        number = 0
        while True:
            number += 1
            if pause:
                self.listener.progress(f"{_state_text(attempt)}; look {number} at {self._time_in(pause)} UTC")
                await clock.sleep(pause)
            if of_another and of_another not in self.session.memory.attempts(self.inputs.database_id):
                return None
            if self.session.gate.blocked:
                self.listener.progress(f"{_state_text(attempt)}; waiting for the end of the account's block")
            try:
                page = await looks.pending(
                    self.inputs.database_id, number, since=max(begun, clock.monotonic() - every / 2)
                )
            except SquareCloudError as error:
                if not error.passing:
                    raise
                self.listener.progress(f"look {number} failed ({error.code or error.status or 'no answer'})")
            else:
                version = self.finished.version if self.finished else None
                entry = page.version(version) if version else find_ours(page.entries, self._search(attempt))
                if entry is not None:
                    return entry
            pause = every

    def _search(self, attempt: Attempt) -> Search:
        excluded = self.session.memory.not_new(self.inputs.database_id) | self.others
        offset = self.session.client.service_clock.offset
        return Search.of(attempt, offset, finished=self.finished_at, excluded=excluded)

    def _first_look(self, attempt: Attempt) -> float:
        """Seconds until the first look: a page that is asked for too early may be frozen without our snapshot."""
        settings = self.session.settings
        if self.finished is not None:
            return settings.look_every
        after = settings.first_look_after
        if self.session.looks.sees_new_at_once:
            after = min(after, settings.look_every)
        if attempt.answered == NOT_AWAITED or self.resumed:
            after -= self._age(attempt)
        return max(0.0, after)

    def _age(self, attempt: Attempt) -> float:
        """Seconds since its POST; none where another machine's clock puts it into the future."""
        return max(0.0, (self.session.clock.utc() - attempt.posted_at).total_seconds())

    async def _found(self, entry: ListedSnapshot | None) -> SnapshotRecord:
        if self.sent is None or entry is None:
            raise AssertionError  # only what was sent is found
        attempt = self.sent.attempt
        search = self._search(attempt)
        if search.is_late(entry):
            self.listener.warn(late_text(self.inputs.database_id, entry, search))
        record = await self._claimed(entry, requested=search.posted)
        self._remember(None)
        return record

    async def _claimed(self, entry: ListedSnapshot, *, requested: datetime | None = None) -> SnapshotRecord:
        database_id = self.inputs.database_id
        base_url = self.finished.url if self.finished else None
        record = await describe(self.session, database_id, entry, base_url=base_url, requested=requested)
        self.session.memory.claim(database_id, record.version_id or "")
        self.session.memory.appeared(database_id, entry.modified)
        self.listener.progress(f"found snapshot {record.version_id}")
        return record

    def _unlisted(self, version_id: str, why: str = "the service does not list it yet") -> SnapshotRecord:
        """The snapshot is there and its version known, but no listing shows it."""
        if self.sent is None or self.finished is None:
            raise AssertionError  # only a 200 comes here
        self.listener.warn(
            f"the download URL of snapshot {self.inputs.database_id}/{version_id} serves the newest snapshot of the database, "
            f"whichever that is, until `pulumi refresh` finds this one in the listing and pins it: {why}"
        )
        requested = self._search(self.sent.attempt).posted
        self.session.memory.claim(self.inputs.database_id, version_id)
        self._remember(None)
        return describe_unlisted(self.inputs.database_id, version_id, self.finished, requested)

    # The end ---------------------------------------------------------------------------------------------------------

    def cut_short(self) -> SnapshotRecord:
        """The time is over or the run was interrupted: what was sent decides.

        Raises:
            Pending: a POST may have started a snapshot.
            NothingSent: none was.
        """
        if self.finished is not None and self.finished.version is not None:
            return self._unlisted(self.finished.version)
        ended = (
            "The wait was interrupted"
            if self.session.stopping
            else f"The wait ended after {duration_text(self.inputs.timeout)}"
        )
        if self.sent is not None:
            raise Pending(self._record(), f"{self._sent_text()} {ended}.")
        last = f" Last refusal: {self.refused}" if self.refused else ""
        raise NothingSent(
            f"No snapshot of database {self.inputs.database_id} was started. {ended}, while {self.step}.{last}"
        )

    def _record(self) -> SnapshotRecord:
        if self.sent is None:
            raise AssertionError  # only what was sent is kept
        attempt = self.sent.attempt
        requested = requested_text(self._search(attempt).posted)
        return SnapshotRecord(self.inputs.database_id, attempt=attempt, requested_at=requested)

    def _sent_text(self) -> str:
        attempt = self.sent.attempt if self.sent else None
        if attempt is None:
            raise AssertionError  # only what was sent is described
        at = requested_text(self._search(attempt).posted)
        who = f"A snapshot of database {self.inputs.database_id}"
        if attempt.accepted:
            return f"{who} was requested at {at} and accepted ({attempt.answered}), but is not listed yet."
        return (
            f"{who} was requested at {at} and the answer was lost ({attempt.answered}): it may or may not have been "
            "started, and is not listed yet."
        )

    def _time_in(self, seconds: float) -> str:
        return f"{self.session.clock.utc() + timedelta(seconds=seconds):%H:%M:%S}"


def _how_lost(error: SquareCloudError) -> str:
    """How a POST ended in doubt, in a few words; never just `200`, which would say that it was accepted."""
    if isinstance(error, UnreadableAnswer):
        return f"unreadable {error.status}"
    return " ".join(str(part) for part in (error.status, error.code) if part) or error.message or "no answer"


def _state_text(attempt: Attempt) -> str:
    return "accepted, not listed yet" if attempt.accepted else f"answer lost ({attempt.answered}), looking for it"


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
