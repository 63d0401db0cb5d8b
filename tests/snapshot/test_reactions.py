"""The table of reactions in docs/dev/answers.md, row by row: each event is played on the emulator, and its row must tell the truth."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pulumi_snapshots.run.settings import MissingKey
from pulumi_snapshots.snapshot.record import is_pinned
from squarecloud_emulator import Fault
from tests.support.reactions import Reaction, Scenario, Table
from tests.support.virtual import run_virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START, Ending, World, world

TABLE = Table(
    Path(__file__).parents[2] / "docs" / "dev" / "answers.md",
    Path(__file__).with_name("rarer_reactions.md"),
)
event = TABLE.event
THIRD_DATABASE = "c36d0f7a3ed9627ca73fd6e297348343"
FIVE_MINUTES = 300.0


@dataclass(frozen=True)
class Seen:
    """What a scenario ended with, and how many POSTs of it the service saw."""

    ending: Ending
    posts: int


def on_post(**fault: Any) -> Fault:
    return Fault(kind="create", **fault)


# Answers that bring the snapshot -----------------------------------------------------------------------------------


@event("200 with the version in `key`")
@event("200 without a version", key_of_200_has_version=False)
@event(
    "200 with the version, and the key may not list snapshots",
    scopes=frozenset({"snapshots:write"}),
)
@event("202", snapshot_seconds=200)
@event(
    "202, listed more than 15 minutes later",
    snapshot_seconds=1000,
    cache_world="invalidated",
)
@event("202, not listed until `timeout`", snapshot_seconds=3600)
@event("`MISSING_SCOPE`", scopes=frozenset({"snapshots:read"}))
@event("`RESOURCE_NOT_ALLOWED`", resources=frozenset({OTHER_DATABASE}))
async def plain(w: World, _: Any) -> Ending:
    return await w.create()


@event("the next `up` while pending", snapshot_seconds=3600)
async def resumed(w: World, _: Any) -> Seen:
    pending = (await w.create()).pending
    w.row.shown.clear()
    before = len(w.posts)
    return Seen(await w.create(pending, session=w.another_run()), len(w.posts) - before)


@event("the next `up`, 2 hours after the POST, not listed")
async def proven_failed(w: World, _: Any) -> Seen:
    w.emulator.next_snapshot_takes(DATABASE, 200)
    w.emulator.fail_next_snapshot(DATABASE)
    pending = (await w.create()).pending
    w.row.shown.clear()
    await w.clock.sleep(2 * 3600)
    run = w.another_run()
    assert (await w.read(pending, session=run)).record == pending
    w.emulator.journal.clear()
    ending = await w.create(pending, session=run)
    return Seen(ending, len(w.posts))


# Interrupted -------------------------------------------------------------------------------------------------------


@event("^C while it connects to the service", 5.0)
@event("^C while the POST is open", 60.0, snapshot_seconds=200)
@event("^C while pending", 150.0, snapshot_seconds=200)
async def interrupted(w: World, after: float) -> Ending:
    if after == 5.0:
        w.emulator.add_fault(on_post(no_connect=True, delay=1000))
    return await w.interrupted(after, w.create())


# One answer to the POST ----------------------------------------------------------------------------------------------


def after(*faults: dict[str, Any]) -> list[dict[str, Any]]:
    """The snapshot is started all the same."""
    return [{**fault, "when": "after"} for fault in faults]


@event(
    "sent, and the connection breaks",
    *after({"drop": True}, {"drop": True, "delay": 40}),
)
@event("no answer within 120 s", *after({"delay": 400, "drop": True}))
@event(
    "502, 504 or 52x, also from a proxy",
    *after(
        *({"html": status} for status in (502, 504, 520, 524, 530)), {"status": 502}
    ),
)
@event(
    "503, whatever its code",
    *after({"status": 503, "code": "DATABASE_UNAVAILABLE"}, {"html": 503}),
)
@event(
    "408 or 499",
    *after({"html": 408}, {"html": 499}, {"status": 408, "code": "REQUEST_TIMEOUT"}),
)
@event("500 without a code", *after({"html": 500}))
@event(
    "2xx that cannot be read",
    *after({"malformed": True}, {"empty": True}, {"body": "[]"}, {"html": 200}),
)
@event("2xx whose JSON stops in the middle", {"truncated": True}, {"cut_after": 10})
@event(
    "any of these, and nothing was started",
    {"drop": True},
    {"html": 502},
    {"status": 503},
    {"empty": True},
)
@event("a redirect", {"redirect": "https://elsewhere.test/v2"})
@event("500 with a code", {"status": 500, "code": "INTERNAL_SERVER_ERROR"})
@event(
    "a code that is not known",
    {"status": 409, "code": "SOMETHING_NEW"},
    {"status": 400, "code": "SOMETHING_NEW"},
)
@event(
    "`RATE_LIMITED`",
    {"status": 429, "code": "RATE_LIMITED"},
    {"status": 429, "code": "RATE_LIMIT"},
)
@event(
    "`KEEP_CALM` until a `timeout` of 5 minutes",
    {"status": 429, "code": "KEEP_CALM", "times": None},
)
@event("403 with a proxy's page", {"html": 403})
@event("no connection", {"no_connect": True, "times": None})
@event("no connection at first", {"no_connect": True, "times": 2})
async def answered(w: World, fault: dict[str, Any]) -> Ending:
    w.emulator.add_fault(on_post(**fault))
    ending = await (
        w.create(timeout=FIVE_MINUTES)
        if fault.get("code") == "KEEP_CALM"
        else w.create()
    )
    assert not w.transport.strayed, "the key must not follow a redirect"
    return ending


# What has happened before --------------------------------------------------------------------------------------------


async def somebody_restores(w: World) -> None:
    """Another client restores the database, a moment ago."""
    stored = w.emulator.add_snapshot(
        DATABASE, modified=w.emulator.now() - timedelta(hours=1)
    )
    await w.another_run().client.restore_snapshot(
        DATABASE, name=stored.name, version_id=stored.version_id
    )


def polls_fail(**fault: Any) -> Callable[[World], None]:
    def happens(w: World) -> None:
        for kind in ("list", "list account"):
            w.fault(kind=kind, times=7, **fault)
        w.emulator.next_snapshot_takes(DATABASE, 200)

    return happens


def no_listing(w: World, **fault: Any) -> None:
    w.fault(kind="list", **{"html": 502, "times": None, **fault})


@event(
    "`KEEP_CALM`",
    lambda w: w.emulator.account.cooldowns.start(
        "snapshot", DATABASE, w.emulator.now() - timedelta(seconds=177)
    ),
)
@event(
    "`DAILY_SNAPSHOTS_LIMIT_REACHED`", lambda w: w.use_quota(20, 3), plan_memory_mb=256
)
@event("`DATABASE_NOT_FOUND`", lambda w: w.emulator.remove_database(DATABASE))
@event("`SNAPSHOT_FAILED`", lambda w: w.emulator.fail_next_snapshot(DATABASE))
@event("`DATABASE_NOT_RUNNING`", lambda w: w.emulator.stop_database(DATABASE))
@event("401", lambda w: w.emulator.revoke_key())
@event("^C before the POST was sent", lambda w: w.session.stop())
@event("200 with the version, not listed for 5 minutes", World.freeze_listings)
@event("`RESTORE_IN_PROGRESS`", somebody_restores)
@event(
    "`RESTORE_IN_PROGRESS`, and the service does not say how a restore is going",
    somebody_restores,
    restore_status_route="404",
)
@event(
    "`DATABASE_UNAVAILABLE` while pending",
    lambda w: no_listing(
        w, html=None, status=503, code="DATABASE_UNAVAILABLE", times=2
    ),
    snapshot_seconds=200,
)
@event(
    "polls fail for a while, while pending",
    *(
        polls_fail(**fault)
        for fault in (
            {"html": 502},
            {"drop": True},
            {"status": 500, "code": "INTERNAL"},
        )
    ),
)
@event(
    "`RESTORE_IN_PROGRESS` until a `timeout` of 5 minutes",
    (somebody_restores, {"timeout": FIVE_MINUTES}),
    restore_seconds=3600,
)
@event(
    "200 without a version, not listed until `timeout`",
    (World.freeze_listings, {"timeout": 20 * 60.0}),
    key_of_200_has_version=False,
)
@event(
    "`reuse_within`, and there is a recent enough snapshot",
    (
        lambda w: w.emulator.add_snapshot(
            DATABASE, modified=START - timedelta(minutes=10)
        ),
        {"reuse_within": 3600.0},
    ),
)
@event(
    "`reuse_within`, and the listing request fails",
    (no_listing, {"reuse_within": 3600.0}),
)
async def afterwards(w: World, variant: Any) -> Ending:
    happens, inputs = variant if isinstance(variant, tuple) else (variant, {})
    if isinstance(going_on := happens(w), Awaitable):
        await going_on
    return await w.create(**inputs)


@event(
    "two new snapshots within 180 s in the listing",
    lambda w: w.emulator.add_snapshot(DATABASE),
    snapshot_seconds=200,
)
@event(
    "the key is refused while pending",
    lambda w: w.emulator.revoke_key(),
    snapshot_seconds=200,
)
@event(
    "`RATE_LIMITED` while pending", lambda w: w.emulator.block(), snapshot_seconds=200
)
async def while_pending(w: World, happens: Callable[[World], object]) -> Ending:
    return await w.meanwhile(150, lambda: happens(w), w.create())


@event("`SNAPSHOT_IN_PROGRESS`", 300.0)
@event("`SNAPSHOT_IN_PROGRESS` until a `timeout` of 5 minutes", 3600.0)
@event("`SNAPSHOT_IN_PROGRESS` with `reuse_within`", 260.0, cache_world="invalidated")
async def snapshot_running(w: World, seconds: float) -> Ending:
    """Another client's snapshot takes longer than the cooldown."""
    w.emulator.next_snapshot_takes(DATABASE, seconds)
    await w.another_run().client.start_snapshot(DATABASE)
    await w.clock.sleep(150)
    w.emulator.journal.clear()
    reuse = 600.0 if w.emulator.settings.cache_world == "invalidated" else 0.0
    return await w.create(
        timeout=FIVE_MINUTES if seconds > FIVE_MINUTES else 1800.0, reuse_within=reuse
    )


@event("401 for another resource of the same run", lambda w: w.emulator.revoke_key())
@event(
    "`RATE_LIMITED` for another resource of the same run", lambda w: w.emulator.block()
)
async def elsewhere(w: World, happens: Callable[[World], object]) -> Seen:
    happens(w)
    assert str((await w.create(database_id=OTHER_DATABASE)).nothing)
    w.row.shown.clear()
    sent = len(w.posts)
    return Seen(await w.create(), len(w.posts) - sent)


@event("no API key")
async def no_key(w: World, _: Any) -> Ending:
    with pytest.raises(MissingKey) as missing:
        w.another_run(api_key=None)
    return Ending(None, missing.value, str(missing.value))


# The network and the others ----------------------------------------------------------------------------------------


@event("the two POSTs before it and every poll are answered with errors")
async def outage(w: World, _: Any) -> Seen:
    await w.session.know_time(DATABASE)
    w.fault(html=502, times=None)
    endings: dict[str, Ending] = {}

    async def take(database_id: str) -> None:
        endings[database_id] = await w.create(database_id=database_id)

    async with anyio.create_task_group() as group:
        for number, database_id in enumerate(
            (OTHER_DATABASE, THIRD_DATABASE, DATABASE)
        ):
            group.start_soon(
                w.later, number, lambda one=database_id: group.start_soon(take, one)
            )
    return Seen(
        endings[DATABASE], sum(post.database_id == DATABASE for post in w.posts)
    )


# Refresh -----------------------------------------------------------------------------------------------------------


async def refreshed(
    w: World, happens: Callable[[World], object], *, fails: bool = False
) -> Seen:
    """A snapshot of yesterday in the state; what was shown when it was taken is not of interest."""
    kept = (await w.create()).complete
    await w.clock.sleep(86400)
    w.row.shown.clear()
    happens(w)
    before = len(w.posts)
    began = w.clock.monotonic()
    seen = await w.read(kept, session=w.another_run())
    assert w.clock.monotonic() - began <= 120, "whatever the service does"
    assert seen.record is not None
    assert replace(seen.record, available=True) == replace(kept, available=True)
    assert (seen.error is not None) is fails, (
        "a fleet's refresh must not fail because of one database"
    )
    return Seen(seen, len(w.posts) - before)


def lose_scope(w: World) -> None:
    w.emulator.settings = replace(
        w.emulator.settings, scopes=frozenset({"snapshots:write"})
    )


event("refresh", lambda _: None)(refreshed)
event(
    "refresh: not listed any more", lambda w: w.emulator.remove_snapshot(w.started())
)(refreshed)
event(
    "refresh: `RESOURCE_NOT_ALLOWED`, `DATABASE_NOT_FOUND`, a block, or no answer",
    partial(World.fault, times=None, status=403, code="RESOURCE_NOT_ALLOWED"),
    partial(World.fault, times=None, status=404, code="DATABASE_NOT_FOUND"),
    partial(World.fault, times=None, status=429, code="RATE_LIMITED"),
    partial(World.fault, times=None, html=502),
    partial(World.fault, times=None, drop=True, delay=1000.0),
    partial(World.fault, times=None, no_connect=True),
    partial(World.fault, times=None, status=429, code="KEEP_CALM"),
)(refreshed)
refused = partial(refreshed, fails=True)
event("refresh: 401 or `MISSING_SCOPE`", lambda w: w.emulator.revoke_key(), lose_scope)(
    refused
)


# The test ----------------------------------------------------------------------------------------------------------


def holds(state: str, w: World, ending: Ending) -> None:
    """Whether what the state holds is what the table says."""
    record = ending.record
    if state == "nothing":
        assert record is None, ending.text
        return
    assert record is not None, ending.text
    if state == "pending":
        assert record.version_id is None
        assert record.attempt is not None
        assert "/pending:" in record.id
        return
    if state == "the snapshot that was there":
        assert record.version_id == w.newest().version_id
    else:
        assert record.version_id == w.started(), ending.text
    assert record.attempt is None
    assert record.available is (state != "the snapshot, `available` false")
    assert is_pinned(record.download_url, record.version_id or "") is (
        state != "the snapshot, its URL not pinned"
    )


@pytest.mark.parametrize(("reaction", "scenario"), TABLE.played())
def test_reaction_is_what_the_page_promises(
    reaction: Reaction, scenario: Scenario
) -> None:
    async def body() -> None:
        async with world(
            databases=(DATABASE, OTHER_DATABASE, THIRD_DATABASE), **scenario.service
        ) as w:
            result = await scenario.play(w, scenario.variant)
            seen = result if isinstance(result, Seen) else Seen(result, len(w.posts))
            assert seen.posts == reaction.posts
            holds(reaction.state, w, seen.ending)
            shown = seen.ending.text
            assert [words for words in reaction.reads if words not in shown] == [], (
                shown
            )
            assert w.emulator.settings.api_key not in shown
            assert (
                sum(post.accepted for post in w.posts if post.database_id == DATABASE)
                <= 1
            )
            assert not w.transport.strayed

    run_virtual(body)
