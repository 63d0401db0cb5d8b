"""A server that speaks MongoDB's protocol, as the emulator uses it.

Each database of the emulator has its id as its name, and a document in a collection of marks. The emulator touches no other.
A dump is a tar file of what mongodump writes, made through the driver: the server needs no programs beside it.
"""

from __future__ import annotations

import io
import secrets
import tarfile
from typing import TYPE_CHECKING, Any

import bson
import pymongo
from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import PyMongoError

from squarecloud_emulator.data.servers.server import MARK, DataServer
from squarecloud_emulator.data.store import Rows, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["MongoServer"]

_CONNECT_MILLISECONDS = 10_000  # how long a connection may take
_RAW: Any = CodecOptions(document_class=RawBSONDocument)
_EXACT = json_util.CANONICAL_JSON_OPTIONS


class MongoServer(DataServer):
    """A server that was checked and can be used.

    Args:
        dsn: A URI, as MongoDB takes it.
        kept: Whether the databases outlive the emulator.

    Raises:
        ValueError: It is no DSN, or the server does not answer.
    """

    title = "MongoDB"
    member = "database.tar"
    longest_id = 63
    errors = PyMongoError

    def __init__(self, dsn: str, *, kept: bool) -> None:
        super().__init__(kept=kept)
        if not dsn.startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("not a MongoDB DSN: it is mongodb://HOST:PORT")
        try:
            self._client: Any = pymongo.MongoClient(dsn, serverSelectionTimeoutMS=_CONNECT_MILLISECONDS)
        except (PyMongoError, ValueError):
            # The library's message may quote the part with the password.
            raise ValueError("not a MongoDB DSN: it is mongodb://HOST:PORT") from None
        try:
            self._client.admin.command("ping")
        except PyMongoError as error:
            self._client.close()
            raise ValueError(f"cannot use MongoDB: {self._said(error)}") from None

    def create(self, database_id: str) -> None:
        """Note an id; MongoDB itself makes a database when it is first written to.

        Raises:
            ValueError: The id is too long or taken.
            StoreError: The server refuses.
        """
        self._check_length(database_id)
        with self._explained(f"cannot create database {database_id}"):
            if database_id in self._client.list_database_names():
                self._check_owner(database_id, self._mark_of(database_id))
            self._marks().replace_one({"_id": database_id}, {"mark": self._mark}, upsert=True)
            self._client.drop_database(database_id)

    def drop(self, database_id: str) -> None:
        """Drop a database."""
        with self._explained(f"cannot drop database {database_id}"):
            self._client.drop_database(database_id)
            self._marks().delete_one({"_id": database_id})

    def claim(self, database_id: str) -> None:
        """Take over a database that an earlier run has created.

        Raises:
            ValueError: It does not exist.
            StoreError: The server refuses.
        """
        with self._explained(f"cannot use database {database_id}"):
            if not self._mark_of(database_id).startswith(MARK):
                raise ValueError(f"the MongoDB server has no database {database_id} of the emulator's")

    def execute(self, database_id: str, statements: Sequence[str]) -> list[Rows]:
        """Run commands in JSON; the only row of each is the answer.

        Raises:
            StoreError: A command is wrong, or the server cannot be reached.
        """
        with self._explained("MongoDB refuses"):
            try:
                commands = [json_util.loads(statement) for statement in statements]
            except ValueError as error:
                raise StoreError(f"a command of MongoDB is JSON: {error}") from None
            answers = [self._client[database_id].command(command) for command in commands]
        return [[[json_util.loads(json_util.dumps(answer))]] for answer in answers]

    def dump(self, database_id: str, into: Path) -> None:
        """Write a database to a tar file: for each collection its documents, and its options and indexes.

        Raises:
            StoreError: It failed.
        """
        self._dump(database_id, database_id, into)

    def restore(self, database_id: str, dump: Path, *, careless: bool = False) -> None:
        """Replace a database by a dump, which is read whole before the database changes.

        Raises:
            StoreError: It failed; unless the server did, the database holds what it held before.
        """
        collections = _collections(dump, careless=careless)
        with self._explained(f"cannot restore {database_id}"):
            self._load(database_id, collections)

    def alter(self, database_id: str, dump: Path, statements: Sequence[str]) -> None:
        """Run commands on the data in a dump; without any, make it the dump of an empty database.

        Raises:
            StoreError: A command is wrong, or it failed.
        """
        beside = f"{MARK}-{secrets.token_hex(8)}"
        with self._explained(f"cannot change the snapshot of {database_id}"):
            try:
                if statements:
                    self._load(beside, _collections(dump, careless=False))
                    self.execute(beside, statements)
                self._dump(beside, database_id, dump)
            finally:
                self._client.drop_database(beside)

    def stop(self) -> None:
        """Do nothing: commands are short."""

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def _dump(self, name: str, as_name: str, into: Path) -> None:
        with self._explained(f"cannot dump {as_name}"), tarfile.open(into, "w") as archive:
            database = self._client[name]
            for about in sorted(database.list_collections(), key=lambda each: str(each["name"])):
                collection = database.get_collection(about["name"], codec_options=_RAW)
                documents = b"".join(document.raw for document in collection.find())
                indexes = [dict(index) for index in database[about["name"]].list_indexes()]
                more = json_util.dumps({"options": about.get("options", {}), "indexes": indexes}, json_options=_EXACT)
                for ending, content in (("bson", documents), ("metadata.json", more.encode())):
                    member = tarfile.TarInfo(f"{as_name}/{about['name']}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))

    def _load(self, name: str, collections: dict[str, tuple[list[Any], dict[str, Any]]]) -> None:
        self._client.drop_database(name)
        database = self._client[name]
        for collection, (documents, more) in collections.items():
            database.create_collection(collection, **more.get("options", {}))
            if documents:
                database[collection].insert_many(documents)
            for index in more.get("indexes", ()):
                if index["name"] != "_id_":
                    keys = [(key, _whole(way)) for key, way in index["key"].items()]
                    options = {each: value for each, value in index.items() if each not in {"v", "key", "ns"}}
                    database[collection].create_index(keys, **options)

    def _marks(self) -> Any:
        return self._client[MARK]["databases"]

    def _mark_of(self, name: str) -> str:
        found = self._marks().find_one({"_id": name})
        return "" if found is None else str(found["mark"])

    def _said(self, error: Exception) -> str:
        return str(error).partition(", full error")[0].partition(" (configured timeouts")[0]


def _collections(dump: Path, *, careless: bool) -> dict[str, tuple[list[Any], dict[str, Any]]]:
    """The documents of each collection in a dump, with its options and indexes.

    Raises:
        StoreError: It is no whole dump, and the restore is not careless.
    """
    documents: dict[str, list[Any]] = {}
    more: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(dump) as archive:
            for member in archive:
                file = archive.extractfile(member)
                content = b"" if file is None else file.read()
                name = member.name.partition("/")[2]
                if name.endswith(".metadata.json"):
                    more[name.removesuffix(".metadata.json")] = json_util.loads(content.decode())
                elif name.endswith(".bson"):
                    documents[name.removesuffix(".bson")] = bson.decode_all(content, _RAW)
    except (tarfile.TarError, bson.errors.BSONError, ValueError, OSError) as error:
        if not careless:
            raise StoreError(f"the snapshot holds no whole dump of MongoDB: {error}") from None
    return {name: (found, more.get(name, {})) for name, found in documents.items()}


def _whole(way: Any) -> Any:
    """An index's direction: drivers want a plain number, dumps hold BSON's."""
    return int(way) if isinstance(way, int | float) else way
