"""Runs with one account keep the service's limits together, whatever their clocks say and whatever the ledger holds."""

from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import pytest

from pulumi_snapshots.cli.assurance.runs import blocks_in
from pulumi_snapshots.clock import Clock, ServiceClock
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.service.errors import (
    Blocked,
    ListingBlocked,
    Outage,
    RequestRefused,
    SnapshotFailed,
    SquareCloudError,
    Unavailable,
)
from pulumi_snapshots.service.limits import (
    ACCOUNT_LANE,
    ACCOUNT_LISTING_BLOCK,
    CREATE,
    READ,
    RESTORE_LANE,
    Lane,
)
from pulumi_snapshots.service.pacing import ACCOUNTS
from pulumi_snapshots.service.shared_pacing import LEDGER_RETRIED
from tests.support.limiter import Request, Runs
from tests.support.memory import SENT
from tests.support.virtual import virtual
from tests.support.world import START

BLOCK = Blocked("GET /x", status=429, code="RATE_LIMITED")
LISTING_BLOCK = ListingBlocked(
    "GET /users/snapshots", status=429, code="RATE_LIMITED", retry_after=300.0
)
UNSURE = 1.0
"""Seconds by which two runs may take the service's time for another, since it shows whole seconds."""


@pytest.mark.parametrize(
    "delay", [(0.0, 0.0), (0.5, 4.0)], ids=["a quick place", "a slow place"]
)
@virtual
async def test_runs_keep_the_accounts_cooldown_together(
    delay: tuple[float, float],
) -> None:
    """A request counts from when its entry is in, which may be much later than when it was decided."""
    runs = Runs(delay=delay)
    async with anyio.create_task_group() as group:
        for number in range(3):
            run = runs.run()
            for one in range(4):
                group.start_soon(run.send, CREATE, f"{number}-{one}")
    assert (
        min(later - earlier for earlier, later in pairwise(runs.times)) >= 5
    )  # the service's limit
    assert any(delay) or runs.times[-1] - runs.times[0] < 12 * (
        CREATE.per_account + UNSURE
    )


@pytest.mark.parametrize("chance", range(6))  # decides which of the two begins
@virtual
async def test_two_fleets_alternate(chance: int) -> None:  # noqa: ARG001  another run each
    runs = Runs()
    async with anyio.create_task_group() as group:
        for name in "ab":
            run = runs.run()
            await run.send(READ)  # as each run asks for the time first
            for number in range(20):
                group.start_soon(
                    partial(run.send, CREATE, f"{name}{number}", name=name)
                )
    order = [name for name in runs.order if name in "ab"]
    assert all(6 <= order[begin : begin + 14].count("a") <= 8 for begin in range(4, 22))


OFF = pytest.mark.parametrize(
    "off",
    [timedelta(), timedelta(hours=1), timedelta(hours=-1), timedelta(days=400)],
    ids=str,
)


@pytest.mark.parametrize(
    ("lane", "limit"), [(CREATE, 180), (RESTORE_LANE, 120)], ids=["create", "restore"]
)
@OFF
@virtual
async def test_runs_keep_a_databases_cooldown_together(
    lane: Lane, limit: float, off: timedelta
) -> None:
    runs = Runs()
    times = [await runs.run(each).send(lane) for each in (off, timedelta(), off)]
    assert all(
        limit <= later - earlier <= lane.per_database + 2 * UNSURE
        for earlier, later in pairwise(times)
    )


@virtual
async def test_runs_share_one_request_budget() -> None:
    runs = Runs()
    async with anyio.create_task_group() as group:
        for off in (timedelta(), timedelta(hours=1)):
            run = runs.run(off, budget=10)
            for _ in range(30):
                group.start_soon(run.send, READ)
    assert all(
        later - earlier >= 60
        for earlier, later in zip(runs.times, runs.times[10:], strict=False)
    )


@virtual
async def test_other_accounts_have_their_own_limits() -> None:
    runs = Runs()
    first = await runs.run().send()
    assert await runs.run(account="another").send() == first


@pytest.mark.parametrize(
    ("refusal", "waits"),
    [
        (RequestRefused("POST /x", status=409), False),
        (SnapshotFailed("POST /x", status=404), True),
    ],
    ids=["refused", "failed"],
)
@virtual
async def test_only_a_create_that_the_service_accepted_starts_a_cooldown(
    refusal: Exception, *, waits: bool
) -> None:
    runs = Runs()
    start = anyio.current_time()
    await runs.run().meets(refusal, CREATE)
    assert (await runs.run().send() - start >= CREATE.per_database) is waits


@virtual
async def test_a_create_that_must_not_leave_any_more_starts_no_cooldown_of_its_database() -> (
    None
):
    runs = Runs()
    start = anyio.current_time()
    _, slot = await runs.run().limiter.claim(
        "POST /x", CREATE, "d", lambda _: SENT, None
    )
    async with slot as departure:
        assert await departure(lambda _: None) is None
    assert await runs.run().send() - start < 60


@pytest.mark.parametrize("at", [0.25 * number for number in range(16, 32)])
@virtual
async def test_so_it_is_if_the_refusal_comes_during_another_edit(at: float) -> None:
    runs = Runs(delay=(2.0, 2.0))
    run = runs.run()
    refused = Request(CREATE, result=RequestRefused("POST /x", status=409), takes=3.0)
    await run.send_all(refused, Request(ACCOUNT_LANE, at=at))
    start = anyio.current_time()
    assert await runs.run().send() - start < 60


@virtual
async def test_a_claim_that_sends_nothing_takes_no_slot() -> None:
    run = Runs().run()
    start = anyio.current_time()
    await run.limiter.claim(
        "POST /x", CREATE, "d", lambda _: SENT._replace(role="resumed"), None
    )
    assert await run.send() == start == await run.send(CREATE, "e") - CREATE.per_account


# Blocks


@virtual
async def test_a_block_that_is_met_during_an_edit_is_not_forgotten() -> None:
    runs = Runs(delay=(2.0, 2.0))
    run = runs.run()
    async with anyio.create_task_group() as group:
        group.start_soon(partial(run.send, READ))
        await anyio.sleep(0.5)
        group.start_soon(run.meets, BLOCK)
        await anyio.sleep(2.5)
        group.start_soon(run.limiter.exchange)
    await run.limiter.exchange()
    await runs.run().is_blocked()


@OFF
@virtual
async def test_a_block_in_one_run_stops_the_others(off: timedelta) -> None:
    runs = Runs()
    start = anyio.current_time()
    await runs.run(off).meets(BLOCK)
    await runs.run().is_blocked()
    assert 1800 - UNSURE <= await runs.run().send(READ) - start <= 1800 + UNSURE


@virtual
async def test_a_run_whose_machine_is_an_hour_ahead_knows_a_block_before_its_first_answer() -> (
    None
):
    runs = Runs(is_shared=False)
    ahead = timedelta(hours=1)
    start = anyio.current_time()
    await runs.run(ahead).meets(BLOCK)
    assert await runs.run(ahead, asked=False).send(READ) - start >= 1799


@virtual
async def test_the_first_request_of_a_run_knows_a_block_of_the_account_listing() -> (
    None
):
    runs = Runs()
    await runs.run().meets(LISTING_BLOCK, ACCOUNT_LANE)
    await anyio.sleep(60)  # no longer for its spacing
    for is_patient in (True, False):
        with pytest.raises(ListingBlocked, match="not sent"):
            await runs.run().send(ACCOUNT_LANE, patient=is_patient)


@virtual
async def test_a_block_of_the_account_listing_stops_it_in_the_other_runs_alone() -> (
    None
):
    runs = Runs()
    await runs.run().meets(LISTING_BLOCK, ACCOUNT_LANE)
    start = anyio.current_time()
    second = runs.run()
    assert max(await second.send(CREATE), await second.send(READ)) - start < 1
    with pytest.raises(ListingBlocked, match="not sent"):
        await second.send(ACCOUNT_LANE)
    await anyio.sleep(ACCOUNT_LISTING_BLOCK + UNSURE)
    await second.send(ACCOUNT_LANE)


@virtual
async def test_a_forgotten_block_does_not_return_from_the_memory_of_another_run() -> (
    None
):
    runs = Runs()
    waiting = runs.run()
    doctor = runs.run(asked=False)
    later = runs.run()
    refused = Request(CREATE, result=RequestRefused("POST /x", status=400), takes=90)
    async with anyio.create_task_group() as group:
        group.start_soon(waiting.send_all, refused)
        await anyio.sleep(1)
        await waiting.meets(BLOCK)
        await anyio.sleep(60)
        assert await doctor.limiter.forget_blocks() is not None
    assert waiting.failed, "it has written its refused request"
    start = anyio.current_time()
    assert await later.send(READ) - start < UNSURE, "it waits for no block"
    await later.meets(BLOCK, CREATE)
    await runs.run().is_blocked()  # one that came afterwards counts


# The service's clock


@virtual
async def test_what_a_run_knew_before_the_time_is_shared_after_the_first_answer() -> (
    None
):
    runs = Runs()
    run = runs.run(timedelta(hours=-3), asked=False)
    first = await run.send(CREATE, "1")
    assert not await runs.place.read(), "a time that others could not use"
    await anyio.sleep(1)
    run.asks()
    await run.send(READ)
    assert await runs.run().send(CREATE, "2") - first >= 5
    met = runs.run(timedelta(hours=-3), asked=False)
    await met.meets(BLOCK)
    met.asks()
    await met.limiter.exchange()
    await runs.run().is_blocked()


@pytest.mark.parametrize(
    "off", [timedelta(hours=1), timedelta(hours=-1), timedelta(seconds=-15)]
)
@virtual
async def test_a_machine_that_does_not_know_the_time_yet_forgets_nothing_of_the_others(
    off: timedelta,
) -> None:
    runs = Runs()
    first = await runs.run().send(CREATE, "1")
    await runs.run(off, asked=False).send(READ)
    assert await runs.run().send(CREATE, "2") - first >= 5
    await runs.run().meets(BLOCK)
    with anyio.move_on_after(1):
        await runs.run(off, asked=False).send(READ)
    await runs.run().is_blocked()


@virtual
async def test_a_clock_that_was_set_delays_no_run_beyond_the_limit() -> None:
    """The run before took the service for a day ahead: what it has left seems to come from the future."""
    runs = Runs()
    start = anyio.current_time()
    ahead = runs.run()
    ahead.ledger.clock.observe(START + timedelta(days=1), START, START)
    await ahead.send()
    assert await runs.run().send() - start <= CREATE.per_database + UNSURE


# What a ledger may hold, and how it may fail

FUTURE = (START + timedelta(days=12)).timestamp()


@virtual
async def test_times_in_the_future_delay_no_run_for_long() -> None:
    runs = Runs()
    sent = [[FUTURE, "a", ["create"]]] * 40
    blocks = {"": FUTURE, "read": FUTURE}
    await runs.place.edit(
        lambda document: document.update(
            {ACCOUNTS: {"account": {"sent": sent, "blocks": blocks}}}
        )
    )
    first = await runs.run().send(CREATE, "1")
    assert 5 <= await runs.run().send(CREATE, "2") - first < 100


@pytest.mark.parametrize(
    "strange",
    [3, {"account": 3}, {"account": {"sent": [["x", "a", ["create"]]]}}],
    ids=str,
)
@virtual
async def test_with_what_no_run_has_written_nothing_is_started_but_reads_are_sent(
    strange: Any,
) -> None:
    runs = Runs()
    await runs.place.edit(lambda document: document.update({ACCOUNTS: strange}))
    with pytest.raises(LedgerUnavailable, match="cannot be read"):
        await runs.run().send(CREATE)
    await runs.run().send(READ)
    assert await runs.place.read() == {ACCOUNTS: strange}


@virtual
async def test_what_a_later_version_wrote_of_another_account_stops_nothing_and_is_named_by_runs() -> (
    None
):
    runs = Runs()
    another = {"another": {"sent": "of a later version"}}
    await runs.place.edit(lambda document: document.update({ACCOUNTS: another}))
    await runs.run().send(CREATE)
    assert (await runs.place.read())[ACCOUNTS].items() > another.items()
    with pytest.raises(LedgerUnavailable, match="cannot be read"):
        await blocks_in(Ledger(runs.place, ServiceClock(Clock(START))))


@virtual
async def test_a_ledger_that_fails_stops_creates_and_no_read() -> None:
    runs = Runs()
    run = runs.run()
    runs.place.refuses_writes = "the disk is full"
    for _ in range(31):
        await run.send(READ)
    assert runs.times[-1] - runs.times[0] >= 60, "by its own pacing"
    with pytest.raises(LedgerUnavailable, match="cannot be used"):
        await run.send(CREATE)
    assert "the disk is full" in run.ledger.trouble
    runs.place.refuses_writes = ""
    await run.send(CREATE)
    await anyio.sleep(LEDGER_RETRIED)
    await run.send(READ)
    assert len((await runs.pacing())["sent"]) > 2, "what could not be written follows"


@virtual
async def test_a_place_that_does_not_answer_delays_one_read_and_no_other_for_a_minute() -> (
    None
):
    runs = Runs(delay=(20.0, 20.0))
    runs.place.refuses_reads = "no answer"
    run = runs.run()
    for pause, delay in ((0.0, 10.0), (0.0, 0.0), (LEDGER_RETRIED, 10.0)):
        await anyio.sleep(pause)
        start = anyio.current_time()
        assert await run.send(READ) - start == delay


@virtual
async def test_an_outage_holds_a_create_back_however_slow_the_place_is() -> None:
    runs = Runs(delay=(1.0, 1.0))
    run = runs.run()
    for database_id in ("a", "b"):
        with pytest.raises(Unavailable):
            await run.send(
                CREATE, database_id, result=Unavailable("POST /x", status=502)
            )
    with pytest.raises(Outage):
        await run.send(CREATE, "c")


@pytest.mark.parametrize(
    ("lane", "refusal"),
    [(READ, BLOCK), (ACCOUNT_LANE, LISTING_BLOCK)],
    ids=["all", "listing"],
)
@virtual
async def test_a_place_that_does_not_answer_keeps_no_blocked_request_from_being_interrupted(
    lane: Lane, refusal: SquareCloudError
) -> None:
    runs = Runs()
    run = runs.run()
    start = anyio.current_time()
    with anyio.move_on_after(5):
        async with run.limiter.slot("GET /x", lane):
            runs.place.delay = 200.0, 200.0
            raise refusal
    assert anyio.current_time() - start == 5


@virtual
async def test_a_place_that_does_not_answer_keeps_no_refused_post_from_being_interrupted() -> (
    None
):
    runs = Runs()
    run = runs.run()
    start = anyio.current_time()
    _, slot = await run.limiter.claim("POST /x", CREATE, "d", lambda _: SENT, None)
    with anyio.move_on_after(5):
        async with slot as departure:
            await departure(lambda _: SENT)
            runs.place.delay = 200.0, 200.0
            raise RequestRefused("POST /x", status=400)
    assert anyio.current_time() - start == 5


@virtual
async def test_a_refused_read_is_no_news() -> None:
    runs = Runs()
    await runs.run().meets(RequestRefused("GET /x", status=400))
    assert runs.place.writes == 0


@virtual
async def test_a_request_counts_once_however_often_its_slot_is_decided() -> None:
    runs = Runs(delay=(0.01, 0.01))
    runs.place.contended = 0.7
    run = runs.run(budget=3)  # too few to reserve any
    for _ in range(3):
        await run.send(READ)
    assert runs.times[-1] - runs.times[0] < 5, (
        "the last was held up by one that was never sent"
    )
    assert len((await runs.pacing())["sent"]) == 3


@virtual
async def test_an_exchange_without_news_writes_nothing_and_a_block_is_news() -> None:
    runs = Runs()
    run = runs.run()
    await run.send(CREATE)
    written = runs.place.writes
    await anyio.sleep(1)
    await run.send(READ)
    await run.limiter.exchange()
    assert runs.place.writes == written
    await run.meets(BLOCK)
    assert runs.place.writes == written + 1, "the block, and the reads with it"
    assert len((await runs.pacing())["sent"]) == 3


@virtual
async def test_old_requests_do_not_fill_the_ledger() -> None:
    runs = Runs()
    for number in range(20):
        await runs.run(budget=1000).send(CREATE, f"{number}")
        await anyio.sleep(100)
    assert len((await runs.pacing())["sent"]) <= 3
