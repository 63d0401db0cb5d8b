"""A password is enough: the rest follows from the scratch database's id, and its certificate is nowhere afterwards."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pymongo
import pytest
import redis

from pulumi_snapshots.databases.kinds import kind_of
from pulumi_snapshots.drill.inputs import own_host
from pulumi_snapshots.drill.reach import FORMS, held, own_connection
from pulumi_snapshots.service.models import read_certificate
from squarecloud_emulator.service.faults import Fault
from tests.cli.test_drill import desk
from tests.support.asking import ask, mysql_at
from tests.support.drilling import CONNECTION, SCRATCH, DrillScene, drill_scene
from tests.support.real_data import sql_at
from tests.support.tls_front import Certificates, tls_front
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE

PASSWORD = "hush-%40/?#:@hush"
GIVEN: dict[str, Any] = {"connection": None, "password": PASSWORD}
ABOUT = {"id": SCRATCH, "name": "scratch", "ram": 512, "type": "postgres", "cluster": "c"}
TRUE = [{"query": "select 1", "equals": 1}]
PEM = b"-----BEGIN PRIVATE KEY-----\naa\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nbb\n-----END CERTIFICATE-----\n"


@pytest.fixture(params=["in memory", "in a file"])
def _keeps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in a file":
        monkeypatch.delattr(os, "memfd_create")


@pytest.mark.usefixtures("_keeps")
@staged(drill_scene)
async def test_a_password_is_enough_and_nothing_keeps_it_or_the_certificate(at: DrillScene) -> None:
    assert (await at.passes(checks=TRUE, **GIVEN))["proved_by"] == ["address", "restart"]
    ((dsn, content, mode),) = at.databases.opened
    assert dsn.startswith(
        f"postgresql://squarecloud:hush-%2540%2F%3F%23%3A%40hush@{own_host(SCRATCH)}:7058/squarecloud?sslmode=require&sslcert="
    )
    assert b"-----BEGIN PRIVATE KEY-----" in content
    assert mode == 0o600
    assert not os.path.exists(dsn.rpartition("=")[2]), "it is gone"  # noqa: ASYNC240, PTH110  in virtual time
    kept = json.dumps(at.stack.outputs) + at.told + json.dumps(await at.session.ledger.read(), default=str)
    assert "hush" not in kept
    assert "BEGIN" not in kept
    assert at.stack.row.warnings == []


@staged(drill_scene, scopes=frozenset({"snapshots:read", "snapshots:write", "databases:read"}))
async def test_a_key_without_the_scope_is_refused_before_anything_is_overwritten(at: DrillScene) -> None:
    await at.fails("The API key lacks the scope databases:credentials.", checks=TRUE, **GIVEN)
    assert not at.at.posts
    await at.passes(checks=TRUE, connection=CONNECTION)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            {"kind": "certificate", "body": '{"status": "success", "response": {"certificate": "LS0tLS1CRUdJTg=="}}'},
            "could not be read",
        ),
        ({"kind": "database", "status": 404, "code": "DATABASE_NOT_FOUND"}, "This account has no such database"),
        (
            {"kind": "database", "body": '{"status": "success", "response": {"id": "x"}}'},
            "Password is not enough, since the service does not say",
        ),
    ],
)
@staged(drill_scene)
async def test_what_the_service_does_not_give_is_said(at: DrillScene, fault: dict[str, Any], words: str) -> None:
    at.at.here.fault(times=None, **fault)
    await at.fails(words, checks=TRUE, runtime=None, **GIVEN)
    assert ("[GET /databases/" in at.error) == ("does not say" not in words), "the request stands last, in brackets"
    assert at.databases.asked == []


@staged(drill_scene)
async def test_a_scratch_database_that_was_stopped_gives_its_certificate_once_it_runs_again(at: DrillScene) -> None:
    at.at.here.emulator.stop_database(SCRATCH)
    at.at.here.fault(kind="certificate", status=502, skip=1, times=4)
    await at.passes(checks=TRUE, **GIVEN)
    assert "the service did not give its address and certificate" in at.told


@staged(drill_scene)
async def test_a_scratch_database_that_the_restore_has_moved_is_found_at_its_new_port(at: DrillScene) -> None:
    at.databases.refuses = 3
    moved = json.dumps({"status": "success", "response": {**ABOUT, "port": 7999}})
    at.at.here.fault(kind="database", skip=2, times=None, body=moved)
    await at.passes(checks=TRUE, **GIVEN)
    assert ":7058/" in at.databases.opened[0][0]
    assert ":7999/" in at.databases.opened[-1][0]


@staged(drill_scene)
async def test_a_certificate_that_is_refused_later_fails_at_once_and_the_next_run_asks_again(at: DrillScene) -> None:
    at.databases.refuses = 10_000
    await at.up(checks=TRUE, **GIVEN)
    at.databases.refuses = 0
    emulator = at.at.here.emulator
    emulator.add_fault(Fault(kind="certificate", status=403, code="MISSING_SCOPE", times=None))
    began = anyio.current_time()
    await at.fails("lacks the scope databases:credentials", checks=TRUE, **GIVEN)
    assert anyio.current_time() - began < 30
    emulator.clear_faults()
    await at.passes(checks=TRUE, restores=1, **GIVEN)


@virtual
async def test_the_command_takes_a_password_from_the_environment(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        at.environment["SCRATCH_PASSWORD"] = PASSWORD
        typed = ("--scratch", SCRATCH, "--overwrite-scratch", "--check", "select 1 == 2")
        ended = await at.types("drill", DATABASE, *typed, "--password-env", "SCRATCH_PASSWORD")
        ended.failed("--check 'select 1 == 2' --password-env SCRATCH_PASSWORD")
        assert "hush" not in ended.out + ended.err


@pytest.mark.parametrize(
    "wrong", [None, 1, "", "not base64!", "aGVsbG8=", {"other": ""}, PEM.decode()[:-40], PEM.decode()[:60]]
)
def test_a_certificate_that_is_not_whole_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_certificate(wrong)
    assert read_certificate({"certificate": PEM.decode()}) == PEM


def filled(kind: str, server: Any) -> tuple[str, int]:
    """Make the service's own user and database at a server; returns a question and its answer."""
    if kind == "postgres":
        sql_at(server.url(), "drop database if exists squarecloud", "drop role if exists squarecloud")
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


SERVERS = {"postgres": "postgres_server", "mysql": "mariadb", "redis": "redis_server", "mongo": "ferretdb"}


@pytest.mark.parametrize("kind", FORMS)
def test_every_engine_takes_it(kind: str, request: pytest.FixtureRequest, tls: Certificates) -> None:
    server = request.getfixturevalue(SERVERS[kind])
    command, value = filled(kind, server)
    with held(Path(tls.client).read_bytes()) as file, tls_front(tls, server.port, client=True) as port:
        place = f"127.0.0.1:{server.port}" if kind == "mysql" else f"localhost:{port}"  # it speaks TLS itself
        dsn = own_connection(kind, place, PASSWORD, file)
        assert kind_of(dsn) == kind
        if kind == "mongo":  # the server of the tests has no users
            dsn = dsn.replace(dsn.partition("://")[2].partition("@")[0] + "@", "")
        assert ask(dsn, command) == value
