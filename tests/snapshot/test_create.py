"""Create and resume: when a POST is sent, when a look, and what is never sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise

import anyio
import pytest

from pulumi_snapshots.clock import parse_rfc3339, rfc3339
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import NothingSent
from pulumi_snapshots.service.errors import QuotaUsedUp
from pulumi_snapshots.service.rate_limiter import STOPPED
from pulumi_snapshots.snapshot.record import is_pinned
from tests.ledger.play import play
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OWNER, START, Ending, World, world

MINUTE, HOUR = 60.0, 3600.0
ANOTHER = OWNER.replace("before-release", "nightly")


def seconds(w: World, kinds: set[str]) -> list[tuple[float, str]]:
    """When requests of these kinds arrived, from the start."""
    began = w.posts[0].monotonic
    return [(round(one.monotonic - began, 1), one.kind) for one in w.emulator.journal if one.kind in kinds]


@asynccontextmanager
async def used_up() -> AsyncIterator[tuple[World, datetime]]:
    """Make a world whose daily quota of two snapshots is used up; gives it, and when the first of them was taken."""
    async with world(plan="free", plan_memory_mb=256) as w:
        taken = w.emulator.now() - timedelta(hours=20)
        w.emulator.add_snapshot(DATABASE, modified=taken)
        w.emulator.account.quota.uses += [taken, w.emulator.now()]
        yield w, taken


LOOKS = {"list", "list account"}

# When to look ------------------------------------------------------------------------------------------------------


@staged(world)
async def test_no_poll_before_the_post_freezes_a_page_without_our_snapshot(w: World) -> None:
    (await w.create()).complete  # noqa: B018  asserts
    assert [one.kind for one in w.emulator.journal[:2]] == ["status", "create"], "the first shows the time"


@pytest.mark.parametrize(("takes", "polls"), [(290, [210.0, 240.0, 270.0, 300.0]), (20, [20.0])], ids=["202", "200"])
@virtual
async def test_polls_begin_2_minutes_after_a_202_or_at_once_after_a_200(takes: float, polls: list[float]) -> None:
    async with world(snapshot_seconds=takes, cache_world="invalidated") as w:
        (await w.create()).complete  # noqa: B018  asserts
        assert seconds(w, LOOKS) == [(at, "list") for at in polls]


@staged(world, snapshot_seconds=300)
async def test_an_old_snapshot_of_another_run_is_searched_for_in_a_page_that_is_known_already(w: World) -> None:
    (await w.interrupted(130, w.create())).pending  # noqa: B018  asserts
    await w.clock.sleep(3 * HOUR)
    later = w.next_run()
    await later.listings.own_page(DATABASE, w.clock.monotonic())
    await w.clock.sleep(1)
    ending = await w.create(session=later, owner=ANOTHER)
    assert ending.complete.version_id == w.newest().version_id
    assert len(w.posts) == 2


@staged(world, snapshot_seconds=20, clock_offset_seconds=HOUR)
async def test_outputs_are_those_of_the_listing(w: World) -> None:
    record = (await w.create()).complete
    stored = w.newest()
    assert record.id == f"{DATABASE}/{stored.version_id}"
    assert is_pinned(record.download_url, stored.version_id)
    assert (record.name, record.size, record.origin, record.runtime) == (
        stored.name, stored.size, "manual", "postgres",
    )  # fmt: skip
    created = parse_rfc3339(record.created_at or "")
    assert created == stored.modified
    assert parse_rfc3339(record.expires_at or "") == created + timedelta(days=30)
    requested = parse_rfc3339(record.requested_at or "")
    assert abs(requested - (START + timedelta(hours=1))) <= timedelta(seconds=1), "by the service's clock"


# 200, and the URL is not pinned yet --------------------------------------------------------------------------------


async def frozen(w: World) -> None:
    other = w.another_run()
    await other.client.list_snapshots(DATABASE)
    await other.client.list_account()


@pytest.mark.parametrize("end", ["interrupted", "timeout", "not listed"])
@staged(world)
async def test_a_known_version_succeeds_though_its_url_is_pinned_only_by_a_refresh(w: World, end: str) -> None:
    await frozen(w)
    create = w.create(timeout=60.0 if end == "timeout" else HOUR)
    ending = await (w.interrupted(60, create) if end == "interrupted" else create)
    record = ending.complete
    assert record.version_id == w.started()
    assert "serves the newest snapshot" in ending.text
    assert not is_pinned(record.download_url, w.started())
    await w.clock.sleep(31 * MINUTE)
    renewed = (await w.read(record, session=w.another_run())).complete
    assert is_pinned(renewed.download_url, w.started())
    assert (bool(renewed.size), renewed.requested_at) == (True, record.requested_at)


@staged(world, scopes=frozenset({"snapshots:write"}))
async def test_warning_says_why_the_url_is_not_pinned(w: World) -> None:
    ending = await w.create()
    assert ending.complete.version_id == w.started()
    assert "the API key lacks the scope" in ending.text


# When to POST ------------------------------------------------------------------------------------------------------


@staged(world)
async def test_pauses_after_keep_calm_grow_to_3_minutes_with_jitter(w: World) -> None:
    w.fault(kind="create", status=429, code="KEEP_CALM", times=None)
    ending = await w.create(timeout=20 * MINUTE)
    assert isinstance(ending.nothing, NothingSent)
    pauses = [later.monotonic - earlier.monotonic for earlier, later in pairwise(w.posts)]
    for pause, least in zip(pauses, [5, 10, 20, 40, 80, 180, 180, 180, 180], strict=False):
        assert least <= pause <= least * 1.1 + 0.2
    assert len(pauses) >= 8
    assert len(set(pauses[5:])) == len(pauses[5:]), "clients that were refused together must not come back together"


@virtual
async def test_an_interrupt_does_not_hide_when_a_slot_frees() -> None:
    async with used_up() as (w, taken):
        w.fault(kind="me", delay=4.0)
        session = w.session

        async def interrupted() -> None:
            while not any(not post.accepted for post in w.posts):
                await w.clock.sleep(0.5)
            session.stop()

        async with anyio.create_task_group() as group:
            group.start_soon(interrupted)
            ending = await w.create(session=session)
        assert session.stopping
        assert rfc3339(taken + timedelta(hours=24)) in PYTHON.told(ending.nothing)


@staged(world, snapshot_seconds=5, plan_memory_mb=256, cache_world="invalidated")
async def test_used_up_quota_lasts_until_a_slot_frees_each_time(w: World) -> None:
    for hours in (22, 20):
        w.emulator.add_snapshot(DATABASE, modified=w.emulator.now() - timedelta(hours=hours))
    w.emulator.account.quota.uses += [w.emulator.now() - timedelta(hours=hours) for hours in (22, 20)]
    session, ends = w.session, START + timedelta(hours=2)

    async def refused(tries: int) -> str:
        ending = await w.create(session=session, owner=ANOTHER)
        assert isinstance(ending.nothing, QuotaUsedUp)
        assert len([post for post in w.posts if not post.accepted]) == tries
        return PYTHON.told(ending.nothing)

    assert rfc3339(ends) in await refused(1)
    await w.clock.sleep(0.9 * STOPPED)
    assert rfc3339(ends) in await refused(1), "nobody asks for some minutes"
    await w.clock.sleep(2 * HOUR)
    assert (await w.create(session=session)).record
    await w.clock.sleep(600.0)
    assert rfc3339(ends + timedelta(hours=2)) in await refused(2)
    await w.clock.sleep(0.9 * STOPPED)
    assert rfc3339(ends + timedelta(hours=2)) in await refused(2)


@virtual
async def test_used_up_quota_costs_a_fleet_one_request() -> None:
    fleet = tuple(f"{number:032x}" for number in range(8))
    async with world(databases=fleet, snapshot_seconds=200, plan_memory_mb=256) as w:
        endings: dict[str, Ending] = {}

        async def take(database_id: str) -> None:
            endings[database_id] = await w.create(database_id=database_id)

        async with anyio.create_task_group() as group:
            for database_id in fleet:
                group.start_soon(take, database_id)
        started = {post.database_id: post.version_id for post in w.posts if post.accepted}
        assert {one: ending.complete.version_id for one, ending in endings.items() if ending.record} == started
        assert len(started) == 2
        refused = [ending.nothing for ending in endings.values() if not ending.record]
        assert len(refused) == 6
        for error in refused:
            assert isinstance(error, QuotaUsedUp)
            assert "The plan has 256 MB, so 2 snapshots in any 24 hours." in str(error)
        assert len([post for post in w.posts if not post.accepted]) == 1, "nobody else tries"
        assert len(w.requests("me")) == 1
        assert len(w.requests("status")) == 1, "the service's time was asked for once"


@staged(world, plan_memory_mb=256)
async def test_after_a_smaller_plan_a_slot_frees_only_once_enough_expire(w: World) -> None:
    taken = [w.emulator.now() - timedelta(hours=hours) for hours in (20, 15, 10)]
    for one in taken:
        w.emulator.add_snapshot(DATABASE, modified=one)
    w.emulator.account.quota.uses += taken
    ending = await w.create()
    assert rfc3339(taken[1] + timedelta(hours=24)) in PYTHON.told(ending.nothing), "then one is left, of two"


# reuse_within ------------------------------------------------------------------------------------------------------


@staged(world)
async def test_reuse_takes_the_newest_manual_one_and_never_an_automatic_one(w: World) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(minutes=40))
    right = w.emulator.add_snapshot(DATABASE, modified=START - timedelta(minutes=20))
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(minutes=5), origin="automatic")
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(minutes=4), origin=None)
    record = (await w.create(reuse_within=HOUR)).complete
    assert record.version_id == right.version_id
    assert record.requested_at is None
    assert not w.posts


@pytest.mark.parametrize(("offset", "age", "posts"), [(HOUR, 50, 0), (HOUR, 70, 1), (-HOUR, 50, 0), (-HOUR, 70, 1)])
@virtual
async def test_reuse_counts_the_age_by_the_clock_of_the_service(offset: float, age: int, posts: int) -> None:
    async with world(clock_offset_seconds=offset) as w:
        w.emulator.add_snapshot(DATABASE, modified=w.emulator.now() - timedelta(minutes=age))
        (await w.create(reuse_within=HOUR)).complete  # noqa: B018  asserts
        assert len(w.posts) == posts


@staged(world, cache_world="invalidated")
async def test_reuse_never_takes_what_another_resource_of_this_run_has(w: World) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(minutes=5))
    first = (await w.create(reuse_within=HOUR)).complete
    second = (await w.create(reuse_within=HOUR, owner=ANOTHER)).complete
    assert first.version_id != second.version_id
    assert len(w.posts) == 1


REUSE = {
    "none from before another client's restore": """
        wait 400; S.b up; wait 300; somebody restores; wait 300; S up reuse_within=15m; S has 2
    """,
    "none that was requested before a restore and finished after it": """
        service snapshot_seconds=400 modified_is=end; wait 1000; S.b up pending timeout=3m; somebody restores; wait 400;
        S.b up; S up reuse_within=15m; S has 2
    """,
    "none that is to be replaced": "wait 400; S up v1; wait 600; S up v2 reuse_within=15m; S has 2",
    "none that another resource still waits for": """
        service snapshot_seconds=200; wait 700; S.b up pending timeout=2m; S up reuse_within=10m; S.b up; S.b has 1; S has 2
    """,
    "what a run that was killed elsewhere has started": """
        service snapshot_seconds=80; wait 400; S up killed=10; S moves; S up reuse_within=4m; S has 1; accepted 1
    """,
}


@pytest.mark.parametrize("story", REUSE.values(), ids=REUSE)
@virtual
async def test_reuse_takes(story: str) -> None:
    await play(story)


# Earlier attempts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("appears", [True, False])
@staged(world, snapshot_seconds=200, cache_world="invalidated")
async def test_a_given_up_lost_attempt_delays_the_next_post_by_15_minutes(w: World, *, appears: bool) -> None:
    w.fault(kind="create", drop=True, when="after" if appears else "before")
    await w.interrupted(60, w.create())
    record = (await w.create(session=w.next_run(), fresh=True)).complete
    accepted = [post for post in w.posts if post.accepted]
    assert record.version_id == accepted[-1].version_id
    waited = (w.posts[1].at - w.posts[0].at).total_seconds()
    assert waited <= 15 * MINUTE + 10
    assert waited >= (180 if appears else 15 * MINUTE)
    assert len(accepted) == (2 if appears else 1)


@staged(world, cache_world="invalidated", snapshot_seconds=209)
async def test_post_waits_until_the_snapshot_before_it_is_out_of_the_skew(w: World) -> None:
    """Otherwise a later run, which does not know whose it is, would take the one before for ours."""
    first = (await w.create(owner=ANOTHER)).complete
    pending = (await w.interrupted(20, w.create())).pending
    ours = w.posts[-1].version_id
    await w.clock.sleep(10 * MINUTE)
    found = await w.read(pending, session=w.another_run())
    assert found.complete.version_id == ours
    assert first.version_id != ours


# Going on ----------------------------------------------------------------------------------------------------------


@staged(world, snapshot_seconds=HOUR)
async def test_a_resume_has_its_whole_time_again_and_polls_at_once(w: World) -> None:
    pending = (await w.create(timeout=10 * MINUTE)).pending
    assert pending.attempt is not None
    await w.clock.sleep(MINUTE)
    looks = len(w.listings)
    began = w.clock.monotonic()
    again = await w.resume(pending, session=w.another_run(), timeout=10 * MINUTE)
    assert again.pending.attempt == pending.attempt
    assert w.clock.monotonic() - began == 10 * MINUTE
    assert w.listings[looks].monotonic == began
    assert f"--replace '{OWNER}'" in again.text
    assert "The wait ended after 10 min" in again.text
