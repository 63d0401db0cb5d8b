"""Checks of real servers: one value each, nothing written, TLS by the connection string, no secret in an error.

MongoDB's protocol is spoken by FerretDB, since MongoDB's own server is in no package registry.
"""

import datetime as dt
import importlib.metadata
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import anyio
import bson
import pymongo
import pytest
import redis

from pulumi_snapshots.databases.database import (
    DRIVERS,
    CheckNotRun,
    Database,
    DatabaseUnreachable,
)
from tests.support.asking import SECONDS, Why, ask, asked, mysql_at, unreachable
from tests.support.real_data import fresh, sql_at
from tests.support.tls_front import Certificates, tls_front
from tools.servers import Server

MULTIPLE = "its result has more than one row"
READ_ONLY = "Cannot execute statement in a READ ONLY transaction"


@dataclass
class Engine:
    """What is asked of a server with two orders."""

    server: str  # the fixture of its server
    count: str  # a command that counts the orders, or what a command that writes would change
    values: Mapping[str, Any]  # commands and their values
    no_values: Mapping[str, str]  # commands and why they have none
    writes: Mapping[str, str]  # commands that would write, and why they have no value
    slow: str = ""  # a command that takes long
    lost: str = ""  # a command whose connection ends
    # connection strings, and why they do not connect
    places: Mapping[str, str] = field(default_factory=dict)
    parameters: tuple[
        str, ...
    ] = ()  # TLS with an authority, with a client's certificate too, and without a check
    # parameters, maybe after a host, and why they do not connect
    untrusted: Mapping[str, str] = field(default_factory=dict)


POSTGRES = Engine(
    "postgres_server",
    "select count(*) from orders",
    values={
        "select max(total) from orders": 12.5,
        "select sum(n) from orders": 3,
        "select name from orders where n = 1": "Zoë 100 %s",
        "select null": None,
        "select max(at) from orders": "2026-01-01T11:00:00Z",
        "select max(at)::timestamp from orders": "2026-01-01T11:00:00",
        "select interval '1 h 30 s'": 3630.0,
        "select 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    },
    no_values={
        "select n from orders": MULTIPLE,
        "select n, total from orders where n = 1": "its result has 2 columns, not one",
        "select generate_series(1, 100000000)": MULTIPLE,
        "select array[1, 2]": "its result is a list with 2 elements, not one value",
        r"select '\xff'::bytea": "its result is not text in UTF-8",
        "select 'NaN'::float": "its result is not a finite number",
        "select point '(1,2)' from nowhere": 'relation "nowhere" does not exist',
        "select 1; select 2": "cannot insert multiple commands into a prepared statement",
        "copy orders to stdout": "COPY",
        "select 'infinity'::timestamptz": "timestamp too large (after year 10K): 'infinity'",
    },
    writes=dict.fromkeys(
        [
            "insert into orders (n) values (9) returning n",
            "with gone as (delete from orders returning n) select count(*) from gone",
            "select nextval('numbers')",
            "select set_config('transaction_read_only', 'off', false)",
            "set transaction read write",
            "do $$ begin commit; delete from orders; end $$",
            "select 1; commit; delete from orders",
            "commit; begin read write; delete from orders",
            "copy orders from stdin",
        ],
        "",
    ),
    slow="select pg_sleep(60)",
    lost="select pg_terminate_backend(pg_backend_pid())",
    places={
        "{scheme}://someone:hush-hush@{here}/postgres": "password authentication failed for user",
        "{own}/nothing": 'database "nothing" does not exist',
        "host=127.0.0.1 user=someone password=hush-hush nonsense=1": "a form that PostgreSQL does not know",
        "host=127.0.0.1 password='hush-hush": "a form that PostgreSQL does not know",
        "{shop}?sslmode=require": "server does not support SSL",
    },
    parameters=(
        "?sslmode=verify-full&sslrootcert={0.authority}",
        "&sslcert={0.client}&sslkey={0.client}",
        "?sslmode=require",
    ),
    untrusted={
        "?sslmode=verify-full&sslrootcert={0.other_authority}": "certificate verify failed",
        "127.0.0.1?sslmode=verify-full&sslrootcert={0.authority}": "does not match host name",
        "?sslmode=verify-ca&sslrootcert={0.authority}.none": "none",
    },
)
FIRST_WORD = "begins with SELECT"
MYSQL = Engine(
    "mariadb",
    "select count(*) from orders",
    values={
        "SELECT SUM(total) FROM orders": 15.5,
        "(select name from orders where n = 1)": "Zoë 100 %s",
        "with best as (select max(total) as total from orders) select total from best": 12.5,
        "select max(at) from orders": "2026-01-01T12:00:00",
        "select @@session.time_zone": "+00:00",
        "select one()": 1,
        "select max(total) > 12 from orders": 1,  # its truth, which `equals=True` takes
    },
    no_values={
        "select 1 from orders where n = 9": "its result has no row",
        "select n from nowhere": "Table 'drill_shop.nowhere' doesn't exist",
        "": "a check of MySQL begins with SELECT, ",
    },
    writes={
        "insert into orders (n) values (9)": FIRST_WORD,
        "call tidy()": FIRST_WORD,
        "/*! delete from orders */": FIRST_WORD,
        "select 1; delete from orders": "error in your SQL syntax",
        "select 1 into outfile '/tmp/written-by-a-check'": "INTO OUTFILE",
        "select 1 into /* */ DUMPFILE '/tmp/written-by-a-check'": "INTO DUMPFILE",
        "select cleared()": READ_ONLY,
        "select nextval(numbers)": READ_ONLY,
    },
    slow="select sleep(60)",
    places={
        "{scheme}://someone:hush-hush@{here}/drill_shop": "access denied for user '…'@'…'",
        "{own}/nothing": "unknown database 'nothing'",
        "{shop}?ssl-mode=ALWAYS": "ssl-mode is one of",
        "mysql://certified:hush-hush@{here}/drill_shop": "access denied",
    },
    parameters=(
        "?ssl-mode=VERIFY_IDENTITY&ssl-ca={0.authority}",
        "&ssl-cert={0.client}&ssl-key={0.client}",
        "?ssl-mode=REQUIRED",
    ),
    untrusted={
        "127.0.0.1?ssl-mode=VERIFY_IDENTITY&ssl-ca={0.authority}": "IP address mismatch",
        "?ssl_mode=verify_identity&ssl_ca={0.other_authority}": "certificate verify failed",
        "?ssl-ca={0.other_authority}": "certificate verify failed",
        "?ssl-ca={0.authority}.none": "no such file",
    },
)
ORDERS: list[dict[str, Any]] = [
    {
        "_id": bson.ObjectId("6b08cd8fa52176063fee7df3"),
        "n": 1,
        "total": 12.5,
        "name": "Zoë",
        "at": dt.datetime(2026, 1, 1, 11, tzinfo=dt.UTC),
        "many": bson.Int64(2**40),
        "paid": True,
    },
    {"n": 2, "total": 3, "name": ""},
]


def first(name: str) -> str:
    """The command that finds one field of the first order."""
    return f'{{"find": "orders", "filter": {{"n": 1}}, "projection": {{"{name}": 1}}}}'


LATE = "|no servers found yet"
"""What the error says if the machine was too busy to try within the time-out."""
COMMAND = 'a check of MongoDB is a command in JSON, such as {"count": '
ONLY = "one of the commands aggregate, count, distinct, find, not "
NO_WRITE = "a check does not write"
MONGODB = Engine(
    "ferretdb",
    '{"count": "orders"}',
    values={
        '{"count": "orders", "query": {"total": {"$gt": 5}}}': 1,
        '{"count": "nowhere"}': 0,
        '{"aggregate": "orders", "pipeline": [{"$group": {"_id": null, "total": {"$sum": "$total"}}}]}': 15.5,
        '{"distinct": "orders", "key": "name", "query": {"n": 1}}': "Zoë",
        '{"find": "orders", "sort": {"n": -1}, "limit": 1, "projection": {"n": 1}}': 2,
        first("name"): "Zoë",
        first("at"): "2026-01-01T11:00:00Z",
        first("many"): 2**40,
        '{"count": "orders", "query": {"name": "$out"}}': 0,
        first("paid"): True,
        first("_id"): "6b08cd8fa52176063fee7df3",
    },
    no_values={
        '{"find": "orders"}': "its result has more than one document",
        '{"find": "orders", "filter": {"n": 1}}': "its result has more than one field beside _id",
        '{"distinct": "orders", "key": "n"}': "its result has more than one value",
        '{"aggregate": "orders", "pipeline": {}}': "the pipeline of aggregate is a list",
        '{"count": "orders", "query": {"$nope": 1}}': "unknown top level operator: $nope",
        "select 1": COMMAND,
        "{}": COMMAND,
    },
    writes={
        '{"insert": "orders", "documents": [{"n": 3}]}': ONLY,
        '{"drop": "orders"}': ONLY,
        '{"findAndModify": "orders", "query": {}, "remove": true}': ONLY,
        '{"aggregate": "orders", "pipeline": [{"$match": {"n": 1}}, {"$out": "other"}]}': NO_WRITE,
        '{"aggregate": "orders", "pipeline": [{"$facet": {"a": [{"$merge": {"into": "other"}}]}}]}': NO_WRITE,
    },
    places={
        "{scheme}://someone:hush-hush@{here}/shop": "unsupported authentication mechanism"
    },
    parameters=(
        "?tls=true&tlsCAFile={0.authority}",
        "&tlsCertificateKeyFile={0.client}",
        "?tls=true&tlsAllowInvalidCertificates=true",
    ),
    untrusted={
        "?tls=true&tlsCAFile={0.other_authority}": f"certificate verify failed{LATE}",
        "127.0.0.1?tls=true&tlsCAFile={0.authority}": f"IP address mismatch{LATE}",
        "?tls=true&tlsCAFile={0.authority}.none": "file is not readable",
    },
)
LINE = "a check of Redis is a command line, such as `HGET customer:1 name`"
REDIS = Engine(
    "redis_server",
    "DBSIZE",
    values={
        "GET name": "Zoë 'x'",
        "get nothing": None,
        "hget order:1 total": "12.5",
        "exists name list nothing": 2,
        "object encoding name": "embstr",
        "hget order:1 'the name'": "Zoë",
        """eval_ro 'return redis.call("dbsize")' 0""": 4,
    },
    no_values={
        "lrange list 0 -1": "its result is a list with 2 elements, not one value",
        "hget name x": "WRONGTYPE Operation against a key holding the wrong kind of value",
        "get": "wrong number of arguments for 'get' command",
        "nonsense": "unknown command nonsense",
        "": LINE,
    },
    writes=dict.fromkeys(
        [
            "set name x",
            "flushall",
            "sort list store other",
            "eval 'return 1' 0",
            "config set maxmemory 1",
            "multi",
            "client kill type normal",
            "object freq",
            "object help",
            "xgroup create name g $ mkstream",
            "eval_ro 'return redis.call(\"flushall\")' 0",
        ],
        "",
    ),
    slow="xread block 0 streams nothing $",
    lost="eval_ro 'return redis.error_reply(\"LOADING its data set\")' 0",
    places={
        "{scheme}://someone:hush-hush@{here}/0": "invalid username-password pair",
        "{own}/99": "DB index is out of range",
    },
    parameters=(
        "?ssl_ca_certs={0.authority}",
        "&ssl_certfile={0.client}&ssl_keyfile={0.client}",
        "?ssl_cert_reqs=none",
    ),
    untrusted={
        "?ssl_ca_certs={0.other_authority}": "certificate verify failed",
        "": "certificate verify failed",
        "127.0.0.1?ssl_ca_certs={0.authority}": "IP address mismatch",
    },
)
SERVERS = {each.server: each for each in (POSTGRES, MYSQL, MONGODB, REDIS)}


@dataclass
class Shop:
    """A server with two orders."""

    engine: Engine
    server: Server
    url: str


def _filled(server: Any, name: str) -> Any:
    """Fill a server, and return the connection string."""
    if name == "postgres_server":
        # with commands that run on
        sql_at(server.url(), "drop database if exists drill_shop with (force)")
        url = fresh(server, "drill_shop")
        sql_at(
            url,
            "create table orders (n int, total numeric(12, 4), name text, at timestamptz)",
            "insert into orders values (1, 12.5, 'Zoë 100 %s', '2026-01-01 12:00+01'), (2, 3, '', '2025-01-01 12:00+01')",
            "create sequence numbers",
            "alter database drill_shop set timezone to 'Asia/Tokyo'",
            "create procedure tidy() language plpgsql as $$ begin commit; delete from orders; end $$",
        )
        return url
    if name == "mariadb":
        mysql_at(
            server,
            "create or replace database drill_shop",
            "use drill_shop",
            "create table orders (n int, total decimal(12, 4), name text character set latin1, at datetime) engine = InnoDB",
            "insert into orders values (1, 12.5, 'Zoë 100 %s', '2026-01-01 12:00:00'), (2, 3, '', '2025-01-01 12:00:00')",
            "create procedure tidy() begin commit; start transaction read write; delete from orders; commit; end",
            "create function one() returns int deterministic return 1",
            "create function cleared() returns int begin delete from orders; return 1; end",
            "create sequence numbers",
            "create or replace user certified@'127.0.0.1' identified by 'hush-hush' require x509",
            "grant select, execute on drill_shop.* to certified@'127.0.0.1'",
        )
        return server.url("drill_shop")
    if name == "ferretdb":
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(server.url())
        with client:
            client["drill_shop"]["orders"].drop()
            client["drill_shop"]["orders"].insert_many([dict(each) for each in ORDERS])
        return server.url("drill_shop")
    with redis.Redis(port=server.port, password=server.password, db=5) as keys:
        keys.flushdb()
        keys.mset({"name": "Zoë 'x'", "bytes": b"\xff"})
        keys.hset("order:1", mapping={"total": "12.5", "the name": "Zoë"})
        keys.rpush("list", 1, 2)
    return server.url("5")


@pytest.fixture(params=SERVERS)
def shop(request: pytest.FixtureRequest) -> Shop:
    server: Server = request.getfixturevalue(request.param)
    return Shop(SERVERS[request.param], server, _filled(server, request.param))


def test_a_command_gives_one_value_or_says_why_not(shop: Shop) -> None:
    values = shop.engine.values
    no_values = shop.engine.no_values
    told = asked(shop.url, [*values, *no_values])
    assert {command: told[command] for command in values} == values
    assert [type(told[command]) for command in values] == [
        type(value) for value in values.values()
    ]
    for command, why in no_values.items():
        assert isinstance(told[command], Why)
        assert why in str(told[command])


def test_no_command_writes_whatever_came_before_it(shop: Shop) -> None:
    writes = shop.engine.writes
    count = shop.engine.count
    before = ask(shop.url, count)
    told = asked(shop.url, [*writes, count])
    for command, why in writes.items():
        assert isinstance(told[command], Why), command
        assert why in str(told[command])
    assert told[count] == ask(shop.url, count) == before
    if shop.engine is POSTGRES:
        assert sql_at(
            shop.url,
            "select to_regclass('another') is null",
            "select nextval('numbers')",
        ) == [(1,)]
    if shop.engine is MONGODB:
        assert ask(shop.url, '{"count": "other"}') == 0
    if shop.engine is REDIS:
        assert ask(shop.url, "GET name") == "Zoë 'x'"


def test_a_server_of_redis_that_does_not_say_which_commands_read_gets_none(
    redis_server: Server,
) -> None:
    with redis.Redis(port=redis_server.port, password=redis_server.password) as client:
        client.execute_command(
            "ACL", "SETUSER", "narrow", "on", ">hush-hush", "~*", "+@all", "-command"
        )
    url = redis_server.url("5").replace(
        f"default:{redis_server.password}", "narrow:hush-hush"
    )
    told = asked(url, ["dbsize", "flushall"])
    assert [
        "no permissions to run the 'command" in str(why) for why in told.values()
    ] == [
        True,
        True,
    ]


def test_a_server_that_cannot_be_reached_is_explained_without_a_secret(
    shop: Shop,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = closed.getsockname()[1]
    server = shop.server
    scheme = shop.url.partition(":")[0]
    known = {
        "scheme": scheme,
        "here": f"127.0.0.1:{server.port}",
        "own": server.url("").rstrip("/"),
        "shop": shop.url,
    }
    unreachable(
        {
            f"{scheme}://someone:hush-hush@127.0.0.1:{nowhere}/0": f"connection refused{LATE}",
            f"{scheme}://someone:hush-hush@no-such-host.invalid/0": f"name or service not known|resolve host{LATE}",
            **{place.format(**known): why for place, why in shop.engine.places.items()},
        },
        [
            "hush-hush",
            server.password or "hush-hush",
            "someone",
            "127.0.0.1",
            "no-such-host",
        ],
        seconds=2 if shop.engine is MONGODB else SECONDS,
    )


def test_tls_is_used_as_the_connection_string_says(
    shop: Shop, tls: Certificates
) -> None:
    engine = shop.engine
    port = shop.server.port
    trusting, certified, unchecked = (each.format(tls) for each in engine.parameters)
    with tls_front(tls, port) as front, tls_front(tls, port, client=True) as strict:
        own = shop.url.replace("redis:", "rediss:").replace("127.0.0.1", "localhost")
        secure, strictly = (
            own.replace(f":{port}", f":{each}") for each in (front, strict)
        )
        if engine is MYSQL:  # which begins without it, and speaks it itself
            secure = own
            strictly = own.replace(
                own[len("mysql://") :].partition("@")[0], "certified:hush-hush"
            )
            strictly = strictly.replace("localhost", "127.0.0.1")
            trusting = f"?ssl-ca={tls.authority}"
        assert ask(f"{secure}{trusting}", engine.count) in {2, 4}
        assert ask(f"{strictly}{trusting}{certified}", engine.count) in {2, 4}
        assert ask(f"{secure}{unchecked}", engine.count) in {2, 4}
        refused = {}
        for each, why in engine.untrusted.items():
            place = (
                secure.replace("localhost", "127.0.0.1")
                if each.startswith("127")
                else secure
            )
            refused[f"{place}{each.removeprefix('127.0.0.1').format(tls)}"] = why
        unreachable(
            refused,
            [shop.server.password or "hush-hush"],
            seconds=2 if engine is MONGODB else SECONDS,
        )
    if engine is MYSQL:
        secret = "select variable_value from information_schema.session_status where variable_name = 'Ssl_cipher'"
        modes = {"": True, "?ssl-mode=REQUIRED": True, "?ssl-mode=DISABLED": False}
        assert {mode: bool(ask(f"{shop.url}{mode}", secret)) for mode in modes} == modes


def test_a_server_says_how_long_it_has_run_and_a_wrong_password_is_a_refusal_that_stays(
    shop: Shop,
) -> None:
    first, second = (
        anyio.run(Database(shop.url, timeout=SECONDS).age) for _ in range(2)
    )
    assert first is not None
    assert second is not None
    assert 0 <= first <= second < time.clock_gettime(time.CLOCK_BOOTTIME)
    wrong = re.sub(r"//(.*@)?", "//someone:hush-hush@", shop.url)
    for place, lasts in (
        (wrong, True),
        (wrong.replace(f":{shop.server.port}", ":1"), False),
    ):
        with pytest.raises(DatabaseUnreachable) as failed:
            anyio.run(Database(place, timeout=2).age)
        assert failed.value.lasting is lasts


@pytest.mark.parametrize(
    "shop", [name for name, each in SERVERS.items() if each.lost], indirect=True
)
def test_a_connection_that_ends_while_a_check_runs_says_nothing_of_the_data(
    shop: Shop,
) -> None:
    with pytest.raises(DatabaseUnreachable):
        ask(shop.url, shop.engine.lost)


# FerretDB has no command that waits.
@pytest.mark.parametrize(
    "shop", [name for name, each in SERVERS.items() if each.slow], indirect=True
)
def test_a_run_that_is_stopped_or_too_slow_does_not_wait(shop: Shop) -> None:
    slow = shop.engine.slow
    before = set(threading.enumerate())

    async def stopped() -> None:
        with anyio.move_on_after(0.2):
            await Database(shop.url, timeout=4).ask(slow)

    began = time.monotonic()
    anyio.run(stopped)
    assert time.monotonic() - began < 4
    told = asked(shop.url, [slow, shop.engine.count], seconds=2)
    assert told[slow] == "no result within 2 s"
    assert told[shop.engine.count] in {2, 4}, (
        "over another connection, if the slow command has cost that one"
    )
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()


class _Strange:
    def __init__(self, dsn: str, _seconds: float) -> None:
        if "wrong" in dsn:
            self.ask("hush-hush")

    def ask(self, command: str) -> NoReturn:
        raise RuntimeError(f"'cryptography' is required for {command}")

    def is_lost(self, error: Exception) -> bool:
        return "verloren" in str(error)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("dsn", "command", "kind"),
    [
        ("mysql://a:hush-hush@wrong/shop", "hush-hush", DatabaseUnreachable),
        ("mysql://a:hush-hush@right/shop", "hush-hush", CheckNotRun),
        (
            "mysql://a:hush-hush@right/shop",
            "hush-hush, die Verbindung ging verloren",
            DatabaseUnreachable,
        ),
        (
            "mysql://a:hush-hush@right/shop",
            "hush-hush, but no connection was lost",
            CheckNotRun,
        ),
    ],
)
def test_an_unknown_error_of_a_library_ends_in_ours(
    dsn: str, command: str, kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DRIVERS, "mysql", lambda: _Strange)
    with pytest.raises(kind) as failed:
        anyio.run(Database(dsn, timeout=SECONDS).ask, command)
    assert (
        failed.value.why
        == f"'cryptography' is required for {command.replace('hush-hush', '…')}"
    )
    assert failed.value.__context__ is None


def test_the_usual_login_of_mysql_8_without_tls_has_the_library_that_it_needs() -> None:
    """It hides the password with a key of the server, which PyMySQL leaves to `cryptography`."""
    needed = importlib.metadata.requires("pulumi-snapshots") or []
    assert any(
        "pymysql[rsa]" in each.lower().replace(" ", "") and "drill-mysql" in each
        for each in needed
    ), needed
