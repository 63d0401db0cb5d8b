"""A PostgreSQL server as the emulator uses it.

Its databases, and the programs that dump and restore them.

Each database of the emulator has its id as its name, and a comment that marks it. The emulator
touches no other.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from squarecloud_emulator.data.store import Rows, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MARK = "squarecloud-emulator"
"""How the comment of a database begins that an emulator has made. The emulator touches no other."""
MEMBER = "database.dump"
"""The dump in a snapshot's zip."""
_LAST_LINES = 5  # of a failed program, to show
_CONNECT_SECONDS = 10  # how long a connection may take
_VERSION_SECONDS = 30  # how long a program may take to print its version
# no id has a dot
_NEW = ".new"
_OLD = ".old"
_LONGEST_ID = 63 - len(_NEW)  # PostgreSQL truncates longer names
_OLDEST = 14  # every later version offers all that the emulator uses
# From this major version on, pg_restore sets a parameter that earlier servers do not know, and
# fails.
_NEW_PARAMETER = 17
_TERMINATE_MILLISECONDS = 5000
_OPEN: LiteralString = "ALTER DATABASE {} ALLOW_CONNECTIONS true"


class PostgresServer:
    """A server that was checked and can be used.

    Args:
        dsn: A URL or a list of keywords, as libpq takes it. It may hold the password; so may
            PGPASSWORD or a password
            file. The database in it must exist.
        kept: Whether the databases outlive the emulator.

    Raises:
        ValueError: It is no DSN, the server does not answer, or pg_dump and pg_restore do not fit
            the server.

    """

    def __init__(self, dsn: str, *, kept: bool) -> None:
        self._mark = (
            f"{MARK}, kept" if kept else f"{MARK}, {socket.gethostname()} {os.getpid()}"
        )
        self._connections: set[psycopg.Connection] = set()
        self._programs: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()
        try:
            self._parameters: dict[str, Any] = conninfo_to_dict(
                dsn, connect_timeout=_CONNECT_SECONDS
            )
        except psycopg.ProgrammingError:
            # The library's message may quote the part with the password.
            raise ValueError(
                "not a PostgreSQL DSN: it is postgresql://USER@HOST:PORT/DATABASE, or host=… "
                "port=… user=… dbname=…"
            ) from None
        if self._parameters.get("sslpassword"):
            raise ValueError(
                "a DSN with sslpassword would show it to other programs; use a key without a "
                "password"
            )
        self._password = self._parameters.pop("password", None)
        try:
            with self.connected() as connection:
                self._version = connection.info.server_version // 10000
                allowed = connection.execute(
                    "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
                ).fetchone()
        except psycopg.Error as error:
            raise ValueError(
                f"cannot use PostgreSQL at {self._place()}: {self._said(error)}"
            ) from None
        if self._version < _OLDEST:
            raise ValueError(
                f"PostgreSQL {self._version} at {self._place()} is too old: {_OLDEST} or later is "
                "needed"
            )
        if allowed is None or not allowed[0]:
            raise ValueError(
                f"the user of the DSN may not create databases at {self._place()}: ALTER ROLE … "
                "CREATEDB"
            )
        self._check_programs()

    # Databases.

    def create(self, database_id: str) -> None:
        """Create an empty database.

        ValueError if the id is too long or taken, StoreError if the server refuses.
        """
        if len(database_id) > _LONGEST_ID:
            raise ValueError(
                f"the id of a database at PostgreSQL has at most {_LONGEST_ID} characters: "
                f"{database_id}"
            )
        with (
            self._explained(f"cannot create database {database_id}"),
            self.connected() as connection,
        ):
            mark = self._mark_of(connection, database_id)
            if mark is not None:
                _refuse_all_but_left_over(database_id, mark)
                self._drop(connection, database_id)
            self._make(connection, database_id)

    def drop(self, database_id: str) -> None:
        """Drop a database, and cut the connections to it."""
        with (
            self._explained(f"cannot drop database {database_id}"),
            self.connected() as connection,
        ):
            self._drop(connection, database_id)

    def claim(self, database_id: str) -> None:
        """Take over a database that an earlier run has created; ValueError if it does not exist."""
        with (
            self._explained(f"cannot use database {database_id}"),
            self.connected() as connection,
        ):
            if not (self._mark_of(connection, database_id) or "").startswith(MARK):
                raise ValueError(
                    f"PostgreSQL at {self._place()} has no database {database_id} of the emulator's"
                )
            # A run that was killed during a restore may have left it closed to connections.
            _run_at(connection, _OPEN, database_id)

    def execute(self, database_id: str, statements: Sequence[str]) -> list[Rows]:
        """Run SQL statements in one transaction; return the rows of each."""
        results: list[Rows] = []
        with (
            self._explained("PostgreSQL refuses"),
            self.connected(database_id, autocommit=False) as connection,
        ):
            for statement in statements:
                cursor = connection.execute(statement.encode())
                results.append(
                    [list(row) for row in cursor.fetchall()]
                    if cursor.description
                    else []
                )
        return results

    # Dumps.

    def dump(self, database_id: str, into: Path) -> None:
        """Write a database to a file in pg_dump's custom format.

        Compressed, with large objects, for any later pg_restore.
        """
        self._run(
            "pg_dump",
            "--format=custom",
            f"--file={into}",
            f"--dbname={self._conninfo(database_id)}",
        )

    def restore(self, database_id: str, dump: Path, *, careless: bool = False) -> None:
        """Replace a database by a dump.

        Restore into a new one, which takes the name once it is complete.
        """
        with self._beside(database_id) as (connection, new, old):
            self._load(new, dump, careless=careless)
            self._swap(connection, database_id, new, old)

    def alter(self, database_id: str, dump: Path, statements: Sequence[str]) -> None:
        """Run SQL on the data in a dump; without any, make it the dump of an empty database."""
        with self._beside(database_id) as (_, new, _):
            if statements:
                self._load(new, dump)
                self.execute(new, statements)
            self.dump(new, dump)

    def stop(self) -> None:
        """End the programs and statements that are running, and start no program any more."""
        with self._lock:
            self._stopped = True
            for process in self._programs:
                process.terminate()
            for connection in self._connections:
                connection.cancel()

    @contextlib.contextmanager
    def _beside(
        self, database_id: str
    ) -> Iterator[tuple[psycopg.Connection[Any], str, str]]:
        """A connection, the name of a new database beside another one, and that for its old data.

        Gone at the end.
        """
        new = f"{database_id}{_NEW}"
        old = f"{database_id}{_OLD}"
        with (
            self._explained(f"cannot restore {database_id}"),
            self.connected() as connection,
        ):
            for left_over in (new, old):
                self._drop(connection, left_over)
            try:
                self._make(connection, new)
                yield connection, new, old
            finally:
                for left_over in (new, old):
                    self._drop(connection, left_over)

    def _load(self, name: str, dump: Path, *, careless: bool = False) -> None:
        strict = () if careless else ("--exit-on-error",)
        self._run(
            "pg_restore",
            *strict,
            f"--dbname={self._conninfo(name)}",
            str(dump),
            careless=careless,
        )

    # Connections.

    @contextlib.contextmanager
    def connected(
        self,
        database_id: str | None = None,
        *,
        autocommit: bool = True,
    ) -> Iterator[psycopg.Connection]:
        """Connect to a database, or to the one in the DSN."""
        opened = psycopg.connect(
            self._conninfo(database_id),
            password=self._password,
            autocommit=autocommit,
        )
        with opened as connection:
            with self._lock:
                self._connections.add(connection)
            try:
                yield connection
            finally:
                with self._lock:
                    self._connections.discard(connection)

    def _conninfo(self, database_id: str | None) -> str:
        """Return a DSN without its password, since any user of the machine can read arguments."""
        conninfo: str = make_conninfo(
            **{**self._parameters, **({"dbname": database_id} if database_id else {})}
        )
        return conninfo

    def _place(self) -> str:
        host = (
            self._parameters.get("host")
            or self._parameters.get("hostaddr")
            or "this machine"
        )
        return f"{host} port {self._parameters.get('port') or 5432}"

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise StoreError(f"{what}: {self._said(error)}") from error

    def _said(self, error: Exception) -> str:
        return (str(error).strip().splitlines() or [type(error).__name__])[0]

    def _make(self, connection: psycopg.Connection[Any], name: str) -> None:
        # template0, since objects that someone has added to template1 would clash with the same
        # ones in a dump.
        _run_at(connection, "CREATE DATABASE {} TEMPLATE template0", name)
        mark = sql.SQL("COMMENT ON DATABASE {} IS {}").format(
            sql.Identifier(name), sql.Literal(self._mark)
        )
        connection.execute(mark)

    def _drop(self, connection: psycopg.Connection[Any], name: str) -> None:
        if (self._mark_of(connection, name) or "").startswith(MARK):
            _run_at(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _mark_of(self, connection: psycopg.Connection[Any], name: str) -> str | None:
        """The comment on a database; None if the database does not exist."""
        query = (
            "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE "
            "datname = %s"
        )
        row = connection.execute(query, (name,)).fetchone()
        return None if row is None else str(row[0])

    def _swap(
        self,
        connection: psycopg.Connection[Any],
        name: str,
        new: str,
        old: str,
    ) -> None:
        """Swap the names in one transaction.

        A client finds the old data or the new, never neither.
        """
        _run_at(connection, "ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
        try:
            connection.execute(
                "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE datname = %s",
                (_TERMINATE_MILLISECONDS, name),
            )
            with connection.transaction():
                _run_at(connection, "ALTER DATABASE {} RENAME TO {}", name, old)
                _run_at(connection, "ALTER DATABASE {} RENAME TO {}", new, name)
        except psycopg.Error:
            _run_at(connection, _OPEN, name)
            raise

    # Programs.

    def _check_programs(self) -> None:
        for name in ("pg_dump", "pg_restore"):
            path = shutil.which(name)
            if path is None:
                raise ValueError(
                    f"{name} is not on PATH: install PostgreSQL's client programs, version "
                    f"{self._version} or later"
                )
            answer = subprocess.run(  # noqa: S603 - a program of PATH, no shell
                [path, "--version"],
                capture_output=True,
                text=True,
                timeout=_VERSION_SECONDS,
                check=False,
            )
            found = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
            if found is None:
                raise ValueError(
                    f"{path} does not run: {(answer.stderr or answer.stdout).strip()[-200:]}"
                )
            have = int(found[1])
            what = ""
            if have < self._version:
                what = f"older than the server's {self._version}, which it cannot read"
            elif name == "pg_restore" and have >= _NEW_PARAMETER > self._version:
                what = f"which cannot restore into a server of version {self._version}"
            if what:
                raise ValueError(
                    f"{path} is version {have}, {what}: put the client programs of PostgreSQL "
                    f"{self._version} first on PATH"
                )

    def _run(self, program: str, *arguments: str, careless: bool = False) -> None:
        """Run a program to its end.

        StoreError if it failed, unless careless, or if the emulator stops.

        Any user of the machine can read its arguments.
        """
        password = {} if self._password is None else {"PGPASSWORD": str(self._password)}
        with self._lock:
            self._refuse_if_stopped()
            process = subprocess.Popen(  # noqa: S603 - a fixed program, no shell
                [program, "--no-password", *arguments],
                env={**os.environ, "LC_ALL": "C", **password},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            self._programs.add(process)
        _, errors = process.communicate()
        with self._lock:
            self._programs.discard(process)
        if process.returncode:
            self._refuse_if_stopped()
            if not careless:
                last = (
                    errors.decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
                )
                raise StoreError(f"{program} failed: {' / '.join(last)}")

    def _refuse_if_stopped(self) -> None:
        if self._stopped:
            raise StoreError("the emulator stops")


def _run_at(
    connection: psycopg.Connection[Any],
    command: LiteralString,
    *names: str,
) -> None:
    connection.execute(sql.SQL(command).format(*map(sql.Identifier, names)))


def _refuse_all_but_left_over(name: str, mark: str) -> None:
    """Raise ValueError unless a killed emulator has left a database, which may be dropped."""
    left = re.fullmatch(rf"{MARK}, (\S+) (\d+)", mark)
    if left is None or left[1] != socket.gethostname() or _is_running(int(left[2])):
        whose = "another emulator's" if mark.startswith(MARK) else "not the emulator's"
        raise ValueError(
            f"the PostgreSQL server has a database {name} already, and it is {whose}; take "
            "another id, or drop it"
        )


def holds_password(dsn: str) -> bool:
    """Whether a URL, or keywords as libpq takes them, may have a password in it."""
    login = dsn.partition("://")[2].rpartition("@")[0]
    return ":" in login or re.search(r"\bpassword\s*=", dsn) is not None


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
