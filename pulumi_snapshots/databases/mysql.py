"""MySQL and MariaDB, by PyMySQL."""

import math
import re
import ssl
from typing import Any

import pymysql

from pulumi_snapshots.clock import system_monotonic
from pulumi_snapshots.databases.connection import (
    GIB,
    BlockingConnection,
    Refused,
    Scalar,
    Table,
    only_column,
)
from pulumi_snapshots.databases.kinds import login, parameters

MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
"""Values of `ssl-mode`, as MySQL's own programs have them."""
READING = (
    "SELECT",
    "WITH",
    "SHOW",
    "DESCRIBE",
    "DESC",
    "EXPLAIN",
    "TABLE",
    "VALUES",
    "CHECKSUM",
)
"""First words of commands that are sent.

Others, such as CALL, may begin a transaction that writes.
"""
PREPARE_MYSQL = "SET SESSION time_zone = '+00:00'"
LIMIT_ROWS = "SET SESSION sql_select_limit = 2"
"""Two rows of a check's result show that there are too many."""
LIMITS = ("connect_timeout", "read_timeout", "write_timeout")
INTO_FILE = re.compile(r"\b(?:out|dump)file\b", re.IGNORECASE)

TABLES_OF_MYSQL = """
SELECT table_name, table_type, coalesce(data_length, 0), coalesce(table_rows, 0)
FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW')
"""
GRANT = re.compile(
    r"GRANT [^`\"]*\b(?:ALL|SELECT|INSERT)\b[^`\"]* ON (?:\*|[`\"](?P<pattern>.+)[`\"])\.\* TO"
)
"""A right to all tables of a server, or of the databases whose names match a pattern."""
TOO_FEW_RIGHTS = (
    "the user of the connection has no right to all its tables, and the server does not list the "
    "others: grant SELECT on the database"
)
WRITING_COMMANDS = (
    "insert",
    "insert_select",
    "update",
    "update_multi",
    "delete",
    "delete_multi",
    "replace",
    "replace_select",
    "load",
    "truncate",
    "create_table",
    "alter_table",
    "drop_table",
    "rename_table",
)
OUT_OF_TIME = frozenset({1969, 3024})
"""Errors of MariaDB and MySQL for a statement that takes too long."""


class MySQL(BlockingConnection):
    """A connection on which each command is one statement in a read-only transaction of its own."""

    counted_up_to = 10 * GIB  # its estimates can be wrong by half

    def __init__(
        self,
        dsn: str,
        seconds: float,
    ) -> None:
        arguments = (
            login(dsn) | tls_arguments(parameters(dsn)) | dict.fromkeys(LIMITS, seconds)
        )
        self._connection: Any = pymysql.connect(
            **arguments, charset="utf8mb4", init_command=PREPARE_MYSQL
        )
        self.end = self._connection.close
        self.is_lost = lambda _: not self._connection.open

    def ask(self, command: str) -> Scalar:
        """Return the only column of the only row of one statement."""
        word = re.match(r"[\s(]*(\w+)", command)
        if word is None or word[1].upper() not in READING:
            raise Refused(f"a check of MySQL begins with {', '.join(READING)}")
        if INTO_FILE.search(command):
            raise Refused(
                "a check does not write: INTO OUTFILE and INTO DUMPFILE are not allowed"
            )
        with self._connection.cursor() as cursor:
            cursor.execute(LIMIT_ROWS)
            cursor.execute("START TRANSACTION READ ONLY")
            cursor.execute(command)
            return only_column(cursor.fetchmany(2))

    def age(self) -> Scalar:
        """Read the seconds since the server's start from its status."""
        with self._connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Uptime'")
            return str(cursor.fetchone()[1])

    def tables(self, until: float) -> list[Table]:
        """List the tables and views of the connection's database."""
        if not self._sees_all_tables():
            raise Refused(TOO_FEW_RIGHTS)
        if not self._is_mariadb:
            self._rows("SET SESSION information_schema_stats_expiry = 0")
        self._limit_time(until - system_monotonic())
        return [
            Table(
                name,
                f"`{name.replace('`', '``')}`",
                int(size),
                kind == "VIEW",
                int(rows),
            )
            for name, kind, size, rows in self._rows(TABLES_OF_MYSQL)
        ]

    def _sees_all_tables(self) -> bool:
        """Tell whether the user has a right to all tables: the server lists no others."""
        for (grant,) in self._rows("SHOW GRANTS"):
            match = GRANT.match(grant)
            if match and match["pattern"] is None:
                return True
            if match:
                ((is_like,),) = self._rows(
                    "SELECT DATABASE() LIKE %s", match["pattern"]
                )
                if is_like:
                    return True
        return False

    def count(self, table: Table, seconds: float) -> int:
        """Count the rows."""
        self._limit_time(seconds)
        ((rows,),) = self._rows(f"SELECT COUNT(*) FROM {table.source}")  # noqa: S608  quoted
        return int(rows)

    def open_view(self, table: Table) -> object:
        """Select no row of the view."""
        return self._rows(f"SELECT 1 FROM {table.source} LIMIT 0")  # noqa: S608  quoted

    def writes(self) -> object:
        """Count the server's commands that write."""
        names = ", ".join(f"'Com_{command}'" for command in WRITING_COMMANDS)
        status = self._rows(f"SHOW GLOBAL STATUS WHERE variable_name IN ({names})")
        return sum(int(number) for _, number in status)

    @property
    def _is_mariadb(self) -> bool:
        return "MariaDB" in self._connection.server_version

    def _limit_time(self, seconds: float) -> None:
        """Let no statement of this connection take longer."""
        seconds = max(seconds, 0.001)
        if self._is_mariadb:
            self._rows("SET SESSION max_statement_time = %s", round(seconds, 3))
        else:
            self._rows("SET SESSION max_execution_time = %s", math.ceil(seconds * 1000))

    def _rows(self, statement: str, *values: object) -> Any:
        """Return the rows of a statement in a read-only transaction.

        Raises `TimeoutError` if the server has ended the statement, which took too long.
        """
        with self._connection.cursor() as cursor:
            cursor.execute("START TRANSACTION READ ONLY")
            try:
                cursor.execute(statement, values or None)
            except pymysql.MySQLError as error:
                if error.args and error.args[0] in OUT_OF_TIME:
                    raise TimeoutError from error
                raise
            return cursor.fetchall()


def mode_of(given: dict[str, str]) -> str:
    """Return the `ssl-mode` of the parameters of a connection string."""
    usual = "VERIFY_CA" if "ssl-ca" in given else "PREFERRED"
    return given.get("ssl-mode", usual).upper()


def tls_arguments(given: dict[str, str]) -> dict[str, Any]:
    """Return the library's arguments for the parameters of a connection string.

    Raises:
        ValueError: The mode is not known.
        OSError: A file cannot be read.
    """
    mode = mode_of(given)
    if mode not in MODES:
        raise ValueError(f"ssl-mode is one of {', '.join(MODES)}")
    if mode == "DISABLED":
        return {"ssl_disabled": True}
    if mode == "PREFERRED" and "ssl-cert" not in given:
        return {}  # The library tries TLS by itself.
    context = ssl.create_default_context(cafile=given.get("ssl-ca"))
    context.check_hostname = mode == "VERIFY_IDENTITY"
    if mode in {"PREFERRED", "REQUIRED"}:
        context.verify_mode = ssl.CERT_NONE
    if "ssl-cert" in given:
        context.load_cert_chain(given["ssl-cert"], given.get("ssl-key"))
    return {"ssl": context}
