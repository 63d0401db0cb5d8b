"""What lookups bring, what they cost, and that none of them answers by half."""

import dataclasses
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.errors import CannotTell, Hint, HintKind, NoSuchSnapshot
from pulumi_snapshots.listing.listings import SERVICE_CACHE
from pulumi_snapshots.lookup.find import (
    find_database,
    find_databases,
    find_latest,
    find_snapshots,
)
from pulumi_snapshots.lookup.results import LatestQuery, SnapshotInfo, SnapshotQuery
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.errors import (
    Blocked,
    DatabaseMissing,
    KeyRefused,
    NotAllowed,
    SquareCloudError,
)
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.read import get
from pulumi_snapshots.snapshot.record import SnapshotInputs, SnapshotRecord
from squarecloud_emulator import Fault
from tests.support.failing import fails_with
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START, Row, World, world

HOUR = 3600.0
DAY = 86400.0
BOTH = (DATABASE, OTHER_DATABASE)
MANY = tuple(f"{number:032x}" for number in range(1, 13))


async def snapshots(
    w: World, session: Session | None = None, **query: Any
) -> list[SnapshotInfo]:
    """A lookup of a program that has just begun."""
    return await find_snapshots(
        session or w.session, SnapshotQuery.of(query), w.clock.monotonic()
    )


async def latest(
    w: World, session: Session | None = None, **query: Any
) -> SnapshotInfo | None:
    query = {"database_id": DATABASE, **query}
    return await find_latest(
        session or w.session, LatestQuery.of(query).candidates, w.clock.monotonic()
    )


def versions(found: list[SnapshotInfo]) -> list[str]:
    return [one.version_id for one in found]


def kinds(w: World) -> list[str]:
    return [entry.kind for entry in w.emulator.journal]


# What is found ---------------------------------------------------------------------------------------------------------


@staged(world, snapshot_seconds=1)
async def test_a_found_snapshot_has_all_outputs_and_hides_its_url(w: World) -> None:
    record = (await w.create()).complete
    found = await latest(w, with_url=True)
    assert found is not None
    outputs = record.to_outputs() | {
        "requested_at": None,
        "download_url": found.download_url,
    }
    outputs |= {"download_url_expires_at": found.download_url_expires_at}
    assert {name: getattr(found, name) for name in outputs} == outputs
    assert found.id == record.id
    assert found.download_url is not None
    assert f"versionId={found.version_id}" in found.download_url
    assert await w.download(found.download_url)
    for shown in (
        repr(found),
        repr(vars(found)),
        repr([found]),
        json.dumps(dataclasses.asdict(found)),
        str(dataclasses.astuple(found)),
        json.dumps(
            found,
            default=lambda one: (
                vars(one) if dataclasses.is_dataclass(one) else repr(one)
            ),
        ),
        repr(dataclasses.replace(found, size=1)),
    ):
        assert found.version_id in shown
        assert "Signature" not in shown
        assert "http" not in shown


@staged(world, databases=BOTH)
async def test_a_url_that_is_not_asked_for_is_in_no_result(w: World) -> None:
    w.emulator.add_snapshot(DATABASE)
    found = [
        await latest(w),
        *await snapshots(w),
        *await snapshots(w, database_id=DATABASE, newer_than="1h"),
    ]
    assert [one and (one.download_url, one.available) for one in found] == [
        (None, True)
    ] * 3
    assert [one.download_url is None for one in await snapshots(w, with_url=True)] == [
        False
    ]


@staged(world, databases=BOTH)
async def test_snapshots_come_newest_first_from_whichever_listing(w: World) -> None:
    ages = [(DATABASE, 3), (OTHER_DATABASE, 1), (DATABASE, 2), (OTHER_DATABASE, 4)]
    stored = {
        age: w.emulator.add_snapshot(of, modified=START - timedelta(hours=age))
        for of, age in ages
    }
    assert versions(await snapshots(w)) == [
        stored[age].version_id for age in (1, 2, 3, 4)
    ]
    assert [one.database_id for one in await snapshots(w)] == [
        OTHER_DATABASE,
        DATABASE,
        DATABASE,
        OTHER_DATABASE,
    ]
    assert versions(await snapshots(w, database_id=DATABASE)) == [
        stored[age].version_id for age in (2, 3)
    ]


@pytest.mark.parametrize("style", ["id", "id_type", "id_type_origin"])
@virtual
async def test_in_the_accounts_listing_the_url_tells_the_database(style: str) -> None:
    async with world(databases=(DATABASE, "db_redis"), name_style=style) as w:
        w.emulator.add_snapshot(DATABASE)
        w.emulator.add_snapshot(DATABASE, origin="automatic", runtime=None)
        assert {one.database_id for one in await snapshots(w)} == {DATABASE}


@staged(world, databases=BOTH, old_style_entries=True)
async def test_old_entries_without_a_url_are_found_with_one(w: World) -> None:
    stored = w.emulator.add_snapshot(OTHER_DATABASE)
    for database_id in None, OTHER_DATABASE:
        (found,) = await snapshots(w, with_url=True, database_id=database_id)
        assert (found.database_id, found.version_id) == (
            OTHER_DATABASE,
            stored.version_id,
        )
        assert found.download_url is not None
        assert await w.download(found.download_url) == w.emulator.archive_of(
            stored.version_id
        )
    assert kinds(w).count("me") == 1
    assert (
        versions(await snapshots(w, origin="manual")) == []
    )  # nobody says that they are


@staged(world, clock_offset_seconds=-5 * HOUR)
async def test_origin_and_ages_choose_by_the_services_clock(w: World) -> None:
    now = START - timedelta(hours=5)
    ages = {1: "manual", 2: "automatic", 26: "manual", 50: "automatic", 60: None}
    stored = {
        age: w.emulator.add_snapshot(
            DATABASE,
            modified=now - timedelta(hours=age),
            origin=origin,  # type: ignore[arg-type]  # one of its literals
        ).version_id
        for age, origin in ages.items()
    }
    of_age = {version: age for age, version in stored.items()}

    async def ages_of(**query: Any) -> list[int]:
        return [
            of_age[one.version_id]
            for one in await snapshots(w, database_id=DATABASE, **query)
        ]

    assert await ages_of() == [1, 2, 26, 50, 60]
    assert await ages_of(origin="manual") == [1, 26]
    assert await ages_of(origin="automatic") == [2, 50]
    assert await ages_of(newer_than="1d") == [1, 2]
    assert await ages_of(older_than="1d") == [26, 50, 60]
    assert await ages_of(newer_than="2d", older_than="90m") == [2, 26]
    for query, age in (
        ({"max_age": "30d"}, 1),
        ({"origin": "automatic"}, 2),
        ({"max_age": "90m"}, 1),
    ):
        found = await latest(w, None, **query)
        assert found is not None
        assert of_age[found.version_id] == age
    assert await latest(w, max_age="30m") is None
    assert await latest(w, origin="automatic", max_age="90m") is None


@staged(world, retention_days=40)
async def test_one_past_its_30_days_is_listed_and_not_the_latest(w: World) -> None:
    assert await latest(w) is None
    await w.clock.sleep(SERVICE_CACHE)
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(days=31))
    (listed,) = await snapshots(w, database_id=DATABASE)
    assert not listed.available
    assert await latest(w) is None


# What it costs -----------------------------------------------------------------------------------------------------------


@staged(world, databases=BOTH)
async def test_one_program_asks_once_for_each_database_or_the_account(w: World) -> None:
    w.emulator.add_snapshot(DATABASE)
    begun = w.clock.monotonic()
    for _ in range(3):
        await w.clock.sleep(100)
        for query in (
            {"database_id": DATABASE},
            {"database_id": DATABASE, "origin": "manual"},
            {},
        ):
            await find_snapshots(w.session, SnapshotQuery.of(query), begun)
        await find_latest(w.session, SnapshotQuery(DATABASE), begun)
        await find_databases(w.session, begun, str)
        await find_database(w.session, DATABASE, begun)
    assert sorted(kinds(w)) == ["list", "list account", "me", "status", "status"]
    await snapshots(w, database_id=DATABASE)  # the next program
    assert kinds(w).count("list") == 2


@staged(world, databases=MANY)
async def test_lookups_of_many_databases_share_the_accounts_listing(w: World) -> None:
    for one in MANY[:-1]:
        w.emulator.add_snapshot(one)
    begun = w.clock.monotonic()
    for one in MANY:
        found = await find_latest(w.session, SnapshotQuery(one), begun)
        assert (found is None) == (one == MANY[-1])
    # the last one has none at the account's listing: it may not exist, so it is asked for itself
    assert kinds(w) == ["list", "list", "list", "list account", "list"]
    assert w.clock.monotonic() - begun < 5


# Where the account's listing is not to be had ------------------------------------------------------------------------------


@staged(world, databases=BOTH, plan="free")
async def test_without_the_accounts_listing_each_database_is_listed(w: World) -> None:
    stored = [w.emulator.add_snapshot(one).version_id for one in BOTH]
    assert sorted(versions(await snapshots(w))) == sorted(stored)
    assert kinds(w) == ["list account", "me", "list", "list"]
    await snapshots(w)
    assert kinds(w).count("list account") == 1


# Never by half -------------------------------------------------------------------------------------------------------------


def listing_of(*entries: Any) -> Fault:
    return Fault(
        kind=None,
        method="GET",
        times=None,
        body=json.dumps({"status": "success", "response": entries}),
    )


def entry(**changes: Any) -> dict[str, Any]:
    version = changes.get("version_id", "v" * 24)
    url = f"https://snapshots.test/databases/account/{DATABASE}.zip?Expires=1788000000&versionId={version}"
    known = {
        "name": DATABASE,
        "size": 1,
        "modified": rfc3339(START),
        "key": "",
        "version_id": version,
        "url": url,
    }
    return {**known, "runtime": "postgres", "origin": "manual", **changes}


@pytest.mark.parametrize(
    "strange",
    [{"name": "", "version_id": "w" * 24}, {"version_id": None, "url": None}, None],
)
@staged(world)
async def test_a_listing_that_cannot_be_read_whole_answers_nothing(
    w: World, strange: dict[str, Any] | None
) -> None:
    unreadable = strange if strange is None else entry(**strange)
    for entries in ([entry(), unreadable], [unreadable]):
        await w.clock.sleep(1)
        w.emulator.clear_faults()
        w.emulator.add_fault(listing_of(*entries))
        for question in (latest(w), snapshots(w), snapshots(w, database_id=DATABASE)):
            with fails_with(
                CannotTell,
                f"1 of {len(entries)} entries of the service's list.* are unreadable",
            ):
                await question


@staged(world)
async def test_a_snapshot_without_a_time_comes_last_and_fits_no_age(w: World) -> None:
    w.emulator.add_fault(
        listing_of(entry(version_id="w" * 24, modified="yesterday"), entry())
    )
    assert versions(await snapshots(w, database_id=DATABASE)) == ["v" * 24, "w" * 24]
    for question in (
        latest(w),
        snapshots(w, database_id=DATABASE, newer_than="1d"),
        snapshots(w, older_than="1d"),
    ):
        with pytest.raises(CannotTell, match=r"w{24} without a time"):
            await question
    assert await latest(w, origin="automatic") is None


@staged(world)
async def test_an_entry_without_a_database_is_given_to_no_database(w: World) -> None:
    unknown = entry(url="https://snapshots.test/elsewhere?versionId=" + "v" * 24)
    w.emulator.add_fault(listing_of(unknown, entry(version_id="w" * 24)))
    with fails_with(
        CannotTell, r"does not say whose snapshot v{24} is. Give database_id"
    ):
        await snapshots(w)
    assert set(versions(await snapshots(w, database_id=DATABASE))) == {
        "v" * 24,
        "w" * 24,
    }


FAILURES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"html": 502}, SquareCloudError, "The service is not available"),
    ({"no_connect": True}, SquareCloudError, "could not be reached"),
    ({"body": '{"status":"success","response":7}'}, SquareCloudError, "not be read"),
    ({"status": 401, "code": "ACCESS_DENIED"}, KeyRefused, "The API key is unknown"),
    ({"status": 403, "code": "RESOURCE_NOT_ALLOWED"}, NotAllowed, "The API key"),
    (
        {"status": 404, "code": "DATABASE_NOT_FOUND"},
        DatabaseMissing,
        "no such database",
    ),
    (
        {"status": 429, "code": "RATE_LIMITED"},
        Blocked,
        "too many requests and is blocked",
    ),
]
QUESTIONS: list[Callable[[World], Awaitable[Any]]] = [
    latest,
    snapshots,
    lambda w: find_database(w.session, DATABASE, 0.0),
    lambda w: find_databases(w.session, 0.0, str),
]


@pytest.mark.parametrize(
    "question", QUESTIONS, ids=["latest", "snapshots", "database", "databases"]
)
@pytest.mark.parametrize(("fault", "reaction", "words"), FAILURES)
@staged(world)
async def test_failures_say_what_happened_and_end_soon(
    w: World,
    question: Callable[[World], Awaitable[Any]],
    fault: dict[str, Any],
    reaction: type[Exception],
    words: str,
) -> None:
    w.fault(method="GET", times=None, **fault)
    with pytest.raises(reaction, match=words):
        await question(w)
    assert w.clock.monotonic() < 120


# Databases -----------------------------------------------------------------------------------------------------------------


@staged(world, databases=())
async def test_databases_say_whether_they_run(w: World) -> None:
    w.emulator.add_database(DATABASE, name="shop", type="postgres", ram=1024)
    w.emulator.add_database(OTHER_DATABASE, name="shop", type="redis")
    w.emulator.stop_database(OTHER_DATABASE)
    found = await find_databases(w.session, 0.0, str)
    assert [
        (one.id, one.name, one.type, one.ram, one.cluster, one.running) for one in found
    ] == [
        (DATABASE, "shop", "postgres", 1024, "emulator-1", True),
        (OTHER_DATABASE, "shop", "redis", 512, "emulator-1", False),
    ]
    assert kinds(w) == ["me", "status", "status"]
    assert [
        await find_database(w.session, one, w.clock.monotonic()) for one in BOTH
    ] == found


STRANGE: list[tuple[Any, str]] = [
    ([{"id": DATABASE, "name": "shop"}], "name or type is missing"),
    ([{"id": DATABASE, "type": "postgres", "name": 7}], "name or type is missing"),
    (
        [{"id": DATABASE, "name": "shop", "type": "postgres"}, {"name": "x"}],
        "1 of 2 entries of the service's list.* are unreadable",
    ),
]


@pytest.mark.parametrize(("databases", "words"), STRANGE)
@staged(world)
async def test_databases_that_cannot_be_read_are_never_left_out(
    w: World, databases: Any, words: str
) -> None:
    body = json.dumps(
        {"status": "success", "response": {"user": {"id": "u"}, "databases": databases}}
    )
    w.fault(kind="me", times=None, body=body)
    with fails_with(CannotTell, words):
        await find_databases(w.session, 0.0, str)


@staged(world, databases=MANY, settings={"requests_per_minute": 4})
async def test_a_list_that_takes_minutes_is_announced_and_fails_at_once_with_one_status(
    w: World,
) -> None:
    w.fault(kind="status", status=404, code="DATABASE_NOT_FOUND")
    told = list[str]()
    with pytest.raises(DatabaseMissing):
        await find_databases(w.session, 0.0, told.append)
    assert told == [
        "asking for the status of 12 databases, 4 a minute: about 4 minutes"
    ]
    assert w.clock.monotonic() < 5
    await w.clock.sleep(300)
    assert kinds(w).count("status") <= 3


@staged(world)
async def test_an_answer_about_another_database_is_an_error(w: World) -> None:
    body = (
        '{"status":"success","response":{"id":"another","name":"shop","type":"redis"}}'
    )
    w.fault(kind="database", body=body)
    with pytest.raises(CannotTell, match="another"):
        await find_database(w.session, DATABASE, 0.0)


# A lookup and a create in the same `up` --------------------------------------------------------------------------------------


async def created(session: Session) -> SnapshotRecord:
    return await create(session, SnapshotInputs(DATABASE), Row(), "urn:ours")


@pytest.mark.parametrize(
    ("cache_world", "queries", "seconds"),
    [
        ("kept", [{"database_id": DATABASE}], 450),
        ("kept", [{}], 210),
        ("kept", [{"database_id": DATABASE}, {}], 1800),
        ("invalidated", [{"database_id": DATABASE}, {}], 210),
    ],
    ids=["own page kept", "account's page kept", "both pages kept", "invalidated"],
)
@virtual
async def test_a_lookup_after_a_create_sees_its_snapshot(
    cache_world: str, queries: list[dict[str, Any]], seconds: int
) -> None:
    async with world(snapshot_seconds=100, cache_world=cache_world) as w:
        program = w.next_run()
        provider = w.next_run()
        begun = w.clock.monotonic()
        for query in queries:
            assert await find_snapshots(program, SnapshotQuery.of(query), begun) == []
        posted = w.clock.monotonic()
        record = await created(provider)
        assert record.version_id == w.started()
        assert w.clock.monotonic() - posted == pytest.approx(seconds, rel=0.01)
        # The program's own pages are from before; it learns of the snapshot from what runs of a machine share.
        before = len(w.listings)
        for query in queries * 3:
            assert versions(
                await find_snapshots(program, SnapshotQuery.of(query), begun)
            ) == [record.version_id]
        found = await find_latest(program, SnapshotQuery(DATABASE), begun)
        assert found is not None
        assert found.version_id == record.version_id
        assert len(w.listings) - before <= 3 * len(queries)


@staged(world, snapshot_seconds=1)
async def test_a_page_too_old_to_show_a_found_snapshot_is_an_error_that_says_until_when(
    w: World,
) -> None:
    program = w.next_run()
    provider = w.next_run()
    record = await created(provider)
    w.emulator.remove_snapshot(record.version_id or "")
    w.emulator.drop_cache()
    for query in ({"database_id": DATABASE}, {}):
        with pytest.raises(
            CannotTell, match=f"old page: it lacks snapshot {record.version_id}"
        ):
            await snapshots(w, program, **query)
        assert await snapshots(w, program, origin="automatic", **query) == []
    with pytest.raises(
        NoSuchSnapshot, match=f"no snapshot {record.version_id} .* yet"
    ) as failed:
        await get(program, record.id)
    until = f"{w.clock.utc() + timedelta(seconds=SERVICE_CACHE):%H:%M:%S} UTC"
    assert list(failed.value.then) == [Hint(HintKind.RUN_AGAIN_AFTER, time=until)]
    await w.clock.sleep(31 * 60)
    with pytest.raises(
        NoSuchSnapshot, match="The service keeps a snapshot for at most 30 days"
    ) as gone:
        await get(program, record.id)
    assert list(gone.value.then) == [Hint(HintKind.CHECK_ID)]
    assert await latest(w, program) is None
    assert await snapshots(w, program) == []
