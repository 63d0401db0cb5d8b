"""Databases at a real MariaDB, Redis and FerretDB: snapshots are whole, restores exact, other databases untouched."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import tarfile
import zipfile
from concurrent.futures import wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import bson
import pymongo
import pytest
import redis

from squarecloud_emulator import Damage, Emulator, EmulatorSettings
from squarecloud_emulator.data.server_store import ServerStore
from squarecloud_emulator.data.servers.mongo_server import MongoServer
from squarecloud_emulator.data.servers.mysql_server import MySQLServer
from squarecloud_emulator.data.servers.redis_server import RedisServer
from squarecloud_emulator.data.store import StoreError
from tests.support.running import mysql_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.servers import Server

SHOP = "emulated-shop"
DEAD = f"squarecloud-emulator, {socket.gethostname()} 999999999"
"""The mark of an emulator that was killed."""


class Engine:
    """One engine: how it is filled, read and spoilt, in its own words."""

    kind: str
    connect: Any
    member: str
    fill: tuple[str, ...]
    spoil: tuple[str, ...]
    drop_rows: str
    seen: tuple[str, ...]

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def dsn(self) -> str:
        return self.server.url()

    def content(self, emulator: Emulator) -> Any:
        """Everything that a restore must bring back."""
        return emulator.execute(SHOP, *self.seen)

    def names(self) -> set[str]:
        """The databases of the server that hold something."""
        raise NotImplementedError

    def foreign(self, name: str) -> None:
        """Make a database of another program's."""
        raise NotImplementedError

    def mark(self, text: str) -> None:
        """Change the mark of the emulator's database."""
        raise NotImplementedError


class MySQL(Engine):
    kind, connect, member = "mysql", MySQLServer, "database.sql"
    fill = (
        "create table customers (id int auto_increment primary key, name varchar(99) not null unique, photo blob)",
        "insert into customers (name, photo) values ('Zoë 🦉 O''Hara', x'00ff27'), ('空', null)",
        "create table orders (customer int, total decimal(12, 4), foreign key (customer) references customers (id))",
        "insert into orders values (1, 12.3456), (2, null)",
        "create view owed as select customer, sum(total) as total from orders group by customer",
        "create procedure tidy() delete from orders",
        "create trigger more before insert on orders for each row set new.total = new.total * 2",
    )
    spoil = (
        "update customers set name = concat(name, ' lost')",
        "drop view owed",
        "drop procedure tidy",
        "delete from orders",
        "create table added (n int)",
    )
    drop_rows = "delete from orders where customer = 2"
    seen = (
        "select * from customers",
        "select customer, cast(total as char) from orders order by 1",
        "select customer, cast(total as char) from owed order by 1",
        "select table_name, table_type from information_schema.tables where table_schema = database() order by 1",
        "select routine_name from information_schema.routines where routine_schema = database()",
        "select trigger_name, action_statement from information_schema.triggers where trigger_schema = database()",
        "select constraint_name from information_schema.table_constraints where table_schema = database() order by 1",
    )

    def names(self) -> set[str]:
        return {name for (name,) in mysql_at(self.server, "show databases")}

    def foreign(self, name: str) -> None:
        mysql_at(self.server, f"create database `{name}`")

    def mark(self, text: str) -> None:
        mysql_at(self.server, f"update squarecloud_emulator.marks set mark = '{text}'")  # noqa: S608 - our own


class Redis(Engine):
    kind, connect, member = "redis", RedisServer, "database.resp"
    fill = (
        "set name 'Zoë 🦉'",
        "set soon 1 pxat 4102444800000",
        "rpush list a b c",
        "hset order:1 total 12.5 state open",
        "zadd best 1.5 x 2 y",
        "xadd events 1-1 a 1",
        "sadd some 1 2 3",
    )
    spoil = ("del list", "set name other", "set more 1", "persist soon")
    drop_rows = "del list"
    seen = (
        *("get name", "pexpiretime soon", "lrange list 0 -1", "hgetall order:1", "zrange best 0 -1 withscores"),
        *("xrange events - +", "sort some", "dbsize"),
    )

    def number(self) -> int:
        return RedisServer(self.dsn, kept=True).number_of(SHOP)

    def names(self) -> set[str]:
        with self.client() as client:
            return {SHOP} & {name.decode() for name in client.hkeys("squarecloud-emulator")}

    def client(self, number: int = 0) -> redis.Redis:
        return redis.Redis(port=self.server.port, password=self.server.password, db=number)

    def mark(self, text: str) -> None:
        with self.client() as client:
            client.hset("squarecloud-emulator", SHOP, f"{self.number()} {text}")


class Mongo(Engine):
    kind, connect, member = "mongo", MongoServer, "database.tar"
    fill = (
        '{"insert": "customers", "documents": [{"_id": 1, "name": "Zoë 🦉", "tags": ["a", {"b": null}]}]}',
        '{"insert": "customers", "documents": [{"_id": 2, "name": "空", "n": {"$numberLong": "1099511627776"}}]}',
        '{"insert": "orders", "documents": [{"_id": {"$oid": "6b08cd8fa52176063fee7df3"}, "total": 12.5}]}',
        '{"createIndexes": "customers", "indexes": [{"key": {"name": 1}, "name": "by name", "unique": true}]}',
        '{"create": "nothing"}',
    )
    spoil = ('{"drop": "orders"}', '{"delete": "customers", "deletes": [{"q": {}, "limit": 0}]}', '{"create": "added"}')
    drop_rows = '{"delete": "customers", "deletes": [{"q": {"_id": 2}, "limit": 0}]}'
    seen = (
        *('{"find": "customers", "sort": {"_id": 1}}', '{"find": "orders"}', '{"listIndexes": "customers"}'),
        '{"listCollections": 1, "nameOnly": true}',
    )

    def content(self, emulator: Emulator) -> Any:
        answers = [answer[0][0]["cursor"]["firstBatch"] for answer in emulator.execute(SHOP, *self.seen)]
        return [*answers[:-1], sorted(each["name"] for each in answers[-1])]

    def names(self) -> set[str]:
        with self.client() as client:
            return set(client.list_database_names())

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        return pymongo.MongoClient(self.dsn)

    def foreign(self, name: str) -> None:
        with self.client() as client:
            client[name]["theirs"].insert_one({"n": 1})

    def mark(self, text: str) -> None:
        with self.client() as client:
            client["squarecloud-emulator"]["databases"].update_one({"_id": SHOP}, {"$set": {"mark": text}})


@pytest.fixture(
    params=[("mariadb", MySQL), ("redis_server", Redis), ("ferretdb", Mongo)], ids=["mysql", "redis", "mongo"]
)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    fixture, kind = request.param
    server: Server = request.getfixturevalue(fixture)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    made: Engine = kind(server)
    return made


@contextmanager
def emulated(engine: Engine, folder: Path | None = None, **settings: Any) -> Iterator[Emulator]:
    quick = {"snapshot_seconds": 0, "restore_seconds": 0, "restore_tail_seconds": 0}
    store = ServerStore({engine.kind: lambda kept: engine.connect(engine.dsn, kept=kept)}, folder)
    emulator = Emulator(EmulatorSettings(**{**quick, **settings}), data_folder=folder, store=store)
    try:
        yield emulator
    finally:
        emulator.stop()


def restored(emulator: Emulator, version_id: str) -> str:
    """How a restore ends, as the service says."""
    emulator.advance(3600)
    emulator.settle()
    emulator.account.start_restore(emulator.existing(SHOP), SHOP, version_id, emulator.now())
    work = emulator.account.restore_work(SHOP)
    assert work is not None
    wait([work])
    emulator.settle()
    restore = emulator.account.last_restore(SHOP)
    assert restore is not None
    return restore.state(emulator.now())


def test_restore_brings_back_everything_in_the_snapshot(engine: Engine) -> None:
    with emulated(engine) as emulator:
        emulator.add_database(SHOP, type=engine.kind)
        emulator.execute(SHOP, *engine.fill)
        before = engine.content(emulator)
        stored = emulator.add_snapshot(SHOP)
        emulator.execute(SHOP, *engine.spoil)
        assert emulator.execute(SHOP, engine.seen[0]) != before[:1]
        assert restored(emulator, stored.version_id) == "success"
        assert engine.content(emulator) == before
        with zipfile.ZipFile(io.BytesIO(emulator.archive_of(stored.version_id))) as archive:
            assert archive.namelist() == ["snapshot.json", engine.member]
        # A dump that cannot be read changes nothing; one that is restored all the same leaves what could be read.
        truncated = emulator.add_snapshot(SHOP, damage=Damage(kind="truncated"))
        other = emulator.add_snapshot(SHOP, damage=Damage(kind="other engine"))
        for bad in (truncated, other):
            assert restored(emulator, bad.version_id) == "error"
            assert engine.content(emulator) == before
        fewer = emulator.add_snapshot(SHOP, damage=Damage(statements=(engine.drop_rows,)))
        assert engine.content(emulator) == before
        assert restored(emulator, fewer.version_id) == "success"
        assert engine.content(emulator) != before
        emulator.settings = EmulatorSettings(restore_seconds=0, restore_tail_seconds=0, restore_ignores_errors=True)
        assert restored(emulator, other.version_id) == "success"
        assert restored(emulator, stored.version_id) == "success"
        assert engine.content(emulator) == before
        empty = emulator.add_snapshot(SHOP, damage=Damage(kind="empty"))
        assert restored(emulator, empty.version_id) == "success"
    assert SHOP not in engine.names()


def test_folder_remembers_the_databases_at_the_server(engine: Engine, tmp_path: Path) -> None:
    with emulated(engine, tmp_path) as emulator:
        emulator.add_database(SHOP, type=engine.kind)
        emulator.execute(SHOP, *engine.fill)
        before = engine.content(emulator)
        stored = emulator.add_snapshot(SHOP)
    with pytest.raises(ValueError, match=f"is at a {engine.connect.title} server: give its DSN"):
        Emulator(data_folder=tmp_path)
    with emulated(engine, tmp_path) as emulator:
        assert engine.content(emulator) == before
        assert [one.version_id for one in emulator.snapshots(SHOP)] == [stored.version_id]
        with emulated(engine) as another, pytest.raises(ValueError, match="another emulator's"):
            another.add_database(SHOP, type=engine.kind)
        # What a killed emulator has left is replaced.
        engine.mark(DEAD)
        with emulated(engine) as another:
            another.add_database(SHOP, type=engine.kind)
            # The words for a missing table differ; Redis just has nothing.
            with pytest.raises((StoreError, AssertionError)):
                assert engine.content(another) == before
    with pytest.raises(ValueError, match=f"has no database {SHOP} of the emulator's"), emulated(engine, tmp_path):
        pass


def test_databases_of_other_programs_are_never_touched(engine: Engine) -> None:
    if isinstance(engine, Redis):
        with engine.client(1) as theirs, emulated(engine) as emulator:
            theirs.set("theirs", "1")
            emulator.add_database(SHOP, type=engine.kind)
            emulator.execute(SHOP, *engine.fill)
            assert engine.number() > 1
            assert theirs.keys() == [b"theirs"]
            theirs.flushdb()
        return
    engine.foreign("theirs")
    with emulated(engine) as emulator, pytest.raises(ValueError, match="not the emulator's"):
        emulator.add_database("theirs", type=engine.kind)
    assert "theirs" in engine.names()


def test_a_wrong_command_is_explained_and_a_stranger_is_named(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with emulated(engine) as emulator:
        emulator.add_database(SHOP, type=engine.kind)
        with pytest.raises(StoreError, match=r"refuses|is JSON"):
            emulator.execute(SHOP, "nonsense")
    title = engine.connect.title
    monkeypatch.setattr("squarecloud_emulator.data.servers.mongo_server._CONNECT_MILLISECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"{engine.server.scheme}://127.0.0.1:{closed.getsockname()[1]}/"
    for dsn, why in ((nowhere, f"cannot use {title}"), ("secret-word", f"not a {title} DSN")):
        with pytest.raises(ValueError, match=why) as refused:
            engine.connect(dsn, kept=False)
        assert "secret-word" not in str(refused.value)


def test_a_dump_can_be_put_back_by_hand(engine: Engine, tmp_path: Path) -> None:
    with emulated(engine) as emulator:
        emulator.add_database(SHOP, type=engine.kind)
        emulator.execute(SHOP, *engine.fill)
        content = emulator.archive_of(emulator.add_snapshot(SHOP).version_id)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        dump = archive.read(engine.member)
    server = engine.server
    if isinstance(engine, MySQL):
        mysql_at(server, "create database byhand character set utf8mb4")
        login = ["--no-defaults", "--host=127.0.0.1", f"--port={server.port}", f"--user={server.user}", "byhand"]
        environment = {**server.environment, "MYSQL_PWD": server.password}
        subprocess.run(["mariadb", *login], input=dump, env=environment, check=True)  # noqa: S603, S607
        assert mysql_at(server, "select name from customers where id = 1", database="byhand") == (("Zoë 🦉 O'Hara",),)
        # A dump that is cut after a statement loads without an error, and still is not whole.
        cut = tmp_path / "cut.sql"
        cut.write_bytes(dump[: dump.rindex(b";\n", 0, len(dump) // 2) + 2])
        with pytest.raises(StoreError, match="no whole dump of MySQL"):
            MySQLServer(engine.dsn, kept=True).restore("byhand", cut)
        assert mysql_at(server, "select count(*) from customers", database="byhand") == ((2,),)
    elif isinstance(engine, Redis):
        environment = {**server.environment, "REDISCLI_AUTH": server.password}
        command = ["redis-cli", "-p", str(server.port), "-n", "50", "--pipe"]
        subprocess.run(command, input=dump, env=environment, check=True, capture_output=True)  # noqa: S603
        with engine.client(50) as client:
            assert client.get("name") == "Zoë 🦉".encode()
    else:
        with tarfile.open(fileobj=io.BytesIO(dump)) as files:
            names = sorted(files.getnames())
            assert names[:2] == [f"{SHOP}/customers.bson", f"{SHOP}/customers.metadata.json"]
            documents = files.extractfile(names[0])
            about = files.extractfile(names[1])
            assert documents is not None
            assert about is not None
            assert [each["name"] for each in bson.decode_all(documents.read())] == ["Zoë 🦉", "空"]
            assert [each["name"] for each in json.loads(about.read())["indexes"]] == ["_id_", "by name"]
