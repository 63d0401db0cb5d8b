"""Checks over MongoDB's protocol: one value each, nothing written, TLS by the connection string, no secret in an error.

The server is FerretDB, since MongoDB's own is in no package registry.
"""

from __future__ import annotations

import datetime as dt
import socket
from typing import TYPE_CHECKING, Any

import bson
import pymongo
import pytest

from tests.support.asking import Why, ask, asked, unreachable
from tests.support.tls_front import Certificates, tls_front

if TYPE_CHECKING:
    from tools.servers import Server

ORDERS: list[dict[str, Any]] = [
    {
        "_id": bson.ObjectId("6b08cd8fa52176063fee7df3"),
        "n": 1,
        "total": 12.5,
        "name": "Zoë",
        "at": dt.datetime(2026, 1, 1, 11, tzinfo=dt.UTC),
        "many": bson.Int64(2**40),
        "tags": ["a", "b"],
        "paid": True,
        "photo": b"\xff",
    },
    {"n": 2, "total": 3, "name": ""},
]


LATE = "|no servers found yet"
"""What the error says if the machine was too busy to try within the time-out."""


def first(field: str) -> str:
    """The command that finds one field of the first order."""
    return f'{{"find": "orders", "filter": {{"n": 1}}, "projection": {{"{field}": 1}}}}'


VALUES = {
    '{"count": "orders"}': 2,
    '{"count": "orders", "query": {"total": {"$gt": 5}}}': 1,
    '{"count": "nowhere"}': 0,
    '{"aggregate": "orders", "pipeline": [{"$group": {"_id": null, "total": {"$sum": "$total"}}}]}': 15.5,
    '{"distinct": "orders", "key": "name", "query": {"n": 1}}': "Zoë",
    '{"find": "orders", "sort": {"n": -1}, "limit": 1, "projection": {"n": 1}}': 2,
    first("name"): "Zoë",
    first("at"): "2026-01-01T11:00:00Z",
    first("many"): 2**40,
    first("paid"): True,
    first("_id"): "6b08cd8fa52176063fee7df3",
}
NO_VALUES = {
    '{"find": "orders"}': "its result has more than one document",
    '{"find": "orders", "filter": {"n": 9}}': "its result has no document",
    '{"find": "orders", "filter": {"n": 1}}': "its result has more than one field beside _id",
    first("tags"): "its result is a list with 2 elements, not one value",
    first("photo"): "its result is not text in UTF-8",
    '{"distinct": "orders", "key": "n"}': "its result has more than one value",
    '{"aggregate": "orders", "pipeline": []}': "its result has more than one document",
    '{"aggregate": "orders", "pipeline": {}}': "the pipeline of aggregate is a list",
    '{"count": "orders", "query": {"$nope": 1}}': "unknown top level operator: $nope",
    "select 1": 'a check of MongoDB is a command in JSON, such as {"count": ',
    "[]": 'a check of MongoDB is a command in JSON, such as {"count": ',
    "{}": 'a check of MongoDB is a command in JSON, such as {"count": ',
}
WRITES = (
    '{"insert": "orders", "documents": [{"n": 3}]}',
    '{"delete": "orders", "deletes": [{"q": {}, "limit": 0}]}',
    '{"drop": "orders"}',
    '{"dropDatabase": 1}',
    '{"findAndModify": "orders", "query": {}, "remove": true}',
    '{"aggregate": "orders", "pipeline": [{"$match": {"n": 1}}, {"$out": "other"}]}',
    '{"aggregate": "orders", "pipeline": [{"$facet": {"a": [{"$merge": {"into": "other"}}]}}]}',
)


@pytest.fixture(scope="module")
def shop(ferretdb: Server) -> str:
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(ferretdb.url())
    with client:
        client["drill_shop"]["orders"].insert_many(ORDERS)
    return ferretdb.url("drill_shop")


def test_a_command_gives_one_value_or_says_why_not(shop: str) -> None:
    told = asked(shop, [*VALUES, *NO_VALUES])
    assert {command: told[command] for command in VALUES} == VALUES
    for command, why in NO_VALUES.items():
        assert isinstance(told[command], Why)
        assert why in str(told[command])


def test_no_command_writes(shop: str) -> None:
    told = asked(shop, [*WRITES, '{"count": "orders"}', '{"count": "other"}'])
    for command in WRITES:
        why = told[command]
        assert isinstance(why, Why)
        assert "a check does not write" in why or "one of the commands aggregate, count, distinct, find, not " in why
    assert told['{"count": "orders"}'] == 2
    assert told['{"count": "other"}'] == 0


def test_a_server_that_cannot_be_reached_is_explained_without_a_secret(ferretdb: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = closed.getsockname()[1]
    unreachable(
        {
            f"mongodb://someone:hush-hush@127.0.0.1:{nowhere}/shop": f"connection refused{LATE}",
            "mongodb://someone:hush-hush@no-such-host.invalid/shop": f"name or service not known{LATE}",
            f"mongodb://someone:hush-hush@127.0.0.1:{ferretdb.port}/shop": "unsupported authentication mechanism",
        },
        ["hush-hush", "someone", "127.0.0.1", "no-such-host"],
        seconds=2,
    )


def test_tls_is_used_as_the_connection_string_says(shop: str, ferretdb: Server, tls: Certificates) -> None:
    with tls_front(tls, ferretdb.port) as port, tls_front(tls, ferretdb.port, client=True) as strict:
        secure = shop.replace(f"127.0.0.1:{ferretdb.port}", f"localhost:{port}")
        certified = shop.replace(f"127.0.0.1:{ferretdb.port}", f"localhost:{strict}")
        trusting = f"?tls=true&tlsCAFile={tls.authority}"
        count = '{"count": "orders"}'
        assert ask(f"{secure}{trusting}", count) == 2
        assert ask(f"{certified}{trusting}&tlsCertificateKeyFile={tls.client}", count) == 2
        assert ask(f"{secure}?tls=true&tlsAllowInvalidCertificates=true", count) == 2
        unreachable(
            {
                f"{secure}?tls=true&tlsCAFile={tls.other_authority}": f"certificate verify failed{LATE}",
                f"{secure.replace('localhost', '127.0.0.1')}{trusting}": f"IP address mismatch{LATE}",
                f"{secure}?tls=true&tlsCAFile={tls.authority}.none": "file is not readable",
            },
            [],
            seconds=2,
        )
