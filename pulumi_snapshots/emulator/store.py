"""Where the databases' data and the snapshots' archives are kept: the protocol, and the store in memory."""

from __future__ import annotations

import io
import sqlite3
from concurrent.futures import Future, wait
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

from pulumi_snapshots.emulator.archive import data_of, write_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["CHUNK", "MemoryStore", "Rows", "Store", "StoreError", "at_once", "outcome", "run_statements"]

CHUNK = 64 * 1024  # bytes read at a time
Rows = list[list[Any]]
T = TypeVar("T")


class StoreError(Exception):
    """The store cannot do it now: a file is gone, or another program keeps the database locked."""


class Store(Protocol):
    """Data of databases, by database id, and archives of snapshots, by version id.

    What may take long is returned as a future. One database's work is done in the order in which it was asked for.
    """

    def takes_time(self, database_id: str) -> bool:
        """Whether work on this database goes on in a thread when its future is returned: real seconds pass."""

    def create(self, database_id: str, engine: str) -> Future[None]:
        """Begin an empty database, unless it is there already.

        Args:
            database_id: Its id.
            engine: mongo, mysql, redis or postgres; what an application runs on.
        """

    def remove(self, database_id: str) -> None:
        """Drop a database's data; its snapshots stay."""

    def capture(self, database_id: str, version_id: str, size: int | None) -> Future[int]:
        """Archive the data as it is now, padded to `size` bytes if given; the future is the archive's size.

        The future raises:
            ValueError: The archive is larger than `size`.
            StoreError: The data cannot be read.
        """

    def discard(self, version_id: str) -> None:
        """Drop an archive."""

    def restore(self, database_id: str, version_id: str) -> Future[None]:
        """Put an archive's data into a database, in place of what it holds.

        The future raises:
            StoreError: The archive cannot be read, or the data not be written.
        """

    def read(self, version_id: str, start: int, stop: int) -> Iterator[bytes]:
        """The archive's bytes from `start` up to, not including, `stop`."""

    def execute(self, database_id: str, statements: Sequence[str]) -> Future[list[Rows]]:
        """Run SQL statements in one transaction; the future is the rows of each.

        The future raises:
            sqlite3.Error: A statement is wrong.
            StoreError: A statement is wrong, at a server.
        """

    def close(self) -> None:
        """End what is under way."""


def at_once(call: Callable[..., T], *arguments: Any) -> Future[T]:
    """Work that is done when its future is returned."""
    future = Future[T]()
    try:
        future.set_result(call(*arguments))
    except Exception as error:  # noqa: BLE001 - raised again by whoever asks for the result
        future.set_exception(error)
    return future


async def outcome(work: Future[T]) -> T:
    """Await a store's work; what is done already is returned before any other task runs."""
    if not work.done():
        await anyio.to_thread.run_sync(wait, [work], abandon_on_cancel=True)
    return work.result()


class MemoryStore:
    """Keeps everything in memory; a database is an SQLite image, and costs nothing until SQL is run on it."""

    def __init__(self) -> None:
        self._images: dict[str, bytes] = {}
        self._archives: dict[str, bytes] = {}

    def takes_time(self, database_id: str) -> bool:  # noqa: ARG002 - no database does
        """Nothing does."""
        return False

    def create(self, database_id: str, engine: str) -> Future[None]:  # noqa: ARG002 - every engine is SQLite here
        """Begin an empty database, unless it is there already."""
        self._images.setdefault(database_id, b"")
        return at_once(_nothing)

    def remove(self, database_id: str) -> None:
        """Drop a database's data; its snapshots stay."""
        self._images.pop(database_id, None)

    def capture(self, database_id: str, version_id: str, size: int | None) -> Future[int]:
        """Archive the data as it is now."""
        return at_once(self._capture, database_id, version_id, size)

    def discard(self, version_id: str) -> None:
        """Drop an archive."""
        self._archives.pop(version_id, None)

    def restore(self, database_id: str, version_id: str) -> Future[None]:
        """Put an archive's data into a database."""
        return at_once(self._restore, database_id, version_id)

    def read(self, version_id: str, start: int, stop: int) -> Iterator[bytes]:
        """The archive's bytes."""
        archive = self._archives[version_id]
        for at in range(start, stop, CHUNK):
            yield archive[at : min(at + CHUNK, stop)]

    def execute(self, database_id: str, statements: Sequence[str]) -> Future[list[Rows]]:
        """Run SQL statements in one transaction."""
        return at_once(self._execute, database_id, statements)

    def close(self) -> None:
        """Nothing is under way."""

    def _capture(self, database_id: str, version_id: str, size: int | None) -> int:
        archive = io.BytesIO()
        write_archive(archive, self._images[database_id], database_id, version_id, size)
        self._archives[version_id] = archive.getvalue()
        return len(self._archives[version_id])

    def _restore(self, database_id: str, version_id: str) -> None:
        self._images[database_id] = data_of(io.BytesIO(self._archives[version_id]))

    def _execute(self, database_id: str, statements: Sequence[str]) -> list[Rows]:
        with closing(sqlite3.connect(":memory:")) as connection:
            if self._images[database_id]:
                connection.deserialize(self._images[database_id])
            rows = run_statements(connection, statements)
            self._images[database_id] = connection.serialize()
        return rows


def run_statements(connection: sqlite3.Connection, statements: Sequence[str]) -> list[Rows]:
    """Run SQL statements in one transaction; return the rows of each."""
    with connection:
        return [[list(row) for row in connection.execute(statement)] for statement in statements]


def _nothing() -> None:
    return None
