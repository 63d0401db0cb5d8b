"""A ledger's document in an SQLite file: of this machine, or in a folder that machines share."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread

from pulumi_snapshots.errors import Hint, HintKind
from pulumi_snapshots.errors.secrets import shown_file
from pulumi_snapshots.ledger.place import DAMAGED, GONE, OWN, Document, Place, packed
from pulumi_snapshots.state_directory import file_in_the_way

T = TypeVar("T")

FILE_PATIENCE = 10.0
"""Seconds to wait for the lock. A process that is not suspended holds the lock for milliseconds."""
LOCKED = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
)
BROKEN = frozenset(
    # the last: no such table
    {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}
)
CUT = sqlite3.SQLITE_IOERR_SHORT_READ
"""The whole code for a file that is shorter than its header says; SQLite 3.40 had none."""
REFUSED_CODES = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
)
"""SQLite's codes for a file of another user."""
WRITE_AHEAD = (
    "a tool has switched it to a write-ahead log, which not every file system shares, and has it "
    "open: so it cannot be switched back"
)
TABLE = "CREATE TABLE IF NOT EXISTS ledger (id INTEGER PRIMARY KEY CHECK (id = 1), document BLOB)"


class SqliteFile(Place):
    """A `Place` in an SQLite file with one row.

    The file has a rollback journal. A write-ahead log would need memory that no network file system
    shares. SQLite itself makes the file, under its lock and with the first document in one
    transaction: a process that is killed, or finds the disk full, leaves an empty file, which
    counts as new.

    Args:
        path: An absolute path.
        is_shared: Whether machines share its folder, which must exist then, since a folder that is
            not mounted would be another one on each machine. Any other folder is made.
        in_threads: Whether each call gets a thread, so that the event loop never waits for a lock.
    """

    def __init__(
        self,
        path: Path,
        *,
        is_shared: bool = False,
        in_threads: bool = True,
    ) -> None:
        self.where = str(path)
        self.is_shared = is_shared
        self._path = path
        self._in_threads = in_threads
        self._was_there = False  # whether this process has seen a document

    def beside(self, name: str) -> SqliteFile:
        """Return another document in the same folder, as a new process reaches it.

        Args:
            name: The document's name, without `.ledger`.

        Returns:
            The document's place; nothing is read yet.
        """
        path = self._path.with_name(f"{name}.ledger")
        return SqliteFile(path, is_shared=self.is_shared, in_threads=self._in_threads)

    async def read(self) -> Document:
        """Read the document; does not create the file."""
        if not self._in_threads:
            return self._read()
        return await anyio.to_thread.run_sync(self._read, abandon_on_cancel=True)

    async def edit(self, change: Callable[[Document], T]) -> T:
        """Change the document under SQLite's lock; an edit that has begun ends, also after ^C."""
        if not self._in_threads:
            return self._edit(change)
        return await anyio.to_thread.run_sync(self._edit, change)

    def _read(self) -> Document:
        with self._plain_reasons():
            if not self._is_there():
                return {}
            with closing(self._connected("rw")) as connection:
                self._begin(connection, "BEGIN")
                data = self._data(connection)
                return {} if data is None else self.parsed(data)

    def _edit(self, change: Callable[[Document], T]) -> T:
        with self._plain_reasons():
            if not self._is_there():
                self._make_folder()
            how = "rw" if self._was_there else "rwc"
            # Closing undoes what is not committed.
            with closing(self._connected(how)) as connection:
                # EXTRA flushes the folder too. Otherwise a power failure could bring back the
                # journal, and the old document with it.
                connection.execute("PRAGMA synchronous = EXTRA")
                self._begin(connection, "BEGIN IMMEDIATE")
                before = self._data(connection)
                if before is None:  # before anything is written there
                    _open_as(self._path, 0o666 if self.is_shared else 0o600)
                document = {} if before is None else self.parsed(before)
                if self._in_threads:
                    result = anyio.from_thread.run_sync(change, document)
                else:
                    result = change(document)
                data = packed(document)
                if data != (before or packed({})):
                    connection.execute(TABLE)
                    connection.execute(
                        "INSERT OR REPLACE INTO ledger VALUES (1, ?)", (data,)
                    )
                    connection.execute("COMMIT")
                    self._was_there = True
                return result

    def _is_there(self) -> bool:
        """Tell whether the file exists.

        Raises:
            LedgerUnavailable: The file existed and does not any more, or its folder cannot be the
                right one.
        """
        folder = self._path.parent
        # A relative path would be another file in each working directory.
        if not folder.is_absolute():
            raise self.unavailable("there is no home directory with an absolute path")
        if not folder.is_dir() and (file := file_in_the_way(folder)):
            raise self.unavailable(f"{shown_file(file)} is a file, not a folder")
        # The folder of a backend need not be there, but the backend must.
        is_own = folder.name == OWN and folder.parent.is_dir()
        if self.is_shared and not (folder.is_dir() or is_own):
            make_it = Hint(HintKind.MAKE_FOLDER, file=str(folder))
            raise self.unavailable("there is no such folder", make_it)
        # read first: another thread may be making the file right now
        was_there = self._was_there
        is_there = self._path.exists()
        if was_there and not is_there:
            raise self.unavailable(*GONE)
        return is_there

    def _make_folder(self) -> None:
        folder = self._path.parent
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.is_shared:
                _open_as(folder, 0o2777)

    def _connected(self, how: str) -> sqlite3.Connection:
        """Open the file: `rw`, or `rwc`, which makes a missing file with the first lock."""
        uri = f"{self._path.as_uri()}?mode={how}"
        return sqlite3.connect(
            uri, uri=True, isolation_level=None, timeout=FILE_PATIENCE
        )

    def _begin(self, connection: sqlite3.Connection, begin: str) -> None:
        """Begin a transaction, with a rollback journal."""
        connection.execute(begin)
        # only now the journal's kind shows
        connection.execute("PRAGMA schema_version").fetchone()
        if _journal(connection) != "wal":
            return
        connection.execute("ROLLBACK")
        with suppress(sqlite3.OperationalError):  # the file is locked
            connection.execute("PRAGMA journal_mode = DELETE")
        if _journal(connection) == "wal":
            raise self.unavailable(WRITE_AHEAD, HintKind.CLOSE_PROGRAM)
        connection.execute(begin)

    def _data(self, connection: sqlite3.Connection) -> bytes | None:
        """Return the serialised document; None if the file is empty.

        Raises:
            LedgerUnavailable: The file was emptied, or holds something else.
        """
        # Under the lock, and not by SQLite, which counts the page that it would write next.
        if self._path.stat().st_size == 0:
            if self._was_there:
                raise self.unavailable(*GONE)
            return None
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
            # the rest says more precisely which
            whole_code = getattr(error, "sqlite_errorcode", 0)
            code = whole_code & 0xFF
            if code in BROKEN or whole_code == CUT:
                raise self.unavailable(*DAMAGED) from error
            then = []
            if self.is_shared and code in REFUSED_CODES:
                then = [Hint(HintKind.OPEN_FOLDER, file=str(self._path.parent))]
            why = str(error)
            if code in LOCKED:
                why = (
                    f"another process has held its lock for {FILE_PATIENCE:.0f} s, "
                    "or its file system has no locks"
                )
            raise self.unavailable(why, *then) from error
        except OSError as error:
            raise self.unavailable(error.strerror or str(error)) from error


def _journal(connection: sqlite3.Connection) -> str:
    """Return the kind of a file's journal, such as `delete` or `wal`."""
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _open_as(made: Path, most: int) -> None:
    """Let every user write what was made who may write its folder, whatever the umask is.

    Args:
        made: The file or folder.
        most: The permissions that it gets at most.
    """
    # a file system without permissions, or a group that this user is not in
    with suppress(OSError):
        there = made.parent.stat()
        os.chown(made, -1, there.st_gid)
        made.chmod(there.st_mode & most)
