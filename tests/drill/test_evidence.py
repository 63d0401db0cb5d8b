"""A drill proves where it asked: another database, and a restore that did nothing, never pass."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from pulumi_snapshots.ledger.drilled import Drills
from squarecloud_emulator.service.faults import Fault
from tests.support.drilling import CONNECTION, ELSEWHERE, drill_scene
from tests.support.virtual import virtual

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
    connection: str,
    server: dict[str, Any],
    service: dict[str, Any],
    failure: str | None,
    proved_by: list[str] | None,
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
            assert await Drills(at.session.ledger).all() == {}, "`status` does not call it drilled"


@virtual
async def test_a_server_that_started_long_after_the_restore_is_another_one_unless_its_address_is_right() -> None:
    async with drill_scene() as at:
        at.databases.refuses = 10_000
        await at.up(checks=TRUE)
        at.databases.refuses, at.databases.age_is = 0, 5.0
        await anyio.sleep(3600)
        await at.up(checks=TRUE, connection=ELSEWHERE)
        assert ANOTHER in at.error
        await at.up(checks=TRUE)
        assert (at.error, at.accepted) == ("", 1), "its process was started again meanwhile"


@virtual
async def test_a_status_that_is_a_moment_old_condemns_no_drill() -> None:
    async with drill_scene() as at:
        await anyio.sleep(600)
        before = round(at.at.here.emulator.now().timestamp() - 300) * 1000
        body = f'{{"status": "success", "response": {{"running": true, "uptime": {before}}}}}'
        at.at.here.emulator.add_fault(Fault(kind="status", skip=2, times=2, body=body))
        await at.up(checks=TRUE)
        assert (at.error, at.stack.outputs["proved_by"]) == ("", ["address", "restart"])


@virtual
async def test_a_service_that_does_not_say_when_a_database_started_proves_less() -> None:
    async with drill_scene() as at:
        body = '{"status": "success", "response": {"running": true}}'
        at.at.here.emulator.add_fault(Fault(kind="status", body=body, times=None))
        await at.up(checks=TRUE, connection=ELSEWHERE)
        assert (at.error, at.stack.outputs["proved_by"]) == ("", ["restart"])
        at.databases.age_is = DAY
        await at.up(checks=TRUE, connection=ELSEWHERE, triggers=["again"])
        assert (at.error, at.stack.outputs["proved_by"]) == ("", [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"connection": CONNECTION.replace(":7058", ":7059")},
            "Connection must be to port 7058 of the scratch database",
        ),
        ({"connection": CONNECTION.replace(":7058", "")}, "Connection must be to port 7058 of the scratch database"),
    ],
)
@virtual
async def test_a_wrong_address_is_refused_before_anything_is_overwritten(change: dict[str, Any], words: str) -> None:
    async with drill_scene() as at:
        await at.up(checks=TRUE, **change)
        assert words in at.error
        assert not at.at.posts


@virtual
async def test_a_port_that_the_service_does_not_say_holds_nothing_up() -> None:
    async with drill_scene() as at:
        at.at.here.emulator.add_fault(Fault(kind="database", status=500, code="NEW_ONE", times=None))
        await at.up(checks=TRUE)
        assert (at.error, at.stack.outputs["proved_by"]) == ("", ["address", "restart"])


@virtual
async def test_a_wrong_password_is_said_at_once() -> None:
    async with drill_scene() as at:
        at.databases.refuses, at.databases.lasting = 10_000, True
        await at.up(checks=TRUE)
        assert "cannot be reached" in at.error
        assert 10_000 - at.databases.refuses == 3, "twice more within 10 s, since a server that starts may refuse too"
