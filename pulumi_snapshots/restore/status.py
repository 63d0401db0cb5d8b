"""Watching a database until the restore of one POST is over: what its status proves, and the progress meanwhile."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio

from pulumi_snapshots.api.client import BRIEF, PATIENT, Patience
from pulumi_snapshots.api.errors import RestoreRunning, SquareCloudError
from pulumi_snapshots.api.rate_limiter import BLOCKED
from pulumi_snapshots.attempt.attempt import Attempt
from pulumi_snapshots.attempt.post import Post
from pulumi_snapshots.listing.wait import failed_poll
from pulumi_snapshots.run.session import Session

OTHER_RESTORE = 180.0
"""Seconds to wait for another restore before asking for ours again: one takes about 60 s."""


class NeverSeen(Exception):
    """The answer was lost, and the database was never seen down while it was watched."""


@dataclass
class StatusWatch:
    """The status of one database."""

    session: Session
    attempt: Attempt
    down_before: bool = False
    """Whether the last poll before the POST did not see it running."""
    polls: int = 0
    failed: str = ""
    """What the progress says of the last poll, if it failed."""

    async def before(self) -> None:
        """Check the status before the POST: only a later change can be its effect.

        Raises:
            SquareCloudError: the status is refused, so the end of a restore could not be seen.
        """
        # A poll that failed may hide that the database was down, and the POST may well fail in the same way.
        self.down_before = await self._running(BRIEF) is not True

    async def until_other_ends(self) -> None:
        """Wait for the end of a restore that is not ours; the next try of ours shows whether it is over."""
        ends = self.session.clock.monotonic() + OTHER_RESTORE
        while self.down_before and self.session.clock.monotonic() < ends:
            self.attempt.member.waits("waiting for the end of another restore of this database")
            await self.session.clock.sleep(self.session.settings.look_every)
            await self.before()

    async def while_open(self, sent: anyio.Event) -> None:
        """Poll while the POST waits for its answer, which may come only after the data was restored."""
        await sent.wait()
        while True:
            await self.session.clock.sleep(self.session.settings.look_every)
            with suppress(SquareCloudError):  # the polls after the answer deal with refusals
                await self._poll()

    async def until_over(self, *, age: float = 0.0) -> datetime:
        """Poll until the restore is over; the time when the database was seen running again, by the service's clock.

        Args:
            age: seconds since it was accepted, in an earlier run.

        Raises:
            NeverSeen: no poll can show any more whether it was carried out.
            SquareCloudError: a poll was refused, and will be refused again.
        """
        clock, settings = self.session.clock, self.session.settings
        accepted_at = clock.monotonic() - age
        while True:
            if self.session.rate_limiter.blocked:
                self.attempt.member.waits(f"{_state_of(self.attempt.sent)}; {BLOCKED}")
            runs = await self._poll()
            post = self.attempt.sent
            pause = settings.look_every
            if runs:
                settling = settings.restore_settle - (clock.monotonic() - accepted_at)
                if post.seen_down or (post.accepted and settling <= 0):
                    return self.session.client.service_clock.now()
                if post.accepted:
                    pause = min(pause, settling)
                elif self.attempt.age_of(post) >= post.timeout:
                    raise NeverSeen
            next_poll = f"poll {self.polls + 1} at {clock.utc() + timedelta(seconds=pause):%H:%M:%S} UTC"
            self.attempt.member.waits(f"{_state_of(post)}{self.failed}", next_poll)
            await clock.sleep(pause)

    async def _poll(self) -> bool | None:
        """Whether the database runs, None if unknown; the attempt learns what that says of the restore."""
        runs = await self._running(PATIENT)
        post = self.attempt.sent
        if runs and post.down_before:
            self.attempt.update(down_before=False)
        elif runs is False and not post.seen_down and (post.accepted or not post.down_before):
            # If it was down before the POST and the answer was lost, it may just be down as before.
            self.attempt.update(seen_down=True)
        await self.attempt.save()
        return runs

    async def _running(self, patience: Patience) -> bool | None:
        self.polls += 1
        self.failed = ""
        now = self.session.clock.monotonic()
        try:
            return await self.session.databases.running(self.attempt.database_id, now, patience=patience)
        except RestoreRunning:
            return False
        except SquareCloudError as error:
            self.failed = failed_poll(error)
            return None


def _state_of(post: Post) -> str:
    if not post.accepted:
        return f"answer lost ({post.answered}), watching the database"
    return "accepted, the database is down" if post.seen_down else "accepted, watching the database"
