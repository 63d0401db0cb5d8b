"""A drill of a real dump on MariaDB, Redis and FerretDB: a good one passes, and one with missing data is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import pytest

from pulumi_snapshots.drill.check import Check
from pulumi_snapshots.drill.drill import DrillFailed, drill
from pulumi_snapshots.drill.inputs import DrillInputs
from squarecloud_emulator import Damage
from squarecloud_emulator.data.server_store import ServerStore
from squarecloud_emulator.data.servers.mongo_server import MongoServer
from squarecloud_emulator.data.servers.mysql_server import MySQLServer
from squarecloud_emulator.data.servers.redis_server import RedisServer
from tests.support.world import DATABASE, OTHER_DATABASE, Row, world

if TYPE_CHECKING:
    from pulumi_snapshots.drill.record import DrillRecord
    from tools.servers import Server

SCRATCH = OTHER_DATABASE
PLENTY = 100_000  # requests a minute


class Engine(NamedTuple):
    """How an engine is filled and asked, in its own words."""

    fixture: str
    connect: Any
    fill: tuple[str, ...]
    lose: str
    checks: list[Check]


ENGINES = {
    "mysql": Engine(
        "mariadb",
        MySQLServer,
        (
            "create table orders (id int primary key, name varchar(99))",
            "insert into orders values (1, 'Zoë'), (2, '空')",
        ),
        "delete from orders where id = 2",
        [
            Check("select count(*) from orders", at_least=2, name="rows"),
            Check("select name from orders where id = 1", equals="Zoë"),
        ],
    ),
    "redis": Engine(
        "redis_server",
        RedisServer,
        ("hset order:1 name Zoë", "hset order:2 name 空"),
        "del order:2",
        [Check("dbsize", at_least=2, name="rows"), Check("hget order:1 name", equals="Zoë")],
    ),
    "mongo": Engine(
        "ferretdb",
        MongoServer,
        ('{"insert": "orders", "documents": [{"_id": 1, "name": "Zoë"}, {"_id": 2, "name": "空"}]}',),
        '{"delete": "orders", "deletes": [{"q": {"_id": 2}, "limit": 1}]}',
        [
            Check('{"count": "orders"}', at_least=2, name="rows"),
            Check('{"find": "orders", "filter": {"_id": 1}, "projection": {"name": 1}}', equals="Zoë"),
        ],
    ),
}


@pytest.mark.parametrize("kind", ENGINES)
def test_a_drill_passes_and_finds_missing_data_on_each_engine(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ENGINES[kind]
    server: Server = request.getfixturevalue(engine.fixture)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    store = ServerStore({kind: lambda kept: engine.connect(server.url(), kept=kept)})

    async def body() -> None:
        quick: dict[str, Any] = {"restore_seconds": 0.0, "restore_tail_seconds": 0.0, "requests_per_minute": PLENTY}
        async with world(store=store, databases=(), **quick) as here:
            emulator = here.emulator

            async def drilled(damage: Damage | None = None) -> DrillRecord:
                stored = emulator.add_snapshot(DATABASE, damage=damage)
                emulator.advance(3600)  # past every cooldown
                number = RedisServer(server.url(), kept=True).number_of(SCRATCH) if kind == "redis" else SCRATCH
                session = here.another_run(poll_every=0.05, requests_per_minute=PLENTY)
                inputs = DrillInputs(
                    DATABASE,
                    stored.version_id,
                    SCRATCH,
                    engine.checks,
                    connection=server.url(str(number)),
                    overwrite_scratch=True,
                    name=stored.name,
                    runtime=stored.runtime,
                )
                try:
                    return await drill(session, inputs, Row())
                except DrillFailed as error:
                    return error.record
                finally:
                    await session.close()

            for database_id in (DATABASE, SCRATCH):
                emulator.add_database(database_id, type=kind)
            emulator.execute(DATABASE, *engine.fill)
            good = await drilled()
            assert (good.passed, [each.found for each in good.results or ()]) == (True, ["2", "Zoë"])
            bad = await drilled(Damage(statements=(engine.lose,)))
            assert bad.passed is False
            assert [(each.check, each.found) for each in bad.failed_checks] == [("rows", "1")]
            empty = await drilled(Damage(kind="empty"))
            assert len(empty.failed_checks) == 2

    try:
        anyio.run(body)
    finally:
        store.close()
