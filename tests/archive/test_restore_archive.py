"""Archives come back: `restore-archive` puts real dumps of four engines into real databases, without the service."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import tempfile
import zipfile
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pymongo
import pymysql
import pyrage
import pytest
import redis

from pulumi_snapshots.archive.manifest import Manifest
from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.cli.run import parse
from pulumi_snapshots.cli.terminal.invocation import Invocation
from squarecloud_emulator.data.servers.mongo_server import MongoServer
from squarecloud_emulator.data.servers.redis_server import RedisServer
from tests.cli.typed import Ended
from tests.support.real_data import content_of, filled, fresh, sql_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.postgres import Server as Postgres
    from tools.servers import Server

IDENTITY = pyrage.x25519.Identity.generate()
MONGODUMP = base64.b64decode(
    "H4sIAAAAAAAA/7RTvY7TTBQ98feh3RVNtAUdErpCiMKJYsdxQoSgiECiYSUaJNDKsj1jdkQys4zHYUNwARWvgHgBEM3WlFDzApQU8BhB45CfFasA"
    "KzGN7XvOPT73aO7o6+sXzwHUUyXTQmsuTZSq4ZCnRiiZ438AzpjrXChZfbSaHpyc6zHX0aK+BaDbbDUDH45RargELgJICjE0jafCHKjCNH4ijdxo"
    "IR8B2zXAYQnOAcgP1CGc1d+xA0AxdknGIw5nxE3MYhPjGMCUhGT8iOfUfzilMfWndFkWo4TrO9JQn3wqXXrMJxaIBPsF96gsXbLC1LeEiMp9l4rC"
    "UqnNWNbqtIPAC8Kgl2Rxx+M88VmvG8d+EKbk0srl3bnGwie5ZCaHtrKiUIl6Lp5x2ONYGOcBrE2K/U052HyVZlznayls1f5JCu7vdObsTUL2EXnk"
    "UiHFk4JT3+iCr8XrZ2k7uOZ3wp7fC3g3jVteFnqBl3hZ2EnC7NR4q/HPGO5sNptdx58FvH1r7zawO7g3wPJctQsSCYaaFaluo5V5oD69x66s3k/y"
    "nCXPrsz3dx+wExvg7ZfxGyvx135qlR9ncPz5v5uvXlb9Nzb1n1ic0yaq2+6F0yOcRXHuqbf38cLk2/0rlcKPAAAA///ZPXvjTQQAAA=="
)
"""What `mongodump --db shop --archive --gzip` (of October 2026) has written: two orders, an index, an `odd name`."""
ROWS = "select count(*) from orders"


def zipped(**members: bytes) -> bytes:
    """The zip of a snapshot, as the service has it: whatever is in there beside the dump is passed over."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("snapshot.json", "{}")
        for name, content in members.items():
            file.writestr(name, content)
    return target.getvalue()


def shelve(folder: Path, content: bytes, *, sealed: bool = False) -> Path:
    """An archive of a zip and its manifest."""
    file = folder / ("a.zip.age" if sealed else "a.zip")
    stored = pyrage.encrypt(content, [IDENTITY.to_public()]) if sealed else content
    file.write_bytes(stored)
    plain: dict[str, Any] = {"plain_size": len(content), "plain_sha256": sha256(content).hexdigest()} if sealed else {}
    record = ArchiveRecord(
        file.as_uri(), len(stored), sha256(stored).hexdigest(), "2026-11-01T00:00:00Z", None, "v", "m", **plain
    )
    keys = [str(IDENTITY.to_public())] if sealed else None
    file.with_name(f"{file.name}.json").write_bytes(Manifest.of(record, keys).text)
    return file


def types(*arguments: str | Path, **environment: str) -> Ended:
    """Type the command on a machine with these variables."""
    out, err = StringIO(), StringIO()
    invocation = Invocation({**os.environ, **environment}, out, err)
    command = parse(["restore-archive", *map(str, arguments), "--connection-env", "TO"], invocation)
    assert command is not None
    code = anyio.run(invocation.finish, command)
    return Ended(code, out.getvalue(), err.getvalue())


def program(*command: str | Path, **environment: str) -> bytes:
    """What a program of an engine prints."""
    run = subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})  # noqa: S603
    return run.stdout


def dumped(server: Postgres, database: str, *arguments: str) -> bytes:
    return program("pg_dump", *arguments, server.dsn(database), **server.environment)


def folder_of(server: Postgres, database: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="dump") as folder:
        dumped(server, database, "--format=directory", f"--file={folder}/dump")
        return {f"dump/{each.name}": each.read_bytes() for each in Path(folder, "dump").iterdir()}


POSTGRES: dict[str, Callable[[Postgres, str], dict[str, bytes]]] = {
    "custom": lambda at, name: {"database.dump": dumped(at, name, "--format=custom")},
    "tar": lambda at, name: {"a/database.tar": dumped(at, name, "--format=tar")},
    "folder": folder_of,
    "sql": lambda at, name: {"database.sql": dumped(at, name)},
}


@pytest.mark.parametrize("form", POSTGRES)
def test_a_postgresql_archive_comes_back(form: str, server: Postgres, tmp_path: Path) -> None:
    content = filled(fresh(server, "source"))
    target = fresh(server, "target")
    archive = shelve(tmp_path, zipped(**POSTGRES[form](server, "source")), sealed=form == "custom")
    key = tmp_path / "key.txt"
    key.write_text(str(IDENTITY))
    typed = (archive, *(("--identity", key) if form == "custom" else ()))
    checks = ("--check", "select count(*) from customer == 2")
    shown = types(*typed, *checks, TO=target).done.out
    assert content_of(target) == content
    assert "ok" in shown
    proved = Manifest.parse(archive.with_name(f"{archive.name}.json").read_bytes(), archive.as_uri())
    assert proved is not None
    assert proved.drill is not None, "the last archive that has come back is never removed"
    # What is there already is not written over, unless that is wanted.
    full = types(*typed, TO=target)
    assert (full.code, "has 5 tables: give an empty one" in full.err) == (2, True), full.err
    if form != "sql":
        sql_at(target, 'DELETE FROM "Bestellung für 日本"', "SELECT lo_unlink(424242)")
        assert types(*typed, "--overwrite", TO=target).code == 0
        assert content_of(target) == content
    assert not list(Path(tempfile.gettempdir()).glob("tmp*/toc.dat"))


def test_a_mysql_archive_comes_back(mariadb: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in mariadb.environment.items():
        monkeypatch.setenv(name, value)
    connection = pymysql.connect(
        host="127.0.0.1", port=mariadb.port, user=mariadb.user, password=mariadb.password, autocommit=True
    )
    with connection, connection.cursor() as cursor:
        for name in ("source", "back"):
            cursor.execute(f"drop database if exists {name}")
            cursor.execute(f"create database {name} character set utf8mb4")
        cursor.execute("create table source.orders (id int primary key, name varchar(9), data blob)")
        cursor.execute("insert into source.orders values (1, 'Zoë', %s), (2, '空', null)", (bytes(range(256)),))
        login = ["--no-defaults", "--host=127.0.0.1", f"--port={mariadb.port}", f"--user={mariadb.user}"]
        dump = program("mariadb-dump", *login, "source", MYSQL_PWD=mariadb.password)
        archive = shelve(tmp_path, zipped(**{"x.sql": dump}))
        ended = types(archive, "--check", f"{ROWS} == 2", "--json", TO=mariadb.url("back")).done.json
        assert (ended["tables"], ended["checks"][0]["passed"]) == (1, True)
        cursor.execute("select name, data from back.orders order by id")
        assert cursor.fetchall() == (("Zoë", bytes(range(256))), ("空", None))
        wrong = types(archive, "--overwrite", "--check", f"{ROWS} == 3", TO=mariadb.url("back"))
        assert (wrong.code, "PROBLEM" in wrong.out) == (1, True)
        # A dump that names its own database does not reach that one.
        cursor.execute("drop table back.orders")
        cursor.execute("delete from source.orders where id = 1")
        named = program("mariadb-dump", *login, "--databases", "source", MYSQL_PWD=mariadb.password)
        cursor.execute("insert into source.orders values (3, 'new', null)")
        strayed = types(shelve(tmp_path, zipped(**{"x.sql": named})), TO=mariadb.url("back"))
        assert (strayed.code, "names a database of its own" in strayed.err) == (1, True), strayed.err
        cursor.execute("select id from source.orders order by id")
        assert cursor.fetchall() == ((2,), (3,))


@pytest.mark.parametrize("form", ["archive", "folder"])
def test_a_mongodb_archive_comes_back(form: str, ferretdb: Server, tmp_path: Path) -> None:
    client: Any
    with pymongo.MongoClient(ferretdb.url()) as client:
        _comes_back(form, client, ferretdb, tmp_path)


def _comes_back(form: str, client: Any, ferretdb: Server, tmp_path: Path) -> None:
    client.drop_database("back")
    if form == "archive":
        members = {"database.archive": MONGODUMP}
    else:
        client.drop_database("a" * 32)
        store = MongoServer(ferretdb.url(), kept=False)
        store.create("a" * 32)
        client["a" * 32].orders.insert_many([{"_id": 1, "name": "Zoë"}, {"_id": 2, "name": "空"}])
        client["a" * 32].orders.create_index([("name", 1)], unique=True)
        store.dump("a" * 32, tmp_path / "dump")
        store.drop("a" * 32)
        store.close()
        members = {"database.tar": (tmp_path / "dump").read_bytes()}
    archive = shelve(tmp_path, zipped(**members))
    assert types(archive, "--check", '{"count": "orders"} == 2', TO=ferretdb.url("back")).code == 0
    assert [each["name"] for each in client.back.orders.find().sort("_id")] == ["Zoë", "空"]
    assert client.back.orders.index_information()["name_1"]["unique"]
    client.back.orders.delete_one({"_id": 2})
    assert types(archive, TO=ferretdb.url("back")).code == 2
    assert types(archive, "--overwrite", TO=ferretdb.url("back")).code == 0
    assert client.back.orders.count_documents({}) == 2


@pytest.mark.parametrize("form", ["rdb", "commands"])
def test_a_redis_archive_comes_back(
    form: str, redis_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in redis_server.environment.items():
        monkeypatch.setenv(name, value)
    source, target = (redis.Redis.from_url(redis_server.url(number)) for number in ("40", "41"))
    for each in (source, target):
        each.flushdb()
    source.hset("order:1", "name", "Zoë")
    source.set("once", b"\x00\xff", px=10_000_000)
    if form == "rdb":
        for number in {*range(64)} - {40}:  # a snapshot is of one database
            redis.Redis.from_url(redis_server.url(str(number))).flushdb()
        login = ["-p", str(redis_server.port), "--user", redis_server.user]
        program("redis-cli", *login, "--rdb", tmp_path / "x.rdb", REDISCLI_AUTH=redis_server.password)
        members = {"x.rdb": (tmp_path / "x.rdb").read_bytes()}
    else:
        store = RedisServer(redis_server.url(), kept=False)
        store._dump(40, tmp_path / "dump")
        members = {"database.resp": (tmp_path / "dump").read_bytes()}
    archive = shelve(tmp_path, zipped(**members))
    assert types(archive, "--check", "hget order:1 name == Zoë", TO=redis_server.url("41")).code == 0
    assert (target.get("once"), target.dbsize()) == (b"\x00\xff", 2)
    assert 0 < target.pttl("once") <= 10_000_000
    assert types(archive, TO=redis_server.url("41")).code == 2
    assert types(archive, "--overwrite", TO=redis_server.url("41")).code == 0
    source.flushdb()
    target.flushdb()


TROUBLE: dict[str, tuple[Callable[[Path, bytes], Path], str]] = {
    "altered": (lambda at, dump: altered(shelve(at, zipped(x=dump))), "was changed: its SHA-256"),
    "cut": (lambda at, dump: shelve(at, zipped(x=dump)[:-30]), "is no readable zip"),
    "damaged": (lambda at, dump: shelve(at, damaged(zipped(x=dump))), "is damaged in its member x"),
    "missing": (lambda at, _: at / "none.zip", "does not exist"),
    "no dump": (lambda at, _: shelve(at, zipped(x=b"hello")), "no dump of a database"),
    "two dumps": (lambda at, dump: shelve(at, zipped(x=dump, y=dump)), "several dumps: x, y"),
    "of Redis": (
        lambda at, _: shelve(at, zipped(x=b"REDIS0011")),
        "a dump of Redis, and the connection is to PostgreSQL",
    ),
    "half a dump": (lambda at, dump: shelve(at, zipped(x=dump[: len(dump) // 2])), "PostgreSQL did not take the dump"),
    "sealed": (lambda at, dump: shelve(at, zipped(x=dump), sealed=True), "give its private key with --identity"),
}


def altered(file: Path) -> Path:
    file.write_bytes(file.read_bytes() + b"x")
    return file


def damaged(content: bytes) -> bytes:
    """A zip, one of whose members is altered in the middle."""
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("kind", TROUBLE)
def test_what_is_not_whole_leaves_the_database_empty(kind: str, server: Postgres, tmp_path: Path) -> None:
    filled(fresh(server, "source"))
    make, said = TROUBLE[kind]
    target = fresh(server, "target")
    ended = types(make(tmp_path, dumped(server, "source", "--format=custom")), TO=target)
    assert (ended.code in {1, 2}, said in ended.err) == (True, True), ended.err
    assert sql_at(target, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert server.password not in ended.err


def test_a_dry_run_says_what_is_missing(server: Postgres, tmp_path: Path) -> None:
    archive = shelve(tmp_path, zipped(), sealed=True)
    target = fresh(server, "target")
    shown = types(archive, "--dry-run", TO=target, PATH="/nowhere")
    assert shown.code == 1
    assert [line.split("  ")[0] for line in shown.out.splitlines()] == [
        "ok",
        "PROBLEM",
        "ok",
        "PROBLEM",
        "PROBLEM",
        "ok",
    ]
    assert "missing: give it with --identity" in shown.out
    key = tmp_path / "key.txt"
    key.write_text(str(IDENTITY))
    assert types(archive, "--dry-run", "--identity", key, TO=target).code == 0


def test_the_commands_of_the_page_open_an_archive(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "archive.md").read_text()
    commands = page.rpartition("```sh\n")[2].partition("```")[0]
    good = zipped(x=b"PGDMP and more")
    (tmp_path / "snapshot.zip").write_bytes(good)
    shown = program("/bin/bash", "-euc", f"cd {tmp_path}\n{commands}").decode()
    assert sha256(good).hexdigest() in shown
    assert "PGDMP" in shown
    (tmp_path / "snapshot.zip").write_bytes(damaged(zipped(x=bytes(range(256)) * 9)))
    with pytest.raises(subprocess.CalledProcessError):
        program("/bin/bash", "-euc", f"cd {tmp_path}\n{commands}")
