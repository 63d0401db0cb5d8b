"""Refresh and get: nothing is ever dropped, and a fleet's reads cost few looks."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors import NoSuchSnapshot
from pulumi_snapshots.listing.listings import SERVICE_CACHE
from pulumi_snapshots.snapshot.read import get
from pulumi_snapshots.snapshot.record import SnapshotRecord, is_pinned
from tests.support.clocks import set_clock
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, START, Ending, World, world

MINUTE = 60.0
HOUR = 3600.0
DAY = 86400.0
UNREADABLE_ENTRY = '{"status": "success", "response": [{"name": "x", "size": 1}]}'


async def taken(w: World) -> SnapshotRecord:
    record = (await w.create()).complete
    w.row.shown.clear()
    return record


async def refreshed(w: World, record: SnapshotRecord) -> Ending:
    w.row.warnings.clear()
    return await w.read(record, session=w.another_run())


# The URL -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "kept"), [(1, True), (22.9, True), (23.1, False), (29, False)]
)
@staged(world)
async def test_a_refresh_keeps_the_url_until_its_last_7_days(
    w: World, days: float, *, kept: bool
) -> None:
    record = await taken(w)
    await w.clock.sleep(days * DAY)
    renewed = (await refreshed(w, record)).complete
    assert (renewed.download_url == record.download_url) is kept
    assert is_pinned(renewed.download_url, record.version_id or "")
    assert (renewed == record) is kept
    until = parse_rfc3339(renewed.download_url_expires_at or "")
    assert until - w.clock.utc() > timedelta(days=6.9)


@pytest.mark.parametrize("listed", ["missing", "unpinned", "ending earlier"])
@staged(world)
async def test_a_refresh_keeps_the_last_pinned_url_of_a_snapshot(
    w: World, listed: str
) -> None:
    record = await taken(w)
    await w.clock.sleep(25 * DAY)
    url = record.download_url or ""
    sooner = str(int(w.emulator.now().timestamp()) + 3600)
    urls = {
        "missing": None,
        "unpinned": url.replace("versionId", "other"),
        "ending earlier": re.sub(r"Expires=\d+", f"Expires={sooner}", url),
    }
    known = {
        "name": DATABASE,
        "version_id": record.version_id,
        "modified": record.created_at,
    }
    body = json.dumps(
        {"status": "success", "response": [{**known, "url": urls[listed], "size": 7}]}
    )
    w.fault(kind="list", body=body, times=None)
    renewed = (await refreshed(w, record)).complete
    assert renewed.size == 7
    assert (renewed.download_url, renewed.download_url_expires_at) == (
        url,
        record.download_url_expires_at,
    )


# Missing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "body", "available", "words"),
    [
        (1, None, True, ["not listed yet"]),  # a stale page may lack it
        (44, None, True, ["not listed yet"]),
        (46, None, False, ["is not in the service's listing"]),
        (24 * 60, UNREADABLE_ENTRY, True, ["proves nothing"]),
        (31 * 24 * 60, None, False, ["past its 30 days", "rotate_after", "--replace"]),
    ],
)
@staged(world)
async def test_a_snapshot_that_is_not_listed_stays_in_the_state(
    w: World, minutes: float, body: str | None, *, available: bool, words: list[str]
) -> None:
    record = await taken(w)
    w.emulator.remove_snapshot(w.started())
    w.emulator.drop_cache()
    await w.clock.sleep(minutes * MINUTE)
    if body:
        w.fault(kind="list", body=body, times=None)
    ending = await refreshed(w, record)
    assert ending.complete == replace(record, available=available)
    assert [each for each in words if each not in ending.text] == []


@staged(world)
async def test_snapshot_that_comes_back_is_available_again(w: World) -> None:
    record = await taken(w)
    assert (await refreshed(w, replace(record, available=False))).complete == record


# How long, how many ------------------------------------------------------------------------------------------------


@staged(world)
async def test_refresh_does_not_wait_for_the_end_of_a_block(w: World) -> None:
    record = await taken(w)
    await w.clock.sleep(HOUR)
    w.emulator.block()
    session = w.another_run()
    began = w.clock.monotonic()
    for _ in range(2):
        assert (await w.read(record, session=session)).complete == record
    assert w.clock.monotonic() - began < 2
    assert len(w.row.warnings) == 2
    assert [look.code for look in w.listings][-2:] == [None, "RATE_LIMITED"], (
        "the second was not even sent"
    )


@staged(world)
async def test_interrupted_refresh_says_so_and_changes_nothing(w: World) -> None:
    record = await taken(w)
    await w.clock.sleep(HOUR)
    w.fault(drop=True, delay=500, times=None)
    ending = await w.interrupted(10, w.read(record))
    assert ending.complete == record
    assert "it was interrupted" in ending.text


# Pending -----------------------------------------------------------------------------------------------------------


async def pending_of(w: World, **inputs: Any) -> SnapshotRecord:
    record = (await w.interrupted(95, w.create(**inputs))).pending
    w.row.shown.clear()
    w.session = w.another_run()
    return record


@staged(world, snapshot_seconds=200)
async def test_a_read_completes_a_pending_snapshot_with_one_poll(w: World) -> None:
    record = await pending_of(w)
    await w.clock.sleep(200)
    before = len(w.listings)
    found = (await w.read(record, session=w.another_run())).complete
    assert found.version_id == w.started()
    assert found.attempt is None
    assert not w.row.warnings, "the state has it, whatever the ledger could be told"
    assert len(w.listings) - before == 1


@staged(world, snapshot_seconds=300.0, cache_world="invalidated")
async def test_a_read_takes_the_version_that_another_run_has_found_however_many_fit(
    w: World,
) -> None:
    pending = (await w.create(timeout=180.0)).pending
    found = (await w.create(pending, session=w.next_run())).complete
    theirs = w.clock.utc() - timedelta(minutes=5)
    w.emulator.add_snapshot(DATABASE, modified=theirs)
    record = (await w.read(pending, session=w.next_run())).complete
    assert record.version_id == found.version_id


@pytest.mark.parametrize("cache_world", ["kept", "invalidated"])
@virtual
async def test_a_preview_right_after_an_interrupted_up_freezes_no_page(
    cache_world: str,
) -> None:
    """A page that was requested before the snapshot is listed may be served for half an hour."""
    async with world(snapshot_seconds=100, cache_world=cache_world) as w:
        record = await pending_of(w)
        began = w.clock.monotonic()
        assert record.attempt is not None
        for ahead in (0.0, -3600.0, 3600.0):  # of the clock of the machine that reads
            run = w.another_run()
            with set_clock(run.clock, timedelta(seconds=ahead)):
                assert (await w.read(record, session=run)).record == record
        assert not w.listings, "a read polls no sooner than the wait would"
        resumed = await w.create(record, session=w.another_run())
        found = resumed.complete
        assert found.version_id == w.started()
        assert w.clock.monotonic() - began <= 30


@staged(world, snapshot_seconds=91, settings={"listing_cache": "ended-by-snapshot"})
async def test_a_read_polls_at_once_if_new_snapshots_are_known_to_end_the_cache(
    w: World,
) -> None:
    record = await pending_of(w)
    assert (
        await w.read(record, session=w.another_run())
    ).complete.version_id == w.started()


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": True, "delay": 1000.0},
        {"html": 502},
        {"no_connect": True},
        {"truncated": True},
        {"status": 401, "code": "ACCESS_DENIED"},
        {"status": 403, "code": "MISSING_SCOPE"},
        {"status": 404, "code": "DATABASE_NOT_FOUND"},
        {"status": 429, "code": "RATE_LIMITED"},
        {"status": 418, "code": "NEVER_SEEN"},
    ],
    ids=str,
)
@staged(world, snapshot_seconds=200)
async def test_a_read_of_a_pending_snapshot_never_fails_or_delays_others(
    w: World, fault: dict[str, Any]
) -> None:
    record = await pending_of(w)
    await w.clock.sleep(200)
    w.fault(times=None, **fault)
    before = len(w.emulator.journal)
    began = w.clock.monotonic()
    ending = await w.read(record, session=w.another_run())
    assert ending.error is None
    assert ending.record == record
    assert w.clock.monotonic() - began <= 10
    assert len(w.emulator.journal) - before <= 2, "the time, and one poll"


@pytest.mark.parametrize(
    ("waits", "hours", "failed"),
    [(45 * MINUTE, 1.9, False), (45 * MINUTE, 2.2, True), (4 * HOUR, 3.9, False)],
)
@staged(world, snapshot_seconds=200)
async def test_pending_snapshot_is_not_given_up_before_its_time(
    w: World, waits: float, hours: float, *, failed: bool
) -> None:
    w.emulator.fail_next_snapshot(DATABASE)
    record = await pending_of(w, timeout=waits)
    await w.clock.sleep(hours * HOUR - 95)
    run = w.another_run()
    assert (await w.read(record, session=run)).record == record, (
        "a read gives up nothing"
    )
    resumed = await w.create(record, session=run, timeout=10 * MINUTE)
    assert len(w.posts) == 1 + failed
    assert failed or resumed.pending.id == record.id
    assert ("was never taken" in resumed.text) is failed


# Old entries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["id", "id_type"])
@pytest.mark.parametrize("seconds", [20, 200])
@virtual
async def test_old_entries_without_a_url_give_a_pinned_one_that_works(
    seconds: float, style: Any
) -> None:
    async with world(
        old_style_entries=True, snapshot_seconds=seconds, name_style=style
    ) as w:
        record = (await w.create()).complete
        assert record.version_id == w.started()
        assert is_pinned(record.download_url, w.started())
        w.emulator.add_snapshot(DATABASE, origin="automatic")
        answer = await w.download(record.download_url or "")
        assert answer == w.emulator.archive_of(w.started())
        assert len(w.requests("me")) == 1, (
            "the account's id is known from the run's first request"
        )


# Get ---------------------------------------------------------------------------------------------------------------


@staged(world)
async def test_get_finds_what_others_took_and_an_automatic_one(w: World) -> None:
    stored = w.emulator.add_snapshot(
        DATABASE, origin="automatic", modified=START - timedelta(days=3)
    )
    record = await get(w.session, f"{DATABASE}/{stored.version_id}")
    assert record.version_id == stored.version_id
    assert record.origin == "automatic"
    assert record.available
    assert record.requested_at is None
    assert is_pinned(record.download_url, stored.version_id)


@staged(world)
async def test_get_of_the_latest_finds_automatic_ones_too(w: World) -> None:
    with pytest.raises(
        NoSuchSnapshot, match=f"lists no snapshot of database {DATABASE}"
    ) as none:
        await get(w.session, f"{DATABASE}/latest")
    assert none.value.then
    await w.clock.sleep(SERVICE_CACHE + 1)
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(days=3))
    newest = w.emulator.add_snapshot(
        DATABASE, origin="automatic", modified=START - timedelta(days=1)
    )
    assert (
        await get(w.session, f"{DATABASE}/latest")
    ).id == f"{DATABASE}/{newest.version_id}"


@pytest.mark.parametrize(
    ("resource_id", "words"),
    [
        (f"{DATABASE}/45ec0b49-9af6-445e-a55c-abd7ec5278b2", "lists no snapshot"),
        (f"{DATABASE}/pending:20260301T120000Z", "provisional id"),
        (DATABASE, "DATABASE_ID/VERSION_ID"),
        (f"{DATABASE}/", "DATABASE_ID/VERSION_ID"),
        ("/45ec0b49", "DATABASE_ID/VERSION_ID"),
        (f" {DATABASE}/45ec0b49", "DATABASE_ID/VERSION_ID"),
        (f"{DATABASE}/45ec 0b49", "DATABASE_ID/VERSION_ID"),
        (f"{DATABASE}/45ec/0b49", "lists no snapshot"),
        ("../me/45ec0b49", "lists no snapshot|DATABASE_ID/VERSION_ID"),
    ],
)
@staged(world)
async def test_get_of_what_is_not_there_is_an_error_and_no_other_request(
    w: World, resource_id: str, words: str
) -> None:
    with pytest.raises(NoSuchSnapshot, match=words):
        await get(w.session, resource_id)
    assert {entry.kind for entry in w.emulator.journal} <= {"list", "list account"}
