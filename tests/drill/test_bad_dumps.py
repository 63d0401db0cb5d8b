"""Dumps that a service calls good and that are not: a drill onto a real PostgreSQL restores each, and finds what is wrong."""

from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import anyio

from pulumi_snapshots.drill.check import Check
from pulumi_snapshots.drill.drill import DrillFailed, Drilling
from pulumi_snapshots.drill.record import DrillInputs, DrillRecord, GoodDrill
from squarecloud_emulator import Damage
from squarecloud_emulator.data.postgres_store import PostgresStore
from squarecloud_emulator.service.resources import StoredSnapshot
from tests.support.real_data import sql_at
from tests.support.world import DATABASE, OTHER_DATABASE, Row, World, world
from tools.servers import Server

SCRATCH = OTHER_DATABASE
PLENTY = 100_000  # requests a minute: with fewer, a client that polls this often waits for the next minute's
QUICK: dict[str, Any] = {
    "restore_seconds": 0.0,
    "restore_tail_seconds": 0.0,
    "requests_per_minute": PLENTY,
}
FILL = (
    "create table customers (id int primary key, name text not null)",
    "insert into customers values (1, 'Zoë'), (2, '空')",
    "create table orders (id int primary key, customer int references customers, at timestamptz, note text)",
    "insert into orders select n, 1, timestamptz '2026-11-01' + n * interval '1 h', md5(n::text) from generate_series(1, 3000) n",
)
CHECKS = [
    Check("select count(*) from customers", at_least=2, name="customers"),
    Check("select count(*) from orders", at_least=3000, name="orders"),
    Check("select max(at) >= '2027-03-06Z' from orders", equals=True, name="newest"),
    Check("select name from customers where id = 1", equals="Zoë", name="text"),
]
ALL = {"customers", "orders", "newest", "text"}
GARBLED = "update customers set name = convert_from(convert_to(name, 'UTF8'), 'LATIN1')"
BAD = {
    "truncated": (Damage(kind="truncated"), {"orders", "newest"}),
    "empty": (Damage(kind="empty"), ALL),
    "of another engine": (Damage(kind="other engine"), ALL),
    "without a table": (
        Damage(statements=("drop table orders",)),
        {"orders", "newest"},
    ),
    "without some rows": (
        Damage(statements=("delete from orders where id % 1000 = 1",)),
        {"orders"},
    ),
    "in the wrong encoding": (Damage(statements=(GARBLED,)), {"text"}),
}
"""What is wrong with a dump, and the checks that find it."""
COUNTED = {
    "truncated": "public.orders has 0 of 3,000 rows",
    "empty": "no table has a row; public.customers is gone; public.orders is gone",
    "of another engine": "no table has a row",
    "without a table": "public.orders is gone",
    "without some rows": None,
    "in the wrong encoding": None,
}
"""What counting tables says of each dump; nothing of what it does not prove."""


async def found(
    here: World, server: Server, stored: StoredSnapshot, checks: list[Check] = CHECKS
) -> set[str]:
    """The checks that a drill of this snapshot has not passed, or the code with which the restore failed."""
    here.emulator.advance(3600)  # past every cooldown
    session = here.another_run(poll_every=0.05, requests_per_minute=PLENTY)
    where: Any = {
        "scratch_database_id": SCRATCH,
        "connection": server.url(SCRATCH),
        "overwrite_scratch": True,
    }
    of: Any = {"name": stored.name, "runtime": stored.runtime}
    try:
        inputs = DrillInputs(DATABASE, stored.version_id, checks=checks, **where, **of)
        record = await Drilling(session, inputs, Row()).carry_out()
    except DrillFailed as error:
        record = error.record
    finally:
        await session.close()
    if record.failure is not None:
        return {record.failure}
    missed = {each.check for each in record.results or () if not each.passed}
    assert record.passed is (not missed)
    return missed


def test_a_drill_finds_every_bad_dump_that_restores(server: Server) -> None:
    async def story(here: World, drilled: Any) -> None:
        emulator = here.emulator
        url = server.url(DATABASE)
        good = emulator.add_snapshot(DATABASE)
        assert await drilled(good) == set()
        for what in (
            "truncated",
            "of another engine",
        ):  # by a service that checks its dumps
            assert await drilled(
                emulator.add_snapshot(DATABASE, damage=BAD[what][0])
            ) == {"SNAPSHOT_RESTORE_FAILED"}
        emulator.settings = replace(emulator.settings, restore_ignores_errors=True)
        for damage, checks in BAD.values():
            assert (
                await drilled(emulator.add_snapshot(DATABASE, damage=damage)) == checks
            )
        # An old dump under a new version, after one more day of orders; and a restore that changes nothing.
        assert await drilled(good) == set()
        sql_at(
            url,
            "update orders set at = at + interval '1 day'",
            "delete from orders where at < '2026-11-02'",
        )
        sql_at(
            url,
            "insert into orders select 3000 + n, 1, '2027-03-07Z' from generate_series(1, 24) n",
        )
        old = emulator.add_snapshot(DATABASE, damage=Damage(of_version=good.version_id))
        drilled = partial(
            drilled,
            checks=[
                replace(each, query=str(each.query).replace("03-06", "03-07"))
                for each in CHECKS
            ],
        )
        assert await drilled(old) == {"newest"}
        emulator.next_restore_does_nothing(SCRATCH)
        assert await drilled(emulator.add_snapshot(DATABASE)) == {"newest"}
        assert await drilled(emulator.add_snapshot(DATABASE)) == set(), (
            "the database itself is as it was"
        )

    async def body() -> None:
        with closing(PostgresStore(server.dsn())) as store:
            async with world(
                store=store, databases=(DATABASE, SCRATCH), **QUICK
            ) as here:
                sql_at(server.url(DATABASE), *FILL)
                await story(here, partial(found, here, server))

    anyio.run(body)


def test_counting_tables_finds_dumps_without_rows_and_passes_what_it_does_not_prove(
    server: Server,
) -> None:
    async def ended(
        here: World, stored: StoredSnapshot, last_good: GoodDrill | None = None
    ) -> DrillRecord:
        here.emulator.advance(3600)
        session = here.another_run(poll_every=0.05, requests_per_minute=PLENTY)
        where: Any = {
            "scratch_database_id": SCRATCH,
            "connection": server.url(SCRATCH),
            "overwrite_scratch": True,
        }
        of: Any = {"name": stored.name, "runtime": stored.runtime}
        try:
            inputs = DrillInputs(DATABASE, stored.version_id, **where, **of)
            return await Drilling(
                session, inputs, Row(), last_good=last_good
            ).carry_out()
        except DrillFailed as error:
            return error.record
        finally:
            await session.close()

    async def body() -> None:
        with closing(PostgresStore(server.dsn())) as store:
            async with world(
                store=store, databases=(DATABASE, SCRATCH), **QUICK
            ) as here:
                sql_at(server.url(DATABASE), *FILL)
                good = (
                    await ended(here, here.emulator.add_snapshot(DATABASE))
                ).last_good
                assert good is not None
                settings = here.emulator.settings
                here.emulator.settings = replace(settings, restore_ignores_errors=True)
                for what, said in COUNTED.items():
                    bad = here.emulator.add_snapshot(DATABASE, damage=BAD[what][0])
                    record = await ended(here, bad, good)
                    assert record.passed is (said is None), what
                    assert said is None or said in record.reason, what

    anyio.run(body)
