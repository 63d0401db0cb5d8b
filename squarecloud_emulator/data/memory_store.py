"""The store in memory, for tests: everything is gone when the process ends."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from squarecloud_emulator.data.snapshot_zip import data_of, write_zip
from squarecloud_emulator.data.sqlite_image import damaged_image, image_of, readable_image
from squarecloud_emulator.data.store import CHUNK, Rows, at_once, nothing, run_statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from squarecloud_emulator.data.damage import Damage


class MemoryStore:
    """Each database is an SQLite image, and costs nothing until you run SQL on it."""

    def __init__(self) -> None:
        self._images: dict[str, bytes] = {}
        self._zips: dict[str, bytes] = {}

    def takes_time(self, database_id: str) -> bool:  # noqa: ARG002 - no database does
        """No database does."""
        return False

    def create(self, database_id: str, engine: str) -> Future[None]:  # noqa: ARG002 - every engine is SQLite here
        """Create an empty database, unless it exists."""
        self._images.setdefault(database_id, b"")
        return at_once(nothing)

    def remove(self, database_id: str) -> None:
        """Drop a database's data; its snapshots stay."""
        self._images.pop(database_id, None)

    def capture(self, database_id: str, version_id: str, size: int | None, damage: Damage | None = None) -> Future[int]:
        """Zip the data as it is now."""
        return at_once(self._capture, database_id, version_id, size, damage)

    def discard(self, version_id: str) -> None:
        """Delete a zip."""
        self._zips.pop(version_id, None)

    def restore(self, database_id: str, version_id: str, *, careless: bool = False) -> Future[None]:
        """Replace a database's data by that of a zip."""
        return at_once(self._restore, database_id, version_id, careless)

    def read(self, version_id: str, start: int, stop: int) -> Iterator[bytes]:
        """A zip's bytes."""
        content = self._zips[version_id]
        for at in range(start, stop, CHUNK):
            yield content[at : min(at + CHUNK, stop)]

    def execute(self, database_id: str, statements: Sequence[str]) -> Future[list[Rows]]:
        """Run SQL statements in one transaction."""
        return at_once(self._execute, database_id, statements)

    def close(self) -> None:
        """Do nothing: no work is ever running."""

    def _capture(self, database_id: str, version_id: str, size: int | None, damage: Damage | None) -> int:
        target = io.BytesIO()
        image = damaged_image(self._images[database_id], damage, self._image_in)
        write_zip(target, image, database_id, version_id, size)
        self._zips[version_id] = target.getvalue()
        return len(self._zips[version_id])

    def _restore(self, database_id: str, version_id: str, careless: bool) -> None:  # noqa: FBT001 - see `at_once`
        self._images[database_id] = readable_image(self._image_in(version_id), careless=careless)

    def _image_in(self, version_id: str) -> bytes:
        return data_of(io.BytesIO(self._zips[version_id]))

    def _execute(self, database_id: str, statements: Sequence[str]) -> list[Rows]:
        with closing(sqlite3.connect(":memory:")) as connection:
            if self._images[database_id]:
                connection.deserialize(self._images[database_id])
            rows = run_statements(connection, statements)
            self._images[database_id] = image_of(connection)
        return rows
