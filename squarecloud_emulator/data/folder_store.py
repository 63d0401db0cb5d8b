"""The store in a folder: an SQLite file for each database, and a zip for each snapshot."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING
from urllib.parse import quote, unquote

from squarecloud_emulator.data.memory_store import MemoryStore
from squarecloud_emulator.data.snapshot_zip import write_zip
from squarecloud_emulator.data.store import StoreError
from squarecloud_emulator.data.whole_file import written_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# the name of an empty file instead of a database's own: a server keeps its data
_AT_SERVER = ".at-postgres"
# how long to wait for another program's lock on a database; other requests wait meanwhile
_LOCK_SECONDS = 1.0


class FolderStore(MemoryStore):
    """Databases under `databases/`, which other programs may use too, and zips in `snapshots/`.

    While another program locks a database, all requests wait.
    """

    def __init__(self, folder: Path, *, has_server: bool = False) -> None:
        """Use a folder, which is made if it does not exist.

        Raises:
            ValueError: A PostgreSQL server keeps some of the databases, and `has_server` says that
                there is none.

        """
        super().__init__()
        self._databases = folder / "databases"
        # which may also hold files that are not yet a snapshot
        self.workplace = folder / "snapshots"
        for each in (self._databases, self.workplace):
            each.mkdir(parents=True, exist_ok=True)
        if not has_server and (there := sorted(self.at_server())):
            raise ValueError(
                f"{there[0]} in {folder} is at a PostgreSQL server: give its DSN"
            )

    def remove(self, database_id: str) -> None:
        """Drop a database's data; its snapshots stay."""
        self._database(database_id).unlink(missing_ok=True)
        self._note(database_id).unlink(missing_ok=True)

    def discard(self, version_id: str) -> None:
        """Delete a zip."""
        self._zip(version_id).unlink(missing_ok=True)

    def open_zip(self, version_id: str) -> IO[bytes]:
        """Open the zip of a snapshot; OSError if it is gone."""
        return self._zip(version_id).open("rb")

    def write_zip(
        self,
        version_id: str,
        data: bytes | tuple[str, Path],
        database_id: str,
        size: int | None,
    ) -> int:
        """Write the zip of a snapshot, whole or not at all; return its size.

        ValueError if it is larger than `size`.
        """
        path = self._zip(version_id)
        with written_whole(path) as target:
            write_zip(target, data, database_id, version_id, size, compress=True)
        return path.stat().st_size

    def at_server(self) -> set[str]:
        """The ids of the databases that the server keeps."""
        return {
            unquote(path.name.removesuffix(_AT_SERVER))
            for path in self._databases.glob(f"*{_AT_SERVER}")
        }

    def note_at_server(self, database_id: str) -> None:
        """Note that the server keeps this database."""
        self._note(database_id).touch()

    def _make(self, database_id: str) -> None:
        self._database(database_id).touch()

    def _data_now(self, database_id: str) -> bytes:
        """The data through SQLite's backup: another program may be writing at this moment."""
        try:
            with (
                closing(sqlite3.connect(":memory:")) as copy,
                self._opened(database_id) as live,
            ):
                live.backup(copy, progress=_fail_if_locked)
                return copy.serialize()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"cannot read {database_id}: {error}") from error

    def _replace(self, database_id: str, image: bytes) -> None:
        """Replace the data; programs that have it open see the new one."""
        with (
            closing(sqlite3.connect(":memory:")) as copy,
            self._opened(database_id) as live,
        ):
            if image:
                copy.deserialize(image)
            copy.backup(live, progress=_fail_if_locked)

    @contextmanager
    def _opened(self, database_id: str) -> Iterator[sqlite3.Connection]:
        with closing(
            sqlite3.connect(self._database(database_id), timeout=_LOCK_SECONDS)
        ) as connection:
            yield connection

    def _database(self, database_id: str) -> Path:
        return self._databases / f"{quote(database_id, safe='')}.sqlite"

    def _note(self, database_id: str) -> Path:
        return self._databases / f"{quote(database_id, safe='')}{_AT_SERVER}"

    def _zip(self, version_id: str) -> Path:
        return self.workplace / f"{quote(version_id, safe='')}.zip"


def _fail_if_locked(status: int, _remaining: int, _total: int) -> None:
    # SQLite has waited for the lock by now; `backup` would try again for ever.
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("another program keeps it locked")
