"""Seconds and memory for counting the tables of a restored database, at real servers.

`python -m bench.tables URL` counts one database and prints a line of JSON.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import anyio
import pymongo
import redis

from pulumi_snapshots.databases.database import Database
from pulumi_snapshots.drill.drill import LONGEST_OF_DRILL
from pulumi_snapshots.drill.tables import RowsBefore, Tables, problems_of
from tests.support.asking import mysql_at
from tests.support.real_data import fresh, sql_at
from tools.servers import served

TABLES = 10_000
ROWS = 100_000_000
KEYS = 5_000_000
BATCH = 100_000


def counted_tables() -> Iterable[list[object]]:
    """Fill each server, and count what it holds in a process of its own."""
    with served("postgres") as server:
        url = fresh(server, "many")
        for first in range(0, TABLES, 500):
            sql_at(url, *(_table(number) for number in range(first, first + 500)))
        yield _counted(f"PostgreSQL, {TABLES:,} tables", url)
        url = fresh(server, "large")
        sql_at(
            url,
            "create unlogged table large (n int)",
            f"insert into large select generate_series(1, {ROWS})",
        )
        yield _counted(f"PostgreSQL, a table of {ROWS:,} rows", url)
    with served("mariadb") as server:
        mysql_at(server, "create database many")
        mysql_at(server, *map(_table, range(TABLES)), database="many")
        yield _counted(f"MariaDB, {TABLES:,} tables", server.url("many"))
    with (
        served("ferretdb") as server,
        pymongo.MongoClient[dict[str, int]](server.url()) as client,
    ):
        for number in range(TABLES // 10):
            client["many"][f"table_{number}"].insert_one({"n": 1})
        yield _counted(f"FerretDB, {TABLES // 10:,} collections", server.url("many"))
    with (
        served("redis") as server,
        redis.Redis(port=server.port, password=server.password) as client,
    ):
        for first in range(0, KEYS, BATCH):
            client.mset(
                {f"kind{key % 7}:{key}": 1 for key in range(first, first + BATCH)}
            )
        yield _counted(f"Redis, {KEYS:,} keys", server.url("0"))


def _table(number: int) -> str:
    return f"create table table_{number} as select {number} as n"


def _counted(what: str, url: str) -> list[object]:
    """Count a database in a process of its own, since its memory is measured."""
    command = [sys.executable, "-m", "bench.tables", url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    found = json.loads(output)
    return [
        what,
        found["tables"],
        found["rows"],
        found["estimated"],
        found["seconds"],
        found["MiB"],
    ]


def _peak() -> int:
    """Return the most memory of this process so far, in KiB.

    `getrusage` has that of the process that started this one, if it was more.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+)", status)[0])


def main(url: str) -> None:
    """Count and compare the tables of one database."""
    before = _peak()
    began = time.perf_counter()

    async def count() -> None:
        database = Database(url, timeout=LONGEST_OF_DRILL)
        counts = await database.count(lambda _: False, refuse_writes=True)
        rows = {each.table: each.rows or 0 for each in counts}
        tables = Tables().compare(counts, RowsBefore(rows, "itself"))
        peak = _peak()
        found = {
            "tables": f"{len(tables):,}",
            "rows": f"{sum(rows.values()):,}",
            "estimated": sum(each.is_estimate for each in tables),
            "seconds": f"{time.perf_counter() - began:.1f}",
            "MiB": f"{(peak - before) / 1024:.0f}",
        }
        if problems_of(tables):
            found["tables"] = f"{len(tables):,}, {len(problems_of(tables))} problems"
        print(json.dumps(found))

    anyio.run(count)


if __name__ == "__main__":
    main(sys.argv[1])
