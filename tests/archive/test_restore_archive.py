"""Archives come back: `restore-archive` puts real dumps of four engines into real databases, without the service."""

import base64
import io
import os
import re
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import bson
import pymongo
import pymysql
import pytest
import redis

from pulumi_snapshots.cli.run import finish, parse
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.databases.database import Database, load
from pulumi_snapshots.databases.dumps import NotLoaded, dump_in
from pulumi_snapshots.databases.kinds import KINDS, kind_of
from tests.cli.typed import Ended
from tests.support.failing import fails_with
from tests.support.real_data import content_of, filled, fresh, sql_at
from tests.support.shelved import IDENTITY, dumped, manifest_of, program, shelve, zipped
from tools.servers import Server, debian, unpacked
from tools.servers import Server as Postgres

MONGODUMP = base64.b64decode(
    "H4sIAAAAAAAA/7RTvY7TTBQ98feh3RVNtAUdErpCiMKJYsdxQoSgiECiYSUaJNDKsj1jdkQys4zHYUNwARWvgHgBEM3WlFDzApQU8BhB45CfFasA"
    "KzGN7XvOPT73aO7o6+sXzwHUUyXTQmsuTZSq4ZCnRiiZ438AzpjrXChZfbSaHpyc6zHX0aK+BaDbbDUDH45RargELgJICjE0jafCHKjCNH4ijdxo"
    "IR8B2zXAYQnOAcgP1CGc1d+xA0AxdknGIw5nxE3MYhPjGMCUhGT8iOfUfzilMfWndFkWo4TrO9JQn3wqXXrMJxaIBPsF96gsXbLC1LeEiMp9l4rC"
    "UqnNWNbqtIPAC8Kgl2Rxx+M88VmvG8d+EKbk0srl3bnGwie5ZCaHtrKiUIl6Lp5x2ONYGOcBrE2K/U052HyVZlznayls1f5JCu7vdObsTUL2EXnk"
    "UiHFk4JT3+iCr8XrZ2k7uOZ3wp7fC3g3jVteFnqBl3hZ2EnC7NR4q/HPGO5sNptdx58FvH1r7zawO7g3wPJctQsSCYaaFaluo5V5oD69x66s3k/y"
    "nCXPrsz3dx+wExvg7ZfxGyvx135qlR9ncPz5v5uvXlb9Nzb1n1ic0yaq2+6F0yOcRXHuqbf38cLk2/0rlcKPAAAA///ZPXvjTQQAAA=="
)
"""What `mongodump --db shop --archive --gzip` (of October 2026) has written: two orders, an index, an `odd name`."""
MYSQLDUMP = """\
/*M!999999\\- enable the sandbox mode */
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: 127.0.0.1    Database: source
-- ------------------------------------------------------
{more}/*!40101 SET NAMES utf8mb4 */;
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
DROP TABLE IF EXISTS `orders`;
CREATE TABLE `orders` (
  `id` int(11) NOT NULL,
  `name` varchar(9) DEFAULT NULL,
  `data` blob DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
LOCK TABLES `orders` WRITE;
INSERT INTO `orders` VALUES
(1,'Zoë',0x000A275CFF),
(2,'空',NULL);
UNLOCK TABLES;
-- Dump completed on 2026-11-29  3:30:21
"""
"""What mariadb-dump writes, and with `--databases` what is in the place of `more`."""
NAMED = "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `source`;\n\nUSE `source`;\n"
METADATA = (
    '{"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"},{"v":{"$numberInt":"2"},"key":{"name":'
    '{"$numberInt":"1"}},"name":"name_1","unique":true}],"uuid":"2fc3","collectionName":"orders","type":"collection"}'
)
"""What mongodump writes of a collection in a folder."""
ROWS = "select count(*) from orders"


def types(*arguments: str | Path, **environment: str) -> Ended:
    """Type the command on a machine with these variables."""
    out, err = StringIO(), StringIO()
    invocation = Invocation({**os.environ, **environment}, out, err)
    command = parse(["restore-archive", *map(str, arguments), "--connection-env", "TO"], invocation)
    assert command is not None
    code = anyio.run(finish, invocation, command)
    return Ended(code, out.getvalue(), err.getvalue())


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
    assert manifest_of(archive).drill is not None, (
        "the last archive that has come back is never removed"
    )
    # What is there already is not written over, unless that is wanted.
    full = types(*typed, TO=target)
    assert (full.code, "has 5 tables: give an empty one" in full.err) == (2, True), full.err
    if form != "sql":
        sql_at(target, 'DELETE FROM "Bestellung für 日本"', "SELECT lo_unlink(424242)")
        assert types(*typed, "--overwrite", TO=target).code == 0
        assert content_of(target) == content
    assert not list(Path(tempfile.gettempdir()).glob("tmp*/toc.dat"))


@pytest.fixture
def programs(redis_server: Server, mariadb: Server, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001  they are there
    """The programs of Redis and MariaDB on PATH, as a user has them."""
    root = debian(os.environ)
    monkeypatch.setenv("PATH", os.pathsep.join([str(root / "usr" / "bin"), os.environ["PATH"]]))
    monkeypatch.setenv("LD_LIBRARY_PATH", unpacked(root)["LD_LIBRARY_PATH"])


@pytest.mark.usefixtures("programs")
def test_a_mysql_archive_comes_back(mariadb: Server, tmp_path: Path) -> None:
    login: dict[str, Any] = {
        "port": mariadb.port,
        "user": mariadb.user,
        "password": mariadb.password,
    }
    with (
        pymysql.connect(host="127.0.0.1", **login, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        for name in ("source", "back"):
            cursor.execute(f"drop database if exists {name}")
            cursor.execute(f"create database {name}")
        archive = shelve(tmp_path, zipped(**{"x.sql": MYSQLDUMP.format(more="").encode()}))
        ended = types(
            archive, "--check", f"{ROWS} == 2", "--json", TO=mariadb.url("back")
        ).done.json
        assert (ended["tables"], ended["checks"][0]["passed"]) == (1, True)
        cursor.execute("select name, data from back.orders order by id")
        assert cursor.fetchall() == (("Zoë", b"\x00\n'\\\xff"), ("空", None))
        wrong = types(archive, "--overwrite", "--check", f"{ROWS} == 3", TO=mariadb.url("back"))
        assert (wrong.code, "PROBLEM" in wrong.out) == (1, True)
        # A dump that names its own database does not reach that one.
        named = shelve(tmp_path, zipped(**{"x.sql": MYSQLDUMP.format(more=NAMED).encode()}))
        strayed = types(named, "--overwrite", TO=mariadb.url("back"))
        assert (strayed.code, "names a database of its own" in strayed.err) == (1, True), (
            strayed.err
        )
        assert not cursor.execute("show tables from source")
        cursor.execute("create view back.`of ``them` as select id from back.orders")
        cursor.execute("create table back.zz (id int)")  # more than a check may read
        anyio.run(Database(mariadb.url("back"), timeout=60.0).empty)
        archive = shelve(tmp_path, zipped(**{"x.sql": MYSQLDUMP.format(more="").encode()}))
        plain = types(
            archive,
            TO=mariadb.url("back") + "?ssl-mode=DISABLED&ssl-ca=/without/tls/nobody/reads/it",
        )
        assert plain.code == 0, plain.err


@pytest.mark.parametrize("form", ["archive", "folder", "tar"])
def test_a_mongodb_archive_comes_back(form: str, ferretdb: Server, tmp_path: Path) -> None:
    documents = bson.encode({"_id": 1, "name": "Zoë"}) + bson.encode({"_id": 2, "name": "空"})
    files = {
        "dump/shop/orders.bson": documents,
        "dump/shop/orders.metadata.json": METADATA.encode(),
    }
    members = {"database.archive": MONGODUMP} if form == "archive" else files
    if form == "tar":
        with tarfile.open(tmp_path / "tar", "w") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        members = {"database.tar": (tmp_path / "tar").read_bytes()}
    archive = shelve(tmp_path, zipped(**members))
    client: Any
    with pymongo.MongoClient(ferretdb.url()) as client:
        client.drop_database("back")
        assert (
            types(archive, "--check", '{"count": "orders"} == 2', TO=ferretdb.url("back")).code == 0
        )
        assert [each["name"] for each in client.back.orders.find().sort("_id")] == ["Zoë", "空"]
        assert client.back.orders.index_information()["name_1"]["unique"]
        client.back.orders.delete_one({"_id": 2})
        assert types(archive, TO=ferretdb.url("back")).code == 2
        assert types(archive, "--overwrite", TO=ferretdb.url("back")).code == 0
        assert client.back.orders.count_documents({}) == 2
        anyio.run(Database(ferretdb.url("back"), timeout=60.0).empty)
        assert types(archive, TO=ferretdb.url("back")).code == 0


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("form", ["rdb", "commands"])
def test_a_redis_archive_comes_back(form: str, redis_server: Server, tmp_path: Path) -> None:
    for number in range(64):  # a snapshot is of one database
        redis.Redis.from_url(redis_server.url(str(number))).flushdb()
    source, target = (redis.Redis.from_url(redis_server.url(number)) for number in ("40", "41"))
    if form == "rdb":
        source.hset("order:1", "name", "Zoë")
        source.set("once", b"\x00\xff", px=10_000_000)
        login = ["-p", str(redis_server.port), "--user", redis_server.user]
        program(
            "redis-cli", *login, "--rdb", tmp_path / "x.rdb", REDISCLI_AUTH=redis_server.password
        )
        dump = (tmp_path / "x.rdb").read_bytes()
    else:
        dump = (
            b"*4\r\n$4\r\nHSET\r\n$7\r\norder:1\r\n$4\r\nname\r\n$4\r\nZo\xc3\xab\r\n"
            b"*5\r\n$3\r\nSET\r\n$4\r\nonce\r\n$2\r\n\x00\xff\r\n$2\r\nPX\r\n$8\r\n10000000\r\n"
        )
    archive = shelve(tmp_path, zipped(x=dump))
    assert (
        types(archive, "--check", "hget order:1 name == Zoë", TO=redis_server.url("41")).code == 0
    )
    assert (target.get("once"), target.dbsize()) == (b"\x00\xff", 2)
    assert 0 < target.pttl("once") <= 10_000_000
    assert types(archive, TO=redis_server.url("41")).code == 2
    assert types(archive, "--overwrite", TO=redis_server.url("41")).code == 0
    anyio.run(Database(redis_server.url("41"), timeout=60.0).empty)
    assert types(archive, TO=redis_server.url("41")).code == 0
    target.flushdb()
    source.flushdb()


TROUBLE: dict[str, tuple[Callable[[Path, bytes], Path], str]] = {
    "altered": (lambda at, dump: altered(shelve(at, zipped(x=dump))), "was changed: its SHA-256"),
    "cut": (lambda at, dump: shelve(at, zipped(x=dump)[:-30]), "is no readable zip"),
    "damaged": (lambda at, dump: shelve(at, damaged(zipped(x=dump))), "explain broken-zip"),
    "missing": (lambda at, _: at / "none.zip", "does not exist"),
    "a folder": (lambda at, _: at, "Is a directory"),
    "no dump": (lambda at, _: shelve(at, zipped(x=b"hello")), "no dump of a database"),
    "two dumps": (lambda at, dump: shelve(at, zipped(x=dump, y=dump)), "several dumps: x, y"),
    "of Redis": (
        lambda at, _: shelve(at, zipped(x=b"REDIS0011")),
        "a dump of Redis, and the connection is to PostgreSQL",
    ),
    "half a dump": (
        lambda at, dump: shelve(at, zipped(x=dump[: len(dump) // 2])),
        "PostgreSQL did not take the dump",
    ),
    "sealed": (
        lambda at, dump: shelve(at, zipped(x=dump), sealed=True),
        "give its private key with --identity",
    ),
}


def altered(file: Path) -> Path:
    file.write_bytes(file.read_bytes() + b"x")
    return file


def damaged(content: bytes) -> bytes:
    """A zip, one of whose members is altered in the middle; one byte alone may unpack to the same zeros."""
    at = len(content) // 2
    return content[:at] + bytes(each ^ 255 for each in content[at : at + 16]) + content[at + 16 :]


@pytest.mark.parametrize("kind", TROUBLE)
def test_what_is_not_whole_leaves_the_database_empty(
    kind: str, server: Postgres, tmp_path: Path
) -> None:
    filled(fresh(server, "source"))
    make, said = TROUBLE[kind]
    target = fresh(server, "target")
    ended = types(make(tmp_path, dumped(server, "source", "--format=custom")), TO=target)
    assert (ended.code in {1, 2}, said in ended.err) == (True, True), ended.err
    if kind not in {"missing", "a folder", "sealed"}:
        assert re.search(r"Nothing was loaded\.|The database is as it was", ended.err), ended.err
    assert sql_at(target, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert server.password not in ended.err


@pytest.mark.parametrize(
    ("url", "name", "dump"),
    [
        ("postgresql://localhost/x", "pg_restore", b"PGDMP"),
        ("postgresql://localhost/x", "psql", b"-- PostgreSQL database dump\n"),
        ("mysql://localhost/x", "mysql", MYSQLDUMP.format(more="").encode()),
        ("redis://localhost/0", "redis-server", b"REDIS0011"),
        ("redis://localhost/0", "redis-cli", b"*1\r\n$4\r\nPING\r\n"),
    ],
    ids=["pg_restore", "psql", "mysql", "redis-server", "redis-cli"],
)
def test_no_program_that_loads_a_dump_gets_the_api_key(
    url: str, name: str, dump: bytes, tmp_path: Path
) -> None:
    loader = tmp_path / name
    loader.write_text(
        '#!/bin/sh\necho "it has <$SQUARECLOUD_API_KEY> and <$PGSSLROOTCERT>"\nexit 1\n'
    )
    loader.chmod(0o755)
    environment = {"PATH": str(tmp_path), "PGSSLROOTCERT": "a.pem", "SQUARECLOUD_API_KEY": "secret"}
    with (
        zipfile.ZipFile(io.BytesIO(zipped(x=dump))) as file,
        fails_with(NotLoaded, f"{name}: it has <> and <a.pem>"),
    ):
        anyio.run(partial(load, dump_in(file, kind_of(url)), url, environment, overwrite=False))


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path) -> None:
    with patch.dict(KINDS, mysql=replace(KINDS["mysql"], library="not_there")):
        ended = types(tmp_path / "a.zip", TO="mysql://u:p@h/d")
        dry = types(
            shelve(tmp_path, zipped(), sealed=True),
            "--dry-run",
            TO="mysql://u:p@h/d",
            PATH="/nowhere",
        )
    assert ended.code == 2
    assert "the connection in TO needs not_there, which is not installed: `pip install" in ended.err
    assert ("[drill-mysql]" in ended.err, "--help" in ended.err) == (True, False)
    assert_lacks(
        dry, "give it with --identity", "needs not_there, which is not installed", "not on PATH"
    )


def assert_lacks(dry: Ended, *missing: str) -> None:
    assert dry.code == 1
    for each in missing:
        assert each in dry.out, "a dry run says all that is missing"


def test_a_dry_run_says_what_is_missing(server: Postgres, tmp_path: Path) -> None:
    archive = shelve(tmp_path, zipped(), sealed=True)
    away = types(
        archive,
        "--dry-run",
        "--identity",
        "none.txt",
        TO="postgresql://u:p@127.0.0.1:1/d",
        PATH="/nowhere",
    )
    assert_lacks(away, "none.txt cannot be read", "cannot be reached: ", "not on PATH")
    target, key = fresh(server, "target"), tmp_path / "key.txt"
    shown = types(archive, "--dry-run", TO=target, PATH="/nowhere")
    assert_lacks(shown, "missing: give it with --identity")
    assert [line.split("  ")[0] for line in shown.out.splitlines()] == [
        "ok",
        "ok",
        "PROBLEM",
        "PROBLEM",
        "PROBLEM",
    ]
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
