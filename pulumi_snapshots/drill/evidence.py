"""What shows that the database that is asked is the one that was restored, and that the restore has acted.

A service restores a database by starting it again, and says when that was. The server that is asked says the same of itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from pulumi_snapshots.clock import parse_rfc3339, to_the_second
from pulumi_snapshots.drill.record import ADDRESS, RESTART, DrillRecord
from pulumi_snapshots.errors import Explained, Next, Step
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.service.errors import NotAllowed, SquareCloudError

SLACK = timedelta(seconds=5)
"""How far two times may be wrong: servers say whole seconds, and an answer takes time."""
APART = timedelta(minutes=5)
"""What may pass between the start of a database, as the service has it, and that of its server's process."""
STAYS = 60.0
"""Seconds for which the service must say that a database has not started again, to be believed."""


class ProvesNothing(Explained):
    """A drill's checks would prove nothing: another database was asked, or nothing was restored."""

    def __init__(self, why: str, then: Iterable[Next] = (Next(Step.CHECK_CONNECTION),)) -> None:
        super().__init__(f"The drill would prove nothing: {why}", "No check was run.", then)
        self.why = why


async def evidence(session: Session, record: DrillRecord, age: float | None, *, own: bool) -> list[str]:
    """Find what shows that the scratch database is asked, and that its restore has acted; raises `ProvesNothing`.

    `age` is for how many seconds the server that is asked has run, None if it does not say, and `own` whether its address can
    only be that of the scratch database.
    """
    requested = parse_rfc3339(record.requested_at) - SLACK
    theirs = None if age is None else session.service_clock.now() - timedelta(seconds=age)
    started, restarts = await _started(session, record.scratch_database_id, requested)
    if started is not None and started < requested:
        raise ProvesNothing(
            f"the restore has done nothing: the service says that the scratch database has run since {to_the_second(started)}, "
            "which is before the request"
        )
    shown = [ADDRESS] if own else []
    if theirs is None:
        return shown
    another = "the connection leads to another database"
    asked = f"the server that was asked has run since {to_the_second(theirs)}"
    if started is not None and (theirs < started - APART or (theirs > started + APART and not own)):
        since = f"the service has started the scratch database at {to_the_second(started)}"
        raise ProvesNothing(f"{another}: {since}, and {asked}")
    if theirs < requested and restarts:
        raise ProvesNothing(f"{another}, or the restore has done nothing: {asked}, which is before the request")
    return [*shown, RESTART] if theirs >= requested else shown


async def _started(session: Session, database_id: str, since: datetime) -> tuple[datetime | None, bool]:
    """When a database was last started, None if the service does not say; and whether a restore starts its server again.

    A time before the restore was requested, and that it does not run, are believed only if they stay: the status may be a
    moment old.

    Raises:
        ProvesNothing: it does not run, or there is no status.
    """
    until = session.clock.monotonic() + STAYS
    while True:
        over = session.clock.monotonic() >= until
        try:
            # Not one that another caller has asked for in the same moment, before the restore was over.
            status = await session.client.database_status(database_id, patience=BRIEF)
        except NotAllowed:
            return None, True
        except SquareCloudError as error:
            if over or not error.passing:
                why = f"the service does not say how the scratch database is ({error.happened})"
                raise ProvesNothing(why, error.then) from error
        else:
            if status.running and (over or status.uptime is None or status.uptime >= since):
                # Only an emulator, which does not start a server of yours again, has it and leaves it empty.
                return status.uptime, status.uptime is not None or "uptime" not in status.model_fields_set
            if over:
                raise ProvesNothing("the scratch database does not run, and another one has accepted the connection")
        await session.clock.sleep(session.settings.poll_every)
