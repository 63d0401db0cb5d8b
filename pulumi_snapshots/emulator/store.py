"""Where the databases' data and the snapshots' archives are kept: the protocol, and the store in memory."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from pulumi_snapshots.emulator.archive import data_of, write_archive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["CHUNK", "MemoryStore", "Store", "StoreError", "run_statements"]

CHUNK = 64 * 1024  # bytes read at a time


class StoreError(Exception):
    """The store cannot do it now: a file is gone, or another program keeps the database locked."""


class Store(Protocol):
    """Data of databases, by database id, and archives of snapshots, by version id."""

    def create(self, database_id: str) -> None:
        """Begin an empty database, unless it is there already."""

    def remove(self, database_id: str) -> None:
        """Drop a database's data; its snapshots stay."""

    def capture(self, database_id: str, version_id: str, size: int | None) -> int:
        """Archive the data as it is now, padded to `size` bytes if given; return the archive's size.

        Raises:
            ValueError: The archive is larger than `size`.
            StoreError: The data cannot be read.
        """

    def discard(self, version_id: str) -> None:
        """Drop an archive."""

    def restore(self, database_id: str, version_id: str) -> None:
        """Put an archive's data into a database, in place of what it holds.

        Raises:
            StoreError: The archive cannot be read, or the data not be written.
        """

    def read(self, version_id: str, start: int, stop: int) -> Iterator[bytes]:
        """The archive's bytes from `start` up to, not including, `stop`."""

    def execute(self, database_id: str, statements: Sequence[str]) -> list[list[list[Any]]]:
        """Run SQL statements in one transaction; return the rows of each.

        Raises:
            sqlite3.Error: A statement is wrong.
        """


class MemoryStore:
    """Keeps everything in memory; a database is an SQLite image, and costs nothing until SQL is run on it."""

    def __init__(self) -> None:
        self._images: dict[str, bytes] = {}
        self._archives: dict[str, bytes] = {}

    def create(self, database_id: str) -> None:
        """Begin an empty database, unless it is there already."""
        self._images.setdefault(database_id, b"")

    def remove(self, database_id: str) -> None:
        """Drop a database's data; its snapshots stay."""
        self._images.pop(database_id, None)

    def capture(self, database_id: str, version_id: str, size: int | None) -> int:
        """Archive the data as it is now."""
        archive = io.BytesIO()
        write_archive(archive, self._images[database_id], database_id, version_id, size)
        self._archives[version_id] = archive.getvalue()
        return len(self._archives[version_id])

    def discard(self, version_id: str) -> None:
        """Drop an archive."""
        self._archives.pop(version_id, None)

    def restore(self, database_id: str, version_id: str) -> None:
        """Put an archive's data into a database."""
        self._images[database_id] = data_of(io.BytesIO(self._archives[version_id]))

    def read(self, version_id: str, start: int, stop: int) -> Iterator[bytes]:
        """The archive's bytes."""
        archive = self._archives[version_id]
        for at in range(start, stop, CHUNK):
            yield archive[at : min(at + CHUNK, stop)]

    def execute(self, database_id: str, statements: Sequence[str]) -> list[list[list[Any]]]:
        """Run SQL statements in one transaction."""
        with closing(sqlite3.connect(":memory:")) as connection:
            if self._images[database_id]:
                connection.deserialize(self._images[database_id])
            rows = run_statements(connection, statements)
            self._images[database_id] = connection.serialize()
        return rows


def run_statements(connection: sqlite3.Connection, statements: Sequence[str]) -> list[list[list[Any]]]:
    """Run SQL statements in one transaction; return the rows of each."""
    with connection:
        return [[list(row) for row in connection.execute(statement)] for statement in statements]
