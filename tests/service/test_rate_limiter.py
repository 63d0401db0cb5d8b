"""The rate limiter keeps every limit of the service and delays no request longer than necessary."""

from __future__ import annotations

import random
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulumi_snapshots.clock import Clock, time_text
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.ledger.service_clock import ServiceClock
from pulumi_snapshots.service.errors import (
    Blocked,
    Cooldown,
    KeyRefused,
    ListingBlocked,
    NotSent,
    Outage,
    QuotaUsedUp,
    ServiceFailed,
    SquareCloudError,
    Unavailable,
    error_for,
)
from pulumi_snapshots.service.limits import ACCOUNT_LISTING, CREATE, READ, RESTORE, Lane
from pulumi_snapshots.service.rate_limiter import RateLimiter
from tests.support.memory import SENT, Memory
from tests.support.virtual import run_virtual, virtual

A, B, C = "a" * 32, "b" * 32, "c" * 32
JITTER = 0.5
"""Seconds by which the limiter may be slower than the service's limits."""


def answer(
    status: int, code: str | None = None, retry_after: float | None = None, request: str = "X /x"
) -> SquareCloudError:
    return error_for(request, status, code=code, readable=True, retry_after=retry_after)


KEEP_CALM = answer(429, "KEEP_CALM")
BAD_GATEWAY = answer(502)


class Sender:
    """Sends requests through a rate limiter, and records when each was sent."""

    def __init__(self, *, requests_per_minute: int = 30, block_wait: float = 1800.0) -> None:
        self.clock = Clock()
        ledger = Ledger(Memory(self.clock), ServiceClock(self.clock))
        self.limiter = RateLimiter(
            self.clock, ledger, "account", requests_per_minute=requests_per_minute, block_wait=block_wait
        )
        self.start = self.clock.monotonic()
        self.sent: list[tuple[float, str]] = []
        self.failed: dict[str, SquareCloudError] = {}
        self.reasons: list[str] = []

    @property
    def now(self) -> float:
        return self.clock.monotonic() - self.start

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.sent]

    @property
    def order(self) -> list[str]:
        return [name for _, name in self.sent]

    def on_wait(self, text: str, detail: str = "", *, until: datetime | None = None, why: str = "") -> None:
        ends = f" until {time_text(until)}" if until else ""
        self.reasons.append(f"{text}{ends}{detail}{why and ': '}{why}")

    def at(self, seconds: float) -> str:
        """The time of day so many seconds after its start."""
        return time_text(self.clock.utc() + timedelta(seconds=seconds - self.now))

    async def send(  # noqa: PLR0913  a request has this many parts
        self,
        lane: Lane,
        database: str | None = A,
        *,
        name: str = "",
        result: SquareCloudError | None = None,
        takes: float = 0.0,
        at: float = 0.0,
        patient: bool = True,
    ) -> None:
        name = name or lane.name
        await self.clock.sleep(at)
        try:
            async with await self.slot(f"X /{name}", lane, database, patient=patient):
                self.sent.append((self.now, name))
                await self.clock.sleep(takes)
                if result is not None:
                    raise result
        except SquareCloudError as error:
            self.failed[name] = error

    async def slot(
        self, request: str, lane: Lane, database: str | None, *, patient: bool
    ) -> AbstractAsyncContextManager[None]:
        if not lane.starts:
            return self.limiter.slot(request, lane, database, waits_out_block=patient)
        _, slot = await self.limiter.claim(request, lane, str(database), lambda _: SENT, self.on_wait)
        return slot


@virtual
async def test_creates_of_an_account_are_five_seconds_apart() -> None:
    sender = Sender()
    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(partial(sender.send, CREATE, f"{number}"))
    assert sender.times[0] == 0
    assert all(5.0 < later - earlier <= 5.0 + JITTER for earlier, later in pairwise(sender.times))


@virtual
async def test_creates_of_a_database_wait_180_seconds_and_say_so() -> None:
    sender = Sender()
    await sender.send(CREATE)
    await sender.send(CREATE)
    assert 180 < sender.times[1] <= 181
    assert any("one snapshot per database every 180 s" in text for text in sender.reasons)


@virtual
async def test_a_refused_create_starts_no_cooldown_of_the_database() -> None:
    sender = Sender()
    await sender.send(CREATE, result=KEEP_CALM)
    await sender.send(CREATE)
    assert sender.times == [0, pytest.approx(5.15)]


@virtual
async def test_a_refused_create_keeps_the_cooldown_of_an_earlier_one() -> None:
    sender = Sender()
    sender.limiter.note_earlier_post(A, 100)
    await sender.send(CREATE, result=KEEP_CALM)
    await sender.send(CREATE)
    assert sender.times == [pytest.approx(81), pytest.approx(86.15)]


@virtual
async def test_an_earlier_create_counts_even_if_noted_during_a_refused_one() -> None:
    sender = Sender()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(sender.send, CREATE, result=KEEP_CALM, takes=60))
        await sender.clock.sleep(50)
        sender.limiter.note_earlier_post(A, 10)
    await sender.send(CREATE)
    assert sender.times == [0, pytest.approx(40 + 181)]


@virtual
async def test_a_create_whose_answer_was_lost_counts() -> None:
    sender = Sender()
    await sender.send(CREATE, result=BAD_GATEWAY)
    await sender.send(CREATE)
    assert sender.times[1] > 180


@virtual
async def test_an_earlier_create_of_another_process_counts() -> None:
    sender = Sender()
    sender.limiter.note_earlier_post(A, 60)
    sender.limiter.note_earlier_post(A, 170)
    sender.limiter.note_earlier_post(B, -30)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(sender.send, CREATE, A, name="a"))
        tasks.start_soon(partial(sender.send, CREATE, B, name="b"))
        tasks.start_soon(partial(sender.send, CREATE, C, name="c"))
    assert sender.sent == [(0, "c"), (pytest.approx(121), "a"), (pytest.approx(181), "b")]


@virtual
async def test_no_request_waits_forever_when_time_alone_changes_the_order() -> None:
    sender = Sender()
    sender.limiter.note_earlier_post(A, 60)
    sender.limiter.note_earlier_post(B, 30)
    with anyio.fail_after(1000):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(sender.send, CREATE, A, name="a"))
            tasks.start_soon(partial(sender.send, CREATE, B, name="b"))
            await sender.clock.sleep(10)
            sender.limiter.note_earlier_post(A, 0)
    assert sender.order == ["b", "a"]
    assert sender.times == [pytest.approx(151), pytest.approx(191)]


@virtual
async def test_after_keep_calm_the_accounts_cooldown_starts_again() -> None:
    sender = Sender()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(sender.send, CREATE, A, result=KEEP_CALM, takes=3))
        tasks.start_soon(partial(sender.send, CREATE, B, at=1))
    assert sender.times == [0, pytest.approx(8.15)]


LOADS = st.lists(
    st.tuples(
        st.floats(0, 200),
        st.sampled_from([CREATE, READ, READ, READ, ACCOUNT_LISTING]),
        st.sampled_from([A, B, C]),
        st.sampled_from([None, None, None, KEEP_CALM, BAD_GATEWAY]),
        st.floats(0, 20),
    ),
    min_size=5,
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(load=LOADS, budget=st.sampled_from([1, 2, 5, 30]))
def test_no_limit_of_the_service_is_exceeded_under_any_load(
    load: list[tuple[float, Lane, str, SquareCloudError | None, float]], budget: int
) -> None:
    sender = run_virtual(_carry, load, budget)
    assert len(sender.sent) + len([e for e in sender.failed.values() if isinstance(e, Outage)]) == len(load)
    for first, later in zip(sender.times, sender.times[budget:], strict=False):
        assert later - first > 60, f"{budget + 1} requests within a minute"
    for lane, gap in ((CREATE, 5.0), (ACCOUNT_LISTING, 20.0)):
        times = [at for at, name in sender.sent if name.startswith(f"{lane.name} ")]
        assert all(later - earlier > gap for earlier, later in pairwise(times))


async def _carry(load: list[tuple[float, Lane, str, SquareCloudError | None, float]], budget: int) -> Sender:
    sender = Sender(requests_per_minute=budget)
    async with anyio.create_task_group() as tasks:
        for number, (at, lane, database, result, takes) in enumerate(load):
            name = f"{lane.name} {number}"
            tasks.start_soon(partial(sender.send, lane, database, name=name, result=result, takes=takes, at=at))
    return sender


@virtual
async def test_creates_go_before_reads_but_do_not_starve_them() -> None:
    sender = Sender(requests_per_minute=10)
    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(partial(sender.send, READ, name=f"read {number}", at=0.1))
        for number in range(40):
            tasks.start_soon(partial(sender.send, CREATE, f"{number}"))
    minute = [name.split()[0] for at, name in sender.sent if 60.5 <= at < 121]
    assert minute.count("create") >= 4
    assert minute.count("read") >= 4
    creates = [at for at, name in sender.sent if name == "create"]
    reads = [at for at, name in sender.sent if name.startswith("read")]
    assert max(creates) < 600
    assert max(reads) < 600
    assert sender.order[0] == "create"


@virtual
async def test_the_creates_of_a_fleet_are_not_delayed_by_its_reads() -> None:
    sender = Sender()
    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(partial(sender.send, READ, f"{number}", at=number % 10))
        for number in range(20):
            tasks.start_soon(partial(sender.send, CREATE, f"{number}", at=1))
    creates = [at for at, name in sender.sent if name == "create"]
    assert max(creates) < 20 * 5.15 + 61, "at most one minute of reads was ahead of them"


@virtual
async def test_the_read_that_has_waited_longest_is_next() -> None:
    sender = Sender(requests_per_minute=1)
    numbers = list(range(12))
    random.Random(3).shuffle(numbers)
    async with anyio.create_task_group() as tasks:
        for number in numbers:
            tasks.start_soon(partial(sender.send, READ, f"{number}", name=f"{number}", at=number * 0.1))
    assert sender.order == [f"{n}" for n in range(12)]


@virtual
async def test_account_listings_are_requested_three_times_a_minute_at_most() -> None:
    sender = Sender()
    for _ in range(5):
        await sender.send(ACCOUNT_LISTING, None)
    assert all(20 < later - earlier <= 20 + JITTER for earlier, later in pairwise(sender.times))
    assert all(later - first > 60 for first, later in zip(sender.times, sender.times[3:], strict=False))


@virtual
async def test_a_read_does_not_wait_for_a_queued_account_listing() -> None:
    sender = Sender()
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(partial(sender.send, ACCOUNT_LISTING, None, name=f"account {number}", at=number / 10))
        tasks.start_soon(partial(sender.send, READ, at=1))
    assert sender.sent[:2] == [(0, "account 0"), (1, "read")]


# Requests that are cancelled


@pytest.mark.parametrize("victim", range(6))
@pytest.mark.parametrize("moment", [0.003, 2.0, 5.15, 7.0])
def test_after_a_cancelled_request_the_others_are_sent(victim: int, moment: float) -> None:
    @virtual
    async def run() -> None:
        sender = Sender()
        scopes = [anyio.CancelScope() for _ in range(6)]

        async def one(number: int) -> None:
            with scopes[number]:
                await sender.send(CREATE, f"{number}", name=f"{number}", at=number / 1000)

        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(one, number)
            await sender.clock.sleep(moment)
            scopes[victim].cancel()
        others = [f"{number}" for number in range(6) if number != victim]
        assert [name for name in sender.order if name != f"{victim}"] == others
        assert sender.now < 6 * 5.2

    run()


@virtual
async def test_a_create_that_was_cancelled_under_way_counts() -> None:
    sender = Sender()
    with anyio.move_on_after(10):
        await sender.send(CREATE, takes=90)
    await sender.send(CREATE)
    assert sender.times[1] > 180


# What the answers mean for other requests


@virtual
async def test_no_request_is_sent_with_a_refused_key() -> None:
    sender = Sender()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(sender.send, CREATE, A, name="first", result=answer(401, "ACCESS_DENIED"), takes=1))
        tasks.start_soon(partial(sender.send, CREATE, B, name="waiting", at=0.5))
    await sender.send(READ, name="later")
    assert sender.order == ["first"]
    assert {type(error) for error in sender.failed.values()} == {KeyRefused}
    assert sender.now == 1
    assert "[X /waiting: not sent" in str(sender.failed["waiting"])


@virtual
async def test_a_used_up_quota_stops_queued_creates_but_no_read() -> None:
    sender = Sender()
    quota = answer(429, "DAILY_SNAPSHOTS_LIMIT_REACHED")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(sender.send, CREATE, A, name="first", result=quota, takes=1))
        tasks.start_soon(partial(sender.send, CREATE, B, name="waiting", at=0.5))
    await sender.send(READ)
    assert sender.order == ["first", "read"]
    assert isinstance(sender.failed["waiting"], QuotaUsedUp)
    assert sender.failed["waiting"].unsent
    assert sender.now == 1


@pytest.mark.parametrize(("retry_after", "lasts"), [(None, 1800.0), (600.0, 600.0)])
def test_a_block_stops_creates_and_patient_reads_wait_it_out(retry_after: float | None, lasts: float) -> None:
    @virtual
    async def run() -> None:
        sender = Sender()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                partial(
                    sender.send, CREATE, A, name="first", result=answer(429, "RATE_LIMITED", retry_after=retry_after)
                )
            )
            tasks.start_soon(partial(sender.send, CREATE, B, name="waiting", at=0.5))
            tasks.start_soon(partial(sender.send, READ, name="patient", at=1))
            tasks.start_soon(partial(sender.send, READ, name="impatient", at=2, patient=False))
            tasks.start_soon(partial(sender.send, CREATE, C, name="late", at=lasts - 60))
            tasks.start_soon(partial(sender.send, CREATE, C, name="afterwards", at=lasts + 1))
        assert sender.sent == [(0, "first"), (lasts, "patient"), (lasts + 1, "afterwards")]
        assert {name: type(error) for name, error in sender.failed.items()} == dict.fromkeys(
            ["first", "waiting", "impatient", "late"], Blocked
        )
        assert f"after {sender.at(lasts)}" in PYTHON.told(sender.failed["late"])

    run()


@pytest.mark.parametrize(("retry_after", "lasts"), [(None, 300), (60.0, 60)])
def test_a_block_of_the_account_listing_holds_up_nothing_else(retry_after: float | None, lasts: float) -> None:
    @virtual
    async def play() -> None:
        sender = Sender()
        blocked = answer(429, "RATE_LIMITED", retry_after, "GET /users/snapshots")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(sender.send, ACCOUNT_LISTING, None, name="blocked", result=blocked))
            tasks.start_soon(partial(sender.send, ACCOUNT_LISTING, None, name="queued", at=1))
            tasks.start_soon(partial(sender.send, CREATE, at=2))
            tasks.start_soon(partial(sender.send, READ, at=2, patient=False))
            tasks.start_soon(partial(sender.send, RESTORE, B, at=2))
            tasks.start_soon(partial(sender.send, ACCOUNT_LISTING, None, name="late", at=lasts - 1))
            tasks.start_soon(partial(sender.send, ACCOUNT_LISTING, None, name="over", at=lasts + 1))
        assert {name for _, name in sender.sent} == {"blocked", "create", "restore", "read", "over"}
        assert max(at for at, name in sender.sent if name != "over") <= 2.5
        assert sender.limiter.blocked_until is None
        assert {name: type(error) for name, error in sender.failed.items()} == dict.fromkeys(
            ("blocked", "queued", "late"), ListingBlocked
        )
        assert not sender.failed["blocked"].unsent
        assert sender.failed["late"].unsent
        assert "is blocked, while other requests continue" in str(sender.failed["queued"])
        assert "hint: Run it again after " in PYTHON.told(sender.failed["late"])

    play()


@virtual
async def test_in_an_outage_creates_wait_until_a_read_succeeds() -> None:
    sender = Sender()
    async with anyio.create_task_group() as tasks:
        for number, database in enumerate((A, B)):
            tasks.start_soon(partial(sender.send, CREATE, database, name=f"{number}", result=BAD_GATEWAY))
        tasks.start_soon(partial(sender.send, CREATE, C, name="held", at=1))
        for at, bad in ((20, BAD_GATEWAY), (30, answer(500, "OOPS")), (40, NotSent("GET /x"))):
            tasks.start_soon(partial(sender.send, READ, name="bad read", result=bad, at=at))
        tasks.start_soon(partial(sender.send, READ, name="read", at=60))
    assert sender.sent[-1] == (60, "held")
    assert "held" not in sender.failed
    assert any("service is returning errors" in text for text in sender.reasons)


@virtual
async def test_a_create_fails_unsent_after_two_minutes_of_an_outage() -> None:
    sender = Sender()
    async with anyio.create_task_group() as tasks:
        for database in (A, B):
            tasks.start_soon(partial(sender.send, CREATE, database, name=database, result=BAD_GATEWAY))
        tasks.start_soon(partial(sender.send, CREATE, C, name="held", at=1))
        tasks.start_soon(partial(sender.send, CREATE, "d", name="late", at=100))
    assert isinstance(sender.failed["held"], Outage)
    assert isinstance(sender.failed["late"], Outage)
    assert not sender.failed["held"].ambiguous
    assert sender.now == 220
    assert len(sender.sent) == 2


@pytest.mark.parametrize(
    "between", [None, KEEP_CALM, answer(404, "SNAPSHOT_FAILED"), NotSent("POST /x"), answer(408)], ids=repr
)
def test_failures_that_are_not_in_a_row_are_no_outage(between: SquareCloudError | None) -> None:
    @virtual
    async def run() -> None:
        sender = Sender()
        for number, result in enumerate((BAD_GATEWAY, between, BAD_GATEWAY, None)):
            await sender.send(CREATE, f"{number}", name=f"{number}", result=result)
        assert sender.order == ["0", "1", "2", "3"]

    run()


def test_the_errors_above_are_what_they_stand_for() -> None:
    assert isinstance(KEEP_CALM, Cooldown)
    assert isinstance(BAD_GATEWAY, Unavailable)
    assert isinstance(answer(500, "OOPS"), ServiceFailed)


@virtual
async def test_two_hundred_queued_requests_do_not_wake_up_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Sender()
    wakes = 0
    original = RateLimiter._raise_if_stopped

    def counted(limiter: RateLimiter, request: object) -> None:
        nonlocal wakes
        wakes += 1
        original(limiter, request)  # type: ignore[arg-type]

    monkeypatch.setattr(RateLimiter, "_raise_if_stopped", counted)
    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(partial(sender.send, READ, f"{number}", takes=1))
    assert len(sender.sent) == 200
    assert wakes < 5 * 200, f"{wakes} wake-ups for 200 requests"


@virtual
async def test_restores_have_their_own_cooldowns() -> None:
    sender = Sender()
    async with anyio.create_task_group() as group:
        # At different times, since tasks that start together may run in any order.
        for number, (lane, database) in enumerate(((RESTORE, A), (CREATE, A), (RESTORE, B), (RESTORE, A))):
            name = f"{lane.name} {database[0]}"
            group.start_soon(partial(sender.send, lane, database, name=name, at=number / 1000))
    assert sender.order == ["restore a", "create a", "restore b", "restore a"]
    assert [round(at) for at in sender.times] == [0, 0, 60, 121]
    assert any(
        text.startswith("queued until ") and text.endswith(": one restore per database every 120 s")
        for text in sender.reasons
    )


@virtual
async def test_a_used_up_quota_of_snapshots_stops_no_restore() -> None:
    sender = Sender()
    await sender.send(CREATE, A, result=answer(429, "DAILY_SNAPSHOTS_LIMIT_REACHED"))
    await sender.send(RESTORE, A)
    assert sender.order == ["create", "restore"]


@virtual
async def test_a_block_stops_a_restore() -> None:
    sender = Sender()
    await sender.send(READ, A, result=answer(429, "RATE_LIMITED"))
    await sender.send(RESTORE, A)
    assert isinstance(sender.failed["restore"], Blocked)
    assert sender.failed["restore"].unsent
