"""The service's clock: which answers move it, and what a run says while the time is not known."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import httpx
import pytest

from pulumi_snapshots.clock import Clock, ServiceClock, Stamp, TimeSpan, corrected_time
from pulumi_snapshots.service.client import LONGEST_POST, POST_READ_TIMEOUT
from pulumi_snapshots.service.errors import AnswerLost, Cooldown
from tests.support.scripted import Service
from tests.support.virtual import virtual
from tests.support.world import DATABASE, START

SUCCESS = {"status": "success", "response": {}}
SKEW = timedelta(seconds=5)
SECOND = timedelta(seconds=1)
STORED = timedelta(minutes=-20)
"""How far the `Date` of a page is back that a proxy has stored without an `Age`."""


class Answers:
    """Answers of the service, whose own clock is an hour ahead of this machine's."""

    def __init__(self) -> None:
        self.clock = Clock(START)
        self.service = ServiceClock(self.clock)
        self.ahead = timedelta(hours=1)

    async def come(self, *moved: timedelta) -> None:
        """Let an answer come every 7 s, whose `Date` is moved by this much."""
        for by in moved:
            await anyio.sleep(7)
            now = self.clock.utc()
            self.service.observe(
                (now + self.ahead + by).replace(microsecond=0), now, now
            )

    @property
    def error(self) -> timedelta:
        """How far the service's clock is from the true one."""
        return self.service.now() - self.clock.utc() - self.ahead


RIGHT = timedelta()


@pytest.mark.parametrize("rights", [1, 2, 5])
@pytest.mark.parametrize(
    "stored", [STORED, timedelta(seconds=-3), timedelta(days=40)], ids=str
)
@virtual
async def test_one_stored_page_moves_no_clock(rights: int, stored: timedelta) -> None:
    answers = Answers()
    await answers.come(*[RIGHT] * rights, stored)
    assert abs(answers.error) <= SECOND
    await answers.come(RIGHT, stored, RIGHT)
    assert abs(answers.error) <= SECOND


@virtual
async def test_two_stored_pages_of_different_ages_move_no_clock() -> None:
    answers = Answers()
    await answers.come(RIGHT, RIGHT, STORED, STORED / 2, STORED / 3)
    assert abs(answers.error) <= SECOND


@virtual
async def test_one_stored_page_that_is_read_twice_at_once_moves_no_clock() -> None:
    answers = Answers()
    await answers.come(RIGHT, RIGHT)
    now = answers.clock.utc()
    for _ in range(2):
        answers.service.observe(now + answers.ahead + STORED, now, now)
    assert abs(answers.error) <= SECOND


@virtual
async def test_the_first_answer_is_believed_until_two_others_agree() -> None:
    answers = Answers()
    await answers.come(STORED)
    assert abs(answers.error - STORED) <= SECOND, "there is nothing else to believe"
    await answers.come(RIGHT, RIGHT)
    assert abs(answers.error) <= SECOND


@pytest.mark.parametrize(
    "by", [timedelta(days=1), timedelta(days=-1), timedelta(seconds=-3)], ids=str
)
@virtual
async def test_a_clock_that_was_set_is_followed_after_two_answers(
    by: timedelta,
) -> None:
    answers = Answers()
    await answers.come(*[RIGHT] * 20)
    answers.ahead += by
    await answers.come(RIGHT)
    assert abs(answers.error + by) <= SECOND
    await answers.come(RIGHT)
    assert abs(answers.error) <= SECOND
    assert answers.service.unsure <= 1


@virtual
async def test_two_servers_whose_clocks_differ_move_no_clock_back_and_forth() -> None:
    answers = Answers()
    await answers.come(*[RIGHT, timedelta(seconds=4)] * 6)
    assert abs(answers.error) <= SECOND


@virtual
async def test_each_answer_shows_the_time_more_exactly() -> None:
    clock = Clock(START)
    service = ServiceClock(clock)
    assert (service.offset, service.unsure, service.now()) == (None, 0.0, START)
    for number in range(40):
        await anyio.sleep(7.31)
        true = clock.utc() + timedelta(hours=1, milliseconds=250)
        service.observe(
            true.replace(microsecond=0),
            clock.utc(),
            clock.utc() + timedelta(milliseconds=40),
        )
        assert abs((service.now() - true).total_seconds()) <= service.unsure + 0.04
        assert service.unsure <= 0.55 if number < 20 else service.unsure < 0.1


@virtual
async def test_a_clock_that_drifts_stays_right_to_a_second() -> None:
    answers = Answers()
    for _ in range(2000):
        await answers.come(RIGHT)
        answers.ahead += timedelta(milliseconds=5)
        assert abs(answers.error) <= SECOND * 2


# A machine whose clock is wrong


@pytest.mark.parametrize(
    "machine",
    [datetime(1971, 3, 1, tzinfo=UTC), datetime(2040, 3, 1, tzinfo=UTC)],
    ids=str,
)
@virtual
async def test_a_machine_whose_clock_is_years_off_gets_a_warning(
    machine: datetime,
) -> None:
    service = ServiceClock(Clock(machine))
    service.observe(START, machine, machine)
    assert service.offset is None
    assert service.trouble == (
        f"this machine's clock is wrong: it says {machine:%Y-%m-%d} 00:00:00 UTC, "
        "and the service says 2026-03-01 12:00:00 UTC"
    )


@pytest.mark.parametrize(
    "off", [timedelta(hours=13), timedelta(days=40), timedelta(days=-40)]
)
@virtual
async def test_a_machine_whose_clock_is_days_off_has_no_trouble(off: timedelta) -> None:
    clock = Clock(START + off)
    service = ServiceClock(clock)
    assert service.trouble == "the service has not answered yet"
    service.observe(START, clock.utc(), clock.utc())
    assert service.trouble is None
    assert abs(service.now() - START) <= SECOND


@virtual
async def test_answers_without_a_date_are_called_that() -> None:
    service = Service(httpx.Response(200, json=SUCCESS))
    await service.send(method="GET")
    assert service.client.service_clock.offset is None
    assert service.client.service_clock.trouble == "the service's answers have no date"


# A machine that was paused


class Hands:
    """The two clocks of a machine, which a test moves."""

    def __init__(self) -> None:
        self.wall = START
        self.boot = 100.0
        self.clock = Clock(ticks=lambda: self.boot, wall=lambda: self.wall)

    def move(self, wall: float, boot: float) -> None:
        self.wall += timedelta(seconds=wall)
        self.boot += boot


@pytest.mark.parametrize(
    ("wall", "boot", "age"),
    [
        (3.0, 3.0, 3.0),
        (3600.0, 2.0, 3600.0),  # paused, and the wall clock was set when it woke
        (2.0, 3600.0, 3600.0),  # slept, and nobody has set the wall clock
        (-3600.0, 2.0, 3600.0),  # set back
    ],
)
def test_a_pause_shows_whichever_clock_stood_still(
    wall: float, boot: float, age: float
) -> None:
    hands = Hands()
    stamp = hands.clock.stamp()
    assert stamp == Stamp(wall=START, boot=100.0)
    hands.move(wall, boot)
    assert hands.clock.age_of(stamp) == pytest.approx(age)


@virtual
async def test_a_virtual_clock_stamps_its_own_time() -> None:
    clock = Clock(START)
    stamp = clock.stamp()
    await anyio.sleep(40)
    assert clock.age_of(stamp) == 40


# What the answer to a POST says of when it was sent

POSTED = START + timedelta(seconds=2)


@pytest.mark.parametrize(
    ("claimed", "corrected"),
    [
        (POSTED, POSTED),
        (POSTED - SKEW, POSTED - SKEW),
        (POSTED + SECOND * 89 + SKEW, POSTED + SECOND * 89 + SKEW),
        (POSTED - timedelta(minutes=20), POSTED),
        (POSTED + timedelta(hours=1), POSTED),
        (POSTED - SKEW - SECOND, POSTED),
    ],
)
def test_the_answer_of_a_post_corrects_when_it_was_sent(
    claimed: datetime, corrected: datetime
) -> None:
    span = TimeSpan(POSTED, POSTED + SECOND * 89)
    assert corrected_time(claimed, span, SKEW) == corrected
    assert corrected_time(claimed, None, SKEW) == claimed


def dated(
    status: int, code: str | None, moved: timedelta = RIGHT, **headers: str
) -> httpx.Response:
    date = format_datetime(START + moved, usegmt=True)
    status_text = "success" if code is None else "error"
    body: dict[str, Any] = {"status": status_text, "code": code, "response": {}}
    return httpx.Response(status, headers={"Date": date, **headers}, json=body)


@pytest.mark.parametrize("moved", [RIGHT, STORED, timedelta(days=1)], ids=str)
@virtual
async def test_the_answer_of_a_post_says_when_the_service_got_it(
    moved: timedelta,
) -> None:
    service = Service(dated(202, "SNAPSHOT_PROCESSING", moved))
    answer = await service.client.start_snapshot(DATABASE)
    assert answer.finished is None
    assert answer.sent_within == TimeSpan(START + moved, START + moved + SECOND)
    await service.client.close()


@virtual
async def test_a_refusal_of_a_post_says_when_the_service_got_it() -> None:
    service = Service(dated(429, "KEEP_CALM", STORED))
    with pytest.raises(Cooldown) as refused:
        await service.client.restore_snapshot(DATABASE, name="n", version_id="v" * 36)
    assert refused.value.sent_within == TimeSpan(
        START + STORED, START + STORED + SECOND
    )
    await service.client.close()


@pytest.mark.parametrize(
    "answer",
    [
        dated(202, "SNAPSHOT_PROCESSING", Age="30"),
        httpx.Response(202, json={"status": "success", "response": {}}),
        dated(202, "SNAPSHOT_PROCESSING", timedelta(days=-20_000)),
    ],
    ids=["of a cache", "without a date", "nonsense"],
)
@virtual
async def test_a_post_is_corrected_by_no_date_that_is_not_the_services(
    answer: httpx.Response,
) -> None:
    service = Service(answer)
    assert (await service.client.start_snapshot(DATABASE)).sent_within is None
    await service.client.close()


@virtual
async def test_a_lost_answer_says_nothing_of_when_it_was_sent() -> None:
    service = Service(httpx.ReadError("reset"))
    error = await service.send()
    assert isinstance(error, AnswerLost)
    assert error.sent_within is None


class Endless(httpx.AsyncByteStream):
    """A body that comes slowly, and never ends."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await anyio.sleep(POST_READ_TIMEOUT - 1)
            yield b" "


@virtual
async def test_no_post_lasts_longer_than_other_runs_wait_for_its_answer() -> None:
    service = Service(httpx.Response(200, stream=Endless()))
    began = anyio.current_time()
    with pytest.raises(AnswerLost):
        await service.client.start_snapshot(DATABASE)
    lasted = anyio.current_time() - began
    assert POST_READ_TIMEOUT < lasted <= LONGEST_POST
    await service.client.close()
