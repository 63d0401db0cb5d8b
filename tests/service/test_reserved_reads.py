"""Reads cost few writes of the ledger: few reads cost none, and a process that reads a lot reserves several at once."""

import random
from datetime import timedelta
from functools import partial

import anyio
import pytest

from pulumi_snapshots.clock import ServiceClock
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.service.errors import Blocked
from pulumi_snapshots.service.limits import (
    ACCOUNT_LANE,
    BUDGET_WINDOW,
    CREATE,
    CREDENTIALS,
    READ,
)
from pulumi_snapshots.service.rate_limiter import RateLimiter
from tests.support.clocks import Shifted
from tests.support.limiter import Request, Run, Runs
from tests.support.memory import Mortal
from tests.support.virtual import virtual

BUDGET = 27
BLOCK = Blocked("GET /x", status=429, code="RATE_LIMITED", retry_after=600.0)


def new_run(runs: Runs) -> Run:
    return runs.run(budget=BUDGET)


async def reads(run: Run, many: int, every: float) -> None:
    """Wants so many reads, one at a time or all at once."""
    requests = [Request(READ, at=every * number) for number in range(many)]
    await run.send_all(*requests)


async def makes_busy(runs: Runs) -> None:
    """Another run has sent more than few requests."""
    other = new_run(runs)
    for number in range(5):
        await other.send(CREATE, f"of another {number}")


async def reserves(run: Run) -> None:
    """Reads until some reads are reserved, and uses the first of them."""
    place = run.runs.place
    await reads(run, 10, 1.0)
    written = place.writes
    while place.writes == written:
        await run.send(READ)
    written += 1
    await run.send(READ)
    assert place.writes == written, "it has reserved none"


# How often the ledger is written -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("many", "every"),
    [(50, 0.0), (50, 1.0), (50, 2.3), (50, 5.0), (50, 10.0), (100, 12.0), (50, 30.0)],
)
@pytest.mark.parametrize("is_busy", [False, True], ids=["alone", "beside another run"])
@virtual
async def test_five_reads_cost_at_most_one_write(
    many: int, every: float, *, is_busy: bool
) -> None:
    runs = Runs(delay=(0.05, 0.05))
    if is_busy:
        await makes_busy(runs)
    before = runs.place.writes
    await reads(new_run(runs), many, every)
    assert runs.order.count("read") == many
    assert runs.place.writes - before <= many / 5


@pytest.mark.parametrize("machines", [1, 2])
@virtual
async def test_so_do_the_reads_of_machines_that_use_up_the_budget(
    machines: int,
) -> None:
    runs = Runs(delay=(0.05, 0.05))
    async with anyio.create_task_group() as group:
        for _ in range(machines):
            group.start_soon(reads, new_run(runs), 200, BUDGET_WINDOW / BUDGET)
    many = 200 * machines
    assert runs.place.writes <= many / 5
    assert max(runs.times) <= 1.05 * many * BUDGET_WINDOW / BUDGET


@virtual
async def test_reads_beside_posts_cost_no_writes_of_their_own() -> None:
    runs = Runs()
    run = new_run(runs)
    posts = [Request(CREATE, f"{number}", at=6.0 * number) for number in range(40)]
    await run.send_all(
        *posts, *(Request(READ, at=6.0 * number + 3) for number in range(40))
    )
    assert runs.order.count("read") == 40
    assert runs.place.writes <= 2 * 40 + 4, (
        "a claim and a departure of each, and the first reads"
    )


@virtual
async def test_few_reads_cost_no_write_and_the_next_enters_them() -> None:
    runs = Runs()
    run = new_run(runs)
    for lane in (READ, ACCOUNT_LANE, READ):
        await run.send(lane, patient=False)
    assert runs.place.writes == 0
    await run.send(READ)
    assert runs.place.writes == 1
    entries = (await runs.pacing())["sent"]
    assert sum(at <= runs.service.utc().timestamp() + 1 for at, *_ in entries) == 4


@pytest.mark.parametrize(
    "reads",
    [
        [Request(CREDENTIALS, patient=False)],
        [Request(ACCOUNT_LANE)],
        [Request(ACCOUNT_LANE, patient=False), Request(ACCOUNT_LANE, patient=False)],
    ],
    ids=["certificate", "listing of the account by a command", "by a refresh, twice"],
)
@virtual
async def test_a_read_with_a_spacing_of_its_own_is_entered(
    reads: list[Request],
) -> None:
    runs = Runs()
    await new_run(runs).send_all(*reads)
    assert runs.order == [each.lane.name for each in reads]
    assert runs.place.writes == 1


@virtual
async def test_runs_with_few_reads_after_each_other_write_nothing() -> None:
    runs = Runs()
    await new_run(runs).send(CREATE)
    before = runs.place.writes
    for _ in range(6):
        await reads(new_run(runs), 3, 0.5)
    assert runs.place.writes == before


@virtual
async def test_beside_a_busy_run_the_first_read_is_entered_and_reserves_none() -> None:
    runs = Runs()
    await makes_busy(runs)
    before = runs.place.writes
    entries = len((await runs.pacing())["sent"])
    await new_run(runs).send(READ)
    assert runs.place.writes == before + 1
    assert len((await runs.pacing())["sent"]) == entries + 1


# The limits hold ---------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [5, 10, 27])
@pytest.mark.parametrize("seed", range(12))
@virtual
async def test_three_runs_keep_the_budget_of_each_minute(
    seed: int, budget: int
) -> None:
    """However fast each reads, and whoever is killed with reads reserved."""
    chance = random.Random(seed)
    runs = Runs(delay=(0.0, 0.1))

    async def lives() -> None:
        for _ in range(2):
            await anyio.sleep(chance.choice([0, 0, 70]))
            run = runs.run(timedelta(hours=chance.randint(-2, 2)), budget=budget)
            pace = chance.choice([0.0, 0.0, 1.0, 3.0, 10.0])
            wanted = [
                Request(READ, at=pace * number)
                for number in range(chance.randint(1, 60))
            ]
            wanted += [
                Request(CREATE, f"{id(run)}-{number}", at=chance.uniform(0, 100))
                for number in range(chance.randint(0, 8))
            ]
            with anyio.move_on_after(chance.uniform(10, 200)):
                await run.send_all(*wanted)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(lives)
    times = sorted(runs.times)
    assert len(times) > budget
    for first, later in zip(times, times[budget:], strict=False):
        assert later - first >= 60, f"{budget + 1} requests within a minute"


@pytest.mark.parametrize("readers", [1, 2, 3])
@virtual
async def test_a_post_waits_a_minute_at_most_for_the_reads_of_others(
    readers: int,
) -> None:
    """Each reader wants all of the budget. As always, the run that posts has read before."""
    runs = Runs()
    waits = list[float]()
    async with anyio.create_task_group() as group:
        for _ in range(readers):
            group.start_soon(reads, new_run(runs), 300, BUDGET_WINDOW / BUDGET)
        post = new_run(runs)
        for number in range(6):
            await anyio.sleep(97)
            await post.send(READ)
            wanted = anyio.current_time()
            waits.append(await post.send(CREATE, f"{number}") - wanted)
        group.cancel_scope.cancel()
    assert max(waits) <= BUDGET_WINDOW + 1
    assert sum(waits) / len(waits) <= 20 or readers > 2


@virtual
async def test_what_a_killed_run_has_reserved_is_lost_for_three_minutes_at_most() -> (
    None
):
    runs = Runs()
    await reserves(new_run(runs))
    entries = (await runs.pacing())["sent"]
    now = runs.service.utc().timestamp()
    lost = [at for at, *_ in entries if at > now + 1]
    assert 0 < len(lost) <= 6 * BUDGET // 27
    assert max(lost) <= now + BUDGET_WINDOW + 1
    await anyio.sleep(2 * BUDGET_WINDOW)
    started = anyio.current_time()
    await reads(new_run(runs), 18, 0.0)
    assert anyio.current_time() - started < 1


@virtual
async def test_a_block_that_another_run_meets_stops_reads_that_are_reserved() -> None:
    runs = Runs()
    run = new_run(runs)
    await reserves(run)
    before = runs.place.writes
    await new_run(runs).meets(BLOCK, CREATE)
    assert runs.place.writes > before
    started = anyio.current_time()
    assert await run.send(READ) - started >= 599


@pytest.mark.parametrize("what", ["suspended", "paused", "its clock is set back"])
@virtual
async def test_reads_that_were_reserved_before_a_pause_are_void(what: str) -> None:
    """Monotonic time stands still meanwhile, so they seem to be good for a minute."""
    runs = Runs()
    clock = Shifted(runs.service)
    ledger = Ledger(runs.place, ServiceClock(clock))
    limiter = RateLimiter(clock, ledger, "account", budget=BUDGET, block_wait=1800)
    run = Run(runs, limiter, ledger, clock)
    run.asks()
    await makes_busy(runs)
    await reserves(run)
    before = runs.place.writes
    if what == "its clock is set back":
        clock.ahead -= 300
    else:
        clock.ahead += 300
    if what == "suspended":
        clock.paused -= 300
    await run.send(READ)
    assert runs.place.writes == before + 1


@virtual
async def test_a_run_that_was_killed_while_it_reserved_sends_nothing() -> None:
    runs = Runs(delay=(0.2, 0.2))
    run = new_run(runs)
    place = Mortal(runs.place)
    run.ledger.place = place
    async with anyio.create_task_group() as group:
        group.start_soon(partial(reads, run, 30, 0.0))
        await anyio.sleep(0.25)
        place.killed = True
        group.cancel_scope.cancel()
    later = new_run(runs)
    started = anyio.current_time()
    await reads(later, 18, 0.0)
    assert anyio.current_time() - started < BUDGET_WINDOW
