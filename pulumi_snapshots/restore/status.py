"""Watching a database until the restore of one POST is over: what its status proves, and telling how it goes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pulumi_snapshots.api.client import BRIEF, PATIENT
from pulumi_snapshots.api.errors import RestoreRunning, SquareCloudError
from pulumi_snapshots.api.rate_limiter import BLOCKED
from pulumi_snapshots.listing.wait import failed_poll

if TYPE_CHECKING:
    from datetime import datetime

    import anyio

    from pulumi_snapshots.api.client import Patience
    from pulumi_snapshots.attempt.attempt import Attempt
    from pulumi_snapshots.attempt.post import Post
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
        attempt: the restore onto it.
        down_before: whether the last poll before the POST did not see it running.
        polls: how many have been made since.
        failed: what is to be told of the last poll, if it failed.
    """

    session: Session
    attempt: Attempt
    down_before: bool = False
    polls: int = 0
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
            self.attempt.member.waits("waiting for the end of another restore of this database")
            await self.session.clock.sleep(self.session.settings.look_every)
            await self.before()

    async def while_open(self, sent: anyio.Event) -> None:
        """Look while the POST waits for its answer, which the service may hold back until the data is there."""
        await sent.wait()
        while True:
            await self.session.clock.sleep(self.session.settings.look_every)
            with suppress(SquareCloudError):  # what a refusal means is for whoever watches after the answer
                await self._poll()

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
            if self.session.rate_limiter.blocked:
                self.attempt.member.waits(f"{_state_of(self.attempt.sent)}; {BLOCKED}")
            runs = await self._poll()
            post = self.attempt.sent
            settling = settings.restore_settle - (clock.monotonic() - accepted_at) if post.accepted else 0.0
            pause = settings.look_every
            if runs and post.seen_down:
                return self.session.client.service_clock.now()
            if runs and post.accepted:
                if settling <= 0:
                    return self.session.client.service_clock.now()
                pause = min(pause, settling)
            elif runs and self.attempt.age_of(post) >= post.timeout:
                raise NeverSeen
            self._tell(post, pause)
            await self.attempt.save()
            await clock.sleep(pause)

    async def _poll(self) -> bool | None:
        """Whether it runs; None where that could not be had. What is learnt of the restore is written down."""
        runs = await self._running(PATIENT)
        post = self.attempt.sent
        if runs and post.down_before:
            self.attempt.update(down_before=False)
        elif runs is False and not post.seen_down and (post.accepted or not post.down_before):
            # Seen down before it, and its answer lost: it may just be down as it was.
            self.attempt.update(seen_down=True)
        return runs

    async def _running(self, patience: Patience) -> bool | None:
        self.polls += 1
        self.failed = ""
        try:
            return await self.session.databases.running(
                self.attempt.database_id, self.session.clock.monotonic(), patience=patience
            )
        except RestoreRunning:
            return False
        except SquareCloudError as error:
            self.failed = failed_poll(error)
            return None

    def _tell(self, post: Post, pause: float) -> None:
        at = self.session.clock.utc() + timedelta(seconds=pause)
        self.attempt.member.waits(f"{_state_of(post)}{self.failed}", f"poll {self.polls + 1} at {at:%H:%M:%S} UTC")


def _state_of(post: Post) -> str:
    if not post.accepted:
        return f"answer lost ({post.answered}), watching the database"
    return "accepted, the database is down" if post.seen_down else "accepted, watching the database"
