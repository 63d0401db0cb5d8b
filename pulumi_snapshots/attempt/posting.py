"""One POST that starts something: when it may be sent again, and what its answer means. Knows not what it starts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi_snapshots.api.errors import Cooldown, NotSent, SquareCloudError, UnreadableAnswer
from pulumi_snapshots.attempt.record import Attempt
from pulumi_snapshots.attempt.trace import HeldBack
from pulumi_snapshots.errors.outcomes import NothingSent
from pulumi_snapshots.listing.wait import age_of
from pulumi_snapshots.properties.durations import duration_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    import anyio

    from pulumi_snapshots.attempt.trace import Trace
    from pulumi_snapshots.progress import Member
    from pulumi_snapshots.run.session import Session

__all__ = ["Posting"]

BACK_OFF = (5.0, 10.0, 20.0, 40.0, 80.0)
"""Seconds between refused POSTs: the account's cooldown of a snapshot is 5 s ..."""
BACK_OFF_LAST = 180.0
"""... and a database's is 180 s, so waiting longer gains nothing. A restore's, 60 s and 120 s, lie between: the gate keeps
them, so that its POSTs are further apart at first."""
JITTER = 0.1
"""Share of a pause that chance adds, so that clients which were refused together do not come back together."""
UNREACHABLE_TRIES = 3
NOT_AWAITED = "not awaited"
"""How a POST was answered whose answer we did not stay for."""


class Posting:
    """The POST of one operation, from its first try to the end of what it has started.

    Args:
        session: the service.
        trace: writes down what is sent.
        member: hears how it goes.
        what: what it starts, in a word.
        timeout: seconds of the whole operation.
        passing: refusals of the service after which the same POST may succeed a little later.

    Attributes:
        step: what the operation is doing, for the text of an early end.
        refused: the last refusal.
        resumed: whether it was sent by an earlier run.
    """

    def __init__(  # noqa: PLR0913  what operations differ in
        self,
        session: Session,
        trace: Trace,
        member: Member,
        *,
        what: str,
        timeout: float,
        passing: tuple[type[SquareCloudError], ...] = (Cooldown,),
    ) -> None:
        self.step = ""
        self.refused: SquareCloudError | None = None
        self.resumed = False
        self._session = session
        self._trace = trace
        self._member = member
        self._what = what
        self._timeout = timeout
        self._passing = (*passing, NotSent)
        self._pauses = self._back_off()
        self._unreachable = 0

    def does(self, step: str) -> None:
        """What goes on before the POST."""
        self.step = step
        self._member.waits(step)

    def alone(self, lock: anyio.Lock) -> anyio.Lock:
        """The lock that keeps other operations of this process off the database; says so where it has to be waited for."""
        if lock.locked():
            self.does(f"waiting for another {self._what} of this database")
        return lock

    def resumes(self, attempt: Attempt) -> None:
        """It was sent by an earlier run."""
        self.resumed = True
        self._trace.resumes(attempt)

    async def takes_over(self) -> bool:
        """Whether an earlier run was killed in this very operation, so that its POST is the one to wait for."""
        while await self._trace.others_are_answering():
            self.does(f"waiting for another run's {self._what} of this database")
            await self._session.clock.sleep(self._session.settings.look_every)
        self.resumed = await self._trace.take_over() is not None
        return self.resumed

    @property
    def age(self) -> float:
        """Seconds of waiting that lie behind it, in earlier runs."""
        return age_of(self._session, self.attempt) if self.resumed else 0.0

    @property
    def attempt(self) -> Attempt:
        """The POST that was sent."""
        if self._trace.attempt is None:
            raise AssertionError  # asked for only after something was sent
        return self._trace.attempt

    async def send(
        self,
        start: Callable[[Callable[[], Awaitable[None]]], Awaitable[str]],
        *,
        stop_before_again: Callable[[SquareCloudError], Awaitable[bool]] | None = None,
    ) -> None:
        """Send it, and again only if it certainly started nothing; `attempt` tells afterwards how it was answered.

        Args:
            start: sends it once, with what it must await right before the request leaves; returns how it was answered.
            stop_before_again: told each refusal that may pass; true where there is nothing to send any more.

        Raises:
            HeldBack: it did not leave, since another run has one under way on this database.
            SquareCloudError: a refusal that does not pass; nothing was started.
        """
        while True:
            try:
                await self._answered(await start(self._leaves))
            except HeldBack:
                raise
            except SquareCloudError as error:
                if error.ambiguous:
                    await self._answered(_how_lost(error))
                    return
                self.refused = error
                await self._trace.nothing_was_started()
                self._unreachable += isinstance(error, NotSent)
                if not isinstance(error, self._passing) or self._unreachable == UNREACHABLE_TRIES:
                    raise
                if stop_before_again is not None and await stop_before_again(error):
                    return
                pause = max(next(self._pauses), error.retry_after or 0.0)
                self.step = "waiting to try again"
                why = error.code or "not reached"
            else:
                return
            self._member.progress(f"{why}: nothing was started, trying again in {pause:.0f} s")
            await self._session.clock.sleep(pause)

    async def _leaves(self) -> None:
        """From here on it may be carried out."""
        self._member.waits("sent, waiting for the answer", "up to 2 minutes", phase="answer")
        now = self._session.clock.utc()
        attempt = Attempt(
            # As exact as state and journal keep it, so that it is the same attempt everywhere.
            posted_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            service_clock_offset=self._session.client.service_clock.offset,
            answered=NOT_AWAITED,
            timeout=self._timeout,
        )
        await self._trace.sends(attempt)

    async def _answered(self, how: str) -> None:
        clock = self._session.client.service_clock
        offset = self.attempt.service_clock_offset if clock.offset is None else clock.offset
        await self._trace.sends(replace(self.attempt, answered=how, service_clock_offset=offset))

    def _back_off(self) -> Iterator[float]:
        for pause in BACK_OFF:
            yield pause * (1 + JITTER * self._session.chance.random())
        while True:
            yield BACK_OFF_LAST * (1 + JITTER * self._session.chance.random())

    # The end ---------------------------------------------------------------------------------------------------------

    def ended(self) -> str:
        """Why the wait ended before its time: the words that an error begins with."""
        if self._session.stopping:
            return "The wait was interrupted"
        return f"The wait ended after {duration_text(self._timeout)}"

    def nothing_sent(self, what: str) -> NothingSent:
        """The error of an operation that ended before anything was started.

        Args:
            what: what was not done; a sentence.
        """
        last = f" Last refusal: {self.refused}" if self.refused else ""
        return NothingSent(f"{what} {self.ended()}, while {self.step}.{last}")

    async def has_answered(self) -> None:
        """The last thing of all: bring the journal in step with the state."""
        # Where the answer does not reach the state, the journal must go on remembering the POST.
        if self._member.will_keep(pending=self._trace.attempt is not None):
            await self._trace.answered()
        if note := self._session.take_note():
            self._member.warn(note)


def _how_lost(error: SquareCloudError) -> str:
    """How a POST ended in doubt, in a few words; never just `200`, which would say that it was accepted."""
    if isinstance(error, UnreadableAnswer):
        return f"unreadable {error.status}"
    return " ".join(str(part) for part in (error.status, error.code) if part) or error.message or "no answer"
