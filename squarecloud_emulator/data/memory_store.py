"""The store in memory, for tests: everything is gone when the process ends.

Each database is one of SQLite, as bytes.
"""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING
from zipfile import BadZipFile

from squarecloud_emulator.data.damage import OTHER_ENGINE
from squarecloud_emulator.data.snapshot_zip import data_of, write_zip
from squarecloud_emulator.data.store import (
    CHUNK,
    Rows,
    StoreError,
    at_once,
    run_statements,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from squarecloud_emulator.data.damage import Damage


class MemoryStore:
    """A store whose work is done at once. A database costs nothing until you run SQL on it."""

    def __init__(self) -> None:
        self._images: dict[str, bytes] = {}
        self._zips: dict[str, bytes] = {}

    def takes_time(self, database_id: str) -> bool:  # noqa: ARG002 - no database does
        """No database does."""
        return False

    def create(self, database_id: str, engine: str) -> Future[None]:  # noqa: ARG002 - every engine is SQLite here
        """Create an empty database, unless it exists."""
        return at_once(self._make, database_id)

    def remove(self, database_id: str) -> None:
        """Drop a database's data; its snapshots stay."""
        self._images.pop(database_id, None)

    def capture(
        self,
        database_id: str,
        version_id: str,
        size: int | None,
        damage: Damage | None = None,
    ) -> Future[int]:
        """Zip the data as it is now."""
        return at_once(self._capture, database_id, version_id, size, damage)

    def discard(self, version_id: str) -> None:
        """Delete a zip."""
        self._zips.pop(version_id, None)

    def restore(
        self,
        database_id: str,
        version_id: str,
        *,
        careless: bool = False,
    ) -> Future[None]:
        """Replace a database's data by that of a zip."""
        return at_once(self._restore, database_id, version_id, careless)

    def read(self, version_id: str, start: int, stop: int) -> Iterator[bytes]:
        """A zip's bytes."""
        with self.open_zip(version_id) as source:
            source.seek(start)
            while start < stop and (chunk := source.read(min(CHUNK, stop - start))):
                start += len(chunk)
                yield chunk

    def execute(
        self, database_id: str, statements: Sequence[str]
    ) -> Future[list[Rows]]:
        """Run SQL statements in one transaction."""
        return at_once(self._execute, database_id, statements)

    def close(self) -> None:
        """Do nothing: no work is ever running."""

    def _capture(
        self,
        database_id: str,
        version_id: str,
        size: int | None,
        damage: Damage | None,
    ) -> int:
        image = _damaged(self._data_now(database_id), damage, self._image_in)
        return self.write_zip(version_id, image, database_id, size)

    def _restore(self, database_id: str, version_id: str, careless: bool) -> None:  # noqa: FBT001 - see `at_once`
        try:
            self._replace(
                database_id, _readable(self._image_in(version_id), careless=careless)
            )
        except (OSError, KeyError, BadZipFile, sqlite3.Error) as error:
            raise StoreError(f"cannot restore {database_id}: {error}") from error

    def _execute(self, database_id: str, statements: Sequence[str]) -> list[Rows]:
        with self._opened(database_id) as connection:
            return run_statements(connection, statements)

    def _image_in(self, version_id: str) -> bytes:
        with self.open_zip(version_id) as source:
            return data_of(source)

    # Where it is kept.

    def open_zip(self, version_id: str) -> IO[bytes]:
        """Open the zip of a snapshot."""
        return io.BytesIO(self._zips[version_id])

    def write_zip(
        self,
        version_id: str,
        data: bytes,
        database_id: str,
        size: int | None,
    ) -> int:
        """Write the zip of a snapshot, whole or not at all; return its size.

        ValueError if it is larger than `size`.
        """
        target = io.BytesIO()
        write_zip(target, data, database_id, version_id, size)
        self._zips[version_id] = target.getvalue()
        return len(self._zips[version_id])

    def _make(self, database_id: str) -> None:
        self._images.setdefault(database_id, b"")

    def _data_now(self, database_id: str) -> bytes:
        return self._images[database_id]

    def _replace(self, database_id: str, image: bytes) -> None:
        self._images[database_id] = image

    @contextmanager
    def _opened(self, database_id: str) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(":memory:")) as connection:
            if self._images[database_id]:
                connection.deserialize(self._images[database_id])
            yield connection
            self._images[database_id] = _image_of(connection)


def _image_of(connection: sqlite3.Connection) -> bytes:
    """The image of a database in memory.

    No bytes if it holds nothing, which SQLite itself refuses to write.
    """
    return (
        connection.serialize()
        if connection.execute("PRAGMA page_count").fetchone() != (0,)
        else b""
    )


def _damaged(
    image: bytes,
    damage: Damage | None,
    earlier: Callable[[str], bytes],
) -> bytes:
    """An SQLite image with its damage, if any; `earlier` is the image in an earlier snapshot."""
    if damage is None:
        return image
    if damage.of_version is not None:
        return earlier(damage.of_version)
    if damage.kind is not None:
        return {
            "truncated": image[: len(image) // 2],
            "empty": b"",
            "other engine": OTHER_ENGINE,
        }[damage.kind]
    with closing(sqlite3.connect(":memory:")) as connection:
        if image:
            connection.deserialize(image)
        run_statements(connection, damage.statements)
        return _image_of(connection)


def _readable(image: bytes, *, careless: bool) -> bytes:
    """An SQLite image that SQLite can read, else StoreError.

    Or if careless an empty one in its place.
    """
    if not image:
        return image
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.deserialize(image)
            broken = connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
        except sqlite3.Error:
            broken = True
    if broken and not careless:
        raise StoreError("the snapshot holds no whole SQLite database")
    return b"" if broken else image
