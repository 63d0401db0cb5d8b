"""Watching a database until the restore of one POST is over: what its status proves, and telling how it goes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from pulumi_snapshots.api.client import BRIEF, PATIENT
from pulumi_snapshots.api.errors import RestoreRunning, SquareCloudError
from pulumi_snapshots.listing.wait import age_of

if TYPE_CHECKING:
    from datetime import datetime

    import anyio

    from pulumi_snapshots.api.client import Patience
    from pulumi_snapshots.attempt.record import Attempt
    from pulumi_snapshots.attempt.trace import Trace
    from pulumi_snapshots.progress import Member
    from pulumi_snapshots.run.session import Session

__all__ = ["OTHER_RESTORE", "NeverSeen", "StatusWatch"]

OTHER_RESTORE = 180.0
"""Seconds to wait for another restore before asking for ours again: one takes about 60 s."""


class NeverSeen(Exception):
    """The answer was lost, and in all the time that it was watched the database was never seen down."""


@dataclass
class StatusWatch:
    """The status of one database.

    Attributes:
        session: the service.
        database_id: whose.
        trace: of the restore.
        member: hears when the next look is.
        down_before: whether the last look before the POST did not see it running.
        looks: how many have been made since.
        failed: what is to be told of the last look, where it failed.
    """

    session: Session
    database_id: str
    trace: Trace
    member: Member
    down_before: bool = False
    looks: int = 0
    failed: str = ""

    async def before(self) -> None:
        """See how it is before the POST: only what comes after that can be because of it.

        Raises:
            SquareCloudError: the status is refused, so that nobody could tell the end of a restore.
        """
        # A look that failed may hide that it was down, and what strikes a look may well strike the POST.
        self.down_before = await self._running(BRIEF) is not True

    async def until_other_ends(self) -> None:
        """Wait for the end of a restore that is not ours; asking for ours again tells whether it is over."""
        ends = self.session.clock.monotonic() + OTHER_RESTORE
        while self.down_before and self.session.clock.monotonic() < ends:
            self.member.waits("waiting for the end of another restore of this database")
            await self.session.clock.sleep(self.session.settings.look_every)
            await self.before()

    async def while_open(self, sent: anyio.Event) -> None:
        """Look while the POST waits for its answer, which the service may hold back until the data is there."""
        await sent.wait()
        while True:
            await self.session.clock.sleep(self.session.settings.look_every)
            with suppress(SquareCloudError):  # what a refusal means is for whoever watches after the answer
                await self._look()

    async def until_over(self, *, age: float = 0.0) -> datetime:
        """Look until the restore is over.

        Args:
            age: seconds since it was accepted, in an earlier run.

        Returns:
            When the database was seen running again, by the service's clock.

        Raises:
            NeverSeen: nothing will tell any more whether it was carried out.
            SquareCloudError: a look was refused in a way that does not pass.
        """
        clock, settings = self.session.clock, self.session.settings
        accepted_at = clock.monotonic() - age
        while True:
            if self.session.gate.blocked:
                self.member.waits(f"{_state_of(self._attempt())}; waiting for the end of the account's block")
            runs = await self._look()
            attempt = self._attempt()
            settling = settings.restore_settle - (clock.monotonic() - accepted_at) if attempt.accepted else 0.0
            pause = settings.look_every
            if runs and attempt.seen_down:
                return self.session.client.service_clock.now()
            if runs and attempt.accepted:
                if settling <= 0:
                    return self.session.client.service_clock.now()
                pause = min(pause, settling)
            elif runs and age_of(self.session, attempt) >= attempt.timeout:
                raise NeverSeen
            self._tell(attempt, pause)
            await clock.sleep(pause)

    async def _look(self) -> bool | None:
        """Whether it runs; None where that could not be had. What is learnt of the restore is written down."""
        runs = await self._running(PATIENT)
        attempt = self._attempt()
        if runs and attempt.down_before:
            await self.trace.learns(replace(attempt, down_before=False))
        elif runs is False and not attempt.seen_down and (attempt.accepted or not attempt.down_before):
            # Seen down before it, and its answer lost: it may just be down as it was.
            await self.trace.learns(replace(attempt, seen_down=True))
        return runs

    async def _running(self, patience: Patience) -> bool | None:
        self.looks += 1
        self.failed = ""
        try:
            return await self.session.databases.running(
                self.database_id, self.session.clock.monotonic(), patience=patience
            )
        except RestoreRunning:
            return False
        except SquareCloudError as error:
            if not error.passing:
                raise
            self.failed = f"; the last look failed ({error.code or error.status or 'no answer'})"
            return None

    def _attempt(self) -> Attempt:
        if self.trace.attempt is None:
            raise AssertionError  # watched only after something was sent
        return self.trace.attempt

    def _tell(self, attempt: Attempt, pause: float) -> None:
        at = self.session.clock.utc() + timedelta(seconds=pause)
        self.member.waits(f"{_state_of(attempt)}{self.failed}", f"look {self.looks + 1} at {at:%H:%M:%S} UTC")


def _state_of(attempt: Attempt) -> str:
    if not attempt.accepted:
        return f"answer lost ({attempt.answered}), watching the database"
    return "accepted, the database is down" if attempt.seen_down else "accepted, watching the database"
