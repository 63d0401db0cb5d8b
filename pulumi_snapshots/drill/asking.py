"""Running the checks of a drill against the restored database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.databases.errors import CheckNotRun, DatabaseUnreachable
from pulumi_snapshots.databases.opening import open_database
from pulumi_snapshots.databases.scalars import Scalar
from pulumi_snapshots.drill.check import CheckResult, judged, not_run
from pulumi_snapshots.drill.inputs import DrillInputs
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


class Asked(Protocol):
    """An open database."""

    async def ask(self, command: str) -> Scalar:
        """The one value that a command results in; raises `CheckNotRun` or `DatabaseUnreachable`."""

    async def age(self) -> float | None:
        """Seconds for which the server has run; None if it does not say. Raises `DatabaseUnreachable`."""


Proofs = TypeVar("Proofs")
Opens = Callable[..., AbstractAsyncContextManager[Asked]]
"""Opens a database by its connection string, with `timeout=` seconds for connecting and each command."""


class Door:
    """How the drills of a process open databases.

    Attributes:
        opens: opens one.
    """

    def __init__(self) -> None:
        self.opens: Opens = open_database


@dataclass(frozen=True)
class Asking:
    """Asks the restored database.

    Attributes:
        inputs: of the drill.
        clock: the time.
        member: gets the progress.
        opens: opens the database.
        reach: how it is reached.
    """

    inputs: DrillInputs
    clock: Clock
    member: Member
    opens: Opens
    reach: Reach

    async def results(self, proves: Callable[[float | None], Awaitable[Proofs]]) -> tuple[list[CheckResult], Proofs]:
        """The result of each check, all of one connection, and what `proves` makes of the server's age before they are run.

        Raises:
            DatabaseUnreachable: there was none for `PATIENCE`, or there never will be.
            Exception: what `proves` raises.
        """
        began = self.clock.monotonic()
        limit = min(LONGEST, self.inputs.timeout)
        while True:
            self.member.progress("restored; connecting to the scratch database")
            try:
                async with self.reach.connection() as dsn, self.opens(dsn, timeout=limit) as database:
                    proofs = await proves(await database.age())
                    return await self._ask(database), proofs
            except DatabaseUnreachable as error:
                if self.clock.monotonic() - began >= (SURE if error.lasting else PATIENCE):
                    raise
                again = self.clock.utc() + timedelta(seconds=EVERY)
                self.member.waits("not reachable yet", next_check=again, why=error.why)
            await self.clock.sleep(EVERY)

    async def _ask(self, database: Asked) -> list[CheckResult]:
        results: list[CheckResult] = []
        for number, check in enumerate(self.inputs.checks, 1):
            self.member.progress(f"check {number} of {len(self.inputs.checks)}: {check.title}")
            try:
                results.append(judged(check, await database.ask(check.query)))
            except CheckNotRun as error:
                results.append(not_run(check, error.why))
        return results
