"""MongoDB, by PyMongo."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import bson
import pymongo
from bson import json_util
from pymongo.errors import ConnectionFailure

from pulumi_snapshots.clock import in_utc
from pulumi_snapshots.databases.kinds import Refused, Scalar, Session, only, scalar

COMMANDS = ("aggregate", "count", "distinct", "find")  # those that are sent; each only reads
WRITING = frozenset({"$out", "$merge"})  # stages of `aggregate` that write
# Milliseconds in which the library tries to connect again and again, also with a certificate that no server will take.
SELECTING = 20_000
FORM = '{"count": "orders", "query": {"state": "paid"}}'


class MongoDB(Session):
    """A connection that sends only commands of a closed set."""

    def __init__(self, dsn: str, seconds: float) -> None:
        most = int(seconds * 1000)
        limits = {
            "serverSelectionTimeoutMS": min(most, SELECTING),
            "connectTimeoutMS": most,
            "socketTimeoutMS": most,
        }
        client = _client(dsn, tz_aware=True, **limits)
        self.end, self._database = client.close, client.get_default_database()
        self.is_lost = lambda error: isinstance(error, ConnectionFailure)
        try:
            self._database.command("ping")
        except BaseException:
            client.close()
            raise

    def ask(self, command: str) -> Scalar:
        """The only value of a command's answer."""
        return _value(
            self._database.command(_command(command), codec_options=self._database.codec_options)
        )

    def age(self) -> Scalar:
        """By the time in the id of the server's process, which it says to everybody, or else by its status."""
        admin = self._database.client.admin
        hello = admin.command("hello")
        process, now = (hello.get("topologyVersion") or {}).get("processId"), hello.get("localTime")
        if isinstance(process, bson.ObjectId) and isinstance(now, datetime):
            return (in_utc(now) - process.generation_time).total_seconds()
        return _scalar(admin.command("serverStatus").get("uptime"))


def _client(dsn: str, **options: Any) -> pymongo.MongoClient[Any]:
    return pymongo.MongoClient(dsn, appname="pulumi-snapshots", **options)


def _command(text: str) -> dict[str, Any]:
    """A command that only reads, and no more than it takes to see that there is too much; raises `Refused` otherwise."""
    try:
        document = json_util.loads(text)
    except (ValueError, TypeError, bson.errors.BSONError):
        document = None
    if not isinstance(document, dict) or not document:
        raise Refused(f"a check of MongoDB is a command in JSON, such as {FORM}")
    name = next(iter(document))
    if name not in COMMANDS:
        raise Refused(
            f"a check of MongoDB is one of the commands {', '.join(COMMANDS)}, not {name}"
        )
    written = json_util.dumps(document)
    if any(f'"{stage}": ' in written for stage in WRITING):
        raise Refused(f"a check does not write: {' and '.join(sorted(WRITING))} are not allowed")
    if name == "find":
        return {**document, "limit": 1 if document.get("limit") == 1 else 2, "singleBatch": True}
    if name == "aggregate":
        pipeline = document.get("pipeline")
        if not isinstance(pipeline, list):
            raise Refused("the pipeline of aggregate is a list")
        return {**document, "pipeline": [*pipeline, {"$limit": 2}], "cursor": {}}
    return dict(document)


def _value(answer: Mapping[str, Any]) -> Scalar:
    if "cursor" in answer:
        document = only(answer["cursor"]["firstBatch"], "document")
        fields = [name for name in document if name != "_id"] or list(document)
        return _scalar(document[only(fields, "field beside _id")])
    if "values" in answer:
        return _scalar(only(answer["values"], "value"))
    return _scalar(answer["n"])


def _scalar(value: object) -> Scalar:
    if isinstance(value, bson.ObjectId):
        return str(value)
    return scalar(value.to_decimal() if isinstance(value, bson.Decimal128) else value)
