"""One POST and its memory: who may send it, when it may be sent again, and what an early end leaves.

Whatever starts something at the service does it inside `Attempt.begun`, which holds the lock on the database, takes over
what a killed run has left, keeps journal and memory in step, backs off, and turns an early end into its error. A subclass
says what it starts; the body of the `async with` says how to send and how to wait.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import anyio

from pulumi_snapshots.api.errors import Cooldown, NotSent, SquareCloudError, UnreadableAnswer
from pulumi_snapshots.api.limits import SNAPSHOT_PER_DATABASE
from pulumi_snapshots.attempt.journal import Entry, Found
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.errors.outcomes import NothingSent
from pulumi_snapshots.properties.durations import duration_text

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import timedelta

    from pulumi_snapshots.api.service_clock import ServiceClock
    from pulumi_snapshots.attempt.journal import AttemptJournal
    from pulumi_snapshots.clock import Clock
    from pulumi_snapshots.errors.explained import Explained
    from pulumi_snapshots.errors.outcomes import Unresolved
    from pulumi_snapshots.errors.text import Words
    from pulumi_snapshots.progress import Member

__all__ = ["Attempt", "Surroundings"]

BACK_OFF = (5.0, 10.0, 20.0, 40.0, 80.0)
"""Seconds between refused POSTs: the account's cooldown of a snapshot is 5 s ..."""
BACK_OFF_LAST = SNAPSHOT_PER_DATABASE
"""... and a database's is this, so waiting longer gains nothing. A restore's lie between: the rate limiter keeps them, so
that its POSTs are further apart at first."""
JITTER = 0.1
"""Share of a pause that chance adds, so that clients which were refused together do not come back together."""
UNREACHABLE_TRIES = 3
NOT_AWAITED = "not awaited"
"""How a POST was answered if its run ended before the answer came."""


class Surroundings(Protocol):
    """What an attempt needs of its run."""

    clock: Clock
    service_clock: ServiceClock
    chance: random.Random
    poll_every: float
    stopping: bool

    def until(self, seconds: float) -> AbstractContextManager[Any]:
        """Run the body for at most that long, and no longer than the run allows."""

    def take_note(self) -> Words:
        """What the user should know of the files that runs share; empty if all is well."""


class HeldBack(NotSent):
    """Another run has an attempt on this database that was not waited for, so that this one's POST did not leave."""


class Attempt(ABC):
    """One POST that starts something, from before it is sent until its end is known.

    Args:
        run: what surrounds it.
        journal: of the run, for this kind of POST.
        lock: held while it may send; keeps other operations of this process off the database.
        member: hears how it goes.
        database_id: the database that the POST is sent for.
        purpose: a digest of the triggers, see `Entry`.
        owner: the resource's URN; None if unknown.
        timeout: seconds for the whole operation.
        restores: see `Entry`.
        give_up_earlier: whether it gives up on what a killed run has left of this very operation, and sends again.

    Attributes:
        post: the POST that may have started something; None while none has.
        resumed: whether an earlier run has sent it.
        step: what the operation is doing, for the text of an early end.
    """

    what: ClassVar[str]
    """What it starts, in a word."""
    passing: ClassVar[tuple[type[SquareCloudError], ...]] = (Cooldown,)
    """Refusals after which the same POST may succeed a little later."""
    supersedes: ClassVar[bool] = False
    """Whether it makes the owner's earlier entries in the journal meaningless."""

    def __init__(  # noqa: PLR0913  what an entry holds, and who is told
        self,
        run: Surroundings,
        journal: AttemptJournal,
        lock: anyio.Lock,
        member: Member,
        *,
        database_id: str,
        purpose: str,
        owner: str | None,
        timeout: float,
        restores: str | None = None,
        give_up_earlier: bool = False,
    ) -> None:
        self.post: Post | None = None
        self.resumed = False
        self.step = ""
        self.member = member
        self.database_id = database_id
        self.owner = owner
        self.restores = restores
        self._run = run
        self._journal = journal
        self._lock = lock
        self._purpose = purpose
        self._timeout = timeout
        self._give_up_earlier = give_up_earlier
        self._entry: Entry | None = None  # as the journal has it
        self._found: Found | None = None
        self._dealt_with: list[Entry] = []
        self._refused: SquareCloudError | None = None
        self._unreachable = 0
        self._pauses = self._back_off()

    # What a subclass says ------------------------------------------------------------------------------------------------

    @abstractmethod
    def unresolved(self, why: str = "", *, undecided: bool = False, cause: Explained | None = None) -> Unresolved[Any]:
        """The error of an end that is not known: the POST was or may have been carried out.

        Args:
            why: why the wait ended; a sentence.
            undecided: whether waiting longer would end the same way.
            cause: the error that ended the wait, if one did.
        """

    @property
    @abstractmethod
    def not_done(self) -> str:
        """What was not done if nothing was sent; a sentence."""

    @abstractmethod
    def kept_for(self, post: Post) -> timedelta:
        """How long after its POST an attempt in the journal means something."""

    def learns_of(self, entry: Entry) -> None:  # noqa: B027  most have nothing to do
        """Another attempt on this database is not resolved."""

    def entered(self, found: frozenset[str]) -> None:  # noqa: B027  most have nothing to do
        """The attempt is in the journal, so no other run can start one on this database now.

        Args:
            found: versions of this database that other runs have found lately.
        """

    def remember(self, post: Post | None) -> None:
        """The POST may have started something, or certainly has not (None)."""
        self.post = post

    def ends_anyway(self) -> bool:
        """Whether the time is over or the run was interrupted, and what is known is enough all the same."""
        return False

    async def held_back(self) -> None:  # noqa: B027  most have nothing to do
        """Another run was faster, and there is nothing to take over: what must be done before the POST is tried again."""

    # The whole -----------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def begun(self, post: Post | None = None) -> AsyncIterator[None]:
        """The attempt, around how to send and how to wait; `post` says inside whether there is one to wait for already.

        Args:
            post: what the state holds of an earlier run's; it is only waited for, so it needs no lock.

        Raises:
            Unresolved: it was or may have been sent, and the time was over or the run was interrupted.
            NothingSent: the same before anything was sent.
        """
        whole = False
        try:
            with self._run.until(self._timeout):
                async with AsyncExitStack() as held:
                    if post is None:
                        if self._lock.locked():
                            self.does(f"waiting for another {self.what} of this database")
                        await held.enter_async_context(self._lock)
                        await self.take_over()
                    else:
                        self._resume(post)
                    yield
                    whole = True
            if not whole and not self.ends_anyway():
                raise self._cut_short()
        finally:
            await self._bring_in_step()

    def _cut_short(self) -> Exception:
        why = (
            "The wait was interrupted" if self._run.stopping else f"The wait ended after {duration_text(self._timeout)}"
        )
        if self.post is not None:
            return self.unresolved(f"{why}.")
        happened = f"{self.not_done} {why}, while {self.step}"
        if self._refused is None:
            return NothingSent(happened)
        return NothingSent(f"{happened}. Last refusal: {self._refused}", then=self._refused.then)

    async def _bring_in_step(self) -> None:
        """The last thing of all: the journal forgets what the state has from now on."""
        # If the answer does not reach the state, the journal must go on remembering the POST.
        if self._entry is not None and self.member.will_keep(pending=self.post is not None):
            with anyio.CancelScope(shield=True):
                if self.post is None:
                    await self._journal.erase(self._entry, self._found)
                else:
                    await self._journal.update(replace(self._entry, post=self.post, in_state=True))
        if note := self._run.take_note():
            self.member.warn(note)

    # Before the POST -----------------------------------------------------------------------------------------------------

    def does(self, step: str) -> None:
        """What goes on before the POST."""
        self.step = step
        self.member.waits(step)

    async def take_over(self) -> bool:
        """Resume the POST of an earlier run that was killed in this very operation; whether there is one.

        Waits for operations of living processes on this database first. What else the journal knows to be unresolved there
        becomes known to this run, once.
        """
        while any(map(self._is_being_worked_on, entries := await self._journal.of(self.database_id))):
            self.does(f"waiting for another run's {self.what} of this database")
            await self._run.clock.sleep(self._run.poll_every)
        for entry in entries:
            if self.age_of(entry.post) > self.kept_for(entry.post).total_seconds():
                await self._journal.erase(entry)
            elif self._is_ours(entry) and await self._journal.update(
                replace(entry, process=self._journal.process.name)
            ):
                self.restores = entry.restores
                self._resume(entry.post)
                return True
            elif not any(map(entry.is_same_post, self._dealt_with)):
                self._dealt_with.append(entry)
                self.learns_of(entry)
        return False

    def _is_being_worked_on(self, entry: Entry) -> bool:
        # None takes longer, whatever the system says: another process may have its number by now.
        return self._journal.is_under_way(entry) and self.age_of(entry.post) <= entry.post.failed_after.total_seconds()

    def _is_ours(self, entry: Entry) -> bool:
        """Whether a killed run left it in this operation; one that is in the state was given up, or it would be resumed."""
        return (
            not self._give_up_earlier
            and not entry.in_state
            and entry.process != self._journal.process.name
            and self.owner is not None
            and entry.owner == self.owner
            and entry.purpose == self._purpose
        )

    def _resume(self, post: Post) -> None:
        self.resumed = True
        self._entry = self._entry_of(post)
        self.remember(post)

    @property
    def age(self) -> float:
        """Seconds of waiting that lie behind it, in earlier runs."""
        return self.age_of(self.post) if self.resumed and self.post is not None else 0.0

    def age_of(self, post: Post) -> float:
        """Seconds since a POST; none if another machine's clock puts it into the future."""
        return post.age(self._run.clock.utc())

    # The POST ------------------------------------------------------------------------------------------------------------

    @property
    def sent(self) -> Post:
        """The POST; only after it was sent."""
        if self.post is None:
            raise AssertionError  # asked for only after it was sent
        return self.post

    async def send(
        self,
        start: Callable[[Callable[[], Awaitable[None]]], Awaitable[str]],
        *,
        stop_before_again: Callable[[SquareCloudError], Awaitable[bool]] | None = None,
    ) -> None:
        """Send it, and again only if it certainly started nothing; `post` tells afterwards how it was answered.

        Args:
            start: sends it once, with what it must await right before the request leaves; returns how it was answered.
            stop_before_again: told each refusal that may pass; true if there is nothing to send any more.

        Raises:
            SquareCloudError: a refusal that does not pass; nothing was started.
        """
        while True:
            try:
                self.learns(answered=await start(self._leaves))
            except HeldBack:
                if await self.take_over():
                    return
                await self.held_back()
                continue
            except SquareCloudError as error:
                if error.ambiguous:
                    self.learns(answered=_how_lost(error))
                    return
                await self._nothing_was_started(error)
                if stop_before_again is not None and await stop_before_again(error):
                    return
                pause = max(next(self._pauses), error.retry_after or 0.0)
                self.step = "waiting to try again"
                why = error.code or "not reached"
                self.member.progress(f"{why}: nothing was started, trying again in {pause:.0f} s")
                await self._run.clock.sleep(pause)
            else:
                return

    async def _nothing_was_started(self, error: SquareCloudError) -> None:
        """The POST was refused, or never left; raises what does not pass."""
        self._refused = error
        self.remember(None)
        if self._entry is not None:
            await self._journal.erase(self._entry)
            self._entry = None
        self._unreachable += isinstance(error, NotSent)
        if not isinstance(error, (*self.passing, NotSent)) or self._unreachable == UNREACHABLE_TRIES:
            raise error

    async def _leaves(self) -> None:
        """From here on it may be carried out: written down first, for the run that comes after a kill.

        Raises:
            HeldBack: another run on this database was faster, also if its operation has ended meanwhile with its end
                unknown; the POST must not leave.
        """
        self.member.waits("sent, waiting for the answer", "up to 2 minutes", phase="answer")
        now = self._run.clock.utc()
        post = Post(
            # As exact as state and journal keep it, so that it is the same attempt everywhere.
            posted_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            service_clock_offset=self._run.service_clock.offset,
            answered=NOT_AWAITED,
            timeout=self._timeout,
        )
        entry = self._entry_of(post)
        found = await self._journal.enter(entry, after=self._dealt_with, supersedes=self.supersedes)
        if found is None:
            raise HeldBack(f"POST /databases/{self.database_id}/snapshots")
        self._entry = entry
        self.entered(found)
        self.remember(post)

    def learns(self, **more: Any) -> None:
        """More is known of the POST; `save` writes it down."""
        offset = self._run.service_clock.offset
        if "answered" in more and offset is not None:
            more["service_clock_offset"] = offset
        self.remember(replace(self.sent, **more))

    async def save(self) -> None:
        """Write down what was learnt, before a wait in which the run may be killed."""
        if self.post is not None and (self._entry is None or self._entry.post != self.post):
            self._entry = self._entry_of(self.post)
            await self._journal.update(self._entry)

    def resolved(self, version_id: str | None = None) -> None:
        """Its end is known.

        Args:
            version_id: the snapshot that it started, if it was to start one.
        """
        if version_id is not None:
            self._found = Found(self.database_id, version_id, self._run.clock.utc())
        self.remember(None)

    def _entry_of(self, post: Post) -> Entry:
        process = self._journal.process.name
        return Entry(self.owner, self.database_id, self._purpose, post, process, restores=self.restores)

    def _back_off(self) -> Iterator[float]:
        for pause in BACK_OFF:
            yield pause * (1 + JITTER * self._run.chance.random())
        while True:
            yield BACK_OFF_LAST * (1 + JITTER * self._run.chance.random())


def _how_lost(error: SquareCloudError) -> str:
    """How a POST ended in doubt, in a few words; never just `200`, which would say that it was accepted."""
    if isinstance(error, UnreadableAnswer):
        return f"unreadable {error.status}"
    return " ".join(str(part) for part in (error.status, error.code) if part) or error.message or "no answer"
