"""A PostgreSQL server as the emulator uses it: its databases, its programs, and who owns what; snapshots are the store's.

A database of the emulator is called by its id and marked by a comment, so that nobody else's is ever touched.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pulumi_snapshots.emulator.data.store import Rows, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["PostgresServer", "holds_password"]

_CONNECT_SECONDS = 10  # how long a connection may take
_VERSION_SECONDS = 30  # how long a program may take to tell its version
_NEW, _OLD = ".new", ".old"  # no id has a dot
_LONGEST_ID = 63 - len(_NEW)  # PostgreSQL cuts longer names off
_OLDEST = 14  # what the emulator uses of a server is in every later one
# From this major version on pg_restore sets a parameter that earlier servers do not know, and fails there.
_NEW_PARAMETER = 17
_TERMINATE_MILLISECONDS = 5000
_MARK = "squarecloud-emulator"
_LAST_WORDS = 5  # lines of a failed program that are shown


class PostgresServer:
    """One server, found usable.

    Args:
        dsn: A URL or a list of keywords, as libpq takes it; it may hold a password, and PGPASSWORD and a password file
            serve as well. The database in it must exist; others are made beside it.
        kept: Whether databases outlive the emulator.

    Raises:
        ValueError: It is no DSN, nobody answers there, or the programs that dump and restore do not fit the server.
    """

    def __init__(self, dsn: str, *, kept: bool) -> None:
        try:
            self._parameters: dict[str, Any] = conninfo_to_dict(dsn, connect_timeout=_CONNECT_SECONDS)
        except psycopg.ProgrammingError:
            # The library's own words may quote the part with the password.
            raise ValueError(
                "not a PostgreSQL DSN: it is postgresql://USER@HOST:PORT/DATABASE, or host=… port=… user=… dbname=…"
            ) from None
        if self._parameters.get("sslpassword"):
            raise ValueError("a DSN with sslpassword would show it to other programs; use a key without a password")
        self._password = self._parameters.pop("password", None)
        self._mark = f"{_MARK}, kept" if kept else f"{_MARK}, {socket.gethostname()} {os.getpid()}"
        self._running: set[subprocess.Popen[str]] = set()
        self._connections: set[psycopg.Connection[Any]] = set()
        self._lock = threading.Lock()
        self._closed = False
        try:
            with self.connected() as connection:
                self._version = connection.info.server_version // 10000
                allowed = connection.execute(
                    "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
                ).fetchone()
        except psycopg.Error as error:
            raise ValueError(f"cannot use PostgreSQL at {self._place()}: {_first_line(error)}") from None
        if self._version < _OLDEST:
            raise ValueError(f"PostgreSQL {self._version} at {self._place()} is too old: {_OLDEST} or later is needed")
        if allowed is None or not allowed[0]:
            raise ValueError(f"the user of the DSN may not create databases at {self._place()}: ALTER ROLE … CREATEDB")
        self._check_programs()

    # Databases.

    def create(self, database_id: str) -> None:
        """Make the database of this id, empty.

        Raises:
            ValueError: The name is too long or taken.
            StoreError: The server refuses.
        """
        if len(database_id) > _LONGEST_ID:
            raise ValueError(f"the id of a database at PostgreSQL has at most {_LONGEST_ID} characters: {database_id}")
        with self._told(f"cannot create database {database_id}"), self.connected() as connection:
            self._clear_place(connection, database_id)
            self._make(connection, database_id)

    def drop(self, database_id: str) -> None:
        """Drop the database of this id, and end the connections to it."""
        with self._told(f"cannot drop database {database_id}"), self.connected() as connection:
            self._drop(connection, database_id)

    def claim(self, database_id: str) -> None:
        """Use a database that an earlier run has made.

        Raises:
            ValueError: There is none.
            StoreError: The server refuses.
        """
        with self._told(f"cannot use database {database_id}"), self.connected() as connection:
            if not (self._mark_of(connection, database_id) or "").startswith(_MARK):
                raise ValueError(f"PostgreSQL at {self._place()} has no database {database_id} of the emulator's")
            # A run that was killed while it restored may have left it closed.
            self._open(connection, database_id)

    def execute(self, database_id: str, statements: Sequence[str]) -> list[Rows]:
        """Run SQL statements in one transaction; return the rows of each.

        Raises:
            StoreError: A statement is wrong, or the server cannot be reached.
        """
        results: list[Rows] = []
        with self._told("PostgreSQL refuses"), self.connected(database_id, autocommit=False) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                results.append([list(row) for row in cursor.fetchall()] if cursor.description else [])
        return results

    # Dumps.

    def dump(self, database_id: str, into: str) -> None:
        """Write pg_dump's custom format of a database to a file.

        One file that pg_restore reads on any later version, compressed, with large objects: what most services keep.

        Raises:
            StoreError: It failed.
        """
        self._run("pg_dump", "--format=custom", f"--file={into}", f"--dbname={self._conninfo(database_id)}")

    def restore(self, database_id: str, dump: str) -> None:
        """Put a dump in the place of a database: into one beside it, which takes its name once it is whole.

        Raises:
            StoreError: It failed; the database holds what it held.
        """
        beside, old = f"{database_id}{_NEW}", f"{database_id}{_OLD}"
        with self._told(f"cannot restore {database_id}"), self.connected() as connection:
            for left_over in (beside, old):
                self._drop(connection, left_over)
            try:
                self._make(connection, beside)
                self._run("pg_restore", "--exit-on-error", f"--dbname={self._conninfo(beside)}", dump)
                self._swap(connection, database_id, beside, old)
            finally:
                for left_over in (beside, old):
                    self._drop(connection, left_over)

    def close(self) -> None:
        """End the programs and statements that run."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.terminate()
            for connection in self._connections:
                connection.cancel()

    # How.

    @contextlib.contextmanager
    def connected(self, database_id: str | None = None, *, autocommit: bool = True) -> Iterator[psycopg.Connection]:
        """A connection to a database, or to the one of the DSN."""
        with psycopg.connect(self._conninfo(database_id), password=self._password, autocommit=autocommit) as connection:
            with self._lock:
                self._connections.add(connection)
            try:
                yield connection
            finally:
                with self._lock:
                    self._connections.discard(connection)

    def _conninfo(self, database_id: str | None) -> str:
        """Where a database is, for arguments that everybody may read: without the password."""
        return make_conninfo(**{**self._parameters, **({"dbname": database_id} if database_id else {})})

    def _place(self) -> str:
        host = self._parameters.get("host") or self._parameters.get("hostaddr") or "this machine"
        return f"{host} port {self._parameters.get('port') or 5432}"

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise StoreError(f"{what}: {_first_line(error)}") from error

    def _make(self, connection: psycopg.Connection[Any], name: str) -> None:
        # template0: what somebody has put into template1 must not meet the same in a dump.
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        mark = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(self._mark))
        connection.execute(mark)

    def _drop(self, connection: psycopg.Connection[Any], name: str) -> None:
        if (self._mark_of(connection, name) or "").startswith(_MARK):
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _mark_of(self, connection: psycopg.Connection[Any], name: str) -> str | None:
        """The comment of a database; None where there is no such database."""
        query = "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %s"
        row = connection.execute(query, (name,)).fetchone()
        return None if row is None else str(row[0])

    def _clear_place(self, connection: psycopg.Connection[Any], name: str) -> None:
        """Drop what an emulator left that was killed, and nothing else."""
        mark = self._mark_of(connection, name)
        if mark is None:
            return
        left = re.fullmatch(rf"{_MARK}, (\S+) (\d+)", mark)
        if left is None or left[1] != socket.gethostname() or _lives(int(left[2])):
            whose = "another emulator's" if mark.startswith(_MARK) else "not the emulator's"
            raise ValueError(
                f"the PostgreSQL server has a database {name} already, and it is {whose}; take another id, or drop it"
            )
        self._drop(connection, name)

    def _swap(self, connection: psycopg.Connection[Any], name: str, new: str, old: str) -> None:
        """In one step: who looks finds the old data or the new, never none."""
        current = sql.Identifier(name)
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(current))
        try:
            connection.execute(
                "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE datname = %s",
                (_TERMINATE_MILLISECONDS, name),
            )
            with connection.transaction():
                rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                connection.execute(rename.format(current, sql.Identifier(old)))
                connection.execute(rename.format(sql.Identifier(new), current))
        except psycopg.Error:
            self._open(connection, name)
            raise

    def _open(self, connection: psycopg.Connection[Any], name: str) -> None:
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))

    # Programs.

    def _check_programs(self) -> None:
        for name in ("pg_dump", "pg_restore"):
            where = shutil.which(name)
            if where is None:
                raise ValueError(
                    f"{name} is not on PATH: install PostgreSQL's client programs, version {self._version} or later"
                )
            answer = subprocess.run(  # noqa: S603 - a program of PATH, no shell
                [where, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
            )
            found = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
            if found is None:
                raise ValueError(f"{where} does not run: {(answer.stderr or answer.stdout).strip()[-200:]}")
            have = int(found[1])
            if have < self._version:
                raise ValueError(
                    f"{where} is version {have}, older than the server's {self._version}, which it cannot read: put"
                    f" the client programs of PostgreSQL {self._version} first on PATH"
                )
            if name == "pg_restore" and have >= _NEW_PARAMETER > self._version:
                raise ValueError(
                    f"{where} is version {have}, which cannot restore into a server of version {self._version}: put"
                    f" the client programs of PostgreSQL {self._version} first on PATH"
                )

    def _run(self, program: str, *arguments: str) -> None:
        environment = {**os.environ, "LC_ALL": "C"}
        if self._password is not None:
            environment["PGPASSWORD"] = str(self._password)
        with self._lock:
            if self._closed:
                raise StoreError("the emulator stops")
            process = subprocess.Popen(  # noqa: S603 - a fixed program, no shell
                [program, "--no-password", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            self._running.add(process)
        _, words = process.communicate()
        with self._lock:
            self._running.discard(process)
        if process.returncode:
            if self._closed:
                raise StoreError("the emulator stops")
            raise StoreError(f"{program} failed: {' / '.join(words.strip().splitlines()[-_LAST_WORDS:])}")


def holds_password(dsn: str) -> bool:
    """Whether a DSN that can be read has a password in it."""
    try:
        return bool(conninfo_to_dict(dsn).get("password"))
    except psycopg.ProgrammingError:
        return False


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _lives(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
