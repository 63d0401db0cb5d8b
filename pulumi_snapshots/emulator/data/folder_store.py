"""The store in a folder: an SQLite file for each database, a zip for each snapshot, each written whole or not at all."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote
from zipfile import BadZipFile

from pulumi_snapshots.emulator.data.snapshot_zip import data_of, write_archive
from pulumi_snapshots.emulator.data.store import CHUNK, Rows, StoreError, at_once, run_statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path
    from typing import IO

__all__ = ["FolderStore"]

_AT_SERVER = ".at-postgres"  # an empty file in a database's place: its data is not here

_LOCK_SECONDS = 1.0  # how long another program's lock on a database is waited for; requests stand still meanwhile


class FolderStore:
    """Keeps databases under `databases/` and snapshots under `snapshots/`; other programs may use the databases meanwhile."""

    def __init__(self, folder: Path, *, with_server: bool = False) -> None:
        """Use a folder.

        Args:
            folder: Made if it is not there.
            with_server: Whether a PostgreSQL server has the databases that the folder says are at one.

        Raises:
            ValueError: There are such databases, and no server.
        """
        self._databases = folder / "databases"
        self._snapshots = folder / "snapshots"
        for each in (self._databases, self._snapshots):
            each.mkdir(parents=True, exist_ok=True)
        elsewhere = self.at_server()
        if elsewhere and not with_server:
            raise ValueError(f"{', '.join(sorted(elsewhere))} in {folder} is at a PostgreSQL server: give its DSN")

    def takes_time(self, database_id: str) -> bool:  # noqa: ARG002 - no database does
        """Nothing does: a lock of another program is waited for, with all requests."""
        return False

    def create(self, database_id: str, engine: str) -> Future[None]:  # noqa: ARG002 - every engine is SQLite here
        """Begin an empty database, unless it is there already."""
        return at_once(self._database(database_id).touch)

    def remove(self, database_id: str) -> None:
        """Drop a database's data; its snapshots stay."""
        self._database(database_id).unlink(missing_ok=True)
        self._note(database_id).unlink(missing_ok=True)

    def capture(self, database_id: str, version_id: str, size: int | None) -> Future[int]:
        """Archive the data as it is now, through SQLite's backup, so that a program writing at this moment does no harm."""
        return at_once(self._capture, database_id, version_id, size)

    def _capture(self, database_id: str, version_id: str, size: int | None) -> int:
        return self.keep(version_id, self._data_now(database_id), database_id, size)

    def keep(self, version_id: str, data: bytes | Path, database_id: str, size: int | None) -> int:
        """Write the zip of a snapshot, whole or not at all; return its size.

        Raises:
            ValueError: The zip is larger than `size`.
        """
        path = self._archive(version_id)
        unfinished = path.with_suffix(".part")
        with unfinished.open("w+b") as target:
            write_archive(target, data, database_id, version_id, size, compress=True)
            target.flush()
            os.fsync(target.fileno())
        unfinished.replace(path)
        return path.stat().st_size

    @property
    def workplace(self) -> Path:
        """Where files are made that are no snapshots yet."""
        return self._snapshots

    def at_server(self) -> set[str]:
        """Ids of the databases that a PostgreSQL server has."""
        return {unquote(path.name.removesuffix(_AT_SERVER)) for path in self._databases.glob(f"*{_AT_SERVER}")}

    def note_at_server(self, database_id: str) -> None:
        """From now on a PostgreSQL server has this database."""
        self._note(database_id).touch()

    def open_archive(self, version_id: str) -> IO[bytes]:
        """The zip of a snapshot.

        Raises:
            OSError: It is gone.
        """
        return self._archive(version_id).open("rb")

    def discard(self, version_id: str) -> None:
        """Drop an archive."""
        self._archive(version_id).unlink(missing_ok=True)

    def restore(self, database_id: str, version_id: str) -> Future[None]:
        """Put an archive's data into a database; programs that have it open see the restored data."""
        return at_once(self._restore, database_id, version_id)

    def _restore(self, database_id: str, version_id: str) -> None:
        try:
            with self.open_archive(version_id) as source:
                data = data_of(source)
            with closing(sqlite3.connect(":memory:")) as copy, closing(self._open(database_id)) as live:
                if data:
                    copy.deserialize(data)
                copy.backup(live, progress=_no_longer_than_the_lock)
        except (OSError, KeyError, BadZipFile, sqlite3.Error) as error:
            raise StoreError(f"cannot restore {database_id}: {error}") from error

    def read(self, version_id: str, start: int, stop: int) -> Iterator[bytes]:
        """The archive's bytes."""
        with self.open_archive(version_id) as source:
            source.seek(start)
            while start < stop and (chunk := source.read(min(CHUNK, stop - start))):
                start += len(chunk)
                yield chunk

    def execute(self, database_id: str, statements: Sequence[str]) -> Future[list[Rows]]:
        """Run SQL statements in one transaction."""
        return at_once(self._execute, database_id, statements)

    def close(self) -> None:
        """Nothing is under way."""

    def _execute(self, database_id: str, statements: Sequence[str]) -> list[Rows]:
        with closing(self._open(database_id)) as connection:
            return run_statements(connection, statements)

    def _data_now(self, database_id: str) -> bytes:
        try:
            with closing(sqlite3.connect(":memory:")) as copy, closing(self._open(database_id)) as live:
                live.backup(copy, progress=_no_longer_than_the_lock)
                return copy.serialize()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"cannot read {database_id}: {error}") from error

    def _open(self, database_id: str) -> sqlite3.Connection:
        return sqlite3.connect(self._database(database_id), timeout=_LOCK_SECONDS)

    def _database(self, database_id: str) -> Path:
        return self._databases / f"{quote(database_id, safe='')}.sqlite"

    def _note(self, database_id: str) -> Path:
        return self._databases / f"{quote(database_id, safe='')}{_AT_SERVER}"

    def _archive(self, version_id: str) -> Path:
        return self._snapshots / f"{quote(version_id, safe='')}.zip"


def _no_longer_than_the_lock(status: int, _remaining: int, _total: int) -> None:
    # SQLite has waited for the lock by now; Python would begin again for ever.
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("another program keeps it locked")
