"""PostgreSQL, by psycopg."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from itertools import islice
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from pulumi_snapshots.databases.dumps import NotLoaded
from pulumi_snapshots.databases.scalars import NOT_TEXT, Scalar, as_number, only_column
from pulumi_snapshots.databases.session import Denied, Lost, Refused, Session, sever, too_late

# A server that vanishes is noticed within half a minute.
ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
# As part of a query this also fixes the transaction: no statement after it can make it write.
BEFORE_REASON = re.compile(r"\A(?:.* failed: )*(?:FATAL: +)?")
# Without what belongs to an extension, which a new database may have too.
OBJECTS = (
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
    "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"
)
AGE = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())"
# The library gives no code of an error while connecting. A server in another language is only believed later.
DENIED = re.compile(
    r"password authentication failed|no password supplied|no pg_hba.conf entry|certificate verify failed|"
    r"(role|database) .* does not exist|(certificate|key) file .* does not exist"
)
EMPTY = """
DO $$ DECLARE each text; BEGIN
    FOR each IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', each);
    END LOOP;
    CREATE SCHEMA public;
    PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
END $$"""
PREPARE = "SELECT set_config('statement_timeout', %s, true), set_config('TimeZone', 'UTC', true)"


class Postgres(Session):
    """A connection on which every command is a single statement in a read-only transaction of its own.

    Args:
        dsn: a URL or keywords, as libpq takes them, with its parameters: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`.
        seconds: the time-out of connecting and of each command.
    """

    read_only = True

    def __init__(self, dsn: str, seconds: float) -> None:
        self._dsn = dsn
        self._seconds = seconds
        self._connection = self._connected()

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        defaults: dict[str, Any] = {
            "connect_timeout": math.ceil(self._seconds),
            "client_encoding": "UTF8",
            "application_name": "pulumi-snapshots",
            **ALIVE,
        }
        try:
            parameters: dict[str, Any] = {**defaults, **conninfo_to_dict(self._dsn)}
            # Without prepared statements it works through a connection pooler too.
            connection = psycopg.connect(**parameters, prepare_threshold=None)
            connection.read_only = True
        except psycopg.ProgrammingError:
            lost: Lost = Denied("the connection string has a parameter or a form that PostgreSQL does not know")
        except psycopg.errors.ConnectionTimeout:
            lost = Lost(f"no answer within {self._seconds:g} s")
        except psycopg.Error as error:
            reason = BEFORE_REASON.sub("", str(error))
            lost = Denied(reason) if DENIED.search(reason) else Lost(reason)
        else:
            return connection
        raise lost  # outside of the handler: the library's error would be its context

    def ask(self, command: str) -> Scalar:
        """The only column of the only row of one statement."""
        if self._connection.closed:
            self._connection = self._connected()
        rows: list[tuple[Any, ...]] = []
        failed: Exception | None = None
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(PREPARE, (str(math.ceil(self._seconds * 1000)),))
                # Streamed statements use the protocol that allows a single one, and rows are not all in memory.
                rows = list(islice(cursor.stream(command.encode()), 2))
        except UnicodeDecodeError:
            failed = Refused(NOT_TEXT)
        except psycopg.errors.QueryCanceled:
            failed = too_late(self._seconds)
        except (psycopg.ProgrammingError, psycopg.InternalError) as error:
            # The library's own errors have no primary message, and name its functions.
            failed = Refused(error.diag.message_primary or "it gives no rows")
        except psycopg.Error as error:
            failed = Refused(error.diag.message_primary or str(error))
        if self._connection.broken:
            failed = Lost(f"{failed}")
        with suppress(psycopg.Error):
            self._connection.rollback()
        if self._connection.info.transaction_status != TransactionStatus.IDLE:
            self._connection.close()  # a COPY, say: the next command gets a new connection
        if failed is not None:
            raise failed  # outside of the handler, as above
        return only_column(rows)

    def holds(self) -> int:
        """How many tables and views there are."""
        return int(self.ask(OBJECTS) or 0)

    def age(self) -> float | None:
        """By the server's clock, as it says to everybody."""
        return as_number(self.ask(AGE))

    def interrupt(self) -> None:
        """Cut the connection; psycopg itself would wait for as long as the server says nothing."""
        with suppress(psycopg.Error):
            sever(self._connection.pgconn.socket)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def empty(dsn: str) -> None:
    """Drop every schema with all that it holds, and large objects; raises an error of the library."""
    with psycopg.connect(dsn) as connection:
        connection.execute(EMPTY)


def login(dsn: str) -> tuple[str, str | None]:
    """A connection string without its password, which its programs show to every user of the machine, and the password.

    Raises:
        NotLoaded: it has a secret that they take in no other way.
    """
    given: dict[str, Any] = dict(conninfo_to_dict(dsn))
    if given.get("sslpassword"):
        raise NotLoaded("a connection with sslpassword would show it to others: use a key without a password")
    password = given.pop("password", None)
    return make_conninfo(**given), password
