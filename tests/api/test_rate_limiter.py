"""How requests are spaced: what a user loses here is money (a second POST), half an hour (a block), or a run's patience."""

from __future__ import annotations

import random
from functools import partial
from itertools import pairwise

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulumi_snapshots.api.errors import (
    Blocked,
    Cooldown,
    KeyRefused,
    NotSent,
    Outage,
    QuotaUsedUp,
    ServiceFailed,
    SquareCloudError,
    Unavailable,
    error_for,
)
from pulumi_snapshots.api.rate_limiter import ACCOUNT_LISTING, CREATE, LOOK, RESTORE, Lane, RateLimiter
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.engine.wording import PYTHON
from tests.support.virtual import run_virtual, virtual

A, B, C = "a" * 32, "b" * 32, "c" * 32
JITTER = 0.5
"""Seconds by which the limiter may be slower than the service asks."""


def answer(status: int, code: str | None = None, retry_after: float | None = None) -> SquareCloudError:
    return error_for("X /x", status, code=code, readable=True, retry_after=retry_after)


KEEP_CALM = answer(429, "KEEP_CALM")
BAD_GATEWAY = answer(502)


class Station:
    """A limiter, and what passed it when."""

    def __init__(self, *, requests_per_minute: int = 30, block_wait: float = 1800.0) -> None:
        self.clock = Clock()
        self.limiter = RateLimiter(self.clock, requests_per_minute=requests_per_minute, block_wait=block_wait)
        self.begun = self.clock.monotonic()
        self.passed: list[tuple[float, str]] = []
        self.failed: dict[str, SquareCloudError] = {}
        self.told: list[str] = []

    @property
    def now(self) -> float:
        return self.clock.monotonic() - self.begun

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.passed]

    @property
    def order(self) -> list[str]:
        return [name for _, name in self.passed]

    def hear(self, text: str, detail: str) -> None:
        self.told.append(f"{text}; {detail}" if detail else text)

    async def send(  # noqa: PLR0913  a request has this many parts
        self,
        lane: Lane,
        database: str | None = A,
        *,
        name: str = "",
        brings: SquareCloudError | None = None,
        takes: float = 0.0,
        at: float = 0.0,
        patient: bool = True,
    ) -> None:
        name = name or lane.name
        await self.clock.sleep(at)
        try:
            async with self.limiter.slot(f"X /{name}", lane, database, waits_out_block=patient, tell=self.hear):
                self.passed.append((self.now, name))
                await self.clock.sleep(takes)
                if brings is not None:
                    raise brings
        except SquareCloudError as error:
            self.failed[name] = error


@virtual
async def test_posts_of_an_account_are_five_seconds_apart() -> None:
    station = Station()
    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(partial(station.send, CREATE, f"{number}"))
    assert station.times[0] == 0
    assert all(5.0 < later - earlier <= 5.0 + JITTER for earlier, later in pairwise(station.times))


@virtual
async def test_posts_of_a_database_are_180_seconds_apart_and_say_so() -> None:
    station = Station()
    await station.send(CREATE)
    await station.send(CREATE)
    assert 180 < station.times[1] <= 181
    assert any("one snapshot per database in 180 s" in text for text in station.told)


@virtual
async def test_a_refused_post_does_not_start_the_database_s_cooldown() -> None:
    station = Station()
    await station.send(CREATE, brings=KEEP_CALM)
    await station.send(CREATE)
    assert station.times == [0, pytest.approx(5.15)]


@virtual
async def test_a_refused_post_does_not_end_the_cooldown_of_an_earlier_one() -> None:
    station = Station()
    station.limiter.note_earlier_post(A, 100)
    await station.send(CREATE, brings=KEEP_CALM)
    await station.send(CREATE)
    assert station.times == [pytest.approx(81), pytest.approx(86.15)]


@virtual
async def test_a_post_that_is_learnt_of_while_another_is_under_way_counts_after_its_refusal() -> None:
    station = Station()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(station.send, CREATE, brings=KEEP_CALM, takes=60))
        await station.clock.sleep(50)
        station.limiter.note_earlier_post(A, 10)
    await station.send(CREATE)
    assert station.times == [0, pytest.approx(40 + 181)]


@virtual
async def test_a_post_whose_answer_was_lost_counts() -> None:
    station = Station()
    await station.send(CREATE, brings=BAD_GATEWAY)
    await station.send(CREATE)
    assert station.times[1] > 180


@virtual
async def test_an_earlier_post_of_another_process_counts() -> None:
    station = Station()
    station.limiter.note_earlier_post(A, 60)
    station.limiter.note_earlier_post(A, 170)
    station.limiter.note_earlier_post(B, -30)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(station.send, CREATE, A, name="a"))
        tasks.start_soon(partial(station.send, CREATE, B, name="b"))
        tasks.start_soon(partial(station.send, CREATE, C, name="c"))
    assert station.passed == [(0, "c"), (pytest.approx(121), "a"), (pytest.approx(181), "b")]


@virtual
async def test_nobody_sleeps_for_ever_when_only_time_changes_whose_turn_it_is() -> None:
    station = Station()
    station.limiter.note_earlier_post(A, 60)
    station.limiter.note_earlier_post(B, 30)
    with anyio.fail_after(1000):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(station.send, CREATE, A, name="a"))
            tasks.start_soon(partial(station.send, CREATE, B, name="b"))
            await station.clock.sleep(10)
            station.limiter.note_earlier_post(A, 0)
    assert station.order == ["b", "a"]
    assert station.times == [pytest.approx(151), pytest.approx(191)]


@virtual
async def test_after_keep_calm_the_account_waits_its_full_cooldown_again() -> None:
    station = Station()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(station.send, CREATE, A, brings=KEEP_CALM, takes=3))
        tasks.start_soon(partial(station.send, CREATE, B, at=1))
    assert station.times == [0, pytest.approx(8.15)]


LOADS = st.lists(
    st.tuples(
        st.floats(0, 200),
        st.sampled_from([CREATE, LOOK, LOOK, LOOK, ACCOUNT_LISTING]),
        st.sampled_from([A, B, C]),
        st.sampled_from([None, None, None, KEEP_CALM, BAD_GATEWAY]),
        st.floats(0, 20),
    ),
    min_size=5,
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(load=LOADS, budget=st.sampled_from([1, 2, 5, 30]))
def test_no_limit_of_the_service_is_passed_whatever_the_load(
    load: list[tuple[float, Lane, str, SquareCloudError | None, float]], budget: int
) -> None:
    station = run_virtual(_carry, load, budget)
    assert len(station.passed) + len([e for e in station.failed.values() if isinstance(e, Outage)]) == len(load)
    for first, later in zip(station.times, station.times[budget:], strict=False):
        assert later - first > 60, f"{budget + 1} requests within a minute"
    for lane, gap in ((CREATE, 5.0), (ACCOUNT_LISTING, 20.0)):
        times = [at for at, name in station.passed if name.startswith(f"{lane.name} ")]
        assert all(later - earlier > gap for earlier, later in pairwise(times))


async def _carry(load: list[tuple[float, Lane, str, SquareCloudError | None, float]], budget: int) -> Station:
    station = Station(requests_per_minute=budget)
    async with anyio.create_task_group() as tasks:
        for number, (at, lane, database, brings, takes) in enumerate(load):
            name = f"{lane.name} {number}"
            tasks.start_soon(partial(station.send, lane, database, name=name, brings=brings, takes=takes, at=at))
    return station


@virtual
async def test_posts_go_before_looks_but_do_not_starve_them() -> None:
    station = Station(requests_per_minute=10)
    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(partial(station.send, LOOK, name=f"look {number}", at=0.1))
        for number in range(40):
            tasks.start_soon(partial(station.send, CREATE, f"{number}"))
    minute = [name.split()[0] for at, name in station.passed if 60.5 <= at < 121]
    assert minute.count("create") >= 4
    assert minute.count("look") >= 4
    creates = [at for at, name in station.passed if name == "create"]
    looks = [at for at, name in station.passed if name.startswith("look")]
    assert max(creates) < 600
    assert max(looks) < 600
    assert station.order[0] == "create"


@virtual
async def test_a_fleet_s_posts_are_not_held_up_by_its_looks() -> None:
    station = Station()
    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(partial(station.send, LOOK, f"{number}", at=number % 10))
        for number in range(20):
            tasks.start_soon(partial(station.send, CREATE, f"{number}", at=1))
    creates = [at for at, name in station.passed if name == "create"]
    assert max(creates) < 20 * 5.15 + 61, "at most one window of looks was before them"


@virtual
async def test_looks_go_to_whoever_has_waited_longest() -> None:
    station = Station(requests_per_minute=1)
    numbers = list(range(12))
    random.Random(3).shuffle(numbers)
    async with anyio.create_task_group() as tasks:
        for number in numbers:
            tasks.start_soon(partial(station.send, LOOK, f"{number}", name=f"{number}", at=number * 0.1))
    assert station.order == [f"{n}" for n in range(12)]


@virtual
async def test_the_account_listing_is_asked_for_three_times_a_minute_at_most() -> None:
    station = Station()
    for _ in range(5):
        await station.send(ACCOUNT_LISTING, None)
    assert all(20 < later - earlier <= 20 + JITTER for earlier, later in pairwise(station.times))
    assert all(later - first > 60 for first, later in zip(station.times, station.times[3:], strict=False))


@virtual
async def test_a_look_does_not_wait_for_an_account_listing_s_turn() -> None:
    station = Station()
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(partial(station.send, ACCOUNT_LISTING, None, name=f"account {number}", at=number / 10))
        tasks.start_soon(partial(station.send, LOOK, at=1))
    assert station.passed[:2] == [(0, "account 0"), (1, "look")]


# Waiters that go away


@pytest.mark.parametrize("victim", range(6))
@pytest.mark.parametrize("moment", [0.003, 2.0, 5.15, 7.0])
def test_whoever_is_cancelled_the_others_get_their_turn(victim: int, moment: float) -> None:
    @virtual
    async def run() -> None:
        station = Station()
        scopes = [anyio.CancelScope() for _ in range(6)]

        async def one(number: int) -> None:
            with scopes[number]:
                await station.send(CREATE, f"{number}", name=f"{number}", at=number / 1000)

        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(one, number)
            await station.clock.sleep(moment)
            scopes[victim].cancel()
        others = [f"{number}" for number in range(6) if number != victim]
        assert [name for name in station.order if name != f"{victim}"] == others
        assert station.now < 6 * 5.2

    run()


@virtual
async def test_a_cancelled_post_under_way_counts_as_sent() -> None:
    station = Station()
    with anyio.move_on_after(10):
        await station.send(CREATE, takes=90)
    await station.send(CREATE)
    assert station.times[1] > 180


# What the answers say


@virtual
async def test_nothing_more_is_sent_with_a_refused_key() -> None:
    station = Station()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(station.send, CREATE, A, name="first", brings=answer(401, "ACCESS_DENIED"), takes=1))
        tasks.start_soon(partial(station.send, CREATE, B, name="waiting", at=0.5))
    await station.send(LOOK, name="later")
    assert station.order == ["first"]
    assert {type(error) for error in station.failed.values()} == {KeyRefused}
    assert station.now == 1
    assert "X /waiting was not sent" in str(station.failed["waiting"])


@virtual
async def test_a_used_up_quota_stops_the_waiting_posts_but_no_look() -> None:
    station = Station()
    quota = answer(429, "DAILY_SNAPSHOTS_LIMIT_REACHED")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(station.send, CREATE, A, name="first", brings=quota, takes=1))
        tasks.start_soon(partial(station.send, CREATE, B, name="waiting", at=0.5))
    await station.send(LOOK)
    assert station.order == ["first", "look"]
    assert isinstance(station.failed["waiting"], QuotaUsedUp)
    assert station.failed["waiting"].unsent
    assert station.now == 1


@pytest.mark.parametrize(("retry_after", "lasts"), [(None, 1800.0), (600.0, 600.0)])
def test_a_block_stops_posts_at_once_and_patient_looks_wait_it_out(retry_after: float | None, lasts: float) -> None:
    @virtual
    async def run() -> None:
        station = Station()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                partial(
                    station.send, CREATE, A, name="first", brings=answer(429, "RATE_LIMITED", retry_after=retry_after)
                )
            )
            tasks.start_soon(partial(station.send, CREATE, B, name="waiting", at=0.5))
            tasks.start_soon(partial(station.send, LOOK, name="patient", at=1))
            tasks.start_soon(partial(station.send, LOOK, name="impatient", at=2, patient=False))
            tasks.start_soon(partial(station.send, CREATE, C, name="late", at=lasts - 60))
            tasks.start_soon(partial(station.send, CREATE, C, name="afterwards", at=lasts + 1))
        assert station.passed == [(0, "first"), (lasts, "patient"), (lasts + 1, "afterwards")]
        assert {name: type(error) for name, error in station.failed.items()} == dict.fromkeys(
            ["first", "waiting", "impatient", "late"], Blocked
        )
        assert "about 1 minute." in PYTHON.told(station.failed["late"])
        assert "waiting for the end of the account's block" in station.told

    run()


@virtual
async def test_an_outage_holds_posts_back_until_a_look_is_answered() -> None:
    station = Station()
    async with anyio.create_task_group() as tasks:
        for number, database in enumerate((A, B)):
            tasks.start_soon(partial(station.send, CREATE, database, name=f"{number}", brings=BAD_GATEWAY))
        tasks.start_soon(partial(station.send, CREATE, C, name="held", at=1))
        for at, bad in ((20, BAD_GATEWAY), (30, answer(500, "OOPS")), (40, NotSent("GET /x"))):
            tasks.start_soon(partial(station.send, LOOK, name="bad look", brings=bad, at=at))
        tasks.start_soon(partial(station.send, LOOK, name="look", at=60))
    assert station.passed[-1] == (60, "held")
    assert "held" not in station.failed
    assert any("the service fails" in text for text in station.told)


@virtual
async def test_a_post_fails_unsent_after_two_minutes_of_an_outage() -> None:
    station = Station()
    async with anyio.create_task_group() as tasks:
        for database in (A, B):
            tasks.start_soon(partial(station.send, CREATE, database, name=database, brings=BAD_GATEWAY))
        tasks.start_soon(partial(station.send, CREATE, C, name="held", at=1))
        tasks.start_soon(partial(station.send, CREATE, "d", name="late", at=100))
    assert isinstance(station.failed["held"], Outage)
    assert isinstance(station.failed["late"], Outage)
    assert not station.failed["held"].ambiguous
    assert station.now == 220
    assert len(station.passed) == 2


@pytest.mark.parametrize(
    "between", [None, KEEP_CALM, answer(404, "SNAPSHOT_FAILED"), NotSent("POST /x"), answer(408)], ids=repr
)
def test_failures_that_are_not_in_a_row_are_no_outage(between: SquareCloudError | None) -> None:
    @virtual
    async def run() -> None:
        station = Station()
        for number, brings in enumerate((BAD_GATEWAY, between, BAD_GATEWAY, None)):
            await station.send(CREATE, f"{number}", name=f"{number}", brings=brings)
        assert station.order == ["0", "1", "2", "3"]

    run()


def test_the_errors_above_are_what_they_stand_for() -> None:
    assert isinstance(KEEP_CALM, Cooldown)
    assert isinstance(BAD_GATEWAY, Unavailable)
    assert isinstance(answer(500, "OOPS"), ServiceFailed)


@virtual
async def test_two_hundred_waiters_sleep_until_something_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    station = Station()
    wakes = 0
    earliest = RateLimiter._stop_if_closed

    def counted(limiter: RateLimiter, ticket: object) -> None:
        nonlocal wakes
        wakes += 1
        earliest(limiter, ticket)  # type: ignore[arg-type]

    monkeypatch.setattr(RateLimiter, "_stop_if_closed", counted)
    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(partial(station.send, LOOK, f"{number}", takes=1))
    assert len(station.passed) == 200
    assert wakes < 5 * 200, f"{wakes} wake-ups for 200 requests"


@virtual
async def test_restores_have_cooldowns_of_their_own() -> None:
    station = Station()
    async with anyio.create_task_group() as group:
        # One after the other, since tasks that start together start in any order.
        for number, (lane, database) in enumerate(((RESTORE, A), (CREATE, A), (RESTORE, B), (RESTORE, A))):
            name = f"{lane.name} {database[0]}"
            group.start_soon(partial(station.send, lane, database, name=name, at=number / 1000))
    assert station.order == ["restore a", "create a", "restore b", "restore a"]
    assert [round(at) for at in station.times] == [0, 0, 60, 121]
    assert any("the service takes one restore per database in 120 s" in text for text in station.told)


@virtual
async def test_a_used_up_quota_of_snapshots_stops_no_restore() -> None:
    station = Station()
    await station.send(CREATE, A, brings=answer(429, "DAILY_SNAPSHOTS_LIMIT_REACHED"))
    await station.send(RESTORE, A)
    assert station.order == ["create", "restore"]


@virtual
async def test_a_block_stops_a_restore() -> None:
    station = Station()
    await station.send(LOOK, A, brings=answer(429, "RATE_LIMITED"))
    await station.send(RESTORE, A)
    assert isinstance(station.failed["restore"], Blocked)
    assert station.failed["restore"].unsent
