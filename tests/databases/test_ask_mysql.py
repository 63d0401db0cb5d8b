"""Checks of a real MariaDB: one value each, nothing written, TLS by the connection string, no secret in an error."""

from __future__ import annotations

import socket
import socketserver
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

import anyio
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pulumi_snapshots.databases.answers import DatabaseUnreachable
from pulumi_snapshots.databases.opening import open_database
from tests.support.asking import SECONDS, Why, ask, asked, unreachable
from tests.support.running import mysql_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.tls_front import Certificates
    from tools.servers import Server

VALUES = {
    "select count(*) from orders": 2,
    "SELECT SUM(total) FROM orders": 15.5,
    "select sum(n) from orders": 3,
    "(select name from orders where n = 1)": "Zoë 100 %s",
    "with best as (select max(total) as total from orders) select total from best": 12.5,
    "select max(at) from orders": "2026-01-01T12:00:00",
    "select null": None,
    "select @@session.time_zone": "+00:00",
    "select one()": 1,
    "select max(total) > 12 from orders": 1,  # its truth, which `equals=True` takes
    "show tables like 'orders'": "orders",
}
NO_VALUES = {
    "select 1 from orders where n = 9": "its result has no row",
    "select n from orders": "its result has more than one row",
    "select n, total from orders where n = 1": "its result has 2 columns, not one",
    "select x'ff'": "its result is not text in UTF-8",
    "select n from nowhere": "Table 'drill_shop.nowhere' doesn't exist",
    "": "a check of MySQL begins with SELECT, ",
}
WRITES = {
    "insert into orders (n) values (9)": "begins with SELECT",
    "call tidy()": "begins with SELECT",
    "set transaction read write": "begins with SELECT",
    "commit": "begins with SELECT",
    "/*! delete from orders */": "begins with SELECT",
    "select 1; delete from orders": "error in your SQL syntax",
    "select 1 into outfile '{file}'": "INTO OUTFILE",
    "select 1 into /* */ DUMPFILE '{file}'": "INTO DUMPFILE",
    "select cleared()": "Cannot execute statement in a READ ONLY transaction",
    "select nextval(numbers)": "Cannot execute statement in a READ ONLY transaction",
}


@pytest.fixture(scope="module")
def shop(mariadb: Server) -> str:
    mysql_at(
        mariadb,
        "create database drill_shop",
        "use drill_shop",
        "create table orders (n int, total decimal(12, 4), name text character set latin1, at datetime) engine = InnoDB",
        "insert into orders values (1, 12.5, 'Zoë 100 %s', '2026-01-01 12:00:00'), (2, 3, '', '2025-01-01 12:00:00')",
        "create procedure tidy() begin commit; start transaction read write; delete from orders; commit; end",
        "create function one() returns int deterministic return 1",
        "create function cleared() returns int begin delete from orders; return 1; end",
        "create sequence numbers",
        "create user certified@'127.0.0.1' identified by 'hush-hush' require x509",
        "grant select, execute on drill_shop.* to certified@'127.0.0.1'",
    )
    return mariadb.url("drill_shop")


def test_a_command_gives_one_value_or_says_why_not(shop: str) -> None:
    told = asked(shop, [*VALUES, *NO_VALUES])
    assert {command: told[command] for command in VALUES} == VALUES
    for command, why in NO_VALUES.items():
        assert isinstance(told[command], Why)
        assert why in str(told[command])


def test_no_command_writes_whatever_came_before_it(shop: str, mariadb: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    written = tmp_path / "written"
    told = asked(shop, [*(command.format(file=written) for command in WRITES), "select count(*) from orders"])
    for command, why in WRITES.items():
        value = told[command.format(file=written)]
        assert isinstance(value, Why), command
        assert why in value
    assert told["select count(*) from orders"] == 2
    assert mysql_at(mariadb, "select count(*) from orders", database="drill_shop") == ((2,),)
    assert not written.exists()


def test_a_server_that_cannot_be_reached_is_explained_without_a_secret(
    shop: str, mariadb: Server, tls: Certificates
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = closed.getsockname()[1]
    secure = shop.replace("127.0.0.1", "localhost")
    unreachable(
        {
            f"mysql://someone:hush-hush@127.0.0.1:{mariadb.port}/drill_shop": "access denied for user '…'@'…'",
            mariadb.url("nothing"): "unknown database 'nothing'",
            f"mysql://someone:hush-hush@127.0.0.1:{nowhere}/shop": "connection refused",
            "mysql://someone:hush-hush@no-such-host.invalid/shop": "name or service not known",
            f"{shop}?ssl-mode=ALWAYS": "ssl-mode is one of",
            f"{shop}?ssl-mode=VERIFY_IDENTITY&ssl-ca={tls.authority}": "IP address mismatch",
            f"{secure}?ssl_mode=verify_identity&ssl_ca={tls.other_authority}": "certificate verify failed",
            f"{secure}?ssl-ca={tls.other_authority}": "certificate verify failed",
            f"{shop}?ssl-ca={tls.authority}.none": "no such file",
        },
        ["hush-hush", mariadb.password, "someone", "127.0.0.1", "no-such-host"],
    )


def test_tls_is_used_as_the_connection_string_says(shop: str, mariadb: Server, tls: Certificates) -> None:
    cipher = "show status like 'Ssl_cipher'"
    secret = "select variable_value from information_schema.session_status where variable_name = 'Ssl_cipher'"
    by_name = shop.replace("127.0.0.1", "localhost")
    assert ask(f"{by_name}?ssl-mode=VERIFY_IDENTITY&ssl-ca={tls.authority}", secret)
    assert ask(f"{shop}?ssl-ca={tls.authority}", secret)
    assert ask(f"{shop}?ssl-mode=REQUIRED", secret)
    assert ask(shop, secret)
    assert ask(f"{shop}?ssl-mode=DISABLED", secret) == ""
    assert ask(shop, cipher) == "its result has 2 columns, not one"
    certified = f"mysql://certified:hush-hush@127.0.0.1:{mariadb.port}/drill_shop"
    unreachable({certified: "access denied"}, ["hush-hush", "certified"])
    assert ask(f"{certified}?ssl-ca={tls.authority}&ssl-cert={tls.client}&ssl-key={tls.client}", "select one()") == 1


@contextmanager
def mysql_8(password: str) -> Iterator[int]:
    """The login of MySQL 8 without TLS, which sends a key for the password; yields the port."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    salt, ok = bytes(range(1, 21)), b"\0\0\0\2\0\0\0"
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    hello = b"\x0a8.4.0\0" + b"\1\0\0\0" + salt[:8] + b"\0\x08\x82\x2d\2\0\x08\0\x15" + bytes(10)

    class Login(socketserver.StreamRequestHandler):
        def say(self, number: int, content: bytes) -> None:
            self.wfile.write(len(content).to_bytes(3, "little") + bytes([number]) + content)

        def heard(self) -> bytes:
            head = self.rfile.read(4)
            return self.rfile.read(int.from_bytes(head[:3], "little"))

        def handle(self) -> None:
            self.say(0, hello + salt[8:] + b"\0caching_sha2_password\0")
            self.heard()
            self.say(2, b"\1\4")  # the whole password is needed
            assert self.heard() == b"\2", "the client asks for the key"
            self.say(4, b"\1" + public)
            hidden = key.decrypt(self.heard(), padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))  # noqa: S303
            given = bytes(each ^ salt[number % len(salt)] for number, each in enumerate(hidden))
            self.say(6, ok if given == f"{password}\0".encode() else b"\xff\x15\x04#28000Access denied")
            while (command := self.heard())[:1] == b"\3":
                self.say(1, ok)
            assert command in {b"", b"\1"}

    with socketserver.TCPServer(("127.0.0.1", 0), Login) as server:
        Thread(target=server.handle_request, daemon=True).start()
        yield server.server_address[1]


def test_the_usual_login_of_mysql_8_needs_no_tls() -> None:
    async def opens(password: str, given: str) -> None:
        with mysql_8(password) as port:
            async with open_database(f"mysql://app:{given}@127.0.0.1:{port}/shop", timeout=SECONDS):
                pass

    anyio.run(opens, "right", "right")
    with pytest.raises(DatabaseUnreachable, match="Access denied") as failed:
        anyio.run(opens, "right", "wrong")
    assert failed.value.lasting
