"""MongoDB, by PyMongo."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import bson
import pymongo
from bson import json_util
from pymongo.errors import ConnectionFailure, ExecutionTimeout, OperationFailure

from pulumi_snapshots.clock import in_utc
from pulumi_snapshots.databases.connection import (
    BlockingConnection,
    Refused,
    Scalar,
    Table,
    only,
    scalar,
)
from pulumi_snapshots.errors import DISTRIBUTION_NAME

COMMANDS = ("aggregate", "count", "distinct", "find")
"""The commands that are sent; each only reads."""
WRITING = frozenset({"$out", "$merge"})
"""Stages of `aggregate` that write."""
SELECTING = 20_000
"""Milliseconds in which the library tries to connect, also if no server takes the certificate."""
FORM = '{"count": "orders", "query": {"state": "paid"}}'


class MongoDB(BlockingConnection):
    """A connection that sends only commands of a closed set."""

    counted_up_to = 10_000_000

    def __init__(
        self,
        dsn: str,
        seconds: float,
    ) -> None:
        most = int(seconds * 1000)
        limits: dict[str, Any] = {
            "serverSelectionTimeoutMS": min(most, SELECTING),
            "connectTimeoutMS": most,
            "socketTimeoutMS": most,
        }
        client: pymongo.MongoClient[Any] = pymongo.MongoClient(
            dsn, appname=DISTRIBUTION_NAME, tz_aware=True, **limits
        )
        self.end = client.close
        self._database = client.get_default_database()
        self._most_documents = 0
        self.is_lost = lambda error: isinstance(error, ConnectionFailure)
        try:
            self._database.command("ping")
        except BaseException:
            client.close()
            raise

    def ask(self, command: str) -> Scalar:
        """Return the only value of a command's answer."""
        codecs = self._database.codec_options
        return _value(
            self._database.command(_read_command(command), codec_options=codecs)
        )

    def age(self) -> Scalar:
        """Tell the server's age by the id of its process, or else by its status.

        The id holds the time of the start. Every user may read the id; the status takes a right.
        """
        admin = self._database.client.admin
        hello = admin.command("hello")
        process = (hello.get("topologyVersion") or {}).get("processId")
        now = hello.get("localTime")
        if isinstance(process, bson.ObjectId) and isinstance(now, datetime):
            return (in_utc(now) - process.generation_time).total_seconds()
        return _scalar(admin.command("serverStatus").get("uptime"))

    def tables(self, until: float) -> list[Table]:  # noqa: ARG002  the list is short
        """List the collections and views of the connection's database."""
        return [
            self._table(listed["name"], listed.get("type"))
            for listed in self._database.list_collections(nameOnly=True)
            if not listed["name"].startswith("system.")
        ]

    def _table(self, name: str, kind: str | None) -> Table:
        is_view = kind == "view"
        documents = 0
        if not is_view:
            with suppress(OperationFailure):  # Counting says why.
                documents = int(self._database.command("count", name)["n"])
        # The metadata may count orphans of a shard.
        return Table(name, name, documents, is_view, documents)

    def count(self, table: Table, seconds: float) -> int:
        """Count the documents, of a sharded collection without orphans."""
        everything = [{"$group": {"_id": None, "n": {"$sum": 1}}}]
        batch = self._read(table, everything, {}, seconds)
        return int(batch[0]["n"]) if batch else 0

    def open_view(self, table: Table) -> object:
        """Begin to read the view, without a document."""
        return self._read(table, [], {"batchSize": 0}, SELECTING / 1000)

    def writes(self) -> object:
        """Return the largest number of documents so far, and the collections by their names.

        The largest number, since documents that expire are no writes.
        """
        with suppress(OperationFailure):
            objects = int(self._database.command("dbStats")["objects"])
            self._most_documents = max(self._most_documents, objects)
        return self._most_documents, {
            listed["name"]: listed.get("info", {}).get("uuid")
            for listed in self._database.list_collections()
        }

    def _read(
        self, table: Table, pipeline: list[Any], cursor: dict[str, int], seconds: float
    ) -> list[Any]:
        """Return the first batch of an aggregation; `TimeoutError` if its time is over."""
        try:
            answer = self._database.command(
                "aggregate",
                table.source,
                pipeline=pipeline,
                cursor=cursor,
                maxTimeMS=max(1, int(seconds * 1000)),
            )
        except ExecutionTimeout as error:
            raise TimeoutError from error
        batch: list[Any] = answer["cursor"]["firstBatch"]
        return batch


def _read_command(text: str) -> dict[str, Any]:
    """Read a command, and limit its answer to two values, which show that there are too many.

    Raises:
        Refused: It is no command in JSON, or not one that only reads.
    """
    document = _document(text)
    name = next(iter(document))
    if name not in COMMANDS:
        allowed = ", ".join(COMMANDS)
        raise Refused(
            f"a check of MongoDB is one of the commands {allowed}, not {name}"
        )
    written = json_util.dumps(document)
    if any(f'"{stage}": ' in written for stage in WRITING):
        stages = " and ".join(sorted(WRITING))
        raise Refused(f"a check does not write: {stages} are not allowed")
    if name == "find":
        most = 1 if document.get("limit") == 1 else 2
        return {**document, "limit": most, "singleBatch": True}
    if name == "aggregate":
        pipeline = document.get("pipeline")
        if not isinstance(pipeline, list):
            raise Refused("the pipeline of aggregate is a list")
        return {**document, "pipeline": [*pipeline, {"$limit": 2}], "cursor": {}}
    return document


def _document(text: str) -> dict[str, Any]:
    """Read an object in MongoDB's JSON that is not empty; raises `Refused` otherwise."""
    try:
        document = json_util.loads(text)
    except (ValueError, TypeError, bson.errors.BSONError):
        document = None
    if not isinstance(document, dict) or not document:
        raise Refused(f"a check of MongoDB is a command in JSON, such as {FORM}")
    return dict(document)


def _value(answer: Mapping[str, Any]) -> Scalar:
    """Return the only value of an answer: of the only document, of `distinct`, or a count."""
    if "cursor" in answer:
        document = only(answer["cursor"]["firstBatch"], "document")
        fields = [name for name in document if name != "_id"] or list(document)
        return _scalar(document[only(fields, "field beside _id")])
    if "values" in answer:
        return _scalar(only(answer["values"], "value"))
    return _scalar(answer["n"])


def _scalar(value: object) -> Scalar:
    """Convert a value of MongoDB; see `scalar`."""
    if isinstance(value, bson.ObjectId):
        return str(value)
    if isinstance(value, bson.Decimal128):
        return scalar(value.to_decimal())
    return scalar(value)
