"""Runs on one machine with the same key keep the limits together, and no shared file can stop them."""

from __future__ import annotations

import json
import pwd
from datetime import timedelta
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

import anyio
import pytest

from pulumi_snapshots.api.errors import Blocked, ListingBlocked, RequestRefused
from pulumi_snapshots.api.pacing.rate_limiter import ACCOUNT_LISTING, CREATE, READ, Lane, RateLimiter
from pulumi_snapshots.api.pacing.request_log import RequestLog
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.locked_file import LockedFile, state_directory
from tests.support.virtual import virtual

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = 1_770_000_000.0


def limiters(folder: Path, *names: str, budget: int = 30) -> list[RateLimiter]:
    clock = Clock()
    file = LockedFile(folder / "requests.json", clock)
    return [
        RateLimiter(clock, requests_per_minute=budget, block_wait=1800, log=RequestLog(clock, file, name=name))
        for name in names
    ]


async def send(limiter: RateLimiter, times: list[float], lane: Lane = CREATE, database_id: str = "d") -> None:
    async with limiter.slot("POST /x", lane, database_id):
        times.append(anyio.current_time())


@virtual
async def test_runs_keep_the_accounts_cooldown_together(tmp_path: Path) -> None:
    times: list[float] = []
    async with anyio.create_task_group() as group:
        for number, limiter in enumerate(limiters(tmp_path, "a", "b", "c")):
            for one in range(4):
                group.start_soon(send, limiter, times, CREATE, f"{number}-{one}")
    assert min(later - earlier for earlier, later in pairwise(times)) >= 5  # the service's limit
    assert times[-1] - times[0] < 12 * CREATE.per_account


@pytest.mark.parametrize("chance", range(6))  # decides which of the two begins
@virtual
async def test_two_fleets_on_one_machine_alternate(tmp_path: Path, chance: int) -> None:  # noqa: ARG001  another run each
    order: list[str] = []

    async def one(limiter: RateLimiter, name: str, number: int) -> None:
        async with limiter.slot("POST /x", CREATE, f"{name}{number}"):
            order.append(name)

    async with anyio.create_task_group() as group:
        for name, limiter in zip("ab", limiters(tmp_path, "a", "b"), strict=True):
            for number in range(20):
                group.start_soon(one, limiter, name, number)
    assert all(6 <= order[begin : begin + 14].count("a") <= 8 for begin in range(4, 22))


@virtual
async def test_runs_keep_a_databases_cooldown_together(tmp_path: Path) -> None:
    times: list[float] = []
    for limiter in limiters(tmp_path, "a", "b"):
        await send(limiter, times)
    assert times[1] - times[0] >= CREATE.per_database


@virtual
async def test_runs_share_one_request_budget(tmp_path: Path) -> None:
    times: list[float] = []
    async with anyio.create_task_group() as group:
        for limiter in limiters(tmp_path, "a", "b", budget=10):
            for _ in range(30):
                group.start_soon(send, limiter, times, READ)
    times.sort()
    assert all(later - earlier >= 60 for earlier, later in zip(times, times[10:], strict=False))


@virtual
async def test_a_block_of_the_account_listing_stops_it_in_the_other_runs_alone(tmp_path: Path) -> None:
    first, second = limiters(tmp_path, "a", "b")
    times: list[float] = []
    with pytest.raises(ListingBlocked):
        async with first.slot("GET /x", ACCOUNT_LISTING):
            raise Blocked("GET /x", status=429, code="RATE_LIMITED")
    start = anyio.current_time()
    await send(second, times, CREATE)
    await send(second, times, READ)
    with pytest.raises(ListingBlocked) as kept_back:
        await send(second, times, ACCOUNT_LISTING)
    assert kept_back.value.unsent
    assert len(times) == 2
    assert max(times) - start < 1
    await anyio.sleep(ACCOUNT_LISTING.own_block)
    await send(second, times, ACCOUNT_LISTING)


@virtual
async def test_a_create_refused_in_another_run_starts_no_cooldown(tmp_path: Path) -> None:
    first, second = limiters(tmp_path, "a", "b")
    times: list[float] = []
    with pytest.raises(RequestRefused):
        async with first.slot("POST /x", CREATE, "d"):
            raise RequestRefused("POST /x", status=409)
    start = anyio.current_time()
    await send(second, times)
    assert times[0] - start < CREATE.per_database / 2


@virtual
async def test_a_block_in_one_run_stops_the_others(tmp_path: Path) -> None:
    first, second = limiters(tmp_path, "a", "b")
    with pytest.raises(Blocked):
        async with first.slot("GET /x", READ):
            raise Blocked("GET /x", status=429, code="RATE_LIMITED")
    with pytest.raises(Blocked, match="not sent"):
        await send(second, [])
    times: list[float] = []
    start = anyio.current_time()
    await send(second, times, READ)
    assert times[0] - start >= 1800 - 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"processes": 3}',
        '{"processes": {"z": 3, "y": {"requests": {"a": 1}, "last": [1]}}, "blocked_until": "x", "lanes_blocked_until": [1]}',
        '{"processes": {"z": {"requests": ["x", null, NaN, 1e999, 1'
        + "0" * 400
        + '], "last": {"create": "x"}}}, "blocked_until": NaN, "lanes_blocked_until": {"account listing": "x", "create": NaN}}',
    ],
)
@virtual
async def test_a_corrupt_file_counts_as_empty(tmp_path: Path, content: str) -> None:
    _write(tmp_path / "requests.json", content)
    times: list[float] = []
    first, second = limiters(tmp_path, "a", "b")
    await send(first, times, database_id="1")
    await send(second, times, database_id="2")
    assert times[1] - times[0] >= CREATE.per_account


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, b"\xff"], ids=repr)
@virtual
async def test_a_damaged_file_is_reported_and_replaced(tmp_path: Path, content: str | bytes) -> None:
    file = LockedFile(tmp_path / "requests.json", Clock())
    await file.change(lambda kept: kept.update(a=1))
    assert not file.damage, "a file that does not exist yet is not damaged"
    file.path.write_bytes(content if isinstance(content, bytes) else content.encode())
    await file.change(lambda kept: kept.update(b=2))
    assert str(file.path) in file.damage
    assert not file.trouble
    assert list(_read(file.path)) == ["b"]


@virtual
async def test_the_draft_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    file = LockedFile(tmp_path / "requests.json", Clock())
    _write(tmp_path / "requests.draft", "{")
    await file.change(lambda kept: kept.update(a=1))
    assert _names(tmp_path) == ["requests.json", "requests.lock"]


@virtual
async def test_a_create_that_is_sent_late_delays_other_runs_from_then_on(tmp_path: Path) -> None:
    first, second = limiters(tmp_path, "a", "b")
    times: list[float] = []
    async with first.slot("POST /x", CREATE, "1") as sending:
        await anyio.sleep(3)
        await sending()
        sent_at = anyio.current_time()
    await send(second, times, database_id="2")
    assert times[0] - sent_at >= CREATE.per_account


@pytest.mark.parametrize("ahead", [3600, 86400.0 * 365])
@virtual
async def test_a_run_whose_clock_is_ahead_does_not_delay_the_others(tmp_path: Path, ahead: float) -> None:
    here = Clock()
    theirs = Clock(here.utc() + timedelta(seconds=ahead))
    path = tmp_path / "requests.json"
    a, b = (
        RateLimiter(
            clock, requests_per_minute=30, block_wait=1800, log=RequestLog(clock, LockedFile(path, clock), name=name)
        )
        for name, clock in (("a", theirs), ("b", here))
    )
    ours: list[float] = []
    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(send, a, [], CREATE, f"a{number}")
        for number in range(4):
            group.start_soon(send, b, ours, CREATE, f"b{number}")
    assert max(ours) - min(ours) < 100
    start = anyio.current_time()
    with pytest.raises(Blocked):
        async with a.slot("GET /x", READ):
            raise Blocked("GET /x", status=429, code="RATE_LIMITED")
    await send(b, ours, READ)
    assert 1800 - 1 <= anyio.current_time() - start <= 1800 + 1


@pytest.mark.parametrize("behind", [60, 3600, 86400.0 * 365])
@virtual
async def test_a_run_whose_clock_is_behind_stops_the_others(tmp_path: Path, behind: float) -> None:
    here = Clock()
    theirs = Clock(here.utc() - timedelta(seconds=behind))
    path = tmp_path / "requests.json"
    a, b = (
        RateLimiter(
            clock, requests_per_minute=30, block_wait=1800, log=RequestLog(clock, LockedFile(path, clock), name=name)
        )
        for name, clock in (("a", theirs), ("b", here))
    )
    await send(b, [], READ)
    await anyio.sleep(1)
    times: list[float] = []
    await send(a, times, CREATE)
    await send(b, times, CREATE)
    assert times[1] - times[0] >= CREATE.per_database - 1
    start = anyio.current_time()
    with pytest.raises(Blocked):
        async with a.slot("GET /x", READ):
            raise Blocked("GET /x", status=429, code="RATE_LIMITED")
    await anyio.sleep(10)
    with pytest.raises(Blocked, match="not sent"):
        await send(b, [])
    for limiter in (b, a, b):
        await send(limiter, [], READ)
        assert 1800 - 1 <= anyio.current_time() - start <= 1800 + 2


@virtual
async def test_times_in_the_future_delay_no_run_beyond_the_limit(tmp_path: Path) -> None:
    future = Clock().utc().timestamp() + 1e6
    content = {"processes": {"z": {"requests": [future], "last": {"create": future}}}}
    _write(tmp_path / "requests.json", json.dumps(content))
    times: list[float] = []
    start = anyio.current_time()
    await send(limiters(tmp_path, "a")[0], times)
    assert times[0] - start <= CREATE.per_account + 1


@virtual
async def test_a_block_of_years_in_the_file_stops_no_run(tmp_path: Path) -> None:
    later = Clock().utc().timestamp() + 1e9
    _write(
        tmp_path / "requests.json",
        json.dumps({"blocked_until": later, "lanes_blocked_until": {"read": later}}),
    )
    times: list[float] = []
    start = anyio.current_time()
    await send(limiters(tmp_path, "a")[0], times, READ)
    assert times == [start]


@virtual
async def test_a_forgotten_block_does_not_return_from_the_memory_of_another_run(tmp_path: Path) -> None:
    waiting, doctor, later = limiters(tmp_path, "waiting", "doctor", "later")

    async def meets_a_block(limiter: RateLimiter) -> None:
        with pytest.raises(Blocked, match=r"^POST /x was answered"):
            async with limiter.slot("POST /x", CREATE):
                raise Blocked("POST /x", status=429, code="RATE_LIMITED")

    await meets_a_block(waiting)
    await anyio.sleep(60)
    assert await doctor.forget_blocks() is not None
    await waiting._log.exchange(lambda: None)  # a run that sleeps through the block writes its requests
    await meets_a_block(later)
    with pytest.raises(Blocked, match="not sent"):  # one that came afterwards counts
        await send(limiters(tmp_path, "last")[0], [])


@virtual
async def test_a_stuck_process_with_the_lock_stops_no_other_run(tmp_path: Path) -> None:
    import fcntl  # noqa: PLC0415

    clock = Clock()
    file = LockedFile(tmp_path / "requests.json", clock)
    limiter = RateLimiter(clock, requests_per_minute=30, block_wait=1800, log=RequestLog(clock, file, name="a"))
    with _opened(tmp_path / "requests.lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        times: list[float] = []
        await send(limiter, times)
    assert len(times) == 1
    assert "lock" in file.trouble


class Overtaken(LockedFile):
    """A file that another process changes whenever this one has decided, so that it decides again."""

    def __init__(self, path: Path, clock: Clock, rival: dict[str, Any]) -> None:
        super().__init__(path, clock)
        self.rival = rival

    async def change(self, edit: Callable[[dict[str, Any]], Any], *, durable: bool = False) -> Any:
        edit(await self.read())
        await super().change(lambda content: content.update(self.rival), durable=durable)
        return await super().change(edit, durable=durable)


@virtual
async def test_a_request_counts_once_however_often_its_slot_is_decided(tmp_path: Path) -> None:
    clock = Clock()
    log = RequestLog(clock, Overtaken(tmp_path / "requests.json", clock, {}), name="a")
    times: list[float] = []
    limiter = RateLimiter(clock, requests_per_minute=2, block_wait=1800, log=log)
    for database_id in ("1", "2"):
        await send(limiter, times, READ, database_id)
    assert log.since(times[0] - 1) == times
    assert times[1] == times[0], "the second was held up by a request that was never sent"


@virtual
async def test_a_slot_that_another_run_takes_meanwhile_is_not_used(tmp_path: Path) -> None:
    clock = Clock()
    now = clock.utc().timestamp()
    rival = {"processes": {"z": {"requests": [now], "last": {"create": now}}}}
    file = Overtaken(tmp_path / "requests.json", clock, rival)
    limiter = RateLimiter(clock, requests_per_minute=30, block_wait=1800, log=RequestLog(clock, file, name="a"))
    start, times = clock.monotonic(), list[float]()
    await send(limiter, times)
    assert times[0] - start >= 5  # the service's limit


@virtual
async def test_an_exchange_without_news_writes_nothing_and_a_block_is_news(tmp_path: Path) -> None:
    clock = Clock()
    file = LockedFile(tmp_path / "requests.json", clock)
    log = RequestLog(clock, file, name="a")
    await log.exchange()
    written = _read(file.path)
    await anyio.sleep(1)
    await log.exchange()
    assert _read(file.path) == written
    log.block(clock.monotonic() + 100)
    await log.exchange()
    assert _read(file.path)["blocked_until"]


@virtual
async def test_old_requests_do_not_fill_the_file(tmp_path: Path) -> None:
    names = [str(number) for number in range(20)]
    for limiter in limiters(tmp_path, *names, budget=1000):
        await send(limiter, [], READ)
        await anyio.sleep(100)
    assert len(_read(tmp_path / "requests.json")["processes"]) <= 3


def test_the_state_directory_belongs_to_the_user() -> None:
    assert str(state_directory({"XDG_STATE_HOME": "/x/state", "HOME": "/home/u"})) == "/x/state/pulumi-snapshots"
    assert (
        str(state_directory({"XDG_STATE_HOME": "relative", "HOME": "/home/u"}))
        == "/home/u/.local/state/pulumi-snapshots"
    )
    assert str(state_directory({"HOME": "/home/u"})) == "/home/u/.local/state/pulumi-snapshots"


@pytest.mark.parametrize("environment", [{}, {"HOME": "home"}, {"HOME": ".", "XDG_STATE_HOME": "state"}], ids=str)
def test_without_a_home_directory_nothing_is_written(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", is_unknown)  # as in a container with an arbitrary user id
    monkeypatch.chdir(tmp_path)

    @virtual
    async def run() -> None:
        file = LockedFile(state_directory(environment) / "requests.json", Clock())
        await file.change(lambda kept: kept.update(a=1))
        assert await file.read() == {}
        assert "set XDG_STATE_HOME" in file.trouble
        assert not file.damage

    run()
    assert not _names(tmp_path)


def _write(path: Path, content: str) -> None:
    path.write_text(content)


def _read(path: Path) -> dict[str, dict[str, object]]:
    return dict(json.loads(path.read_text()))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _opened(path: Path) -> IO[bytes]:
    return path.open("ab")


@virtual
async def test_cooldowns_that_version_0_1_0_wrote_are_kept(tmp_path: Path) -> None:
    now = Clock().utc().timestamp()
    content = {"processes": {"z": {"requests": [now], "account": {"create": now}, "database": {"create d": now}}}}
    _write(tmp_path / "requests.json", json.dumps({**content, "written": now}))
    start, times = anyio.current_time(), list[float]()
    await send(limiters(tmp_path, "a")[0], times)
    assert times[0] - start >= CREATE.per_database - 1
