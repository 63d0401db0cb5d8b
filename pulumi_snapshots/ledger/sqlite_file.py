"""A ledger's document in an SQLite file: in this machine's state directory, or in a folder that several machines share."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import Next, Step
from pulumi_snapshots.ledger.place import OWN, Document, Place, packed

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds to wait for the lock. A process holds it for milliseconds, unless it is suspended or stuck."""
SHORT_WAIT = 0.05
"""Seconds to wait for it within a worker thread, which nothing can interrupt."""
EMPTY = 0.5
"""Seconds after which an empty file is not one that another run is just making."""
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.25
"""Seconds between two tries."""
LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
DAMAGED = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR})
"""The last one is a table that is not there."""
REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "it or its folder cannot be written",
    sqlite3.SQLITE_IOERR: "the file system reports an I/O error",
    sqlite3.SQLITE_PROTOCOL: "the file system has no locks that work",
}
"""Plain words for SQLite's primary result codes."""
REFUSED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
"""Those of a file or folder that belongs to another user."""


class SqliteFile(Place):
    """A `Place` in an SQLite file with one row.

    A rollback journal, not a write-ahead log, which needs memory that no network file system shares. The journal stays where
    it is, and a commit overwrites its header: to delete it would need another flush of the folder to outlive a power failure.

    Args:
        path: the file, absolute.
        clock: for pauses while another process holds the lock.
        is_shared: whether its folder is one that machines share, and that must exist: one that is not mounted would be
            another one on each machine. Otherwise it is made.
        run_in_thread: runs blocking work to its end, even if the caller is cancelled meanwhile.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        is_shared: bool = False,
        run_in_thread: Callable[..., Awaitable[Any]] = anyio.to_thread.run_sync,
    ) -> None:
        self.where = str(path)
        self.is_shared = is_shared
        self._path = path
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._turn = anyio.Lock(fast_acquire=True)
        self._was_there = False

    def beside(self, name: str) -> SqliteFile:
        """Another document in the same folder, as a new process reaches it."""
        path = self._path.with_name(f"{name}.ledger")
        return SqliteFile(path, self._clock, is_shared=self.is_shared, run_in_thread=self._run_in_thread)

    async def read(self) -> Document:
        """Read the document; does not create the file."""
        document: Document = await self._patiently(self._read, self._clock.monotonic())
        return document

    async def edit(self, change: Callable[[Document], T]) -> T:
        """Change the document under SQLite's lock; only what blocks is done in a worker thread."""
        began = self._clock.monotonic()
        async with self._turn:  # connections of one process would wait for each other less patiently
            connection, before = await self._patiently(self._begin, began)
            with anyio.CancelScope(shield=True):
                try:
                    document = self.parsed(before)
                    result = change(document)
                    if (data := packed(document)) != before:
                        await self._run_in_thread(partial(self._commit, connection, before, data))
                finally:
                    await self._run_in_thread(connection.close)  # which takes back what is not committed
        return result

    async def _patiently(self, work: Callable[[], Any], began: float) -> Any:
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._run_in_thread(work)
            except _Locked as locked:
                if locked.is_empty and self._clock.monotonic() - began >= EMPTY:
                    raise self.damaged() from None
                if self._clock.monotonic() - began >= PATIENCE:
                    why = f"another process has held its lock for {PATIENCE:.0f} s, or its file system has no locks"
                    raise self.unavailable(why) from None
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _read(self) -> Document:
        with self._plain_reasons():
            self._check_folder()
            if not self._is_there():
                return {}
            with closing(self._connected()) as connection:
                return self.parsed(self._data(connection))

    def _begin(self) -> tuple[sqlite3.Connection, bytes]:
        """Take the lock, and read."""
        with self._plain_reasons(), ExitStack() as on_failure:
            connection = on_failure.enter_context(closing(self._opened()))
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_mode = PERSIST")
            connection.execute("BEGIN IMMEDIATE")
            before = self._data(connection)
            on_failure.pop_all()
        return connection, before

    def _commit(self, connection: sqlite3.Connection, before: bytes, data: bytes) -> None:
        with self._plain_reasons():
            connection.execute("UPDATE ledger SET document = ?", (data,))
            connection.execute("COMMIT")
        if before == packed({}) and self.is_shared:
            _open_as(self._path.parent, self._path.with_name(f"{self._path.name}-journal"), 0o666)

    def _check_folder(self) -> None:
        """Raise an error if the folder cannot be the one that is meant."""
        if not self._path.is_absolute():  # it would be another file in each working directory
            raise self.unavailable("there is no home directory with an absolute path")
        folder = self._path.parent
        own = folder.name == OWN and folder.parent.is_dir()  # of a backend, which is there
        if self.is_shared and not (folder.is_dir() or own):
            raise self.unavailable("there is no such folder", [Next(Step.MAKE_FOLDER, file=str(folder))])

    def _is_there(self) -> bool:
        """Whether the file exists; raises if it did, and does not any more."""
        if not self._path.exists():
            if self._was_there:
                raise self.gone()
            return False
        return True

    def _opened(self) -> sqlite3.Connection:
        """Open the file for an edit; make it if it does not exist."""
        self._check_folder()
        if self._is_there():
            return self._connected()
        folder = self._path.parent
        if not self.is_shared:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not folder.exists():
            folder.mkdir(exist_ok=True)
            _open_as(folder.parent, folder, 0o2777)
        self._make()
        return self._connected()

    def _make(self) -> None:
        """Make the file with an empty document in one write, so that an empty file is one that was cut."""
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as new:
            new.execute("CREATE TABLE ledger (id INTEGER PRIMARY KEY CHECK (id = 1), document BLOB)")
            new.execute("INSERT INTO ledger VALUES (1, ?)", (packed({}),))
            content = new.serialize()
        try:
            made = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(made, "wb") as file:
                file.write(content)
        except FileExistsError:
            return  # another run was faster
        except OSError:
            self._path.unlink(missing_ok=True)
            raise
        _open_as(self._path.parent, self._path, 0o666 if self.is_shared else 0o600)

    def _connected(self) -> sqlite3.Connection:
        uri = f"{self._path.as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=SHORT_WAIT, check_same_thread=False)

    def _data(self, connection: sqlite3.Connection) -> bytes:
        """The serialised document."""
        if self._path.stat().st_size == 0:
            raise _Locked(is_empty=True)
        row = connection.execute("SELECT document FROM ledger").fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise self.damaged()
        self._was_there = True
        return row[0]

    @contextmanager
    def _plain_reasons(self) -> Iterator[None]:
        """Raise `LedgerUnavailable` for every error of SQLite and the system, or `_Locked`."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more precisely which
            if code in LOCKED:
                raise _Locked from error
            if code in DAMAGED:
                raise self.damaged() from error
            is_refused = self.is_shared and code in REFUSED
            then = [Next(Step.OPEN_FOLDER, file=str(self._path.parent))] if is_refused else []
            raise self.unavailable(REASONS.get(code, str(error)), then) from error
        except OSError as error:
            raise self.unavailable(error.strerror or str(error)) from error


def _open_as(folder: Path, made: Path, most: int) -> None:
    """Let all who may write a folder write what was made in it, whatever the umask is; at most with the bits of `most`."""
    with suppress(OSError):  # a file system without permissions, or a group that this user is not in
        there = folder.stat()
        os.chown(made, -1, there.st_gid)
        made.chmod(there.st_mode & most)


class _Locked(Exception):
    """Another process holds the lock, or is just making the file."""

    def __init__(self, *, is_empty: bool = False) -> None:
        super().__init__()
        self.is_empty = is_empty
