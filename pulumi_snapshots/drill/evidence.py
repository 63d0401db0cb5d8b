"""What shows that the database that is asked is the one that was restored, and that the restore has acted.

A service restores a database by starting it again, and says when that was. The server that is asked says the same of itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pulumi_snapshots.clock import parse_rfc3339, to_the_second
from pulumi_snapshots.drill.record import ADDRESS, RESTART, DrillRecord
from pulumi_snapshots.errors.explained import Explained
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import SquareCloudError

SLACK = timedelta(seconds=5)
"""How far two times may be wrong: servers say whole seconds, and an answer takes time."""
APART = timedelta(minutes=5)
"""What may pass between the start of a database, as the service has it, and that of its server's process."""
STAYS = 60.0
"""Seconds for which the service must say that a database has not started again, to be believed."""


class ProvesNothing(Explained):
    """A drill's checks would prove nothing: another database was asked, or nothing was restored.

    Attributes:
        why: the end of a sentence.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"The drill would prove nothing: {why}", "No check was run.", [Next(Step.CHECK_CONNECTION)])
        self.why = why


async def evidence(session: Session, record: DrillRecord, age: float | None, *, own: bool) -> list[str]:
    """Find what shows that the scratch database is asked, and that its restore has acted.

    Args:
        session: the service.
        record: the drill, whose restore is over.
        age: seconds for which the server that is asked has run; None if it does not say.
        own: whether its address can only be that of the scratch database.

    Raises:
        ProvesNothing: another database is asked, or the restore has done nothing.
    """
    requested = parse_rfc3339(record.requested_at) - SLACK
    theirs = None if age is None else session.service_clock.now() - timedelta(seconds=age)
    started = await _started(session, record.scratch_database_id, requested)
    if started is not None and started < requested:
        raise ProvesNothing(
            f"the restore has done nothing: the service says that the scratch database has run since {to_the_second(started)}, "
            "which is before the request"
        )
    shown = [ADDRESS] if own else []
    if theirs is None:
        return shown
    is_another = started is not None and (
        theirs < requested or theirs < started - APART or (theirs > started + APART and not own)
    )
    if started is not None and is_another:
        raise ProvesNothing(
            f"the connection leads to another database: the service has started the scratch database at {to_the_second(started)}, "
            f"and the server that was asked has run since {to_the_second(theirs)}"
        )
    return [*shown, RESTART] if theirs >= requested else shown


async def _started(session: Session, database_id: str, since: datetime) -> datetime | None:
    """When a database was last started, as the service says; None if it does not.

    A time before the restore was requested is believed only if it stays: the status may be a moment old.
    """
    until = session.clock.monotonic() + STAYS
    while True:
        try:
            # Not one that another caller has asked for in the same moment, before the restore was over.
            started = (await session.client.database_status(database_id, patience=BRIEF)).uptime
        except SquareCloudError:
            return None
        if started is None or started >= since or session.clock.monotonic() >= until:
            return started
        await session.clock.sleep(session.settings.poll_every)
