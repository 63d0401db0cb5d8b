"""Whole drills by command, whose scratch database is at a real server of each engine.

The emulator keeps the source and its snapshots. What it restores onto the scratch database is written to the server.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pymongo
import pytest
import redis

from squarecloud_emulator import Damage
from squarecloud_emulator.data.memory_store import MemoryStore
from tests.archive.scene import at_once
from tests.cli.typed import Desk
from tests.support.asking import mysql_at
from tests.support.real_data import fresh, sql_at
from tests.support.virtual import run_virtual
from tests.support.world import DATABASE, OTHER_DATABASE, world
from tools.servers import Server

SCRATCH = OTHER_DATABASE
NAME = "drilled_by_command"
"""Of the database at the server."""
HOUR = 3600.0  # longer than every cooldown
Tables = Mapping[str, list[int]]
"""The numbers in each table."""
TABLES: Tables = {"orders": [*range(1000)], "customers": [1, 2, 3]}
LOST = ("delete from orders where n >= 899", "drop table customers")
"""What is wrong with a snapshot that the service calls good."""


def _sql_of(tables: Tables) -> Iterator[str]:
    for table, numbers in tables.items():
        values = ", ".join(f"({number})" for number in numbers)
        yield f"create table {table} (n int)"
        yield f"insert into {table} values {values}"  # noqa: S608


def _into_postgres(server: Server, tables: Tables) -> None:
    sql_at(fresh(server, NAME), *_sql_of(tables))


def _into_mariadb(server: Server, tables: Tables) -> None:
    emptied = (f"create or replace database {NAME}", f"use {NAME}")
    mysql_at(server, *emptied, *_sql_of(tables))


def _into_ferretdb(server: Server, tables: Tables) -> None:
    with pymongo.MongoClient[dict[str, int]](server.url()) as client:
        client.drop_database(NAME)
        for table, numbers in tables.items():
            client[NAME].create_collection(table)
            client[NAME][table].insert_many([{"n": n} for n in numbers])


def _into_redis(server: Server, tables: Tables) -> None:
    """Onto the whole server, as a database of the service is one."""
    with redis.Redis(port=server.port, password=server.password) as keys:
        keys.flushall()
        for table, numbers in tables.items():
            keys.mset({f"{table}:{number}": number for number in numbers})


class EngineAtServer(NamedTuple):
    """An engine, and a server of it in the tests."""

    kind: str  # as the service names it
    fixture: str  # of the server
    database: str  # in the connection
    shown: str  # how results name a table
    write: Callable[[Server, Tables], None]  # replaces what the server holds


ENGINES = (
    EngineAtServer("postgres", "server", NAME, "public.{}", _into_postgres),
    EngineAtServer("mysql", "mariadb", NAME, "{}", _into_mariadb),
    EngineAtServer("mongo", "ferretdb", NAME, "{}", _into_ferretdb),
    EngineAtServer("redis", "redis_server", "0", "db0/{}:*", _into_redis),
)


class ScratchAtServer(MemoryStore):
    """A store in memory, whose scratch database is at a server."""

    def __init__(self, write: Callable[[Tables], None]) -> None:
        super().__init__()
        self._write = write

    def takes_time(self, database_id: str) -> bool:
        """The server's own start is not the emulator's to say."""
        return database_id == SCRATCH

    def restore(
        self, database_id: str, version_id: str, *, careless: bool = False
    ) -> Future[None]:
        restored = super().restore(database_id, version_id, careless=careless)
        (listed,) = self._rows("select name from sqlite_master where type = 'table'")
        names = [name for (name,) in listed]
        found = self._rows(*(f"select n from {name}" for name in names))  # noqa: S608
        numbers = [[number for (number,) in rows] for rows in found]
        self._write(dict(zip(names, numbers, strict=True)))
        return restored

    def _rows(self, *statements: str) -> list[list[list[Any]]]:
        return self.execute(SCRATCH, statements).result()


@pytest.mark.parametrize("engine", ENGINES, ids=[each.kind for each in ENGINES])
def test_a_drill_by_command_passes_with_all_rows_and_names_the_tables_that_lost_some(
    engine: EngineAtServer,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    server: Server = request.getfixturevalue(engine.fixture)
    # The virtual clock stands still while the server answers.
    monkeypatch.setattr("pulumi_snapshots.databases.database._in_thread", at_once)
    environment = {"SCRATCH_URL": server.url(engine.database)}

    async def body() -> None:
        store = ScratchAtServer(lambda tables: engine.write(server, tables))
        async with world(store=store, databases=()) as w:
            for database_id in (DATABASE, SCRATCH):
                w.emulator.add_database(database_id, type=engine.kind)
            w.emulator.execute(DATABASE, *_sql_of(TABLES))
            await _drilled_with_all_and_with_lost_rows(
                Desk(w, tmp_path / "state", environment), engine
            )

    run_virtual(body)


async def _drilled_with_all_and_with_lost_rows(
    at: Desk, engine: EngineAtServer
) -> None:
    orders, customers = map(engine.shown.format, TABLES)
    where = ("--scratch", SCRATCH, "--connection-env", "SCRATCH_URL")
    typed = ("drill", DATABASE, *where, "--overwrite-scratch", "--check", "tables")

    at.w.emulator.add_snapshot(DATABASE)
    (first,) = (await at.types(*typed, "--json")).done.json["results"]
    assert first["found"] == "tables: 2, rows: 1,003"
    assert {each["table"]: each["rows"] for each in first["tables"]} == {
        orders: 1000,
        customers: 3,
    }

    await anyio.sleep(HOUR)
    at.w.emulator.add_snapshot(DATABASE, damage=Damage(statements=LOST))
    (await at.types(*typed)).failed(
        "'tables' expected at least 90 % of the rows of each table of the last good drill",
        f"{customers} is gone",
        f"{orders} has 899 of 1,000 rows",
    )

    await anyio.sleep(HOUR)
    at.w.emulator.execute(DATABASE, "insert into customers values (4)")
    at.w.emulator.add_snapshot(DATABASE)
    again = (await at.types(*typed)).done
    assert f"largest differences: {customers} 3 → 4 (+33 %)" in again.out
