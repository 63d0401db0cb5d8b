"""Looks that are shared, and what they teach about the service's cache."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import pytest

from pulumi_snapshots.emulator import Fault
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START, Ending, World, world

MINUTE = 60.0


async def look(w: World) -> set[str | None]:
    page = await w.session.looks.database(DATABASE, w.clock.monotonic())
    return {entry.version for entry in page.entries}


@virtual
async def test_two_changes_within_half_an_hour_prove_that_new_snapshots_end_the_cache() -> None:
    async with world(cache_world="invalidated") as w:
        await look(w)
        for changes, proven in ((1, False), (2, True)):
            await w.clock.sleep(5 * MINUTE)
            w.emulator.add_snapshot(DATABASE)
            assert len(await look(w)) == changes
            assert w.session.looks.sees_new_at_once is proven


@pytest.mark.parametrize("every", [1.0, 7.0, 29.0])
def test_cache_that_is_kept_is_never_taken_for_one_that_is_not(every: float) -> None:
    @virtual
    async def play() -> None:
        async with world(cache_world="kept") as w:
            for _ in range(200):
                w.emulator.add_snapshot(DATABASE)
                await look(w)
                await w.clock.sleep(every * MINUTE)
            assert not w.session.looks.sees_new_at_once

    play()


@virtual
async def test_run_that_knows_the_cache_looks_sooner_and_at_one_listing_only() -> None:
    async with world(cache_world="invalidated", snapshot_seconds=200) as w:
        w.session.looks.sees_new_at_once = True
        (await w.create()).complete  # noqa: B018  asserts
        posted = w.posts[0].monotonic
        assert [(one.kind, one.monotonic - posted) for one in w.looks] == [
            ("list", 120.0), ("list", 150.0), ("list", 180.0), ("list", 210.0),
        ]  # fmt: skip


@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 402, "code": "UPGRADE_REQUIRED"},
        {"status": 403, "code": "RESOURCE_NOT_ALLOWED"},
        {"status": 404, "code": "NOT_FOUND"},
    ],
    ids=str,
)
def test_refused_account_listing_is_asked_for_once_and_fails_nobody(refusal: dict[str, Any]) -> None:
    @virtual
    async def play() -> None:
        async with world(snapshot_seconds=400, cache_world="invalidated") as w:
            w.emulator.add_fault(Fault(kind="list account", times=None, **refusal))
            assert (await w.create()).complete.version_id == w.started()
            assert len(w.requests("list account")) == 1

    play()


@virtual
async def test_many_databases_wait_with_few_looks_and_each_finds_its_own() -> None:
    databases = tuple(f"{number:032x}" for number in range(20))
    async with world(databases=databases, snapshot_seconds=200, plan_memory_mb=256_000, requests_per_minute=30) as w:
        endings: dict[str, Ending] = {}

        async def take(database_id: str) -> None:
            endings[database_id] = await w.create(database_id=database_id)

        async with anyio.create_task_group() as group:
            for database_id in databases:
                group.start_soon(take, database_id)
        started = {post.database_id: post.version_id for post in w.posts}
        assert {one: ending.complete.version_id for one, ending in endings.items()} == started
        assert len(w.posts) == 20
        assert all(entry.code != "RATE_LIMITED" for entry in w.emulator.journal)


@virtual
async def test_account_listing_shows_each_database_only_its_own() -> None:
    async with world(databases=(DATABASE, OTHER_DATABASE), name_style="id_type_origin") as w:
        ours = w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=1))
        w.emulator.add_snapshot(OTHER_DATABASE, modified=START - timedelta(hours=2))
        page = await w.session.looks.account(DATABASE, 0.0)
        assert page is not None
        assert [entry.version for entry in page.entries] == [ours.version_id]
        assert not page.complete, "an entry that cannot be told may be ours"
