"""The store in a folder: an SQLite file for each database, and a zip for each snapshot."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote
from zipfile import BadZipFile

from squarecloud_emulator.data.snapshot_zip import data_of, write_zip
from squarecloud_emulator.data.sqlite_image import damaged_image, readable_image
from squarecloud_emulator.data.store import CHUNK, Rows, StoreError, at_once, run_statements
from squarecloud_emulator.data.whole_file import written_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path
    from typing import IO

    from squarecloud_emulator.data.damage import Damage

_AT_SERVER = ".at-postgres"  # the name of an empty file instead of a database's own: a server keeps its data
_LOCK_SECONDS = 1.0  # how long to wait for another program's lock on a database; other requests wait meanwhile


class FolderStore:
    """Databases under `databases/`, which other programs may use at the same time, and zips under `snapshots/`."""

    def __init__(self, folder: Path, *, has_server: bool = False) -> None:
        """Use a folder.

        Args:
            folder: Made if it does not exist.
            has_server: Whether the PostgreSQL server is there that keeps some of the databases.

        Raises:
            ValueError: A server keeps some of the databases, and there is none.
        """
        self._databases = folder / "databases"
        self._snapshots = folder / "snapshots"
        for each in (self._databases, self._snapshots):
            each.mkdir(parents=True, exist_ok=True)
        if not has_server and (there := sorted(self.at_server())):
            raise ValueError(f"{there[0]} in {folder} is at a PostgreSQL server: give its DSN")

    def takes_time(self, database_id: str) -> bool:  # noqa: ARG002 - no database does
        """No database does: while another program locks it, all requests wait."""
        return False

    def create(self, database_id: str, engine: str) -> Future[None]:  # noqa: ARG002 - every engine is SQLite here
        """Create an empty database, unless it exists."""
        return at_once(self._database(database_id).touch)

    def remove(self, database_id: str) -> None:
        """Drop a database's data; its snapshots stay."""
        self._database(database_id).unlink(missing_ok=True)
        self._note(database_id).unlink(missing_ok=True)

    def capture(self, database_id: str, version_id: str, size: int | None, damage: Damage | None = None) -> Future[int]:
        """Zip the data as it is now, through SQLite's backup: another program may be writing at this moment."""
        return at_once(self._capture, database_id, version_id, size, damage)

    def _capture(self, database_id: str, version_id: str, size: int | None, damage: Damage | None) -> int:
        image = damaged_image(self._data_now(database_id), damage, self._image_in)
        return self.write_zip(version_id, image, database_id, size)

    def write_zip(self, version_id: str, data: bytes | tuple[str, Path], database_id: str, size: int | None) -> int:
        """Write the zip of a snapshot, whole or not at all; return its size.

        Raises:
            ValueError: The zip is larger than `size`.
        """
        path = self._zip(version_id)
        with written_whole(path) as target:
            write_zip(target, data, database_id, version_id, size, compress=True)
        return path.stat().st_size

    @property
    def workplace(self) -> Path:
        """The folder for files that are not yet a snapshot."""
        return self._snapshots

    def at_server(self) -> set[str]:
        """The ids of the databases that the server keeps."""
        return {unquote(path.name.removesuffix(_AT_SERVER)) for path in self._databases.glob(f"*{_AT_SERVER}")}

    def note_at_server(self, database_id: str) -> None:
        """Note that the server keeps this database."""
        self._note(database_id).touch()

    def open_zip(self, version_id: str) -> IO[bytes]:
        """Open the zip of a snapshot.

        Raises:
            OSError: It is gone.
        """
        return self._zip(version_id).open("rb")

    def discard(self, version_id: str) -> None:
        """Delete a zip."""
        self._zip(version_id).unlink(missing_ok=True)

    def restore(self, database_id: str, version_id: str, *, careless: bool = False) -> Future[None]:
        """Replace a database's data by that of a zip; programs that have it open see the restored data."""
        return at_once(self._restore, database_id, version_id, careless)

    def _restore(self, database_id: str, version_id: str, careless: bool) -> None:  # noqa: FBT001 - see `at_once`
        try:
            data = readable_image(self._image_in(version_id), careless=careless)
            with closing(sqlite3.connect(":memory:")) as copy, closing(self._open(database_id)) as live:
                if data:
                    copy.deserialize(data)
                copy.backup(live, progress=_fail_if_locked)
        except (OSError, KeyError, BadZipFile, sqlite3.Error) as error:
            raise StoreError(f"cannot restore {database_id}: {error}") from error

    def read(self, version_id: str, start: int, stop: int) -> Iterator[bytes]:
        """A zip's bytes."""
        with self.open_zip(version_id) as source:
            source.seek(start)
            while start < stop and (chunk := source.read(min(CHUNK, stop - start))):
                start += len(chunk)
                yield chunk

    def execute(self, database_id: str, statements: Sequence[str]) -> Future[list[Rows]]:
        """Run SQL statements in one transaction."""
        return at_once(self._execute, database_id, statements)

    def close(self) -> None:
        """Do nothing: no work is ever running."""

    def _execute(self, database_id: str, statements: Sequence[str]) -> list[Rows]:
        with closing(self._open(database_id)) as connection:
            return run_statements(connection, statements)

    def _image_in(self, version_id: str) -> bytes:
        with self.open_zip(version_id) as source:
            return data_of(source)

    def _data_now(self, database_id: str) -> bytes:
        try:
            with closing(sqlite3.connect(":memory:")) as copy, closing(self._open(database_id)) as live:
                live.backup(copy, progress=_fail_if_locked)
                return copy.serialize()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"cannot read {database_id}: {error}") from error

    def _open(self, database_id: str) -> sqlite3.Connection:
        return sqlite3.connect(self._database(database_id), timeout=_LOCK_SECONDS)

    def _database(self, database_id: str) -> Path:
        return self._databases / f"{quote(database_id, safe='')}.sqlite"

    def _note(self, database_id: str) -> Path:
        return self._databases / f"{quote(database_id, safe='')}{_AT_SERVER}"

    def _zip(self, version_id: str) -> Path:
        return self._snapshots / f"{quote(version_id, safe='')}.zip"


def _fail_if_locked(status: int, _remaining: int, _total: int) -> None:
    # SQLite has waited for the lock by now; `backup` would try again for ever.
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("another program keeps it locked")
