"""The table of reactions to a restore, row by row: each event is played on the emulator, and its row must tell the truth."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pulumi_snapshots.restore.record import RestoreRecord
from tests.support.reactions import Reaction, Scenario, Table
from tests.support.restoring import RestoreEnding, Scene, milliseconds, says, scene
from tests.support.virtual import run_virtual
from tests.support.world import DATABASE, OTHER_DATABASE

TABLE = Table(Path(__file__).with_name("reactions.md"))
event = TABLE.event
HOUR = 3600.0
NO_STATUS: dict[str, Any] = {"restore_status_route": "404"}


Happens = Callable[[Scene], object]


async def next_up(at: Scene, record: RestoreRecord) -> RestoreEnding:
    """What is shown and sent from here on is of interest."""
    at.row.shown.clear()
    at.here.emulator.journal.clear()
    return await at.resume(record)


# Accepted, or after something has happened -----------------------------------------------------------------------------


@event("200, then `running` and `success`")
@event("200 only when the data is there", restore_holds=True)
@event("the key may not use the database", resources=frozenset({OTHER_DATABASE}))
@event("202 `SNAPSHOT_RESTORE_PROCESSING`", restore_holds=True, restore_seconds=200.0)
@event("200, then `queued`", restore_queue_seconds=200.0)
@event("`running` until `timeout`", restore_seconds=1500.0)
@event("no status: 200, and the database goes down", **NO_STATUS)
@event(
    "no status: 200, and the database is never seen down",
    restore_seconds=0.0,
    **NO_STATUS,
)
@event(
    "no status: 200, and the database is not back until `timeout`",
    restore_seconds=HOUR,
    **NO_STATUS,
)
async def plain(at: Scene, _: Any) -> RestoreEnding:
    return await at.restore()


def errs(code: str) -> Happens:
    return lambda at: at.here.emulator.next_restore_fails_with(DATABASE, code)


def says_error(**code: Any) -> Happens:
    def happens(at: Scene) -> None:
        errs("SOMETHING_NEW")(at)
        says(
            at,
            state="error",
            started_at=milliseconds(at),
            finished_at=milliseconds(at),
            **code,
        )

    return happens


def lost_and_failed(at: Scene) -> None:
    errs("SNAPSHOT_CORRUPT")(at)
    at.here.fault(kind="restore", when="after", drop=True)


@event("200, and `none` at first", lambda at: says(at, state="none"))
@event(
    "a state that is not known, until `timeout`",
    lambda at: says(at, times=None, state="verifying", started_at=milliseconds(at)),
)
@event("`error` with `SNAPSHOT_CORRUPT`", errs("SNAPSHOT_CORRUPT"))
@event("`error` with `RESTORE_INTERRUPTED`", errs("RESTORE_INTERRUPTED"))
@event("`error` with `CONTAINER_NOT_FOUND`", errs("CONTAINER_NOT_FOUND"))
@event(
    "`error` with `CLUSTER_MAINTENANCE_TRY_LATER`",
    errs("CLUSTER_MAINTENANCE_TRY_LATER"),
)
@event("`error` with `SNAPSHOT_DATABASE_MISMATCH`", errs("SNAPSHOT_DATABASE_MISMATCH"))
@event("`error` with `UPGRADE_REQUIRED`", errs("UPGRADE_REQUIRED"))
@event("`error` with `SNAPSHOT_NOT_FOUND`", errs("SNAPSHOT_NOT_FOUND"))
@event(
    "`error` with a code that is not known, or without one",
    says_error(code="SOMETHING_NEW"),
    says_error(),
)
@event("the answer is lost, and the restore failed", lost_and_failed)
@event(
    "`SNAPSHOT_NOT_FOUND`",
    lambda at: at.here.emulator.remove_snapshot(at.stored.version_id),
)
@event(
    "`SNAPSHOT_RESTORE_FAILED`", lambda at: at.here.emulator.fail_next_restore(DATABASE)
)
@event("the database does not run", lambda at: at.here.emulator.stop_database(DATABASE))
async def afterwards(at: Scene, happens: Happens) -> RestoreEnding:
    happens(at)
    return await at.restore()


@event(
    "a version named by its ids alone",
    lambda _: {"name": None, "runtime": None, "created_at": None},
)
@event(
    "a version that is not listed, named by its ids",
    lambda _: {"name": None, "version_id": "v" * 32},
)
@event(
    "the engines differ",
    lambda at: {"target": at.here.emulator.add_database(type="mysql").id},
)
@event(
    "`SNAPSHOT_DATABASE_MISMATCH`",
    lambda at: {
        "target": at.here.emulator.add_database(type="mysql").id,
        "runtime": None,
    },
)
async def given(at: Scene, inputs: Callable[[Scene], dict[str, Any]]) -> RestoreEnding:
    return await at.restore(**inputs(at))


# Several runs ----------------------------------------------------------------------------------------------------------


@event("the next `up` while pending", restore_seconds=1000.0)
@event("no status: the next `up` while pending", restore_seconds=1000.0, **NO_STATUS)
async def resumed(at: Scene, _: Any) -> RestoreEnding:
    return await next_up(at, (await at.restore()).pending)


@event("the next `up` while pending, hours later", 2 * HOUR)
@event("the next `up` while pending, after somebody else's restore", HOUR / 2)
@event("the next `up` while pending learns that it failed", 100.0)
async def later(at: Scene, seconds: float) -> RestoreEnding:
    if seconds == 100.0:
        errs("SNAPSHOT_CORRUPT")(at)
    record = (await at.interrupted(20)).pending
    await anyio.sleep(seconds)
    if seconds == HOUR / 2:
        await at.somebody_restores(at.stored)
    return await next_up(at, record)


@event("kill -9 after the POST, and the next `up`", 20.0, 45.0)
async def killed(at: Scene, after: float) -> RestoreEnding:
    await at.killed(after)
    return await at.restore(at.process())


@event("^C before the POST was sent", 0.0)
@event("^C while it connects to the service", 5.0)
@event("^C while the POST is open", 20.0, restore_holds=True)
@event("^C while it is restored", 20.0)
async def stopped(at: Scene, after: float) -> RestoreEnding:
    if after == 5.0:
        at.here.fault(kind="restore", no_connect=True, delay=1000)
    if after == 0.0:
        session = at.process()
        session.stop()
        return await at.restore(session)
    return await at.interrupted(after)


# One answer ------------------------------------------------------------------------------------------------------------

LOST: tuple[dict[str, Any], ...] = (
    *({"drop": True}, {"drop": True, "delay": 400.0}, {"malformed": True}),
    *({"html": 502}, {"html": 522}, {"html": 408}, {"html": 500}),
    *(
        {"status": 503, "code": "DATABASE_UNAVAILABLE"},
        {"status": 504, "code": "GATEWAY"},
    ),
)
NEW_CODES: tuple[dict[str, Any], ...] = (
    *({"status": status, "code": "SOMETHING_NEW"} for status in (404, 422, 500)),
    {"html": 404},
)


def done(*faults: dict[str, Any]) -> list[dict[str, Any]]:
    """The restore was carried out all the same."""
    return [{**fault, "when": "after"} for fault in faults]


def unseen(kind: str, *codes: str, **more: Any) -> list[dict[str, Any]]:
    return [{"status": 403, "code": code, "kind": kind, **more} for code in codes]


STATUS = {"kind": "restore status", "skip": 2}
UNREADABLE: tuple[Any, ...] = (
    None,
    [],
    {},
    {"state": None},
    {"state": ["none"]},
    {"state": "x" * 100},
    {"state": "<b>"},
)
STOPPED = {
    "kind": "status",
    "skip": 1,
    "body": '{"status": "success", "response": {"running": false}}',
}


@event("the answer is lost, and it was carried out", *done(*LOST))
@event("the answer is lost, and nothing was started", *LOST)
@event("no status: the answer is lost", *LOST, *done(*LOST), **NO_STATUS)
@event("an answer with a code that is new, and it was carried out", *done(*NEW_CODES))
@event("an answer with a code that is new, and nothing was started", *NEW_CODES)
@event(
    "no status: an answer with a code that is new",
    *NEW_CODES,
    restore_seconds=0.0,
    **NO_STATUS,
)
@event(
    "polls of the status fail for a while",
    {**STATUS, "status": 500, "code": "BROKEN", "times": 12},
)
@event(
    "a status that cannot be read",
    *(
        {
            **STATUS,
            "times": None,
            "body": json.dumps({"status": "success", "response": each}),
        }
        for each in UNREADABLE
    ),
)
@event(
    "`DATABASE_NOT_FOUND` for the status",
    {
        "kind": "restore status",
        "status": 404,
        "code": "DATABASE_NOT_FOUND",
        "times": None,
    },
)
@event("`success`, and the database does not run yet", {**STOPPED, "times": 3})
@event(
    "`success`, and the database does not run until `timeout`",
    {**STOPPED, "times": None},
)
@event("`KEEP_CALM`", {"status": 429, "code": "KEEP_CALM"})
@event(
    "`RESTORE_IN_PROGRESS` until `timeout`",
    {"status": 409, "code": "RESTORE_IN_PROGRESS", "times": None},
)
@event("`RATE_LIMITED`", {"status": 429, "code": "RATE_LIMITED"})
@event("401", {"status": 401, "code": "ACCESS_DENIED"})
@event("no connection", {"no_connect": True, "times": 3})
@event(
    "`RATE_LIMITED` while it is restored",
    {**STATUS, "status": 429, "code": "RATE_LIMITED", "skip": 3},
    settings={"block_wait": 300.0},
)
@event(
    "the key is refused while it is restored",
    {**STATUS, "status": 401, "code": "ACCESS_DENIED"},
)
@event(
    "the key may not see the restore's status",
    *unseen(
        "restore status",
        "MISSING_SCOPE",
        "PERMISSION_DENIED",
        "SOMETHING_NEW",
        times=None,
    ),
)
@event(
    "the key may not see the database's status",
    *unseen("status", "MISSING_SCOPE", "RESOURCE_NOT_ALLOWED", "PERMISSION_DENIED"),
)
async def answered(at: Scene, fault: dict[str, Any]) -> RestoreEnding:
    at.here.fault(**{"kind": "restore", **fault})
    return await at.restore()


@event("the next `up` after that, when `timeout` is over")
async def unknown(at: Scene, _: Any) -> RestoreEnding:
    return await next_up(at, (await answered(at, LOST[0])).pending)


# Of others -------------------------------------------------------------------------------------------------------------


@event("`RESTORE_IN_PROGRESS`")
@event("no status: `RESTORE_IN_PROGRESS`", **NO_STATUS)
async def running(at: Scene, _: Any) -> RestoreEnding:
    """Somebody else's restore begins right before ours."""
    at.here.fault(kind="restore", status=409, code="RESTORE_IN_PROGRESS")
    if at.here.emulator.settings.restore_status_route == "there":
        says(at, times=3, state="running", step="unzip")
        return await at.restore()
    at.here.emulator.stop_database(DATABASE)
    return await at.here.meanwhile(
        90, lambda: at.here.emulator.start_database(DATABASE), at.restore()
    )


@event("another restore of the database runs before the POST", 300.0)
@event("another restore of the database runs until `timeout`", HOUR)
@event("another restore of the database has just succeeded", 150.0)
async def theirs_first(at: Scene, seconds: float) -> RestoreEnding:
    at.here.emulator.settings = replace(
        at.here.emulator.settings, restore_seconds=seconds
    )
    await at.somebody_restores(at.stored)
    await anyio.sleep(200)
    at.here.emulator.journal.clear()
    at.here.emulator.settings = replace(at.here.emulator.settings, restore_seconds=60.0)
    return await at.restore()


# The test ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reaction", "scenario"), TABLE.played())
def test_reaction_is_what_the_page_promises(
    reaction: Reaction, scenario: Scenario
) -> None:
    async def body() -> None:
        async with scene(**scenario.service) as at:
            ending = await scenario.play(at, scenario.variant)
            shown = ending.text
            assert len(at.posts) == reaction.posts, shown
            assert {"complete": "the restore"}.get(
                ending.how, ending.how
            ) == reaction.state, shown
            assert [words for words in reaction.reads if words not in shown] == [], (
                shown
            )
            assert at.here.emulator.settings.api_key not in shown
            assert len(at.accepted) <= 1
            if ending.how == "complete":
                assert at.holds() == "then"
            elif ending.how == "nothing":
                assert at.holds() == "now"

    run_virtual(body)
