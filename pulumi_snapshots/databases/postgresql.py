"""PostgreSQL, by psycopg."""

import math
from itertools import islice
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pulumi_snapshots.clock import system_monotonic
from pulumi_snapshots.databases.connection import (
    GIB,
    BlockingConnection,
    Refused,
    Scalar,
    Table,
    only_column,
)
from pulumi_snapshots.errors import DISTRIBUTION_NAME

ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
"""Seconds, and tries, by which a server that vanishes is noticed within half a minute."""
AGE = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())"
PREPARE_POSTGRES = (
    "SELECT set_config('statement_timeout', %s, true), set_config('TimeZone', "
    "'UTC', true)"
)

SECONDS_TO_OPEN = 30.0
SAMPLE = 64 * 2**20
"""Bytes of a large table that are read for an estimate: some 8,000 of its pages."""
PREPARE_COUNT = (
    # A policy that hides rows is an error, as in pg_dump.
    "SELECT set_config('statement_timeout', %s, true), set_config('row_security', 'off', true)"
)
TABLES_OF_POSTGRES = """
WITH RECURSIVE listed AS (
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, c.relkind = 'v' AS is_view
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'v') AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'
    AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass
                    AND objid = c.oid AND deptype = 'e')
), part (root, oid) AS (
    SELECT oid, oid FROM listed WHERE NOT is_view
    UNION SELECT root, inhrelid FROM part JOIN pg_inherits ON inhparent = part.oid
)
SELECT name, is_view, coalesce(sum(pg_relation_size(part.oid)), 0)::bigint
FROM listed LEFT JOIN part ON root = listed.oid GROUP BY name, is_view
"""
"""Tables with the sizes of their partitions and heirs, which are not listed. Tables of an extension
are not the user's."""
WAIT_FOR_REPORTS = """
SELECT pg_sleep(CASE WHEN count(*) > 0 THEN 11 ELSE 1 END) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
AND coalesce(backend_type, '') NOT IN ('autovacuum worker', 'parallel worker')
"""
"""After this wait all sessions have reported what they wrote: they do so at their end, or after 10
idle seconds."""
WRITES = """
SELECT sum(n_tup_ins + n_tup_upd + n_tup_del),
md5(concat(string_agg(concat(relid, schemaname, '.', relname), ',' ORDER BY relid), (
    SELECT string_agg(concat(inhrelid, ':', inhparent), ',' ORDER BY inhrelid, inhseqno)
    FROM pg_inherits
)))
FROM pg_stat_user_tables
"""
"""The rows that were written, and the tables by their names and parents: one can take another's
name, or become its partition."""


class Postgres(BlockingConnection):
    """A connection on which each command is one statement in a read-only transaction of its own."""

    counted_up_to = GIB

    def __init__(
        self,
        dsn: str,
        seconds: float,
    ) -> None:
        self._milliseconds = str(math.ceil(seconds * 1000))
        usual: dict[str, Any] = {
            "connect_timeout": math.ceil(seconds),
            "client_encoding": "UTF8",
            "application_name": DISTRIBUTION_NAME,
            **ALIVE,
        }
        try:
            parameters = usual | conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            raise Refused(
                "the connection string has a parameter or a form that PostgreSQL does not know"
            ) from None
        # Without prepared statements it works through a connection pooler too.
        self._connection: psycopg.Connection[Any] = psycopg.connect(
            **parameters, prepare_threshold=None
        )
        self._connection.read_only = True
        self.end = self._connection.close
        self.is_lost = lambda _: self._connection.broken

    def ask(self, command: str) -> Scalar:
        """Return the only column of the only row of one statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(PREPARE_POSTGRES, (self._milliseconds,))
            # Only a single statement can be streamed, so no second one can make the transaction
            # write.
            rows = cursor.stream(command.encode())
            return only_column(list(islice(rows, 2)))

    def age(self) -> Scalar:
        """Tell the server's age by when its first process started."""
        return self.ask(AGE)

    def tables(self, until: float) -> list[Table]:
        """List tables, materialized views and views of all schemas but the server's own."""
        rows = self._rows(TABLES_OF_POSTGRES, until - system_monotonic())
        return [Table(name, name, size, is_view) for name, is_view, size in rows]

    def count(self, table: Table, seconds: float) -> int:
        """Count the rows, those of partitions and heirs too."""
        return self._number(f"SELECT count(*) FROM {table.source}", seconds)  # noqa: S608  quoted

    def estimate(self, table: Table, seconds: float) -> int:
        """Count the rows of some pages, which the server chooses at random."""
        percent = 100 * min(1.0, SAMPLE / max(table.size, 1))
        pages = f"TABLESAMPLE SYSTEM ({percent})"
        sample = f"SELECT count(*) FROM {table.source} {pages}"  # noqa: S608  quoted
        return round(self._number(sample, seconds) * 100 / percent)

    def open_view(self, table: Table) -> object:
        """Select no row of the view."""
        return self._rows(f"SELECT FROM {table.source} LIMIT 0", SECONDS_TO_OPEN)

    def writes(self) -> object:
        """Read the server's statistics, once they are up to date."""
        self._rows(WAIT_FOR_REPORTS, SECONDS_TO_OPEN)
        return self._rows(WRITES, SECONDS_TO_OPEN)

    def _number(self, statement: str, seconds: float) -> int:
        ((number,),) = self._rows(statement, seconds)
        return int(number or 0)

    def _rows(self, statement: str, seconds: float) -> list[Any]:
        """Return the rows of a statement in a transaction of its own."""
        milliseconds = max(1, math.ceil(seconds * 1000))
        with self._connection.transaction(force_rollback=True):
            self._connection.execute(PREPARE_COUNT, (str(milliseconds),))
            return self._connection.execute(statement.encode()).fetchall()
