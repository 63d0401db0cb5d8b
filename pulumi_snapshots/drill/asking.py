"""Running the checks of a drill against the restored database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, TypeVar

from pulumi_snapshots.databases.errors import CheckNotRun, DatabaseUnreachable
from pulumi_snapshots.databases.opening import open_database
from pulumi_snapshots.drill.check import Check, CheckResult, judged, not_run
from pulumi_snapshots.drill.reach import Reach
from pulumi_snapshots.progress import Member

PATIENCE = 120.0
"""Seconds for which a restored database may refuse connections: it starts again after its restore."""
SURE = 10.0
"""Seconds after which a server that refuses the login, or shows a wrong certificate, is believed: one that starts may do so."""
EVERY = 5.0
"""Seconds between two tries to connect."""
LONGEST = 300.0
"""Seconds that connecting, or one check, may take."""
Proofs = TypeVar("Proofs")
Opens = Callable[..., AbstractAsyncContextManager[Any]]
"""Opens a database as `open_database` does."""


class Door:
    """How the drills of a process open databases.

    Attributes:
        opens: opens one.
    """

    def __init__(self) -> None:
        self.opens: Opens = open_database


async def asked(
    reach: Reach, opens: Opens, member: Member, proves: Callable[[float | None], Awaitable[Proofs]]
) -> tuple[list[CheckResult], Proofs]:
    """Ask the restored database the drill's checks, over one connection.

    Args:
        reach: how it is reached.
        opens: opens it.
        member: gets the progress.
        proves: makes of the server's age what shows that the right one is asked, before it is asked anything else.

    Raises:
        DatabaseUnreachable: there was no connection for `PATIENCE`, or there never will be.
        Exception: what `proves` raises.
    """
    inputs, clock = reach.inputs, reach.session.clock
    began = clock.monotonic()
    while True:
        member.progress("restored; connecting to the scratch database")
        try:
            async with reach.connection() as dsn, opens(dsn, timeout=min(LONGEST, inputs.timeout)) as database:
                proofs = await proves(await database.age())
                return await results_of(database, inputs.checks, member.progress), proofs
        except DatabaseUnreachable as error:
            if clock.monotonic() - began >= (SURE if error.lasting else PATIENCE):
                raise
            again = clock.utc() + timedelta(seconds=EVERY)
            member.waits("not reachable yet", next_check=again, why=error.why)
        await clock.sleep(EVERY)


async def results_of(database: Any, checks: Sequence[Check], progress: Callable[[str], None]) -> list[CheckResult]:
    """The result of each check of an open database; raises `DatabaseUnreachable`."""
    results: list[CheckResult] = []
    for number, check in enumerate(checks, 1):
        progress(f"check {number} of {len(checks)}: {check.title}")
        try:
            results.append(judged(check, await database.ask(check.query)))
        except CheckNotRun as error:
            results.append(not_run(check, error.why))
    return results
