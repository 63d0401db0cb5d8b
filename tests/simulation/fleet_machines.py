"""Measures fleets on several machines that share a place, in virtual time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from tests.simulation.fleet import each, fleet, play, standard_durations
from tests.simulation.fleet_measure import LONGEST, PARALLEL, REQUESTS_PER_MINUTE, Client, Measure
from tests.support.memory import Memory
from tests.support.mortal import Mortal
from tests.support.restoring import kill
from tests.support.world import Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pulumi_snapshots.run.session import Session
    from tests.simulation.fleet import Fleet

__all__ = ["Result", "measure_machines"]


@dataclass
class Result:
    """The result of a measurement.

    Attributes:
        measure: of all machines together.
        closest: seconds between the two POSTs that were closest to each other.
        busiest: the most requests in any minute.
        posts: of each database.
        writes: of the ledger, for each database.
    """

    measure: Measure
    closest: float
    busiest: int
    posts: list[int]
    writes: float


def measure_machines(  # noqa: PLR0913  what differs between measurements
    databases: int,
    machines: Sequence[timedelta] = (timedelta(),),
    *,
    delay: float | None = 0.05,
    dies_after: float | None = None,
    seed: int = 1,
    cache_world: str = "invalidated",
) -> Result:
    """Measure fleets of equal size.

    Args:
        databases: of all machines together.
        machines: how far the clock of each is off.
        delay: seconds that each edit of the shared ledger takes; None if nothing is shared.
        dies_after: seconds after which the first machine is killed; another one then does its work again.
        seed: of all chance.
        cache_world: see the emulator's settings.
    """
    seconds = standard_durations(databases, seed)

    async def run() -> Result:
        async with fleet(seconds, seed=seed, cache_world=cache_world, requests_per_minute=REQUESTS_PER_MINUTE) as here:
            place = None if delay is None else Memory(here.clock, (delay, delay))
            sessions = [_session(here, place, off) for off in machines]
            done, begin = dict[str, tuple[float, str]](), here.clock.monotonic()

            def taking(session: Session) -> Callable[[str], Awaitable[None]]:
                async def take(database_id: str) -> None:
                    row = Row()
                    record = await create(session, SnapshotInputs(database_id), row, database_id)
                    done[database_id] = (here.clock.monotonic() - begin, record.version_id or "")

                return take

            async def work(number: int) -> None:
                mine = here.databases[number :: len(machines)]
                async with anyio.create_task_group() as life:
                    if number == 0 and dies_after is not None:
                        life.start_soon(_kill, here, sessions[number], dies_after, life.cancel_scope)
                    await each(taking(sessions[number]), mine, PARALLEL)
                    life.cancel_scope.cancel()
                again = [database_id for database_id in mine if database_id not in done]
                await each(taking(_session(here, place, timedelta())), again, PARALLEL)

            with anyio.move_on_after(LONGEST):
                async with anyio.create_task_group() as group:
                    for number in range(len(machines)):
                        group.start_soon(work, number)
            for entry in here.emulator.journal:
                entry.monotonic -= begin
            return _result(here, place, seconds, done)

    result: Result = play(run, seed=seed)
    return result


async def _kill(here: Fleet, session: Session, after: float, life: anyio.CancelScope) -> None:
    await here.clock.sleep(after)
    kill(session)
    life.cancel()


def _session(here: Fleet, place: Memory | None, off: timedelta) -> Session:
    clock = Clock(here.clock.utc() + off)
    clock.utc()  # it runs from now on
    own = Mortal(place or Memory(clock, is_shared=False))
    return here.session(place=own, clock=clock, requests_per_minute=REQUESTS_PER_MINUTE)


def _result(here: Fleet, place: Memory | None, seconds: Sequence[float], done: dict[str, tuple[float, str]]) -> Result:
    async def nothing(_: str) -> str:
        return ""

    journal = here.emulator.journal
    posted = sorted(entry.monotonic for entry in journal if entry.kind == "create")
    sent = sorted(entry.monotonic for entry in journal)
    measure = Measure.of(Client("machines", lambda _: nothing, PARALLEL), here, seconds, done)
    return Result(
        measure,
        min((later - earlier for earlier, later in pairwise(posted)), default=0.0),
        max(sum(at <= other < at + 60 for other in sent) for at in sent),
        [len(here.posts(database_id)) for database_id in here.databases],
        place.writes / len(seconds) if place else 0.0,
    )
