"""Many clients at once under random faults: the limits always apply, and no accepted POST is lost."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from squarecloud_emulator import Fault
from tests.emulator.visit import visit
from tests.support.virtual import run_virtual

if TYPE_CHECKING:
    from datetime import datetime

    from tests.emulator.visit import Visit

CLIENTS = 12
STEPS = 12
QUOTA = 16  # of 2048 MB


@pytest.mark.parametrize("seed", range(20))
def test_every_accepted_post_gives_exactly_one_snapshot(seed: int) -> None:
    run_virtual(simulate, seed)


async def simulate(seed: int) -> None:
    chance = random.Random(seed)
    worlds: dict[str, Any] = {
        "cache_world": chance.choice(["kept", "invalidated"]),
        "modified_is": chance.choice(["start", "end"]),
        "name_style": chance.choice(["id", "id_type", "id_type_origin"]),
        "version_style": chance.choice(["uuid", "opaque"]),
        "clock_offset_seconds": chance.choice([0, -3600, 3600]),
    }
    async with visit(seed=seed, automatic_snapshots=True, requests_per_minute=10**6, **worlds) as at:
        databases = [
            at.emulator.add_database(snapshot_seconds=chance.choice([0, 30, 90, 91, 400])).id for _ in range(5)
        ]
        at.emulator.add_fault(Fault(drop=True, times=None, probability=0.1, when="after"))
        at.emulator.add_fault(Fault(status=503, code="DATABASE_UNAVAILABLE", times=None, probability=0.1, when="after"))
        at.emulator.add_fault(Fault(no_connect=True, times=None, probability=0.1))
        at.emulator.add_fault(Fault(html=502, times=None, probability=0.1))
        async with trio.open_nursery() as nursery:
            for number in range(CLIENTS):
                nursery.start_soon(client, at, random.Random(f"{seed} {number}"), databases)
        at.emulator.clear_faults()
        await at.clock.sleep(1000)
        await check(at, databases)


async def client(at: Visit, chance: random.Random, databases: list[str]) -> None:
    for _ in range(STEPS):
        await at.clock.sleep(chance.choice([0, 1, 60, 200, 3000, 10_000]) * chance.random())
        database_id = chance.choice(databases)
        try:
            if chance.random() < 0.5:
                await at.create(database_id, timeout=chance.choice([1, 60, 120]))
            else:
                await at.listing(database_id)
        except httpx.TransportError:
            pass


async def check(at: Visit, databases: list[str]) -> None:
    accepted = [entry for entry in at.emulator.journal if entry.accepted]
    assert accepted
    assert max_in_a_day([entry.at for entry in accepted]) <= QUOTA
    for earlier, later in pairwise(accepted):
        assert later.at - earlier.at >= timedelta(seconds=5)
    at.emulator.drop_cache()
    for database_id in databases:
        mine = [entry for entry in accepted if entry.database_id == database_id]
        for earlier, later in pairwise(mine):
            assert later.at - earlier.at >= timedelta(seconds=180)
        listed = (await at.listing(database_id)).json()["response"]
        assert [one["modified"] for one in listed] == sorted((one["modified"] for one in listed), reverse=True)
        manual = sorted(one["version_id"] for one in listed if one["origin"] == "manual")
        assert manual == sorted(str(entry.version_id) for entry in mine)
        for one in listed:
            assert len((await at.files.get(one["url"])).content) == one["size"]


def max_in_a_day(moments: list[datetime]) -> int:
    return max(sum(timedelta(0) <= other - one < timedelta(days=1) for other in moments) for one in moments)
