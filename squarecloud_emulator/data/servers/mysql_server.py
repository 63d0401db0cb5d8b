"""A MySQL or MariaDB server as the emulator uses it: its databases, and the programs that dump and restore them.

Each database of the emulator has its id as its name, and a row in the table of marks. The emulator touches no other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

import pymysql

from squarecloud_emulator.data.servers.server import MARK, DataServer, Programs
from squarecloud_emulator.data.store import Rows, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["MySQLServer"]

_CONNECT_SECONDS = 10  # how long a connection may take
_PORT = 3306
_MARKS = "`squarecloud_emulator`.`marks`"
_NEW = ".new"  # no id has a dot
_PASSWORD = "MYSQL_PWD"  # noqa: S105 - the variable that MySQL's own programs read
_DUMPS = ("mariadb-dump", "mysqldump")
_CLIENTS = ("mariadb", "mysql")
# One consistent read of all tables, with everything that belongs to them.
_COMPLETE, _COMPLETE_WITHIN = b"\n-- Dump completed", 200  # how a dump ends, in its last bytes
_DUMP_OPTIONS = ("--single-transaction", "--routines", "--triggers", "--events", "--hex-blob", "--no-tablespaces")


class MySQLServer(DataServer):
    """A server that was checked and can be used.

    Args:
        dsn: A URL. It may hold the password; so may MYSQL_PWD.
        kept: Whether the databases outlive the emulator.

    Raises:
        ValueError: It is no DSN, the server does not answer, or there are no programs to dump and restore with.
    """

    title = "MySQL"
    member = "database.sql"
    longest_id = 64 - len(_NEW)
    errors = pymysql.Error

    def __init__(self, dsn: str, *, kept: bool) -> None:
        super().__init__(kept=kept)
        parts = _parts(dsn)
        if parts is None or not parts.hostname or parts.scheme not in {"mysql", "mariadb"}:
            raise ValueError("not a MySQL DSN: it is mysql://USER@HOST:PORT")
        self._host, self._port = parts.hostname, parts.port or _PORT
        self._user = unquote(parts.username or "root")
        self._password = unquote(parts.password or "") or os.environ.get(_PASSWORD, "")
        self._programs = Programs()
        try:
            with self._connected() as cursor:
                cursor.execute("SELECT VERSION()")
        except pymysql.Error as error:
            raise ValueError(f"cannot use MySQL at {self._place()}: {self._said(error)}") from None
        self._dump_program, self._client = (self._program(names) for names in (_DUMPS, _CLIENTS))

    def create(self, database_id: str) -> None:
        """Create an empty database.

        Raises:
            ValueError: The id is too long or taken.
            StoreError: The server refuses.
        """
        self._check_length(database_id)
        with self._explained(f"cannot create database {database_id}"), self._connected() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {_MARKS.partition('.')[0]}")
            cursor.execute(f"CREATE TABLE IF NOT EXISTS {_MARKS} (name VARCHAR(64) PRIMARY KEY, mark VARCHAR(255))")
            if cursor.execute("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", (database_id,)):
                self._check_owner(database_id, self._mark_of(cursor, database_id))
            cursor.execute(f"REPLACE INTO {_MARKS} VALUES (%s, %s)", (database_id, self._mark))  # noqa: S608 - as below
            self._make(cursor, database_id)

    def drop(self, database_id: str) -> None:
        """Drop a database."""
        with self._explained(f"cannot drop database {database_id}"), self._connected() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {_name(database_id)}")
            cursor.execute(f"DELETE FROM {_MARKS} WHERE name = %s", (database_id,))  # noqa: S608 - our own names

    def claim(self, database_id: str) -> None:
        """Take over a database that an earlier run has created.

        Raises:
            ValueError: It does not exist.
            StoreError: The server refuses.
        """
        with self._explained(f"cannot use database {database_id}"), self._connected() as cursor:
            found = cursor.execute("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", (database_id,))
            if not found or not self._mark_of(cursor, database_id).startswith(MARK):
                raise ValueError(f"MySQL at {self._place()} has no database {database_id} of the emulator's")

    def execute(self, database_id: str, statements: Sequence[str]) -> list[Rows]:
        """Run SQL statements in one transaction, as far as MySQL allows that; return the rows of each.

        Raises:
            StoreError: A statement is wrong, or the server cannot be reached.
        """
        results: list[Rows] = []
        with self._explained("MySQL refuses"), self._connected(database_id) as cursor:
            for statement in statements:
                cursor.execute(statement)
                results.append([list(row) for row in cursor.fetchall()])
            cursor.connection.commit()
        return results

    def dump(self, database_id: str, into: Path) -> None:
        """Write a database to a file of SQL.

        Raises:
            StoreError: It failed.
        """
        with into.open("wb") as file:
            self._programs.run(
                [self._dump_program, *self._login(), *_DUMP_OPTIONS, database_id], self._environment(), stdout=file
            )

    def restore(self, database_id: str, dump: Path, *, careless: bool = False) -> None:
        """Replace a database by a dump. It is loaded beside the database first, to see that it is whole.

        Raises:
            StoreError: It failed; the database holds what it held before.
        """
        if not careless:
            with self._beside(database_id) as new:
                self._load(new, dump)
        with self._explained(f"cannot restore {database_id}"), self._connected() as cursor:
            self._make(cursor, database_id)
        self._load(database_id, dump, careless=careless)

    def alter(self, database_id: str, dump: Path, statements: Sequence[str]) -> None:
        """Run SQL on the data in a dump; without any, make it the dump of an empty database.

        Raises:
            StoreError: A statement is wrong, or it failed.
        """
        with self._beside(database_id) as new:
            if statements:
                self._load(new, dump)
                self.execute(new, statements)
            self.dump(new, dump)

    def stop(self) -> None:
        """End the programs and statements that are running."""
        self._programs.stop()
        with self._connecting:
            running = [connection.thread_id() for connection in self._connections]
        for number in running:
            with contextlib.suppress(pymysql.Error), self._connected() as cursor:
                cursor.execute(f"KILL QUERY {number:d}")

    @contextlib.contextmanager
    def _beside(self, database_id: str) -> Iterator[str]:
        """The name of a new database beside another one, which is gone at the end."""
        new = f"{database_id}{_NEW}"
        with self._explained(f"cannot restore {database_id}"), self._connected() as cursor:
            self._make(cursor, new)
            try:
                yield new
            finally:
                cursor.execute(f"DROP DATABASE IF EXISTS {_name(new)}")

    def _make(self, cursor: Any, name: str) -> None:
        cursor.execute(f"DROP DATABASE IF EXISTS {_name(name)}")
        cursor.execute(f"CREATE DATABASE {_name(name)} CHARACTER SET utf8mb4")

    def _load(self, name: str, dump: Path, *, careless: bool = False) -> None:
        force = ("--force",) if careless else ()
        with dump.open("rb") as file:
            file.seek(max(0, dump.stat().st_size - _COMPLETE_WITHIN))
            if not careless and _COMPLETE not in file.read():
                raise StoreError("the snapshot holds no whole dump of MySQL")
            file.seek(0)
            self._programs.run(
                [self._client, *self._login(), *force, name], self._environment(), stdin=file, careless=careless
            )

    def _mark_of(self, cursor: Any, name: str) -> str:
        cursor.execute(f"SELECT mark FROM {_MARKS} WHERE name = %s", (name,))  # noqa: S608 - our own names
        return "".join(row[0] for row in cursor.fetchall())

    @contextlib.contextmanager
    def _connected(self, database_id: str | None = None) -> Iterator[Any]:
        connection = pymysql.connect(
            host=self._host,
            port=self._port,
            user=self._user,
            password=self._password,
            database=database_id,
            charset="utf8mb4",
            connect_timeout=_CONNECT_SECONDS,
            autocommit=database_id is None,
        )
        with self._using(connection), contextlib.closing(connection), connection.cursor() as cursor:
            yield cursor

    def _login(self) -> tuple[str, ...]:
        """The arguments of MySQL's programs, without the password: any user of the machine can read them."""
        return (
            "--no-defaults",
            f"--host={self._host}",
            f"--port={self._port}",
            f"--user={self._user}",
            "--default-character-set=utf8mb4",
        )

    def _environment(self) -> dict[str, str]:
        return {_PASSWORD: self._password}

    def _program(self, names: tuple[str, ...]) -> str:
        for name in names:
            if shutil.which(name):
                return name
        raise ValueError(f"{' and '.join(names)} are not on PATH: install MySQL's or MariaDB's client programs")

    def _place(self) -> str:
        return f"{self._host} port {self._port}"

    def _said(self, error: Exception) -> str:
        return str(error.args[-1] if error.args else error)


def _parts(dsn: str) -> SplitResult | None:
    try:
        parts = urlsplit(dsn)
        parts.port  # noqa: B018 - it is read only when it is asked for
    except ValueError:
        return None  # the error would quote a part
    return parts


def _name(name: str) -> str:
    return f"`{name}`"  # an id has no backtick
