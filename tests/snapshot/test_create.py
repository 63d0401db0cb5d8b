"""Create and resume: when a POST is sent, when a look, and what is never sent."""

from datetime import timedelta
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

MINUTE = 60.0
HOUR = 3600.0
ANOTHER = OWNER.replace("before-release", "nightly")
FLEET = tuple(f"{number:032x}" for number in range(8))


# When to look ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("takes", "polls"),
    [(290, [210.0, 240.0, 270.0, 300.0]), (20, [20.0])],
    ids=["202", "200"],
)
@virtual
async def test_polls_begin_2_minutes_after_a_202_or_at_once_after_a_200(
    takes: float, polls: list[float]
) -> None:
    async with world(snapshot_seconds=takes, cache_world="invalidated") as w:
        (await w.create()).complete  # noqa: B018  asserts
        assert [one.kind for one in w.emulator.journal] == [
            "me",
            "create",
            *["list"] * len(polls),
        ]
        assert [
            round(one.monotonic - w.posts[0].monotonic, 1) for one in w.listings
        ] == polls


@staged(world, snapshot_seconds=300)
async def test_an_old_snapshot_of_another_run_is_searched_for_in_a_page_that_is_known_already(
    w: World,
) -> None:
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
    assert abs(requested - (START + timedelta(hours=1))) <= timedelta(seconds=1), (
        "by the service's clock"
    )


# 200, and the URL is not pinned yet --------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["interrupted", "timeout", "not listed"])
@staged(world)
async def test_a_known_version_succeeds_though_its_url_is_pinned_only_by_a_refresh(
    w: World, end: str
) -> None:
    await w.freeze_listings()
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


# When to POST ------------------------------------------------------------------------------------------------------


@staged(world)
async def test_pauses_after_keep_calm_grow_to_3_minutes_with_jitter(w: World) -> None:
    w.fault(kind="create", status=429, code="KEEP_CALM", times=None)
    ending = await w.create(timeout=20 * MINUTE)
    assert isinstance(ending.nothing, NothingSent)
    pauses = [
        later.monotonic - earlier.monotonic for earlier, later in pairwise(w.posts)
    ]
    for pause, least in zip(
        pauses, [5, 10, 20, 40, 80, 180, 180, 180, 180], strict=False
    ):
        assert least <= pause <= least * 1.1 + 0.2
    assert len(pauses) >= 8
    assert len(set(pauses[5:])) == len(pauses[5:]), (
        "clients that were refused together must not come back together"
    )


@staged(world, plan="free", plan_memory_mb=256)
async def test_an_interrupt_does_not_hide_when_a_slot_frees(w: World) -> None:
    taken, _ = w.use_quota(20, 0)
    w.fault(kind="me", delay=4.0)

    async def interrupted() -> None:
        while not any(not post.accepted for post in w.posts):
            await w.clock.sleep(0.5)
        w.session.stop()

    async with anyio.create_task_group() as group:
        group.start_soon(interrupted)
        ending = await w.create()
    assert w.session.stopping
    assert rfc3339(taken + timedelta(hours=24)) in PYTHON.error_text(ending.nothing)


@staged(world, snapshot_seconds=5, plan_memory_mb=256, cache_world="invalidated")
async def test_used_up_quota_lasts_until_a_slot_frees_each_time(w: World) -> None:
    w.use_quota(22, 20)
    session = w.session
    ends = START + timedelta(hours=2)

    async def refused(tries: int) -> str:
        ending = await w.create(session=session, owner=ANOTHER)
        assert isinstance(ending.nothing, QuotaUsedUp)
        assert len([post for post in w.posts if not post.accepted]) == tries
        return PYTHON.error_text(ending.nothing)

    assert rfc3339(ends) in await refused(1)
    await w.clock.sleep(0.9 * STOPPED)
    assert rfc3339(ends) in await refused(1), "nobody asks for some minutes"
    await w.clock.sleep(2 * HOUR)
    assert (await w.create(session=session)).record
    await w.clock.sleep(600.0)
    assert rfc3339(ends + timedelta(hours=2)) in await refused(2)
    await w.clock.sleep(0.9 * STOPPED)
    assert rfc3339(ends + timedelta(hours=2)) in await refused(2)


@staged(world, databases=FLEET, snapshot_seconds=200, plan_memory_mb=256)
async def test_used_up_quota_costs_a_fleet_one_request(w: World) -> None:
    endings: list[Ending] = []

    async def take(database_id: str) -> None:
        endings.append(await w.create(database_id=database_id))

    async with anyio.create_task_group() as group:
        for database_id in FLEET:
            group.start_soon(take, database_id)
    taken, refused = (
        list(filter(kind, endings))
        for kind in (lambda one: one.record, lambda one: not one.record)
    )
    assert {one.complete.id for one in taken} == {
        f"{post.database_id}/{post.version_id}" for post in w.posts[:2]
    }
    assert (len(taken), len(refused)) == (2, 6)
    for one in refused:
        assert isinstance(one.nothing, QuotaUsedUp)
        assert "The plan has 256 MB, so 2 snapshots in any 24 hours." in one.text
    assert len(w.posts) == 3, "nobody else tries"
    assert len(w.requests("me")) == 1
    assert not w.requests("status")


@staged(world, plan_memory_mb=256)
async def test_after_a_smaller_plan_a_slot_frees_only_once_enough_expire(
    w: World,
) -> None:
    taken = w.use_quota(20, 15, 10)
    ending = await w.create()
    assert rfc3339(taken[1] + timedelta(hours=24)) in PYTHON.error_text(
        ending.nothing
    ), "then one is left, of two"


# reuse_within ------------------------------------------------------------------------------------------------------


@staged(world)
async def test_reuse_takes_the_newest_manual_one_and_never_an_automatic_one(
    w: World,
) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(minutes=40))
    right = w.emulator.add_snapshot(DATABASE, modified=START - timedelta(minutes=20))
    w.emulator.add_snapshot(
        DATABASE, modified=START - timedelta(minutes=5), origin="automatic"
    )
    w.emulator.add_snapshot(
        DATABASE, modified=START - timedelta(minutes=4), origin=None
    )
    record = (await w.create(reuse_within=HOUR)).complete
    assert record.version_id == right.version_id
    assert record.requested_at is None
    assert not w.posts


@pytest.mark.parametrize(
    ("offset", "age", "posts"),
    [(HOUR, 50, 0), (HOUR, 70, 1), (-HOUR, 50, 0), (-HOUR, 70, 1)],
)
@virtual
async def test_reuse_counts_the_age_by_the_clock_of_the_service(
    offset: float, age: int, posts: int
) -> None:
    async with world(clock_offset_seconds=offset) as w:
        w.emulator.add_snapshot(
            DATABASE, modified=w.emulator.now() - timedelta(minutes=age)
        )
        (await w.create(reuse_within=HOUR)).complete  # noqa: B018  asserts
        assert len(w.posts) == posts


@staged(world, cache_world="invalidated", restore_tail_seconds=0)
async def test_reuse_takes_none_from_the_second_in_which_a_restore_ended(
    w: World,
) -> None:
    stored = w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=2))
    client = w.another_run().client
    await client.restore_snapshot(
        DATABASE, name=stored.name, version_id=stored.version_id
    )
    await w.clock.sleep(300)
    status = await client.restore_status(DATABASE)
    assert status is not None
    assert status.finished_at is not None
    # A time in the listing or the ledger is exact to a second.
    within = status.finished_at + timedelta(seconds=0.5)
    w.emulator.add_snapshot(DATABASE, modified=within)
    assert (await w.create(reuse_within=HOUR)).complete.version_id == w.started()


@staged(world, cache_world="invalidated")
async def test_reuse_never_takes_what_another_resource_of_this_run_has(
    w: World,
) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(minutes=5))
    first = (await w.create(reuse_within=HOUR)).complete
    second = (await w.create(reuse_within=HOUR, owner=ANOTHER)).complete
    assert first.version_id != second.version_id
    assert len(w.posts) == 1


STORIES = {
    "reuse takes none from before another client's restore": """
        wait 400; S.b up; wait 300; somebody restores; wait 300; S up reuse_within=15m; S has 2
    """,
    "reuse takes none from before another client's restore that the service still queues": """
        service restore_queue_seconds=900; wait 400; S.b up; wait 300; somebody restores; S up reuse_within=15m; S has 2
    """,
    "reuse takes none that was requested before a restore and finished after it": """
        service snapshot_seconds=400 modified_is=end; wait 1000; S.b up pending timeout=3m; somebody restores; wait 400;
        S.b up; S up reuse_within=15m; S has 2
    """,
    "reuse takes none that was requested too long ago, though the listing shows a later time": """
        service snapshot_seconds=600 modified_is=end; wait 1000; S.b up; wait 3300; S up reuse_within=1h; S has 2
    """,
    "reuse counts from when it was asked, however long another request holds it up": """
        service snapshot_seconds=300; wait 1000; somebody takes; wait 180; the next fails; S.b up pending timeout=3m;
        S up reuse_within=10m timeout=2h; it is over 3600; S has theirs; sent 1
    """,
    "a command reuses none that was still under way when another client restored": """
        service snapshot_seconds=200; wait 700; fails types create DATABASE --timeout 2m; wait 120; somebody restores;
        types create DATABASE --reuse-within 1h; it prints 2
    """,
    "a command reuses what is still under way": """
        service snapshot_seconds=200; wait 700; fails types create DATABASE --timeout 2m; wait 120;
        types create DATABASE --reuse-within 1h; it prints 1; sent 1
    """,
    "reuse takes none that is to be replaced": "wait 400; S up v1; wait 600; S up v2 reuse_within=15m; S has 2",
    "reuse takes what another resource has requested and still waits for": """
        service snapshot_seconds=200; wait 700; S.b up pending timeout=2m; S up reuse_within=10m; S.b up; S.b has 1; S has 1
    """,
    "reuse takes what a run that was killed elsewhere has started": """
        service snapshot_seconds=80; wait 400; S up killed=10; S moves; S up reuse_within=4m; S has 1; accepted 1
    """,
    "a lost one that was given up delays the next until it appears": """
        service snapshot_seconds=200; wait 400; fault create drop=True when=after; S up v1 pending timeout=1m;
        S up v2 within=1160; S has 2; it is over 780
    """,
    "a lost one that was given up and never came delays the next by 15 minutes": """
        service snapshot_seconds=200; wait 400; fault create drop=True; S up v1 pending timeout=1m; S up v2 within=1160;
        S has 1; it is over 1500
    """,
    # The listing shows 3 s before the request what may be the other one's, and what is neither's.
    "a request is not completed by what somebody took seconds before, while another one was open": """
        service snapshot_seconds=200 modified_is=end; wait 400; S.b up killed=10; S starts up v1; wait 341; somebody takes;
        S ends; S has 2
    """,
    # Otherwise a later run, which does not know whose it is, would take the one before for ours.
    "a request waits until the snapshot before it is out of the skew": """
        service snapshot_seconds=209; wait 300; S.b up; S up pending timeout=20s; wait 600; S moves; S refresh; S has 2
    """,
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
@virtual
async def test_a_story_of_several_runs(story: str) -> None:
    await play(story)


@staged(world, snapshot_seconds=200, cache_world="invalidated")
async def test_a_run_that_waited_for_a_request_that_was_refused_waits_for_the_next_one(
    w: World,
) -> None:
    w.fault(kind="create", status=429, code="KEEP_CALM", delay=10.0)
    first = w.next_run()
    others = list[Ending]()

    async def other() -> None:
        others.append(await w.create(session=w.next_run(), owner=ANOTHER))

    async with anyio.create_task_group() as group:
        group.start_soon(w.interrupted, 12, w.create(session=first), first)
        await w.clock.sleep(3)
        group.start_soon(w.later, 8, lambda: group.start_soon(other))
        ending = await w.create(session=w.next_run())
    # Whichever of the two is first, each has its own.
    refused, *accepted = w.posts
    assert not refused.accepted
    own = [each.complete.version_id for each in (ending, *others)]
    assert sorted(map(str, own)) == sorted(str(post.version_id) for post in accepted)
    assert len(set(own)) == 2


# Going on ----------------------------------------------------------------------------------------------------------


@staged(world, snapshot_seconds=HOUR)
async def test_a_resume_has_its_whole_time_again_and_polls_at_once(w: World) -> None:
    pending = (await w.create(timeout=10 * MINUTE)).pending
    assert pending.attempt is not None
    await w.clock.sleep(MINUTE)
    looks = len(w.listings)
    began = w.clock.monotonic()
    again = await w.create(pending, session=w.another_run(), timeout=10 * MINUTE)
    assert again.pending.attempt == pending.attempt
    assert w.clock.monotonic() - began == 10 * MINUTE
    assert w.listings[looks].monotonic == began
    assert f"--replace '{OWNER}'" in again.text
    assert "The wait ended after 10 min" in again.text
