"""Waiting until a restore of a database no longer holds up the POSTs for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.models import RestoreStatus
from pulumi_snapshots.service.pacing.rate_limiter import OnWait

HELD_UP = timedelta(seconds=125)
"""How long the service refuses other POSTs after a restore has succeeded: "about two minutes", with room."""


async def until_free(
    session: Session, waits: OnWait, poll: Callable[[], Awaitable[RestoreStatus | None]]
) -> RestoreStatus | None:
    """Wait until no restore of a database is in progress or has succeeded a moment ago.

    Args:
        session: the service.
        waits: gets the progress.
        poll: asks the service how the last restore stands; returns None if that is not known.

    Returns:
        The last answer; None if it is not known, so that only the next POST can tell.
    """
    clock = session.clock
    while (status := await poll()) is not None and status.in_progress:
        waits("waiting for the end of another restore of this database")
        await clock.sleep(session.settings.poll_every)
    if status is not None and status.state == "success" and status.finished_at is not None:
        now = session.service_clock.now()
        left = (min(status.finished_at, now) + HELD_UP - now).total_seconds()
        if left > 0:
            until = clock.utc() + timedelta(seconds=left)
            waits("waiting", until=until, why="a restore of this database ended a moment ago")
            await clock.sleep(left)
    return status
