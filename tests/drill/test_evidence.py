"""A drill proves where it asked: another database, and a restore that did nothing, never pass."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from pulumi_snapshots.ledger.ledger import last_drills
from squarecloud_emulator.service.faults import Fault
from tests.support.drilling import CONNECTION, ELSEWHERE, SCRATCH, DrillScene, drill_scene
from tests.support.virtual import staged, virtual

DAY = 86400.0
TRUE = [{"query": "select 1", "equals": 1}]
"""A check that any database passes."""
ANOTHER, NOTHING = "the connection leads to another database", "the restore has done nothing"


@pytest.mark.parametrize(
    ("connection", "server", "service", "failure", "proved_by"),
    [
        # The right database.
        (CONNECTION, {}, {}, None, ["address", "restart"]),
        (ELSEWHERE, {}, {}, None, ["restart"]),
        (CONNECTION, {"says_age": False}, {}, None, ["address"]),
        (ELSEWHERE, {"says_age": False}, {}, None, []),
        # Another one: it has run for a day, or was started just before.
        (ELSEWHERE, {"age_is": DAY}, {}, ANOTHER, None),
        (ELSEWHERE, {"age_is": 90.0}, {}, ANOTHER, None),
        (CONNECTION, {"age_is": DAY}, {}, ANOTHER, None),
        # A restore that the service calls a success, and that has not started the database again.
        (CONNECTION, {}, {"restore_stops_database": False}, NOTHING, None),
        (ELSEWHERE, {"age_is": 1.0}, {"restore_stops_database": False}, NOTHING, None),
        (ELSEWHERE, {"says_age": False}, {"restore_stops_database": False}, NOTHING, None),
    ],
)
@virtual
async def test_what_a_drill_proves(
    connection: str, server: dict[str, Any], service: dict[str, Any], failure: str | None, proved_by: list[str] | None
) -> None:
    async with drill_scene(**service) as at:
        for name, value in server.items():
            setattr(at.databases, name, value)
        await anyio.sleep(600)
        await at.up(connection=connection, checks=TRUE)
        assert at.accepted == 1
        assert at.stack.outputs.get("proved_by") == proved_by
        told_of_host = [each for each in at.stack.row.warnings if "to another host than the service's own" in each]
        assert len(told_of_host) == (connection == ELSEWHERE)
        if failure is None:
            assert (at.error, at.stack.outputs["passed"]) == ("", True)
        else:
            assert failure in at.error
            assert at.stack.outputs["failure"].startswith(failure)
            assert not at.stack.outputs["passed"]
            assert at.databases.asked == [], "a wrong database is not even asked"
            assert await last_drills(at.session.ledger) == {}, "`status` does not call it drilled"


@staged(drill_scene)
async def test_a_server_that_started_long_after_the_restore_is_another_one_unless_its_address_is_right(
    at: DrillScene,
) -> None:
    at.databases.refuses = 10_000
    await at.up(checks=TRUE)
    at.databases.refuses, at.databases.age_is = 0, 5.0
    await anyio.sleep(3600)
    await at.fails(ANOTHER, checks=TRUE, connection=ELSEWHERE)
    await at.passes(checks=TRUE, restores=1)  # its process was started again meanwhile


@pytest.mark.parametrize("fault", ["a status that is a moment old", "a port that the service does not say"])
@staged(drill_scene)
async def test_what_the_service_cannot_say_for_a_moment_condemns_no_drill(at: DrillScene, fault: str) -> None:
    await anyio.sleep(600)
    before = round(at.at.here.emulator.now().timestamp() - 300) * 1000
    body = f'{{"status": "success", "response": {{"running": true, "uptime": {before}}}}}'
    old = Fault(kind="status", skip=2, times=2, body=body)
    no_port = Fault(kind="database", status=500, code="NEW_ONE", times=None)
    at.at.here.emulator.add_fault(no_port if "port" in fault else old)
    assert (await at.passes(checks=TRUE))["proved_by"] == ["address", "restart"]


@pytest.mark.parametrize(
    ("status", "ages", "failure"),
    [
        # A service that does not say when it started a database: the server that is asked says it, as before the restore.
        (
            {"body": {"running": True}},
            DAY,
            f"{ANOTHER}, or the restore has done nothing: the server that was asked has run",
        ),
        ({"status": 403, "code": "MISSING_SCOPE"}, DAY, f"{ANOTHER}, or the restore has done nothing"),
        ({"body": {"running": True}}, None, None),
        ({"status": 403, "code": "MISSING_SCOPE"}, None, None),
        # One that says it of no database, as the emulator of those at a server of yours.
        ({"body": {"running": True, "uptime": None}}, DAY, None),
        # One that does not answer, or whose scratch database was stopped or deleted: the connection still leads somewhere.
        ({"status": 502}, None, "the service does not say how the scratch database is"),
        ({"status": 404, "code": "DATABASE_NOT_FOUND"}, None, "the service does not say how the scratch database is"),
        ({"body": {"running": False, "uptime": None}}, None, "the scratch database does not run, and another one has"),
    ],
)
@staged(drill_scene)
async def test_a_drill_does_not_believe_what_the_service_does_not_say(
    at: DrillScene, status: dict[str, Any], ages: float | None, failure: str | None
) -> None:
    at.databases.age_is = ages
    if "body" in status:
        status = {"body": json.dumps({"status": "success", "response": status["body"]})}
    fault = Fault(kind="status", times=None, **status)
    at.databases.meanwhile = lambda: at.at.here.emulator.add_fault(fault)  # the restore was seen to be over
    await at.up(checks=TRUE, connection=ELSEWHERE)
    if failure is None:
        assert (at.error, at.stack.outputs["proved_by"]) == ("", ["restart"] if ages is None else [])
        return
    assert failure in at.error
    if "status" in status and ages is None:
        assert f"[GET /databases/{SCRATCH}/status: {status['status']}" in at.error
    assert at.databases.asked == []
    at.at.here.emulator.clear_faults()
    at.databases.age_is = None
    await at.passes(checks=TRUE, connection=ELSEWHERE, restores=1)  # asked again, without another restore


@pytest.mark.parametrize("port", [":7059", ""], ids=["another", "the usual one"])
@staged(drill_scene)
async def test_another_port_is_refused_before_anything_is_overwritten(at: DrillScene, port: str) -> None:
    wrong = at.values(connection=CONNECTION.replace(":7058", port), checks=TRUE)
    await at.up(checks=TRUE)
    why = "Connection must be to port 7058 of the scratch database"
    await at.fails(why, restores=1, **{**wrong, "triggers": ["again"]})
