"""MySQL and MariaDB, by PyMySQL."""

import re
import ssl
from typing import Any

import pymysql

from pulumi_snapshots.databases.kinds import (
    BlockingConnection,
    Refused,
    Scalar,
    login,
    only_column,
    parameters,
)

MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
"""Values of `ssl-mode`, as MySQL's own programs have them."""
READING = ("SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "TABLE", "VALUES", "CHECKSUM")
"""First words of commands that are sent.

Others, such as CALL, may begin a transaction that writes.
"""
PREPARE_MYSQL = "SET SESSION time_zone = '+00:00', sql_select_limit = 2"
"""Times are in UTC, and no more rows come than it takes to see that there are too many."""
LIMITS = ("connect_timeout", "read_timeout", "write_timeout")
INTO_FILE = re.compile(r"\b(?:out|dump)file\b", re.IGNORECASE)


class MySQL(BlockingConnection):
    """A connection on which each command is one statement in a read-only transaction of its own."""

    def __init__(
        self,
        dsn: str,
        seconds: float,
    ) -> None:
        given = login(dsn) | tls_arguments(parameters(dsn)) | dict.fromkeys(LIMITS, seconds)
        self._connection: Any = pymysql.connect(
            **given,
            charset="utf8mb4",
            init_command=PREPARE_MYSQL,
        )
        self.end = self._connection.close
        self.is_lost = lambda _: not self._connection.open

    def ask(self, command: str) -> Scalar:
        """Return the only column of the only row of one statement."""
        word = re.match(r"[\s(]*(\w+)", command)
        if word is None or word[1].upper() not in READING:
            raise Refused(f"a check of MySQL begins with {', '.join(READING)}")
        if INTO_FILE.search(command):
            raise Refused("a check does not write: INTO OUTFILE and INTO DUMPFILE are not allowed")
        with self._connection.cursor() as cursor:
            cursor.execute("START TRANSACTION READ ONLY")
            cursor.execute(command)
            return only_column(cursor.fetchmany(2))

    def age(self) -> Scalar:
        """Tell it by the server's status."""
        with self._connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Uptime'")
            return str(cursor.fetchone()[1])


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
