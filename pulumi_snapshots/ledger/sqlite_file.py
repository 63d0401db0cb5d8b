"""A ledger's document in an SQLite file: in this machine's state directory, or in a folder that several machines share."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread

from pulumi_snapshots.errors import Next, Step
from pulumi_snapshots.ledger.place import DAMAGED, GONE, OWN, Document, Place, packed

T = TypeVar("T")

PATIENCE = 10.0  # seconds to wait for the lock. A process holds it for milliseconds, unless it is suspended or stuck
LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
# the last: no such table
BROKEN = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR})
# it is another user's
REFUSED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})


class SqliteFile(Place):
    """A `Place` in an SQLite file with one row, whose path is absolute.

    It has a rollback journal, not a write-ahead log, which needs memory that no network file system shares. A folder that machines
    share must exist, since one that is not mounted would be another one on each machine; any other is made.
    """

    def __init__(self, path: Path, *, is_shared: bool = False, in_threads: bool = True) -> None:
        self.where, self.is_shared = str(path), is_shared
        self._path, self._in_threads, self._was_there = path, in_threads, False

    def beside(self, name: str) -> SqliteFile:
        """Another document in the same folder, as a new process reaches it."""
        path = self._path.with_name(f"{name}.ledger")
        return SqliteFile(path, is_shared=self.is_shared, in_threads=self._in_threads)

    async def read(self) -> Document:
        """Read the document; does not create the file."""
        return (
            await anyio.to_thread.run_sync(self._read, abandon_on_cancel=True)
            if self._in_threads
            else self._read()
        )

    async def edit(self, change: Callable[[Document], T]) -> T:
        """Change the document under SQLite's lock; what is begun ends, also if the caller is cancelled."""
        return (
            await anyio.to_thread.run_sync(self._edit, change)
            if self._in_threads
            else self._edit(change)
        )

    def _read(self) -> Document:
        with self._plain_reasons():
            if not self._is_there():
                return {}
            with closing(self._connected()) as connection:
                return self.parsed(self._data(connection))

    def _edit(self, change: Callable[[Document], T]) -> T:
        with self._plain_reasons():
            if not self._is_there():
                self._make()
            with closing(self._connected()) as connection:  # which takes back what is not committed
                # Flushes the folder too, without which a power failure could bring back the journal, and so the old document.
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute("BEGIN IMMEDIATE")
                before = self._data(connection)
                document = self.parsed(before)
                result = (
                    anyio.from_thread.run_sync(change, document)
                    if self._in_threads
                    else change(document)
                )
                if (data := packed(document)) != before:
                    connection.execute("UPDATE ledger SET document = ?", (data,))
                    connection.execute("COMMIT")
                return result

    def _is_there(self) -> bool:
        """Whether the file exists; raises if it did, and does not any more, or if its folder cannot be the one that is meant."""
        folder = self._path.parent
        if not folder.is_absolute():  # it would be another file in each working directory
            raise self.unavailable("there is no home directory with an absolute path")
        own = folder.name == OWN and folder.parent.is_dir()  # of a backend, which is there
        if self.is_shared and not (folder.is_dir() or own):
            raise self.unavailable(
                "there is no such folder", Next(Step.MAKE_FOLDER, file=str(folder))
            )
        # first of all: another thread may be making the file, and see it
        was_there = self._was_there
        if was_there and not self._path.exists():
            raise self.unavailable(*GONE)
        return was_there or self._path.exists()

    def _make(self) -> None:
        """Make the file with an empty document, whole at once, so that an empty file is one that was cut."""
        folder = self._path.parent
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.is_shared:
                _open_as(folder, 0o2777)
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as new:
            new.execute(
                "CREATE TABLE ledger (id INTEGER PRIMARY KEY CHECK (id = 1), document BLOB)"
            )
            new.execute("INSERT INTO ledger VALUES (1, ?)", (packed({}),))
            content = new.serialize()
        made = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            self._write(made, content)
            try:
                self._path.hardlink_to(made)
            except FileExistsError:
                return  # another run was faster
            except OSError:  # a file system without links, where a run that reads the file this very moment fails
                with suppress(FileExistsError):
                    self._write(self._path, content)
        finally:
            made.unlink(missing_ok=True)

    def _write(self, path: Path, content: bytes) -> None:
        """Write a new file."""
        with path.open("xb") as file:
            file.write(content)
        _open_as(path, 0o666 if self.is_shared else 0o600)

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=PATIENCE
        )

    def _data(self, connection: sqlite3.Connection) -> bytes:
        """The serialised document."""
        row = connection.execute("SELECT document FROM ledger").fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise self.unavailable(*DAMAGED)
        self._was_there = True
        return row[0]

    @contextmanager
    def _plain_reasons(self) -> Iterator[None]:
        """Raise `LedgerUnavailable` for every error of SQLite and the system."""
        try:
            yield
        except sqlite3.Error as error:
            code = (
                getattr(error, "sqlite_errorcode", 0) & 0xFF
            )  # the rest says more precisely which
            if code in BROKEN:
                raise self.unavailable(*DAMAGED) from error
            locked = f"another process has held its lock for {PATIENCE:.0f} s, or its file system has no locks"
            then = (
                [Next(Step.OPEN_FOLDER, file=str(self._path.parent))]
                if self.is_shared and code in REFUSED
                else []
            )
            raise self.unavailable(locked if code in LOCKED else str(error), *then) from error
        except OSError as error:
            raise self.unavailable(error.strerror or str(error)) from error


def _open_as(made: Path, most: int) -> None:
    """Let all who may write its folder write what was made there, whatever the umask is; at most with the bits of `most`."""
    with suppress(
        OSError
    ):  # a file system without permissions, or a group that this user is not in
        there = made.parent.stat()
        os.chown(made, -1, there.st_gid)
        made.chmod(there.st_mode & most)
