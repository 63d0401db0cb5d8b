"""The table of reactions to a restore, row by row: each event is played on the emulator, and its row must tell the truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pulumi_snapshots.restore.record import RestoreRecord
from squarecloud_emulator import Fault
from tests.support.reactions import Reaction, Scenario, Table
from tests.support.restoring import RestoreEnding, Scene, milliseconds, says, scene
from tests.support.virtual import run_virtual
from tests.support.world import DATABASE

TABLE = Table(Path(__file__).with_name("reactions.md"))
event = TABLE.event
HOUR = 3600.0
NO_STATUS: dict[str, Any] = {"restore_status_route": "404"}


def refuses(at: Scene, code: str, status: int = 404, kind: str = "restore", **rule: Any) -> None:
    at.here.emulator.add_fault(Fault(kind=kind, status=status, code=code, **rule))


async def next_up(at: Scene, record: RestoreRecord) -> RestoreEnding:
    """What is shown and sent from here on is of interest."""
    at.row.shown.clear()
    at.here.emulator.journal.clear()
    return await at.resume(record)


# Accepted ------------------------------------------------------------------------------------------------------------


@event("200, then `running` and `success`")
@event("200 only when the data is there", restore_holds=True)
@event("202 `SNAPSHOT_RESTORE_PROCESSING`", restore_holds=True, restore_seconds=200.0)
@event("200, then `queued`", restore_queue_seconds=200.0)
@event("`running` until `timeout`", restore_seconds=1500.0)
@event("no status: 200, and the database goes down", **NO_STATUS)
@event("no status: 200, and the database is never seen down", restore_seconds=0.0, **NO_STATUS)
@event("no status: 200, and the database is not back until `timeout`", restore_seconds=HOUR, **NO_STATUS)
async def plain(at: Scene, _: Any) -> RestoreEnding:
    return await at.restore()


@event("200, and `none` at first")
async def not_yet(at: Scene, _: Any) -> RestoreEnding:
    says(at, state="none")
    return await at.restore()


@event("a state that is not known, until `timeout`")
async def new_state(at: Scene, _: Any) -> RestoreEnding:
    says(at, times=None, state="verifying", started_at=milliseconds(at))
    return await at.restore()


@event("`success`, and the database does not run yet", 3)
@event("`success`, and the database does not run until `timeout`", None)
async def not_running(at: Scene, times: int | None) -> RestoreEnding:
    stopped = '{"status": "success", "response": {"running": false}}'
    at.here.emulator.add_fault(Fault(kind="status", skip=1, times=times, body=stopped))
    return await at.restore()


@event("the next `up` while pending", restore_seconds=1000.0)
@event("no status: the next `up` while pending", restore_seconds=1000.0, **NO_STATUS)
async def resumed(at: Scene, _: Any) -> RestoreEnding:
    return await next_up(at, (await at.restore()).pending)


@event("the next `up` while pending, hours later")
async def forgotten(at: Scene, _: Any) -> RestoreEnding:
    record = (await at.interrupted(20)).pending
    await anyio.sleep(2 * HOUR)
    return await next_up(at, record)


@event("the next `up` while pending, after somebody else's restore")
async def overwritten(at: Scene, _: Any) -> RestoreEnding:
    record = (await at.interrupted(20)).pending
    await anyio.sleep(HOUR / 2)
    await at.somebody_restores(at.stored)
    return await next_up(at, record)


# Failed --------------------------------------------------------------------------------------------------------------


@event("`error` with `SNAPSHOT_CORRUPT`", "SNAPSHOT_CORRUPT")
@event("`error` with `RESTORE_INTERRUPTED`", "RESTORE_INTERRUPTED")
@event("`error` with `CONTAINER_NOT_FOUND`", "CONTAINER_NOT_FOUND")
@event("`error` with `CLUSTER_MAINTENANCE_TRY_LATER`", "CLUSTER_MAINTENANCE_TRY_LATER")
@event("`error` with `SNAPSHOT_DATABASE_MISMATCH`", "SNAPSHOT_DATABASE_MISMATCH")
@event("`error` with `UPGRADE_REQUIRED`", "UPGRADE_REQUIRED")
@event("`error` with `SNAPSHOT_NOT_FOUND`", "SNAPSHOT_NOT_FOUND")
async def fails_later(at: Scene, code: str) -> RestoreEnding:
    at.here.emulator.next_restore_fails_with(DATABASE, code)
    return await at.restore()


@event("`error` with a code that is not known, or without one", {"code": "SOMETHING_NEW"}, {})
async def fails_somehow(at: Scene, code: dict[str, Any]) -> RestoreEnding:
    at.here.emulator.next_restore_fails_with(DATABASE, "SOMETHING_NEW")
    says(at, state="error", started_at=milliseconds(at), finished_at=milliseconds(at), **code)
    return await at.restore()


@event("the answer is lost, and the restore failed")
async def lost_and_failed(at: Scene, _: Any) -> RestoreEnding:
    at.here.emulator.next_restore_fails_with(DATABASE, "SNAPSHOT_CORRUPT")
    at.here.emulator.add_fault(Fault(kind="restore", when="after", drop=True))
    return await at.restore()


@event("the next `up` while pending learns that it failed")
async def failed_meanwhile(at: Scene, _: Any) -> RestoreEnding:
    at.here.emulator.next_restore_fails_with(DATABASE, "SNAPSHOT_CORRUPT")
    record = (await at.interrupted(20)).pending
    await anyio.sleep(100)
    return await next_up(at, record)


# Interrupted ---------------------------------------------------------------------------------------------------------


@event("^C before the POST was sent")
async def stopped_early(at: Scene, _: Any) -> RestoreEnding:
    session = at.process()
    session.stop()
    return await at.restore(session)


@event("^C while it connects to the service")
async def stopped_connecting(at: Scene, _: Any) -> RestoreEnding:
    at.here.emulator.add_fault(Fault(kind="restore", no_connect=True, delay=1000))
    return await at.interrupted(5)


@event("^C while the POST is open", restore_holds=True)
@event("^C while it is restored")
async def stopped(at: Scene, _: Any) -> RestoreEnding:
    return await at.interrupted(20)


@event("kill -9 after the POST, and the next `up`", 20.0, 45.0)
async def killed(at: Scene, after: float) -> RestoreEnding:
    await at.killed(after)
    return await at.restore(at.process())


# In doubt ------------------------------------------------------------------------------------------------------------

LOST: tuple[dict[str, Any], ...] = (
    *({"drop": True}, {"drop": True, "delay": 400.0}, {"malformed": True}),
    *({"html": 502}, {"html": 522}, {"html": 408}, {"html": 500}),
    *({"status": 503, "code": "DATABASE_UNAVAILABLE"}, {"status": 504, "code": "GATEWAY"}),
)
NEW_CODES: tuple[dict[str, Any], ...] = (
    *({"status": status, "code": "SOMETHING_NEW"} for status in (404, 422, 500)),
    {"html": 404},
)


@event("the answer is lost, and it was carried out", *LOST)
@event("no status: the answer is lost", *LOST, **NO_STATUS)
async def lost(at: Scene, fault: dict[str, Any]) -> RestoreEnding:
    at.here.emulator.add_fault(Fault(kind="restore", when="after", **fault))
    return await at.restore()


@event("the answer is lost, and nothing was started", *LOST)
@event("no status: the answer is lost", *LOST, **NO_STATUS)
async def lost_before(at: Scene, fault: dict[str, Any]) -> RestoreEnding:
    at.here.emulator.add_fault(Fault(kind="restore", **fault))
    return await at.restore()


@event("the next `up` after that, when `timeout` is over")
async def unknown(at: Scene, _: Any) -> RestoreEnding:
    return await next_up(at, (await lost_before(at, LOST[0])).pending)


@event("an answer with a code that is new, and it was carried out", *({**each, "when": "after"} for each in NEW_CODES))
@event("an answer with a code that is new, and nothing was started", *NEW_CODES)
@event("no status: an answer with a code that is new", *NEW_CODES, restore_seconds=0.0, **NO_STATUS)
async def new_code(at: Scene, fault: dict[str, Any]) -> RestoreEnding:
    at.here.emulator.add_fault(Fault(kind="restore", **fault))
    return await at.restore()


# Refused -------------------------------------------------------------------------------------------------------------


@event("`KEEP_CALM`", {"status": 429, "code": "KEEP_CALM"})
@event("`RESTORE_IN_PROGRESS` until `timeout`", {"status": 409, "code": "RESTORE_IN_PROGRESS", "times": None})
@event("`RATE_LIMITED`", {"status": 429, "code": "RATE_LIMITED"})
@event("401", {"status": 401, "code": "ACCESS_DENIED"})
@event("no connection", {"no_connect": True, "times": 3})
@event(
    "`RATE_LIMITED` while it is restored",
    {"status": 429, "code": "RATE_LIMITED", "kind": "restore status", "skip": 2},
    settings={"block_wait": 300.0},
)
@event(
    "the key is refused while it is restored",
    {"status": 401, "code": "ACCESS_DENIED", "kind": "restore status", "skip": 1},
)
@event(
    "the key may not see the restore's status",
    *(
        {"status": 403, "code": code, "kind": "restore status", "times": None}
        for code in ("MISSING_SCOPE", "PERMISSION_DENIED", "SOMETHING_NEW")
    ),
)
@event(
    "the key may not see the database's status",
    *(
        {"status": 403, "code": code, "kind": "status"}
        for code in ("MISSING_SCOPE", "RESOURCE_NOT_ALLOWED", "PERMISSION_DENIED")
    ),
)
async def answered(at: Scene, fault: dict[str, Any]) -> RestoreEnding:
    at.here.emulator.add_fault(Fault(**{"kind": "restore", **fault}))
    return await at.restore()


@event("`RESTORE_IN_PROGRESS`")
async def running(at: Scene, _: Any) -> RestoreEnding:
    """Somebody else's restore begins right before ours."""
    refuses(at, "RESTORE_IN_PROGRESS", 409)
    says(at, times=3, state="running", step="unzip")
    return await at.restore()


@event("another restore of the database runs before the POST", 300.0)
@event("another restore of the database runs until `timeout`", HOUR)
@event("another restore of the database has just succeeded", 150.0)
async def theirs_first(at: Scene, seconds: float) -> RestoreEnding:
    at.here.emulator.settings = replace(at.here.emulator.settings, restore_seconds=seconds)
    await at.somebody_restores(at.stored)
    await anyio.sleep(200)
    at.here.emulator.journal.clear()
    at.here.emulator.settings = replace(at.here.emulator.settings, restore_seconds=60.0)
    return await at.restore()


@event("no status: `RESTORE_IN_PROGRESS`", **NO_STATUS)
async def running_without_status(at: Scene, _: Any) -> RestoreEnding:
    refuses(at, "RESTORE_IN_PROGRESS", 409)
    at.here.emulator.stop_database(DATABASE)
    async with anyio.create_task_group() as group:
        group.start_soon(at.later, 90, lambda: at.here.emulator.start_database(DATABASE))
        ending = await at.restore()
        group.cancel_scope.cancel()
    return ending


@event("`SNAPSHOT_NOT_FOUND`")
async def vanished(at: Scene, _: Any) -> RestoreEnding:
    at.here.emulator.remove_snapshot(at.stored.version_id)
    return await at.restore()


@event("a version that is not listed, named by its ids")
async def not_listed(at: Scene, _: Any) -> RestoreEnding:
    return await at.restore(name=None, version_id="v" * 32)


@event("the engines differ")
async def engines_differ(at: Scene, _: Any) -> RestoreEnding:
    return await at.restore(target=at.here.emulator.add_database(type="mysql").id)


@event("`SNAPSHOT_DATABASE_MISMATCH`")
async def mismatch(at: Scene, _: Any) -> RestoreEnding:
    return await at.restore(target=at.here.emulator.add_database(type="mysql").id, runtime=None)


@event("`SNAPSHOT_RESTORE_FAILED`")
async def failed(at: Scene, _: Any) -> RestoreEnding:
    at.here.emulator.fail_next_restore(DATABASE)
    return await at.restore()


@event("the snapshot was taken by the same run, onto its own database")
async def just_taken(at: Scene, _: Any) -> RestoreEnding:
    at.here.session.memory.of(DATABASE).claimed.add(at.stored.version_id)
    return await at.restore()


# The test ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reaction", "scenario"), TABLE.played())
def test_reaction_is_what_the_page_promises(reaction: Reaction, scenario: Scenario) -> None:
    async def body() -> None:
        async with scene(**scenario.service) as at:
            ending = await scenario.play(at, scenario.variant)
            shown = ending.text
            assert len(at.posts) == reaction.posts, shown
            assert {"complete": "the restore"}.get(ending.how, ending.how) == reaction.state, shown
            assert [words for words in reaction.reads if words not in shown] == [], shown
            assert at.here.emulator.settings.api_key not in shown
            assert len(at.accepted) <= 1
            if ending.how == "complete":
                assert at.holds() == "then"
            elif ending.how == "nothing":
                assert at.holds() == "now"

    run_virtual(body)
