"""A drill proves where it asked, by a connection or by a password alone, which nothing keeps."""

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pymongo
import pytest
import redis

from pulumi_snapshots.databases.kinds import kind_of
from pulumi_snapshots.drill.address import own_host
from pulumi_snapshots.drill.last import last_drills
from pulumi_snapshots.drill.reach import CONNECTION_FORMS, held, own_connection
from pulumi_snapshots.service.models import read_certificate
from squarecloud_emulator.service.faults import Fault
from tests.cli.test_drill import desk
from tests.support.asking import ask, mysql_at
from tests.support.drilling import (
    CONNECTION,
    ELSEWHERE,
    SCRATCH,
    DrillScene,
    drill_scene,
)
from tests.support.real_data import sql_at
from tests.support.tls_front import Certificates, tls_front
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE

PASSWORD = "hush-%40/?#:@hush"
GIVEN: dict[str, Any] = {"connection": None, "password": PASSWORD}
ABOUT = {
    "id": SCRATCH,
    "name": "scratch",
    "ram": 512,
    "type": "postgres",
    "cluster": "c",
}
TRUE = [{"query": "select 1", "equals": 1}]  # any database passes it
DAY = 86400.0
ANOTHER = "the connection leads to another database"
NOTHING = "the restore has done nothing"
EITHER = f"{ANOTHER}, or {NOTHING}"
PEM = b"-----BEGIN PRIVATE KEY-----\naa\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nbb\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("connection", "server", "service", "failure", "proved_by"),
    [
        # The right database.
        (CONNECTION, {}, {}, None, ["address", "restart"]),
        (ELSEWHERE, {}, {}, None, ["restart"]),
        (CONNECTION, {"says_age": False}, {}, None, ["address"]),
        (ELSEWHERE, {"says_age": False}, {}, None, []),
        # Whole seconds, and clocks that differ: it seems to have started just before the request.
        (ELSEWHERE, {"age_is": 64.0}, {}, None, ["restart"]),
        # Another one: it has run for a day, or was started just before.
        (ELSEWHERE, {"age_is": DAY}, {}, ANOTHER, None),
        (ELSEWHERE, {"age_is": 90.0}, {}, ANOTHER, None),
        (CONNECTION, {"age_is": DAY}, {}, ANOTHER, None),
        # One that was started during a long restore, and not at its end.
        (ELSEWHERE, {"age_is": 480.0}, {"restore_seconds": 900.0}, ANOTHER, None),
        (CONNECTION, {"age_is": 480.0}, {"restore_seconds": 900.0}, ANOTHER, None),
        # A restore that the service calls a success, and that has not started the database again.
        (CONNECTION, {}, {"restore_stops_database": False}, NOTHING, None),
        (ELSEWHERE, {"age_is": 1.0}, {"restore_stops_database": False}, NOTHING, None),
        (
            ELSEWHERE,
            {"says_age": False},
            {"restore_stops_database": False},
            NOTHING,
            None,
        ),
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
        told_of_host = [
            each
            for each in at.stack.row.warnings
            if "to another host than the service's own" in each
        ]
        assert len(told_of_host) == (connection == ELSEWHERE)
        if failure is None:
            assert (at.error, at.stack.outputs["passed"]) == ("", True)
        else:
            assert failure in at.error
            assert at.stack.outputs["failure"].startswith(failure)
            assert not at.stack.outputs["passed"]
            assert at.databases.asked == [], "a wrong database is not even asked"
            assert await last_drills(at.session.ledger) == {}, (
                "`status` does not call it drilled"
            )


@staged(drill_scene)
async def test_a_server_that_started_long_after_the_restore_is_another_one_unless_its_address_is_right(
    at: DrillScene,
) -> None:
    at.databases.refuses = 10_000
    await at.up(checks=TRUE)
    at.databases.refuses = 0
    at.databases.age_is = 5.0
    await anyio.sleep(3600)
    await at.fails(ANOTHER, checks=TRUE, connection=ELSEWHERE)
    await at.passes(checks=TRUE, restores=1)  # its process was started again meanwhile


@pytest.mark.parametrize(
    "fault",
    [
        "a status that is a moment old",
        "a port that the service does not say",
        "a service that does not answer for a moment",
    ],
)
@staged(drill_scene)
async def test_what_the_service_cannot_say_for_a_moment_condemns_no_drill(
    at: DrillScene, fault: str
) -> None:
    await anyio.sleep(600)
    before = round(at.at.here.emulator.now().timestamp() - 300) * 1000
    body = (
        f'{{"status": "success", "response": {{"running": true, "uptime": {before}}}}}'
    )
    old = Fault(kind="status", skip=2, times=2, body=body)
    no_port = Fault(kind="database", status=500, code="NEW_ONE", times=None)
    silent = Fault(kind="status", times=4, status=502)
    emulator = at.at.here.emulator
    if "answer" in fault:  # The restore was seen to be over.
        at.databases.meanwhile = lambda: emulator.add_fault(silent)
    else:
        emulator.add_fault(no_port if "port" in fault else old)
    assert (await at.passes(checks=TRUE))["proved_by"] == ["address", "restart"]


@pytest.mark.parametrize(
    ("status", "ages", "failure"),
    [
        # A service that does not say when it started a database: the server that is asked says it, as before the restore.
        (
            {"body": {"running": True}},
            DAY,
            f"{EITHER}: the server that was asked has run",
        ),
        ({"status": 403, "code": "MISSING_SCOPE"}, DAY, EITHER),
        ({"body": {"running": True}}, None, None),
        ({"status": 403, "code": "MISSING_SCOPE"}, None, None),
        # One that says it of no database, as the emulator of those at a server of yours.
        ({"body": {"running": True, "uptime": None}}, DAY, None),
        # One that does not answer, or whose scratch database was stopped or deleted: the connection still leads somewhere.
        (
            {"status": 502},
            None,
            "the service does not say whether the scratch database runs",
        ),
        (
            {"status": 404, "code": "DATABASE_NOT_FOUND"},
            None,
            "the service does not say whether the scratch database runs",
        ),
        (
            {"body": {"running": False, "uptime": None}},
            None,
            "the scratch database does not run, and another one has",
        ),
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
    # the restore was seen to be over
    at.databases.meanwhile = lambda: at.at.here.emulator.add_fault(fault)
    await at.up(checks=TRUE, connection=ELSEWHERE)
    if failure is None:
        assert (at.error, at.stack.outputs["proved_by"]) == (
            "",
            ["restart"] if ages is None else [],
        )
        return
    assert failure in at.error
    if "status" in status and ages is None:
        assert f"[GET /databases/{SCRATCH}/status: {status['status']}" in at.error
    assert at.databases.asked == []
    at.at.here.emulator.clear_faults()
    at.databases.age_is = None
    # asked again, without another restore
    await at.passes(checks=TRUE, connection=ELSEWHERE, restores=1)


@pytest.mark.parametrize("port", [":7059", ""], ids=["another", "the usual one"])
@staged(drill_scene)
async def test_another_port_is_refused_before_anything_is_overwritten(
    at: DrillScene, port: str
) -> None:
    await at.up(checks=TRUE)
    wrong = CONNECTION.replace(":7058", port)
    why = "Connection must be to port 7058 of the scratch database"
    await at.fails(why, restores=1, connection=wrong, checks=TRUE, triggers=["again"])


@pytest.fixture(params=["in memory", "in a file"])
def _keeps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in a file":
        monkeypatch.delattr(os, "memfd_create")


@pytest.mark.usefixtures("_keeps")
@staged(drill_scene)
async def test_a_password_is_enough_and_nothing_keeps_it_or_the_certificate(
    at: DrillScene,
) -> None:
    assert (await at.passes(checks=TRUE, **GIVEN))["proved_by"] == [
        "address",
        "restart",
    ]
    ((dsn, content, mode),) = at.databases.opened
    assert dsn.startswith(
        f"postgresql://squarecloud:hush-%2540%2F%3F%23%3A%40hush@{own_host(SCRATCH)}:7058/squarecloud?sslmode=require&sslcert="
    )
    assert b"-----BEGIN PRIVATE KEY-----" in content
    assert mode == 0o600
    assert not os.path.exists(dsn.rpartition("=")[2]), "it is gone"  # noqa: ASYNC240, PTH110  in virtual time
    kept = (
        json.dumps(at.stack.outputs)
        + at.told
        + json.dumps(await at.session.ledger.read(), default=str)
    )
    assert "hush" not in kept
    assert "BEGIN" not in kept
    assert at.stack.row.warnings == []


@staged(
    drill_scene,
    scopes=frozenset({"snapshots:read", "snapshots:write", "databases:read"}),
)
async def test_a_key_without_the_scope_is_refused_before_anything_is_overwritten(
    at: DrillScene,
) -> None:
    await at.fails(
        "The API key lacks the scope databases:credentials.", checks=TRUE, **GIVEN
    )
    assert not at.at.posts
    await at.passes(checks=TRUE, connection=CONNECTION)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            {
                "kind": "certificate",
                "body": '{"status": "success", "response": {"certificate": "LS0tLS1CRUdJTg=="}}',
            },
            "could not be read",
        ),
        (
            {"kind": "database", "status": 404, "code": "DATABASE_NOT_FOUND"},
            "This account has no such database",
        ),
        (
            {
                "kind": "database",
                "body": '{"status": "success", "response": {"id": "x"}}',
            },
            "Password is not enough, since the service does not say",
        ),
    ],
)
@staged(drill_scene)
async def test_what_the_service_does_not_give_is_said(
    at: DrillScene, fault: dict[str, Any], words: str
) -> None:
    at.at.here.fault(times=None, **fault)
    await at.fails(words, checks=TRUE, runtime=None, **GIVEN)
    assert ("[GET /databases/" in at.error) == ("does not say" not in words), (
        "the request stands last, in brackets"
    )
    assert at.databases.asked == []


@staged(drill_scene)
async def test_a_scratch_database_that_was_stopped_gives_its_certificate_once_it_runs_again(
    at: DrillScene,
) -> None:
    at.at.here.emulator.stop_database(SCRATCH)
    at.at.here.fault(kind="certificate", status=502, skip=1, times=4)
    await at.passes(checks=TRUE, **GIVEN)
    assert "the service did not give its address and certificate" in at.told


@staged(drill_scene)
async def test_a_scratch_database_that_the_restore_has_moved_is_found_at_its_new_port(
    at: DrillScene,
) -> None:
    at.databases.refuses = 3
    moved = json.dumps({"status": "success", "response": {**ABOUT, "port": 7999}})
    at.at.here.fault(kind="database", skip=2, times=None, body=moved)
    await at.passes(checks=TRUE, **GIVEN)
    assert ":7058/" in at.databases.opened[0][0]
    assert ":7999/" in at.databases.opened[-1][0]


@staged(drill_scene)
async def test_an_address_that_the_service_no_longer_says_is_no_address(
    at: DrillScene,
) -> None:
    at.databases.refuses = 1
    at.at.here.fault(
        kind="database",
        skip=1,
        times=None,
        body='{"status": "success", "response": {"id": "x"}}',
    )
    await at.fails(
        "password is not enough", restores=1, checks=TRUE, runtime=None, **GIVEN
    )
    assert at.databases.asked == []


@staged(drill_scene)
async def test_a_certificate_that_is_refused_later_fails_at_once_and_the_next_run_asks_again(
    at: DrillScene,
) -> None:
    at.databases.refuses = 10_000
    await at.up(checks=TRUE, **GIVEN)
    at.databases.refuses = 0
    emulator = at.at.here.emulator
    emulator.add_fault(
        Fault(kind="certificate", status=403, code="MISSING_SCOPE", times=None)
    )
    began = anyio.current_time()
    await at.fails("lacks the scope databases:credentials", checks=TRUE, **GIVEN)
    assert anyio.current_time() - began < 30
    emulator.clear_faults()
    await at.passes(checks=TRUE, restores=1, **GIVEN)


@virtual
async def test_the_command_takes_a_password_from_the_environment(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as at:
        at.environment["SCRATCH_PASSWORD"] = PASSWORD
        typed = (
            "--scratch",
            SCRATCH,
            "--overwrite-scratch",
            "--check",
            "select 1 == 2",
        )
        ended = await at.types(
            "drill", DATABASE, *typed, "--password-env", "SCRATCH_PASSWORD"
        )
        ended.failed("--check 'select 1 == 2' --password-env SCRATCH_PASSWORD")
        assert "hush" not in ended.out + ended.err


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        1,
        "",
        "not base64!",
        "aGVsbG8=",
        {"other": ""},
        PEM.decode()[:-40],
        PEM.decode()[:60],
    ],
)
def test_a_certificate_that_is_not_whole_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_certificate(wrong)
    assert read_certificate({"certificate": PEM.decode()}) == PEM


def filled(kind: str, server: Any) -> tuple[str, int]:
    """Make the service's own user and database at a server; returns a question and its answer."""
    if kind == "postgres":
        sql_at(
            server.url(),
            "drop database if exists squarecloud",
            "drop role if exists squarecloud",
        )
        role = f"create role squarecloud login superuser password '{PASSWORD}'"
        sql_at(server.url(), role, "create database squarecloud")
    elif kind == "mysql":
        mysql_at(
            server,
            "create or replace database squarecloud",
            f"create or replace user squarecloud@'127.0.0.1' identified by '{PASSWORD}' require x509",
            "grant select on squarecloud.* to squarecloud@'127.0.0.1'",
        )
    elif kind == "redis":
        with redis.Redis(port=server.port, password=server.password) as client:
            client.acl_setuser("default", enabled=True, passwords=[f"+{PASSWORD}"])
            client.set("drilled", 7)
        return "EXISTS drilled", 1
    else:
        with pymongo.MongoClient[dict[str, Any]](server.url()) as mongo:
            mongo["squarecloud"]["orders"].insert_one({"n": 1})
        return '{"count": "orders"}', 1
    return "select 7", 7


SERVERS = {
    "postgres": "postgres_server",
    "mysql": "mariadb",
    "redis": "redis_server",
    "mongo": "ferretdb",
}


@pytest.mark.parametrize("kind", CONNECTION_FORMS)
def test_every_engine_takes_it(
    kind: str, request: pytest.FixtureRequest, tls: Certificates
) -> None:
    server = request.getfixturevalue(SERVERS[kind])
    command, value = filled(kind, server)
    with (
        held(Path(tls.client).read_bytes()) as file,
        tls_front(tls, server.port, client=True) as port,
    ):
        # it speaks TLS itself
        place = f"127.0.0.1:{server.port}" if kind == "mysql" else f"localhost:{port}"
        dsn = own_connection(kind, place, PASSWORD, file)
        assert kind_of(dsn) == kind
        if kind == "mongo":  # the server of the tests has no users
            dsn = dsn.replace(dsn.partition("://")[2].partition("@")[0] + "@", "")
        assert ask(dsn, command) == value
