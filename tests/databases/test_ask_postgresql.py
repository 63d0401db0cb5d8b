"""Checks of a real PostgreSQL: one value each, nothing written, TLS by the connection string, no secret in an error."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.asking import Why, ask, asked, unreachable
from tests.support.real_data import fresh, sql_at
from tests.support.tls_front import certificates, tls_front

if TYPE_CHECKING:
    from pathlib import Path

    from tools.postgres import Server

VALUES = {
    "select count(*) from orders": 2,
    "select max(total) from orders": 12.5,
    "select sum(n) from orders": 3,
    "select name from orders where n = 1": "Zoë 100 %s",
    "select true": True,
    "select null": None,
    "select max(at) from orders": "2026-01-01T11:00:00Z",
    "select max(at)::timestamp from orders": "2026-01-01T11:00:00",
    "select date '2026-02-03'": "2026-02-03",
    "select interval '1 h 30 s'": 3630.0,
    "select 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "select 'text'::bytea": "text",
    "show server_encoding": "UTF8",
}
NO_VALUES = {
    "select 1 where false": "its result has no row",
    "select n from orders": "its result has more than one row",
    "select n, total from orders where n = 1": "its result has 2 columns, not one",
    "select generate_series(1, 100000000)": "its result has more than one row",
    "select array[1, 2]": "its result is a list with 2 elements, not one value",
    "select '{}'::jsonb": "its result is a document with 0 fields, not one value",
    r"select '\xff'::bytea": "its result is not text in UTF-8",
    "select 'NaN'::float": "its result is not a finite number",
    "select point '(1,2)' from nowhere": 'relation "nowhere" does not exist',
    "select": "its result has 0 columns, not one",
    "": "it gives no rows",
    "select 1; select 2": "cannot insert multiple commands into a prepared statement",
    "copy orders to stdout": "it gives no rows",
    "select 'infinity'::timestamptz": "timestamp too large (after year 10K): 'infinity'",
}
WRITES = (
    "insert into orders (n) values (9) returning n",
    "with gone as (delete from orders returning n) select count(*) from gone",
    "create table another (n int)",
    "select nextval('numbers')",
    "select set_config('transaction_read_only', 'off', false)",
    "set transaction read write",
    "set default_transaction_read_only = off",
    "commit",
    "do $$ begin commit; delete from orders; end $$",
    "call tidy()",
    "select 1; commit; delete from orders",
    "commit; begin read write; delete from orders",
    "truncate orders",
    "copy orders from stdin",
    "lock table orders in access exclusive mode",
)


@pytest.fixture
def shop(server: Server) -> str:
    sql_at(server.url(), "drop database if exists drill_shop with (force)")  # with commands that run on
    url = fresh(server, "drill_shop")
    sql_at(
        url,
        "create table orders (n int, total numeric(12, 4), name text, at timestamptz)",
        "insert into orders values (1, 12.5, 'Zoë 100 %s', '2026-01-01 12:00+01'), (2, 3, '', '2025-01-01 12:00+01')",
        "create sequence numbers",
        "alter database drill_shop set timezone to 'Asia/Tokyo'",
        "create procedure tidy() language plpgsql as $$ begin commit; delete from orders; end $$",
    )
    return url


def test_a_command_gives_one_value_or_says_why_not(shop: str) -> None:
    told = asked(shop, [*VALUES, *NO_VALUES])
    assert {command: told[command] for command in VALUES} == VALUES
    assert {command: told[command] for command in NO_VALUES} == NO_VALUES
    assert [type(told[command]) for command in VALUES] == [type(value) for value in VALUES.values()]
    assert [type(told[command]) for command in NO_VALUES] == [Why] * len(NO_VALUES)


def test_no_command_writes_whatever_came_before_it(shop: str) -> None:
    told = asked(shop, [*WRITES, "select count(*) from orders"])
    assert [command for command in WRITES if not isinstance(told[command], Why)] == []
    assert told["select count(*) from orders"] == 2
    assert sql_at(shop, "select count(*) from orders", "select nextval('numbers')") == [(1,)]
    assert sql_at(shop, "select to_regclass('another') is null") == [(True,)]


def test_a_server_that_cannot_be_reached_is_explained_without_a_secret(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = closed.getsockname()[1]
    here = f"127.0.0.1:{server.port}"
    unreachable(
        {
            f"postgresql://someone:hush-hush@{here}/postgres": "password authentication failed for user",
            f"postgresql://postgres:{server.password}@{here}/nothing": 'database "nothing" does not exist',
            f"postgresql://someone:hush-hush@127.0.0.1:{nowhere}/shop": "connection refused",
            "postgresql://someone:hush-hush@no-such-host.invalid/shop": "failed to resolve host",
            f"host=127.0.0.1 port={nowhere} user=someone password='hush-hush'": "connection refused",
            "host=127.0.0.1 user=someone password=hush-hush nonsense=1": "a form that PostgreSQL does not know",
            "postgresql://someone:hush-hush@127.0.0.1/shop?nonsense=1": "a form that PostgreSQL does not know",
            "host=127.0.0.1 password='hush-hush": "a form that PostgreSQL does not know",
        },
        ["hush-hush", server.password, "someone", "127.0.0.1", "no-such-host"],
    )


def test_tls_is_used_as_the_connection_string_says(shop: str, server: Server, tmp_path: Path) -> None:
    made = certificates(tmp_path)
    with tls_front(made, server.port) as port, tls_front(made, server.port, client=True) as strict:
        secure = shop.replace(f"127.0.0.1:{server.port}", f"localhost:{port}")
        stricter = shop.replace(f"127.0.0.1:{server.port}", f"localhost:{strict}")
        trusting = f"?sslmode=verify-full&sslrootcert={made.authority}"
        assert ask(f"{secure}{trusting}", "select 1") == 1
        assert ask(f"{stricter}{trusting}&sslcert={made.client}&sslkey={made.client}", "select 1") == 1
        unreachable(
            {
                f"{secure}?sslmode=verify-full&sslrootcert={made.other_authority}": "certificate verify failed",
                f"{secure.replace('localhost', '127.0.0.1')}{trusting}": "does not match host name",
                f"{secure}?sslmode=verify-ca&sslrootcert={tmp_path}/none.pem": "none.pem",
                f"{stricter}{trusting}&sslcert={tmp_path}/none.pem&sslkey={tmp_path}/none.pem": "ssl",
                f"{shop}?sslmode=require": "server does not support SSL",
            },
            [server.password],
        )
