"""The attempt to start one snapshot or restore: one POST, which is never sent twice when in doubt.

Every POST that starts something is sent inside `Attempt.running`. It holds the lock on the database, resumes the POST of a
killed run, keeps the journal up to date, backs off after refusals, and raises the right error if the wait ends early. A
subclass defines what is started. The body of the `async with` sends the POST and waits for the result.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import Any, ClassVar, Protocol

import anyio

from pulumi_snapshots.api.client import POST_READ_TIMEOUT
from pulumi_snapshots.api.errors import Cooldown, NotSent, SquareCloudError, UnreadableAnswer
from pulumi_snapshots.api.pacing.limits import SNAPSHOT_PER_DATABASE
from pulumi_snapshots.api.service_clock import ServiceClock
from pulumi_snapshots.attempt.journal import ENTRY_KEPT, AttemptJournal, Entry, Found
from pulumi_snapshots.attempt.owner import Asker, owner_of
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.outcomes import NothingSent, Unresolved
from pulumi_snapshots.errors.text import Text, TimeOfDay, Words
from pulumi_snapshots.progress import Member
from pulumi_snapshots.properties.durations import spoken

BACK_OFF = (5.0, 10.0, 20.0, 40.0, 80.0)
"""Seconds between refused POSTs. They begin with the shortest cooldown, the account's 5 s."""
BACK_OFF_LAST = SNAPSHOT_PER_DATABASE
"""Seconds between all later POSTs: the longest cooldown. The rate limiter keeps the cooldowns of restores."""
JITTER = 0.1
"""The largest random addition to a pause, as a share of it, so that clients refused together do not return together."""
UNREACHABLE_TRIES = 3
"""The number of tries if the service cannot be reached."""
ENTERED_WITHIN = timedelta(seconds=1)
"""How long the entry of a POST may take to be written. The POST leaves only then, and others may take a snapshot before."""
ENTER_TRIES = 3
"""How often an entry is written with a later time, because that took longer."""
NOT_AWAITED = "not awaited"
"""`Post.answered` if the run ended before the answer came."""
NOBODY = ""
"""`Entry.process` of what no process waits for any more, though the one that did may still run."""


class AttemptContext(Protocol):
    """The parts of a `Session` that an attempt needs."""

    clock: Clock
    service_clock: ServiceClock
    chance: random.Random
    poll_every: float
    stopping: bool
    journals: dict[str, AttemptJournal]

    def lock(self, what: str, database_id: str) -> anyio.Lock: ...  # noqa: D102
    def until(self, seconds: float) -> AbstractContextManager[Any]: ...  # noqa: D102
    def take_note(self) -> Words: ...  # noqa: D102


class HeldBack(NotSent):
    """This POST was not sent, since another run has sent one for this database in the meantime."""


class Attempt(ABC):
    """One POST, from before it is sent until its result is known.

    Args:
        run: the session.
        database_id: the database that the POST is sent for.
        member: gets the progress.
        asker: who asks for it.
        purpose: a digest of the triggers, see `Entry`.
        timeout: seconds for the whole operation.
        restores: see `Entry`.

    Attributes:
        owner: see `owner_of`.
        post: the POST that may have started something; None if there is none.
        resumed: whether an earlier run sent it.
        finished: the result that an earlier run had of it, see `Entry`; None if it is still to be waited for.
        carried: whether it is from this run's own state, which had it until the engine deleted it.
        held_back: whether the POST was ready to be sent, but another run was faster, or could take this one for dead.
        step: what the operation is doing, for the error of an early end.
        rival: see `Post.earlier`.
    """

    what: ClassVar[str]
    """What the POST starts, in one word; names its journal and its lock."""
    passing: ClassVar[tuple[type[SquareCloudError], ...]] = (Cooldown,)
    """The refusals after which the same POST may succeed later."""
    supersedes: ClassVar[bool] = False
    """Whether the POST makes the owner's earlier entries in the journal obsolete even if their result is not known."""
    for_resource: ClassVar[bool] = True
    """Whether a resource is to keep the result. If not, the journal alone has what is pending or done, also for this process."""

    def __init__(  # noqa: PLR0913  the fields of an entry, and the context
        self,
        run: AttemptContext,
        database_id: str,
        member: Member,
        asker: Asker,
        *,
        purpose: str,
        timeout: float,
        restores: str | None = None,
    ) -> None:
        self.post: Post | None = None
        self.resumed = False
        self.finished: str | None = None
        self.carried = False
        self.held_back = False
        self.step = ""
        self.rival: datetime | None = None
        self.member = member
        self.database_id = database_id
        self.owner = owner_of(asker.owner)
        self.restores = restores
        self._run = run
        self._journal = run.journals[self.what]
        self._lock = run.lock(self.what, database_id)
        self._purpose = purpose
        self._timeout = timeout
        self._give_up_earlier = asker.gives_up_earlier
        self._engine = asker.engine
        self._entry: Entry | None = None  # as in the journal
        self._here: Post | None = None  # the POST that the state has, by this machine's clock
        self._found: Found | None = None
        self._handled: list[Entry] = []
        self._refused: SquareCloudError | None = None
        self._unreachable = 0
        self._pauses = self._back_off()

    # For subclasses -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def unresolved_error(
        self, why: str = "", *, undecided: bool = False, cause: Explained | None = None
    ) -> Unresolved[Any]:
        """Make the error for a POST that was or may have been carried out, and whose result is not known.

        Args:
            why: why the wait ended; a sentence.
            undecided: whether waiting longer would end in the same way.
            cause: the error that ended the wait, if there was one.
        """

    @property
    @abstractmethod
    def not_done(self) -> str:
        """What was not done if no POST was sent; a sentence."""

    def note_other(self, entry: Entry) -> None:  # noqa: B027  most have nothing to do
        """Called for each POST of another operation on this database, whether or not its result is known."""

    def on_entered(self, found: frozenset[str]) -> None:  # noqa: B027  most have nothing to do
        """Called when the entry is in the journal, so that no other run sends a POST; with what was found before that."""

    def leaves_doubt(self, error: SquareCloudError) -> bool:
        """Whether a failed POST may have started something."""
        return error.ambiguous

    def set_post(self, post: Post | None) -> None:
        """Set the POST that may have started something; None if there is none."""
        self.post = post

    def completes_early(self) -> bool:
        """Whether the operation completes although its wait ended early."""
        return False

    def may_resume(self, entry: Entry) -> bool:  # noqa: ARG002  most may
        """Whether what an earlier run of this operation has sent may be completed instead of sending another POST."""
        return True

    async def prepare_again(self) -> bool:
        """Called before the POST is tried again, after another run sent one for this database.

        Returns:
            Whether what that has started will do, so that no POST is needed any more.
        """
        return False

    # The operation --------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, post: Post | None = None) -> AsyncIterator[None]:
        """Run the operation in the body. `self.post` shows whether there is already a POST to wait for.

        Args:
            post: the POST of an earlier run, from the state. It is only waited for, so no lock is needed.

        Raises:
            Unresolved: the wait timed out or was interrupted, and the POST was or may have been carried out.
            NothingSent: the wait timed out or was interrupted before a POST was sent.
        """
        complete = False
        try:
            with self._run.until(self._timeout):
                async with AsyncExitStack() as held:
                    await held.enter_async_context(self._journal.kept_alive())
                    if post is None:
                        if self._lock.locked():
                            self.show_step(f"waiting for another {self.what} of this database")
                        await held.enter_async_context(self._lock)
                        await self.take_over()
                    else:
                        await self._resume(post)
                    yield
                    complete = True
            if not complete and not self.completes_early():
                raise self._early_end()
        finally:
            await self._update_journal()

    def _early_end(self) -> Exception:
        why = "The wait was interrupted" if self._run.stopping else f"The wait ended after {spoken(self._timeout)}"
        self._pin()
        if self.post is not None:
            return self.unresolved_error(f"{why}.")
        happened = f"{self.not_done} {why}, while {self.step}"
        if self._refused is None:
            return NothingSent(happened)
        return NothingSent(f"{happened}. Last refusal: {self._refused}", then=self._refused.then)

    async def _update_journal(self) -> None:
        """Record the result that goes to the engine at the end of the operation."""
        if self._entry is not None:
            with anyio.CancelScope(shield=True):
                await self._end_entry(self._entry)
        if note := self._run.take_note():
            self.member.warn(note)

    async def _end_entry(self, entry: Entry) -> None:
        # If the state does not keep what is pending, the next create must find it.
        is_told = self.member.will_keep(pending=self.post is not None)
        is_asked_again = not self.for_resource or self.member.is_asked_again
        if self.post is not None:
            if not self.for_resource:
                await self._journal.update(replace(entry, post=self.post, process=NOBODY))
            elif is_told:
                pending = replace(entry, post=self.post, in_state=True)
                await self._journal.conclude(pending, supersedes=self.supersedes)
        elif self.finished is None or entry.proved or entry.owner is None or not is_asked_again:
            await self._journal.erase(entry, self._found)
        else:
            await self._journal.conclude(
                replace(entry, finished=self.finished), self._found, supersedes=self.supersedes
            )

    # Before the POST -----------------------------------------------------------------------------------------------------

    def show_step(self, text: str, detail: Words = "", *, until: datetime | None = None, why: str = "") -> None:
        """Show what the operation does before the POST; see `Member.waits`."""
        self.step = f"{text}, since {why}" if why else text
        self.member.waits(text, detail, until=until, why=why)

    async def take_over(self) -> bool:
        """Take over the POST of an earlier run of this operation that no state has; false if there is none.

        First waits for the operations of other running processes on this database. Calls `note_other` once for each other
        POST.
        """
        while any(map(self._journal.is_under_way, entries := await self._journal.of(self.database_id))):
            self.show_step(f"waiting for another run's {self.what} of this database")
            await self._run.clock.sleep(self._run.poll_every)
        taken: Entry | None = None
        for entry in list(reversed(entries)):  # what was asked for last comes first
            if not entry.run and self.age_of(entry.post) > ENTRY_KEPT.total_seconds():
                await self._journal.erase(entry)
                entries.remove(entry)
            elif taken is None and self._is_ours(entry) and await self._take(entry):
                taken = entry
        for entry in entries:
            if entry is taken:
                return True
            if not any(map(entry.is_same_post, self._handled)):
                self._handled.append(entry)
                self.note_other(entry)
        return False

    def _is_ours(self, entry: Entry) -> bool:
        """Whether an entry is what an earlier run of this operation, or this run before a delete, leaves for it.

        One that the state was shown to have was given up, else this would be no create.
        """
        same_kind = (entry.restores is None) == (self.restores is None)
        if entry.run and same_kind and self._engine.carries and self._engine.stays == entry.post.posted_at:
            return True  # deleted by an interrupted run; the name may have changed since
        same = self.owner is not None and (entry.owner, entry.purpose) == (self.owner, self._purpose)
        if not same or not same_kind or entry.proved or self._give_up_earlier:
            return False
        if entry.run:
            return self._engine.carries and entry.run == self._journal.run_of(self._engine)
        if not self.may_resume(entry):
            return False
        # A user who forces another one gives up what the state had, but not what was made the last time that he forced it.
        given_up = self._engine.forces and entry.finished is not None and not entry.forced
        return entry.process != self._journal.process.name and not given_up

    async def give_up_resumed(self) -> None:
        """Forget the POST of an earlier run, which started nothing that could still come."""
        if self._entry is not None:
            await self._journal.erase(self._entry)
        self._entry, self.resumed = None, False
        self.set_post(None)

    def is_alike(self, entry: Entry) -> bool:
        """Whether an entry of another process has the purpose of this operation."""
        return entry.purpose == self._purpose and entry.process != self._journal.process.name and not entry.run

    async def _take(self, entry: Entry) -> bool:
        """Take over an entry of an earlier run; false if another process works on the database."""
        # What was deleted stays marked: until it is saved again, the state shows it as before.
        mine = replace(entry, owner=self.owner, process=self._journal.process.name, in_state=False)
        self.carried = bool(entry.run)
        # A result needs no claim: nothing is sent or awaited for it.
        if entry.finished is None:
            mine = self._journal.by_this_clock(mine)
            if not await self._journal.update(mine, was=entry):
                return False
            if entry.ahead is None:
                # Whatever this machine's clock says by now: what it had found before the POST left is not its own.
                found = await self._journal.recently_found()
                before = (one for one in found if one.database_id == self.database_id and one.at < entry.post.posted_at)
                self.on_entered(frozenset(one.version_id for one in before))
        self.restores, self.resumed, self.finished = entry.restores, True, entry.finished
        self._entry = mine
        self.set_post(mine.post)
        return True

    async def _resume(self, post: Post) -> None:
        """Take over the POST that the state has as pending."""
        self.resumed = True
        self._entry = replace(self._entry_of(post), proved=True)
        if sent := await self._journal.sent_elsewhere(self.database_id, post):
            self._entry = replace(self._entry, ahead=sent.ahead)
            self._here = self._journal.by_this_clock(sent).post
        self.set_post(post)

    @property
    def outputs(self) -> dict[str, Any]:
        """What the state had of it when the engine deleted it; see `Entry`."""
        return self._entry.outputs if self._entry is not None else {}

    @property
    def in_state(self) -> bool:
        """Whether the state has this attempt as pending, as far as this run knows."""
        return self._entry is not None and self._entry.proved

    @property
    def age(self) -> float:
        """Seconds that earlier runs have waited."""
        return self.age_of(self.post) if self.resumed and self.post is not None else 0.0

    def age_of(self, post: Post) -> float:
        """Seconds since a POST, by the service's clock if both runs have seen it; 0 for a POST from the future."""
        now = self._run.clock.utc()
        there, here = post.service_clock_offset, self._run.service_clock.offset
        return post.age(now if there is None or here is None else now + timedelta(seconds=here - there))

    # The POST ------------------------------------------------------------------------------------------------------------

    @property
    def sent(self) -> Post:
        """The POST; only to be used after it was sent."""
        if self.post is None:
            raise AssertionError  # used before it was sent
        self._pin()
        return self.post

    async def send(
        self,
        start: Callable[[Callable[[], Awaitable[None]]], Awaitable[str]],
        stop_before_again: Callable[[SquareCloudError], Awaitable[bool]],
    ) -> None:
        """Send the POST, and again only if it certainly started nothing. Afterwards `self.post.answered` holds the answer.

        Args:
            start: sends the POST once, and returns how it was answered. It gets a function, which it must await right before
                the request is sent.
            stop_before_again: called with each refusal that may pass; if it returns true, no further POST is sent.

        Raises:
            SquareCloudError: a refusal that does not pass; nothing was started.
        """
        while True:
            try:
                await self.answered(await start(self._before_sending))
            except HeldBack:
                self.held_back = True
                if await self.take_over() or await self.prepare_again():
                    return
                continue
            except SquareCloudError as error:
                if self.leaves_doubt(error):
                    await self.answered(_how_lost(error))
                    return
                await self._nothing_was_started(error)
                if await stop_before_again(error):
                    return
                pause = max(next(self._pauses), error.retry_after or 0.0)
                self.step = "waiting to try again"
                again = TimeOfDay(self._run.clock.utc() + timedelta(seconds=pause))
                refused = error.code or "not reached"
                self.member.progress(
                    Text("{refused}; next try {again}, nothing was started", refused=refused, again=again)
                )
                await self._run.clock.sleep(pause)
            except anyio.get_cancelled_exc_class() as cancelled:
                self.on_cancelled(cancelled)
                raise
            else:
                return

    def on_cancelled(self, cancelled: BaseException) -> None:
        """Forget the POST if the request that was cancelled certainly never left.

        Only the exception that the client raises tells; a task group replaces it.
        """
        if isinstance(cancelled.__cause__, NotSent):
            self.step = "connecting to the service"
            self.set_post(None)

    async def _nothing_was_started(self, error: SquareCloudError) -> None:
        """Handle a POST that was refused or never sent; raises the error if it does not pass."""
        self._refused = error
        self.set_post(None)
        if self._entry is not None:
            await self._journal.erase(self._entry)
            self._entry = None
        self._unreachable += isinstance(error, NotSent)
        if not isinstance(error, (*self.passing, NotSent)) or self._unreachable == UNREACHABLE_TRIES:
            raise error

    async def _before_sending(self) -> None:
        """Enter the POST into the journal, right before it is sent.

        Raises:
            HeldBack: another run has sent a POST for this database in the meantime, so this one must not be sent.
        """
        written: Entry | None = None
        tries = 0
        while True:
            entry = self._entry_of(self._new_post())
            found = await self._journal.enter(entry, after=self._handled, instead=written)
            if found is None:
                break
            self._entry, written, tries = entry, entry, tries + 1
            # This machine may also have been suspended meanwhile.
            if tries == ENTER_TRIES or abs(self._run.clock.utc() - entry.post.posted_at) <= ENTERED_WITHIN:
                break
        if found is None or not self._journal.is_held:
            if written is not None:
                await self._journal.erase(written)  # nothing was sent for it
                self._entry = None
            raise HeldBack(f"POST /databases/{self.database_id}/snapshots")
        self.on_entered(found)
        self.set_post(entry.post)

    def _new_post(self) -> Post:
        """The POST, if it is sent now."""
        now = self._run.clock.utc()
        latest = now + timedelta(seconds=POST_READ_TIMEOUT)
        self.member.waits("sent, waiting for the answer", until=latest, phase="answer")
        return Post(
            # Rounded as in state and journal, so that it is equal everywhere.
            posted_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            service_clock_offset=self._run.service_clock.offset,
            answered=NOT_AWAITED,
            timeout=self._timeout,
            earlier=self.rival,
        )

    def update(self, **fields: Any) -> None:
        """Change fields of the POST; `save` writes them into the journal."""
        self.set_post(replace(self.sent, **fields))

    def _pin(self) -> None:
        """Note the service's clock of the first answer that shows it: the clocks may have moved until a later one.

        Not for the POST of an earlier run, whose clock may have been another one.
        """
        offset = self._run.service_clock.offset
        if self.post is not None and self.post.service_clock_offset is None and offset is not None and not self.resumed:
            self.set_post(replace(self.post, service_clock_offset=offset))

    async def answered(self, how: str) -> None:
        """Note how the POST was answered, in the journal too: a later run trusts an accepted POST for longer."""
        self.update(answered=how)
        await self.save()

    async def save(self) -> None:
        """Write the POST into the journal, before a wait in which the run may be killed."""
        self._pin()
        if self.post is not None and (self._entry is None or self._entry.post != self.post):
            entry = replace(self._entry or self._entry_of(self.post), post=self.post)
            await self._journal.update(entry)
            self._entry = entry  # only now: a save that is cut off is made again

    def resolved(self, finished: str, version_id: str | None = None) -> None:
        """Note the result of the POST.

        Args:
            finished: see `Entry`.
            version_id: the snapshot that it started, if it started one.
        """
        self.finished = finished
        if version_id is not None:
            self._found = Found(self.database_id, version_id, self._run.clock.utc())
        self._pin()
        if self._entry is not None and self.post is not None:
            self._entry = replace(self._entry, post=self.post)  # with the clocks, which order the entries
        self.set_post(None)

    def _entry_of(self, post: Post) -> Entry:
        entry = Entry(self.owner, self.database_id, self._purpose, post, self._journal.process.name)
        return replace(entry, restores=self.restores, forced=self._engine.forces, ahead=self._journal.ahead)

    def _back_off(self) -> Iterator[float]:
        for pause in chain(BACK_OFF, repeat(BACK_OFF_LAST)):
            yield pause * (1 + JITTER * self._run.chance.random())


def _how_lost(error: SquareCloudError) -> str:
    """How the answer was lost, in a few words; never just `200`, which would mean that the POST was accepted."""
    if isinstance(error, UnreadableAnswer):
        return f"unreadable {error.status}"
    return " ".join(str(part) for part in (error.status, error.code) if part) or error.message or "no answer"
