"""Runs of one machine with the same key: they keep the service's limits together, and nothing they share can stop them."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import pairwise
from typing import IO, TYPE_CHECKING

import anyio
import pytest

from pulumi_snapshots.api.errors import Blocked, RequestRefused
from pulumi_snapshots.api.rate_limiter import CREATE, LOOK, Lane, RateLimiter
from pulumi_snapshots.api.request_log import RequestLog
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.locked_file import LockedFile, state_directory
from tests.support.virtual import virtual

if TYPE_CHECKING:
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
async def test_two_runs_do_not_trip_each_other_over_the_accounts_cooldown(tmp_path: Path) -> None:
    times: list[float] = []
    async with anyio.create_task_group() as group:
        for number, limiter in enumerate(limiters(tmp_path, "a", "b", "c")):
            for one in range(4):
                group.start_soon(send, limiter, times, CREATE, f"{number}-{one}")
    assert min(later - earlier for earlier, later in pairwise(times)) >= 5  # the service's limit
    assert times[-1] - times[0] < 12 * CREATE.per_account


@pytest.mark.parametrize("chance", range(6))  # which of the two begins
@virtual
async def test_fleets_of_two_runs_take_turns(tmp_path: Path, chance: int) -> None:  # noqa: ARG001  another run each
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
async def test_two_runs_do_not_trip_each_other_over_a_databases_cooldown(tmp_path: Path) -> None:
    times: list[float] = []
    for limiter in limiters(tmp_path, "a", "b"):
        await send(limiter, times)
    assert times[1] - times[0] >= CREATE.per_database


@virtual
async def test_two_runs_share_one_budget(tmp_path: Path) -> None:
    times: list[float] = []
    async with anyio.create_task_group() as group:
        for limiter in limiters(tmp_path, "a", "b", budget=10):
            for _ in range(30):
                group.start_soon(send, limiter, times, LOOK)
    times.sort()
    assert all(later - earlier >= 60 for earlier, later in zip(times, times[10:], strict=False))


@virtual
async def test_a_post_that_was_refused_elsewhere_keeps_nobody_waiting(tmp_path: Path) -> None:
    first, second = limiters(tmp_path, "a", "b")
    times: list[float] = []
    with pytest.raises(RequestRefused):
        async with first.slot("POST /x", CREATE, "d"):
            raise RequestRefused("POST /x", status=409)
    begun = anyio.current_time()
    await send(second, times)
    assert times[0] - begun < CREATE.per_database / 2


@virtual
async def test_a_block_that_one_run_met_stops_the_others(tmp_path: Path) -> None:
    first, second = limiters(tmp_path, "a", "b")
    with pytest.raises(Blocked):
        async with first.slot("GET /x", LOOK):
            raise Blocked("GET /x", status=429, code="RATE_LIMITED")
    with pytest.raises(Blocked, match="not sent"):
        await send(second, [])
    times: list[float] = []
    begun = anyio.current_time()
    await send(second, times, LOOK)
    assert times[0] - begun >= 1800 - 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"processes": 3}',
        '{"processes": {"z": 3, "y": {"requests": {"a": 1}, "account": [1], "database": null}}, "blocked_until": "x"}',
        '{"processes": {"z": {"requests": ["x", null, NaN, 1e999, 1'
        + "0" * 400
        + '], "account": {"create": "x"}}}, "blocked_until": NaN}',
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
async def test_a_damaged_file_is_told_of_and_begun_anew(tmp_path: Path, content: str | bytes) -> None:
    file = LockedFile(tmp_path / "requests.json", Clock())
    await file.change(lambda kept: kept.update(a=1))
    assert not file.damage, "one that is not there yet is no damage"
    file.path.write_bytes(content if isinstance(content, bytes) else content.encode())
    await file.change(lambda kept: kept.update(b=2))
    assert str(file.path) in file.damage
    assert not file.trouble
    assert list(_read(file.path)) == ["b"]


@virtual
async def test_a_draft_of_a_killed_run_is_not_kept(tmp_path: Path) -> None:
    file = LockedFile(tmp_path / "requests.json", Clock())
    _write(tmp_path / "requests.draft", "{")
    await file.change(lambda kept: kept.update(a=1))
    assert _names(tmp_path) == ["requests.json", "requests.lock"]


@virtual
async def test_a_post_that_leaves_late_counts_from_then_on_for_the_others_too(tmp_path: Path) -> None:
    first, second = limiters(tmp_path, "a", "b")
    times: list[float] = []
    async with first.slot("POST /x", CREATE, "1") as leaves:
        await anyio.sleep(3)
        await leaves()
        left = anyio.current_time()
    await send(second, times, database_id="2")
    assert times[0] - left >= CREATE.per_account


@pytest.mark.parametrize("ahead", [3600, 86400.0 * 365])
@virtual
async def test_a_run_whose_clock_is_ahead_keeps_its_part_and_stops_nobody(tmp_path: Path, ahead: float) -> None:
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
    begun = anyio.current_time()
    with pytest.raises(Blocked):
        async with a.slot("GET /x", LOOK):
            raise Blocked("GET /x", status=429, code="RATE_LIMITED")
    await send(b, ours, LOOK)
    assert 1800 - 1 <= anyio.current_time() - begun <= 1800 + 1


@virtual
async def test_times_from_a_clock_that_was_set_back_keep_nobody_waiting_longer_than_the_limit(tmp_path: Path) -> None:
    future = Clock().utc().timestamp() + 1e6
    content = {"processes": {"z": {"requests": [future], "account": {"create": future}, "database": {}}}}
    _write(tmp_path / "requests.json", json.dumps(content))
    times: list[float] = []
    begun = anyio.current_time()
    await send(limiters(tmp_path, "a")[0], times)
    assert times[0] - begun <= CREATE.per_account + 1


@virtual
async def test_a_stuck_process_that_holds_the_lock_stops_nobody(tmp_path: Path) -> None:
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


@virtual
async def test_what_is_old_is_forgotten_so_that_the_file_stays_small(tmp_path: Path) -> None:
    names = [str(number) for number in range(20)]
    for limiter in limiters(tmp_path, *names, budget=1000):
        await send(limiter, [], LOOK)
        await anyio.sleep(100)
    assert len(_read(tmp_path / "requests.json")["processes"]) <= 3


def test_the_directory_is_the_users_own() -> None:
    assert str(state_directory({"XDG_STATE_HOME": "/x/state", "HOME": "/home/u"})) == "/x/state/pulumi-snapshots"
    assert (
        str(state_directory({"XDG_STATE_HOME": "relative", "HOME": "/home/u"}))
        == "/home/u/.local/state/pulumi-snapshots"
    )
    assert str(state_directory({"HOME": "/home/u"})) == "/home/u/.local/state/pulumi-snapshots"


def _write(path: Path, content: str) -> None:
    path.write_text(content)


def _read(path: Path) -> dict[str, dict[str, object]]:
    return dict(json.loads(path.read_text()))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _opened(path: Path) -> IO[bytes]:
    return path.open("ab")
