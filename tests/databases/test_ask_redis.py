"""Checks of a real Redis: one value each, nothing written, TLS by the connection string, no secret in an error."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.asking import Why, ask, asked, unreachable
from tests.support.tls_front import Certificates, tls_front

if TYPE_CHECKING:
    from tools.servers import Server

VALUES = {
    "GET name": "Zoë 'x'",
    "get nothing": None,
    "hget order:1 total": "12.5",
    "llen list": 2,
    "exists name list nothing": 2,
    "type list": "list",
    "object encoding order:1": "listpack",
    "hget order:1 'the name'": "Zoë",
    """eval_ro 'return redis.call("dbsize")' 0""": 4,
    "DBSIZE": 4,
}
NO_VALUES = {
    "lrange list 0 -1": "its result is a list with 2 elements, not one value",
    "get bytes": "its result is not text in UTF-8",
    "hget name x": "WRONGTYPE Operation against a key holding the wrong kind of value",
    "get": "wrong number of arguments for 'get' command",
    "nonsense": "unknown command nonsense",
    "get 'name": "a check of Redis is a command line, such as `HGET customer:1 name`",
    "": "a check of Redis is a command line, such as `HGET customer:1 name`",
}
WRITES = (
    *("set name x", "flushall", "sort list store other", "eval 'return 1' 0", "config set maxmemory 1", "script flush"),
    *(
        """eval_ro 'return redis.call("flushall")' 0""",
        "client kill type normal",
        "object freq",
        "debug sleep 1",
        "multi",
    ),
    *("monitor", "getdel name", "expire name 0", "spop list", "xgroup create name g $ mkstream", "object help"),
)


@pytest.fixture(scope="module")
def shop(redis_server: Server) -> str:
    with redis.Redis(port=redis_server.port, password=redis_server.password, db=5) as client:
        client.mset({"name": "Zoë 'x'", "bytes": b"\xff"})
        client.hset("order:1", mapping={"total": "12.5", "the name": "Zoë"})
        client.rpush("list", 1, 2)
    return redis_server.url("5")


def test_a_command_gives_one_value_or_says_why_not(shop: str) -> None:
    told = asked(shop, [*VALUES, *NO_VALUES])
    assert {command: told[command] for command in VALUES} == VALUES
    assert {command: told[command] for command in NO_VALUES} == NO_VALUES
    assert [type(told[command]) for command in NO_VALUES] == [Why] * len(NO_VALUES)


def test_no_command_writes_or_changes_the_server(shop: str) -> None:
    told = asked(shop, [*WRITES, "DBSIZE", "GET name"])
    assert [command for command in WRITES if not isinstance(told[command], Why)] == []
    assert told["DBSIZE"] == 4
    assert told["GET name"] == "Zoë 'x'"


def test_a_server_that_does_not_say_which_commands_read_gets_none(shop: str, redis_server: Server) -> None:
    with redis.Redis(port=redis_server.port, password=redis_server.password) as client:
        client.execute_command("ACL", "SETUSER", "narrow", "on", ">hush-hush", "~*", "+@all", "-command")
    told = asked(shop.replace(f"default:{redis_server.password}", "narrow:hush-hush"), ["dbsize", "flushall"])
    assert ["no permissions to run the 'command" in str(why) for why in told.values()] == [True, True]


def test_a_server_that_cannot_be_reached_is_explained_without_a_secret(redis_server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = closed.getsockname()[1]
    unreachable(
        {
            f"redis://someone:hush-hush@127.0.0.1:{redis_server.port}/0": "invalid username-password pair",
            redis_server.url("99"): "DB index is out of range",
            f"redis://:hush-hush@127.0.0.1:{nowhere}/0": "connection refused",
            "redis://someone:hush-hush@no-such-host.invalid/0": "name or service not known",
        },
        ["hush-hush", redis_server.password, "someone", "127.0.0.1", "no-such-host"],
    )


def test_tls_is_used_as_the_connection_string_says(shop: str, redis_server: Server, tls: Certificates) -> None:
    with tls_front(tls, redis_server.port) as port, tls_front(tls, redis_server.port, client=True) as strict:
        secure = shop.replace(f"redis://default:{redis_server.password}@127.0.0.1", "rediss://{login}localhost")
        login = f"default:{redis_server.password}@"
        open_to_all = secure.replace(f":{redis_server.port}/", f":{port}/").format(login=login)
        certified = secure.replace(f":{redis_server.port}/", f":{strict}/").format(login=login)
        trusting = f"?ssl_ca_certs={tls.authority}"
        assert ask(f"{open_to_all}{trusting}", "DBSIZE") == 4
        assert ask(f"{open_to_all}?ssl_cert_reqs=none", "DBSIZE") == 4
        assert ask(f"{certified}{trusting}&ssl_certfile={tls.client}&ssl_keyfile={tls.client}", "DBSIZE") == 4
        unreachable(
            {
                f"{open_to_all}?ssl_ca_certs={tls.other_authority}": "certificate verify failed",
                open_to_all: "certificate verify failed",
                f"{open_to_all.replace('localhost', '127.0.0.1')}{trusting}": "IP address mismatch",
                f"{certified}{trusting}": "ssl|reset|closed",
            },
            [redis_server.password],
        )
