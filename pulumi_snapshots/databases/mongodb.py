"""MongoDB, by PyMongo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import IO, Any
from urllib.parse import unquote_plus

import bson
import pymongo
from bson import json_util
from bson.raw_bson import RawBSONDocument
from pymongo.errors import ConnectionFailure, NetworkTimeout, OperationFailure, PyMongoError

from pulumi_snapshots.clock import in_utc
from pulumi_snapshots.databases.answers import Lost, Refused, Scalar, only, said, scalar
from pulumi_snapshots.databases.dumps import Dump, NotLoaded

COMMANDS = ("aggregate", "count", "distinct", "find")
"""Commands that are sent; each only reads."""
WRITING = frozenset({"$out", "$merge"})
"""Stages of `aggregate` that write."""
SELECTING = 20_000
"""Milliseconds in which the library tries to connect again and again, also with a certificate that no server will take."""
SERVERS_OWN = frozenset({"admin", "config", "local"})
"""Databases of the server itself, which a dump of all of them has too."""
BATCH = 500
"""Documents that are inserted at once."""
FORM = '{"count": "orders", "query": {"state": "paid"}}'


class MongoDB:
    """A connection that sends only commands of a closed set."""

    def __init__(self, dsn: str, seconds: float) -> None:
        milliseconds = int(seconds * 1000)
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            dsn,
            appname="pulumi-snapshots",
            serverSelectionTimeoutMS=min(milliseconds, SELECTING),
            connectTimeoutMS=milliseconds,
            socketTimeoutMS=milliseconds,
            tz_aware=True,
        )
        try:
            self._database = client.get_default_database()
            self._database.command("ping")
        except BaseException:
            client.close()
            raise

    @property
    def is_open(self) -> bool:
        """Always: it connects again by itself."""
        return True

    def ask(self, command: str) -> Scalar:
        """The only value of a command's answer."""
        document = _command(command)
        try:
            return _value(self._database.command(document, codec_options=self._database.codec_options))
        except (PyMongoError, OSError, bson.errors.BSONError) as error:
            if isinstance(error, NetworkTimeout):
                raise TimeoutError from None
            raise (Lost if isinstance(error, ConnectionFailure) else Refused)(said(error)) from None

    def holds(self) -> int:
        """How many collections there are."""
        return len(self._database.list_collection_names())

    def age(self) -> float | None:
        """By the time in the id of the server's process, which it says to everybody, or else by its status."""
        admin = self._database.client.admin
        try:
            hello = admin.command("hello")
            process, now = (hello.get("topologyVersion") or {}).get("processId"), hello.get("localTime")
            if isinstance(process, bson.ObjectId) and isinstance(now, datetime):
                return (in_utc(now) - process.generation_time).total_seconds()
            uptime = admin.command("serverStatus").get("uptime")
        except OperationFailure:
            return None  # this user may not ask for it
        return float(uptime) if isinstance(uptime, int | float) else None

    def close(self) -> None:
        """End the connections."""
        self._database.client.close()


def _command(text: str) -> dict[str, Any]:
    """A command that only reads, and asks for no more than it takes to see that there is too much.

    Raises:
        Refused: it is no command, or may write.
    """
    try:
        document = json_util.loads(text)
    except (ValueError, TypeError, bson.errors.BSONError):
        document = None
    if not isinstance(document, dict) or not document:
        raise Refused(f"a check of MongoDB is a command in JSON, such as {FORM}")
    name = next(iter(document))
    if name not in COMMANDS:
        raise Refused(f"a check of MongoDB is one of the commands {', '.join(COMMANDS)}, not {name}")
    if _writes(document):
        raise Refused(f"a check does not write: {' and '.join(sorted(WRITING))} are not allowed")
    if name == "find":
        return {**document, "limit": 1 if document.get("limit") == 1 else 2, "singleBatch": True}
    if name == "aggregate":
        pipeline = document.get("pipeline")
        if not isinstance(pipeline, list):
            raise Refused("the pipeline of aggregate is a list")
        return {**document, "pipeline": [*pipeline, {"$limit": 2}], "cursor": {}}
    return dict(document)


def _writes(value: object) -> bool:
    if isinstance(value, dict):
        return any(name in WRITING or _writes(each) for name, each in value.items())
    return isinstance(value, list) and any(map(_writes, value))


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


def empty(dsn: str) -> None:
    """Drop all collections but the server's own; raises an error of the library."""
    with pymongo.MongoClient[dict[str, Any]](dsn, appname="pulumi-snapshots") as client:
        database = client.get_default_database()
        for name in database.list_collection_names():
            if not name.startswith("system."):
                database.drop_collection(name)


# A dump -----------------------------------------------------------------------------------------------------------------


def load(dsn: str, dump: Dump, overwrite: bool) -> None:  # noqa: FBT001  threads have no keywords
    """Load what mongodump has written, by the library: mongorestore need not be there.

    Makes the collections, fills them, and indexes them, in the connection's database, whose name the dump need not have.

    Raises:
        NotLoaded: it is no dump of one database. Other errors are of the library.
    """
    parts = list(_described(dump))
    owners, described = {owner for owner, _, _ in parts}, {name: about for _, name, about in parts}
    if len(owners) > 1:
        raise NotLoaded(f"the dump holds several databases: {', '.join(sorted(owners))}")
    with pymongo.MongoClient[Any](dsn, appname="pulumi-snapshots", connect=False) as client:
        database = client.get_default_database()
        for name, about in described.items():
            if overwrite:
                database.drop_collection(name)
            database.create_collection(name, **about.get("options", {}))
        for name, documents in _documents(dump):
            if (owners and name not in described) or name.startswith("system."):
                raise NotLoaded(f"collection {name} is not described in the dump, or is one of the server's own")
            while batch := list(islice(documents, BATCH)):
                database[name].insert_many(batch)
        for name, about in described.items():
            for keys, options in _indexes(about):
                database[name].create_index(keys, **options)


def _described(dump: Dump) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Database, name, and options and indexes of each collection; those of the server's own databases are left out."""
    every: list[tuple[str, str, str]] = []
    if dump.form == "archive":
        with dump.file() as file:
            every += [(each["db"], each["collection"], each["metadata"]) for each in _prelude(file)]
    else:
        for path, file in dump.files():
            database, name, kind = _named(path)
            if kind == "metadata.json":
                every.append((database, name, file.read().decode()))
    for database, name, metadata in every:
        if database not in SERVERS_OWN:
            about = json_util.loads(metadata)
            yield database, about.get("collectionName", name), about


def _documents(dump: Dump) -> Iterator[tuple[str, Iterator[Any]]]:
    """The documents of each collection, as they are; an archive has them in several parts."""
    if dump.form != "archive":
        for path, file in dump.files():
            database, name, kind = _named(path)
            if kind == "bson" and database not in SERVERS_OWN:
                yield name, _each(file)
        return
    with dump.file() as file:
        for _ in _prelude(file):
            pass
        while (about := _next(file)) is not None:
            part, documents = bson.decode(about.raw), _each(file)
            if part["db"] not in SERVERS_OWN and not part.get("EOF"):
                yield part["collection"], documents
            for _ in documents:
                pass


def _prelude(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The descriptions of collections at the beginning of an archive."""
    file.read(4)  # what shows that it is one
    _next(file)
    for each in _each(file):
        yield bson.decode(each.raw)


def _each(file: IO[bytes]) -> Iterator[RawBSONDocument]:
    """The documents up to the next mark of an end."""
    return iter(lambda: _next(file), None)


def _next(file: IO[bytes]) -> RawBSONDocument | None:
    """The next document; None at the end of them."""
    length = file.read(4)
    if length in {b"", b"\xff\xff\xff\xff"}:
        return None
    content = length + file.read(max(0, int.from_bytes(length, "little") - 4))
    if len(content) != int.from_bytes(length, "little"):
        raise NotLoaded("the dump ends within a document")
    return RawBSONDocument(content)


def _named(path: str) -> tuple[str, str, str]:
    """Database, collection and kind of a file in mongodump's folder."""
    folder, _, file = path.rpartition("/")
    name, _, kind = file.removesuffix(".json").rpartition(".")
    return folder.rpartition("/")[2], unquote_plus(name), kind + ".json" * file.endswith(".json")


def _indexes(about: Mapping[str, Any]) -> Iterator[tuple[list[tuple[str, Any]], dict[str, Any]]]:
    """Keys and options of each index. Drivers want whole numbers for directions, and dumps may have others."""
    for one in about.get("indexes", ()):
        if one["name"] != "_id_":
            keys = [(key, int(way) if isinstance(way, int | float) else way) for key, way in one["key"].items()]
            yield keys, {each: value for each, value in one.items() if each not in {"v", "key", "ns"}}
