"""Creating, listing and restoring snapshots, as the service documents them."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.emulator.visit import DATABASE, START, Visit, told, visit, visited
from tests.support.virtual import virtual

OTHER = "b25c9e6f2dc8516b962fc5d186617232"
UUID = "45ec0b49-9af6-445e-a55c-abd7ec5278b2"


@visited(snapshot_seconds=30)
async def test_quick_snapshot_is_answered_with_an_unpinned_url(at: Visit) -> None:
    created = (await at.create()).json()["response"]
    assert at.clock.utc() == START + timedelta(seconds=30)
    assert httpx.URL(created["url"]).path.endswith(
        f"/databases/{at.emulator.settings.account_id}/{DATABASE}.zip"
    )
    assert "versionId" not in created["url"]
    (entry,) = await at.entries()
    assert f"versionId={entry['version_id']}" in created["key"]
    assert entry == {
        "name": DATABASE,
        "size": len(at.emulator.archive_of(entry["version_id"])),
        "modified": "2026-03-01T12:00:30.000Z",
        "key": httpx.URL(entry["url"]).query.decode(),
        "version_id": at.emulator.journal[0].version_id,
        "url": entry["url"],
        "runtime": "postgres",
        "origin": "manual",
    }


@pytest.mark.parametrize(
    ("means", "modified"),
    [("start", "2026-03-01T12:00:00.000Z"), ("end", "2026-03-01T12:03:20.000Z")],
)
@virtual
async def test_slow_snapshot_is_answered_202_and_listed_later(
    means: str, modified: str
) -> None:
    async with visit(snapshot_seconds=200, modified_is=means) as at:
        assert told(await at.create()) == "202 SNAPSHOT_PROCESSING"
        assert at.clock.utc() == START + timedelta(seconds=90)
        assert at.last.accepted
        assert at.emulator.snapshots(DATABASE) == []
        await at.clock.sleep(110)
        (entry,) = await at.entries()
        assert (entry["version_id"], entry["modified"]) == (
            at.emulator.journal[0].version_id,
            modified,
        )


@visited(old_style_entries=True, key_of_200_has_version=False)
async def test_old_style_listing_has_the_version_only_in_its_key(at: Visit) -> None:
    assert "versionId" not in (await at.create()).json()["response"]["key"]
    (entry,) = await at.entries()
    assert sorted(entry) == ["key", "modified", "name", "size"]
    assert f"versionId={at.emulator.journal[0].version_id}" in entry["key"]


@visited(version_style="opaque", restore_tail_seconds=0.0)
async def test_version_ids_with_special_characters_survive_their_urls(
    at: Visit,
) -> None:
    for version_id in (
        "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
        "a+b/c=d_e-0123456789abcdefghi",
    ):
        at.added(version_id=version_id)
    await at.create()
    for entry in await at.entries():
        downloaded = await at.files.get(entry["url"])
        assert downloaded.headers["x-amz-version-id"] == entry["version_id"]
        await at.clock.sleep(120)
        assert told(await at.restore(entry["version_id"])) == "200 success"


@visited(cache_seconds=10)
async def test_account_listing_has_its_own_cache_and_rate_limit(at: Visit) -> None:
    await at.versions()
    await at.create()
    assert len((await at.everything()).json()["response"]) == 1
    assert (await at.everything("?scope=applications")).json()["response"] == []
    assert (await at.everything()).status_code == 200  # from the cache: no miss
    for seconds, answer in (
        *(
            (10, "200 success"),
            (10, "429 RATE_LIMITED"),
            (299, "429 RATE_LIMITED"),
            (1, "200 success"),
        ),
    ):
        await at.clock.sleep(seconds)
        assert told(await at.everything()) == answer
        assert (await at.listing()).status_code == 200
    at.change(plan="free")
    assert told(await at.everything()) == "402 UPGRADE_REQUIRED"


@visited()
async def test_an_account_listing_without_a_scope_is_the_applications(
    at: Visit,
) -> None:
    of_database = at.added()
    for query, expected in (
        ("", []),
        ("?scope=applications", []),
        ("?scope=databases", [of_database]),
    ):
        assert [
            one["version_id"] for one in (await at.everything(query)).json()["response"]
        ] == expected


@visited(automatic_snapshots=True, automatic_hour=3)
async def test_automatic_snapshots_are_daily_and_expire_after_30_days(
    at: Visit,
) -> None:
    await at.create()
    at.emulator.advance(86400)
    newest, oldest = await at.entries()
    assert (newest["origin"], newest["modified"]) == (
        "automatic",
        "2026-03-02T03:00:00.000Z",
    )
    assert oldest["origin"] == "manual"
    at.emulator.advance(86400 * 40)
    assert len(at.emulator.snapshots(DATABASE)) == 30
    assert oldest["version_id"] not in await at.versions()
    assert (
        await at.files.get(oldest["url"])
    ).status_code == 403  # the URL has expired too


@visited()
async def test_restore_stops_the_database_and_brings_the_data_of_the_snapshots_start_back(
    at: Visit,
) -> None:
    at.sql("CREATE TABLE t (n)", "INSERT INTO t VALUES (1)")
    at.emulator.next_snapshot_takes(DATABASE, 200)
    await at.create()
    at.sql("UPDATE t SET n = 2")  # it was answered at the soft deadline
    await at.clock.sleep(110)
    (version_id,) = await at.versions()
    assert told(await at.restore(version_id)) == "200 success"
    assert at.last.accepted
    await at.clock.sleep(59)
    assert not await at.running()
    assert at.sql("SELECT n FROM t") == [[2]]
    at.emulator.advance(60)
    assert await at.running()
    assert at.sql("SELECT n FROM t") == [[1]]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({}, "400 MISSING_PARAMETERS"),
        ([], "400 MISSING_PARAMETERS"),
        ({"snapshotId": DATABASE}, "400 MISSING_PARAMETERS"),
        ({"snapshotId": "a/b", "versionId": UUID}, "400 INVALID_SNAPSHOT_ID"),
        ({"snapshotId": DATABASE, "versionId": "short"}, "400 INVALID_VERSION_ID"),
        ({"snapshotId": DATABASE, "versionId": 7}, "400 INVALID_VERSION_ID"),
        ({"snapshotId": DATABASE, "versionId": UUID}, "404 SNAPSHOT_NOT_FOUND"),
        ({"snapshotId": OTHER, "versionId": DATABASE}, "404 SNAPSHOT_NOT_FOUND"),
        (
            {"snapshotId": "redis", "versionId": "redis"},
            "400 SNAPSHOT_DATABASE_MISMATCH",
        ),
    ],
)
@visited()
async def test_restore_of_a_wrong_snapshot_is_refused(
    at: Visit, body: Any, answer: str
) -> None:
    at.emulator.add_database("redis", type="redis")
    known = {one: at.added(one) for one in (DATABASE, "redis")}
    sent = {
        name: known.get(str(value), value) if name == "versionId" else value
        for name, value in dict(body).items()
    }
    assert (
        told(
            await at.api.post(
                f"databases/{DATABASE}/snapshots/restore", json=sent or body
            )
        )
        == answer
    )
    assert not at.last.accepted


LONG = {"id": 32, "id_type": 41, "id_type_origin": None}
"""How much of a name with all its parts is there."""


@pytest.mark.parametrize("style", LONG)
@pytest.mark.parametrize("sent", [DATABASE, f"{DATABASE}_postgres", "as listed"])
@virtual
async def test_a_restore_takes_bare_names_and_names_with_the_engine(
    style: str, sent: str
) -> None:
    async with visit(name_style=style) as at:
        await at.create()
        (entry,) = await at.entries()
        assert entry["name"] == f"{DATABASE}_postgres_manual"[: LONG[style]]
        name = entry["name"] if sent == "as listed" else sent
        assert (await at.restore(entry["version_id"], name=name)).status_code == 200


@visited()
async def test_account_and_database_can_be_read(at: Visit) -> None:
    me = (await at.api.get("users/me")).json()["response"]
    assert me["user"]["id"] == at.emulator.settings.account_id
    assert me["user"]["plan"]["memory"] == {
        "limit": 2048,
        "available": 1536,
        "used": 512,
    }
    assert me["user"]["plan"]["name"] == "standard-2"
    assert [one["id"] for one in me["databases"]] == [DATABASE]
    one = (await at.api.get(f"databases/{DATABASE}")).json()["response"]
    assert set(one) == {
        "id",
        "name",
        "owner",
        "cluster",
        "ram",
        "type",
        "port",
        "created_at",
    }
    assert await at.running()
    at.emulator.stop_database(DATABASE)
    stopped = (await at.api.get(f"databases/{DATABASE}/status")).json()["response"]
    assert (stopped["running"], stopped["status"], stopped["uptime"]) == (
        False,
        "exited",
        None,
    )
    assert (await at.api.get("databases/status")).json()["response"] == [
        {"id": DATABASE, "running": False}
    ]
    at.emulator.start_database(DATABASE)
    (status,) = (await at.api.get("databases/status")).json()["response"]
    assert status == {"id": DATABASE, "running": True, "cpu": "0.00%", "ram": "0.00MB"}


@visited(plan_ends_at=START + timedelta(days=1))
async def test_after_the_end_of_a_plan_14_days_later_only_the_newest_snapshot_is_left(
    at: Visit,
) -> None:
    shown = (await at.me()).json()["response"]["user"]["plan"]
    assert shown["duration"] == (START + timedelta(days=1)).timestamp() * 1000
    old = at.added()
    at.emulator.advance(86400)
    assert not await at.running()
    assert told(await at.create()) == "400 DATABASE_NOT_RUNNING"
    last, before = at.emulator.snapshots(DATABASE)
    assert (before.version_id, last.origin) == (old, "automatic")
    assert last.modified == START + timedelta(days=1)
    at.emulator.advance(14 * 86400 - 1)
    assert len(at.emulator.snapshots(DATABASE)) == 2
    at.emulator.advance(1)
    assert at.emulator.snapshots(DATABASE) == [last]
    at.emulator.advance(16 * 86400)
    assert (await at.listing()).status_code == 404
    assert (await at.me()).json()["response"]["databases"] == []


@visited(plan_ends_at=START - timedelta(days=1))
async def test_a_plan_that_was_renewed_keeps_snapshots_as_before(at: Visit) -> None:
    at.change(plan_ends_at=START + timedelta(days=400))
    at.emulator.start_database(DATABASE)
    version = at.added()
    at.emulator.advance(29 * 86400)
    assert [each.version_id for each in at.emulator.snapshots(DATABASE)][:1] == [
        version
    ]
    assert await at.running()


@visited()
async def test_an_account_shows_no_end_of_its_plan_unless_it_has_one(at: Visit) -> None:
    assert (await at.me()).json()["response"]["user"]["plan"]["duration"] is None
    at.change(plan_ends_at=(START + timedelta(days=1)).replace(tzinfo=None))
    plan = (await at.me()).json()["response"]["user"]["plan"]
    assert plan["duration"] == (START + timedelta(days=1)).timestamp() * 1000
