"""Listings are shared, and are polled late and rarely for many databases."""

from contextlib import AbstractAsyncContextManager, suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import anyio
import httpx
import pytest

from pulumi_snapshots.ledger.attempt import Request
from pulumi_snapshots.listing.polling import AwaitedSnapshot, ListingWait
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import POST_READ_TIMEOUT
from pulumi_snapshots.service.errors import KeyRefused, ListingBlocked, SquareCloudError
from squarecloud_emulator import Fault
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START, Ending, World, world

MINUTE = 60.0


async def versions(w: World) -> set[str | None]:
    page = await w.session.listings.own_page(DATABASE, w.clock.monotonic())
    return {entry.version for entry in page.entries}


@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 402, "code": "UPGRADE_REQUIRED"},
        {"status": 403, "code": "RESOURCE_NOT_ALLOWED"},
        {"status": 404, "code": "NOT_FOUND"},
    ],
    ids=str,
)
@staged(world, snapshot_seconds=700, cache_world="invalidated")
async def test_a_refused_account_listing_is_requested_once_and_no_error(
    w: World, refusal: dict[str, Any]
) -> None:
    w.fault(kind="list account", times=None, **refusal)
    assert (await w.create()).complete.version_id == w.started()
    assert len(w.requests("list account")) == 1


async def polled(w: World, **inputs: Any) -> list[tuple[str, float]]:
    """Take a snapshot, and check that it is the right one; each poll with its seconds from the answer."""
    assert (await w.create(**inputs)).complete.version_id == w.started()
    answered = w.posts[0].monotonic + 90
    return [(one.kind, round(one.monotonic - answered)) for one in w.listings]


@staged(world, cache_world="kept", snapshot_seconds=300)
async def test_a_snapshot_that_the_first_poll_missed_is_found_within_minutes(
    w: World,
) -> None:
    polls = await polled(w)
    assert polls[0] == ("list", 120)
    assert polls[-1] == ("list account", 360)
    assert {kind for kind, _ in polls[:-1]} == {"list"}, (
        "the account's page is kept for later"
    )


@staged(world, cache_world="kept", snapshot_seconds=1000)
async def test_after_its_second_chance_both_listings_are_polled_in_turn(
    w: World,
) -> None:
    polls = await polled(w)
    after = [kind for kind, at in polls if 360 <= at <= 485]
    assert after == ["list account", "list", "list account", "list", "list account"]
    assert polls[-1][1] <= 120 + 30 * MINUTE + 60


@staged(world, cache_world="kept", snapshot_seconds=300)
async def test_a_wait_that_is_resumed_late_has_its_second_chance_at_once(
    w: World,
) -> None:
    pending = (await w.interrupted(100, w.create())).pending
    await w.clock.sleep(20 * MINUTE)
    again = w.another_run()
    w.emulator.drop_cache()
    w.fault(kind="list", status=500, code="INTERNAL", times=None)
    begun = w.clock.monotonic()
    assert (await w.create(pending, session=again)).complete.version_id == w.started()
    assert w.clock.monotonic() - begun <= MINUTE


@pytest.mark.parametrize(
    ("known", "cache_world"), [("ended-by-snapshot", "invalidated"), ("kept", "kept")]
)
@virtual
async def test_a_known_cache_is_used_from_the_first_poll_on(
    known: str, cache_world: str
) -> None:
    async with world(
        cache_world=cache_world, snapshot_seconds=300, settings={"listing_cache": known}
    ) as w:
        polls = await polled(w)
        if known == "kept":
            assert [at for kind, at in polls if kind == "list account"] == [360]
            assert [at for kind, at in polls if kind == "list"] == [120], (
                "a page that was polled is kept"
            )
        else:
            assert polls == [("list", 30 * number) for number in range(1, 8)]


@staged(
    world, cache_world="kept", snapshot_seconds=300, settings={"listing_cache": "kept"}
)
async def test_polls_that_fail_keep_their_distance_though_pages_are_known_to_be_kept(
    w: World,
) -> None:
    w.fault(kind="list", times=None, status=500, code="INTERNAL")
    polls = await polled(w)
    assert polls[-1] == ("list account", 360)
    assert len(polls) <= 1 + 3 * (360 - 120) / 30, (
        "a poll that fails is tried three times"
    )


@staged(
    world, cache_world="kept", snapshot_seconds=200, settings={"listing_cache": "kept"}
)
async def test_a_poll_that_fails_once_costs_no_half_hour(w: World) -> None:
    w.fault(kind="list", times=3, status=500, code="INTERNAL")
    polls = await polled(w)
    assert polls[-1][0] == "list"
    assert polls[-1][1] <= 200


def lost_hours_ago(w: World, **known: Any) -> AwaitedSnapshot:
    """The snapshot of a request of three hours ago whose answer was lost."""
    posted_at = w.emulator.now() - timedelta(hours=3)
    return AwaitedSnapshot(Request(posted_at, "502", 2700.0, "lost"), DATABASE, **known)


def shows(*_: object, **__: object) -> None:
    """Take what a row would show."""


@staged(world)
async def test_an_own_page_that_lacks_a_lost_snapshot_for_good_ends_the_wait(
    w: World,
) -> None:
    awaited = lost_hours_ago(w)
    assert await ListingWait(w.session.poll_plan, awaited, shows).until_listed() is None
    assert [one.kind for one in w.listings] == ["list"]


@staged(world)
async def test_the_accounts_page_proves_nothing_and_ends_no_wait(w: World) -> None:
    w.fault(kind="list", times=None, status=500, code="INTERNAL")
    began = w.clock.monotonic()
    plan = w.session.poll_plan
    awaited = lost_hours_ago(w, version="v", age=10_000.0)
    with suppress(SquareCloudError):
        await ListingWait(plan, awaited, shows).until_listed(600.0)
    assert w.clock.monotonic() - began == 600
    assert w.requests("list account")


@staged(world)
async def test_a_wait_whose_last_poll_failed_says_why(w: World) -> None:
    for kind in ("list", "list account"):
        w.fault(kind=kind, times=None, status=500, code="INTERNAL")
    plan = w.session.poll_plan
    awaited = lost_hours_ago(w, version="v")
    with pytest.raises(SquareCloudError, match="500"):
        await ListingWait(plan, awaited, shows).until_listed(600.0)


@staged(world)
async def test_a_refused_key_is_no_refusal_of_the_accounts_listing(w: World) -> None:
    w.fault(kind="list account", times=None, status=401, code="ACCESS_DENIED")
    with pytest.raises(KeyRefused):
        await w.session.listings.account_listing(w.clock.monotonic())


@staged(world)
async def test_a_page_must_show_a_snapshot_half_an_hour_after_the_answer_at_the_latest(
    w: World,
) -> None:
    listings = w.session.listings
    now = w.session.service_clock.now()
    created = now - timedelta(minutes=10)
    by = await listings.listed_by(DATABASE, "v", created)
    assert by == w.clock.utc() + timedelta(minutes=20, seconds=POST_READ_TIMEOUT)


# Many at once ------------------------------------------------------------------------------------------------------

FLEET = tuple(f"{number:032x}" for number in range(20))


def fleet(**service: Any) -> AbstractAsyncContextManager[World]:
    """A fleet whose snapshots take 200 s, of an account that may take as many as it wants, and whose pages are kept."""
    kept = {
        "databases": FLEET,
        "snapshot_seconds": 200,
        "plan_memory_mb": 2_560_000,
        "cache_world": "kept",
    }
    return world(**{**kept, **service})


async def lateness(
    w: World,
    databases: tuple[str, ...] = FLEET,
    session: Session | None = None,
    parallel: int = 64,
) -> dict[str | None, float]:
    """Take a snapshot of each database, as many as that at a time, and check that each create gets its own.

    Returns:
        For each database, the seconds from the end of the snapshot to the end of its create.
    """
    endings: dict[str, Ending] = {}
    ended: dict[str, float] = {}

    async def take(number: int, database_id: str) -> None:
        # a program registers its resources one after the other
        await w.clock.sleep(number / 1000)
        async with slots:
            endings[database_id] = await w.create(
                session=session, database_id=database_id
            )
            ended[database_id] = w.clock.monotonic()

    slots = anyio.Semaphore(parallel)
    async with anyio.create_task_group() as group:
        for number, database_id in enumerate(databases):
            group.start_soon(take, number, database_id)
    started = {post.database_id: post.version_id for post in w.posts}
    assert {
        one: ending.complete.version_id for one, ending in endings.items()
    } == started
    assert len(w.posts) == len(databases)
    assert all(entry.code != "RATE_LIMITED" for entry in w.emulator.journal)
    seconds = w.emulator.settings.snapshot_seconds
    return {
        post.database_id: ended[post.database_id or ""] - post.monotonic - seconds
        for post in w.posts
    }


FLEETS: dict[str, tuple[dict[str, Any], int, int, float, int, int]] = {
    "new snapshots end the cache": ({"cache_world": "invalidated"}, 20, 64, 85, 15, 1),
    "pages are kept": ({"cache_world": "kept"}, 20, 64, 85, 15, 1),
    "one late account listing shows all that were missed": (
        {"snapshot_seconds": 215},
        20,
        64,
        5 * MINUTE,
        99,
        1,
    ),
    "what was missed does not wait for the last POST": (
        {"snapshot_seconds": 215},
        20,
        4,
        6 * MINUTE,
        99,
        99,
    ),
    "no account listing, pages are kept": (
        {"snapshot_seconds": 150, "plan": "free"},
        20,
        64,
        31 * MINUTE,
        99,
        1,
    ),
    "no account listing": (
        {"plan": "free", "cache_world": "invalidated"},
        20,
        64,
        31 * MINUTE,
        99,
        1,
    ),
    **{
        f"{known} is wrong, {count} databases": (
            {"cache_world": world, "settings": {"listing_cache": known}},
            *(count, 64, 31 * MINUTE, 999, 99),
        )
        for known, world in (("ended-by-snapshot", "kept"), ("kept", "invalidated"))
        for count in (1, 8)
    },
    "short settings": (
        {
            "snapshot_seconds": 100,
            "cache_world": "invalidated",
            "requests_per_minute": 600,
            "settings": {
                "first_poll_after": 1.0,
                "poll_every": 0.5,
                "requests_per_minute": 600,
            },
        },
        *(4, 64, 8, 999, 99),
    ),
}
"""By what it shows: the service, the databases, how many at a time, and the most seconds, polls and polls of the account."""


@pytest.mark.parametrize(
    ("service", "count", "parallel", "late", "polls", "of_account"),
    FLEETS.values(),
    ids=FLEETS,
)
@virtual
async def test_many_databases_find_their_snapshots_soon_and_with_few_polls(  # noqa: PLR0913, PLR0917  a row
    service: dict[str, Any],
    count: int,
    parallel: int,
    late: float,
    polls: int,
    of_account: int,
) -> None:
    async with fleet(**service) as w:
        assert (
            max((await lateness(w, FLEET[:count], parallel=parallel)).values()) <= late
        )
        assert len(w.listings) <= polls
        assert len(w.requests("list account")) <= of_account


@pytest.mark.parametrize(
    ("known", "cache_world"),
    [("unknown", "kept"), ("ended-by-snapshot", "invalidated"), ("kept", "kept")],
)
@virtual
async def test_no_page_of_a_fleet_is_frozen_before_its_snapshot_can_be_listed(
    known: str, cache_world: str
) -> None:
    async with fleet(cache_world=cache_world, settings={"listing_cache": known}) as w:
        await lateness(w)
        posted = {post.database_id: post.monotonic for post in w.posts}
        assert all(
            one.monotonic >= posted[one.database_id] + 200 for one in w.requests("list")
        )


@staged(fleet, snapshot_seconds=600, cache_world="invalidated")
async def test_account_polls_leave_two_other_machines_their_share(w: World) -> None:
    await lateness(w)
    times = [one.monotonic for one in w.requests("list account")]
    assert len(times) > 1
    assert all(later - earlier >= 60 for earlier, later in pairwise(times))


@pytest.mark.parametrize("listed", ["both", "own", "account"])
@staged(fleet, snapshot_seconds=150, cache_world="invalidated")
async def test_the_last_of_many_is_found_soon_though_it_is_slow(
    w: World, listed: str
) -> None:
    """Its own page was polled too early, and so was the account's."""
    refusal = Fault(
        kind="list account", times=None, status=402, code="UPGRADE_REQUIRED"
    )
    w.emulator.databases[FLEET[7]].snapshot_seconds = 1500
    if listed == "own":
        w.emulator.add_fault(refusal)
    if listed == "account":
        w.fault(kind="list", times=None, status=500, code="INTERNAL")
    begun = w.clock.monotonic()
    await lateness(w)
    (post,) = (one for one in w.posts if one.database_id == FLEET[7])
    assert w.clock.monotonic() - post.monotonic <= 1500 + MINUTE + 1, (
        f"{listed} showed it"
    )
    assert w.clock.monotonic() - begun < 30 * MINUTE
    if listed != "account":  # each request that fails is repeated
        assert len(w.listings) <= len(FLEET) + (60 if listed == "own" else 40)


@virtual
async def test_the_accounts_page_is_polled_sooner_while_resources_wait_for_slots() -> (
    None
):
    for parallel, first in ((4, 240), (64, 500)):
        many = tuple(f"{number:032x}" for number in range(100))
        async with fleet(databases=many, snapshot_seconds=245) as w:
            with anyio.move_on_after(first + 17):
                await lateness(
                    w, many[: 20 if parallel == 4 else 100], parallel=parallel
                )
            asked = w.requests("list account")[0].monotonic - w.posts[0].monotonic
            assert asked == pytest.approx(first, abs=16)


@staged(world, snapshot_seconds=120)
async def test_a_page_fetched_for_another_caller_is_searched_at_once(w: World) -> None:

    async def refresh() -> None:
        await w.clock.sleep(130)
        await w.session.listings.account_listing(w.clock.monotonic())

    async with anyio.create_task_group() as group:
        group.start_soon(refresh)
        (await w.create()).complete  # noqa: B018  asserts
    assert [(one.kind, one.monotonic - w.posts[0].monotonic) for one in w.listings] == [
        ("list account", 130.0)
    ]


async def use_up_the_account_listing(w: World) -> None:
    """Another program requests the account's listing more often than the service allows."""
    headers = {"Authorization": w.emulator.settings.api_key}
    async with httpx.AsyncClient(transport=w.transport, headers=headers) as other:
        for _ in range(4):
            w.emulator.drop_cache()
            await other.get(f"{w.emulator.api_url}/users/snapshots?scope=databases")
    assert [one.status for one in w.requests("list account")] == [200, 200, 200, 429]


@staged(fleet, snapshot_seconds=300, cache_world="invalidated")
async def test_a_fleet_continues_while_the_account_listing_is_blocked(w: World) -> None:
    await use_up_the_account_listing(w)
    endings: list[Ending] = []

    async def take(database_id: str) -> None:
        endings.append(await w.create(database_id=database_id))

    async with anyio.create_task_group() as group:
        for database_id in FLEET[:5]:
            group.start_soon(take, database_id)
    assert {ending.complete.database_id for ending in endings} == set(FLEET[:5])
    assert w.clock.monotonic() - w.posts[-1].monotonic < 15 * MINUTE
    assert all(post.accepted for post in w.posts)
    _only_the_first_request_meets_the_block(w)


def _only_the_first_request_meets_the_block(w: World) -> None:
    """The next requests for the account's listing are sent when it is over, and no other kind is blocked."""
    first, *later = [one for one in w.requests("list account") if one.number > 4]
    assert first.code == "RATE_LIMITED"
    assert all(one.monotonic - first.monotonic > 5 * MINUTE for one in later)
    codes = {one.code for one in w.emulator.journal if one.kind != "list account"}
    assert codes <= {None, "SNAPSHOT_PROCESSING"}


@staged(world, databases=(DATABASE, OTHER_DATABASE))
async def test_a_lookup_asks_each_database_while_the_account_listing_is_blocked(
    w: World,
) -> None:
    await use_up_the_account_listing(w)
    listings = w.session.listings
    w.emulator.add_snapshot(OTHER_DATABASE)
    found = await listings.of_account(w.clock.monotonic())
    assert {name: len(entries) for name, entries in found.items()} == {
        DATABASE: 0,
        OTHER_DATABASE: 1,
    }
    assert isinstance(listings.account_refusal, ListingBlocked)
    await w.clock.sleep(299)
    assert await listings.account_listing(w.clock.monotonic()) is None
    await w.clock.sleep(2)
    listing = await listings.account_listing(w.clock.monotonic())
    assert listing is not None
    assert len(listing.entries) == 1
    assert len(w.requests("list account")) == 6


@staged(world, databases=(DATABASE, OTHER_DATABASE), name_style="id_type_origin")
async def test_an_account_page_has_only_the_databases_own_snapshots(w: World) -> None:
    ours = w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=1))
    w.emulator.add_snapshot(OTHER_DATABASE, modified=START - timedelta(hours=2))
    page = await w.session.listings.account_page(DATABASE, 0.0)
    assert page is not None
    assert [entry.version for entry in page.entries] == [ours.version_id]
    assert not page.complete, "an entry of an unknown database may belong to this one"


@pytest.mark.parametrize("pinned", ["own", "account"])
@staged(world, cache_world="kept")
async def test_another_process_finds_a_version_on_either_page(
    w: World, pinned: str
) -> None:
    """The program's own lookup has pinned one of the two pages before the snapshot was there."""
    program = w.another_run()
    if pinned == "own":
        await program.listings.own_page(DATABASE, w.clock.monotonic())
    else:
        await program.listings.account_listing(w.clock.monotonic())
    stored = w.emulator.add_snapshot(DATABASE)
    found = await w.session.listings.find_version(DATABASE, stored.version_id)
    assert found is not None
    assert found.version == stored.version_id


@virtual
async def test_a_version_on_neither_page_costs_one_request_for_each() -> None:
    async with world(cache_world="kept") as w:
        assert await w.session.listings.find_version(DATABASE, "v" * 32) is None
        assert [entry.kind for entry in w.listings] == ["list", "list account"]
    async with world(cache_world="kept", plan="free") as w:
        assert await w.session.listings.find_version(DATABASE, "v" * 32) is None
