"""Dumps that a service calls good and that are not: each restores, and a check of a real PostgreSQL finds it."""

from __future__ import annotations

from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_snapshots.emulator import Damage, Emulator, EmulatorSettings
from pulumi_snapshots.emulator.data.postgres_store import PostgresStore
from tests.support.asking import Why, asked
from tests.support.real_data import sql_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.postgres import Server

SHOP, SCRATCH = "drill-shop", "drill-scratch"
FILL = (
    "create table customers (id int primary key, name text not null)",
    "insert into customers values (1, 'Zoë'), (2, '空')",
    "create table orders (id int primary key, customer int references customers, at timestamptz, note text)",
    "insert into orders select n, 1, timestamptz '2026-11-01' + n * interval '1 h', md5(n::text) from generate_series(1, 3000) n",
)
GOOD = {
    "select count(*) from customers": 2,
    "select count(*) from orders": 3_000,
    "select max(at) from orders": "2027-03-06T00:00:00Z",
    "select name from customers where id = 1": "Zoë",
}
CUSTOMERS, ORDERS, NEWEST, NAME = GOOD
ALL = frozenset(GOOD)
GARBLED = "update customers set name = convert_from(convert_to(name, 'UTF8'), 'LATIN1')"
BAD = {
    "truncated": (Damage(kind="truncated"), {ORDERS, NEWEST}),
    "empty": (Damage(kind="empty"), ALL),
    "of another engine": (Damage(kind="other engine"), ALL),
    "without a table": (Damage(statements=("drop table orders",)), {ORDERS, NEWEST}),
    "without some rows": (Damage(statements=("delete from orders where id % 1000 = 0",)), {ORDERS, NEWEST}),
    "with old rows only": (Damage(statements=("delete from orders where id > 2999",)), {ORDERS, NEWEST}),
    "in the wrong encoding": (Damage(statements=(GARBLED,)), {NAME}),
}
"""What is wrong with a dump, and which checks find it."""


class Restored:
    """An emulator whose databases are at a real server, and what a restore onto the scratch database leaves there."""

    def __init__(self, server: Server) -> None:
        settings = EmulatorSettings(snapshot_seconds=0, restore_seconds=0, restore_tail_seconds=0)
        self.emulator = Emulator(settings, store=PostgresStore(server.dsn()))
        self.server = server
        for database_id in (SHOP, SCRATCH):
            self.emulator.add_database(database_id)
        sql_at(server.url(SHOP), *FILL)

    def restore(self, version_id: str) -> str:
        """How a restore ends, as the service says."""
        emulator = self.emulator
        emulator.advance(3600)  # past every cooldown
        emulator.settle()
        account = emulator.account
        account.start_restore(emulator.existing(SCRATCH), SHOP, version_id, emulator.now())
        work = account.restore_work(SCRATCH)
        assert work is not None
        wait([work])
        emulator.settle()
        restore = account.last_restore(SCRATCH)
        assert restore is not None
        return restore.state(emulator.now())

    def failing(self) -> dict[str, Any]:
        """The checks of the scratch database that find something, with what they find."""
        told = asked(self.server.url(SCRATCH), GOOD)
        return {command: value for command, value in told.items() if value != GOOD[command]}

    def careless(self, *, yes: bool = True) -> None:
        """Let the service call a restore of a broken dump a success."""
        self.emulator.settings = EmulatorSettings(
            snapshot_seconds=0, restore_seconds=0, restore_tail_seconds=0, restore_ignores_errors=yes
        )


@pytest.fixture(scope="module")
def restored(postgres_server: Server) -> Iterator[Restored]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in postgres_server.environment.items():
            environment.setenv(name, value)
        one = Restored(postgres_server)
        yield one
        one.emulator.stop()


def test_a_good_dump_passes_every_check(restored: Restored) -> None:
    assert restored.restore(restored.emulator.add_snapshot(SHOP).version_id) == "success"
    assert restored.failing() == {}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_dump_that_restores_is_found(restored: Restored, what: str) -> None:
    damage, found_by = BAD[what]
    stored = restored.emulator.add_snapshot(SHOP, damage=damage)
    restored.careless()
    assert restored.restore(stored.version_id) == "success"
    assert restored.failing().keys() == found_by
    assert asked(restored.server.url(SHOP), GOOD) == GOOD, "the database itself"


def test_an_old_dump_under_a_new_version_is_found(restored: Restored) -> None:
    emulator = restored.emulator
    earlier = emulator.add_snapshot(SHOP)
    sql_at(restored.server.url(SHOP), "insert into orders values (3001, 1, '2027-04-01', 'new')")
    try:
        stored = emulator.add_snapshot(SHOP, damage=Damage(of_version=earlier.version_id))
        assert restored.restore(stored.version_id) == "success"
        count, newest = asked(restored.server.url(SCRATCH), [ORDERS, NEWEST]).values()
        assert (count, newest) == (3_000, "2027-03-06T00:00:00Z")
        assert asked(restored.server.url(SHOP), [NEWEST]) == {NEWEST: "2027-04-01T00:00:00Z"}
    finally:
        sql_at(restored.server.url(SHOP), "delete from orders where id > 3000")


def test_a_restore_that_does_nothing_is_found(restored: Restored) -> None:
    """Only in a database that is emptied first, or whose data differs: checks cannot know where rows come from."""
    emptied = restored.emulator.add_snapshot(SHOP, damage=Damage(kind="empty"))
    assert restored.restore(emptied.version_id) == "success"
    stored = restored.emulator.add_snapshot(SHOP)
    restored.emulator.next_restore_does_nothing(SCRATCH)
    assert restored.restore(stored.version_id) == "success"
    failing = restored.failing()
    assert failing.keys() == ALL
    assert all(isinstance(value, Why) for value in failing.values())


def test_a_careless_restore_continues_after_an_error(restored: Restored) -> None:
    shop = restored.server.url(SHOP)
    sql_at(shop, "create role seller", "create table sales as select 7 as n", "alter table sales owner to seller")
    stored = restored.emulator.add_snapshot(SHOP)
    sql_at(shop, "drop table sales", "drop role seller")
    restored.careless(yes=False)
    assert restored.restore(stored.version_id) == "error"
    restored.careless()
    assert restored.restore(stored.version_id) == "success"
    assert restored.failing() == {}
    assert asked(restored.server.url(SCRATCH), ["select n from sales"]) == {"select n from sales": 7}


@pytest.mark.parametrize("what", ["truncated", "of another engine"])
def test_a_service_that_checks_its_dumps_says_that_the_restore_failed(restored: Restored, what: str) -> None:
    restored.careless(yes=False)
    assert restored.restore(restored.emulator.add_snapshot(SHOP).version_id) == "success"
    stored = restored.emulator.add_snapshot(SHOP, damage=BAD[what][0])
    assert restored.restore(stored.version_id) == "error"
    assert restored.failing() == {}, "the data from before"
