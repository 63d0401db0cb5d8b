"""What the sessions of one process share."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.run.calls import Shared
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import ApiKey, Settings
from pulumi_snapshots.service.errors import Blocked
from pulumi_snapshots.service.limits import CREATE, READ, SNAPSHOT_PER_ACCOUNT
from tests.support.memory import SENT, Memory
from tests.support.virtual import virtual
from tests.support.world import START


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """Where the ledger of all processes lies: worker threads would take no virtual time, and the machine's clock takes real time."""
    place = Memory(Clock(START))
    monkeypatch.setattr("pulumi_snapshots.run.calls.Clock", lambda: Clock(START))
    monkeypatch.setattr("pulumi_snapshots.ledger.bucket.place_of", lambda *_: place)
    return place


@virtual
async def test_two_sessions_with_one_key_keep_its_limits_together(
    place: Memory,
) -> None:
    assert place.data is None
    shared = Shared()
    settings = Settings(api_key=ApiKey("k" * 64), requests_per_minute=30)
    sessions = [
        shared.session(settings),
        shared.session(replace(settings, requests_per_minute=60, poll_every=5.0)),
    ]
    now = sessions[0].clock.utc()
    times = list[float]()
    sessions[0].service_clock.observe(now.replace(microsecond=0), now, now)

    async def post(session: Session, database_id: str) -> None:
        _, slot = await session.rate_limiter.claim(
            "POST /x", CREATE, database_id, lambda _: SENT, None
        )
        async with slot:
            times.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(post, sessions[number % 2], f"{number}")
    assert (
        min(later - earlier for earlier, later in pairwise(times))
        >= SNAPSHOT_PER_ACCOUNT
    )
    with pytest.raises(Blocked):
        async with sessions[0].rate_limiter.slot("GET /x", READ):
            raise Blocked("GET /x", status=429, code="RATE_LIMITED")
    with pytest.raises(Blocked, match="not sent"):
        async with sessions[1].rate_limiter.slot("GET /x", READ, waits_out_block=False):
            pass


@virtual
async def test_sessions_with_two_ledgers_claim_each_in_its_own(
    place: Memory, tmp_path: Path
) -> None:
    assert place.writes == 0
    shared = Shared()
    settings = Settings(api_key=ApiKey("k" * 64))
    sessions = [
        shared.session(each)
        for each in (settings, replace(settings, state_dir=str(tmp_path)))
    ]
    assert sessions[0].ledger is not sessions[1].ledger
