"""MongoDB, by PyMongo."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import IO, Any
from urllib.parse import unquote_plus

import anyio.to_thread
import bson
import pymongo
from bson import json_util
from bson.raw_bson import RawBSONDocument
from pymongo.errors import ConnectionFailure

from pulumi_snapshots.clock import in_utc
from pulumi_snapshots.databases.dumps import Dump, Loading, NotLoaded
from pulumi_snapshots.databases.kinds import Refused, Scalar, Session, only, scalar

COMMANDS = ("aggregate", "count", "distinct", "find")  # those that are sent; each only reads
WRITING = frozenset({"$out", "$merge"})  # stages of `aggregate` that write
# Milliseconds in which the library tries to connect again and again, also with a certificate that no server will take.
SELECTING = 20_000
# databases of the server, which a dump of all of them has too
SERVERS_OWN = frozenset({"admin", "config", "local"})
BATCH = 500  # documents that are inserted at once
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

    def holds(self) -> int:
        """How many collections there are."""
        return len(self._database.list_collection_names())

    def age(self) -> Scalar:
        """By the time in the id of the server's process, which it says to everybody, or else by its status."""
        admin = self._database.client.admin
        hello = admin.command("hello")
        process, now = (hello.get("topologyVersion") or {}).get("processId"), hello.get("localTime")
        if isinstance(process, bson.ObjectId) and isinstance(now, datetime):
            return (in_utc(now) - process.generation_time).total_seconds()
        return _scalar(admin.command("serverStatus").get("uptime"))

    def empty(self) -> None:
        """Drop all collections but the server's own."""
        for name in self._database.list_collection_names():
            if not name.startswith("system."):
                self._database.drop_collection(name)

    @staticmethod
    async def load(loading: Loading) -> None:
        """Load it by the library: mongorestore need not be there."""
        await anyio.to_thread.run_sync(
            _load, loading.dsn, loading.dump, loading.overwrite, abandon_on_cancel=True
        )


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


def _load(dsn: str, dump: Dump, overwrite: bool) -> None:  # noqa: FBT001  threads have no keywords
    """Make the collections, fill them, and index them, in the connection's database, whose name the dump need not have."""
    described = _described(dump)
    with _client(dsn, connect=False) as client:
        target = client.get_default_database()
        for name, about in described.items():
            if overwrite:
                target.drop_collection(name)
            target.create_collection(name, **about.get("options", {}))
        for _, name, content in _pieces(dump):
            if isinstance(content, dict):
                continue
            if (described and name not in described) or name.startswith("system."):
                raise NotLoaded(
                    f"collection {name} is not described in the dump, or is one of the server's own"
                )
            while batch := list(islice(content, BATCH)):
                target[name].insert_many(batch)
        for name, about in described.items():
            given = [each for each in about.get("indexes", ()) if each["name"] != "_id_"]
            if indexes := [
                {of: each[of] for of in each if of not in {"v", "ns"}} for each in given
            ]:
                target.command("createIndexes", name, indexes=indexes)


def _described(dump: Dump) -> dict[str, dict[str, Any]]:
    """Options and indexes of each collection."""
    owners, described = set[str](), dict[str, dict[str, Any]]()
    for database, name, content in _pieces(dump):
        if isinstance(content, dict):
            owners.add(database)
            described[content.get("collectionName", name)] = content
        elif dump.form == "archive":  # which describes all before the first documents
            break
    if len(owners) > 1:
        raise NotLoaded(f"the dump holds several databases: {', '.join(sorted(owners))}")
    return described


def _pieces(dump: Dump) -> Iterator[tuple[str, str, dict[str, Any] | Iterator[Any]]]:
    """Database, collection, and its options and indexes or some of its documents; without the server's own databases."""
    if dump.form != "archive":
        for path, file in dump.files():
            folder, _, base = path.rpartition("/")
            database, name = (
                folder.rpartition("/")[2],
                base.removesuffix(".metadata.json").removesuffix(".bson"),
            )
            if name != base and database not in SERVERS_OWN:
                described = base.endswith(".json")
                yield (
                    database,
                    unquote_plus(name),
                    json_util.loads(file.read()) if described else _each(file),
                )
        return
    with dump.file() as file:
        file.read(4)  # what shows that it is one
        _next(file)
        for each in _each(file):
            about = bson.decode(each.raw)
            if about["db"] not in SERVERS_OWN:
                yield about["db"], about["collection"], json_util.loads(about["metadata"])
        while (head := _next(file)) is not None:
            part, documents = bson.decode(head.raw), _each(file)
            if part["db"] not in SERVERS_OWN and not part.get("EOF"):
                yield part["db"], part["collection"], documents
            for _ in documents:
                pass


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
