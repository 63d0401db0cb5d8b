"""Rows of each table of real servers: counted right, estimated only if a table is large, and never passed over.

MongoDB's protocol is spoken by FerretDB, since MongoDB's own server is in no package registry.
"""

import itertools
import math
import random
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import anyio
import psycopg
import pymongo
import pytest
import redis
from pymongo.errors import AutoReconnect

from pulumi_snapshots.databases import redis_server, tables
from pulumi_snapshots.databases.connection import BlockingConnection, Refused, Table
from pulumi_snapshots.databases.database import (
    COUNTING_SHARE,
    DRIVERS,
    CheckNotRun,
    Database,
    DatabaseUnreachable,
)
from pulumi_snapshots.databases.mongodb import MongoDB
from pulumi_snapshots.databases.tables import NO_TIME, TableCount
from tests.support.asking import SECONDS, mysql_at
from tests.support.real_data import SCHEMA, filled, fresh, sql_at
from tools.servers import Server

NAMES = (
    "orders",
    "Bestellung für 日本",
    'a"b',
    "it's",
    "two\nlines",
    "a`b",
    "100 %s",
    "a.b",
    "Ünï",
    "x;--",
)
"""Names that a careless quotation breaks."""


@pytest.fixture(autouse=True)
def _in_no_hurry(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let PostgreSQL's statistics lag behind, unless a test is about them."""
    if not {"meanwhile", "noticed"} & {*request.node.originalname.split("_")}:
        module = "pulumi_snapshots.databases.postgresql"
        monkeypatch.setattr(f"{module}.WAIT_FOR_REPORTS", "SELECT 1")
        monkeypatch.setattr(f"{module}.WRITES", "SELECT 0")


def count(url: str, *left_out: str, seconds: float = SECONDS) -> dict[str, TableCount]:
    """The rows of each table, by its name."""

    async def body() -> list[TableCount]:
        database = Database(url, timeout=seconds)
        return await database.count(left_out.__contains__, refuse_writes=True)

    return {each.table: each for each in anyio.run(body)}


def rows(url: str, *left_out: str) -> dict[str, int | None]:
    counts = count(url, *left_out)
    assert [each for each in counts.values() if each.problem or each.is_estimate] == []
    return {name: each.rows for name, each in counts.items()}


def shapes(seed: int) -> dict[str, int]:
    """Names of tables with their rows."""
    chance = random.Random(seed)
    return {
        name: chance.choice((0, 1, chance.randrange(60)))
        for name in chance.sample(NAMES, chance.randrange(1, 5))
    }


SCHEMAS = pytest.mark.parametrize(
    "seeds",
    [range(20), pytest.param(range(20, 120), marks=pytest.mark.nightly)],
    ids=["some", "100"],
)


@SCHEMAS
def test_rows_of_random_schemas_of_postgresql_are_those_of_a_naive_count(
    postgres_server: Server, seeds: range
) -> None:
    url = fresh(postgres_server, "count_schemas")
    expected = {}
    with psycopg.connect(url, autocommit=True) as connection:
        for seed in seeds:
            schema = f"s {seed}"
            connection.execute(f'create schema "{schema}"'.encode())
            for name, number in shapes(seed).items():
                table = f"{quoted(schema)}.{quoted(name)}"
                connection.execute(f"create table {table} (n int)".encode())
                connection.execute(
                    f"insert into {table} select generate_series(1, {number})".encode()
                )
                found = connection.execute(f"table {table}".encode()).rowcount
                shown = connection.execute(
                    "select format('%%I.%%I', %s::text, %s::text)", (schema, name)
                ).fetchone()
                assert shown
                expected[shown[0]] = found
    assert rows(url) == expected


def quoted(name: str, mark: str = '"') -> str:
    return f"{mark}{name.replace(mark, 2 * mark)}{mark}"


@SCHEMAS
def test_rows_of_random_schemas_of_mariadb_are_those_of_a_naive_count(
    mariadb: Server, seeds: range
) -> None:
    for seed in seeds:
        made = shapes(seed)
        statements = ["create or replace database count_schema", "use count_schema"]
        for name, number in made.items():
            table = quoted(name, "`")
            statements.append(f"create table {table} (n int)")
            if number:
                statements.append(
                    f"insert into {table} select seq from seq_1_to_{number}"  # noqa: S608
                )
        naive = (f"(select count(*) from {quoted(name, '`')})" for name in made)  # noqa: S608
        (counts,) = mysql_at(mariadb, *statements, f"select {', '.join(naive)}")
        assert rows(mariadb.url("count_schema")) == dict(zip(made, counts, strict=True))


@SCHEMAS
def test_rows_of_random_schemas_of_mongodb_are_those_of_a_naive_count(
    ferretdb: Server, seeds: range
) -> None:
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(ferretdb.url())
    with client:
        for seed in seeds:
            database = client[f"count_schema_{seed}"]
            client.drop_database(database.name)
            for name, number in shapes(seed).items():
                database.create_collection(name)
                if number:
                    database[name].insert_many([{"n": n} for n in range(number)])
            expected = {
                name: len(list(database[name].find()))
                for name in database.list_collection_names()
            }
            assert rows(ferretdb.url(database.name)) == expected
            client.drop_database(database.name)


@SCHEMAS
def test_keys_of_random_key_spaces_of_redis_are_those_of_a_naive_count(
    redis_server: Server, seeds: range
) -> None:
    with redis.Redis(
        port=redis_server.port, password=redis_server.password, db=9
    ) as keys:
        for seed in seeds:
            keys.flushdb()
            expected: dict[str, int] = {}
            for name, number in shapes(seed).items():
                keys.mset(
                    {
                        f"{name}:{n}:x" if seed % 2 else f"{name}{n}": 1
                        for n in range(number)
                    }
                    or {name: 1}
                )
            for key in keys.scan_iter():
                prefix, colon, _ = key.decode().partition(":")
                name = f"db9/{prefix}:*" if colon else "db9/(no prefix)"
                expected[name] = expected.get(name, 0) + 1
            others = [
                name
                for name in count(redis_server.url("9"))
                if not name.startswith("db9/")
            ]
            assert rows(redis_server.url("9"), *others) == expected
        keys.flushdb()


def test_prefixes_of_redis_that_are_shown_alike_are_counted_together(
    redis_server: Server,
) -> None:
    with redis.Redis(
        port=redis_server.port, password=redis_server.password, db=10
    ) as keys:
        keys.mset({b"\xff:1": 1, b"\xff:2": 1, r"\xff:1": 1})
        assert rows(redis_server.url("10"))[r"db10/\xff:*"] == 3
        keys.flushdb()


def test_postgresql_counts_what_holds_rows_and_opens_views(
    postgres_server: Server,
) -> None:
    url = fresh(postgres_server, "count_kinds")
    filled(url)
    sql_at(
        url,
        "create table measured (at int) partition by range (at)",
        "create table measured_1 partition of measured for values from (0) to (10)",
        "create table measured_2 partition of measured for values from (10) to (20)",
        "insert into measured select n from generate_series(0, 19) n",
        "create table base (n int)",
        "create table heir (more int) inherits (base)",
        "insert into heir values (1, 2)",
        "create temporary table passing (n int)",
    )
    assert "CREATE VIEW owed" in SCHEMA
    assert rows(url, "public.owed") == {
        "public.customer": 2,
        'public."Bestellung für 日本"': 3,
        "public.names": 2,
        "other.empty": 0,
        "public.measured": 20,
        "public.base": 1,
    }
    assert count(url)["public.owed"] == TableCount("public.owed", None)
    assert rows(postgres_server.url("template1")) == {}


def test_each_table_that_cannot_be_counted_says_why(postgres_server: Server) -> None:
    url = fresh(postgres_server, "count_trouble")
    sql_at(
        url,
        "create table open (n int)",
        "insert into open values (1)",
        "create table secrets (n int)",
        "create table own (n int)",
        "alter table own enable row level security",
        "create policy mine on own using (n = 1)",
        "create materialized view late as select 1 with no data",
        "create view opened as select 1",
        "drop role if exists narrow",
        "create role narrow login password 'hush-hush'",
        "grant select on open, own, late to narrow",
    )
    narrow = url.replace(f"postgres:{postgres_server.password}", "narrow:hush-hush")
    found = {name: each.problem for name, each in count(narrow).items()}
    assert found == {
        "public.open": None,
        "public.secrets": "permission denied for table secrets",
        "public.own": 'query would be affected by row-level security policy for table "own"',
        "public.late": 'materialized view "late" has not been populated',
        "public.opened": "permission denied for view opened",
    }


def test_mariadb_says_which_view_fails_and_counts_the_rest(mariadb: Server) -> None:
    mysql_at(mariadb, "create or replace database count_views")
    mysql_at(
        mariadb,
        "create table orders (n int)",
        "insert into orders values (1), (2)",
        "create table parts (n int)",
        "create view good as select n from orders",
        "create view bad as select n from parts",
        "drop table parts",
        "create sequence numbers",
        "create or replace user narrow@'127.0.0.1' identified by 'hush-hush'",
        "grant insert on count_views.* to narrow@'127.0.0.1'",
        database="count_views",
    )
    found = count(mariadb.url("count_views"))
    assert found["orders"] == TableCount("orders", 2)
    assert found["good"] == TableCount("good", None)
    assert "references invalid table(s)" in str(found["bad"].problem)
    assert found.keys() == {"orders", "good", "bad"}
    login = mariadb.url("count_views").split("//")[1].partition("@")[0]
    denied = count(mariadb.url("count_views").replace(login, "narrow:hush-hush"))
    assert "SELECT command denied" in str(denied["orders"].problem)


def test_a_user_of_mariadb_who_cannot_see_every_table_is_no_measure(
    mariadb: Server,
) -> None:
    name = "count_rights"
    mysql_at(
        mariadb,
        f"create or replace database {name}",
        f"create table {name}.orders (n int)",
        f"create table {name}.secrets (n int)",
    )
    url = mariadb.url(name)
    login = url.split("//")[1].partition("@")[0]

    def seen_with(*grants: str) -> dict[str, TableCount]:
        user = "sees@'127.0.0.1'"
        mysql_at(
            mariadb,
            f"create or replace user {user} identified by 'hush-hush'",
            *(f"grant {each} to {user}" for each in grants),
        )
        return count(url.replace(login, "sees:hush-hush"))

    one = f"select on {name}.orders"
    for too_few in (
        [one],
        [one, "process on *.*"],
        [one, "select on count_other.*"],
        [one, f"select on `{name.replace('_', '__')}`.*"],
    ):
        with pytest.raises(CheckNotRun, match="has no right to all its tables"):
            seen_with(*too_few)
    for enough in (
        ["select on *.*"],
        ["all privileges on *.*"],
        [one, f"select, insert on {name}.*"],
        [r"select on `count\_rights`.*"],
        ["select on `count_r%`.*"],
    ):
        assert seen_with(*enough).keys() == {"orders", "secrets"}


class _Meddling:
    """A connection whose database is changed by another client, once its tables are listed."""

    def __init__(self, inner: BlockingConnection, meddle: Callable[[], object]) -> None:
        self._inner = inner
        self._meddle = meddle

    def tables(self, until: float) -> list[Table]:
        listed = self._inner.tables(until)
        self._meddle()
        return listed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def meddled(
    monkeypatch: pytest.MonkeyPatch, engine: str, meddle: Callable[[], object]
) -> None:
    opened = DRIVERS[engine]
    monkeypatch.setitem(
        DRIVERS,
        engine,
        lambda: lambda dsn, seconds: _Meddling(opened()(dsn, seconds), meddle),
    )


def test_a_table_that_is_dropped_while_it_is_counted_is_not_passed_over(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh(postgres_server, "count_dropped")
    sql_at(url, "create table here (n int)", "create table passing (n int)")
    meddled(monkeypatch, "postgres", lambda: sql_at(url, "drop table passing"))
    assert count(url) == {
        "public.here": TableCount("public.here", 0),
        "public.passing": TableCount(
            "public.passing", None, problem='relation "public.passing" does not exist'
        ),
    }


def test_a_connection_that_ends_while_tables_are_counted_says_nothing_of_them(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh(postgres_server, "count_lost")
    sql_at(url, "create table here (n int)")
    others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'count_lost' and pid <> pg_backend_pid()"
    meddled(monkeypatch, "postgres", lambda: sql_at(url, others))
    with pytest.raises(DatabaseUnreachable):
        count(url)


def test_a_connection_that_would_open_again_by_itself_ends_the_count_too(
    ferretdb: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pymongo.MongoClient[dict[str, Any]](ferretdb.url()) as client:
        client["count_again"]["orders"].insert_one({})
    monkeypatch.setattr(
        MongoDB, "count", Mock(side_effect=AutoReconnect("connection closed"))
    )
    with pytest.raises(DatabaseUnreachable):
        count(ferretdb.url("count_again"))


@pytest.mark.parametrize("engine", ["postgres", "mysql", "mongo", "redis"])
def test_rows_that_something_else_writes_meanwhile_are_no_proof(
    engine: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, write = _written(engine, request)
    write()
    assert count(url)
    meddled(monkeypatch, engine, write)
    with pytest.raises(
        CheckNotRun, match="something else wrote to the database while its tables"
    ):
        count(url)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into orders select 1",
        "replace into orders values (1)",
        "replace into orders select 1",
        "update orders set n = 2",
        "update orders, parts set orders.n = parts.n",
        "delete from orders",
        "delete orders from orders, parts",
        "rename table orders to o, parts to orders, o to parts",
        "alter table orders rename to older",
        "create or replace table orders as select seq n from seq_1_to_10",
        "execute immediate 'insert into orders select 1'",
    ],
)
def test_each_statement_by_which_mariadb_is_written_meanwhile_is_noticed(
    mariadb: Server, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    mysql_at(mariadb, "create or replace database count_writing")
    name = "count_writing"
    mysql_at(
        mariadb,
        "create table orders (n int)",
        "create table parts (n int)",
        database=name,
    )
    meddled(monkeypatch, "mysql", lambda: mysql_at(mariadb, statement, database=name))
    with pytest.raises(CheckNotRun, match="something else wrote to the database"):
        count(mariadb.url(name))


@pytest.mark.parametrize(
    "statements",
    [
        ["insert into orders values (1)", "select pg_stat_reset()"],
        ["insert into orders values (1)", "drop table parts"],
        ["alter table orders rename to older", "alter table parts rename to orders"],
        [
            "alter table orders detach partition usual",
            "alter table orders attach partition parts default",
        ],
        ["alter table heirs inherit parts"],
    ],
    ids=[
        "statistics are reset",
        "a table is dropped",
        "a table takes the name",
        "a table takes the place of a partition",
        "a table becomes an heir",
    ],
)
def test_writes_to_postgresql_are_noticed_whatever_hides_them(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch, statements: list[str]
) -> None:
    url = fresh(postgres_server, "count_hidden")
    sql_at(
        url,
        "create table orders (n int) partition by range (n)",
        "create table usual partition of orders default",
        "create table parts as select generate_series(1, 100) n",
        "create table heirs as select generate_series(1, 100) n",
    )
    meddled(monkeypatch, "postgres", lambda: sql_at(url, *statements))
    with pytest.raises(CheckNotRun, match="something else wrote to the database"):
        count(url)


def test_collections_that_change_names_are_noticed(
    ferretdb: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pymongo.MongoClient[dict[str, int]](ferretdb.url()) as client:
        client.drop_database("count_renamed")
        database = client["count_renamed"]
        database["orders"].insert_one({})
        database["parts"].insert_many([{"n": n} for n in range(100)])

        def rename() -> None:
            database["orders"].rename("older")
            database["parts"].rename("orders")
            database["older"].rename("parts")

        meddled(monkeypatch, "mongo", rename)
        with pytest.raises(CheckNotRun, match="something else wrote to the database"):
            count(ferretdb.url("count_renamed"))


@pytest.mark.parametrize("hide", ["save", "config_resetstat"])
def test_keys_that_are_written_meanwhile_are_noticed_whatever_hides_them(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch, hide: str
) -> None:
    with redis.Redis(
        port=redis_server.port, password=redis_server.password, db=8
    ) as keys:
        keys.set("order:1", 1)

        def write_and_hide() -> None:
            keys.set("order:2", 1)
            getattr(keys, hide)()

        assert count(redis_server.url("8"))["db8/order:*"].rows
        meddled(monkeypatch, "redis", write_and_hide)
        with pytest.raises(CheckNotRun, match="something else wrote to the database"):
            count(redis_server.url("8"))
        keys.flushdb()


@pytest.mark.nightly
def test_rows_that_a_session_of_postgresql_has_not_yet_reported_are_noticed(
    postgres_server: Server,
) -> None:
    """A session reports at most once a second, and what is left after 10 idle seconds."""
    url = fresh(postgres_server, "count_reported")
    sql_at(url, "create table orders (n int)")
    connection = DRIVERS["postgres"]()(url, SECONDS)
    try:
        ((before, tables_before),) = connection.writes()
        with psycopg.connect(url, autocommit=True) as other:
            for _ in range(2):
                other.execute("insert into orders values (1)")
            assert connection.writes() == [(before + 2, tables_before)]
    finally:
        connection.close()


def _written(
    engine: str, request: pytest.FixtureRequest
) -> tuple[str, Callable[[], object]]:
    """A database of a server, and what writes a row to it."""
    if engine == "postgres":
        server: Server = request.getfixturevalue("postgres_server")
        url = fresh(server, "count_written")
        sql_at(url, "create table orders (n int)")
        return url, lambda: sql_at(url, "insert into orders values (1)")
    if engine == "mysql":
        server = request.getfixturevalue("mariadb")
        mysql_at(server, "create or replace database count_written")
        mysql_at(server, "create table orders (n int)", database="count_written")
        insert = "insert into orders values (1)"
        return server.url("count_written"), lambda: mysql_at(
            server, insert, database="count_written"
        )
    if engine == "mongo":
        server = request.getfixturevalue("ferretdb")
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(server.url())
        request.addfinalizer(client.close)
        client["count_written"]["orders"].drop()
        return server.url("count_written"), lambda: client["count_written"][
            "orders"
        ].insert_one({})
    server = request.getfixturevalue("redis_server")
    keys = redis.Redis(port=server.port, password=server.password, db=8)
    request.addfinalizer(keys.close)
    keys.flushdb()
    return server.url("8"), lambda: keys.rpush("queue:1", 1)


def test_a_large_table_of_postgresql_is_estimated_by_a_sample_and_says_so(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh(postgres_server, "count_large")
    sql_at(
        url,
        "create table small (n int)",
        "create table large (n int, note text)",
        "insert into large select n, repeat('x', n % 200) from generate_series(1, 300000) n",
        "create table parts (n int) partition by range (n)",
        "create table part partition of parts for values from (0) to (1000000)",
        "insert into parts select n from generate_series(1, 300000) n",
    )
    module = "pulumi_snapshots.databases.postgresql"
    monkeypatch.setattr(f"{module}.Postgres.counted_up_to", 2**20)
    monkeypatch.setattr(f"{module}.SAMPLE", 2**23)
    found = count(url)
    assert found["public.small"] == TableCount("public.small", 0)
    for name in ("public.large", "public.parts"):
        assert found[name].is_estimate
        assert found[name].rows == pytest.approx(300_000, rel=0.25)


@pytest.mark.parametrize("engine", ["mysql", "mongo"])
def test_a_large_table_of_other_engines_has_the_estimate_of_the_server(
    engine: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, write = _written(engine, request)
    for _ in range(3):
        write()
    if engine == "mysql":
        server = request.getfixturevalue("mariadb")
        mysql_at(server, "analyze table orders", database="count_written")
    connection: type[BlockingConnection] = DRIVERS[engine]()
    monkeypatch.setattr(connection, "counted_up_to", 0)
    assert count(url)["orders"] == TableCount("orders", 3, is_estimate=True)


def test_orphans_of_a_sharded_collection_are_in_its_estimate_only(
    ferretdb: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FerretDB has no shards, so the metadata's count of a router stands in for them."""
    with pymongo.MongoClient[dict[str, int]](ferretdb.url()) as client:
        client["count_sharded"]["orders"].drop()
        client["count_sharded"]["orders"].insert_many([{"n": n} for n in range(10)])
    opened = DRIVERS["mongo"]()
    orphans = 2

    class Router(opened):  # type: ignore[misc, valid-type]
        def tables(self, until: float) -> list[Table]:
            listed = super().tables(until)
            return [
                each._replace(
                    size=each.size + orphans, estimate=each.estimate + orphans
                )
                for each in listed
            ]

    monkeypatch.setitem(DRIVERS, "mongo", lambda: Router)
    url = ferretdb.url("count_sharded")
    assert count(url)["orders"] == TableCount("orders", 10)
    monkeypatch.setattr(Router, "counted_up_to", 11)
    assert count(url)["orders"] == TableCount("orders", 12, is_estimate=True)


def test_a_table_that_takes_too_long_to_count_is_estimated_and_one_without_time_is_a_problem(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh(postgres_server, "count_slow")
    sql_at(
        url,
        "create table large as select generate_series(1, 2000000) n",
        "create view v as select n from large",
    )
    monkeypatch.setattr("pulumi_snapshots.databases.postgresql.SAMPLE", 2**20)
    began = time.monotonic()
    exact = began + SECONDS * COUNTING_SHARE * tables.EXACT_SHARE
    ends = iter([began, exact - 0.001, exact])
    monkeypatch.setattr(tables, "system_monotonic", lambda: next(ends))
    assert count(url, "public.v")["public.large"].is_estimate
    # Time is over once the tables are listed: neither of the two can be begun.
    late = itertools.chain([time.monotonic()], itertools.repeat(1e12))
    monkeypatch.setattr(tables, "system_monotonic", lambda: next(late))
    assert count(url)["public.large"].problem == NO_TIME


def test_mariadb_ends_a_count_that_takes_too_long(mariadb: Server) -> None:
    mysql_at(mariadb, "create or replace database count_slow")
    mysql_at(
        mariadb,
        "create table large as select seq n from seq_1_to_300000",
        database="count_slow",
    )
    connection = DRIVERS["mysql"]()(mariadb.url("count_slow"), SECONDS)
    try:
        (table,) = connection.tables(time.monotonic() + SECONDS)
        with pytest.raises(TimeoutError):
            connection.count(table, 0.001)
        assert connection.count(table, SECONDS) == 300_000
    finally:
        connection.close()


def test_more_tables_than_the_most_are_refused_not_cut_off(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh(postgres_server, "count_many")
    sql_at(url, *(f"create table t{n} (n int)" for n in range(4)))
    monkeypatch.setattr(tables, "MOST_TABLES", 3)
    with pytest.raises(CheckNotRun, match="there are more than 3 tables"):
        count(url)
    assert len(rows(url, "public.t1")) == 3
    monkeypatch.setattr(tables, "MOST_TABLES", 1)
    assert rows(url, "public.t1", "public.t3", "public.t2").keys() == {"public.t0"}


def test_redis_counts_every_logical_database_and_one_of_too_many_keys_or_prefixes_as_a_whole(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, names in (
        (20, ("order:1", "order:2", "alone")),
        (21, ("a:1", "b:1", "c:1")),
    ):
        with redis.Redis(
            port=redis_server.port, password=redis_server.password, db=number
        ) as keys:
            keys.flushdb()
            keys.mset(dict.fromkeys(names, 1))

    def seen() -> dict[str, int | None]:
        found = count(redis_server.url("20")).items()
        return {name: each.rows for name, each in found if name[:4] in {"db20", "db21"}}

    prefixes = {"db21/a:*": 1, "db21/b:*": 1, "db21/c:*": 1}
    assert seen() == {"db20/order:*": 2, "db20/(no prefix)": 1, **prefixes}
    module = redis_server_module
    monkeypatch.setattr(module, "MOST_PREFIXES", 2)
    assert seen() == {"db20/order:*": 2, "db20/(no prefix)": 1, "db21": 3}
    monkeypatch.setattr(module, "MOST_KEYS", 2)
    assert seen() == {"db20": 3, "db21": 3}


def test_redis_that_takes_too_long_to_be_counted_says_so(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis.Redis(
        port=redis_server.port, password=redis_server.password, db=22
    ) as keys:
        keys.mset({f"order:{number}": 1 for number in range(100)})
    monkeypatch.setattr(redis_server_module, "BATCH", "1")
    connection = redis_server_module.Redis(redis_server.url("22"), SECONDS)
    with pytest.raises(Refused, match="of db22 could not be counted in time"):
        connection._prefixes("db22", until=0.0)
    assert connection._prefixes("db22", until=math.inf) == {"/order:*": 100}
    connection.close()


redis_server_module = redis_server


def test_redis_that_may_not_be_scanned_or_asked_says_so(redis_server: Server) -> None:
    url = redis_server.url("20")
    with redis.Redis(
        port=redis_server.port, password=redis_server.password, db=20
    ) as client:
        client.set("order:1", 1)
        for name, rights in (("unscanned", "-scan"), ("uninformed", "-info")):
            client.execute_command(
                "ACL", "SETUSER", name, "on", ">hush-hush", "~*", "+@all", rights
            )
    own = f"default:{redis_server.password}"
    with pytest.raises(CheckNotRun, match="no permissions to run the 'scan' command"):
        count(url.replace(own, "unscanned:hush-hush"))
    found = count(url.replace(own, "uninformed:hush-hush"))
    assert {name[:5] for name in found} == {"db20/"}
