"""The store in memory, for tests: everything is gone with the process."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from pulumi_snapshots.emulator.data.snapshot_zip import data_of, write_archive
from pulumi_snapshots.emulator.data.store import CHUNK, Rows, at_once, nothing, run_statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

__all__ = ["MemoryStore"]


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
        return at_once(nothing)

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
